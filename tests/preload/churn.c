/* SPDX-License-Identifier: MIT
 * churn.c - threads that come and go and hand their blocks on, beside trims,
 * forks and threads that stay; every block is checked (blocks.h).
 *
 * In each round threads come, take blocks of one range of sizes, leave some of
 * them to others and end. Then several threads at once free what was left, and
 * trim, which closes the heaps of those that ended. So pages, segments, heaps
 * and kept blocks become empty and change hands all the time, which in a steady
 * mix of sizes they hardly do.
 */
#include "blocks.h"

enum {
    COMERS = 12,  /* threads of a round */
    SWEEPERS = 4, /* that free what is left, half of them trim first */
    STAYERS = 2,
    TRIMMERS = 2,
    LOCAL = 256,
    LIFE = 160, /* steps of a comer at most */
};
static const double RUN_SECONDS = 1.5;

struct range {
    unsigned low, high; /* sizes, log2 */
    size_t places;      /* of a thread's, so that it takes a few MiB at most */
};

static struct range pick_range(uint64_t *random)
{
    static const struct range ranges[] = {
        {0, 10, LOCAL}, {10, 14, 96}, {10, 14, 96}, {12, 16, 48},
        {12, 16, 48},   {0, 14, 128}, {13, 18, 12}, {17, 20, 4},
    };
    return ranges[random_below(random, sizeof ranges / sizeof ranges[0])];
}

static void step(struct block **at, const struct range *range, uint64_t *random)
{
    size_t n = random_size(random, range->low, range->high);
    uint64_t dice = random_next(random) % 8;
    if (dice < 2) {
        *at = swap_shared(*at, SHARED, random);
    } else if (dice == 2 && *at != NULL) {
        *at = resize(*at, n, random);
    } else {
        drop(*at);
        *at = dice == 3 ? NULL : take(n, random);
    }
}

/* The first half of what the thread has goes to whoever comes upon it. */
static void hand_on(struct block **local, uint64_t *random)
{
    for (size_t i = 0; i < LOCAL; i++)
        drop(i < LOCAL / 2 ? swap_shared(local[i], SHARED, random) : local[i]);
}

static void *come_and_go(void *number)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = (uintptr_t)number;
    struct range range = pick_range(&random);
    random += (uintptr_t)local; /* of its own from here on */
    for (size_t n = random_below(&random, LIFE); n > 0; n--)
        step(&local[random_below(&random, range.places)], &range, &random);
    hand_on(local, &random);
    return NULL;
}

static void *sweep(void *trims)
{
    if (trims != NULL)
        malloc_trim(0);
    drop_shared();
    return NULL;
}

static void at_once(size_t n, void *(*life)(void *), void *const *argument)
{
    pthread_t thread[COMERS];
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, life, argument[i]), 0);
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(pthread_join(thread[i], NULL), 0);
}

/* A round after the other. */
static void come_go_and_sweep(void)
{
    uint64_t random = seed;
    void *const trims[SWEEPERS] = {&random, NULL, &random, NULL};
    while (seconds() < deadline) {
        void *number[COMERS];
        number[0] = (void *)(uintptr_t)random_next(&random);
        for (int i = 1; i < COMERS; i++) /* all of one range */
            number[i] = number[0];
        at_once(COMERS, come_and_go, number);
        at_once(SWEEPERS, sweep, trims);
    }
}

/* ---- beside it --------------------------------------------------------- */

static void *stay(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = random_mix(seed + (uintptr_t)which);
    while (seconds() < deadline) {
        struct range range = pick_range(&random);
        for (int i = 0; i < LIFE; i++)
            step(&local[random_below(&random, range.places)], &range, &random);
        usleep(5000);
    }
    hand_on(local, &random);
    return NULL;
}

static void *trim(void *which)
{
    uint64_t random = random_mix(seed + (uintptr_t)which);
    while (seconds() < deadline) {
        malloc_trim(0);
        usleep((useconds_t)(random_next(&random) % 5000));
    }
    return NULL;
}

/* In a child: some of the parent's blocks, and some of its own. */
static void live_in_child(uint64_t random)
{
    struct range range = pick_range(&random);
    if (random % 2 != 0)
        malloc_trim(0); /* looks through what other threads left */
    for (int i = 0; i < 100; i++)
        drop(swap_shared(NULL, SHARED, &random));
    for (int i = 0; i < 100; i++)
        drop(take(random_size(&random, range.low, range.high), &random));
    _exit(0);
}

static void *fork_on(void *unused)
{
    for (uint64_t i = 0; seconds() < deadline; i++) {
        pid_t pid = fork();
        if (pid == 0)
            live_in_child(i);
        expect_child_ok(pid, 60);
        usleep(300000);
    }
    return unused;
}

static void churn(double run_seconds)
{
    enum { BESIDE = STAYERS + TRIMMERS + 1 };
    pthread_t thread[BESIDE];
    start(run_seconds);
    for (uintptr_t i = 0; i < BESIDE; i++) {
        void *(*life)(void *) = i < STAYERS              ? stay
                                : i < STAYERS + TRIMMERS ? trim
                                                         : fork_on;
        EXPECT_EQ(pthread_create(&thread[i], NULL, life, (void *)i), 0);
    }
    come_go_and_sweep();
    for (int i = 0; i < BESIDE; i++)
        pthread_join(thread[i], NULL);
    drop_shared();
}

/* And no free is lost on its way. */
TEST(churned)
{
    enum { STAY = 40 }; /* of threads that ended: glibc's own */
    if (is_foreign())
        SKIP("tbbmalloc hangs in a child that is forked under load");
    if (under_hakmem())
        find_calls();
    end_bytes = 256;
    uint64_t before = under_hakmem() ? live_blocks(false) : 0;
    churn(soak_seconds(RUN_SECONDS));
    malloc_trim(0); /* what is on its way arrives */
    if (under_hakmem())
        EXPECT_LE(live_blocks(false), before + STAY);
}

TEST_MAIN()

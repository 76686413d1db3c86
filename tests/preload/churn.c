/* SPDX-License-Identifier: MIT
 * churn.c - threads that come and go and hand their blocks on, in tides, beside
 * trims and forks; every block is checked (blocks.h).
 *
 * A tide is a moment in which all threads ask for sizes of one range, or free
 * more than they take, so that memory of all kinds fills and empties: pages,
 * segments, heaps of ended threads and kept blocks change hands all the time,
 * which in a steady mix of sizes they hardly do.
 */
#include "blocks.h"

enum {
    COMERS = 24, /* threads at a time that end soon, another in their place */
    STAYERS = 2, /* threads that stay */
    TRIMMERS = 3,
    WORKERS = COMERS + STAYERS,
    TIDES_A_SECOND = 40,
    LOCAL = 256,
};
static const double RUN_SECONDS = 1.5;

struct tide {
    uint64_t number;
    unsigned low, high; /* sizes, log2 */
    size_t places;      /* of a thread's, and of the shared ones */
    bool ebb;
};

static struct tide tide_now(void)
{
    static const struct tide kinds[] = {
        {.low = 0, .high = 10, .places = LOCAL},
        {.low = 10, .high = 14, .places = 128},
        {.low = 13, .high = 18, .places = 24},
        {.low = 17, .high = 21, .places = 6},
        {.low = 0, .high = 17, .places = 96},
    };
    uint64_t number = (uint64_t)(seconds() * TIDES_A_SECOND);
    uint64_t kind = mix(seed + number);
    struct tide tide = kinds[kind % (sizeof kinds / sizeof kinds[0])];
    tide.number = number;
    tide.ebb = kind >> 32 & 1;
    return tide;
}

static void step(struct block **at, const struct tide *tide, uint64_t *random)
{
    size_t n = random_size(random, tide->low, tide->high);
    uint64_t dice = random_next(random) % 16;
    if (dice < 4) {
        *at = swap_shared(*at, tide->places, random);
    } else if (dice == 4 && *at != NULL) {
        *at = resize(*at, n, random);
    } else {
        drop(*at);
        *at = tide->ebb && dice != 5 ? NULL : take(n, random);
    }
}

/* The first half of what the thread has goes to whoever comes upon it. */
static void hand_on(struct block **local, uint64_t *random)
{
    for (size_t i = 0; i < LOCAL; i++)
        drop(i < LOCAL / 2 ? swap_shared(local[i], SHARED, random) : local[i]);
}

/* An ebb begins: all that there is goes, by all threads at once. */
static void drop_all(struct block **local)
{
    for (size_t i = 0; i < LOCAL; i++) {
        drop(local[i]);
        local[i] = NULL;
    }
    drop_shared();
}

/* A life of so many steps, to the end of the run at most. */
static void live(uint64_t random, uint64_t steps)
{
    struct block *local[LOCAL] = {NULL};
    struct tide tide = tide_now();
    for (uint64_t i = 0; i < steps; i++) {
        if (i % 64 == 0) {
            uint64_t before = tide.number;
            tide = tide_now();
            if (tide.ebb && tide.number != before)
                drop_all(local);
            if (seconds() >= deadline)
                break;
        }
        step(&local[random_below(&random, tide.places)], &tide, &random);
    }
    hand_on(local, &random);
}

static void *come_and_go(void *random)
{
    uint64_t steps = 16u << (uintptr_t)random % 6;
    live((uintptr_t)random, steps);
    return NULL;
}

static void *stay(void *which)
{
    live(mix(seed + (uintptr_t)which), UINT64_MAX);
    return NULL;
}

static void *follow_each_other(void *which)
{
    uint64_t random = mix(seed + (uintptr_t)which);
    while (seconds() < deadline) {
        pthread_t thread;
        void *number = (void *)(uintptr_t)random_next(&random);
        EXPECT_EQ(pthread_create(&thread, NULL, come_and_go, number), 0);
        EXPECT_EQ(pthread_join(thread, NULL), 0);
        usleep((useconds_t)(random_next(&random) % 4000));
    }
    return NULL;
}

static void *trim(void *which)
{
    uint64_t random = mix(seed + (uintptr_t)which);
    while (seconds() < deadline) {
        malloc_trim(0);
        usleep((useconds_t)(random_next(&random) % 5000));
    }
    return NULL;
}

/* In a child: some of the parent's blocks, and some of its own. */
static void live_in_child(uint64_t random)
{
    struct tide tide = tide_now();
    for (int i = 0; i < 100; i++)
        drop(swap_shared(NULL, SHARED, &random));
    for (int i = 0; i < 100; i++)
        drop(take(random_size(&random, tide.low, tide.high), &random));
    _exit(0);
}

static void *fork_on(void *unused)
{
    for (uint64_t i = 0; seconds() < deadline; i++) {
        pid_t pid = fork();
        if (pid == 0)
            live_in_child(i);
        expect_child_ok(pid, 60);
        usleep(20000);
    }
    return unused;
}

static void churn(double run_seconds)
{
    enum { ALL = WORKERS + TRIMMERS + 1 };
    pthread_t thread[ALL];
    start(run_seconds);
    for (uintptr_t i = 0; i < ALL; i++) {
        void *(*life)(void *) = i < COMERS               ? follow_each_other
                                : i < WORKERS            ? stay
                                : i < WORKERS + TRIMMERS ? trim
                                                         : fork_on;
        EXPECT_EQ(pthread_create(&thread[i], NULL, life, (void *)i), 0);
    }
    for (int i = 0; i < ALL; i++)
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

/* SPDX-License-Identifier: MIT
 * stress.c - a seeded random mix in four threads, every block checked; the
 * soak, for long: eight threads, forks, routes that move (blocks.h).
 */
#include "blocks.h"

enum { THREADS = 4, SOAK_THREADS = 8, LOCAL = 256 };
static const double RUN_SECONDS = 1.2;

static bool small_only;

static size_t pick_size(uint64_t *random)
{
    unsigned high = 10;
    uint64_t dice = random_next(random) % 1000;
    if (dice == 0 && !small_only)
        high = 20;
    else if (dice < 60)
        high = 15;
    return random_size(random, 0, high);
}

static void *run(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = random_mix(seed + (uintptr_t)which);
    for (uint64_t step = 0; step % 256 != 0 || seconds() < deadline; step++)
        take_turn(&local[random_below(&random, LOCAL)], pick_size(&random),
                  &random);
    for (int i = 0; i < LOCAL; i++)
        drop(local[i]);
    return NULL;
}

static void storm(void)
{
    pthread_t thread[THREADS];
    start(RUN_SECONDS);
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, run, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    drop_shared();
}

TEST(mixed_sizes)
{
    storm();
}

/* Without the slow large ones the small paths get more turns. */
TEST(small_sizes)
{
    small_only = true;
    storm();
}

/* ---- soak: everything at once, for long ---------------------------------- */

/* In a child: blocks of its own, and some of the parent's. */
static void live_in_child(uint64_t random)
{
    for (int i = 0; i < 300; i++)
        drop(take(pick_size(&random), &random));
    for (int i = 0; i < 100; i++)
        drop(swap_shared(NULL, SHARED, &random));
    _exit(0);
}

static void *fork_on(void *unused)
{
    for (uint64_t i = 0; seconds() < deadline; i++) {
        pid_t pid = fork();
        if (pid == 0)
            live_in_child(i);
        expect_child_ok(pid, 60);
        usleep(10000);
    }
    return unused;
}

/* Those of these that the configuration knows; others are refused. */
static const char *const moves[][2] = {
    {"C0-C7", "ultra"},    {"C0-C3", "tiny"},     {"C4-C7", "smallmid"},
    {"C5-C7", "mid_v35"},  {"C0-C3", "small"},    {"C6", "second"},
    {"1025-32k", "midmt"}, {"1025-32k", "large"}, {"C7", "libc"},
};
enum { MOVES = sizeof moves / sizeof moves[0] };

/* Does the configuration know any of them? Makes those that it knows. */
static bool routes_move(void)
{
    bool any = false;
    for (size_t i = 0; i < MOVES; i++)
        any |= hak.route(moves[i][0], moves[i][1]) == 0;
    return any;
}

static void *move_routes(void *moved)
{
    uint64_t random = seed;
    while (seconds() < deadline) {
        const char *const *to = moves[random_below(&random, MOVES)];
        if (hak.route(to[0], to[1]) == 0)
            *(int *)moved += 1;
        usleep(3000);
    }
    return NULL;
}

/* Resident bytes at the end of the first third, and at most after it. */
static size_t watch_rss(double run_seconds, size_t *most)
{
    size_t first = 0, now;
    *most = 0;
    for (; seconds() < deadline; usleep(20000)) {
        now = rss_bytes();
        if (deadline - seconds() > run_seconds * 2 / 3)
            first = now > first ? now : first;
        else
            *most = now > *most ? now : *most;
    }
    return first;
}

static void soak(double run_seconds)
{
    enum { STAY = 40 }; /* of threads that ended: glibc's own */
    pthread_t thread[SOAK_THREADS], forker, mover;
    bool routes = under_hakmem() && routes_move();
    uint64_t live = under_hakmem() ? live_blocks(true) : 0;
    int moved = 0;
    size_t most;
    start(run_seconds);
    for (uintptr_t i = 0; i < SOAK_THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, run, (void *)i), 0);
    EXPECT_EQ(pthread_create(&forker, NULL, fork_on, NULL), 0);
    if (routes)
        EXPECT_EQ(pthread_create(&mover, NULL, move_routes, &moved), 0);
    size_t first = watch_rss(run_seconds, &most);
    for (int i = 0; i < SOAK_THREADS; i++)
        pthread_join(thread[i], NULL);
    pthread_join(forker, NULL);
    if (routes)
        pthread_join(mover, NULL);
    drop_shared();
    EXPECT_LT(most, first + first / 4 + 16 * MIB);
    if (under_hakmem())
        EXPECT_LE(live_blocks(true), live + STAY);
    if (routes)
        EXPECT_GT(moved, 0);
    dprintf(1, "# %.0f s, %d route changes, %zu KiB, then %zu KiB\n",
            run_seconds, moved, first / KIB, most / KIB);
}

TEST(soaked)
{
    if (is_foreign())
        SKIP("tbbmalloc hangs in a child that is forked under load");
    if (under_hakmem())
        find_calls();
    soak(soak_seconds(2 * RUN_SECONDS));
}

TEST_MAIN()

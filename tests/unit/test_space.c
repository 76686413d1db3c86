/* SPDX-License-Identifier: MIT
 * test_space.c - the window: take, give and move, by one thread and by several.
 */
#include "space.h"

#include <pthread.h>

/* ---- take and give --------------------------------------------------- */

TEST(random_take_and_give)
{
    static struct block b[LIVE];
    uint64_t used = 0;
    start(1); /* purges come in between */
    random_steps(b, LIVE, STEPS);
    for (int i = 0; i < LIVE; i++)
        used += b[i].p == NULL ? 0 : b[i].n * G;
    struct hak_space_figures f = figures();
    EXPECT_EQ(f.used_bytes, used);
    EXPECT_GE(f.mapped_peak_bytes, f.used_bytes);
    EXPECT_EQ(f.maps + f.unmaps, STEPS);
    for (int i = 0; i < LIVE; i++)
        if (b[i].p != NULL)
            put(&b[i]);
    f = figures();
    EXPECT_EQ(f.used_bytes, 0);
    EXPECT_EQ(f.maps, f.unmaps);
    EXPECT_GE(f.mapped_peak_bytes, f.free_bytes);
}

static void *random_steps_of_one(void *argument)
{
    static pthread_mutex_t one_rnd = PTHREAD_MUTEX_INITIALIZER;
    struct block b = {0};
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&one_rnd);
        b.n = 1 + rnd(40);
        pthread_mutex_unlock(&one_rnd);
        b.p = take(b.n, 0, i % 2 == 0 ? HAK_MAP_ZERO : 0);
        if (i % 2 == 0)
            expect_all(b.p, b.n * G, 0);
        b.mark = *(unsigned char *)argument;
        write_to(b.p, b.n * G, b.mark);
        put(&b);
    }
    return NULL;
}

TEST(two_threads)
{
    unsigned char mark[2] = {1, 2};
    pthread_t thread;
    start(2);
    EXPECT_EQ(pthread_create(&thread, NULL, random_steps_of_one, mark), 0);
    random_steps_of_one(mark + 1);
    pthread_join(thread, NULL);
    EXPECT_EQ(figures().used_bytes, 0);
    EXPECT_EQ(figures().maps, 600);
}

/* ---- all at once, and forks ------------------------------------------ */

static bool is_over; /* atomic */

static void move_one(struct block *b, size_t n)
{
    char *p = hak_space_move(b->p, b->n * G, n * G);
    if (p == NULL)
        return;
    expect_all(p, hak_min(n, b->n) * G, b->mark);
    if (n > b->n)
        expect_all(p + b->n * G, (n - b->n) * G, 0);
    b->p = p;
    b->n = n;
    write_to(p, n * G, b->mark);
}

static void reserve_and_open(size_t n)
{
    char *p = hak_space_reserve((n + 2) * G, 0);
    EXPECT(p != NULL);
    EXPECT_EQ(hak_space_open(p + G, n * G, n % 2 == 0), 0);
    expect_all(p + G, n * G, 0);
    write_to(p + G, n * G, 3);
    EXPECT(hak_space_close(p + G, n * G));
    hak_space_unreserve(p, (n + 2) * G);
}

static void one_step(struct block *b, uint64_t *state)
{
    size_t n = 1 + random_below(state, random_below(state, 8) == 0 ? 90 : 12);
    size_t what = random_below(state, 16);
    if (what == 0)
        hak_space_trim();
    else if (what == 1)
        reserve_and_open(n);
    else if (b->p != NULL && what < 5)
        move_one(b, n);
    else if (b->p != NULL)
        put(b);
    else {
        b->n = n;
        b->p = take(n, 0, what % 2 == 0 ? HAK_MAP_ZERO : 0);
        if (what % 2 == 0)
            expect_all(b->p, n * G, 0);
        b->mark = (unsigned char)(1 + random_below(state, 255));
        write_to(b->p, n * G, b->mark);
    }
}

static void *steps_until_over(void *number)
{
    struct block b[8] = {{0}};
    uint64_t state = 77 + (uintptr_t)number;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED))
        one_step(&b[random_below(&state, 8)], &state);
    for (int i = 0; i < 8; i++)
        if (b[i].p != NULL)
            put(&b[i]);
    return NULL;
}

static void steps_in_a_child(void)
{
    struct block b[8] = {{0}};
    uint64_t state = 5;
    hak_space_lock(HAK_FORK_PREPARE);
    pid_t pid = fork();
    hak_space_lock(pid == 0 ? HAK_FORK_CHILD : HAK_FORK_PARENT);
    if (pid == 0) {
        for (int i = 0; i < 100; i++)
            one_step(&b[random_below(&state, 8)], &state);
        _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(threads_that_do_all_at_once_and_forks)
{
    pthread_t thread[3];
    SKIP_TSAN("children go on with what threads had");
    start(2);
    for (uintptr_t i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, steps_until_over, (void *)i),
                  0);
    for (int i = 0; i < 20; i++)
        steps_in_a_child();
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    EXPECT_EQ(figures().used_bytes, 0);
}

TEST(what_cannot_be_is_refused)
{
    start(NEVER_MS);
    size_t window_bytes = hak_directory.limit_real * G;
    EXPECT(hak_space_take(0, 0, 0) == NULL);
    EXPECT(hak_space_take(window_bytes + G, 0, 0) == NULL);
    EXPECT(hak_space_take(SIZE_MAX & ~(G - 1), 0, 0) == NULL);
    EXPECT(hak_space_take(G, window_bytes * 2, 0) == NULL);
    char *p = take(1, 0, 0);
    EXPECT(hak_space_move(p, G, window_bytes + G) == NULL);
    EXPECT(hak_space_move(p, G, SIZE_MAX & ~(G - 1)) == NULL);
    EXPECT_EQ(figures().used_bytes, G);
}

/* The window's base is a random multiple of 4 GiB, and no more than that. */
TEST(alignment_beyond_that_of_the_window)
{
    start(NEVER_MS);
    for (size_t align = 2; align * G * 2 <= hak_directory.limit_real * G;
         align *= 2) {
        char *p = hak_space_take(G, align * G, 0);
        EXPECT(p == NULL || (uintptr_t)p % (align * G) == 0);
    }
}

TEST(huge_is_a_hint)
{
    start(NEVER_MS);
    char *p = take(64, 32, HAK_MAP_HUGE | HAK_MAP_ZERO);
    expect_all(p, 64 * G, 0);
    write_to(p, 64 * G, 1);
    hak_space_give(p, 64 * G);
}

TEST(zero_after_dirty_use)
{
    start(NEVER_MS);
    char *p = take(4, 0, 0);
    memset(p, 0xff, 4 * G);
    hak_space_give(p, 4 * G);
    EXPECT(take(4, 0, HAK_MAP_ZERO) == p); /* the very same */
    for (size_t i = 0; i < 4 * G; i++)
        EXPECT_EQ(p[i], 0);
}

TEST(zero_of_half_dirty)
{
    start(NEVER_MS);
    char *p = take(9, 0, 0);
    memset(p, 0xff, 9 * G);
    hak_space_give(p + 2 * G, G);
    hak_space_give(p + 5 * G, 2 * G);
    hak_space_trim(); /* those are clean now */
    hak_space_give(p, 2 * G);
    hak_space_give(p + 3 * G, 2 * G);
    hak_space_give(p + 7 * G, 2 * G);
    EXPECT(take(8, 0, HAK_MAP_ZERO) == p);
    expect_all(p, 8 * G, 0);
    EXPECT_EQ(p[8 * G], (char)0xff); /* not asked for */
}

/* ---- move ------------------------------------------------------------ */

TEST(move_in_place)
{
    start(NEVER_MS);
    char *p = take(2, 0, 0), *next = take(3, 0, 0);
    EXPECT(next == p + 2 * G);
    write_to(p, 2 * G, 1);
    write_to(next, 3 * G, 0xff);
    hak_space_give(next, 3 * G); /* dirty room to grow into */
    EXPECT(hak_space_move(p, 2 * G, 7 * G) == p);
    expect_all(p, 2 * G, 1);
    expect_all(p + 2 * G, 5 * G, 0);
    EXPECT_EQ(figures().used_bytes, 7 * G);
}

TEST(move_away_from_a_neighbour)
{
    start(NEVER_MS);
    char *p = take(2, 0, 0), *next = take(1, 0, 0);
    EXPECT(next == p + 2 * G);
    write_to(p, 2 * G, 1);
    write_to(next, G, 2);
    char *moved = hak_space_move(p, 2 * G, 40 * G);
    EXPECT(moved != NULL && moved != p);
    expect_all(moved, 2 * G, 1);
    expect_all(moved + 2 * G, 38 * G, 0);
    expect_all(next, G, 2);
    EXPECT_EQ(figures().used_bytes, 41 * G);
    EXPECT_EQ(resident(p, 2 * G), -1); /* the old place is not mapped */
    EXPECT(take(2, 0, HAK_MAP_ZERO) == p);
    expect_all(p, 2 * G, 0);
    expect_all(moved, 2 * G, 1);
}

TEST(move_to_less)
{
    start(NEVER_MS);
    char *p = take(10, 0, 0);
    write_to(p, 10 * G, 3);
    EXPECT(hak_space_move(p, 10 * G, 4 * G) == p);
    expect_all(p, 4 * G, 3);
    EXPECT_EQ(figures().used_bytes, 4 * G);
    EXPECT(hak_space_move(p, 4 * G, 4 * G) == p);
    EXPECT(take(6, 0, HAK_MAP_ZERO) == p + 4 * G);
    expect_all(p, 4 * G, 3);
}

/* Blocks grow and shrink among each other; all keep their content. */
TEST(move_at_random)
{
    static struct block b[16];
    start(1);
    for (int i = 0; i < 16; i++)
        get(&b[i]);
    for (int i = 0; i < 1500; i++) {
        struct block *at = &b[rnd(16)];
        size_t n = 1 + rnd(rnd(8) == 0 ? 90 : 12);
        char *p = hak_space_move(at->p, at->n * G, n * G);
        if (p != NULL) {
            expect_all(p, hak_min(n, at->n) * G, at->mark);
            if (n > at->n)
                expect_all(p + at->n * G, (n - at->n) * G, 0);
            at->p = p;
            at->n = n;
            write_to(p, n * G, at->mark);
        }
        if (i % 3 == 0) {
            put(at);
            get(at);
        }
    }
    uint64_t used = 0;
    for (int i = 0; i < 16; i++) {
        expect_all(b[i].p, b[i].n * G, b[i].mark);
        used += b[i].n * G;
    }
    EXPECT_EQ(figures().used_bytes, used);
}

/* ---- what is in memory -----------------------------------------------------
 */

/* Pages count that were touched, in used and in free granules, also behind
 * reserved ones; those that are open and untouched do not. */
TEST(what_was_touched_is_resident)
{
    start(NEVER_MS);
    int64_t before = hak_space_resident();
    EXPECT_GE(before, 0);
    char *p = take(200, 0, 0);
    char *q = hak_space_reserve(10 * G, 0);
    char *r = take(3, 0, 0);
    EXPECT_EQ(hak_space_open(q + G, 2 * G + OS_PAGE, false), 0);
    EXPECT_EQ(hak_space_resident(), before);
    write_to(p + 70 * G, 100 * G, 1);
    write_to(q + 3 * G, OS_PAGE, 1);
    write_to(r + 2 * G + OS_PAGE, OS_PAGE, 1);
    EXPECT_EQ(hak_space_resident(), before + 100 * (int64_t)G + 2 * OS_PAGE);
    hak_space_give(p + 120 * G, 80 * G);
    EXPECT_EQ(hak_space_resident(), before + 100 * (int64_t)G + 2 * OS_PAGE);
    hak_space_trim();
    EXPECT_EQ(hak_space_resident(), before + 50 * (int64_t)G + 2 * OS_PAGE);
}

TEST(much_reserved_address_space_is_not_looked_at)
{
    start(NEVER_MS);
    EXPECT(hak_space_reserve(100000 * G, 0) != NULL);
    EXPECT_EQ(hak_space_resident(), -E2BIG);
}

TEST_MAIN()

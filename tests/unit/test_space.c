/* SPDX-License-Identifier: MIT
 * test_space.c - the window: take, give, move, purge, other people's mappings,
 * limits on address space.
 */
#include "test.h"

#include <base/os.h>
#include <core/memory/directory.h>
#include <core/memory/space.h>
#include <core/state/directory.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

enum { OS_PAGE = 4096, NEVER_MS = 3600000 };
#define G HAK_GRANULE_BYTES

static uint64_t seed = 0x853c49e6748fea9bull;

static size_t rnd(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)((seed >> 11) % n);
}

static void start(uint64_t purge_delay_ms)
{
    EXPECT_EQ(hak_space_start(hak_os_window_bytes(false), purge_delay_ms), 0);
    EXPECT_EQ(hak_space_purge_delay_ms(), purge_delay_ms);
}

static char *take(size_t granules, size_t align, uint32_t flags)
{
    char *p = hak_space_take(granules * G, align * G, flags);
    if (p != NULL)
        EXPECT_EQ((uintptr_t)p % ((align == 0 ? 1 : align) * G), 0);
    return p;
}

static struct hak_space_figures figures(void)
{
    struct hak_space_figures f;
    hak_space_read(&f);
    return f;
}

/* ---- content: the first and last bytes of every page ----------------- */

static void write_to(char *p, size_t bytes, unsigned char mark)
{
    for (size_t at = 0; at < bytes; at += OS_PAGE) {
        memset(p + at, mark, 16);
        memset(p + at + OS_PAGE - 16, mark, 16);
    }
}

static void expect_all(const char *p, size_t bytes, unsigned char mark)
{
    char want[16];
    memset(want, mark, sizeof want);
    for (size_t at = 0; at < bytes; at += OS_PAGE)
        EXPECT(memcmp(p + at, want, 16) == 0 &&
               memcmp(p + at + OS_PAGE - 16, want, 16) == 0);
}

/* Pages of [p, p + bytes) in memory; -1 = not mapped. */
static long resident(char *p, size_t bytes)
{
    static unsigned char in[1 << 16];
    long n = 0;
    if (mincore(p, bytes, in) != 0)
        return -1;
    for (size_t i = 0; i < bytes / OS_PAGE; i++)
        n += in[i] & 1;
    return n;
}

/* ---- take and give --------------------------------------------------- */

enum { LIVE = 48, STEPS = 2500 };

struct block {
    char *p;
    size_t n;
    unsigned char mark;
};

static void put(struct block *b)
{
    expect_all(b->p, b->n * G, b->mark);
    hak_space_give(b->p, b->n * G);
    b->p = NULL;
}

static void get(struct block *b)
{
    size_t align = (size_t)1 << rnd(rnd(8) == 0 ? 8 : 3);
    uint32_t flags = rnd(2) ? HAK_MAP_ZERO : 0;
    b->n = 1 + rnd(rnd(10) == 0 ? 70 : 10);
    b->p = take(b->n, rnd(3) == 0 ? 0 : align, flags);
    EXPECT(b->p != NULL);
    EXPECT(hak_directory_get(b->p) == NULL);
    hak_directory_set(NULL, b->p, b->n * G); /* writable */
    if (flags & HAK_MAP_ZERO)
        expect_all(b->p, b->n * G, 0);
    b->mark = (unsigned char)(1 + rnd(255));
    write_to(b->p, b->n * G, b->mark);
}

static void random_steps(struct block *b, size_t nblocks, int steps)
{
    for (int i = 0; i < steps; i++) {
        struct block *at = &b[rnd(nblocks)];
        (at->p != NULL ? put : get)(at);
        if (rnd(500) == 0)
            hak_space_trim();
        if (rnd(50) == 0)
            hak_space_tick();
    }
}

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

static size_t rnd_of(uint64_t *state, size_t n)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(*state >> 33) % n;
}

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
    size_t n = 1 + rnd_of(state, rnd_of(state, 8) == 0 ? 90 : 12);
    size_t what = rnd_of(state, 16);
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
        b->mark = (unsigned char)(1 + rnd_of(state, 255));
        write_to(b->p, n * G, b->mark);
    }
}

static void *steps_until_over(void *number)
{
    struct block b[8] = {{0}};
    uint64_t state = 77 + (uintptr_t)number;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED))
        one_step(&b[rnd_of(&state, 8)], &state);
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
            one_step(&b[rnd_of(&state, 8)], &state);
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

/* ---- purge ----------------------------------------------------------- */

static void sleep_ms(unsigned ms)
{
    uint64_t until = hak_os_now_ms() + ms;
    while (hak_os_now_ms() < until)
        usleep(2000);
}

TEST(short_runs_are_purged_in_place_after_the_delay)
{
    start(200);
    char *p = take(3, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 3 * G, 1);
    write_to(kept, G, 2);
    hak_space_give(p, 3 * G);
    hak_space_tick();
    EXPECT_EQ(resident(p, 3 * G), 3 * G / OS_PAGE); /* not yet */
    EXPECT_EQ(figures().purged_bytes, 0);
    sleep_ms(105);
    hak_space_tick(); /* marks it old */
    EXPECT_GT(resident(p, 3 * G), 0);
    sleep_ms(105);
    hak_space_tick();
    EXPECT_EQ(resident(p, 3 * G), 0);
    EXPECT_EQ(figures().purged_bytes, 3 * G);
    EXPECT_GE(figures().free_bytes, 3 * G); /* still mapped */
    expect_all(kept, G, 2);
}

TEST(long_runs_are_unmapped)
{
    start(40);
    char *p = take(200, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 200 * G, 1);
    write_to(kept, G, 2);
    uint64_t free_before = figures().free_bytes;
    hak_space_give(p, 200 * G);
    EXPECT_EQ(figures().free_bytes, free_before + 200 * G);
    for (int i = 0; i < 3; i++) {
        sleep_ms(25);
        for (int k = 0; k < 200; k++)
            hak_space_tick();
    }
    EXPECT_EQ(resident(p, G), -1);
    EXPECT_EQ(figures().free_bytes, free_before);
    EXPECT_EQ(figures().purged_bytes, 200 * G);
    EXPECT(take(200, 0, 0) == p); /* the hole serves again */
    expect_all(p, 200 * G, 0);
    expect_all(kept, G, 2);
}

/* Any thread's malloc may make it. */
TEST(a_tick_gives_back_so_much)
{
    enum { N = 3000, TICK_MOST = 512 };
    start(20);
    char *p = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, N * G);
    uint64_t gone = 0;
    int nticks = 0;
    for (; gone < N * G; nticks++) {
        EXPECT_LT(nticks, 2 * N);
        if (gone == 0)
            sleep_ms(12);
        hak_space_tick();
        uint64_t now = figures().purged_bytes;
        EXPECT_LE(now - gone, TICK_MOST * G);
        gone = now;
    }
    EXPECT_GE(nticks, N / TICK_MOST);
    EXPECT_EQ(resident(p, G), -1);
}

TEST(who_gives_much_gives_back_much)
{
    enum { N = 3000 };
    start(20);
    char *p = take(N, 0, 0), *q = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, N * G);
    for (int i = 0; i < 2 && figures().purged_bytes == 0; i++) {
        sleep_ms(12); /* old now, or a little gone */
        hak_space_tick();
    }
    sleep_ms(12);
    hak_space_give(q, N * G);
    EXPECT_GE(figures().purged_bytes, N * G);
}

TEST(beyond_so_much_it_goes_at_once)
{
    enum { N = 12000, DIRTY_MOST = 8192 };
    start(NEVER_MS);
    char *p = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, DIRTY_MOST * G);
    EXPECT_EQ(figures().purged_bytes, 0);
    hak_space_give(p + DIRTY_MOST * G, (N - DIRTY_MOST) * G);
    EXPECT_EQ(figures().purged_bytes, (N - DIRTY_MOST) * G);
}

TEST(what_is_taken_again_is_not_purged)
{
    start(200);
    char *p = take(2, 0, 0);
    hak_space_give(p, 2 * G);
    sleep_ms(105);
    hak_space_tick();
    EXPECT(take(1, 0, 0) == p);
    write_to(p, G, 7);
    write_to(p + G, G, 8); /* free: nobody's business but the test's */
    for (int i = 0; i < 2; i++) {
        sleep_ms(105);
        hak_space_tick();
    }
    expect_all(p, G, 7);
    EXPECT_EQ(resident(p + G, G), 0);
}

TEST(trim_purges_at_once)
{
    start(NEVER_MS);
    char *p = take(5, 0, 0), *big = take(100, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 5 * G, 1);
    write_to(big, 100 * G, 1);
    EXPECT_EQ(hak_space_trim(), 0);
    hak_space_give(p, 5 * G);
    EXPECT_EQ(hak_space_trim(), 5 * G);
    hak_space_give(big, 100 * G);
    EXPECT_EQ(hak_space_trim(), 100 * G);
    EXPECT_EQ(hak_space_trim(), 0);
    EXPECT_EQ(resident(p, 5 * G), 0);
    EXPECT_EQ(resident(big, 100 * G), -1);
    EXPECT_EQ(figures().purged_bytes, 105 * G);
    EXPECT_EQ(figures().used_bytes, G);
    hak_space_purge(kept, G); /* by the box that has it */
    EXPECT_EQ(resident(kept, G), 0);
    EXPECT_EQ(figures().purged_bytes, 106 * G);
    EXPECT_EQ(figures().used_bytes, G);
    hak_space_give(kept, G);
}

/* ---- the frontier ---------------------------------------------------- */

TEST(growth_maps_ahead)
{
    start(NEVER_MS);
    uint64_t mapped = 0, growths = 0;
    for (size_t i = 1; i <= 4096; i++) {
        EXPECT(take(1, 0, 0) != NULL);
        struct hak_space_figures f = figures();
        EXPECT_EQ(f.used_bytes, i * G);
        if (f.used_bytes + f.free_bytes == mapped)
            continue;
        uint64_t more = f.used_bytes + f.free_bytes - mapped;
        EXPECT_GE(more, 16 * G); /* 1 MiB .. 32 MiB, an eighth between */
        EXPECT_LE(more, 512 * G);
        EXPECT_LE(more, hak_max(16 * G, mapped / 8));
        mapped += more;
        growths++;
    }
    EXPECT_LT(growths, 60);
    char *p = take(3000, 0, 0); /* more than the step */
    EXPECT(p != NULL);
    EXPECT_EQ(figures().used_bytes, 7096 * G);
}

/* ---- other people's mappings ----------------------------------------- */

static char *theirs(char *at)
{
    char *p = mmap(at, OS_PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    EXPECT(p == at);
    memset(p, 0x77, OS_PAGE);
    return p;
}

static void expect_theirs(const char *p)
{
    for (size_t i = 0; i < OS_PAGE; i++)
        EXPECT_EQ(p[i], 0x77);
}

static bool apart(const char *p, size_t granules, const char *other)
{
    return other + OS_PAGE <= p || p + granules * G <= other;
}

TEST(a_mapping_at_the_frontier)
{
    start(NEVER_MS);
    char *p = take(1, 0, 0);
    char *page = theirs(p + 20 * G + 5 * OS_PAGE), *more = theirs(p + 300 * G);
    for (size_t total = 0, n = 0; total < 600; total += n) {
        n = 1 + rnd(30);
        char *q = take(n, 0, HAK_MAP_ZERO);
        EXPECT(q != NULL && apart(q, n, page) && apart(q, n, more));
        expect_all(q, n * G, 0);
        write_to(q, n * G, 1);
    }
    expect_theirs(page);
    expect_theirs(more);
    expect_all(p, G, 0);
}

TEST(a_mapping_in_a_hole)
{
    start(NEVER_MS);
    char *p = take(100, 0, 0), *kept = take(1, 0, 0);
    hak_space_give(p, 100 * G);
    EXPECT_EQ(hak_space_trim(), 100 * G);
    char *page = theirs(p + 50 * G);
    char *q = take(100, 0, HAK_MAP_ZERO);
    EXPECT(q != NULL && apart(q, 100, page) && q > kept);
    char *low = take(50, 0, HAK_MAP_ZERO), *high = take(49, 0, HAK_MAP_ZERO);
    EXPECT(low == p && high == p + 51 * G); /* what is left of the hole */
    write_to(low, 50 * G, 1);
    write_to(high, 49 * G, 1);
    expect_theirs(page);
    EXPECT_EQ(figures().used_bytes, 200 * G);
}

TEST(a_mapping_stops_growth_in_place)
{
    start(NEVER_MS);
    char *p = take(16, 0, 0); /* all that is mapped */
    write_to(p, 16 * G, 1);
    char *page = theirs(p + 16 * G);
    char *q = hak_space_move(p, 16 * G, 20 * G);
    EXPECT(q != NULL && q != p && apart(q, 20, page));
    expect_all(q, 16 * G, 1);
    expect_all(q + 16 * G, 4 * G, 0);
    expect_theirs(page);
}

/* ---- reserved granules ----------------------------------------------- */

static char *reserve(size_t granules)
{
    char *p = hak_space_reserve(granules * G, 0);
    EXPECT(p != NULL && (uintptr_t)p % G == 0);
    return p;
}

TEST(reserved_granules_are_not_mapped)
{
    start(NEVER_MS);
    char *taken = take(1, 0, 0), *p = reserve(100), *more = take(40, 0, 0);
    EXPECT(apart(p, 100, taken) && (more + 40 * G <= p || more >= p + 100 * G));
    for (size_t at = 0; at < 100 * G; at += OS_PAGE)
        EXPECT_EQ(resident(p + at, OS_PAGE), -1);
    EXPECT_EQ(figures().used_bytes, 41 * G);
    EXPECT_EQ(hak_space_open(p + G, 2 * OS_PAGE, false), 0);
    EXPECT_EQ(hak_space_open(p + 50 * G, G, true), 0);
    EXPECT_EQ(resident(p + G, 2 * OS_PAGE), 0);
    EXPECT_EQ(resident(p + 50 * G, G), G / OS_PAGE); /* now */
    EXPECT_EQ(figures().used_bytes, 42 * G + 2 * OS_PAGE);
    for (int round = 0; round < 2; round++) { /* what was there is gone */
        expect_all(p + G, 2 * OS_PAGE, 0);
        write_to(p + G, 2 * OS_PAGE, 1);
        EXPECT(hak_space_close(p + G, 2 * OS_PAGE));
        EXPECT_EQ(resident(p + G, OS_PAGE), -1);
        EXPECT_EQ(figures().used_bytes, 42 * G);
        EXPECT_EQ(hak_space_open(p + G, 2 * OS_PAGE, round == 0), 0);
    }
}

/* Both kinds of ranges, of boxes that come and go: each keeps its content. */
TEST(reserved_and_mapped_ranges_do_not_meet)
{
    static struct block b[LIVE], r[LIVE];
    start(1);
    for (int i = 0; i < STEPS; i++) {
        struct block *at = &r[rnd(LIVE)];
        random_steps(b, LIVE, 1);
        if (at->p != NULL) {
            expect_all(at->p + G, at->n * G, at->mark);
            EXPECT(hak_space_close(at->p + G, at->n * G));
            hak_space_unreserve(at->p, (at->n + 2) * G);
            at->p = NULL;
            continue;
        }
        at->n = 1 + rnd(rnd(10) == 0 ? 70 : 10);
        at->p = reserve(at->n + 2); /* closed on both sides */
        EXPECT_EQ(hak_space_open(at->p + G, at->n * G, rnd(2) == 0), 0);
        expect_all(at->p + G, at->n * G, 0);
        at->mark = (unsigned char)(1 + rnd(255));
        write_to(at->p + G, at->n * G, at->mark);
        EXPECT_EQ(resident(at->p, G), -1);
        EXPECT_EQ(resident(at->p + (at->n + 1) * G, G), -1);
    }
}

TEST(what_others_have_mapped_is_not_opened)
{
    start(NEVER_MS);
    char *p = reserve(10), *page = theirs(p + 3 * G);
    EXPECT_EQ(hak_space_open(p, 10 * G, false), -EEXIST);
    EXPECT_EQ(hak_space_open(page, OS_PAGE, true), -EEXIST);
    expect_theirs(page);
    EXPECT_EQ(hak_space_open(p, 3 * G, false), 0);
    EXPECT_EQ(hak_space_open(page + OS_PAGE, G, false), 0);
    EXPECT_EQ(figures().used_bytes, 4 * G);
}

TEST(the_whole_window_can_be_reserved)
{
    start(NEVER_MS);
    size_t window = hak_directory.limit_real;
    char *p = take(4, 0, 0);
    hak_space_give(p, 4 * G); /* mapped and free: in the way */
    EXPECT(hak_space_reserve((window + 1) * G, 0) == NULL);
    p = reserve(window);
    EXPECT(hak_space_reserve(G, 0) == NULL);
    EXPECT(hak_space_take(G, 0, 0) == NULL);
    hak_space_unreserve(p + 5 * G, G);
    EXPECT(take(1, 0, 0) == p + 5 * G);
}

/* ---- a program that locks its memory --------------------------------- */

static size_t rss_bytes(void)
{
    char text[64] = "", *resident = text;
    int fd = open("/proc/self/statm", O_RDONLY);
    EXPECT(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    strtoul(text, &resident, 10);
    return strtoul(resident, NULL, 10) * OS_PAGE;
}

static void lock_memory(void)
{
    SKIP_TSAN("its own memory is too much");
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        SKIP("memory may not be locked");
}

/* A thousand times the window is no more memory. */
TEST(a_large_window_is_no_memory_when_it_is_locked)
{
    static const size_t window_bytes[] = {(size_t)4 << 30, (size_t)4 << 40};
    lock_memory();
    const char *zeros = hak_os_map((size_t)64 << 20, PROT_READ);
    if (zeros == NULL || rss_bytes() > (size_t)64 << 20)
        SKIP("this kernel has no page of zeros for what is only read");
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            lock_memory(); /* a child inherits no locks */
            size_t before = rss_bytes();
            EXPECT_EQ(hak_space_start(window_bytes[i], NEVER_MS), 0);
            EXPECT(take(1, 0, 0) != NULL);
            EXPECT_LE(rss_bytes() - before, (size_t)1 << 20);
            _exit(0);
        }
        int status = -1;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
}

TEST(nothing_is_mapped_ahead_when_it_is_locked)
{
    start(NEVER_MS);
    lock_memory();
    for (size_t i = 1; i < 100; i++) {
        EXPECT(take(1, 0, 0) != NULL);
        EXPECT_EQ(figures().free_bytes, 0);
    }
    EXPECT_EQ(munlockall(), 0);
    EXPECT(take(1, 0, 0) != NULL && take(1, 0, 0) != NULL);
    EXPECT_GT(figures().free_bytes, 0);
}

TEST(locked_memory_goes_back)
{
    start(NEVER_MS);
    lock_memory();
    char *p = take(3, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 3 * G, 1);
    write_to(kept, G, 2);
    hak_space_give(p, 3 * G);
    EXPECT_EQ(hak_space_trim(), 3 * G);
    EXPECT_EQ(resident(p, G), -1);
    EXPECT(take(3, 0, HAK_MAP_ZERO) == p);
    expect_all(p, 3 * G, 0);
    expect_all(kept, G, 2);
}

/* ---- limits ---------------------------------------------------------- */

static void limit_address_space(size_t more_bytes)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    EXPECT(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    size_t now = strtoul(text, NULL, 10) * OS_PAGE;
    struct rlimit limit = {now + more_bytes, RLIM_INFINITY};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Take pieces until none is left; returns how many there were. */
static size_t take_all(char **piece, size_t most, size_t granules)
{
    size_t n = 0;
    while (n < most && (piece[n] = take(granules, 0, 0)) != NULL)
        write_to(piece[n++], granules * G, 1);
    return n;
}

TEST(exhaustion_and_after)
{
    enum { MIB = 16, LIMIT_MIB = 64 };
    static char *piece[LIMIT_MIB * 2];
    errno = 0;
    start(NEVER_MS);
    limit_address_space((size_t)LIMIT_MIB << 20);
    size_t n = take_all(piece, LIMIT_MIB * 2, MIB);
    EXPECT(n >= LIMIT_MIB - 1 && n <= LIMIT_MIB);
    EXPECT_EQ(figures().used_bytes, n * MIB * G);
    EXPECT(take(MIB, 0, HAK_MAP_ZERO) == NULL);
    EXPECT_EQ(figures().free_bytes, 0); /* all that was free was tried */
    EXPECT(hak_space_move(piece[0], MIB * G, 2 * MIB * G) == NULL);
    for (size_t i = 0; i < n; i++)
        expect_all(piece[i], MIB * G, 1);
    for (size_t i = 0; i < n; i++)
        hak_space_give(piece[i], MIB * G);
    EXPECT_EQ(take_all(piece, LIMIT_MIB * 2, MIB), n);
    for (size_t i = 0; i < n; i += 2)
        hak_space_give(piece[i], MIB * G);
    char *big = take(8 * MIB, 0, HAK_MAP_ZERO); /* from many small holes */
    EXPECT(big != NULL);
    expect_all(big, 8 * MIB * G, 0);
    EXPECT_EQ(errno, 0);
}

TEST(reserved_granules_count_when_they_are_open)
{
    enum { MIB = 16 };
    errno = 0;
    start(NEVER_MS);
    char *ahead = take(1, 0, 0), *p = reserve(4096 * MIB);
    EXPECT(figures().free_bytes != 0); /* it is mapped, and nobody's */
    limit_address_space((size_t)8 * MIB * G);
    EXPECT_EQ(hak_space_open(p, 7 * MIB * G, false), 0);
    EXPECT_EQ(hak_space_open(p + 9 * MIB * G, 2 * MIB * G, true), -ENOMEM);
    EXPECT_EQ(figures().free_bytes, 0); /* it was tried */
    write_to(ahead, G, 1);
    EXPECT(hak_space_close(p, 7 * MIB * G));
    EXPECT_EQ(hak_space_open(p + 9 * MIB * G, 2 * MIB * G, true), 0);
    EXPECT_EQ(errno, 0);
}

/* Pages of the program's, each a mapping of its own, until there are no more.
 */
static void use_up_mappings(void)
{
    enum { PAGES = 1 << 20 };
    char *p = mmap(NULL, (size_t)PAGES * OS_PAGE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(p != MAP_FAILED);
    size_t i = 0;
    while (i < PAGES && mprotect(p + i * OS_PAGE, OS_PAGE, PROT_READ) == 0)
        i += 2;
    if (i == PAGES)
        SKIP("more mappings than can be used up");
    while (mmap(NULL, OS_PAGE, i++ % 2 ? PROT_READ : PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        ;
}

/* To close what is between closed pages takes none; one must be left to cut
 * what is open in two. */
TEST(no_mapping_is_left)
{
    SKIP_TSAN("its own mappings need more");
    start(NEVER_MS);
    char *p = reserve(10), *other = reserve(10);
    EXPECT_EQ(hak_space_open(p + G, G, true), 0);
    EXPECT_EQ(hak_space_open(other + G, 3 * G, true), 0);
    write_to(other + G, 3 * G, 1);
    use_up_mappings();
    EXPECT_EQ(hak_space_open(p + 4 * G, G, true), -ENOMEM);
    EXPECT(!hak_space_close(other + 2 * G, G));
    expect_all(other + 2 * G, G, 0); /* purged, and open */
    EXPECT_EQ(figures().used_bytes, 4 * G);
    EXPECT(hak_space_close(p + G, G));
    EXPECT(hak_space_close(other + 3 * G, G));
    EXPECT_EQ(hak_space_open(p + 4 * G, G, true), 0); /* one is back */
    EXPECT(hak_space_close(other + G, 2 * G));
    EXPECT_EQ(figures().used_bytes, G);
}

TEST(start_with_little_address_space)
{
    if (TEST_TSAN || TEST_ASAN)
        SKIP("a sanitizer's own address space is above any limit");
    limit_address_space((size_t)256 << 20);
    start(NEVER_MS);
    EXPECT_LE(hak_directory.limit_real * G, (size_t)4 << 30);
    char *p = take(1024, 0, HAK_MAP_ZERO);
    EXPECT(p != NULL);
    expect_all(p, 1024 * G, 0);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_kit_chunks.c - kit/chunks.h: which granule is taken, what is kept, what
 * goes back and when, and that nothing in use is touched.
 */
#include "test.h"

#include <kit/chunks.h>
#include <pthread.h>

enum { CHUNK = 1 << 20, NCHUNKS = 8, PER_CHUNK = 16, DELAY_MS = 1000 };
enum { NGRANULES = NCHUNKS * PER_CHUNK, STAMP = 0x5eed };
#define GRANULE HAK_GRANULE_BYTES

static _Alignas(CHUNK) char window[NCHUNKS * CHUNK];
static struct hak_chunks s;

/* ---- a host ---------------------------------------------------------------
 */

static bool mapped[NCHUNKS], out[NGRANULES];
static uint32_t npurges, nmetas, most_maps;
static size_t purged_bytes;
static uint64_t clock_ms;
static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
/* What another thread does while the host is at work. */
static void (*meanwhile)(void);

static void let_others(void)
{
    void (*what)(void) = NULL;
    __atomic_exchange(&meanwhile, &what, &what, __ATOMIC_RELAXED);
    if (what != NULL)
        what();
}

static size_t granule_of(const char *p)
{
    EXPECT_EQ((size_t)(p - window) % GRANULE, 0);
    return (size_t)(p - window) / GRANULE;
}

static bool is_mapped(size_t g)
{
    return __atomic_load_n(&mapped[g / PER_CHUNK], __ATOMIC_RELAXED);
}

static void set_mapped(size_t g, bool now)
{
    __atomic_store_n(&mapped[g / PER_CHUNK], now, __ATOMIC_RELAXED);
}

/* The test alone knows who has a granule: nobody, of those. */
static void expect_unused(const char *p, size_t size_bytes)
{
    EXPECT(!hak_lock_is_mine(&s.lock));
    EXPECT(is_mapped(granule_of(p)));
    for (size_t i = 0; i < size_bytes / GRANULE; i++)
        EXPECT(!__atomic_load_n(&out[granule_of(p) + i], __ATOMIC_RELAXED));
}

static uint32_t nmapped(void)
{
    uint32_t n = 0;
    for (size_t i = 0; i < NCHUNKS; i++)
        n += mapped[i];
    return n;
}

static void *map(struct hak_box *box, size_t size_bytes, size_t align_bytes,
                 uint32_t flags)
{
    (void)box;
    EXPECT(!hak_lock_is_mine(&s.lock));
    EXPECT_EQ(size_bytes, CHUNK);
    EXPECT_EQ(align_bytes, CHUNK);
    EXPECT_EQ(flags, 0);
    let_others();
    pthread_mutex_lock(&host_lock);
    size_t i = 0;
    while (i < most_maps && mapped[i])
        i++;
    bool room = i < most_maps;
    if (room)
        set_mapped(i * PER_CHUNK, true);
    pthread_mutex_unlock(&host_lock);
    return room ? window + i * CHUNK : NULL;
}

static void unmap(struct hak_box *box, void *p, size_t size_bytes)
{
    (void)box;
    EXPECT_EQ(size_bytes, CHUNK);
    expect_unused(p, size_bytes);
    memset(p, 0xdd, size_bytes);
    pthread_mutex_lock(&host_lock);
    set_mapped(granule_of(p), false);
    pthread_mutex_unlock(&host_lock);
}

static int purge(struct hak_box *box, void *p, size_t size_bytes)
{
    (void)box;
    let_others();
    expect_unused(p, size_bytes);
    memset(p, 0, size_bytes);
    __atomic_add_fetch(&npurges, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&purged_bytes, size_bytes, __ATOMIC_RELAXED);
    return 0;
}

static void *meta(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    if (nmetas == 0)
        return NULL;
    nmetas--;
    void *p = aligned_alloc(64, hak_round_up(size_bytes, 64));
    return memset(p, 0, size_bytes);
}

static uint64_t now_ms(void)
{
    return __atomic_load_n(&clock_ms, __ATOMIC_RELAXED);
}

static uint64_t purge_delay_ms(void)
{
    return DELAY_MS;
}

static struct hak_host host = {.window_bytes = sizeof window,
                               .os_page_bytes = 4096,
                               .map = map,
                               .unmap = unmap,
                               .purge = purge,
                               .meta = meta,
                               .now_ms = now_ms,
                               .purge_delay_ms = purge_delay_ms};
static struct hak_box box = {.host = &host};

/* ---- what the tests do ------------------------------------------------------
 */

static struct hak_chunk *chunk_of[NGRANULES];

static void start(uint32_t keep)
{
    host.window_base = (uintptr_t)window;
    most_maps = NCHUNKS;
    nmetas = 100;
    clock_ms = 1000000;
    EXPECT(hak_chunks_init(&s, &box, CHUNK, keep));
}

/* A granule, by its number in the window. */
static size_t take(void)
{
    struct hak_chunk *chunk;
    char *p = hak_chunks_take(&s, &chunk);
    EXPECT(p != NULL);
    size_t g = granule_of(p);
    EXPECT(!__atomic_exchange_n(&out[g], true, __ATOMIC_RELAXED));
    EXPECT(is_mapped(g));
    EXPECT(hak_map_get(&s.holders, p) == NULL);
    hak_map_set(&s.holders, p, GRANULE, &out[g]);
    *(size_t *)p = g ^ STAMP;
    chunk_of[g] = chunk;
    return g;
}

static void give_as(size_t g, bool written)
{
    char *p = window + g * GRANULE;
    EXPECT_EQ(*(size_t *)p, g ^ STAMP);
    EXPECT(hak_map_get(&s.holders, p + GRANULE - 1) == &out[g]);
    EXPECT(__atomic_exchange_n(&out[g], false, __ATOMIC_RELAXED));
    hak_chunks_give(&s, chunk_of[g], p, written);
}

static void give(size_t g)
{
    give_as(g, true);
}

static void take_many(size_t n)
{
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(take(), i); /* the lowest first, chunk after chunk */
}

static void give_all(void)
{
    for (size_t g = 0; g < NGRANULES; g++)
        if (out[g])
            give(g);
}

static void tick_after(uint64_t ms)
{
    clock_ms += ms;
    hak_chunks_tick(&s);
    hak_chunks_check(&s);
}

/* ---- taking -----------------------------------------------------------------
 */

TEST(a_chunk_is_used_up_before_the_next)
{
    start(1);
    take_many(PER_CHUNK);
    EXPECT_EQ(nmapped(), 1);
    EXPECT_EQ(hak_chunks_free_bytes(&s, false), 0);
    EXPECT_EQ(take(), PER_CHUNK);
    EXPECT_EQ(nmapped(), 2);
    EXPECT_EQ(hak_chunks_free_bytes(&s, false), CHUNK - GRANULE);
    EXPECT_EQ(hak_chunks_free_bytes(&s, true), 0);
    hak_chunks_check(&s);
}

TEST(the_fullest_chunk_serves)
{
    start(1);
    take_many(3 * PER_CHUNK);
    for (size_t i = 0; i < 4; i++)
        give(PER_CHUNK + i); /* of the second, four */
    give(2);                 /* of the first, one */
    EXPECT_EQ(take(), 2);
    EXPECT_EQ(take() / PER_CHUNK, 1);
    hak_chunks_check(&s);
}

TEST(what_came_back_last_is_taken_first_and_clean_ones_last)
{
    start(1);
    take_many(8);
    static const size_t back[] = {3, 6, 1, 4, 0};
    for (size_t i = 0; i < 5; i++)
        give_as(back[i], back[i] % 6 != 0);
    EXPECT_EQ(hak_chunks_free_bytes(&s, true), 3 * GRANULE);
    static const size_t again[] = {4, 1, 3, 0, 6, 8};
    for (size_t i = 0; i < 6; i++)
        EXPECT_EQ(take(), again[i]);
    hak_chunks_check(&s);
}

TEST(no_memory_for_a_chunk_or_its_struct)
{
    struct hak_chunk *chunk = NULL;
    start(1);
    most_maps = 1;
    take_many(PER_CHUNK);
    EXPECT(hak_chunks_take(&s, &chunk) == NULL);
    most_maps = 2;
    nmetas = 0;
    EXPECT(hak_chunks_take(&s, &chunk) == NULL);
    EXPECT(chunk == NULL);
    EXPECT_EQ(nmapped(), 1);
    hak_chunks_check(&s);
    give(5);
    EXPECT_EQ(take(), 5);
}

TEST(structs_serve_again)
{
    start(1);
    take_many(3 * PER_CHUNK);
    give_all();
    hak_chunks_trim(&s);
    hak_chunks_check(&s);
    nmetas = 0;
    take_many(3 * PER_CHUNK);
    hak_chunks_check(&s);
}

static void give_five(void)
{
    give(5);
}

TEST(who_is_slower_gives_his_chunk_back)
{
    start(1);
    take_many(PER_CHUNK);
    meanwhile = give_five;
    EXPECT_EQ(take(), 5);
    EXPECT_EQ(nmapped(), 1);
    hak_chunks_check(&s);
}

/* ---- keeping ----------------------------------------------------------------
 */

TEST(no_more_empty_chunks_than_may_be_wait)
{
    start(2);
    take_many(5 * PER_CHUNK);
    give_all(); /* the first ones become empty first, and go first */
    EXPECT_EQ(nmapped(), 2);
    EXPECT(mapped[3] && mapped[4]);
    EXPECT_EQ(s.nempty, 2);
    EXPECT_EQ(s.given_bytes, 3 * (size_t)CHUNK);
    hak_chunks_check(&s);
}

TEST(none_is_kept_if_none_may_be)
{
    start(0);
    take_many(PER_CHUNK + 1);
    give_all();
    EXPECT_EQ(nmapped(), 0);
    hak_chunks_check(&s);
}

TEST(chunks_made_ahead_stay)
{
    s.fresh_is_dirty = true;
    start(1);
    for (int i = 0; i < 3; i++)
        EXPECT(hak_chunks_grow(&s, true));
    EXPECT_EQ(s.nempty, 3);
    EXPECT_EQ(hak_chunks_free_bytes(&s, true), 3 * CHUNK);
    give(take());
    EXPECT_EQ(nmapped(), 2); /* one more than may be, so one goes */
    hak_chunks_check(&s);
}

/* ---- giving back ------------------------------------------------------------
 */

TEST(old_granules_are_purged_by_runs)
{
    start(1);
    take_many(10);
    give(2), give(3), give(6);
    give_as(8, false);
    tick_after(DELAY_MS);
    EXPECT_EQ(npurges, 0); /* dirty, since when is not known */
    EXPECT_EQ(take(), 6);
    give(6); /* and has to wait anew */
    tick_after(DELAY_MS / 2 - 1);
    EXPECT_EQ(npurges, 0); /* too early for a tick */
    tick_after(1);
    EXPECT_EQ(npurges, 1);
    EXPECT_EQ(purged_bytes, 2 * GRANULE);
    EXPECT_EQ(hak_chunks_free_bytes(&s, true), GRANULE);
    tick_after(DELAY_MS / 2);
    EXPECT_EQ(purged_bytes, 3 * GRANULE);
    tick_after(DELAY_MS);
    EXPECT_EQ(npurges, 2); /* what is clean stays alone */
    EXPECT_EQ(s.given_bytes, 3 * GRANULE);
}

TEST(empty_chunks_go_after_a_purge_delay)
{
    start(2);
    take_many(2 * PER_CHUNK + 1);
    for (size_t g = 0; g < PER_CHUNK; g++)
        give(g);
    clock_ms += DELAY_MS / 2;
    for (size_t g = PER_CHUNK; g < 2 * PER_CHUNK; g++)
        give(g);
    tick_after(DELAY_MS / 2 - 1);
    EXPECT_EQ(nmapped(), 3);
    tick_after(DELAY_MS / 2);
    EXPECT_EQ(nmapped(), 2);
    EXPECT(!mapped[0]);
    tick_after(DELAY_MS / 2 + 1);
    EXPECT_EQ(nmapped(), 1);
    EXPECT_EQ(npurges, 0);
}

TEST(trim_gives_all_back)
{
    start(4);
    take_many(3 * PER_CHUNK);
    for (size_t g = 0; g < 2 * PER_CHUNK + 5; g++)
        give(g);
    EXPECT_EQ(hak_chunks_trim(&s), 2 * CHUNK + 5 * GRANULE);
    hak_chunks_check(&s);
    EXPECT_EQ(hak_chunks_trim(&s), 0);
    give_all();
    EXPECT_EQ(hak_chunks_trim(&s), CHUNK);
    EXPECT_EQ(nmapped(), 0);
    hak_chunks_check(&s);
}

/* The chunk becomes empty but for what is just purged, and another is taken. */
static void use_the_rest(void)
{
    give(take());
    give(1), give(2), give(3);
    EXPECT(mapped[0]);
    EXPECT_EQ(s.nempty, 0);
}

TEST(a_purge_holds_what_it_purges)
{
    start(0);
    take_many(4);
    give(0);
    meanwhile = use_the_rest;
    hak_chunks_trim(&s);
    EXPECT_EQ(purged_bytes, GRANULE);
    EXPECT_EQ(nmapped(), 0); /* empty after all */
    hak_chunks_check(&s);
}

/* ---- at random, and with threads
 * --------------------------------------------- */

static uint32_t rnd(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((*seed >> 33) % n);
}

TEST(at_random)
{
    uint64_t seed = 1;
    size_t nout = 0;
    start(1);
    for (int turn = 0; turn < 20000; turn++) {
        uint32_t most = turn / 1000 % 2 ? NGRANULES : NGRANULES / 8;
        size_t g = rnd(&seed, NGRANULES);
        if (nout < most && rnd(&seed, 2)) {
            take();
            nout++;
        } else if (out[g]) {
            give_as(g, rnd(&seed, 4) != 0);
            nout--;
        }
        if (rnd(&seed, 50) == 0)
            tick_after(rnd(&seed, DELAY_MS));
        if (rnd(&seed, 500) == 0)
            hak_chunks_trim(&s);
        size_t bytes = (nmapped() * PER_CHUNK - nout) * GRANULE;
        EXPECT_EQ(hak_chunks_free_bytes(&s, false), bytes);
        EXPECT_LE(s.nempty, 1);
    }
    EXPECT_GT(npurges, 10);
    give_all();
    hak_chunks_trim(&s);
    EXPECT_EQ(nmapped(), 0);
    hak_chunks_check(&s);
}

static void *work(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    size_t mine[NGRANULES / 4], n = 0;
    for (int turn = 0; turn < TEST_TURNS(20000); turn++) {
        if (n < NGRANULES / 8 && rnd(&seed, 2))
            mine[n++] = take();
        else if (n != 0)
            give(mine[--n]);
        if (rnd(&seed, 16) == 0) {
            __atomic_add_fetch(&clock_ms, DELAY_MS / 2, __ATOMIC_RELAXED);
            hak_chunks_tick(&s);
        }
        hak_chunks_free_bytes(&s, true);
    }
    while (n != 0)
        give(mine[--n]);
    return NULL;
}

TEST(threads_take_give_and_age)
{
    pthread_t thread[3];
    start(1);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, work, (void *)(i + 1));
    for (size_t i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    hak_chunks_check(&s);
    hak_chunks_trim(&s);
    EXPECT_EQ(nmapped(), 0);
}

/* ---- what is broken is found
 * --------------------------------------------------- */

TEST_DIES(a_granule_that_is_free_and_held, SIGABRT, "broken invariant")
{
    start(1);
    take_many(2);
    s.all->free |= 1;
    hak_chunks_check(&s);
}

TEST_DIES(a_granule_that_nobody_has, SIGABRT, "broken invariant")
{
    start(1);
    take_many(2);
    s.all->free &= ~4u;
    hak_chunks_check(&s);
}

TEST_DIES(a_chunk_in_another_bin, SIGABRT, "broken invariant")
{
    start(1);
    take_many(2);
    hak_link_remove(&s.all->link);
    hak_link_after(&s.bin[3], &s.all->link);
    hak_chunks_check(&s);
}

TEST_DIES(old_without_dirty, SIGABRT, "broken invariant")
{
    start(1);
    take_many(2);
    s.all->old = 4;
    hak_chunks_check(&s);
}

TEST_DIES(a_wrong_number_of_empty_chunks, SIGABRT, "broken invariant")
{
    start(1);
    give(take());
    s.nempty = 0;
    hak_chunks_check(&s);
}

TEST_MAIN()

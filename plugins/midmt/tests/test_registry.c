/* SPDX-License-Identifier: MIT
 * test_registry.c - look-up of segments: against a model, under writers.
 *
 * `build/tests/midmt/test_registry cost` prints what a look-up costs, beside
 * a window-indexed table (boxkit/map.h).
 */
#include "registry.h"

#include <boxkit/map.h>
#include <pthread.h>
#include <time.h>

#include "test.h"
#include "testhost.h"

enum { PLACES = 512, PLACE_GRANULES = 80, CAPACITY = 400 };

static struct registry registry;
static struct segment segments[PLACES];
static struct hak_box *box;
static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static char *place(size_t i)
{
    return (char *)box->host->window_base +
           ((1 + i * PLACE_GRANULES) << HAK_GRANULE_SHIFT);
}

static void start(size_t capacity)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "midmt", NULL, 0, &box), 0);
    EXPECT_EQ(registry_init(&registry, box, capacity), 0);
    for (int i = 0; i < PLACES; i++)
        registry_chain(&registry, &segments[i]);
}

/* As pool.c does it: the range first, and last. */
static int add(size_t i, size_t granules)
{
    __atomic_store_n(&segments[i].range, (uintptr_t)place(i) | granules,
                     __ATOMIC_RELEASE);
    segments[i].pool = (struct pool *)1;
    int error = registry_add(&registry, &segments[i]);
    if (error != 0) {
        __atomic_store_n(&segments[i].range, 0, __ATOMIC_RELEASE);
        segments[i].pool = NULL;
    }
    return error;
}

static void drop(size_t i)
{
    registry_remove(&registry, &segments[i]);
    __atomic_store_n(&segments[i].range, 0, __ATOMIC_RELEASE);
    segments[i].pool = NULL;
}

static void expect(const void *p, const struct segment *s)
{
    EXPECT_EQ((uintptr_t)registry_find(&registry, p), (uintptr_t)s);
    EXPECT_EQ((uintptr_t)registry_scan(&registry, p), (uintptr_t)s);
}

static void expect_edges(size_t i)
{
    const struct segment *s = segments[i].range ? &segments[i] : NULL;
    size_t bytes = s != NULL ? segment_bytes(s) : HAK_GRANULE_BYTES;
    expect(place(i), s);
    expect(place(i) + 1, s);
    expect(place(i) + bytes / 2, s);
    expect(place(i) + bytes - 1, s);
    expect(place(i) + bytes, NULL);
    expect(place(i) - 1, NULL);
}

TEST(empty_finds_nothing)
{
    start(CAPACITY);
    expect_edges(0);
    expect_edges(PLACES - 1);
    registry_check(&registry);
}

TEST(agrees_with_a_model)
{
    start(CAPACITY);
    size_t n = 0;
    for (int round = 0; round < TEST_TURNS(20000); round++) {
        uint32_t i = random_below(PLACES);
        if (segments[i].range != 0) {
            drop(i);
            n--;
        } else if (n < CAPACITY && add(i, 1 + random_below(64)) == 0) {
            n++;
        }
        expect_edges(i);
        expect_edges(random_below(PLACES));
        if (round % 100 == 0)
            registry_check(&registry);
    }
    EXPECT_GT(n, 0);
}

TEST(wild_pointers_find_nothing)
{
    start(CAPACITY);
    EXPECT_EQ(add(0, 64), 0);
    EXPECT_EQ(add(PLACES - 1, 64), 0);
    const uintptr_t base = box->host->window_base;
    const uintptr_t wild[] = {
        0,
        1,
        16,
        UINTPTR_MAX,
        (uintptr_t)1 << 63,
        (uintptr_t)0x7fffffffffff,
        (uintptr_t)0x800000000000,
        base - 1,
        base,
        base + box->host->window_bytes,
        base + box->host->window_bytes - 1,
        (uintptr_t)&base,
        (uintptr_t)place(0) + ((uintptr_t)1 << 48),
    };
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        expect((const void *)wild[i], NULL);
}

TEST(full_refuses_and_stays_whole)
{
    start(3);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(add(i * 2, 16), 0);
    EXPECT_EQ(add(1, 16), -ENOSPC);
    registry_check(&registry);
    for (size_t i = 0; i < 6; i++)
        expect_edges(i);
    drop(2);
    EXPECT_EQ(add(1, 16), 0);
    expect_edges(1);
    registry_check(&registry);
}

/* ---- readers against writers ------------------------------------------- */

static bool stop;

static void *write_odd_places(void *unused)
{
    (void)unused;
    uint64_t seed = 7;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        seed = seed * 6364136223846793005ull + 1442695040888963407u;
        size_t i = (size_t)(seed >> 33) % (PLACES / 2) * 2 + 1;
        if (segments[i].range != 0)
            drop(i);
        else
            EXPECT_EQ(add(i, 64), 0);
    }
    return NULL;
}

static void *move_seq(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        __atomic_fetch_add(&registry.seq, 4, __ATOMIC_RELEASE);
    return NULL;
}

/* Even places stay as they are while `writer` runs: they decide. */
static void read_against(void *(*writer)(void *))
{
    pthread_t thread;
    start(PLACES);
    for (size_t i = 0; i < PLACES; i += 4)
        EXPECT_EQ(add(i, 64), 0);
    pthread_create(&thread, NULL, writer, NULL);
    for (int round = 0; round < 300000; round++) {
        size_t i = (size_t)random_below(PLACES / 2) * 2;
        const struct segment *s = i % 4 == 0 ? &segments[i] : NULL;
        const char *p = place(i) + (random_below(64) << HAK_GRANULE_SHIFT);
        EXPECT_EQ((uintptr_t)registry_find(&registry, p), (uintptr_t)s);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    registry_check(&registry);
}

TEST(readers_are_right_while_a_thread_writes)
{
    read_against(write_odd_places);
}

TEST(readers_end_however_often_they_are_disturbed)
{
    read_against(move_seq);
}

/* The tables lead astray, as if torn at every try. */
TEST(a_reader_that_gave_up_on_the_tables_goes_through_the_chain)
{
    start(CAPACITY);
    EXPECT_EQ(add(3, 64), 0);
    registry.side[0].n = registry.side[1].n = 0;
    EXPECT(registry_find(&registry, place(3)) == NULL);
    registry.tries = 0;
    EXPECT(registry_find(&registry, place(3)) == &segments[3]);
    EXPECT(registry_find(&registry, place(4)) == NULL);
}

/* ---- cost -------------------------------------------------------------- */

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

enum { LOOKUPS = TEST_TURNS(1 << 20) };
static void *volatile sink;

/* ns per look-up at random addresses of the first n places. */
static void measure(const struct hak_map *map, uint32_t n)
{
    double find_ns = 0, map_ns = 0;
    for (int which = 0; which < 2; which++) {
        double begin = now_ns();
        for (int i = 0; i < LOOKUPS; i++) {
            const char *p = place(random_below(n)) + random_below(1 << 20);
            sink = which ? hak_map_get(map, p)
                         : (void *)registry_find(&registry, p);
            EXPECT(sink != NULL);
        }
        *(which ? &map_ns : &find_ns) = (now_ns() - begin) / LOOKUPS;
    }
    printf("# %5u segments: binary search %5.1f ns, table %5.1f ns\n", n,
           find_ns, map_ns);
}

TEST(cost)
{
    static struct segment many[16384];
    struct hak_map map;
    start(16384);
    EXPECT(hak_map_init(&map, box));
    EXPECT_GE(box->host->window_bytes >> HAK_GRANULE_SHIFT,
              16384u * PLACE_GRANULES / 8);
    uint32_t room = (uint32_t)((box->host->window_bytes >> HAK_GRANULE_SHIFT) /
                               PLACE_GRANULES) -
                    1;
    for (uint32_t n = 0; n < hak_min(room, 10000); n++) {
        registry_chain(&registry, &many[n]);
        many[n].range = (uintptr_t)place(n) | 16;
        EXPECT_EQ(registry_add(&registry, &many[n]), 0);
        hak_map_set(&map, place(n), 1 << 20, &many[n]);
        if (n + 1 == 1 || n + 1 == 10 || n + 1 == 100 || n + 1 == 1000 ||
            n + 1 == 10000)
            measure(&map, n + 1);
    }
    fflush(stdout);
}

TEST_MAIN()

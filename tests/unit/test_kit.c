/* SPDX-License-Identifier: MIT
 * test_kit.c - the kit's lower layers: base, sync, bits, list, map, index.
 */
#include "random.h"
#include "test.h"

#include <kit/bits.h>
#include <kit/list.h>
#include <kit/map.h>
#include <kit/sync.h>
#include <pthread.h>

/* ---- base ------------------------------------------------------------ */

TEST(base_arithmetic)
{
    for (size_t align = 1; align <= 4096; align *= 2)
        for (size_t n = 0; n < 9000; n += 1 + align / 8) {
            size_t up = hak_round_up(n, align), down = hak_round_down(n, align);
            EXPECT(up % align == 0 && up >= n && up - n < align);
            EXPECT(down % align == 0 && down <= n && n - down < align);
        }
    EXPECT_EQ(hak_min(3, 5), 3);
    EXPECT_EQ(hak_max(3, 5), 5);
    EXPECT(!hak_is_power_of_two(0) && !hak_is_power_of_two(SIZE_MAX));
    EXPECT(hak_is_power_of_two(1) && hak_is_power_of_two(2));
    for (size_t i = 2; i < 64; i++) {
        size_t power = (size_t)1 << i;
        EXPECT(hak_is_power_of_two(power));
        EXPECT(!hak_is_power_of_two(power - 1));
        EXPECT(!hak_is_power_of_two(power + 1));
    }
}

TEST_DIES(always_tells_what_broke, SIGABRT, "broken invariant: one == 0")
{
    uint64_t one = 1;
    HAK_ALWAYS(one != 0);
    HAK_ALWAYS(one == 0);
}

/* ---- bits: a map against an array of bool ---------------------------- */

enum { NBITS = 1000, GUARD = 1 };

/* A word at either end must never change. */
static uint64_t words[GUARD + HAK_BITS_WORDS(NBITS) + GUARD];
static uint64_t *const map = words + GUARD;
static bool model[NBITS];

static void check_map(void)
{
    for (size_t i = 0; i < NBITS; i++)
        EXPECT_EQ(hak_bit(map, i), model[i]);
    EXPECT_EQ(words[0], ~0ull);
    EXPECT_EQ(map[HAK_BITS_WORDS(NBITS)], ~0ull);
}

static void new_map(void)
{
    memset(words, 0, sizeof words);
    memset(model, 0, sizeof model);
    words[0] = map[HAK_BITS_WORDS(NBITS)] = ~0ull;
}

/* Runs of ones and zeros, 1..longest long; ones beyond the end too. */
static void fill_map(size_t longest)
{
    bool one = rnd(2);
    new_map();
    for (size_t i = 0; i < NBITS; one = !one)
        for (size_t n = 1 + rnd(longest); n > 0 && i < NBITS; n--, i++) {
            model[i] = one;
            map[i >> 6] |= (uint64_t)one << (i & 63);
        }
    if (rnd(2))
        map[NBITS >> 6] |= ~0ull << (NBITS & 63);
}

static size_t model_next(bool wanted, size_t from, size_t end)
{
    while (from < end && model[from] != wanted)
        from++;
    return from < end ? from : end;
}

static size_t model_run(bool wanted, size_t from, size_t end, size_t n,
                        size_t align)
{
    for (size_t at = hak_round_up(from, align); at + n <= end; at += align)
        if (model_next(!wanted, at, at + n) == at + n)
            return at;
    return HAK_BITS_NONE;
}

TEST(bits_set_clear_count)
{
    new_map();
    for (int round = 0; round < 3000; round++) {
        size_t from = rnd(NBITS), n = rnd(NBITS - from + 1), ones = 0;
        bool set = rnd(2);
        if (rnd(4) == 0) /* whole words are the easy case to get wrong */
            from &= ~(size_t)63, n = hak_min(n & ~(size_t)63, NBITS - from);
        (set ? hak_bits_set : hak_bits_clear)(map, from, n);
        for (size_t i = from; i < from + n; i++)
            model[i] = set;
        check_map();
        from = rnd(NBITS);
        n = rnd(NBITS - from + 1);
        for (size_t i = from; i < from + n; i++)
            ones += model[i];
        EXPECT_EQ(hak_bits_count(map, from, n), ones);
    }
}

TEST(bits_next)
{
    for (int round = 0; round < 3000; round++) {
        fill_map(round % 3 == 0 ? 3 : round % 3 == 1 ? 70 : 600);
        for (int i = 0; i < 20; i++) {
            size_t from = rnd(NBITS + 1), end = rnd(NBITS + 1);
            size_t low = hak_min(from, end);
            EXPECT_EQ(hak_bits_next(map, 0, low, end),
                      model_next(true, low, end));
            EXPECT_EQ(hak_bits_next(map, ~0ull, low, end),
                      model_next(false, low, end));
            EXPECT_EQ(hak_bits_next(map, 0, end, low), low);
        }
    }
}

TEST(bits_run)
{
    for (int round = 0; round < 6000; round++) {
        fill_map(round % 3 == 0 ? 4 : round % 3 == 1 ? 40 : 300);
        for (int i = 0; i < 10; i++) {
            size_t from = rnd(NBITS), end = from + rnd(NBITS - from + 1);
            size_t n = 1 + rnd(rnd(2) ? 8 : 200);
            size_t align = (size_t)1 << rnd(8);
            EXPECT_EQ(hak_bits_run(map, 0, from, end, n, align),
                      model_run(true, from, end, n, align));
            EXPECT_EQ(hak_bits_run(map, ~0ull, from, end, n, align),
                      model_run(false, from, end, n, align));
        }
    }
}

TEST(bits_ends)
{
    new_map();
    EXPECT_EQ(hak_bits_run(map, 0, 0, NBITS, 1, 1), HAK_BITS_NONE);
    EXPECT_EQ(hak_bits_run(map, ~0ull, 0, NBITS, NBITS, 1), 0);
    EXPECT_EQ(hak_bits_run(map, ~0ull, 0, NBITS, NBITS + 1, 1), HAK_BITS_NONE);
    EXPECT_EQ(hak_bits_run(map, ~0ull, 1, NBITS, NBITS - 1, 1), 1);
    EXPECT_EQ(hak_bits_run(map, ~0ull, 1, NBITS, 100, 512), 512);
    EXPECT_EQ(hak_bits_run(map, ~0ull, 513, NBITS, 1, 512), HAK_BITS_NONE);
    hak_bits_set(map, NBITS - 3, 3);
    EXPECT_EQ(hak_bits_run(map, 0, 0, NBITS, 3, 1), NBITS - 3);
    EXPECT_EQ(hak_bits_run(map, 0, 0, NBITS, 4, 1), HAK_BITS_NONE);
    EXPECT_EQ(hak_bits_run(map, 0, 0, NBITS - 1, 3, 1), HAK_BITS_NONE);
    hak_bits_set(map, 0, 64);
    EXPECT_EQ(hak_bits_next(map, ~0ull, 0, NBITS), 64);
    EXPECT_EQ(hak_bits_next(map, ~0ull, 0, 64), 64);
    hak_bits_set(map, 7, 0);
    EXPECT_EQ(hak_bits_count(map, 0, NBITS), 67);
}

/* ---- list ------------------------------------------------------------ */

enum { ITEMS = 50 };

struct item {
    int before;
    struct hak_link link;
    int id;
};

static void expect_list(const struct hak_link *head, const int *ids, size_t n)
{
    const struct hak_link *at = head;
    for (size_t i = 0; i < n; i++) {
        EXPECT(at->next->prev == at);
        at = at->next;
        EXPECT_EQ(hak_item((uintptr_t)at, struct item, link)->id, ids[i]);
    }
    EXPECT(at->next == head && head->prev == at);
    EXPECT_EQ(hak_link_empty(head), n == 0);
}

TEST(list_against_an_array)
{
    static struct item items[ITEMS];
    struct hak_link head;
    int ids[ITEMS];
    size_t n = 0;
    hak_link_init(&head);
    for (int i = 0; i < ITEMS; i++)
        items[i].id = i;
    for (int round = 0; round < 5000; round++) {
        int id = (int)rnd(ITEMS);
        struct item *item = &items[id];
        size_t at = 0;
        while (at < n && ids[at] != id)
            at++;
        EXPECT_EQ(hak_link_in_list(&item->link), at < n);
        if (at < n) {
            hak_link_remove(&item->link);
            memmove(ids + at, ids + at + 1, (--n - at) * sizeof ids[0]);
        } else {
            at = rnd(n + 1); /* the new one's place: after the head or item */
            hak_link_after(at == 0 ? &head : &items[ids[at - 1]].link,
                           &item->link);
            memmove(ids + at + 1, ids + at, (n++ - at) * sizeof ids[0]);
            ids[at] = id;
        }
        expect_list(&head, ids, n);
    }
}

/* ---- sync ------------------------------------------------------------ */

enum { ROUNDS = 200000 };

static struct hak_lock lock;
static uint64_t guarded, shared, peak;

static void *count_up(void *argument)
{
    uint64_t low = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        if (i % 4 != 0 || !hak_lock_try(&lock))
            hak_lock_take(&lock);
        uint64_t was = guarded;
        __asm__ volatile("" ::: "memory");
        guarded = was + 1;
        hak_lock_drop(&lock);
        hak_count_shared(&shared, i % 3 == 0 ? -1 : 2);
        hak_count_peak(&peak, 2 * i + low);
        EXPECT_GE(hak_counted(&peak), 2 * i + low);
    }
    return NULL;
}

TEST(lock_and_shared_counters)
{
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, count_up, (void *)1), 0);
    count_up((void *)0);
    pthread_join(thread, NULL);
    EXPECT_EQ(guarded, 2 * ROUNDS);
    EXPECT_EQ(lock.word, 0);
    uint64_t minus = (ROUNDS + 2) / 3, plus = ROUNDS - minus;
    EXPECT_EQ(shared, 2 * (2 * plus - minus));
    EXPECT_EQ(peak, 2 * (ROUNDS - 1) + 1);
    hak_count_peak(&peak, 5);
    EXPECT_EQ(peak, 2 * (ROUNDS - 1) + 1);
}

static void *take_and_note(void *argument)
{
    hak_lock_take(&lock);
    hak_count(argument, 1);
    hak_lock_drop(&lock);
    return NULL;
}

TEST(lock_sleeps_and_wakes)
{
    enum { SLEEPERS = 3 };
    pthread_t thread[SLEEPERS];
    uint64_t got = 0;
    hak_lock_take(&lock);
    EXPECT(!hak_lock_try(&lock));
    for (int i = 0; i < SLEEPERS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, take_and_note, &got), 0);
    while (__atomic_load_n(&lock.word, __ATOMIC_RELAXED) !=
           (hak_lock_self() | HAK_LOCK_WAITED))
        usleep(1000);
    usleep(20000);
    EXPECT_EQ(hak_counted(&got), 0);
    hak_lock_drop(&lock);
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_EQ(got, SLEEPERS);
    EXPECT(hak_lock_try(&lock));
}

static void expect_fork(enum hak_fork_phase phase, int error)
{
    errno = EXDEV;
    hak_lock_fork(&lock, phase);
    EXPECT_EQ(errno, error);
}

static void *try_lock(void *got)
{
    if (!hak_lock_try(&lock))
        return NULL;
    hak_lock_drop(&lock);
    return got;
}

static bool another_gets_it(void)
{
    pthread_t thread;
    void *got;
    EXPECT_EQ(pthread_create(&thread, NULL, try_lock, &lock), 0);
    pthread_join(thread, &got);
    return got != NULL;
}

/* The inner ones take nothing and release nothing, but in a child of theirs. */
TEST(a_lock_in_forks_inside_of_forks)
{
    expect_fork(HAK_FORK_PREPARE, EXDEV);
    EXPECT(hak_lock_is_mine(&lock) && hak_lock_is_whole(&lock));
    EXPECT(!another_gets_it());
    for (uint32_t depth = 1; depth <= 100; depth++) {
        expect_fork(HAK_FORK_PREPARE, EXDEV);
        EXPECT_EQ(hak_lock_again(&lock), depth);
    }
    for (uint32_t depth = 100; depth >= 1; depth--) {
        EXPECT(!another_gets_it());
        expect_fork(HAK_FORK_PARENT, EXDEV);
    }
    EXPECT(!another_gets_it());
    expect_fork(HAK_FORK_PARENT, EXDEV);
    EXPECT(another_gets_it());
    for (int i = 0; i < 3; i++)
        expect_fork(HAK_FORK_PREPARE, EXDEV);
    expect_fork(HAK_FORK_CHILD, EXDEV);
    EXPECT(another_gets_it());
    expect_fork(HAK_FORK_PARENT, EXDEV); /* the outer ones: nothing to do */
    expect_fork(HAK_FORK_PARENT, EXDEV);
    EXPECT(another_gets_it());
}

/* It stays with the call, which drops it once in each process. */
TEST(a_lock_that_an_interrupted_call_holds)
{
    for (int alone = 0; alone < 2; alone++)
        for (int child = 0; child < 2; child++) {
            (alone ? hak_lock_enter : hak_lock_take)(&lock);
            for (int i = 0; i < 2; i++) {
                expect_fork(HAK_FORK_PREPARE, EDEADLK);
                EXPECT(hak_lock_is_mine(&lock) && !hak_lock_is_whole(&lock));
            }
            expect_fork(child ? HAK_FORK_CHILD : HAK_FORK_PARENT, EXDEV);
            expect_fork(HAK_FORK_PARENT, EXDEV);
            EXPECT(!another_gets_it());
            expect_fork(HAK_FORK_PARENT, EXDEV); /* of one that is over */
            EXPECT(!another_gets_it());
            (alone ? hak_lock_leave : hak_lock_drop)(&lock);
            EXPECT(another_gets_it());
        }
}

static void *take_for_fork(void *got)
{
    hak_lock_fork(&lock, HAK_FORK_PREPARE);
    hak_count(got, 1);
    hak_lock_fork(&lock, HAK_FORK_PARENT);
    return NULL;
}

TEST(forks_wait_for_a_lock_in_turn)
{
    enum { FORKERS = 3 };
    pthread_t thread[FORKERS];
    uint64_t got = 0;
    hak_lock_take(&lock);
    for (int i = 0; i < FORKERS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, take_for_fork, &got), 0);
    while (!(__atomic_load_n(&lock.word, __ATOMIC_RELAXED) & HAK_LOCK_WAITED))
        usleep(1000);
    EXPECT_EQ(hak_counted(&got), 0);
    hak_lock_drop(&lock);
    for (int i = 0; i < FORKERS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_EQ(got, FORKERS);
    EXPECT_EQ(lock.word, 0);
}

/* ---- map ------------------------------------------------------------- */

static void *meta(struct hak_box *box, size_t size_bytes)
{
    EXPECT(box != NULL);
    return calloc(1, size_bytes);
}

TEST(map_any_address)
{
    enum { GRANULES = 64 };
    const uintptr_t base = (uintptr_t)20 << 40;
    struct hak_host host = {.window_base = base,
                            .window_bytes = GRANULES * HAK_GRANULE_BYTES,
                            .meta = meta};
    struct hak_box box = {.host = &host};
    struct hak_map m;
    int mine;
    EXPECT(hak_map_init(&m, &box));
    const uintptr_t at = base + 3 * HAK_GRANULE_BYTES;
    hak_map_set(&m, (void *)at, 2 * HAK_GRANULE_BYTES, &mine);
    EXPECT(hak_map_get(&m, (void *)at) == &mine);
    EXPECT(hak_map_get(&m, (void *)(at + 2 * HAK_GRANULE_BYTES - 1)) == &mine);
    const uintptr_t others[] = {0,
                                1,
                                base - 1,
                                base,
                                at - 1,
                                at + 2 * HAK_GRANULE_BYTES,
                                base + host.window_bytes - 1,
                                base + host.window_bytes,
                                (uintptr_t)1 << 63,
                                UINTPTR_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        EXPECT(hak_map_get(&m, (void *)others[i]) == NULL);
    hak_map_set(&m, (void *)at, 2 * HAK_GRANULE_BYTES, NULL);
    EXPECT(hak_map_get(&m, (void *)at) == NULL);
}

/* ---- size index: box.h against its own words ------------------------- */

/* "16-byte steps to 1 KiB, then 8 steps per doubling to 256 KiB" */
static size_t boundaries(size_t *last)
{
    size_t n = 0;
    for (size_t bytes = 0; bytes <= 1024; bytes += 16)
        last[n++] = bytes;
    for (size_t half = 1024; half < 262144; half *= 2)
        for (size_t step = 1; step <= 8; step++)
            last[n++] = half + half / 8 * step;
    return n;
}

TEST(index_of_every_size)
{
    size_t last[200], n = boundaries(last), at = 0;
    EXPECT_EQ(n, HAK_LANES);
    EXPECT_EQ(n, HAK_INDEX_LARGE);
    for (size_t bytes = 0; bytes <= HAK_LANE_MAX_BYTES; bytes++) {
        at += bytes > last[at];
        EXPECT_EQ(hak_index_of(bytes), at);
        EXPECT_EQ(hak_index_bytes((uint32_t)at), last[at]);
    }
    EXPECT_EQ(at, HAK_LANES - 1);
}

TEST(index_of_large)
{
    for (size_t bytes = HAK_LANE_MAX_BYTES + 1; bytes < 300000; bytes++)
        EXPECT_EQ(hak_index_of(bytes), HAK_INDEX_LARGE);
    for (unsigned shift = 19; shift < 64; shift++)
        for (size_t off = 0; off < 3; off++)
            EXPECT_EQ(hak_index_of(((size_t)1 << shift) + off - 1),
                      HAK_INDEX_LARGE);
    EXPECT_EQ(hak_index_of(SIZE_MAX), HAK_INDEX_LARGE);
    EXPECT_EQ(hak_index_of(PTRDIFF_MAX), HAK_INDEX_LARGE);
    EXPECT(hak_index_bytes(HAK_INDEX_LARGE) == SIZE_MAX);
}

TEST_MAIN()

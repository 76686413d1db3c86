/* SPDX-License-Identifier: MIT
 * test_smallmid.c - lists, slabs and SuperSlabs, one thread.
 */
#include "smallmid.h"

#include <stdio.h>
#include <sys/resource.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { MIB = 1 << 20, MOST = 20000 };

static struct hak_box *box;
static void *block[MOST];

static void start_with(const char *const *params)
{
    if (th_open_entry(&hak_box_entry, "smallmid", params, 0, &box) != 0)
        test_fail(__FILE__, __LINE__, "%s", th_error());
    th_map_junk(false);
}

static void start(void)
{
    start_with(NULL);
}

static struct smallmid *sm(void)
{
    return smallmid_of(box);
}

/* The list of the calling thread. */
static struct list *list_of(uint32_t c)
{
    struct heap *heap = box->host->heap(box, true);
    EXPECT(heap != NULL);
    return &heap->list[c];
}

static struct hak_box_stats stats(void)
{
    return th_stats(box);
}

static void fill(size_t n, size_t size_bytes)
{
    for (size_t i = 0; i < n; i++)
        EXPECT((block[i] = th_malloc(box, size_bytes)) != NULL);
}

static void drain(size_t n)
{
    for (size_t i = 0; i < n; i++)
        th_free(block[i]);
}

static void expect_nothing_left(void)
{
    EXPECT_EQ(stats().live_count, 0);
    smallmid_check(sm());
    box->ops->trim(box);
    smallmid_check(sm());
    EXPECT_EQ(th_mapped(box), 0);
    for (uint32_t c = 0; c < sm()->nclasses; c++)
        EXPECT_EQ(sm()->pool[c].out, 0);
}

/* ---- classes ----------------------------------------------------------- */

TEST(every_size_up_to_1024_has_its_slot)
{
    start();
    for (size_t size = 1; size <= 1024; size++) {
        size_t slot = size <= 256 ? 256 : size <= 512 ? 512 : 1024;
        void *p = th_malloc(box, size);
        EXPECT(p != NULL);
        EXPECT_EQ(th_usable(p), slot);
        EXPECT_EQ(box->ops->slot_size(box, size), slot);
        EXPECT_EQ(slab_tag(slab_of(&sm()->supers, p)),
                  0xb0 | (slot == 256   ? 0
                          : slot == 512 ? 1
                                        : 2));
        memset(p, 1, slot);
        th_free(p);
    }
    EXPECT(th_malloc(box, 1025) == NULL);
    EXPECT_EQ(box->ops->slot_size(box, 1025), 0);
    expect_nothing_left();
}

TEST(capacities_and_batches_are_the_notes)
{
    static const struct {
        uint32_t slot_bytes, capacity, batch;
    } want[] = {{256, 32, 16}, {512, 24, 12}, {1024, 16, 8}};
    start();
    EXPECT_EQ(sm()->nclasses, 3);
    for (uint32_t c = 0; c < 3; c++) {
        EXPECT_EQ(sm()->pool[c].slot_bytes, want[c].slot_bytes);
        EXPECT_EQ(sm()->pool[c].capacity, want[c].capacity);
        EXPECT_EQ(sm()->pool[c].batch, want[c].batch);
    }
}

TEST(other_slot_sets_scale)
{
    start_with((const char *const[]){"slots=16, 48,80,384,1024", NULL});
    static const uint32_t capacity[] = {64, 48, 40, 24, 16};
    for (uint32_t c = 0; c < 5; c++)
        EXPECT_EQ(sm()->pool[c].capacity, capacity[c]);
    for (size_t size = 1; size <= 1024; size++) {
        fill(3, size);
        for (int i = 0; i < 3; i++)
            EXPECT_GE(th_usable(block[i]), size);
        drain(3);
    }
    for (size_t align = 32; align <= 1024; align *= 2)
        for (size_t size = 1; size <= 1024; size += 7) {
            void *p = th_aligned_alloc(box, align, size);
            EXPECT(p != NULL && (uintptr_t)p % align == 0);
            th_free(p);
        }
    expect_nothing_left();
}

TEST(bad_slot_sets_are_refused)
{
    static const char *const bad[] = {
        "slots=",        "slots=,",       "slots=256,",   "slots=0",
        "slots=512,256", "slots=256,256", "slots=100",    "slots=1040",
        "slots=256;512", "slots=x",       "slots=256 512"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *const params[] = {bad[i], NULL};
        if (th_open_entry(&hak_box_entry, "bad", params, 0, &box) != -EINVAL)
            test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
        EXPECT_CONTAINS(th_last_log(), "need up to 16 rising multiples");
    }
}

TEST(seventeen_slots_are_too_many)
{
    const char *const params[] = {
        "slots=16,32,48,64,80,96,112,128,144,160,176,192,208,224,240,256,272",
        NULL};
    EXPECT_EQ(th_open_entry(&hak_box_entry, "bad", params, 0, &box), -EINVAL);
}

/* ---- lists ------------------------------------------------------------- */

TEST(a_refill_takes_a_batch_and_the_last_in_goes_out_first)
{
    start();
    char *a = th_malloc(box, 256);
    EXPECT_EQ(list_count(list_of(0)), 15);
    EXPECT_EQ(sm()->pool[0].out, 16);
    char *b = th_malloc(box, 256);
    EXPECT_EQ(b - a, 256); /* carved upwards */
    th_free(a);
    th_free(b);
    EXPECT(th_malloc(box, 200) == b);
    EXPECT(th_malloc(box, 200) == a);
    th_free(a);
    th_free(b);
    expect_nothing_left();
}

TEST(a_long_list_is_cut_to_a_batch)
{
    start();
    fill(200, 1024);
    uint32_t cuts = 0;
    for (size_t i = 0; i < 200; i++) {
        uint64_t before = list_count(list_of(2));
        th_free(block[i]);
        uint64_t after = list_count(list_of(2));
        EXPECT_LT(after, 2 * 16);
        if (after == before + 1)
            continue;
        EXPECT_EQ(after, 8);
        EXPECT_GE(before, 16); /* and one more came */
        cuts++;
    }
    EXPECT_GE(cuts, 4);
    EXPECT_EQ(sm()->pool[2].out, list_count(list_of(2)));
    fill(1, 1);
    drain(1);
    smallmid_check(sm());
}

TEST(longer_lists_by_parameter)
{
    start_with((const char *const[]){"lists=4", NULL});
    EXPECT_EQ(sm()->pool[0].capacity, 4 * 32);
    EXPECT_EQ(sm()->pool[0].batch, 4 * 16);
    fill(1, 256);
    EXPECT_EQ(sm()->pool[0].out, 64);
    drain(1);
    fill(5000, 256);
    drain(5000);
    EXPECT_LT(list_count(list_of(0)), 2 * 128);
    expect_nothing_left();
}

TEST(lists_stay_bounded_and_nothing_leaks)
{
    start();
    size_t most = 0;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < 1000; i++)
            EXPECT((block[i] = th_malloc(box, 1 + i * 7 % 1024)) != NULL);
        EXPECT_EQ(stats().live_count, 1000);
        drain(1000);
        for (uint32_t c = 0; c < 3; c++) {
            EXPECT_LT(list_count(list_of(c)), 2u * sm()->pool[c].capacity);
            EXPECT_EQ(list_count(list_of(c)), sm()->pool[c].out);
        }
        EXPECT_EQ(stats().live_count, 0);
        if (round == 3)
            most = th_mapped(box);
    }
    EXPECT_LE(th_mapped(box), most);
    expect_nothing_left();
}

/* ---- slabs and SuperSlabs ---------------------------------------------- */

TEST(an_empty_slab_serves_another_class)
{
    start();
    fill(64 * 16, 1024); /* one SuperSlab, all of it */
    EXPECT_EQ(th_mapped(box), MIB);
    void *kept = block[0];
    for (size_t i = 1; i < 64 * 16; i++)
        th_free(block[i]);
    heap_flush(box->host->heap(box, false));
    EXPECT_EQ(stats().retired_pages, 15);
    EXPECT_EQ(stats().cached_bytes, 15 * 65536);
    fill(15 * 256, 256);
    EXPECT_EQ(th_mapped(box), MIB);
    EXPECT_EQ(th_counts().maps, 1);
    drain(15 * 256);
    th_free(kept);
    expect_nothing_left();
}

/* Else a second free of one of its slots would be taken inline, by the list. */
TEST(a_slab_that_went_back_is_no_list_s)
{
    start();
    fill(256, 256); /* one slab */
    void *kept = th_malloc(box, 1024);
    EXPECT(box->host->span_of(block[0]) == &list_of(0)->span);
    drain(256);
    heap_flush(box->host->heap(box, false));
    EXPECT_EQ(stats().retired_pages, 1);
    EXPECT(box->host->span_of(block[0]) == NULL);
    smallmid_check(sm());
    th_free(kept);
    expect_nothing_left();
}

TEST(warm_empty_superslabs_are_kept_and_no_more)
{
    start_with((const char *const[]){"warm=2", NULL});
    for (int round = 0; round < 3; round++) {
        fill(5 * 1024, 1024);
        EXPECT_EQ(th_mapped(box), 5 * MIB);
        drain(5 * 1024);
        heap_flush(box->host->heap(box, false));
        EXPECT_EQ(th_mapped(box), 2 * MIB);
        EXPECT_EQ(sm()->supers.chunks.nempty, 2);
        smallmid_check(sm());
    }
    EXPECT_EQ(box->ops->trim(box), 2 * MIB);
    expect_nothing_left();
}

TEST(without_warm_an_empty_superslab_goes_at_once)
{
    start_with((const char *const[]){"warm=0", NULL});
    fill(1024, 1024);
    drain(1024);
    heap_flush(box->host->heap(box, false));
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT_EQ(box->ops->trim(box), 0);
    expect_nothing_left();
}

TEST(trim_purges_free_slabs_beside_live_ones)
{
    start();
    fill(1024, 1024);
    for (size_t i = 1; i < 1024; i++)
        th_free(block[i]);
    EXPECT_EQ(box->ops->trim(box), 15 * 65536);
    EXPECT_EQ(box->ops->trim(box), 0);
    EXPECT_EQ(th_mapped(box), MIB);
    EXPECT_LE(th_resident(), 65536);
    th_free(block[0]);
    expect_nothing_left();
}

/* ---- reuse and prewarm, measured --------------------------------------- */

static uint64_t faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt;
}

struct cost {
    uint64_t maps, faults;
};

/* A million operations in rounds of 2000 blocks of 512 bytes. */
static struct cost million(const char *what, const char *const *params)
{
    start_with(params);
    memset(block, 0, sizeof block);
    fill(1, 512); /* the test host's own tables */
    drain(1);
    struct th_counts before = th_counts();
    uint64_t faults_before = faults();
    for (int round = 0; round < 250; round++) {
        for (size_t i = 0; i < 2000; i++) {
            EXPECT((block[i] = th_malloc(box, 512)) != NULL);
            *(char *)block[i] = 1;
        }
        drain(2000);
    }
    struct cost cost = {th_counts().maps - before.maps,
                        faults() - faults_before};
    fprintf(stderr, "# %s: %llu maps, %llu minor faults in 1 M operations\n",
            what, (unsigned long long)cost.maps,
            (unsigned long long)cost.faults);
    expect_nothing_left();
    return cost;
}

TEST(reuse_saves_the_page_faults)
{
    SKIP_TSAN("most faults are its own");
    struct cost on = million("reuse = on", NULL);
    struct cost off =
        million("reuse = off", (const char *const[]){"reuse=off", NULL});
    struct cost warm =
        million("prewarm = 2", (const char *const[]){"prewarm=2", NULL});
    printf("# 1 M operations, 512 B: reuse on %llu maps %llu faults, "
           "off %llu maps %llu faults, prewarm 2 %llu maps %llu faults\n",
           (unsigned long long)on.maps, (unsigned long long)on.faults,
           (unsigned long long)off.maps, (unsigned long long)off.faults,
           (unsigned long long)warm.maps, (unsigned long long)warm.faults);
    fflush(stdout);
    EXPECT_LE(on.maps, 2);
    EXPECT_GE(off.maps, 200);
    EXPECT_GE(off.faults, 20 * on.faults);
    EXPECT_EQ(warm.maps, 0);
    EXPECT_LE(warm.faults, on.faults / 2);
}

TEST(without_reuse_memory_still_goes_back)
{
    start_with((const char *const[]){"reuse=off", NULL});
    for (int round = 0; round < 20; round++) {
        fill(5000, 700);
        drain(5000);
        smallmid_check(sm());
        EXPECT_LE(th_mapped(box), 3 * MIB); /* lists have some of all slabs */
    }
    expect_nothing_left();
}

TEST(prewarm_touches_pages_at_the_start)
{
    th_map_junk(false);
    start_with((const char *const[]){"prewarm=3", NULL});
    EXPECT_EQ(th_mapped(box), 3 * MIB);
    EXPECT_GE(th_resident(), 3 * MIB);
    fill(3 * 1024, 1024);
    EXPECT_EQ(th_mapped(box), 3 * MIB);
    drain(3 * 1024);
    expect_nothing_left();
}

TEST(prewarm_makes_do_with_less)
{
    const char *const params[] = {"prewarm=4", NULL};
    th_host();
    th_fail_at(6); /* state, table, then struct and map of each */
    EXPECT_EQ(th_open_entry(&hak_box_entry, "poor", params, 0, &box), 0);
    th_fail_never();
    EXPECT_CONTAINS(th_last_log(), "prewarm: only 1 of 4");
    fill(2000, 1024);
    drain(2000);
    expect_nothing_left();
}

/* ---- no memory --------------------------------------------------------- */

TEST(no_host_call_that_fails_loses_anything)
{
    start();
    for (uint64_t at = 1; at < 12; at++) {
        th_fail_at(at);
        size_t n = 0;
        while (n < MOST && (block[n] = th_malloc(box, 1024)) != NULL)
            n++;
        th_fail_never();
        EXPECT_LT(n, MOST);
        smallmid_check(sm());
        EXPECT_EQ(stats().live_count, n);
        EXPECT((block[n] = th_malloc(box, 1024)) != NULL);
        drain(n + 1);
        expect_nothing_left();
    }
}

/* ---- owns, walk, free --------------------------------------------------- */

TEST(owns_answers_for_any_pointer)
{
    start();
    char *p = th_malloc(box, 300);
    EXPECT(box->ops->owns(box, p) && box->ops->owns(box, p + 299));
    EXPECT(!box->ops->owns(box, NULL));
    EXPECT(!box->ops->owns(box, (void *)UINTPTR_MAX));
    EXPECT(!box->ops->owns(box, &p));
    for (uintptr_t at = 1; at != 0; at <<= 1)
        box->ops->owns(box, (void *)at);
    EXPECT(!box->ops->owns(box, (void *)(box->host->window_base - 1)));
    th_free(p);
    box->ops->trim(box);
    EXPECT(!box->ops->owns(box, p));
}

TEST_DIES(a_slot_whose_slab_has_gone, SIGABRT, "no slots there")
{
    start();
    void *p = th_malloc(box, 300);
    th_free(p);
    box->ops->trim(box);
    box->ops->free(box, p);
}

TEST_DIES(freed_twice, SIGABRT, "freed twice")
{
    start();
    void *p = th_malloc(box, 300), *q = th_malloc(box, 300);
    th_free(p);
    th_free(q);
    box->ops->free(box, p);
}

TEST_DIES(freed_twice_from_the_slab, SIGABRT, "freed twice")
{
    start();
    void *p = th_malloc(box, 300), *other = th_malloc(box, 300);
    th_free(p);
    heap_flush(box->host->heap(box, false)); /* on to the slab's list */
    box->ops->free(box, p);
    th_free(other);
}

static bool count_one(void *context, void *p, size_t slot_bytes)
{
    size_t *n = context;
    EXPECT(box->ops->usable_size(box, p) == slot_bytes);
    return ++*n != 50;
}

TEST(walk_skips_what_is_in_lists)
{
    start();
    fill(40, 500);
    for (int i = 0; i < 40; i += 2)
        th_free(block[i]);
    size_t n = 0;
    box->ops->visit_slots(box, count_one, &n);
    EXPECT_EQ(n, 20);
    EXPECT_EQ(stats().live_count, 20);
    EXPECT_EQ(stats().live_bytes, 20 * 512);
    for (int i = 1; i < 40; i += 2)
        th_free(block[i]);
    fill(100, 100);
    n = 0;
    box->ops->visit_slots(box, count_one, &n);
    EXPECT_EQ(n, 50); /* the visitor said stop */
    drain(100);
    expect_nothing_left();
}

/* The notes' box hung at a working set of exactly 128. */
TEST(powers_of_two_as_working_sets)
{
    static const size_t sizes[] = {129, 256, 512, 1024};
    start();
    for (size_t s = 0; s < 4; s++)
        for (size_t ws = 1; ws <= 4096; ws *= 2) {
            fill(ws, sizes[s]);
            for (size_t i = 0; i < 3 * ws + 100; i++) {
                th_free(block[i % ws]);
                EXPECT((block[i % ws] = th_malloc(box, sizes[s])) != NULL);
            }
            drain(ws);
            EXPECT_EQ(stats().live_count, 0);
        }
    expect_nothing_left();
}

TEST(random_sizes_and_order)
{
    start();
    for (int i = 0; i < 300000; i++) {
        size_t at = rnd(5000);
        th_free(block[at]);
        EXPECT((block[at] = th_malloc(box, 1 + rnd(1024))) != NULL);
    }
    smallmid_check(sm());
    EXPECT_EQ(stats().live_count, th_live(box, true));
    drain(5000);
    expect_nothing_left();
}

TEST_MAIN()

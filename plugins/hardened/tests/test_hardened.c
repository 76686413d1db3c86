/* SPDX-License-Identifier: MIT
 * test_hardened.c - random places, canaries, quarantine, guards.
 *
 * Tests of wrong calls call the operations directly, because the test host
 * refuses such calls itself.
 */
#include "bounds.h"

#include "only_calls.h"
#include "test.h"
#include "testhost.h"

#include <stdio.h>

enum { N = 2000 };
static char *block[N];

#define OPEN(...) \
    open_hardened((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static struct hak_box *open_hardened(const char *const *params)
{
    struct hak_box *box = NULL;
    int error = th_open_entry(&hak_box_entry, "hardened", params, 0, &box);
    if (error != 0)
        test_fail(__FILE__, __LINE__, "open: %d: %s", error, th_error());
    return box;
}

static void *get(struct hak_box *box, size_t size_bytes)
{
    void *p = box->ops->alloc(box, size_bytes);
    EXPECT(p != NULL);
    return p;
}

static void put(struct hak_box *box, void *p)
{
    box->ops->free(box, p);
}

static uint64_t nguarded(const struct hak_box *box)
{
    return hardened_of(box)->now->nguarded;
}

/* ---- places ---------------------------------------------------------------
 */

TEST(slots_come_in_no_order)
{
    struct hak_box *box = OPEN();
    int rising = 0, neighbours = 0;
    for (int i = 0; i < 400; i++) {
        block[i] = get(box, 100);
        rising += i != 0 && block[i] > block[i - 1];
        neighbours += i != 0 && block[i] == block[i - 1] + 128;
    }
    EXPECT_GT(rising, 100);
    EXPECT_LT(rising, 300);
    EXPECT_LT(neighbours, 40);
}

/* The first slab is any of the eight, each with the same probability. */
TEST(slabs_come_in_no_order)
{
    enum { SPANS = 8 };
    int same = 0;
    for (int round = 0; round < 12; round++) {
        struct hak_box *box = OPEN();
        const struct hardened *h = hardened_of(box);
        const char *first = get(box, 16000);
        const struct class *c = h->now->arena[0]->class[hak_index_of(16384)];
        EXPECT(c != NULL);
        size_t each =
            h->shape[hak_index_of(16384)].slab_granules * HAK_GRANULE_BYTES;
        EXPECT_EQ(c->nslabs, SPANS);
        same += (size_t)(first - c->region) / each == 0;
    }
    EXPECT_LT(same, 10); /* 1.5 on average; ten once in 10^7 runs */
}

TEST(two_instances_choose_differently)
{
    struct hak_box *a = OPEN(), *b = OPEN();
    const char *at[2] = {get(a, 100), get(b, 100)};
    int same = 0;
    for (int i = 0; i < 50; i++)
        same += (char *)get(a, 100) - at[0] == (char *)get(b, 100) - at[1];
    EXPECT_LT(same, 10);
}

/* A granule serves one class for ever, whatever is allocated and freed. */
TEST(classes_share_no_address)
{
    static uint8_t class_at[1 << 16];
    struct hak_box *box = OPEN("quarantine=0", "empty_bytes=0");
    char *low = NULL;
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < N; i++) {
            size_t bytes = 1 + (i * 7919 + (size_t)round * 104729) % 4000;
            block[i] = get(box, bytes);
            if (low == NULL)
                low = block[0] - ((size_t)HAK_GRANULE_BYTES << 15);
            size_t g = (size_t)(block[i] - low) >> HAK_GRANULE_SHIFT;
            uint8_t class = (uint8_t)hak_index_of(bytes + BORDER_BYTES);
            EXPECT_LT(g, sizeof class_at);
            EXPECT(class_at[g] == 0 || class_at[g] == class);
            class_at[g] = class;
        }
        for (size_t i = 0; i < N; i++)
            put(box, block[i]);
        box->ops->trim(box);
    }
}

TEST(every_size_is_whole_and_honest)
{
    struct hak_box *box = OPEN();
    for (size_t bytes = 1; bytes < 200000; bytes += 1 + bytes / 50) {
        char *p = get(box, bytes);
        size_t usable = box->ops->usable_size(box, p);
        EXPECT_EQ(usable, bytes);
        EXPECT_EQ(usable, box->ops->slot_size(box, bytes));
        for (size_t i = 0; i < usable; i++)
            EXPECT_EQ(p[i], 0);
        memset(p, 0x5a, usable);
        put(box, p);
    }
}

TEST(aligned_to_anything)
{
    struct hak_box *box = OPEN();
    for (size_t align = 32; align <= (size_t)1 << 24; align *= 2)
        for (size_t bytes = 1; bytes < 300000; bytes = bytes * 5 + 3) {
            char *p = box->ops->aligned_alloc(box, align, bytes);
            EXPECT(p != NULL && (uintptr_t)p % align == 0);
            memset(p, 0x5a, box->ops->usable_size(box, p));
            put(box, p);
        }
}

/* ---- after free ------------------------------------------------------------
 */

TEST(freed_bytes_are_wiped)
{
    struct hak_box *box = OPEN();
    char *p = get(box, 100);
    memset(p, 42, 100);
    put(box, p);
    for (size_t i = 0; i < 112; i++)
        EXPECT_EQ(p[i], 0);
}

/* A write to any page of a long slot is wiped. */
TEST(all_pages_of_a_long_slot_are_wiped)
{
    enum { BYTES = 100000 };
    struct hak_box *box = OPEN();
    for (size_t at = 0; at < BYTES; at += 777) {
        char *p = get(box, BYTES);
        p[at] = p[BYTES - 1 - at] = 42;
        put(box, p);
        for (size_t i = 0; i < BYTES + BORDER_BYTES; i++)
            EXPECT_EQ(p[i], 0);
    }
}

static size_t resident_bytes(void)
{
    unsigned long all, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    EXPECT(f != NULL && fscanf(f, "%lu %lu", &all, &resident) == 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

TEST(wiping_makes_no_page_of_a_long_slot)
{
    enum { BYTES = 100000, SLOTS = 100 };
    if (TEST_TSAN || TEST_ASAN)
        SKIP("a sanitizer has memory of its own for what is looked at");
    struct hak_box *box = OPEN();
    resident_bytes(); /* the first call makes memory of stdio resident */
    size_t before = resident_bytes();
    for (int i = 0; i < SLOTS; i++)
        *(block[i] = get(box, BYTES)) = 1;
    for (int i = 0; i < SLOTS; i++)
        put(box, block[i]);
    EXPECT_LT(resident_bytes() - before, SLOTS * BYTES / 3);
}

TEST(a_freed_slot_waits)
{
    struct hak_box *box = OPEN("quarantine=16");
    for (int round = 0; round < 100; round++) {
        char *p = get(box, 100);
        put(box, p);
        for (int i = 0; i < 16; i++) { /* p waits at least a queue's length */
            char *q = get(box, 100);
            EXPECT(q != p);
            put(box, q);
        }
    }
}

/* The blocks have different sizes, so the open pages of a place change. */
TEST(blocks_come_again_and_read_zero)
{
    struct hak_box *box = OPEN("big_quarantine=3");
    int again = 0;
    for (size_t i = 0; i < 3000; i++) {
        size_t bytes = 132000 + i * 7919 % 200000;
        char *p = get(box, bytes);
        for (size_t k = 0; k < bytes; k += 512)
            EXPECT_EQ(p[k], 0);
        EXPECT_EQ(p[bytes - 1], 0);
        again += i != 0 && (size_t)(p - block[0]) < bytes;
        block[0] = p;
        memset(p, 0x5a, box->ops->usable_size(box, p));
        put(box, p);
    }
    EXPECT_EQ(again, 0); /* no place is used again at once */
    EXPECT_LT(th_counts().maps, 200);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

static void write_after_free(size_t at)
{
    struct hak_box *box = OPEN();
    char *p = get(box, 100);
    put(box, p);
    p[at] = 1;
    for (int i = 0; i < 100000; i++)
        put(box, get(box, 100));
    for (int i = 0; i < 2000; i++)
        get(box, 100);
}

TEST_DIES(write_after_free_in_front, SIGABRT, "was written to since")
{
    write_after_free(0);
}

TEST_DIES(write_after_free_at_the_end, SIGABRT, "was written to since")
{
    write_after_free(111);
}

TEST_DIES(freed_twice, SIGABRT, "freed twice")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 100);
    put(box, p);
    put(box, p);
}

TEST_DIES(freed_twice_when_it_is_out_of_quarantine, SIGABRT, "freed twice")
{
    struct hak_box *box = OPEN("quarantine=0");
    char *p = get(box, 100);
    put(box, p);
    put(box, p);
}

TEST_DIES(never_handed_out, SIGABRT, "never handed out")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 1000); /* a slot of 1024 with its border */
    size_t at = (uintptr_t)p % HAK_GRANULE_BYTES;
    put(box, at == 0 ? p + 1024 : p - 1024);
}

TEST_DIES(usable_size_of_a_freed_slot, SIGABRT, "not a live slot")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 100);
    put(box, p);
    (void)box->ops->usable_size(box, p);
}

/* ---- bounds ----------------------------------------------------------------
 */

static void overflow(size_t size_bytes)
{
    struct hak_box *box = OPEN();
    char *p = get(box, size_bytes);
    p[size_bytes] = 0;
    put(box, p);
}

TEST_DIES(overflow_of_the_smallest, SIGABRT, "of 1 bytes")
{
    overflow(1);
}

TEST_DIES(overflow_of_the_largest_slot, SIGABRT, "overflow")
{
    overflow(SLOT_MOST_BYTES - BORDER_BYTES);
}

TEST_DIES(overflow_in_what_rounding_leaves, SIGABRT, "of 4096 bytes")
{
    overflow(4096);
}

TEST_DIES(overflow_of_a_block_inside_of_its_page, SIGABRT, "overflow")
{
    overflow(131059);
}

TEST_DIES(overflow_of_an_aligned_slot, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = box->ops->aligned_alloc(box, 4096, 100);
    p[300] = 1;
    put(box, p);
}

TEST_DIES(behind_the_page_of_an_aligned_block, SIGSEGV, NULL)
{
    char *p = OPEN()->ops->aligned_alloc(OPEN(), 1 << 20, 100);
    p[4096] = 1;
}

static void underflow(size_t size_bytes, int by)
{
    struct hak_box *box = OPEN();
    char *p = get(box, size_bytes);
    while ((uintptr_t)p % 16384 == 0) /* the run in front may be closed */
        p = get(box, size_bytes);
    p[-by] ^= 1;
    put(box, p);
}

TEST_DIES(underflow_of_a_slot, SIGABRT, "underflow")
{
    underflow(16, 1);
}

TEST_DIES(underflow_by_16, SIGABRT, "underflow")
{
    underflow(3000, 16);
}

TEST_DIES(underflow_of_a_block_inside_of_its_page, SIGABRT, "underflow")
{
    underflow(140000, 1);
}

TEST_DIES(underflow_by_more_inside_of_a_blocks_page, SIGABRT, "underflow")
{
    underflow(140000, 900);
}

TEST_DIES(a_slot_that_was_overrun_does_not_grow, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 30);
    p[30] = 1;
    box->ops->resize(box, p, 31);
}

TEST_DIES(a_block_that_was_overrun_does_not_grow, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 131059);
    p[131059] = 1;
    box->ops->resize(box, p, 200000);
}

TEST_DIES(overflow_of_a_block, SIGSEGV, NULL)
{
    overflow(SLOT_MOST_BYTES);
}

TEST_DIES(overflow_of_a_block_that_grew, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = box->ops->resize(box, get(box, 140000), 141000);
    p[141000] = 1;
    put(box, p);
}

TEST_DIES(behind_the_page_of_a_block_that_grew, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    char *p = box->ops->resize(box, get(box, 140000), 141000);
    p[hak_round_up(141000, 4096)] = 1;
}

TEST_DIES(underflow_of_a_block, SIGSEGV, NULL)
{
    char *p = get(OPEN(), 2 * HAK_GRANULE_BYTES);
    p[-1] = 1;
}

TEST_DIES(use_of_a_freed_block, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    char *p = get(box, SLOT_MOST_BYTES);
    put(box, p);
    *(volatile char *)p = 1;
}

TEST_DIES(use_of_a_block_that_is_kept, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN("big_quarantine=0");
    char *p = get(box, SLOT_MOST_BYTES);
    put(box, p);
    *(volatile char *)p = 1;
}

TEST_DIES(what_is_in_front_of_a_blocks_page_faults, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN("big_quarantine=0");
    put(box, get(box, 190000)); /* a longer block in the same place first */
    char *p = get(box, 140000);
    *(volatile char *)(p - 5000) = 1;
}

/* For every size: a change of any byte around the program's is found. */
TEST(each_byte_around_is_looked_at)
{
    struct hak_box *box = OPEN();
    struct hardened *h = hardened_of(box);
    for (size_t bytes = 1; bytes < 9000; bytes += 1 + bytes / 20) {
        char *p = get(box, bytes);
        const struct slab *slab = slab_of(h, p);
        EXPECT(slab != NULL);
        size_t room = slab != NULL ? room_of(slab) : 0;
        for (size_t at = bytes; at < room + BORDER_BYTES; at++) {
            struct pair border = border_of(h, p + room + BORDER_BYTES);
            EXPECT(canary_is_whole(h, border, p, bytes, room));
            EXPECT(border_is(border, p + room + BORDER_BYTES));
            bool in_canary = at < bytes + 16 && at < room;
            EXPECT((p[at] & 0x80) != 0 || (at < room && !in_canary));
            p[at] ^= 4;
            EXPECT(canary_is_whole(h, border, p, bytes, room) !=
                   border_is(border, p + room + BORDER_BYTES));
            p[at] ^= 4;
        }
        put(box, p);
    }
}

/* ---- resize ---------------------------------------------------------------
 */

static void fill(char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        p[i] = (char)(i * 7 + i / 251);
}

static void expect_filled(const char *p, size_t to)
{
    for (size_t i = 0; i < to; i++)
        EXPECT(p[i] == (char)(i * 7 + i / 251));
}

/* realloc as the core does it: resize, or else copy and free. */
static char *resize(struct hak_box *box, char *p, size_t had, size_t size_bytes)
{
    char *q = box->ops->resize(box, p, size_bytes);
    if (q == NULL) {
        q = memcpy(get(box, size_bytes), p, hak_min(had, size_bytes));
        put(box, p);
    }
    EXPECT_EQ(box->ops->usable_size(box, q), size_bytes);
    return q;
}

static void up_and_down(struct hak_box *box)
{
    static const size_t sizes[] = {
        1,      15,     16,     17,     40,     100,    90,     1000,
        1100,   1064,   5000,   4800,   131040, 131060, 131056, 140000,
        139000, 139001, 300000, 290000, 290008, 500000, 250000, 120000};
    size_t had = 3;
    char *p = get(box, had);
    fill(p, 0, had);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size_bytes = sizes[i];
        p = resize(box, p, had, size_bytes);
        expect_filled(p, hak_min(had, size_bytes));
        fill(p, 0, size_bytes);
        had = size_bytes;
    }
    put(box, p);
}

TEST(resize_keeps_the_content_and_the_bounds)
{
    up_and_down(OPEN());
    up_and_down(OPEN("zero=no"));
    up_and_down(OPEN("most_guarded=1"));
    up_and_down(OPEN("guard=no"));
}

TEST(what_resize_gives_up_reads_zero)
{
    struct hak_box *box = OPEN();
    char *p = memset(get(box, 100), 0x5a, 100);
    EXPECT(box->ops->resize(box, p, 60) == p);
    EXPECT(box->ops->resize(box, p, 112) == p);
    for (size_t i = 76; i < 112; i++)
        EXPECT_EQ(p[i], 0);
}

/* A block that grows in small steps moves only as often as its size doubles. */
TEST(a_block_that_grows_moves_seldom)
{
    enum { FROM = 130000, TO = 3000000, STEP = 40 };
    struct hak_box *box = OPEN();
    int moves = 0;
    char *p = get(box, FROM); /* starts as a slot */
    for (size_t bytes = FROM; bytes < TO; bytes += STEP) {
        fill(p, bytes - STEP, bytes);
        char *q = resize(box, p, bytes, bytes + STEP);
        moves += q != p;
        p = q;
    }
    EXPECT_LE(moves, 8);
    EXPECT_EQ(nguarded(box), 2);
    put(box, p);
    EXPECT_EQ(nguarded(box), 1);
}

/* ---- marks ----------------------------------------------------------------
 */

static const struct hak_requests_1 *requests(struct hak_box *box)
{
    return box->ops->get_extension(box, HAK_REQUESTS_1);
}

TEST(marks_are_kept)
{
    struct hak_box *box = OPEN();
    for (size_t bytes = 1; bytes < 400000; bytes = bytes * 2 + 3) {
        char *p = get(box, bytes);
        for (uint32_t was = 0; was < 4; was++)
            EXPECT_EQ(requests(box)->mark(box, p, (was + 1) % 4), was);
        EXPECT_EQ(box->ops->usable_size(box, p), bytes);
        put(box, p);
    }
}

TEST(what_was_asked_for_can_be_told)
{
    struct hak_box *box = OPEN();
    for (size_t align = 32; align <= (size_t)1 << 20; align *= 8) {
        char *p = box->ops->aligned_alloc(box, align, 4 * align);
        requests(box)->mark(box, p, 2);
        requests(box)->asked(box, p, 7);
        EXPECT_EQ(box->ops->usable_size(box, p), 7);
        EXPECT_EQ(requests(box)->mark(box, p, 0), 2);
        put(box, p);
    }
}

TEST_DIES(a_marked_slot_is_not_freed, SIGABRT, "new gave out")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 50);
    requests(box)->mark(box, p, 1);
    put(box, p);
}

TEST_DIES(a_marked_block_is_not_resized, SIGABRT, "new gave out")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 500000);
    requests(box)->mark(box, p, 1);
    box->ops->resize(box, p, 500001);
}

/* ---- guards ---------------------------------------------------------------
 */

/* Write from a slot up or down until a guard faults, which must be within the
 * length of a slab. */
static void run_into_guard(int step)
{
    volatile char *p = get(OPEN(), 100);
    for (int i = 0; i < (int)HAK_GRANULE_BYTES; i++)
        p[i * step] = 1;
}

TEST_DIES(a_guard_behind_each_span, SIGSEGV, NULL)
{
    run_into_guard(1);
}

TEST_DIES(a_guard_in_front_of_each_span, SIGSEGV, NULL)
{
    /* The guard behind the slab in front, or the one before the region. */
    run_into_guard(-1);
}

TEST(slots_of_no_bytes)
{
    struct hak_box *box = OPEN();
    for (size_t i = 0; i < 1000; i++) {
        block[i] = box->ops->alloc_none(box);
        EXPECT(block[i] != NULL);
        EXPECT_EQ(box->ops->usable_size(box, block[i]), 0);
        for (size_t k = 0; k < i; k++)
            EXPECT(block[k] != block[i]);
    }
    for (size_t i = 0; i < 1000; i++)
        put(box, block[i]);
}

TEST_DIES(a_slot_of_no_bytes_faults, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    *(volatile char *)box->ops->alloc_none(box) = 1;
}

TEST_DIES(a_slot_of_no_bytes_freed_twice, SIGABRT, "freed twice")
{
    struct hak_box *box = OPEN();
    void *p = box->ops->alloc_none(box);
    put(box, p);
    put(box, p);
}

/* ---- mappings, memory ------------------------------------------------------
 */

/* nguarded counts each block and slab between guards while it is open, since
 * that takes a mapping. */
TEST(what_is_open_between_guards_is_counted)
{
    struct hak_box *box =
        OPEN("big_quarantine=0", "quarantine=0", "empty_bytes=0");
    EXPECT_EQ(nguarded(box), 0);
    char *block_of_its_own = get(box, 200000), *slot = get(box, 100);
    char *long_slot = get(box, 100000), *none = box->ops->alloc_none(box);
    EXPECT_EQ(nguarded(box), 3);
    put(box, none);
    put(box, block_of_its_own);
    EXPECT_EQ(nguarded(box), 2);
    put(box, slot);
    put(box, long_slot);
    box->ops->trim(box);
    EXPECT_EQ(nguarded(box), 0);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(no_more_than_so_many_lie_between_guards)
{
    enum { MOST = 20 };
    struct hak_box *box =
        OPEN("most_guarded=20", "big_quarantine=2", "empty_bytes=0");
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < 400; i++) {
            size_t bytes = i % 4 == 0 ? 140000 + i * 100 : i * 251 % 130000;
            block[i] = get(box, bytes);
            for (size_t k = 0; k < bytes; k += 512)
                EXPECT_EQ(block[i][k], 0);
            memset(block[i], 0x5a, box->ops->usable_size(box, block[i]));
            EXPECT_LE(nguarded(box), MOST);
        }
        EXPECT_EQ(nguarded(box), MOST);
        for (size_t i = 0; i < 400; i++)
            put(box, block[i]);
        box->ops->trim(box);
    }
    EXPECT_LT(nguarded(box), MOST); /* what slots in quarantine keep open */
}

static char *third_block(size_t size_bytes)
{
    struct hak_box *box = OPEN("most_guarded=2");
    get(box, size_bytes);
    get(box, size_bytes);
    return get(box, size_bytes);
}

/* Beyond most_guarded, blocks lie side by side without guards. */
TEST(blocks_without_guards)
{
    char *p = third_block(200000);
    struct hak_box *box = th_mapper(p);
    char *next = get(box, 200000);
    EXPECT(next == p + hak_round_up(200000, HAK_GRANULE_BYTES));
    memset(p, 1, 200000);
    put(box, p);
    EXPECT_EQ(p[0] | p[199999], 0); /* waits purged, but open */
    for (int i = 0; i < 32; i++)
        EXPECT(get(box, 200000) != p);
    EXPECT_EQ(nguarded(box), 2);
}

TEST_DIES(a_block_without_guards_freed_twice, SIGABRT, "freed twice")
{
    char *p = third_block(200000);
    put(th_mapper(p), p);
    put(th_mapper(p), p);
}

/* When a guarded block has been freed, the next block has guards again. */
TEST_DIES(a_guard_comes_back, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN("most_guarded=1");
    char *first = get(box, 200000);
    get(box, 200000);
    put(box, first);
    char *p = get(box, 200000);
    p[box->ops->usable_size(box, p)] = 1;
}

/* The first slot of a class makes few pages resident, not a whole slab. */
TEST(a_class_begins_with_little)
{
    struct hak_box *box = OPEN();
    get(box, 100);
    size_t before = th_mapped(box);
    EXPECT_LE(before, (size_t)32 << 10);
    get(box, 5000);
    EXPECT_LE(th_mapped(box) - before, (size_t)32 << 10);
}

/* Without memory, slots whose pages are open are still handed out. */
TEST(no_memory_leaves_what_is_open)
{
    enum { SLOTS = 60 };
    struct hak_box *box = OPEN("quarantine=0");
    struct hardened *h = hardened_of(box);
    size_t n = 1;
    block[0] = get(box, 1000);
    const struct slab *slab = slab_of(h, block[0]);
    th_fail_at(1);
    while (n < SLOTS && (block[n] = box->ops->alloc(box, 1000)) != NULL)
        n++;
    EXPECT_GE(n, 10); /* 16 or 32 KiB are open */
    EXPECT_LT(n, 40);
    EXPECT(box->ops->alloc(box, 300) == NULL);
    EXPECT(box->ops->alloc(box, 300000) == NULL);
    put(box, block[--n]);
    EXPECT(box->ops->alloc(box, 1000) == block[n]); /* the only open slot */
    n++;
    th_fail_never();
    for (; n < SLOTS; n++)
        block[n] = get(box, 1000);
    EXPECT(slab_of(h, block[SLOTS - 1]) == slab);
    get(box, 300);
    get(box, 300000);
}

/* Without memory, slots in quarantine are used again. */
TEST(no_memory_ends_the_wait)
{
    struct hak_box *box = OPEN();
    char *p = get(box, 100000), *q = NULL;
    put(box, p);
    th_fail_at(1);
    for (int i = 0; i < 8 && q != p; i++)
        q = box->ops->alloc(box, 100000);
    EXPECT(q == p);
}

TEST(no_call_of_the_kernel_but_those_that_sandboxes_know)
{
    static const int calls[] = {ALLOCATOR_CALLS, SYS_exit_group, SYS_write};
    struct hak_box *box = OPEN("empty_bytes=0", "most_guarded=200");
    if (TEST_ASAN || TEST_TSAN)
        SKIP("a sanitizer makes calls of its own");
    if (!only_calls(calls, sizeof calls / sizeof calls[0]))
        SKIP("no seccomp");
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < N; i++) {
            block[i] = get(box, i % 20 == 0 ? 100000 + i * 200 : i * 7 % 5000);
            block[i][0] = 1;
        }
        for (size_t i = 0; i < N; i++)
            put(box, block[i]);
        box->ops->trim(box);
    }
}

/* ---- the arithmetic ---------------------------------------------------------
 */

TEST(index_of_every_byte)
{
    for (uint32_t c = 1; c < CLASSES; c++) {
        size_t slot = hak_index_bytes(c);
        struct slab slab = {.slot_bytes = slot,
                            .inverse = ((uint64_t)1 << 40) / slot + 1,
                            .capacity = 1u << 20};
        for (size_t at = 0; at < (size_t)1 << 20; at++)
            EXPECT(index_of(&slab, at) == at / slot);
    }
}

/* For each length, wipe writes to every byte and to none beside them, and
 * is_zero checks every byte. */
TEST(every_byte_is_wiped_and_looked_at)
{
    static _Alignas(64) char bytes[4096 + 64];
    const struct hardened *h = hardened_of(OPEN());
    for (size_t n = 16; n <= 4096; n += n < 1280 ? 16 : 208) {
        memset(bytes, 0x5a, sizeof bytes);
        h->wipe(bytes + 16, n);
        EXPECT(bytes[15] == 0x5a && bytes[16 + n] == 0x5a);
        for (size_t i = 16; i < 16 + n; i++) {
            EXPECT_EQ(bytes[i], 0);
            bytes[i] = 1;
            EXPECT(!h->is_zero(bytes + 16, n));
            bytes[i] = 0;
        }
        EXPECT(h->is_zero(bytes + 16, n));
    }
}

/* Use a slot of the slab, which has room. Pieces open one by one, so the tests
 * that use all slots go through all pieces. */
static char *use(struct hardened *h, struct class *c, const struct slab *slab)
{
    size_t i;
    EXPECT(slabs_use(h, c, &i) == slab);
    return slab->start + i * slab->slot_bytes;
}

TEST(every_slot_of_a_span_is_used)
{
    static const size_t sizes[] = {8, 50, 100, 300, 1000, 5000, 100000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct hardened *h = hardened_of(OPEN());
        struct class *c =
            class_of(h, h->now->arena[0], hak_index_of(sizes[k] + 8));
        size_t first;
        const struct slab *slab = slabs_use(h, c, &first);
        for (int round = 0; round < 3 && slab != NULL; round++) {
            for (uint32_t i = 1; i < slab->capacity; i++) {
                char *p = use(h, c, slab);
                if (round == 1 && i % 3 == 0) {
                    slabs_release(h, c, p); /* perhaps of a full piece */
                    use(h, c, slab);
                }
            }
            EXPECT_EQ(slab->nused, slab->capacity);
            for (size_t i = 0; i < slab->capacity; i++)
                if (i != first)
                    slabs_release(h, c, slab->start + i * slab->slot_bytes);
            EXPECT_EQ(slab->nused, 1);
        }
    }
}

/* The open runs of a slab adjoin, so that they are one mapping. */
TEST(what_is_open_of_a_span_adjoins)
{
    struct hak_box *box = OPEN("quarantine=0", "arenas=1");
    for (size_t i = 0; i < N; i++)
        block[i] = get(box, 20 + i * 7919 % 8000);
    for (size_t i = 0; i < N; i += 2)
        put(box, block[i]);
    for (size_t i = 0; i < N; i += 2)
        block[i] = get(box, 20 + i * 104729 % 3000);
    const struct slab *slab = hardened_of(box)->now->all;
    for (; slab != NULL; slab = slab->all_next) {
        size_t bytes = slab->capacity * slab->slot_bytes;
        uint64_t runs = ~0ull >> (64 - (bytes - 1) / RUN_BYTES - 1);
        uint64_t open = runs & ~slab->closed;
        if (is_big(slab) || open == 0)
            continue;
        open >>= __builtin_ctzll(open);
        EXPECT_EQ(open & (open + 1), 0);
    }
}

/* ---- arenas ---------------------------------------------------------------
 */

enum { BYTES = 100 };

static struct class *class_in(const struct hardened *h, int arena)
{
    EXPECT(h->now->arena[arena] != NULL);
    return h->now->arena[arena]->class[hak_index_of(BYTES + BORDER_BYTES)];
}

/* Run it in a thread, and wait until the thread has ended and its heap is
 * closed.
 */
static void in_thread(void *(*run)(void *), void *box)
{
    th_join(th_spawn(run, box));
    th_reap();
}

static void *take_all(void *box)
{
    for (size_t i = 0; i < N; i++)
        block[i] = get(box, BYTES);
    return NULL;
}

static void *put_all(void *box)
{
    for (size_t i = 0; i < N; i++)
        put(box, block[i]);
    return NULL;
}

TEST(threads_take_from_arenas_of_their_own)
{
    struct hak_box *box = OPEN("arenas=4");
    const struct hardened *h = hardened_of(box);
    get(box, BYTES);
    in_thread(take_all, box);
    in_thread(take_all, box); /* takes over the heap, and so its arena */
    EXPECT_EQ(class_in(h, 0)->nout, 1);
    EXPECT_EQ(class_in(h, 1)->nout, 2 * N);
    EXPECT(h->now->arena[2] == NULL);
}

TEST(slots_go_home_to_their_arena)
{
    struct hak_box *box = OPEN("arenas=4", "quarantine=0");
    const struct hardened *h = hardened_of(box);
    take_all(box);
    in_thread(put_all, box);
    EXPECT_EQ(class_in(h, 0)->nout, 0);
    EXPECT(h->now->arena[1] == NULL || class_in(h, 1) == NULL);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(a_child_chooses_anew)
{
    struct hak_box *box = OPEN();
    const struct class *c;
    do /* until the next slot lies in open pages, so that it is chosen ahead */
        get(box, BYTES);
    while ((c = class_in(hardened_of(box), 0)) == NULL || c->next == NULL);
    uint64_t before = c->random;
    const char *next = c->next;
    box->ops->fork(box, HAK_FORK_PREPARE);
    box->ops->fork(box, HAK_FORK_CHILD);
    EXPECT_NE(c->random, before);
    EXPECT(c->next == NULL && c->old == next);
    EXPECT(get(box, BYTES) != NULL);
    EXPECT(c->old == NULL);
}

/* The interrupted call holds the class's lock and goes on after the fork, so
 * the child changes nothing of the class. */
TEST(a_child_leaves_a_call_alone_that_a_signal_interrupted)
{
    struct hak_box *box = OPEN();
    struct class *c;
    do
        get(box, BYTES);
    while ((c = class_in(hardened_of(box), 0)) == NULL || c->next == NULL);
    uint64_t random = c->random;
    const char *next = c->next;
    for (int alone = 0; alone < 2; alone++) {
        (alone ? hak_lock_enter : hak_lock_take)(&c->lock);
        box->ops->fork(box, HAK_FORK_PREPARE);
        EXPECT_EQ(errno, EDEADLK);
        box->ops->fork(box, HAK_FORK_CHILD);
        EXPECT(c->random == random && c->next == next);
        EXPECT(hak_lock_is_mine(&c->lock));
        (alone ? hak_lock_leave : hak_lock_drop)(&c->lock);
    }
    EXPECT(get(box, BYTES) == next);
}

TEST_MAIN()

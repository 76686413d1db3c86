/* SPDX-License-Identifier: MIT
 * test_hardened.c - random places, what becomes of freed slots, resize,
 * marks.
 */
#include "test_hardened.h"

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

TEST_MAIN()

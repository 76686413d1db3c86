/* SPDX-License-Identifier: MIT
 * test_memory.c - mappings, guards in a bounded number, little memory, and
 * the arithmetic of slots and spans.
 */
#include "test_hardened.h"

#include "only_calls.h"

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

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_blocks.c - looking up blocks by address: against a model, and while a
 * writer changes the table. */
#include "blocks.h"

#include <pthread.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { MODEL_GRANULES = 4096, MOST = 300 };

static struct blocks blocks;
static struct hak_box *box;

static char *granule(size_t g)
{
    return (char *)box->host->window_base + (g << HAK_GRANULE_SHIFT);
}

static void start(void)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", NULL, 0, &box), 0);
    EXPECT_EQ(blocks_init(&blocks, box), 0);
}

static struct block *enter(size_t g, size_t n)
{
    struct block *b = blocks_new(&blocks);
    EXPECT(b != NULL);
    b->base = granule(g);
    __atomic_store_n(&b->ngranules, (uint32_t)n, __ATOMIC_RELAXED);
    b->size_bytes = n << HAK_GRANULE_SHIFT;
    b->state = BLOCK_LIVE;
    blocks_enter(&blocks, b);
    return b;
}

static void leave(struct block *b)
{
    blocks_leave(&blocks, b);
    blocks_recycle(&blocks, b);
}

TEST(every_address_of_a_block_and_no_other)
{
    start();
    struct block *b = enter(100, 3);
    EXPECT(blocks_at(&blocks, granule(100)) == b);
    EXPECT(blocks_at(&blocks, granule(100) + 16) == NULL);
    EXPECT(blocks_at(&blocks, granule(101)) == NULL);
    EXPECT(blocks_around(&blocks, granule(100)) == b);
    EXPECT(blocks_around(&blocks, granule(101) + 1) == b);
    EXPECT(blocks_around(&blocks, granule(103) - 1) == b);
    EXPECT(blocks_around(&blocks, granule(103)) == NULL);
    EXPECT(blocks_around(&blocks, granule(100) - 1) == NULL);
    blocks_check(&blocks);
    leave(b);
    EXPECT(blocks_around(&blocks, granule(101)) == NULL);
    EXPECT(blocks_at(&blocks, granule(100)) == NULL);
    blocks_check(&blocks);
}

/* A block of 1 GiB enters as much as one of 64 KiB, and its last byte is found.
 */
TEST(a_long_block)
{
    start();
    size_t n = (size_t)1 << (30 - HAK_GRANULE_SHIFT);
    struct block *before = enter(2, 1), *b = enter(65, n), *after;
    after = enter(65 + n, 1);
    for (size_t g = 65; g < 65 + n; g += 37)
        EXPECT(blocks_around(&blocks, granule(g) + 5) == b);
    EXPECT(blocks_around(&blocks, granule(65 + n) - 1) == b);
    EXPECT(blocks_around(&blocks, granule(65 + n)) == after);
    EXPECT(blocks_around(&blocks, granule(2)) == before);
    EXPECT(blocks_around(&blocks, granule(64)) == NULL);
    blocks_check(&blocks);
}

TEST(any_pointer_at_all)
{
    start();
    size_t last = (box->host->window_bytes >> HAK_GRANULE_SHIFT) - 1;
    struct block *b = enter(last, 1);
    const uintptr_t wild[] = {0,
                              1,
                              box->host->window_base - 1,
                              box->host->window_base,
                              box->host->window_base + box->host->window_bytes,
                              UINTPTR_MAX,
                              (uintptr_t)1 << 63,
                              0x5a5a5a5a5a5a5a5a,
                              (uintptr_t)&blocks};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        EXPECT(blocks_around(&blocks, (void *)wild[i]) == NULL);
        EXPECT(blocks_at(&blocks, (void *)wild[i]) == NULL);
    }
    EXPECT(blocks_around(&blocks, granule(last) + 65535) == b);
    leave(b);
}

/* ---- against a model --------------------------------------------------- */

static struct block *model[MODEL_GRANULES];
static struct block *all[MOST];
static size_t nall;

static void add_one(void)
{
    size_t g = rnd(MODEL_GRANULES);
    size_t n = 1 + rnd(rnd(4) ? 4 : 600);
    if (nall == MOST || g + n > MODEL_GRANULES)
        return;
    for (size_t i = 0; i < n; i++)
        if (model[g + i] != NULL)
            return;
    all[nall] = enter(g, n);
    for (size_t i = 0; i < n; i++)
        model[g + i] = all[nall];
    nall++;
}

static void drop_one(void)
{
    if (nall == 0)
        return;
    size_t i = rnd(nall);
    for (size_t g = 0; g < MODEL_GRANULES; g++)
        if (model[g] == all[i])
            model[g] = NULL;
    leave(all[i]);
    all[i] = all[--nall];
}

static void compare(void)
{
    size_t found = 0;
    struct block *b;
    for (size_t g = 0; g < MODEL_GRANULES; g++)
        EXPECT(blocks_around(&blocks, granule(g) + g) == model[g]);
    for (size_t g = 0; (b = blocks_next(&blocks, &g)) != NULL; found++)
        EXPECT(model[g - 1] == b && b->base == granule(g - 1));
    EXPECT_EQ(found, nall);
    blocks_check(&blocks);
}

TEST(as_the_model)
{
    start();
    for (int i = 0; i < 20000; i++) {
        (rnd(5) < 3 ? add_one : drop_one)();
        if (i % 200 == 0)
            compare();
    }
    while (nall != 0)
        drop_one();
    compare();
}

/* ---- a reader beside a writer ------------------------------------------ */

static struct block *steady;
static int stop;

static void *read_steady(void *argument)
{
    (void)argument;
    for (size_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        size_t g = 70 + i % 1000;
        EXPECT(blocks_around(&blocks, granule(g) + 1) == steady);
        EXPECT(blocks_around(&blocks, granule(5000)) == NULL);
    }
    return NULL;
}

/* One thread enters and drops blocks whose starts are in the words before, in
   and after the word of a steady block, and reuses structs. Another looks up
   addresses in the steady block meanwhile. */
TEST(a_steady_block_is_always_found)
{
    pthread_t reader;
    start();
    steady = enter(70, 1000);
    pthread_create(&reader, NULL, read_steady, NULL);
    for (int i = 0; i < 300000; i++) {
        struct block *a = enter(60 + (size_t)(i % 10), 1);
        struct block *b = enter(1070 + (size_t)(i % 50), 2);
        leave(a);
        leave(b);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(reader, NULL);
    blocks_check(&blocks);
}

TEST(no_memory_for_structs)
{
    start();
    struct block *b = blocks_new(&blocks);
    blocks_recycle(&blocks, b);
    uint64_t spare = blocks.made;
    th_fail_at(1);
    for (uint64_t i = 0; i < spare; i++)
        EXPECT(blocks_new(&blocks) != NULL);
    EXPECT(blocks_new(&blocks) == NULL);
    th_fail_never();
    EXPECT(blocks_new(&blocks) != NULL);
}

TEST_DIES(entered_twice, SIGABRT, "broken invariant")
{
    start();
    enter(7, 1);
    enter(7, 1);
}

TEST_MAIN()

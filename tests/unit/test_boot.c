/* SPDX-License-Identifier: MIT
 * test_boot.c - the boot arena: alignment, ownership, exhaustion, sizes.
 */
#include "test.h"

#include <core/memory/boot.h>
#include <kit/base.h>
#include <pthread.h>

enum { ARENA_BYTES = 256 * 1024, HEADER_BYTES = 16 };

TEST(blocks_are_aligned_zero_and_apart)
{
    char *end = NULL;
    for (size_t align = 1; align <= 4096; align *= 2)
        for (size_t bytes = 0; bytes < 200; bytes += 7) {
            char *p = hak_boot_alloc(align, bytes);
            if (p == NULL)
                return; /* full: a matter of another test */
            EXPECT_EQ((uintptr_t)p % hak_max(align, 16), 0);
            EXPECT(p - HEADER_BYTES >= end);
            EXPECT_EQ(hak_boot_usable(p), bytes);
            for (size_t i = 0; i < bytes; i++)
                EXPECT_EQ(p[i], 0);
            memset(p, 0xff, bytes);
            end = p + bytes;
        }
}

TEST(owns_what_it_gave_and_nothing_else)
{
    static char other;
    int local;
    char *p = hak_boot_alloc(16, 100);
    EXPECT(hak_boot_owns(p));
    EXPECT(hak_boot_owns(p + 99));
    void *heap = malloc(10);
    EXPECT(!hak_boot_owns(heap));
    EXPECT(!hak_boot_owns(NULL));
    EXPECT(!hak_boot_owns((void *)1));
    EXPECT(!hak_boot_owns((void *)UINTPTR_MAX));
    EXPECT(!hak_boot_owns((void *)((uintptr_t)1 << 63)));
    EXPECT(!hak_boot_owns(&other));
    EXPECT(!hak_boot_owns(&local));
    EXPECT(!hak_boot_owns(p - HEADER_BYTES - 1)); /* the first block's */
    EXPECT(!hak_boot_owns(p - HEADER_BYTES + ARENA_BYTES));
    free(heap);
}

/* All of it goes out in blocks of one size; returns how many there were. */
static size_t exhaust(size_t align, size_t bytes)
{
    size_t n = 0;
    for (char *p; (p = hak_boot_alloc(align, bytes)) != NULL; n++) {
        EXPECT(hak_boot_owns(p));
        EXPECT(bytes == 0 || hak_boot_owns(p + bytes - 1));
        EXPECT_EQ(hak_boot_usable(p), bytes);
        memset(p, 0xff, bytes);
    }
    return n;
}

TEST(exhaustion)
{
    EXPECT_EQ(exhaust(16, 1000), ARENA_BYTES / (1008 + HEADER_BYTES));
    exhaust(16, 16);
    EXPECT(hak_boot_alloc(16, 1) == NULL);
    EXPECT(hak_boot_alloc(16, SIZE_MAX) == NULL);
}

TEST(exhaustion_by_blocks_of_no_bytes)
{
    EXPECT_LE(exhaust(16, 0), ARENA_BYTES / HEADER_BYTES);
}

TEST(exhaustion_by_alignment)
{
    size_t n = exhaust(4096, 8);
    EXPECT(n == ARENA_BYTES / 4096 || n == ARENA_BYTES / 4096 - 1);
}

TEST(what_does_not_fit_is_refused_and_the_rest_served)
{
    EXPECT(hak_boot_alloc(16, ARENA_BYTES) == NULL); /* no room for a header */
    EXPECT(hak_boot_alloc(16, ARENA_BYTES + 1) == NULL);
    EXPECT(hak_boot_alloc(16, SIZE_MAX - 8) == NULL);
    EXPECT(hak_boot_alloc(8192, 16) == NULL);
    char *p = hak_boot_alloc(16, ARENA_BYTES - HEADER_BYTES);
    EXPECT(p != NULL);
    memset(p, 1, ARENA_BYTES - HEADER_BYTES);
}

enum { BLOCKS = 4000, BLOCK_BYTES = 16 };

static unsigned char *block[2][BLOCKS];
static pthread_barrier_t both;

static void *take_and_mark(void *argument)
{
    unsigned char **mine = argument;
    pthread_barrier_wait(&both);
    for (int i = 0; i < BLOCKS; i++) {
        mine[i] = hak_boot_alloc(16, BLOCK_BYTES);
        EXPECT(mine[i] != NULL);
        memset(mine[i], mine == block[0] ? 1 : 2, BLOCK_BYTES);
    }
    return NULL;
}

TEST(two_threads_get_different_blocks)
{
    pthread_t thread;
    pthread_barrier_init(&both, NULL, 2);
    EXPECT_EQ(pthread_create(&thread, NULL, take_and_mark, block[1]), 0);
    take_and_mark(block[0]);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2 * BLOCKS; i++) {
        unsigned char *p = block[i / BLOCKS][i % BLOCKS];
        EXPECT_EQ(hak_boot_usable(p), BLOCK_BYTES);
        for (int k = 0; k < BLOCK_BYTES; k++)
            EXPECT_EQ(p[k], 1 + i / BLOCKS);
    }
}

TEST_MAIN()

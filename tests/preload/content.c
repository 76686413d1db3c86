/* SPDX-License-Identifier: MIT
 * content.c - what stands in a block: usable size, zeroes, realloc. */
#include "common.h"

#include <malloc.h>

/* ---- usable size -------------------------------------------------------- */

/* All that is usable of neighbours of one size is theirs alone. */
static void check_usable(size_t n)
{
    enum { NEIGHBOURS = 12 };
    char *p[NEIGHBOURS];
    size_t usable[NEIGHBOURS];
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        p[i] = malloc(n);
        EXPECT(p[i] != NULL);
        usable[i] = malloc_usable_size(p[i]);
        EXPECT_GE(usable[i], n);
        fill(p[i], usable[i], n + i);
    }
    for (size_t i = 0; i < NEIGHBOURS; i++)
        EXPECT_PATTERN(p[i], usable[i], n + i);
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        char *kept = p[i];
        p[i] = realloc(p[i], usable[i]);
        EXPECT(p[i] != NULL);
        if (under_hakmem()) /* glibc moves some mapped ones */
            EXPECT(p[i] == kept);
        EXPECT_GE(malloc_usable_size(p[i]), usable[i]);
        EXPECT_PATTERN(p[i], usable[i], n + i);
    }
    for (size_t i = 0; i < NEIGHBOURS; i++)
        free(p[i]);
}

TEST(usable_size_is_usable)
{
    for (size_t n = 1; n <= 4 * MIB; n += n < 2048 ? 1 : n / 16)
        check_usable(n);
}

/* A block that needs much more than it has use of is a leak of its own. */
TEST(usable_size_is_not_wasteful)
{
    for (size_t n = 64; n <= 4 * MIB; n += n / 16) {
        void *p = malloc(n);
        OWN_BOUND(EXPECT_LE(malloc_usable_size(p), n + n / 2 + 65536));
        free(p);
    }
}

/* ---- calloc ------------------------------------------------------------- */

/* What calloc clears: all that is usable. Other allocators clear n bytes. */
static size_t cleared(void *p, size_t n)
{
    return is_foreign() ? n : malloc_usable_size(p);
}

static void check_zero(size_t n)
{
    enum { MOST = 16 };
    char *p[MOST];
    size_t blocks = n > 64 * KIB ? 2 : MOST;
    for (size_t i = 0; i < blocks; i++) {
        p[i] = malloc(n);
        EXPECT(p[i] != NULL);
        memset(p[i], 0xa5, malloc_usable_size(p[i]));
    }
    for (size_t i = 0; i < blocks; i++)
        free(p[i]);
    for (size_t i = 0; i < blocks; i++) {
        p[i] = i % 2 == 0 ? calloc(1, n) : calloc(n, 1);
        EXPECT(p[i] != NULL);
        size_t zeros = cleared(p[i], n);
        EXPECT_EQ(first_nonzero(p[i], zeros), zeros);
        memset(p[i], 0x5a, zeros);
    }
    for (size_t i = 0; i < blocks; i++)
        free(p[i]);
}

TEST(calloc_after_dirt)
{
    for (size_t n = 1; n <= 4 * MIB; n += n < 1100 ? 1 : n / 24)
        check_zero(n);
}

/* Large blocks given back and taken again in other sizes. */
TEST(calloc_after_other_sizes)
{
    uint64_t random = 3;
    for (int i = 0; i < 400; i++) {
        size_t dirty = random_size(&random, 12, 22);
        size_t clean = random_size(&random, 12, 21);
        char *p = malloc(dirty);
        memset(p, 0xee, dirty);
        free(p);
        p = calloc(1, clean);
        EXPECT(p != NULL);
        EXPECT_EQ(first_nonzero(p, cleared(p, clean)), cleared(p, clean));
        memset(p, 0xee, clean);
        char *q = calloc(clean / 8 + 1, 8);
        size_t zeros = cleared(q, clean / 8 * 8 + 8);
        EXPECT_EQ(first_nonzero(q, zeros), zeros);
        memset(q, 0xee, clean);
        free(p);
        free(q);
    }
}

/* ---- realloc ------------------------------------------------------------ */

static size_t larger(size_t n)
{
    return n < 3000 ? n + 1 : n < 70000 ? n + n / 100 + 3 : n + n / 9 + 1;
}

TEST(realloc_grows_through_every_size)
{
    char *p = malloc(1);
    fill(p, 1, 7);
    size_t have = 1;
    for (size_t n = 2; n <= 64ul * MIB; n = larger(n)) {
        p = realloc(p, n);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, 16);
        EXPECT_PATTERN(p, have, 7);
        fill(p, n, 7);
        have = n;
    }
    free(p);
}

TEST(realloc_shrinks_through_every_size)
{
    size_t n = 64ul * MIB;
    char *p = malloc(n);
    fill(p, n, 8);
    while (n > 1) {
        n -= n < 3000 ? 1 : n < 70000 ? n / 100 : n / 10;
        p = realloc(p, n);
        EXPECT(p != NULL);
        EXPECT_PATTERN(p, n, 8);
    }
    free(p);
}

/* Up and down by leaps, many blocks at once. */
TEST(realloc_by_leaps)
{
    enum { BLOCKS = 40, STEPS = 6000 };
    static struct {
        char *p;
        size_t n;
    } block[BLOCKS];
    uint64_t random = 5;
    for (int i = 0; i < STEPS; i++) {
        size_t at = random_below(&random, BLOCKS);
        size_t n = random_size(&random, 0, i % 100 == 0 ? 22 : 17);
        char *p = realloc(block[at].p, n);
        EXPECT(p != NULL);
        EXPECT_PATTERN(p, n < block[at].n ? n : block[at].n, at);
        fill(p, n, at);
        block[at].p = p;
        block[at].n = n;
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i].p);
}

/* A large block that shrinks to little must not keep all of its memory. */
TEST(realloc_shrinks_for_real)
{
    enum { BLOCKS = 24 };
    static char *p[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        p[i] = memset(malloc(8 * MIB), 1, 8 * MIB);
        p[i] = realloc(p[i], 5000);
        EXPECT(p[i] != NULL);
    }
    malloc_trim(0);
    EXPECT_LT(rss_bytes(), 64 * MIB); /* 192 MiB were written */
    for (int i = 0; i < BLOCKS; i++)
        free(p[i]);
}

TEST_MAIN()

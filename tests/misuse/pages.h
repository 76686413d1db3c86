/* SPDX-License-Identifier: MIT
 * pages.h - fills pages of 64 KiB with blocks of one size, for programs that
 * free one of the blocks twice.
 */
#ifndef HAK_TESTS_MISUSE_PAGES_H
#define HAK_TESTS_MISUSE_PAGES_H

#include "misuse.h"

enum { PAGES_BLOCKS = 1500, PAGES_BYTES = 256 };
static char *block[PAGES_BLOCKS];

static inline void fill_pages(void)
{
    for (int i = 0; i < PAGES_BLOCKS; i++) {
        block[i] = opaque(malloc(PAGES_BYTES));
        memset(block[i], 'L', PAGES_BYTES);
    }
}

/* The index of the first block, from block[i] on, that is in the page of p; or
 * -1. */
static inline int next_in_page(const char *p, int i)
{
    for (; i < PAGES_BLOCKS; i++)
        if (block[i] != NULL && (uintptr_t)block[i] >> 16 == (uintptr_t)p >> 16)
            return i;
    return -1;
}

/* Free all blocks in the page of p except the first `kept`. */
static inline void empty_page(const char *p, int kept)
{
    for (int i = 0; (i = next_in_page(p, i)) >= 0; i++) {
        if (kept-- > 0)
            continue;
        free(block[i]);
        block[i] = NULL;
    }
}

/* Allocate blocks of many sizes, so that all free memory is handed out. */
static inline void take_all_sizes(void)
{
    for (int i = 0; i < 40000; i++)
        memset(opaque(malloc(16 + (size_t)i % 40 * 16)), 'X', 16);
}

#endif

/* SPDX-License-Identifier: MIT
 * test_ultra_threads.h - threads that fill and free, for the tests of ultra.
 */
#ifndef HAK_TEST_ULTRA_THREADS_H
#define HAK_TEST_ULTRA_THREADS_H

#include "test_ultra.h"

enum {
    THREADS = 4,
    BYTES = 64,
    SLOTS = (65536 - HAK_PAGE_COLOR(BYTES, BYTES / 16 - 1)) / BYTES,
};

static struct hak_box *box;
static void *block[1 << 16];
static pthread_barrier_t meet;

/* ---- fill, free and end ---------------------------------------------- */

static struct part {
    void **p;
    size_t n;
} part;

static inline void *free_part(void *argument)
{
    struct part *mine = argument;
    put_many(mine->p, mine->n);
    return NULL;
}

/* Free the blocks by a thread that has no heap in the box, and that ends. */
static inline void free_elsewhere(void **p, size_t n)
{
    part = (struct part){p, n};
    th_join(th_spawn(free_part, &part));
}

static inline void *fill_part(void *argument)
{
    struct part *mine = argument;
    EXPECT_EQ(get_many(box, mine->p, mine->n, BYTES), mine->n);
    for (size_t i = 0; i < mine->n; i++)
        memset(mine->p[i], (int)i, BYTES);
    return NULL;
}

static inline void fill_elsewhere(size_t n)
{
    part = (struct part){block, n};
    th_join(th_spawn(fill_part, &part));
}

/* ---- fill, wait, end ------------------------------------------------- */

static size_t fill = SLOTS + 1; /* blocks: a full page, and one slot more */

static inline void *fill_and_wait(void *argument)
{
    (void)argument;
    get_many(box, block, fill, BYTES);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

static inline pthread_t start_filling(void)
{
    pthread_barrier_init(&meet, NULL, 2);
    pthread_t thread = th_spawn(fill_and_wait, NULL);
    pthread_barrier_wait(&meet);
    return thread;
}

static inline void end_filling(pthread_t thread)
{
    pthread_barrier_wait(&meet);
    th_join(thread);
}

#endif

/* SPDX-License-Identifier: MIT
 * thread_tools.h - what programs with many threads share: work for one, and how
 * many there are. Included once.
 */

#include "common.h"

#include <pthread.h>

/* Takes blocks of all sizes and frees them, checked. */
static inline void *churn(void *seed)
{
    enum { SLOTS = 50, STEPS = 150 };
    struct {
        char *p;
        size_t n;
    } slot[SLOTS] = {{NULL, 0}};
    uint64_t random = (uintptr_t)seed;
    for (int i = 0; i < STEPS; i++) {
        size_t at = random_below(&random, SLOTS);
        EXPECT_PATTERN(slot[at].p, slot[at].n, at);
        free(slot[at].p);
        slot[at].n = random_size(&random, 4, i % 50 == 0 ? 17 : 11);
        slot[at].p = malloc(slot[at].n);
        EXPECT(slot[at].p != NULL);
        fill(slot[at].p, slot[at].n, at);
    }
    for (size_t at = 0; at < SLOTS; at++) {
        EXPECT_PATTERN(slot[at].p, slot[at].n, at);
        free(slot[at].p);
    }
    return NULL;
}

/* Where each allocation is a sample, with a stack and calls of the kernel, an
 * eighth shows as much. */
static inline size_t many(size_t nthreads)
{
    return is_mode("guard-each") ? nthreads / 8 : nthreads;
}

static inline pthread_t start(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, run, arg), 0);
    return thread;
}

static inline void run_one(void *(*run)(void *), void *arg)
{
    pthread_join(start(run, arg), NULL);
}

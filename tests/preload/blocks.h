/* SPDX-License-Identifier: MIT
 * blocks.h - what stress.c and churn.c share: blocks that tell what must be in
 * them, places where threads exchange them, the seed and the end of a run.
 *
 * HAK_TEST_SEED=N repeats a run as far as threads can be repeated; the seed
 * stands on stderr, which the harness shows when the test fails. With
 * HAK_TEST_SOAK=SECONDS a long test runs so long (make soak, check-delays).
 */
#ifndef HAK_TESTS_PRELOAD_BLOCKS_H
#define HAK_TESTS_PRELOAD_BLOCKS_H

#include "calls.h"

#include <malloc.h>
#include <pthread.h>

/* A block's first words tell its size and pattern to whoever gets it. */
struct block {
    size_t size_bytes;
    uint64_t seed;
    char content[];
};

enum { SHARED = 2048 };
static struct block *shared[SHARED]; /* exchanged atomically */
static uint64_t seed;
static double deadline;

static inline void start(double run_seconds)
{
    const char *given = getenv("HAK_TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0)
                         : random_mix((uint64_t)getpid() << 32 ^
                                      (uint64_t)(seconds() * 1e9));
    fprintf(stderr, "# HAK_TEST_SEED=%llu\n", (unsigned long long)seed);
    deadline = seconds() + run_seconds;
}

static inline double soak_seconds(double otherwise)
{
    const char *given = getenv("HAK_TEST_SOAK");
    double run_seconds = given != NULL ? strtod(given, NULL) : otherwise;
    alarm((unsigned)run_seconds + TEST_SECONDS);
    return run_seconds;
}

/* So much of each end of a block is written and looked at. */
static size_t end_bytes = PTRDIFF_MAX;

static inline size_t first_part(size_t content_bytes)
{
    return content_bytes < end_bytes ? content_bytes : end_bytes;
}

/* Where the last part begins, at a word; what lies before is the first. */
static inline size_t last_part(size_t content_bytes)
{
    size_t from = (content_bytes - first_part(content_bytes)) / 8 * 8;
    return from != 0 ? from : first_part(content_bytes) / 8 * 8;
}

static inline void sign(struct block *b, size_t n, uint64_t pattern)
{
    size_t content = n - sizeof *b, last = last_part(content);
    EXPECT_ALIGNED(b, 16);
    b->size_bytes = n;
    b->seed = pattern;
    fill(b->content, first_part(content), pattern);
    fill(b->content + last, content - last, pattern + last);
}

/* Is b as it was signed, as far as its first n bytes go? */
static inline void check(const struct block *b, size_t n)
{
    size_t content = n - sizeof *b, last = last_part(content);
    EXPECT_PATTERN(b->content, first_part(content), b->seed);
    if (n == b->size_bytes)
        EXPECT_PATTERN(b->content + last, content - last, b->seed + last);
}

static inline void expect_zero(const char *p, size_t n)
{
    size_t first = first_part(n), last = last_part(n);
    EXPECT_EQ(first_nonzero(p, first), first);
    EXPECT_EQ(first_nonzero(p + last, n - last), n - last);
}

static inline size_t at_least_a_block(size_t n)
{
    return n < sizeof(struct block) ? sizeof(struct block) : n;
}

/* A new block of n bytes, by one of the calls that make them. */
static inline struct block *take(size_t n, uint64_t *random)
{
    struct block *b;
    n = at_least_a_block(n);
    switch (random_next(random) % 8) {
    case 0:
        b = calloc(1, n);
        EXPECT(b != NULL);
        expect_zero((const char *)b, n);
        break;
    case 1: {
        size_t align = (size_t)16 << random_below(random, 9);
        b = memalign(align, n);
        EXPECT_ALIGNED(b, align);
        break;
    }
    default:
        b = malloc(n);
    }
    EXPECT(b != NULL);
    sign(b, n, random_next(random));
    return b;
}

static inline void drop(struct block *b)
{
    if (b == NULL)
        return;
    EXPECT_GE(malloc_usable_size(b), b->size_bytes);
    check(b, b->size_bytes);
    free(b);
}

static inline struct block *resize(struct block *b, size_t n, uint64_t *random)
{
    size_t had = b->size_bytes;
    n = at_least_a_block(n);
    check(b, had);
    b = realloc(b, n);
    EXPECT(b != NULL);
    check(b, n < had ? n : had);
    sign(b, n, random_next(random));
    return b;
}

/* For what is in one of the first `places`. */
static inline struct block *swap_shared(struct block *b, size_t places,
                                        uint64_t *random)
{
    return __atomic_exchange_n(&shared[random_below(random, places)], b,
                               __ATOMIC_ACQ_REL);
}

/* A turn of a thread: do something with the block that *at is, or make one of n
 * bytes. */
static inline void take_turn(struct block **at, size_t n, uint64_t *random)
{
    switch (random_next(random) % 8) {
    case 0:
    case 1:
        *at = swap_shared(*at, SHARED, random);
        break;
    case 2:
        if (*at != NULL)
            *at = resize(*at, n, random);
        break;
    case 3:
        drop(*at);
        *at = NULL;
        break;
    default:
        drop(*at);
        *at = take(n, random);
    }
}

static inline void drop_shared(void)
{
    for (int i = 0; i < SHARED; i++)
        drop(__atomic_exchange_n(&shared[i], NULL, __ATOMIC_ACQ_REL));
}

/*
 * Blocks that all boxes say are live; find_calls() was called. balanced: no
 * thread freed before it allocated, so that all frees were counted.
 */
static inline uint64_t live_blocks(bool balanced)
{
    static const char *const boxes[] = {"ultra",   "tiny",     "smallmid",
                                        "mid_v35", "second",   "midmt",
                                        "large",   "hardened", "guard"};
    uint64_t live = 0;
    struct hak_stats s;
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        if (hak.stats(boxes[i], &s) != 0)
            continue;
        if (balanced)
            EXPECT_EQ(s.allocs - s.frees, s.live_count);
        live += s.live_count;
    }
    return live;
}

#endif

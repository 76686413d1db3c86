/* SPDX-License-Identifier: MIT
 * stress.c - a seeded random mix in four threads, every block checked.
 *
 * HAK_TEST_SEED=N repeats a run as far as threads can be repeated; the seed
 * stands on stderr, which the harness shows when the test fails.
 */
#include "common.h"

#include <malloc.h>
#include <pthread.h>

enum { THREADS = 4, SHARED = 2048, LOCAL = 256 };
static const double RUN_SECONDS = 1.2;

/* A block's first words tell its size and pattern to whoever gets it. */
struct block {
    size_t size_bytes;
    uint64_t seed;
    char content[];
};

static struct block *shared[SHARED]; /* exchanged atomically */
static uint64_t seed;
static double deadline;
static bool small_only;

static size_t pick_size(uint64_t *random)
{
    unsigned high = 10;
    uint64_t dice = random_next(random) % 1000;
    if (dice == 0 && !small_only)
        high = 20;
    else if (dice < 60)
        high = 15;
    size_t n = random_size(random, 0, high);
    return n < sizeof(struct block) ? sizeof(struct block) : n;
}

static void sign(struct block *b, size_t n, uint64_t pattern)
{
    EXPECT_ALIGNED(b, 16);
    b->size_bytes = n;
    b->seed = pattern;
    fill(b->content, n - sizeof *b, pattern);
}

static void check(const struct block *b, size_t n)
{
    EXPECT_EQ(first_wrong(b->content, n, b->seed), n);
}

static struct block *take(uint64_t *random)
{
    size_t n = pick_size(random);
    struct block *b;
    switch (random_next(random) % 8) {
    case 0:
        b = calloc(1, n);
        EXPECT(b != NULL);
        EXPECT_EQ(first_nonzero(b, n), n);
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

static void drop(struct block *b)
{
    if (b == NULL)
        return;
    EXPECT_GE(malloc_usable_size(b), b->size_bytes);
    check(b, b->size_bytes - sizeof *b);
    free(b);
}

static struct block *resize(struct block *b, uint64_t *random)
{
    size_t n = pick_size(random), had = b->size_bytes;
    check(b, had - sizeof *b);
    b = realloc(b, n);
    EXPECT(b != NULL);
    check(b, (n < had ? n : had) - sizeof *b);
    sign(b, n, random_next(random));
    return b;
}

static struct block *swap_shared(struct block *b, uint64_t *random)
{
    return __atomic_exchange_n(&shared[random_below(random, SHARED)], b,
                               __ATOMIC_ACQ_REL);
}

static void *run(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = mix(seed + (uintptr_t)which);
    for (uint64_t step = 0; step % 256 != 0 || seconds() < deadline; step++) {
        struct block **at = &local[random_below(&random, LOCAL)];
        switch (random_next(&random) % 8) {
        case 0:
        case 1:
            *at = swap_shared(*at, &random);
            break;
        case 2:
            if (*at != NULL)
                *at = resize(*at, &random);
            break;
        case 3:
            drop(*at);
            *at = NULL;
            break;
        default:
            drop(*at);
            *at = take(&random);
        }
    }
    for (int i = 0; i < LOCAL; i++)
        drop(local[i]);
    return NULL;
}

static void storm(void)
{
    pthread_t thread[THREADS];
    const char *given = getenv("HAK_TEST_SEED");
    seed = given != NULL
               ? strtoull(given, NULL, 0)
               : mix((uint64_t)getpid() << 32 ^ (uint64_t)(seconds() * 1e9));
    fprintf(stderr, "# HAK_TEST_SEED=%llu\n", (unsigned long long)seed);
    deadline = seconds() + RUN_SECONDS;
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, run, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < SHARED; i++)
        drop(shared[i]);
}

TEST(mixed_sizes)
{
    storm();
}

/* Without the slow large ones the small paths get more turns. */
TEST(small_sizes)
{
    small_only = true;
    storm();
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * kept.c - what stays in memory beside the blocks that live is bounded. */
#include "common.h"

#include <pthread.h>
#include <sys/resource.h>

static size_t peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * KIB;
}

static void *fresh(size_t size)
{
    char *p = malloc(size);
    EXPECT(p != NULL);
    memset(p, 1, size);
    return p;
}

/* ---- all together -------------------------------------------------------- */

enum { PHASE_BYTES = 48 * MIB };

static void phase(size_t size)
{
    size_t n = PHASE_BYTES / size;
    void **block = fresh(n * sizeof *block);
    for (size_t i = 0; i < n; i++)
        block[i] = fresh(size);
    for (size_t i = 0; i < n; i++)
        free(block[i]);
    free(block);
}

static size_t sizes[] = {100, 1000, 5000,  50000,  300000,  3000000,
                         30,  700,  20000, 130000, 1500000, 64};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* Each box keeps for its own next need; the peak is not the sum of that. */
static void expect_bounded_peak(size_t before)
{
    if (under_hakmem())
        OWN_BOUND(EXPECT_LT(peak_bytes(), before + 2 * (size_t)PHASE_BYTES));
}

TEST(phases_of_one_size_do_not_add_up)
{
    size_t before = rss_bytes();
    for (size_t i = 0; i < SIZES; i++)
        phase(sizes[i]);
    expect_bounded_peak(before);
}

static void *phase_of(void *size)
{
    phase(*(const size_t *)size);
    return NULL;
}

TEST(phases_of_threads_do_not_add_up)
{
    size_t before = rss_bytes();
    for (size_t i = 0; i < SIZES; i++) {
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, phase_of, &sizes[i]), 0);
        pthread_join(thread, NULL);
    }
    expect_bounded_peak(before);
}

/* ---- many threads -------------------------------------------------------- */

enum { MANY = 500, LITTLE = 10 * KIB };
static pthread_barrier_t all_have, all_seen;

static void *have_little(void *seed)
{
    static __thread void *block[LITTLE / 16];
    uint64_t random = (uintptr_t)seed;
    size_t n = 0;
    for (size_t got = 0; got < LITTLE; n++) {
        size_t size = 16 + random_below(&random, 497);
        block[n] = fresh(size);
        got += size;
    }
    pthread_barrier_wait(&all_have);
    pthread_barrier_wait(&all_seen);
    while (n-- != 0)
        free(block[n]);
    return NULL;
}

/* 10 KiB, 5 of the table above, 4 to 8 of stack, and what the system needs. */
TEST(little_of_many_threads_is_little)
{
    static pthread_t thread[MANY];
    pthread_attr_t attr;
    if (is_mode("guard-each"))
        SKIP("each block has pages of its own");
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * KIB);
    pthread_barrier_init(&all_have, NULL, MANY + 1);
    pthread_barrier_init(&all_seen, NULL, MANY + 1);
    size_t before = rss_bytes();
    for (uintptr_t i = 0; i < MANY; i++)
        EXPECT_EQ(pthread_create(&thread[i], &attr, have_little, (void *)i), 0);
    pthread_barrier_wait(&all_have);
    if (under_hakmem())
        OWN_BOUND(EXPECT_LT((rss_bytes() - before) / MANY, 56 * KIB));
    pthread_barrier_wait(&all_seen);
    for (size_t i = 0; i < MANY; i++)
        pthread_join(thread[i], NULL);
}

/* ---- blocks that outlive their threads -------------------------------------
 */

enum { AT_ONCE = 32, ROUNDS = 10, BLOCKS = 2000, OUTLIVES = 200 };
static void *outlived[AT_ONCE * ROUNDS][BLOCKS / OUTLIVES];

static void *leave_some(void *number)
{
    uint64_t random = (uintptr_t)number;
    void **block = malloc(BLOCKS * sizeof *block);
    for (size_t i = 0; i < BLOCKS; i++)
        block[i] = fresh(16 + random_below(&random, 1009));
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % OUTLIVES == 0)
            outlived[(uintptr_t)number][i / OUTLIVES] = block[i];
        else
            free(block[i]);
    free(block);
    return NULL;
}

TEST(blocks_that_outlive_their_threads_keep_little_with_them)
{
    enum { SURVIVORS = AT_ONCE * ROUNDS * (BLOCKS / OUTLIVES) };
    pthread_t thread[AT_ONCE];
    if (!under_hakmem() || is_foreign() || is_mode("guard-each"))
        SKIP("a promise of hakmem's, and a question of time");
    size_t before = rss_bytes();
    for (uintptr_t r = 0; r < ROUNDS; r++) {
        for (uintptr_t i = 0; i < AT_ONCE; i++)
            EXPECT_EQ(pthread_create(&thread[i], NULL, leave_some,
                                     (void *)(r * AT_ONCE + i)),
                      0);
        for (size_t i = 0; i < AT_ONCE; i++)
            pthread_join(thread[i], NULL);
    }
    size_t bound = before + SURVIVORS * (size_t)(12 * KIB);
    for (int i = 0; i < 2000 && rss_bytes() >= bound; i++) {
        for (size_t size = 16; size <= KIB; size += 16)
            free(fresh(size));
        usleep(10000);
    }
    EXPECT_LT(rss_bytes(), bound);
    for (size_t i = 0; i < AT_ONCE * ROUNDS; i++)
        for (size_t k = 0; k < BLOCKS / OUTLIVES; k++)
            free(outlived[i][k]);
}

TEST_MAIN()

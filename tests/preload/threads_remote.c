/* SPDX-License-Identifier: MIT
 * threads_remote.c - threads that free each other's blocks, also those of
 * threads that ended or wait.
 */
#include "thread_tools.h"

#include <malloc.h>
#include <semaphore.h>

/* ---- blocks that outlive their thread ----------------------------------- */

enum { LEGACY = 600 };
static struct legacy {
    char *p;
    size_t n;
} legacy[4][LEGACY];

static void *leave_blocks(void *seed)
{
    uintptr_t row = (uintptr_t)seed % 4;
    uint64_t random = (uintptr_t)seed;
    for (size_t i = 0; i < LEGACY; i++) {
        struct legacy *l = &legacy[row][i];
        l->n = random_size(&random, 4, i % 60 == 0 ? 17 : 11);
        l->p = malloc(l->n);
        EXPECT(l->p != NULL);
        fill(l->p, l->n, row + i);
    }
    return NULL;
}

static void *free_blocks(void *which)
{
    uintptr_t row = (uintptr_t)which % 4;
    for (size_t i = 0; i < LEGACY; i++) {
        struct legacy *l = &legacy[row][i];
        EXPECT_PATTERN(l->p, l->n, row + i);
        free(l->p);
    }
    return NULL;
}

TEST(blocks_outlive_their_thread)
{
    size_t warm = 0;
    for (uintptr_t round = 0; round < 600; round++) {
        run_one(leave_blocks, (void *)round);
        if (round % 2 == 0) /* the main thread, or one that is new */
            free_blocks((void *)round);
        else
            run_one(free_blocks, (void *)round);
        if (round == 100)
            warm = rss_bytes();
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 16 * MIB));
}

/* The heap that realloc takes from is not the heap that the block is of. */
TEST(realloc_of_another_threads_blocks)
{
    for (uintptr_t round = 0; round < 40; round++) {
        uintptr_t row = round % 4;
        run_one(leave_blocks, (void *)round);
        for (size_t i = 0; i < LEGACY; i++) {
            struct legacy *l = &legacy[row][i];
            size_t more = l->n + 1 + i * 3;
            l->p = realloc(l->p, more);
            EXPECT(l->p != NULL);
            EXPECT_PATTERN(l->p, l->n, row + i);
            free(l->p);
        }
    }
}

/* Most of a generation's blocks die, a few stay: pages must be reused. */
TEST(survivors_do_not_pin_everything)
{
    enum { ROUNDS = 400, KEEP_EACH = 100 };
    static char *kept[ROUNDS];
    size_t warm = 0;
    for (uintptr_t round = 0; round < ROUNDS; round++) {
        run_one(leave_blocks, (void *)round);
        uintptr_t row = round % 4;
        kept[round] = legacy[row][round % KEEP_EACH].p;
        legacy[row][round % KEEP_EACH].p = NULL;
        legacy[row][round % KEEP_EACH].n = 0;
        free_blocks((void *)round);
        if (round == 50)
            warm = rss_bytes();
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 24 * MIB));
    for (int i = 0; i < ROUNDS; i++)
        free(kept[i]);
}

/* ---- producer and consumer ---------------------------------------------- */

enum { RING = 4096, MESSAGES = 3000000 };
static struct {
    char *slot[RING];
    size_t put __attribute__((aligned(64)));
    size_t got __attribute__((aligned(64)));
} ring;

static size_t message_bytes(size_t i)
{
    uint64_t random = i;
    return random_size(&random, 4, i % 500 == 0 ? 16 : 10);
}

static void *produce(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < MESSAGES; i++) {
        while (i - __atomic_load_n(&ring.got, __ATOMIC_ACQUIRE) >= RING)
            sched_yield();
        size_t n = message_bytes(i);
        char *p = malloc(n);
        EXPECT(p != NULL);
        memcpy(p, &i, sizeof i);
        p[n - 1] = (char)i;
        ring.slot[i % RING] = p;
        __atomic_store_n(&ring.put, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume(void *unused)
{
    size_t warm = 0;
    (void)unused;
    for (size_t i = 0; i < MESSAGES; i++) {
        while (__atomic_load_n(&ring.put, __ATOMIC_ACQUIRE) == i)
            sched_yield();
        char *p = ring.slot[i % RING];
        size_t n = message_bytes(i);
        EXPECT_EQ(p[n - 1], (char)i);
        if (n > 8)
            EXPECT_EQ(memcmp(p, &i, sizeof i), 0);
        free(p);
        __atomic_store_n(&ring.got, i + 1, __ATOMIC_RELEASE);
        if (i == MESSAGES / 10)
            warm = rss_bytes();
        if (i > MESSAGES / 10 && i % 100000 == 0)
            OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 24 * MIB));
    }
    return NULL;
}

TEST(producer_and_consumer)
{
    pthread_t consumer = start(consume, NULL);
    produce(NULL);
    pthread_join(consumer, NULL);
}

/* ---- a thread that waits ------------------------------------------------ */

enum { WAITING_BYTES = 64 * MIB };
static struct waiting {
    size_t size, n;
    char **block;
    sem_t ready, end;
} waiting;

static void *allocate_and_wait(void *unused)
{
    for (size_t i = 0; i < waiting.n; i++) {
        waiting.block[i] = malloc(waiting.size);
        EXPECT(waiting.block[i] != NULL);
        memset(waiting.block[i], 1, waiting.size);
    }
    sem_post(&waiting.ready);
    sem_wait(&waiting.end);
    return unused;
}

/* Its blocks of that size are freed by this thread, but for each `keep`th. */
static pthread_t let_wait(size_t size, size_t keep)
{
    waiting.size = size;
    waiting.n = WAITING_BYTES / size;
    waiting.block = calloc(waiting.n, sizeof *waiting.block);
    sem_init(&waiting.ready, 0, 0);
    sem_init(&waiting.end, 0, 0);
    pthread_t thread = start(allocate_and_wait, NULL);
    sem_wait(&waiting.ready);
    for (size_t i = 0; i < waiting.n; i++)
        if (keep == 0 || i % keep != 0) {
            free(waiting.block[i]);
            waiting.block[i] = NULL;
        }
    return thread;
}

static void end_waiting(pthread_t thread)
{
    for (size_t i = 0; i < waiting.n; i++)
        free(waiting.block[i]);
    free(waiting.block);
    sem_post(&waiting.end);
    pthread_join(thread, NULL);
}

TEST(a_trim_reaches_what_others_freed_of_a_thread_that_waits)
{
    static const size_t sizes[] = {64, 256, 1000, 5000, 40000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (is_mode("guard-each") && sizes[i] < 5000)
            continue; /* a sample each: as slow as it is */
        size_t before = rss_bytes();
        pthread_t thread = let_wait(sizes[i], 0);
        int trimmed = malloc_trim(0);
        size_t array = waiting.n * sizeof *waiting.block;
        if (under_hakmem()) { /* glibc keeps 16 MiB of those of 64 bytes */
            OWN_BOUND(EXPECT_EQ(trimmed, 1));
            OWN_BOUND(EXPECT_LT(rss_bytes(), before + array + 10 * MIB));
        }
        end_waiting(thread);
    }
}

/* Without a trim, by what any thread does on its slow paths: in a process in
 * which one runs. */
TEST(what_others_freed_of_a_thread_that_waits_goes_by_and_by)
{
    if (!under_hakmem() || is_foreign() || is_mode("guard-each"))
        SKIP("a promise of hakmem's, and a question of time");
    size_t before = rss_bytes();
    pthread_t thread = let_wait(700, 1000);
    for (int i = 0; i < 6000 && rss_bytes() > before + 16 * MIB; i++) {
        char *some[64];
        for (int k = 0; k < 64; k++)
            some[k] = malloc(700 + 16 * (size_t)k);
        for (int k = 0; k < 64; k++)
            free(some[k]);
        usleep(10000);
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), before + 16 * MIB));
    end_waiting(thread);
}

/* ---- everything at once ------------------------------------------------- */

enum { PARTY = 4, PARTY_BLOCKS = 20000 };
static struct {
    char *p[PARTY * PARTY_BLOCKS];
    uint32_t order[PARTY * PARTY_BLOCKS];
    pthread_barrier_t barrier;
} party;

static size_t party_bytes(size_t i)
{
    return 8 + random_mix(i) % (i % 1000 == 0 ? 60000 : 900);
}

static void shuffle_order(void)
{
    uint64_t random = 17;
    for (uint32_t i = 0; i < PARTY * PARTY_BLOCKS; i++) {
        size_t k = random_below(&random, i + 1);
        party.order[i] = party.order[k];
        party.order[k] = i;
    }
}

static void *take_then_free_random(void *which)
{
    size_t from = (uintptr_t)which * PARTY_BLOCKS;
    for (int round = 0; round < 6; round++) {
        for (size_t i = from; i < from + PARTY_BLOCKS; i++) {
            party.p[i] = malloc(party_bytes(i));
            EXPECT(party.p[i] != NULL);
            memcpy(party.p[i], &i, sizeof i);
        }
        pthread_barrier_wait(&party.barrier);
        for (size_t k = from; k < from + PARTY_BLOCKS; k++) {
            size_t i = party.order[k];
            EXPECT_EQ(memcmp(party.p[i], &i, sizeof i), 0);
            free(party.p[i]);
        }
        pthread_barrier_wait(&party.barrier);
    }
    return NULL;
}

TEST(all_free_in_random_order)
{
    pthread_t thread[PARTY];
    shuffle_order();
    pthread_barrier_init(&party.barrier, NULL, PARTY);
    for (uintptr_t i = 0; i < PARTY; i++)
        thread[i] = start(take_then_free_random, (void *)i);
    for (int i = 0; i < PARTY; i++)
        pthread_join(thread[i], NULL);
    OWN_BOUND(EXPECT_LT(rss_bytes(), 256 * MIB)); /* 45 MB live at most */
}

TEST_MAIN()

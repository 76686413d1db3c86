/* SPDX-License-Identifier: MIT
 * bench_swaps.c - threads that allocate, resize, check and free each other's
 * blocks, for bench/swaps.py and tests/control/swaps.py.
 *
 *     bench_swaps THREADS
 *
 * It reads words from stdin, a line each, and answers each with a line:
 *
 *     run SECONDS   works so long; answers with the operations of all threads
 *     start         works on; answers "started"
 *     count         answers with the operations so far
 *     free          frees all blocks and ends the threads; answers "freed"
 *     touch         needs memory of each size; answers "touched"
 *
 * Each block tells its size and pattern, and all of it is looked at before it
 * is freed. A wrong byte ends the program by abort, after a line on stderr.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct block {
    uint32_t bytes, pattern;
    unsigned char content[];
};

enum { MAX_THREADS = 64, LOCAL = 1000, SHARED = 4000, BATCH = 256 };

static struct block *shared[SHARED]; /* exchanged atomically */
static uint64_t operations;
static bool working, ending; /* both atomic */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Most are small, one in 30 has up to 32 KiB. */
static size_t random_bytes(uint64_t *state)
{
    size_t most = next_random(state) % 30 == 0 ? 32768 : 600;
    return sizeof(struct block) + next_random(state) % most;
}

static struct block *sign(struct block *b, size_t bytes, uint32_t pattern)
{
    if (b == NULL)
        abort();
    b->bytes = (uint32_t)bytes;
    b->pattern = pattern;
    memset(b->content, (int)(pattern & 255), bytes - sizeof *b);
    return b;
}

static struct block *take(uint64_t *state)
{
    size_t bytes = random_bytes(state);
    return sign(malloc(bytes), bytes, next_random(state));
}

/* Are the first bytes of b as they were signed? */
static void check(const struct block *b, size_t bytes)
{
    for (size_t i = 0; i < bytes - sizeof *b; i++)
        if (b->content[i] != (b->pattern & 255)) {
            fprintf(stderr, "block %p of %u bytes: byte %zu is %u, not %u\n",
                    (const void *)b, b->bytes, i, b->content[i],
                    b->pattern & 255);
            abort();
        }
}

static void drop(struct block *b)
{
    if (b != NULL)
        check(b, b->bytes);
    free(b);
}

static struct block *resize(struct block *b, uint64_t *state)
{
    size_t bytes = random_bytes(state);
    size_t kept = b->bytes < bytes ? b->bytes : bytes;
    b = realloc(b, bytes);
    if (b == NULL)
        abort();
    check(b, kept);
    return sign(b, bytes, next_random(state));
}

static void one_operation(struct block **local, uint64_t *state)
{
    struct block **at = &local[next_random(state) % LOCAL];
    switch (next_random(state) % 8) {
    case 0:
    case 1:
        *at = __atomic_exchange_n(&shared[next_random(state) % SHARED], *at,
                                  __ATOMIC_ACQ_REL);
        break;
    case 2:
        if (*at != NULL)
            *at = resize(*at, state);
        break;
    default:
        drop(*at);
        *at = take(state);
    }
}

static void *work(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t state = (uintptr_t)which * 977 + 1;
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        if (!__atomic_load_n(&working, __ATOMIC_RELAXED)) {
            usleep(500);
            continue;
        }
        for (int i = 0; i < BATCH; i++)
            one_operation(local, &state);
        __atomic_add_fetch(&operations, BATCH, __ATOMIC_RELAXED);
    }
    for (int i = 0; i < LOCAL; i++)
        drop(local[i]);
    return NULL;
}

static void run(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    uint64_t before = __atomic_load_n(&operations, __ATOMIC_RELAXED);
    __atomic_store_n(&working, true, __ATOMIC_RELAXED);
    nanosleep(&t, NULL);
    __atomic_store_n(&working, false, __ATOMIC_RELAXED);
    uint64_t after = __atomic_load_n(&operations, __ATOMIC_RELAXED);
    printf("%llu\n", (unsigned long long)(after - before));
}

static void start(void)
{
    __atomic_store_n(&working, true, __ATOMIC_RELAXED);
    puts("started");
}

static void count(void)
{
    uint64_t now = __atomic_load_n(&operations, __ATOMIC_RELAXED);
    printf("%llu\n", (unsigned long long)now);
}

static void free_all(const pthread_t *thread, int n)
{
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < SHARED; i++)
        drop(shared[i]);
    puts("freed");
}

/* This thread needs memory of each size, so that it sends away what it freed.
 */
static void touch(void)
{
    for (size_t bytes = 16; bytes < 70000; bytes += 16)
        free(malloc(bytes));
    puts("touched");
}

int main(int argc, char **argv)
{
    pthread_t thread[MAX_THREADS];
    char line[64];
    int n = argc == 2 ? atoi(argv[1]) : 0;
    if (n < 1 || n > MAX_THREADS) {
        fprintf(stderr, "usage: bench_swaps THREADS\n");
        return 2;
    }
    for (int i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i) != 0)
            abort();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "run ", 4) == 0)
            run(strtod(line + 4, NULL));
        else if (strcmp(line, "free\n") == 0)
            free_all(thread, n);
        else if (strcmp(line, "start\n") == 0)
            start();
        else if (strcmp(line, "count\n") == 0)
            count();
        else
            touch();
        fflush(stdout);
    }
    return 0;
}

/* SPDX-License-Identifier: MIT
 * bench_kept.c - how much stays resident beyond the live blocks. */
#include "driver.h"

#include <malloc.h>

static const char *const bench_usage =
    "usage: bench_kept [--vs LIST] [phases [MIB [TIMES]]]\n"
    "       bench_kept [--vs LIST] waiting|little|survivors [N [TIMES]]\n"
    "phases     blocks of one size after the other, MIB at once: see its peak\n"
    "waiting    a thread has N MiB of 256 B, another frees them and trims, "
    "the\n"
    "           first one waits\n"
    "little     N threads at once have 10 KiB each, of 16..512 B, and wait\n"
    "survivors  threads, 32 at once, N in all, of which one in 200 blocks of\n"
    "           16..1024 B outlives its thread, all are joined; a second "
    "later\n"
    "Prints op/s and the bytes that are resident then";

/* Resident bytes of this process. */
static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void *fresh(size_t size)
{
    void *p = malloc(size);
    if (p == NULL) {
        fputs("bench_kept: out of memory\n", stderr);
        exit(1);
    }
    memset(p, 1, size);
    return p;
}

/* ---- phases -------------------------------------------------------------- */

static double phases(size_t n, size_t times, uint64_t seed)
{
    static const size_t sizes[] = {100, 1000, 5000,  50000,  300000,  3000000,
                                   30,  700,  20000, 130000, 1500000, 64};
    size_t done = 0;
    (void)seed;
    double from = bench_seconds();
    for (size_t t = 0; t < times; t++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t count = (n << 20) / sizes[i];
            void **block = fresh(count * sizeof *block);
            for (size_t k = 0; k < count; k++)
                block[k] = fresh(sizes[i]);
            for (size_t k = 0; k < count; k++)
                free(block[k]);
            free(block);
            done += count;
        }
    return (double)done / (bench_seconds() - from);
}

/* ---- threads ------------------------------------------------------------- */

static pthread_barrier_t all_have, all_seen;
static void **blocks; /* of all threads, one part after the other */
static size_t each;   /* blocks of a thread, or bytes */

static void *have_and_wait(void *part)
{
    for (size_t i = 0; i < each; i++)
        ((void **)part)[i] = fresh(256);
    pthread_barrier_wait(&all_have);
    pthread_barrier_wait(&all_seen);
    return NULL;
}

static double waiting(size_t n, size_t times, uint64_t seed)
{
    pthread_t thread;
    (void)seed;
    (void)times;
    each = (n << 20) / 256;
    blocks = bench_table(each * sizeof *blocks);
    pthread_barrier_init(&all_have, NULL, 2);
    pthread_barrier_init(&all_seen, NULL, 2);
    double from = bench_seconds();
    pthread_create(&thread, NULL, have_and_wait, blocks);
    pthread_barrier_wait(&all_have);
    for (size_t i = 0; i < each; i++)
        free(blocks[i]);
    malloc_trim(0);
    double took = bench_seconds() - from;
    bench_after_bytes = resident_bytes();
    pthread_barrier_wait(&all_seen);
    pthread_join(thread, NULL);
    return (double)each / took;
}

static void *have_little(void *seed)
{
    uint64_t state = (uintptr_t)seed;
    for (size_t got = 0; got < 10240;) {
        size_t size = 16 + bench_random(&state) % 497;
        fresh(size);
        got += size;
    }
    pthread_barrier_wait(&all_have);
    pthread_barrier_wait(&all_seen);
    return NULL;
}

static double little(size_t n, size_t times, uint64_t seed)
{
    pthread_t *thread = calloc(n, sizeof *thread);
    pthread_attr_t attr;
    (void)times;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    pthread_barrier_init(&all_have, NULL, (unsigned)n + 1);
    pthread_barrier_init(&all_seen, NULL, (unsigned)n + 1);
    double from = bench_seconds();
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&thread[i], &attr, have_little,
                           (void *)(seed + i + 1)) != 0) {
            fputs("bench_kept: no more threads\n", stderr);
            exit(1);
        }
    pthread_barrier_wait(&all_have);
    double took = bench_seconds() - from;
    bench_after_bytes = resident_bytes();
    pthread_barrier_wait(&all_seen);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    return (double)n / took;
}

/* A thread that frees most of its blocks and ends. No thread frees the rest. */
static void *leave_some(void *seed)
{
    enum { BLOCKS = 4000, OUTLIVES = 200 };
    void *block[BLOCKS];
    uint64_t state = (uintptr_t)seed;
    for (size_t i = 0; i < BLOCKS; i++)
        block[i] = fresh(16 + bench_random(&state) % 1009);
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % OUTLIVES != 0)
            free(block[i]);
    return NULL;
}

static double survivors(size_t n, size_t times, uint64_t seed)
{
    enum { AT_ONCE = 32 };
    pthread_t thread[AT_ONCE];
    (void)times;
    double from = bench_seconds();
    for (size_t done = 0; done < n; done += AT_ONCE) {
        for (size_t i = 0; i < AT_ONCE; i++)
            pthread_create(&thread[i], NULL, leave_some,
                           (void *)(seed + done + i + 1));
        for (size_t i = 0; i < AT_ONCE; i++)
            pthread_join(thread[i], NULL);
    }
    double took = bench_seconds() - from;
    for (int i = 0; i < 100; i++) { /* the program goes on with few blocks */
        for (size_t size = 16; size <= 1024; size += 16)
            free(malloc(size));
        usleep(10000);
    }
    bench_after_bytes = resident_bytes();
    return (double)n / took;
}

static double bench_run(int argc, char **argv)
{
    static const struct bench_mode modes[] = {
        {"phases", 60, 1, phases},   {"waiting", 300, 1, waiting},
        {"little", 1000, 1, little}, {"survivors", 320, 1, survivors},
        {NULL, 0, 0, NULL},
    };
    return bench_run_mode(modes, argc, argv);
}

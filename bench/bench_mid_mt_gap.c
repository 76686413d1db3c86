/* SPDX-License-Identifier: MIT
 * bench_mid_mt_gap.c - random replacement of 1..8 KiB in threads. */
#include "driver.h"

#include <pthread.h>

static const char *const bench_usage =
    "usage: bench_mid_mt_gap [--vs LIST] [THREADS [ITER [WS [SEED]]]]\n"
    "each of THREADS (default 1) replaces ITER times (5000000) in its own WS\n"
    "blocks (256) of 1..8 KiB, or HAKMEM_BENCH_MIN_SIZE .. _MAX_SIZE; prints\n"
    "op/s of all threads together";

static size_t iter = 5000000, ws = 256, least = 1024, most = 8192;
static uint64_t seed = 42;

static void *work(void *arg)
{
    void **block = calloc(ws, sizeof *block);
    uint64_t state = (seed + (uintptr_t)arg) * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % ws;
        size_t size = least + (size_t)(x >> 40) % (most - least + 1);
        free(block[k]);
        block[k] = malloc(size);
        bench_touch(block[k], size);
    }
    for (size_t k = 0; k < ws; k++)
        free(block[k]);
    free(block);
    return NULL;
}

static double bench_run(int argc, char **argv)
{
    enum { THREADS_MOST = 256 };
    pthread_t thread[THREADS_MOST];
    size_t n = argc > 1 ? bench_number(argv[1]) : 1;
    iter = argc > 2 ? bench_number(argv[2]) : iter;
    ws = argc > 3 ? bench_number(argv[3]) : ws;
    seed = argc > 4 ? bench_number(argv[4]) : seed;
    bench_sizes(&least, &most);
    n = n == 0 ? 1 : n > THREADS_MOST ? THREADS_MOST : n;
    ws = ws == 0 ? 1 : ws;
    double start = bench_seconds();
    for (size_t i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, work, (void *)i);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    return (double)(iter * n) / (bench_seconds() - start);
}

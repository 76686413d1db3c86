/* SPDX-License-Identifier: MIT
 * bench_mid_large_mt.c - random replacement of 8 KiB..1 MiB in threads. */
#include "driver.h"

#include <pthread.h>

static const char *const bench_usage =
    "usage: bench_mid_large_mt [--vs LIST] [THREADS [ITER [WS [SEED]]]]\n"
    "each of THREADS (default 2) replaces ITER times (200000) in its own WS\n"
    "blocks (64) of 8 KiB..1 MiB, log-uniform, or HAKMEM_BENCH_MIN_SIZE ..\n"
    "_MAX_SIZE, uniform; prints op/s of all threads together";

static struct {
    size_t iter, ws, least, most;
    uint64_t seed;
    bool uniform;
} plan = {200000, 64, 8192, 1 << 20, 42, false};

static size_t pick(uint64_t x)
{
    if (plan.uniform)
        return plan.least + (size_t)(x >> 40) % (plan.most - plan.least + 1);
    size_t base = plan.least << (x >> 60) % 7; /* 8 KiB .. 512 KiB */
    return base + (size_t)(x >> 30) % base;
}

static void *work(void *arg)
{
    void **block = calloc(plan.ws, sizeof *block);
    uint64_t state = (plan.seed + (uintptr_t)arg) * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < plan.iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 8) % plan.ws, size = pick(x);
        free(block[k]);
        block[k] = malloc(size);
        bench_touch(block[k], size);
    }
    for (size_t k = 0; k < plan.ws; k++)
        free(block[k]);
    free(block);
    return NULL;
}

static double bench_run(int argc, char **argv)
{
    enum { THREADS_MOST = 256 };
    pthread_t thread[THREADS_MOST];
    size_t n = argc > 1 ? bench_number(argv[1]) : 2;
    plan.iter = argc > 2 ? bench_number(argv[2]) : plan.iter;
    plan.ws = argc > 3 ? bench_number(argv[3]) : plan.ws;
    plan.seed = argc > 4 ? bench_number(argv[4]) : plan.seed;
    plan.uniform = getenv("HAKMEM_BENCH_MIN_SIZE") != NULL ||
                   getenv("HAKMEM_BENCH_MAX_SIZE") != NULL;
    bench_sizes(&plan.least, &plan.most);
    n = n == 0 ? 1 : n > THREADS_MOST ? THREADS_MOST : n;
    plan.ws = plan.ws == 0 ? 1 : plan.ws;
    double start = bench_seconds();
    for (size_t i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, work, (void *)i);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    return (double)(plan.iter * n) / (bench_seconds() - start);
}

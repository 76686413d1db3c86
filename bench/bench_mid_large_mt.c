/* SPDX-License-Identifier: MIT
 * bench_mid_large_mt.c - threads that replace random blocks of 8 KiB..1 MiB. */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_mid_large_mt [--vs LIST] [THREADS [ITER [WS [SEED]]]]\n"
    "each of THREADS (default 2) replaces ITER times (200000) in its own WS\n"
    "blocks (64) of 8 KiB..1 MiB, log-uniform, or HAKMEM_BENCH_MIN_SIZE ..\n"
    "_MAX_SIZE, uniform; prints op/s of all threads together";

/* A size of 8 KiB .. 1 MiB: choose a power of two, then a size from it up to
 * the next one, both evenly. */
static size_t log_uniform(const struct bench_plan *plan, uint64_t random)
{
    size_t base = plan->least << (random >> 60) % 7;
    return base + (size_t)(random >> 30) % base;
}

static double bench_run(int argc, char **argv)
{
    struct bench_plan plan = {200000, 64, 8192, 1 << 20, 42, log_uniform};
    size_t n = argc > 1 ? bench_number(argv[1]) : 2;
    plan.iter = argc > 2 ? bench_number(argv[2]) : plan.iter;
    plan.ws = argc > 3 ? bench_number(argv[3]) : plan.ws;
    plan.seed = argc > 4 ? bench_number(argv[4]) : plan.seed;
    if (getenv("HAKMEM_BENCH_MIN_SIZE") || getenv("HAKMEM_BENCH_MAX_SIZE"))
        plan.pick = bench_uniform;
    bench_sizes(&plan.least, &plan.most);
    return bench_in_threads(&plan, n);
}

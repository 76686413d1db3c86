/* SPDX-License-Identifier: MIT
 * bench_mid_mt_gap.c - threads that replace random blocks of 1..8 KiB. */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_mid_mt_gap [--vs LIST] [THREADS [ITER [WS [SEED]]]]\n"
    "each of THREADS (default 1) replaces ITER times (5000000) in its own WS\n"
    "blocks (256) of 1..8 KiB, or HAKMEM_BENCH_MIN_SIZE .. _MAX_SIZE; prints\n"
    "op/s of all threads together";

static double bench_run(int argc, char **argv)
{
    struct bench_plan plan = {5000000, 256, 1024, 8192, 42, bench_uniform};
    size_t n = argc > 1 ? bench_number(argv[1]) : 1;
    plan.iter = argc > 2 ? bench_number(argv[2]) : plan.iter;
    plan.ws = argc > 3 ? bench_number(argv[3]) : plan.ws;
    plan.seed = argc > 4 ? bench_number(argv[4]) : plan.seed;
    bench_sizes(&plan.least, &plan.most);
    return bench_in_threads(&plan, n);
}

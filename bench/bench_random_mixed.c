/* SPDX-License-Identifier: MIT
 * bench_random_mixed.c - replace random blocks in a working set of WS blocks.
 */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_random_mixed [--vs LIST] [ITER [WS [SEED]]]\n"
    "ITER replacements (default 10000000) in WS blocks (400) of 16..1024\n"
    "bytes, or HAKMEM_BENCH_MIN_SIZE .. HAKMEM_BENCH_MAX_SIZE; prints op/s,\n"
    "an operation being a free and a malloc";

static double bench_run(int argc, char **argv)
{
    struct bench_plan plan = {10000000, 400, 16, 1024, 42, bench_uniform};
    plan.iter = argc > 1 ? bench_number(argv[1]) : plan.iter;
    plan.ws = argc > 2 ? bench_number(argv[2]) : plan.ws;
    plan.seed = argc > 3 ? bench_number(argv[3]) : plan.seed;
    bench_sizes(&plan.least, &plan.most);
    double start = bench_seconds();
    bench_replace(&plan, 0);
    return (double)plan.iter / (bench_seconds() - start);
}

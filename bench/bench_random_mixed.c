/* SPDX-License-Identifier: MIT
 * bench_random_mixed.c - random replacement in a working set of WS blocks. */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_random_mixed [--vs LIST] [ITER [WS [SEED]]]\n"
    "ITER replacements (default 10000000) in WS blocks (400) of 16..1024\n"
    "bytes, or HAKMEM_BENCH_MIN_SIZE .. HAKMEM_BENCH_MAX_SIZE; prints op/s,\n"
    "an operation being a free and a malloc";

static double bench_run(int argc, char **argv)
{
    size_t iter = argc > 1 ? bench_number(argv[1]) : 10000000;
    size_t ws = argc > 2 ? bench_number(argv[2]) : 400;
    uint64_t seed = argc > 3 ? bench_number(argv[3]) : 42;
    size_t least = 16, most = 1024;
    bench_sizes(&least, &most);
    if (ws == 0)
        ws = 1;
    void **block = calloc(ws, sizeof *block);
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    double start = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % ws;
        size_t size = least + (size_t)(x >> 40) % (most - least + 1);
        free(block[k]);
        block[k] = malloc(size);
        bench_touch(block[k], size);
    }
    double seconds = bench_seconds() - start;
    for (size_t k = 0; k < ws; k++)
        free(block[k]);
    free(block);
    return (double)iter / seconds;
}

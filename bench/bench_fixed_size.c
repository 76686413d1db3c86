/* SPDX-License-Identifier: MIT
 * bench_fixed_size.c - blocks of one size: fill a working set, then replace its
 * blocks in turn.
 */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_fixed_size [--vs LIST] [SIZE [WS [ITER]]]\n"
    "WS blocks (default 128) of SIZE bytes (64), replaced round robin ITER\n"
    "times (20000000); prints op/s, an operation being a free and a malloc";

static double bench_run(int argc, char **argv)
{
    size_t size = argc > 1 ? bench_number(argv[1]) : 64;
    size_t ws = argc > 2 ? bench_number(argv[2]) : 128;
    size_t iter = argc > 3 ? bench_number(argv[3]) : 20000000;
    if (ws == 0)
        ws = 1;
    void **block = calloc(ws, sizeof *block);
    double start = bench_seconds();
    for (size_t i = 0, k = 0; i < iter; i++) {
        free(block[k]);
        block[k] = malloc(size);
        bench_touch(block[k], size);
        k = k + 1 == ws ? 0 : k + 1;
    }
    double seconds = bench_seconds() - start;
    for (size_t k = 0; k < ws; k++)
        free(block[k]);
    free(block);
    return (double)iter / seconds;
}

/* SPDX-License-Identifier: MIT
 * bench_stall.c - how long a malloc takes while another thread frees much
 * memory. */
#include "driver.h"
#include <stdatomic.h>

static const char *const bench_usage =
    "usage: bench_stall [--vs LIST] longest|p99.99 [MIB]\n"
    "A thread frees MIB of blocks of 1000 B, then works lightly for some "
    "tenths\n"
    "of a second. Meanwhile another takes a block of 1000 B every 5 us and "
    "keeps\n"
    "it. Prints ns: the longest malloc of the other, or that which one in "
    "10000\n"
    "exceeds. The scheduler's turns are in it: beside other allocators only";

enum {
    BLOCK_BYTES = 1000,
    PARTS = 8, /* counters from one power of two to the next */
    TIMES = 64 * PARTS,
};

static _Atomic bool has_begun, is_over;
static uint64_t ntook[TIMES]; /* number of mallocs, by their time */
static double longest_ns;

/* The position in ntook for a time. Counter i starts at
 * 2^(i / PARTS) * (1 + (i % PARTS) / PARTS) ns. */
static size_t place_of(uint64_t ns)
{
    size_t log = 63 - (size_t)__builtin_clzll(ns | PARTS);
    return log * PARTS + (size_t)(ns >> (log - 3)) % PARTS;
}

static double begin_of(size_t place)
{
    return (double)(1ull << place / PARTS) *
           (1 + (double)(place % PARTS) / PARTS);
}

static void *take_slowly(void *unused)
{
    void **last = NULL;
    double next = bench_seconds();
    while (!is_over) {
        double from = bench_seconds();
        void **block = malloc(BLOCK_BYTES);
        double ns = (bench_seconds() - from) * 1e9;
        bench_touch(block, BLOCK_BYTES);
        *block = last;
        last = block;
        if (has_begun) {
            ntook[place_of((uint64_t)ns)]++;
            longest_ns = ns > longest_ns ? ns : longest_ns;
        }
        for (next += 5e-6; bench_seconds() < next;)
            ;
    }
    while (last != NULL) {
        void **block = last;
        last = *block;
        free(block);
    }
    return unused;
}

static void work_lightly(void)
{
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 50; k++) {
            void *p = malloc(300000);
            bench_touch(p, 300000);
            free(p);
        }
        usleep(10000);
    }
}

static void give_back(size_t mib)
{
    size_t n = mib * 1024 * 1024 / BLOCK_BYTES;
    void **block = bench_table(n * sizeof *block);
    pthread_t other;
    for (size_t i = 0; i < n; i++) {
        block[i] = malloc(BLOCK_BYTES);
        bench_touch(block[i], BLOCK_BYTES);
    }
    if (pthread_create(&other, NULL, take_slowly, NULL) != 0) {
        fputs("bench: no thread\n", stderr);
        exit(1);
    }
    usleep(50000);
    has_begun = true;
    for (size_t i = 0; i < n; i++)
        free(block[i]);
    work_lightly();
    is_over = true;
    pthread_join(other, NULL);
}

static double longest(size_t mib, size_t unused, uint64_t seed)
{
    (void)unused, (void)seed;
    give_back(mib);
    return longest_ns;
}

static double one_in_10000(size_t mib, size_t unused, uint64_t seed)
{
    uint64_t all = 0, above = 0;
    (void)unused, (void)seed;
    give_back(mib);
    for (size_t i = 0; i < TIMES; i++)
        all += ntook[i];
    size_t place = TIMES;
    while (place > 0 && above <= all / 10000)
        above += ntook[--place];
    return begin_of(place);
}

static double bench_run(int argc, char **argv)
{
    static const struct bench_mode modes[] = {
        {"longest", 2000, 1, longest},
        {"p99.99", 2000, 1, one_in_10000},
        {NULL, 0, 0, NULL},
    };
    bench_is_ns = true;
    return bench_run_mode(modes, argc, argv);
}

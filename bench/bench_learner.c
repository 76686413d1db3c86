/* SPDX-License-Identifier: MIT
 * bench_learner.c - phases that use one size class after another, to measure
 * the cost and the gain of the learner. Compare
 *
 *     for mode in off observe apply; do
 *         HAKMEM_CONF=conf/learner.ini HAKMEM_LEARNER_MODE=$mode \
 *         LD_PRELOAD=build/libhakmem.so build/bench/bench_learner; done
 */
#include "driver.h"

static const char *const bench_usage =
    "usage: bench_learner [--vs LIST] [THREADS [PHASES [ROUNDS [SEED]]]]\n"
    "each of THREADS (default 1) goes through PHASES (24), in each of which\n"
    "another class of sizes is heavy. ROUNDS (25) a phase: 32000 blocks come,\n"
    "32000 are replaced at random, all go. Prints op/s of all threads\n"
    "together, an operation being a malloc and a free";

enum { BLOCKS = 32000, REPLACED = 32000, KINDS = 4, THREADS_MOST = 64 };

/* Programs use few sizes. Three requests in eight are of any of them, the
 * others are of the phase's. */
enum { SIZES_OF_A_KIND = 2 };
static const size_t sizes[KINDS][SIZES_OF_A_KIND] = {
    {448, 512}, {768, 1000}, {24, 64}, {320, 384}};

static size_t phases = 24, rounds = 25, seed = 42;

static size_t pick(size_t kind, uint64_t x)
{
    if ((x >> 8) % 8 < 3)
        kind = (x >> 16) % KINDS;
    return sizes[kind][(x >> 40) % SIZES_OF_A_KIND];
}

static void put(void **at, size_t kind, uint64_t *state)
{
    size_t size = pick(kind, bench_random(state));
    *at = malloc(size);
    bench_touch(*at, size);
}

static void one_round(void **block, size_t kind, uint64_t *state)
{
    for (size_t i = 0; i < BLOCKS; i++)
        put(&block[i], kind, state);
    for (size_t i = 0; i < REPLACED; i++) {
        void **at = &block[(size_t)(bench_random(state) >> 20) % BLOCKS];
        free(*at);
        put(at, kind, state);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(block[i]);
}

static void *work(void *who)
{
    void **block = calloc(BLOCKS, sizeof *block);
    uint64_t state = (seed + (uintptr_t)who) * 0x9e3779b97f4a7c15ull + 1;
    for (size_t p = 0; p < phases; p++)
        for (size_t r = 0; r < rounds; r++)
            one_round(block, p % KINDS, &state);
    free(block);
    return NULL;
}

static double bench_run(int argc, char **argv)
{
    pthread_t thread[THREADS_MOST];
    size_t n = argc > 1 ? bench_number(argv[1]) : 1;
    phases = argc > 2 ? bench_number(argv[2]) : phases;
    rounds = argc > 3 ? bench_number(argv[3]) : rounds;
    seed = argc > 4 ? bench_number(argv[4]) : seed;
    n = n == 0 ? 1 : n > THREADS_MOST ? THREADS_MOST : n;
    double start = bench_seconds();
    for (size_t i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, work, (void *)i);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    return (double)(n * phases * rounds * (BLOCKS + REPLACED)) /
           (bench_seconds() - start);
}

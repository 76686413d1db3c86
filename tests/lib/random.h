/* SPDX-License-Identifier: MIT
 * random.h - random numbers of all tests: the same seed, the same numbers.
 *
 *     uint64_t random = 7;
 *     size_t at = random_below(&random, 100);
 *
 * SplitMix64: any seed will do, 0 and neighbours too. Source: Steele, Lea,
 * Flood, "Fast splittable pseudorandom number generators", 2014.
 */
#ifndef HAK_TESTS_RANDOM_H
#define HAK_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Bits that have nothing to do with those of x to the eye; 0 stays 0. */
static inline uint64_t random_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t random_next(uint64_t *state)
{
    return random_mix(*state += 0x9e3779b97f4a7c15u);
}

/* 0 .. n - 1 */
static inline size_t random_below(uint64_t *state, size_t n)
{
    return (size_t)(random_next(state) % n);
}

/* 0 .. n - 1, of one sequence that each process begins anew; for one thread at
 * a time. */
static inline size_t rnd(size_t n)
{
    static uint64_t state;
    return random_below(&state, n);
}

#endif

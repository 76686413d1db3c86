/* SPDX-License-Identifier: MIT
 * poisson.h - random distances of a Poisson process, and its probabilities.
 *
 * Samples of allocations are the points of such a process over the bytes that
 * are allocated. Without libm, which the library does not link.
 */
#ifndef HAKMEM_BASE_POISSON_H
#define HAKMEM_BASE_POISSON_H

#include <stdint.h>

#pragma GCC visibility push(hidden)

/* A random distance to the next point, for a mean distance of 1: it is
 * distributed exponentially. 0 < result < 45. Any thread. */
double hak_random_exponential(void);
/* The probability 1 - exp(-x) that a piece of length x >= 0 has a point, for a
 * mean distance of 1. Exact to 12 digits. */
double hak_hit_probability(double x);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * poisson.c - random distances of a Poisson process, and its probabilities.
 */
#include <base/poisson.h>

#include <base/random.h>

/* ln x for 1 <= x <= 2, by the series of the inverse hyperbolic tangent:
 * ln x = 2 (s + s^3/3 + s^5/5 + ...) with s = (x - 1) / (x + 1) <= 1/3. */
static double log_of_mantissa(double x)
{
    enum { TERMS = 12 }; /* the next one is below 3^-25 / 25 */
    double s = (x - 1) / (x + 1), power = s, sum = 0;
    for (int i = 0; i < TERMS; i++) {
        sum += power / (2 * i + 1);
        power *= s * s;
    }
    return 2 * sum;
}

/* A uniform number n / 2^63 with 1 <= n < 2^63 is split into 2^-shift times a
 * number from 1 to 2, whose logarithm is a short series. */
double hak_random_exponential(void)
{
    static const double ln_2 = 0.693147180559945309;
    uint64_t n = hak_random() >> 1 | 1;
    int shift = __builtin_clzll(n) - 1;
    double mantissa = (double)(n << shift) / (double)(1ULL << 62);
    return (shift + 1) * ln_2 - log_of_mantissa(mantissa);
}

/* 1 - exp(-x) = 2q - q^2 with q = 1 - exp(-x/2), down to an x so small that
 * four terms of the series are enough. */
double hak_hit_probability(double x)
{
    enum { HALVINGS = 12 };
    if (x > 40)
        return 1;
    double y = x / (1 << HALVINGS);
    double q = y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4)));
    for (int i = 0; i < HALVINGS; i++)
        q = q * (2 - q);
    return q;
}

/* SPDX-License-Identifier: MIT
 * hakctl_compare_stats.c - the statistics of hakctl compare.
 *
 * Runs are compared round by round, since a round's contenders ran one after
 * the other and met the same load of the machine. What is estimated is the
 * median of the logarithms of the ratios; its interval is the percentile
 * bootstrap (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979;
 * Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", 2013).
 *
 * With few rounds that interval alone finds a difference in more than 5 of 100
 * cases without one, since the medians of resamples take few values. So it is
 * widened to the order statistics that hold the median with at least 95 %,
 * whatever the distribution is (the sign test turned round).
 *
 * No logarithm is taken. It keeps the order, so the middle of an odd number of
 * logarithms is that of the ratio in the middle, and the mean of the two in the
 * middle of an even number is that of their geometric mean.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <math.h>
#include <stdlib.h>

/* ---- basics -------------------------------------------------------------- */

int compare_values(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void sort(double *values, size_t n)
{
    if (n > 1)
        qsort(values, n, sizeof *values, compare_values);
}

/* The median of sorted values. */
static double middle(const double *values, size_t n)
{
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* That of sorted ratios, by their logarithms. */
static double middle_ratio(const double *ratios, size_t n)
{
    if (n % 2 == 1)
        return ratios[n / 2];
    return sqrt(ratios[n / 2 - 1] * ratios[n / 2]);
}

/* The value below which that share of the sorted values lies, between two by a
 * straight line. */
static double quantile(const double *values, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n)
        return values[n - 1];
    return values[i] + (at - (double)i) * (values[i + 1] - values[i]);
}

static double *make_values(size_t n)
{
    double *values = calloc(n + 1, sizeof *values);
    if (values == NULL)
        ctl_die("no memory");
    return values;
}

/* The sorted values of the done runs; free them. */
static double *done_values(const struct compare *c, size_t contender, size_t m,
                           size_t *n)
{
    double *values = make_values(c->rounds);
    *n = 0;
    for (size_t i = 0; i < c->rounds; i++)
        if (c->at[contender].runs[i].state == COMPARE_DONE)
            values[(*n)++] = c->at[contender].runs[i].value[m];
    sort(values, *n);
    return values;
}

/* ---- one contender ------------------------------------------------------- */

size_t compare_count(const struct compare *c, size_t contender,
                     enum compare_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < c->rounds; i++)
        n += c->at[contender].runs[i].state == state;
    return n;
}

bool compare_median(const struct compare *c, size_t contender, size_t m,
                    double *median)
{
    size_t n;
    double *values = done_values(c, contender, m, &n);
    if (n != 0)
        *median = middle(values, n);
    free(values);
    return n != 0;
}

double compare_spread(const struct compare *c, size_t contender, size_t m)
{
    size_t n;
    double spread = 0, *values = done_values(c, contender, m, &n);
    if (n != 0 && middle(values, n) > 0)
        spread = (quantile(values, n, 0.75) - quantile(values, n, 0.25)) /
                 middle(values, n);
    free(values);
    return spread;
}

static double distance(double a, double b)
{
    return a > b ? a - b : b - a;
}

/* The modified Z-score above 3.5 (Iglewicz and Hoaglin, "How to Detect and
 * Handle Outliers", 1993): the distance from the median in units of the median
 * of all these distances. */
bool compare_is_outlier(const struct compare *c, size_t contender, size_t m,
                        size_t round)
{
    size_t n;
    const struct compare_run *run = &c->at[contender].runs[round];
    double *values = done_values(c, contender, m, &n);
    bool is = false;
    if (run->state == COMPARE_DONE) {
        double median = middle(values, n);
        for (size_t i = 0; i < n; i++)
            values[i] = distance(values[i], median);
        sort(values, n);
        double usual = middle(values, n);
        is =
            usual > 0 && 0.6745 * distance(run->value[m], median) > 3.5 * usual;
    }
    free(values);
    return is;
}

/* ---- two contenders ------------------------------------------------------ */

/* splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
 * Generators", 2014). */
uint64_t compare_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Draw n of the n ratios, with repetition, and return their median. The ratios
 * are sorted, so counting how often each was drawn sorts the sample. */
static double resample(const double *ratios, size_t n, size_t *drawn,
                       uint64_t *state)
{
    size_t seen = 0, lower = n, i;
    memset(drawn, 0, n * sizeof *drawn);
    for (i = 0; i < n; i++)
        drawn[compare_random(state) % n]++;
    for (i = 0; seen + drawn[i] <= n / 2; i++) {
        seen += drawn[i];
        if (lower == n && seen > (n - 1) / 2)
            lower = i;
    }
    if (lower == n)
        lower = i;
    double two[] = {ratios[lower], ratios[i]};
    return middle_ratio(two, n % 2 == 1 ? 1 : 2);
}

/* The seed is fixed, so that the same runs give the same interval. */
static void bootstrap(const double *ratios, struct compare_ratio *out)
{
    enum { RESAMPLES = 10000 };
    uint64_t state = 17;
    double *medians = make_values(RESAMPLES);
    size_t *drawn = calloc(out->pairs, sizeof *drawn);
    if (drawn == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < RESAMPLES; i++)
        medians[i] = resample(ratios, out->pairs, drawn, &state);
    sort(medians, RESAMPLES);
    out->low = quantile(medians, RESAMPLES, 0.025);
    out->high = quantile(medians, RESAMPLES, 0.975);
    free(drawn);
    free(medians);
}

/* The number of sorted values to pass over at either end, such that the median
 * is within the rest with at least 95 %. Of n values, those below the median
 * are binomial with 1/2. */
static size_t values_outside(size_t n)
{
    size_t k = 0;
    double chance = 1;
    for (size_t i = 0; i < n; i++)
        chance /= 2;
    double sum = chance; /* of up to k values below the median */
    while (2 * sum <= 0.05 && k < n / 2) {
        chance = chance * (double)(n - k) / (double)(k + 1);
        sum += chance;
        k++;
    }
    return k == 0 ? 0 : k - 1;
}

/* Beyond so many pairs the bootstrap alone is close, and 2^-n too small. */
enum { WIDENED_PAIRS = 1000 };

static void widen(const double *ratios, struct compare_ratio *out)
{
    size_t n = out->pairs, k = values_outside(n);
    if (n > WIDENED_PAIRS)
        return;
    if (ratios[k] < out->low)
        out->low = ratios[k];
    if (ratios[n - 1 - k] > out->high)
        out->high = ratios[n - 1 - k];
}

struct compare_ratio compare_ratio_of(double *ratios, size_t n)
{
    struct compare_ratio out = {.pairs = n};
    sort(ratios, n);
    if (n != 0)
        out.median = middle_ratio(ratios, n);
    if (n >= COMPARE_LEAST_PAIRS) {
        bootstrap(ratios, &out);
        widen(ratios, &out);
    }
    return out;
}

struct compare_ratio compare_ratio(const struct compare *c, size_t contender,
                                   size_t m)
{
    size_t n = 0;
    double *ratios = make_values(c->rounds);
    for (size_t i = 0; i < c->rounds; i++) {
        const struct compare_run *a = &c->at[0].runs[i];
        const struct compare_run *b = &c->at[contender].runs[i];
        if (a->state == COMPARE_DONE && b->state == COMPARE_DONE &&
            a->value[m] > 0 && b->value[m] > 0)
            ratios[n++] = b->value[m] / a->value[m];
    }
    struct compare_ratio out = compare_ratio_of(ratios, n);
    free(ratios);
    return out;
}

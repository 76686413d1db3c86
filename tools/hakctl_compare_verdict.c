/* SPDX-License-Identifier: MIT
 * hakctl_compare_verdict.c - what a comparison says, in words.
 *
 * A difference is one if the interval of the ratio leaves 1 out. Percents are
 * of the base's value: "3.1 % faster" takes 3.1 % less time. Beyond half and
 * twice, the ratio itself is said.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

/* ---- numbers ------------------------------------------------------------- */

/* How far a ratio is from 1, in percent. */
static double percent(double ratio)
{
    return ratio > 1 ? (ratio - 1) * 100 : (1 - ratio) * 100;
}

/* The digits behind the point that show so many percent. */
static int digits_of(double percents)
{
    int digits = 1;
    for (; percents < 0.095 && digits < 6; digits++)
        percents *= 10;
    return digits;
}

/* The larger bound of an interval around 1, in tenths of a percent, rounded
 * up. */
static double bound(const struct compare_ratio *r)
{
    double low = percent(r->low), high = percent(r->high);
    double tenths = (low > high ? low : high) * 10;
    double whole = (double)(int64_t)tenths;
    whole += tenths > whole;
    return whole < 1 ? 0.1 : whole / 10;
}

static bool is_different(const struct compare_ratio *r)
{
    return r->low > 1 || r->high < 1;
}

/* ---- words --------------------------------------------------------------- */

/* Write "3.1 % VERB (95 %: 2.0 .. 4.1)". */
static void percents_text(const struct compare_ratio *r, const char *what,
                          char *text, size_t bytes)
{
    bool more = r->median > 1;
    double near = percent(more ? r->low : r->high);
    double far = percent(more ? r->high : r->low);
    int digits = digits_of(percent(r->median));
    snprintf(text, bytes, "%.*f %% %s (95 %%: %.*f .. %.*f)", digits,
             percent(r->median), what, digits, near, digits, far);
}

static void say_percent(const struct compare *c, size_t contender, size_t m,
                        const struct compare_ratio *r, char *text, size_t bytes)
{
    char what[256], percents[320];
    const struct compare_measured *measured = &c->measured[m];
    bool turned = measured->larger_is_better && c->smaller_is_better;
    bool more = (r->median > 1) != turned;
    snprintf(what, sizeof what, "%s than %s",
             more ? measured->more : measured->less, c->at[0].name);
    percents_text(r, what, percents, sizeof percents);
    snprintf(text, bytes, "%s %s %s", c->at[contender].name, measured->verb,
             percents);
}

static bool is_noisy(const struct compare_ratio *r)
{
    return !is_different(r) && (r->low < 0.5 || r->high > 2);
}

void compare_ratio_text(const struct compare_ratio *r, const char *what,
                        char *text, size_t bytes)
{
    char more[64];
    snprintf(more, sizeof more, "%s %s", r->median > 1 ? "more" : "less", what);
    if (r->pairs < COMPARE_LEAST_PAIRS)
        snprintf(text, bytes, "%.2f times the %s, of %zu round%s", r->median,
                 what, r->pairs, r->pairs == 1 ? "" : "s");
    else if (is_noisy(r))
        snprintf(text, bytes, "%s too noisy to tell", what);
    else if (!is_different(r))
        snprintf(text, bytes, "no difference in %s above %.1f %%", what,
                 bound(r));
    else if (r->median > 2 || r->median < 0.5)
        snprintf(text, bytes, "%.3g times the %s (95 %%: %.3g .. %.3g)",
                 r->median, what, r->low, r->high);
    else
        percents_text(r, more, text, bytes);
}

/* Few pairs: too few runs, or figures of 0 and below, which have no ratio. */
static void say_unknown(const struct compare *c, size_t contender, size_t m,
                        const struct compare_ratio *r, char *text, size_t bytes)
{
    size_t both = 0;
    for (size_t i = 0; i < c->rounds; i++)
        both += c->at[0].runs[i].state == COMPARE_DONE &&
                c->at[contender].runs[i].state == COMPARE_DONE;
    if (both > r->pairs)
        snprintf(text, bytes,
                 "%s: values of 0 and below have no ratio, and %zu round%s "
                 "without them are too few",
                 c->measured[m].name, r->pairs, r->pairs == 1 ? "" : "s");
    else if (r->pairs == 0)
        snprintf(text, bytes, "%s: no round has both %s and %s",
                 c->measured[m].name, c->at[contender].name, c->at[0].name);
    else
        snprintf(text, bytes,
                 "%s: %.2f times that of %s, but %zu round%s cannot tell "
                 "(%d or more can)",
                 c->measured[m].name, r->median, c->at[0].name, r->pairs,
                 r->pairs == 1 ? "" : "s", COMPARE_LEAST_PAIRS);
}

void compare_verdict(const struct compare *c, size_t contender, size_t m,
                     char *text, size_t bytes)
{
    struct compare_ratio r = compare_ratio(c, contender, m);
    if (r.pairs < COMPARE_LEAST_PAIRS)
        say_unknown(c, contender, m, &r, text, bytes);
    else if (is_noisy(&r))
        snprintf(text, bytes,
                 "%s: too noisy to tell (95 %%: %.3g .. %.3g times that of %s)",
                 c->measured[m].name, r.low, r.high, c->at[0].name);
    else if (!is_different(&r))
        snprintf(text, bytes, "%s: no difference above %.1f %% was found",
                 c->measured[m].name, bound(&r));
    else if (r.median > 2 || r.median < 0.5)
        snprintf(text, bytes,
                 "%s has %.3g times the %s of %s (95 %%: %.3g .. "
                 "%.3g)",
                 c->at[contender].name, r.median, c->measured[m].name,
                 c->at[0].name, r.low, r.high);
    else
        say_percent(c, contender, m, &r, text, bytes);
}

const char *compare_verdict_word(const struct compare *c, size_t contender,
                                 size_t m)
{
    struct compare_ratio r = compare_ratio(c, contender, m);
    bool larger_is_better =
        c->measured[m].larger_is_better && !c->smaller_is_better;
    if (r.pairs < COMPARE_LEAST_PAIRS)
        return "unknown";
    if (!is_different(&r))
        return "no difference";
    return (r.median > 1) == larger_is_better ? "better" : "worse";
}

/* SPDX-License-Identifier: MIT
 * hakctl_compare_measures.c - what hakctl compare measures, in words.
 */
#include "hakctl_compare.h"

static const struct compare_measured measured[COMPARE_MEASURES] = {
    [COMPARE_WALL] = {"wall_ns", "wall time", COMPARE_NS, "wall time", "is",
                      "faster", "slower"},
    [COMPARE_CPU] = {"cpu_us", "CPU time", COMPARE_US, "CPU time", "uses",
                     "less CPU time", "more CPU time"},
    [COMPARE_RSS] = {"peak_rss_kib", "peak RSS", COMPARE_KIB, "peak RSS", "has",
                     "less peak RSS", "more peak RSS"},
    [COMPARE_FAULTS] = {"minor_faults", "faults", COMPARE_COUNT, "minor faults",
                        "has", "fewer minor faults", "more minor faults"},
    [COMPARE_FIGURE] = {"figure", "figure", COMPARE_NUMBER, "figure", "is",
                        "worse by figure", "better by figure",
                        .larger_is_better = true},
};

void compare_set_measures(struct compare *c)
{
    c->measured = measured;
    c->nmeasures = c->metric != NULL ? COMPARE_MEASURES : COMPARE_FIGURE;
    c->main = c->metric != NULL ? COMPARE_FIGURE : COMPARE_WALL;
}

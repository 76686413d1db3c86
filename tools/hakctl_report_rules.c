/* SPDX-License-Identifier: MIT
 * hakctl_report_rules.c - the rules of the advice: for each cause that holds
 * much memory, the keys of the INI that would make it less.
 *
 * The keys are those that plugins/NAME/README.md and hakctl boxes describe.
 * tests/report/ puts all of them into INI files and lints these.
 */
#include "hakctl_report_advice.h"
#include "hakctl.h"

/* ---- waiting for purge --------------------------------------------------- */

static void advise_purge(struct advice *a)
{
    enum { DELAY_MS = 10, USUAL_MS = 100 };
    static const struct ini_line lines[] = {{"purge_delay_ms", "10"},
                                            {"background", "yes"}};
    const struct advice_bytes bytes = advice_cause(a, "purge");
    char saved[SIZE_BYTES], it_was[WHEN_BYTES];
    if (advice_most(bytes) < a->bound)
        return;
    int64_t delay = report_known(
        json_object_get(advice_peak_point(a), "window"), "delay_ms");
    if (delay < 0)
        delay = USUAL_MS;
    bool sleeps = bytes.mean >= a->bound;
    size_t first = delay <= DELAY_MS, n = sleeps ? 2 : 1;
    char *ini = first < n ? advice_lines(a, "core", lines + first, n - first)
                          : advice_lines(a, "core", lines, 0);
    int64_t less = advice_most(bytes);
    if (first == 0)
        less -= less * DELAY_MS / delay;
    char *then = advice_format(
        "The lines make it up to %s less. Memory that is used again then costs "
        "page faults.",
        advice_size(saved, less));
    advice_add(a, "Memory that waits for its purge", advice_most(bytes), ini,
               then,
               "What boxes have given up stays resident for up to %lld ms, in "
               "case it is needed again. %s %s",
               (long long)delay, advice_when(a, it_was, bytes),
               sleeps ? "A program that sleeps gives it back only with a "
                        "background thread."
                      : "A shorter delay gives it back sooner.");
    free(then);
    free(ini);
}

/* ---- caches of boxes ----------------------------------------------------- */

/* What bounds the cache of each box, and values that are a fraction of the
 * defaults. left: what may stay. */
static const struct cache {
    const char *box;
    int64_t left;
    struct ini_line line[2];
    size_t n;
    const char *text;
} caches[] = {
    {"ultra",
     2 << 20,
     {{"warm", "256k"}, {"depot", "2M"}},
     2,
     "warm bounds the empty pages that each thread keeps, depot those for all "
     "threads."},
    {"midmt",
     1 << 20,
     {{"warm", "1M"}, {"empty_segments", "0"}},
     2,
     "warm bounds the empty pages that each thread keeps, empty_segments the "
     "segments of 2 to 4 MiB without any block."},
    {"large",
     4 << 20,
     {{"cache_min_bytes", "4M"}, {"cache_share", "5"}},
     2,
     "Freed blocks are kept up to cache_min_bytes, and up to cache_share "
     "percent of the most that was live of late."},
    {"mid_v35",
     0,
     {{"empty_segments", "0"}},
     1,
     "empty_segments is how many segments of 2 MiB without any block are "
     "kept."},
    {"tiny",
     0,
     {{"empty_superslabs", "0"}},
     1,
     "empty_superslabs is how many SuperSlabs of 1 MiB without any block are "
     "kept."},
    {"smallmid",
     0,
     {{"warm", "0"}},
     1,
     "warm is how many SuperSlabs of 1 MiB without any block are kept."},
};
enum { NCACHES = sizeof caches / sizeof caches[0] };

static const struct cache *cache_of(const char *box)
{
    for (size_t i = 0; i < NCACHES; i++)
        if (strcmp(caches[i].box, box) == 0)
            return &caches[i];
    return NULL;
}

static void advise_cache(struct advice *a, const char *box,
                         struct advice_bytes bytes)
{
    char section[80], saved[SIZE_BYTES], it_was[WHEN_BYTES];
    const struct cache *c = cache_of(box);
    char *title = advice_format("The cache of box %s", box);
    advice_when(a, it_was, bytes);
    if (c == NULL || advice_most(bytes) <= c->left) {
        advice_add(a, title, advice_most(bytes), "", NULL,
                   "The box keeps memory for reuse. %s Its own parameters may "
                   "bound that: hakctl boxes lists them.",
                   it_was);
        free(title);
        return;
    }
    snprintf(section, sizeof section, "box %s", c->box);
    char *ini = advice_lines(a, section, c->line, c->n);
    char *then = advice_format(
        "With the lines it keeps up to %s less, and asks the system for memory "
        "more often.",
        advice_size(saved, advice_most(bytes) - c->left));
    advice_add(a, title, advice_most(bytes), ini, then,
               "The box keeps memory for reuse. %s %s", it_was, c->text);
    free(then);
    free(ini);
    free(title);
}

/* The cached bytes of a box. Not all of them need be in memory, so they are
 * at most what the caches of all boxes have in memory. */
static struct advice_bytes cached_of(const struct advice *a, size_t box)
{
    const struct advice_bytes all = advice_cause(a, "caches");
    const json_t *points = a->process->points, *point;
    double sum = 0, whole = 0;
    size_t i;
    json_array_foreach(points, i, point)
    {
        double span = (double)report_count(point, "span_ms") + 1;
        const json_t *boxes = json_object_get(point, "boxes");
        sum +=
            span * (double)report_count(json_array_get(boxes, box), "cached");
        whole += span;
    }
    const json_t *boxes = json_object_get(advice_peak_point(a), "boxes");
    struct advice_bytes out = {
        report_count(json_array_get(boxes, box), "cached"),
        (int64_t)(sum / whole)};
    out.peak = out.peak < all.peak ? out.peak : all.peak;
    out.mean = out.mean < all.mean ? out.mean : all.mean;
    return out;
}

static void advise_caches(struct advice *a)
{
    const json_t *name;
    size_t i;
    json_array_foreach(a->process->boxes, i, name)
    {
        struct advice_bytes bytes = cached_of(a, i);
        if (advice_most(bytes) >= a->bound && json_is_string(name))
            advise_cache(a, json_string_value(name), bytes);
    }
}

/* ---- half-empty pages ---------------------------------------------------- */

/* Free bytes in the pages of ultra's classes of 272 to 1024 bytes, in the worst
 * column of the heat map. */
static int64_t free_of_mid(const struct advice *a)
{
    const json_t *heat = json_object_get(a->page, "heat"), *row;
    int64_t worst = 0;
    size_t k, i;
    for (k = 0; k < json_array_size(json_object_get(heat, "times")); k++) {
        int64_t sum = 0;
        json_array_foreach(json_object_get(heat, "rows"), i, row)
        {
            const char *box = json_string_value(json_object_get(row, "box"));
            int64_t slot = report_count(row, "slot");
            if (box != NULL && strcmp(box, "ultra") == 0 && slot > 256)
                sum += json_integer_value(
                    json_array_get(json_object_get(row, "cells"), k));
        }
        worst = sum > worst ? sum : worst;
    }
    return worst;
}

/* The class with most free bytes, as "64 B of box ultra". The caller frees the
 * text. */
static char *worst_class(const struct advice *a)
{
    const json_t *rows = report_at(a->page, "heat/rows");
    const json_t *row, *cell, *worst = NULL;
    int64_t most = 0;
    char slot[SIZE_BYTES];
    size_t i, k;
    json_array_foreach(rows, i, row)
    {
        json_array_foreach(json_object_get(row, "cells"), k, cell)
        {
            if (json_integer_value(cell) > most) {
                most = json_integer_value(cell);
                worst = row;
            }
        }
    }
    if (worst == NULL)
        return advice_format("none that is known");
    return advice_format("%s of box %s",
                         advice_size(slot, report_count(worst, "slot")),
                         report_text(worst, "box"));
}

/* Pages of box mid_v35 in place of those of ultra. */
static const char shared_pages[] = "[box mid_v35]\n"
                                   "slots = 320,384,448,512,640,768,896,1024\n"
                                   "[route MID_V35]\n"
                                   "box = mid_v35\n"
                                   "fallback = ultra\n"
                                   "classes = C5-C7\n"
                                   "enabled = yes\n";

static void advise_pages(struct advice *a)
{
    char saved[SIZE_BYTES], it_was[WHEN_BYTES];
    const struct advice_bytes bytes = advice_cause(a, "pages");
    const int64_t most = advice_most(bytes), mid = free_of_mid(a);
    if (most < a->bound)
        return;
    advice_when(a, it_was, bytes);
    if (mid >= a->bound) {
        advice_add(a, "Free slots in pages of 257 to 1024 bytes", most,
                   shared_pages, NULL,
                   "%s Box ultra has pages of its own for each multiple of 16 "
                   "bytes. With the lines, eight sizes share the pages of box "
                   "mid_v35. That saves up to %s where many sizes have few "
                   "blocks each, and loses up to a fifth of a block to "
                   "rounding. Compare two runs.",
                   it_was, advice_size(saved, mid < most ? mid : most));
        return;
    }
    char *worst = worst_class(a);
    advice_add(a, "Free slots in pages that hold live blocks", most, "", NULL,
               "%s The size class with most of it is %s. A page goes back when "
               "its last block is freed, so blocks that live long beside "
               "blocks that do not keep it. No key changes that. The column "
               "Overhead of the call sites shows who keeps such pages.",
               it_was, worst);
    free(worst);
}

/* ---- what no key changes ------------------------------------------------- */

static void advise_rounding(struct advice *a)
{
    int64_t bytes =
        report_count(report_at(a->page, "profile/totals"), "rounding");
    if (bytes >= a->bound)
        advice_add(a, "Slots that are larger than what was asked for", bytes,
                   "", NULL,
                   "Blocks have so much more than the program asked for. ultra "
                   "loses up to 15 bytes a block, midmt up to an eighth. "
                   "hakctl explain SIZE shows the slot of a size; the column "
                   "Overhead of the call sites shows who asks for sizes just "
                   "above a slot.");
}

static void advise_other(struct advice *a)
{
    enum { LARGE_PART = 4 }; /* a quarter of RSS */
    char it_was[WHEN_BYTES];
    const struct advice_bytes other = advice_cause(a, "other");
    int64_t rss = report_count(advice_peak_moment(a), "rss");
    if (other.peak >= a->bound && other.peak >= rss / LARGE_PART)
        advice_add(a, "Memory that is not of hakmem", advice_most(other), "",
                   NULL,
                   "%s It is neither hakmem's nor of files: stacks, data of "
                   "libraries, and what the program maps itself. pmap -x PID "
                   "lists it. No key of hakmem changes it.",
                   advice_when(a, it_was, other));
}

void advise(struct advice *a)
{
    advise_purge(a);
    advise_caches(a);
    advise_pages(a);
    advise_rounding(a);
    advise_other(a);
}

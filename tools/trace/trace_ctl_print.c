/* SPDX-License-Identifier: MIT
 * trace_ctl_print.c - the summary of a trace as text.
 */
#include "trace_ctl.h"

#include "../hakctl_report_advice.h"

#include <inttypes.h>
#include <string.h>

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100 * (double)part / (double)whole;
}

static const char *size_text(char out[SIZE_BYTES], uint64_t bytes)
{
    return advice_size(out, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- where it comes from ------------------------------------------------- */

static void print_about(const char *file, const char *about)
{
    json_t *all = json_loads(about, 0, NULL), *word;
    const char *source = json_string_value(json_object_get(all, "source"));
    const json_t *pid = json_object_get(all, "pid");
    size_t i;
    printf("%s:", file);
    json_array_foreach(json_object_get(all, "program"), i,
                       word) if (json_is_string(word))
        printf(" %s", json_string_value(word));
    if (json_is_integer(pid))
        printf(" (pid %lld)", (long long)json_integer_value(pid));
    if (source != NULL)
        printf(" by %s", source);
    putchar('\n');
    json_decref(all);
}

/* ---- the parts ----------------------------------------------------------- */

static void print_calls(const struct trace_counts *c)
{
    printf("\n%12s  %s\n", "CALLS", "KIND");
    for (unsigned kind = 0; kind < TRACE_TOUCHED; kind++)
        if (c->calls[kind] != 0)
            printf("%12" PRIu64 "  %s\n", c->calls[kind],
                   trace_kind_name(kind));
    if (c->failed != 0)
        printf("%12" PRIu64 "  made no block: they failed\n", c->failed);
    if (c->unknown_frees != 0)
        printf("%12" PRIu64 "  freed a block from before the recording\n",
               c->unknown_frees);
    if (c->twice != 0)
        printf("%12" PRIu64 "  freed a block that was freed\n", c->twice);
}

static void print_live(const struct trace_counts *c)
{
    char peak[SIZE_BYTES], now[SIZE_BYTES];
    printf("live at the peak: %s in %" PRIu64 " block%s\n",
           size_text(peak, c->peak_bytes), c->peak_blocks,
           plural(c->peak_blocks));
    printf("live at the end: %s in %" PRIu64 " block%s\n",
           size_text(now, c->live_bytes), c->live_blocks,
           plural(c->live_blocks));
    if (c->peak_resident_bytes != 0)
        printf("anonymous memory in RAM at the peak: %s\n",
               size_text(peak, c->peak_resident_bytes));
    if (c->touched_blocks != 0)
        printf("touched before they were freed: %s of %s in %" PRIu64
               " blocks\n",
               size_text(peak, c->touched_bytes),
               size_text(now, c->touched_of_bytes), c->touched_blocks);
    if (c->known_frees != 0)
        printf("freed by another thread than made them: %.1f %% of the freed "
               "blocks\n",
               share(c->frees_elsewhere, c->known_frees));
}

static void print_sizes(const struct trace_counts *c)
{
    uint64_t blocks = 0;
    double bytes = 0;
    for (unsigned i = 0; i < TRACE_SIZE_ROWS; i++) {
        blocks += c->sizes[i].blocks;
        bytes += (double)c->sizes[i].bytes;
    }
    if (blocks == 0)
        return;
    printf("\n%20s %12s %7s %7s\n", "SIZE", "BLOCKS", "%", "BYTES %");
    for (unsigned i = 0; i < TRACE_SIZE_ROWS; i++) {
        char least[SIZE_BYTES];
        if (c->sizes[i].blocks == 0)
            continue;
        size_text(least, i == 0 ? 0 : UINT64_C(1) << (i - 1));
        printf("%9s %-10s %12" PRIu64 " %6.1f%% %6.1f%%\n",
               i == 0 ? "" : "from", least, c->sizes[i].blocks,
               share(c->sizes[i].blocks, blocks),
               bytes > 0 ? 100 * (double)c->sizes[i].bytes / bytes : 0);
    }
}

static void print_lives(const struct trace_counts *c)
{
    static const char *const times[TRACE_LIFE_ROWS] = {
        "under 10 us",  "under 100 us", "under 1 ms", "under 10 ms",
        "under 100 ms", "under 1 s",    "under 10 s", "10 s and more"};
    static const char *const meanwhile[TRACE_LIFE_ROWS] = {
        "no block",    "under 10",     "under 100",     "under 1000",
        "under 10000", "under 100000", "under 1000000", "more"};
    bool timed = c->time_ns != 0;
    uint64_t all = c->known_frees + c->live_blocks;
    const uint64_t *rows = timed ? c->lived_time : c->lived_blocks;
    if (all == 0)
        return;
    printf("\n%20s %12s %7s\n", timed ? "IN USE FOR" : "BLOCKS MEANWHILE",
           "BLOCKS", "%");
    for (unsigned i = 0; i < TRACE_LIFE_ROWS; i++)
        if (rows[i] != 0)
            printf("%20s %12" PRIu64 " %6.1f%%\n",
                   timed ? times[i] : meanwhile[i], rows[i],
                   share(rows[i], all));
    if (c->live_blocks != 0)
        printf("%20s %12" PRIu64 " %6.1f%%\n", "not freed", c->live_blocks,
               share(c->live_blocks, all));
}

void trace_ctl_print(const struct trace_words *words, const char *about,
                     const struct trace_counts *c)
{
    print_about(words->file, about);
    printf("%" PRIu64 " operation%s of %" PRIu32 " thread%s", c->nops,
           plural(c->nops), c->threads, plural(c->threads));
    if (c->time_ns != 0)
        printf(" in %.3f s", (double)c->time_ns / 1e9);
    putchar('\n');
    if (c->cut)
        printf("The file was cut: there may have been more operations.\n");
    if (c->damaged)
        printf("The file is damaged: this is what comes before.\n");
    if (c->lost != 0)
        printf("%" PRIu64 " calls could not be recorded.\n", c->lost);
    print_live(c);
    print_calls(c);
    print_sizes(c);
    print_lives(c);
}

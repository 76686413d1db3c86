/* SPDX-License-Identifier: MIT
 * report.h - what each box did, as numbers, as a table or as one line of JSON.
 *
 * A report is written into a static buffer and out in one write, so that
 * reports of many processes in one file do not mix. Nothing here allocates.
 */
#ifndef HAKMEM_REPORT_REPORT_H
#define HAKMEM_REPORT_REPORT_H

#include <core/state/build.h>
#include <core/state/chains.h>
#include <hakmem/hakmem.h>

#pragma GCC visibility push(hidden)

/* ---- write.c ---- */

void hak_report_lock(enum hak_fork_phase phase);
int hak_report_write(int fd, bool json) /* 0, -ENOSYS, -EAGAIN, of write */
    __attribute__((cold));
void hak_report_start(void); /* [stats] at_start; opens at_exit's file */
void hak_report_at_exit(void);

/* ---- figures.c ---- */

void hak_figures(struct hak_loaded *b, struct hak_stats *out);
uint64_t hak_libc_allocs(void);

/* The box's own counters, "hak.counters/1". Returns how many. */
enum { HAK_COUNTERS_MOST = 32 };
uint32_t hak_counters(struct hak_loaded *b,
                      struct hak_counter out[HAK_COUNTERS_MOST]);

/* ---- text.c, json.c ---- */

/* What is cut off when it is full. */
struct hak_text {
    char bytes[16384];
    size_t used;
};

/* Add to the text. */
void hak_text_print(struct hak_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void hak_report_text(struct hak_text *t);
void hak_report_json(struct hak_text *t);
/* The table of routes alone, of [stats] at_start. */
void hak_report_routes(struct hak_text *t);
/* The lines of the modules. */
void hak_report_modules(struct hak_text *t, bool json);

const char *hak_program(void);
const char *hak_free_route_name(void);
/* Last index of the run from `first` that has one route and one class. */
uint32_t hak_route_end(uint32_t first);

#pragma GCC visibility pop

#endif

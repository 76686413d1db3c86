/* SPDX-License-Identifier: MIT
 * report.h - reports of what each box did: numbers, a table, a line of JSON.
 *
 * A report is formatted into a static buffer and leaves it in one write, so
 * that reports of many processes in one file do not mix. No function allocates.
 */
#ifndef HAKMEM_REPORT_REPORT_H
#define HAKMEM_REPORT_REPORT_H

#include <core/state/op_calls.h>
#include <core/state/chains.h>
#include <hakmem/hakmem.h>

#pragma GCC visibility push(hidden)

/* ---- write.c ---- */

void hak_report_lock(enum hak_fork_phase phase);
/* Returns 0; -ENOSYS: no boxes; -EAGAIN: inside of a fork; -errno of write. */
int hak_report_write(int fd, bool json) __attribute__((cold));
/* Write the report of [stats] at_start, and open the file of at_exit. */
/* The report as text of out, with a 0 behind it. Returns its length; -ENOSPC:
 * it is longer than out_bytes - 1; -ENOSYS and -EAGAIN as hak_report_write. */
int64_t hak_report_copy(char *out, size_t out_bytes, bool json)
    __attribute__((cold));
void hak_report_start(void);
void hak_report_at_exit(void);
/* [stats] at_exit has another value. Returns 0; -EINVAL, with the reason in
 * why: its file cannot be opened. */
int hak_report_retarget(char *why, size_t n);
/* Write the report to where at_exit goes, or to stderr if that is none. Not in
 * a signal handler. */
void hak_report_to_target(void);

/* ---- figures.c ---- */

void hak_figures(struct hak_loaded *b, struct hak_stats *out);
/* What all threads have counted at one index of t->count. */
void hak_counts_read(uint32_t index, struct hak_counts *sum);
uint64_t hak_libc_allocs(void);

/* Read the box's own counters (extension "hak.counters/1"). Returns how many.
 */
enum { HAK_COUNTERS_MOST = 32 };
uint32_t hak_counters(struct hak_loaded *b,
                      struct hak_counter out[HAK_COUNTERS_MOST]);

/* Read the box's figures by size class (extension "hak.classes/1"). Returns how
 * many. */
uint32_t hak_classes(struct hak_loaded *b,
                     struct hak_class out[HAK_CLASSES_ROOM]);

/* ---- stuck.c ---- */

/* A thread that has been in one operation of a box for a second or more. */
struct hak_stuck {
    uint32_t thread; /* gettid() */
    const char *box, *operation;
    uint64_t seconds; /* since the first report that saw it there */
};
enum { HAK_STUCK_MOST = 16 };
/*
 * Find such threads, with [core] blame. The caller holds the lock of write.c.
 * Returns  how many, at most HAK_STUCK_MOST
 * Cost     milliseconds while threads are in operations; a second when a thread
 *          stays in one
 */
uint32_t hak_report_stuck(struct hak_stuck out[HAK_STUCK_MOST]);
/* Has the last look found a thread that is stuck in box b? Then b may hold a
 * lock that its stats waits for. */
bool hak_report_is_stuck(const struct hak_loaded *b);

/* ---- text.c, json.c ---- */

/* A text that is being formatted. If it is full, the rest is cut off. There is
 * room for the longest report: HAK_MAX_BOXES boxes with HAK_COUNTERS_MOST
 * counters each, a route for each size index, and some 1000 size classes. */
struct hak_text {
    char bytes[256 << 10];
    size_t used;
    struct hak_class classes[HAK_CLASSES_ROOM]; /* of the box that is reported,
                                                   for json.c */
};

/* Add formatted text at the end. */
void hak_text_print(struct hak_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void hak_report_text(struct hak_text *t);
void hak_report_json(struct hak_text *t);
/* The table of routes, which is the report of [stats] at_start. */
void hak_report_routes(struct hak_text *t);
/* The parts that the modules add. */
void hak_report_modules(struct hak_text *t, bool json);

const char *hak_program(void);
const char *hak_free_route_name(void);
/* The last size index of the run from `first` that has one route and one size
 * class. */
uint32_t hak_route_end(uint32_t first);

#pragma GCC visibility pop

#endif

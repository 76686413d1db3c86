/* SPDX-License-Identifier: MIT
 * hakctl_fleet.h - figures of the processes that have a control socket, as
 * hakctl top, the exporter and stats --prometheus show them.
 *
 *     fleet_take()      asks all processes at once; a snapshot
 *     fleet_rates()     what happened per second between two snapshots
 *     fleet_free()      ends a snapshot
 *
 * Everything that a process says is checked: a figure that is missing or is no
 * number reads as 0.
 */
#ifndef HAKMEM_HAKCTL_FLEET_H
#define HAKMEM_HAKCTL_FLEET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Figures of a box, and of a size class, which has those up to FLEET_CACHED.
 * The report's JSON has the same names. */
enum fleet_figure {
    FLEET_ALLOCS,
    FLEET_FREES,
    FLEET_LIVE,
    FLEET_LIVE_BYTES,
    FLEET_MAPPED,
    FLEET_CACHED,
    FLEET_PEAK,
    FLEET_MAPPED_PEAK,
    FLEET_REFILLS,
    FLEET_REMOTE,
    FLEET_DECLINES,
    FLEET_RETIRED,
    FLEET_ADOPTED,
    FLEET_FIGURES,
    FLEET_CLASS_FIGURES = FLEET_CACHED + 1,
};

/* Figures of a process. */
enum fleet_whole {
    FLEET_UPTIME,
    FLEET_RSS,
    FLEET_MINOR_FAULTS,
    FLEET_MAJOR_FAULTS,
    FLEET_USED,
    FLEET_KEPT,
    FLEET_DIRTY,
    FLEET_PURGED,
    FLEET_PURGES,
    FLEET_PURGES_REFUSED,
    FLEET_META,
    FLEET_LIBC_ALLOCS,
    FLEET_WHOLES,
};

/* A box, or one size class of a box. */
struct fleet_row {
    char *box;
    uint64_t slot_bytes; /* 0: the box as a whole */
    uint64_t value[FLEET_FIGURES];
    double per_second[FLEET_FIGURES];
};

enum fleet_state {
    FLEET_ANSWERED,
    FLEET_SILENT, /* did not answer; why says why */
    FLEET_ENDED,
};

struct fleet_process {
    pid_t pid;
    char *program, *ini, *version; /* NULL: it has never answered */
    char *why;                     /* no answer: the reason */
    enum fleet_state state;
    double at_s; /* when its figures were taken */
    uint64_t value[FLEET_WHOLES];
    double per_second[FLEET_WHOLES];
    struct fleet_row *row; /* each box, and behind it its classes */
    size_t nrows;
    struct fleet_row sum; /* of the boxes */
};

struct fleet {
    struct fleet_process *process; /* by pid, ascending */
    size_t n;
};

/*
 * fleet_take - ask processes for their figures, all of them at the same time.
 * pid         one process, which is then in the snapshot in any case; 0: all of
 *             this user that have a control socket
 * timeout_ms  how long to wait for answers. A process that has not answered by
 *             then is FLEET_SILENT.
 */
void fleet_take(struct fleet *out, pid_t pid, unsigned timeout_ms);
void fleet_free(struct fleet *fleet);

/*
 * fleet_rates - fill in per_second of `now`, from the snapshot before.
 * A process that did not answer keeps its last figures, and one that has ended
 * stays in `now` with them. Only the FLEET_ENDED_MOST that ended last stay.
 */
enum { FLEET_ENDED_MOST = 8 };
void fleet_rates(struct fleet *now, struct fleet *before);

/* Take the figures of one process out of its answers to `info` and `stats`; for
 * fleet_take and tests. */
void fleet_read(struct fleet_process *p, const json_t *info,
                const json_t *stats);

/* The snapshot as an array of objects, with rates as members *_per_s. */
json_t *fleet_json(const struct fleet *fleet);

/* (mapped and dirty) / live. Negative: nothing is live. */
double fleet_fragmentation(const struct fleet_process *p);

/* ---- hakctl_prometheus.c ------------------------------------------------- */

/* Write the snapshot in Prometheus's text format. Of a process that did not
 * answer there is only hakmem_up = 0, and of one that has ended nothing.
 * classes: with the metrics of size classes. */
void fleet_print_metrics(FILE *out, const struct fleet *fleet, bool classes);

#endif

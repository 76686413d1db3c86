/* SPDX-License-Identifier: MIT
 * timeline.h - what the files of module "timeline" share.
 *
 *     timeline.c   the module: its thread, its periods, events, forks, exit
 *     log.c        what is written to the file, and when it is made shorter
 *     events.c     changes that wait for the next point
 *     collect.c    reads the figures of the core and of the kernel into a point
 *     line.c       writes points as lines of JSON, reads and adds up points
 *     file.c       the file: opens, appends, replaces
 *     merge.c      makes a full file shorter
 *
 * docs/timeline.md describes the file. Everything here but events runs in the
 * module's own thread.
 */
#ifndef HAKMEM_TIMELINE_TIMELINE_H
#define HAKMEM_TIMELINE_TIMELINE_H

#include <hakmem/module.h>

#include <limits.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

enum {
    TIMELINE_POINTS_MOST = 4096,
    /* A file with so many lines of events is made shorter too, to the last
     * TIMELINE_EVENTS_KEPT of them. */
    TIMELINE_EVENTS_MOST = 4096,
    TIMELINE_EVENTS_KEPT = 1024,
    /* Names of boxes in one file. More than HAK_MAX_BOXES, since boxes may go
     * and others come. The last name stands for all that have no room. */
    TIMELINE_NAMES = 64,
    TIMELINE_NAME_BYTES = 64,
    TIMELINE_ROWS = HAK_MAX_BOXES * HAK_CLASSES_ROOM,
    TIMELINE_CLASSES_EVERY = 8, /* points, of which one has classes */
    TIMELINE_LINE_BYTES = 256 << 10,
    TIMELINE_HEADER_BYTES = 16 << 10,
};

/* ---- points: line.c ------------------------------------------------------ */

/* A number of a point that was not measured. It is left out of the line. */
#define TIMELINE_UNKNOWN UINT64_MAX

/* The numbers of a point, in the order of the line. */
enum timeline_number {
    TIMELINE_t,
    TIMELINE_span_ms,
    TIMELINE_rss,
    TIMELINE_file,
    TIMELINE_minflt,
    TIMELINE_majflt,
    TIMELINE_libc_allocs,
    TIMELINE_meta,
    TIMELINE_used,
    TIMELINE_free,
    TIMELINE_dirty,
    TIMELINE_delay_ms,
    TIMELINE_resident,
    TIMELINE_purged,
    TIMELINE_purges,
    TIMELINE_maps,
    TIMELINE_unmaps,
    TIMELINE_most_rss,
    TIMELINE_most_live,
    TIMELINE_most_mapped,
    TIMELINE_NUMBERS
};

enum timeline_box_number {
    TIMELINE_live,
    TIMELINE_live_count,
    TIMELINE_mapped,
    TIMELINE_cached,
    TIMELINE_allocs,
    TIMELINE_frees,
    TIMELINE_BOX_NUMBERS
};

/* slot_bytes, live_count, live_bytes, mapped_bytes, cached_bytes, allocs,
 * frees */
enum { TIMELINE_ROW_NUMBERS = 7 };

struct timeline_box {
    uint64_t of[TIMELINE_BOX_NUMBERS];
    uint32_t first_row, nrows; /* its classes in the rows of the point */
};

/* A point is large, and most of it is seldom touched: it is kept in zeroed
 * memory, and timeline_clear clears what was used. */
struct timeline_point {
    uint64_t of[TIMELINE_NUMBERS];
    uint32_t nboxes, nrows;
    struct timeline_box box[TIMELINE_NAMES]; /* in the order of the names */
    uint64_t row[TIMELINE_ROWS][TIMELINE_ROW_NUMBERS];
};

/* A text that is being put together. If it is full, the rest is left out and
 * `full` is set. */
struct timeline_text {
    char *bytes;
    size_t used, room;
    bool full;
};

/* The names of boxes that points of a file have figures of. */
struct timeline_names {
    uint32_t n;
    char name[TIMELINE_NAMES][TIMELINE_NAME_BYTES];
};

void timeline_clear(struct timeline_point *p);

void timeline_add(struct timeline_text *t, const char *text);
void timeline_add_number(struct timeline_text *t, uint64_t number);
/* As a JSON string. Bytes that are not UTF-8 become U+FFFD. */
void timeline_add_quoted(struct timeline_text *t, const char *text);
/* Add the line of a point, with a newline. If there is no room for its classes,
 * they are left out. */
void timeline_add_point(struct timeline_text *t,
                        const struct timeline_point *p);
/* Read a line that timeline_add_point has written. Returns false: it is another
 * line. p is cleared before. */
bool timeline_read_point(const char *line, struct timeline_point *p);
/* Add point `late` to point `early`, which came just before it. late is of no
 * use afterwards. */
void timeline_merge_points(struct timeline_point *early,
                           struct timeline_point *late);

/* ---- collect.c ----------------------------------------------------------- */

/* Begin to collect: changes are counted from this moment on. `host` stays
 * valid. Names of boxes go to *names, which are forgotten before. */
void timeline_collect_start(const struct hak_module_host *host,
                            struct timeline_names *names);
/*
 * timeline_collect - read all figures into *p.
 * since_ms  time of the last point that was written
 * classes   read the classes of boxes too, which may walk over their pages
 * Returns   0; -EAGAIN: a fork is under way; another -errno: there are no
 *           figures
 * Changes are those since the last timeline_collected. A box that was not there
 * before gets a name behind the others.
 */
int timeline_collect(struct timeline_point *p, uint64_t now_ms,
                     uint64_t since_ms, bool classes);
/* Let the point say how much of the window is in memory. Returns false: the
 * host cannot tell. */
bool timeline_collect_resident(struct timeline_point *p);
/* The last point was written. */
void timeline_collected(void);

/* ---- events.c ------------------------------------------------------------ */

/* entry->event of the module. Any thread. */
void timeline_event(const struct hak_event *event);
/* Forget all. In the child of a fork, before it has other threads. */
void timeline_events_forget(void);

/* Events that were added to a text. They are kept until timeline_events_written
 * is called with this. */
struct timeline_taken {
    uint32_t n;
    uint64_t ndropped;
};
/* Add a line for each event until now_ms, which counts from start_ms on (of
 * CLOCK_MONOTONIC). */
struct timeline_taken timeline_events_add(struct timeline_text *t,
                                          uint64_t start_ms, uint64_t now_ms);
void timeline_events_written(struct timeline_taken taken);

/* ---- file.c -------------------------------------------------------------- */

struct timeline_file {
    const char *name; /* absolute; a %p in it stands for the process id */
    bool is_child;    /* of a fork: a name without %p gets the process id too */
    uint32_t points_most;
    int fd; /* -1: not open */
    char path[PATH_MAX];
    uint64_t size_bytes; /* of whole lines */
    dev_t device;
    ino_t inode;
    uint32_t npoints, nevents;
};

/*
 * timeline_file_open - make the file, in place of one of an earlier run, and
 * write its header. While the process lives it holds a lock on the file
 * (flock). If another process holds it, the name gets the process id.
 * Returns  0; -errno with the reason in why
 */
int timeline_file_open(struct timeline_file *f,
                       const struct timeline_text *header, char *why,
                       size_t why_bytes);
void timeline_file_close(struct timeline_file *f);
/* Is the file that is open still the one of its name, with all that was written
 * to it? */
bool timeline_file_is_whole(struct timeline_file *f);
/* Append whole lines. Returns 0; -errno: nothing was appended. */
int timeline_file_append(struct timeline_file *f, const char *bytes, size_t n);
/* Open PATH.tmp.PID for what shall take the place of f. */
int timeline_file_begin(const struct timeline_file *f,
                        struct timeline_file *next);
/* Put `next` in the place of f, or remove it if error is not 0. Returns 0 or
 * -errno, f being as before. */
int timeline_file_end(struct timeline_file *f, struct timeline_file *next,
                      int error);

/* ---- log.c --------------------------------------------------------------- */

/*
 * A timeline that is being written.
 *
 * When something cannot be written, the next point is the next try, and has all
 * that was counted meanwhile. A message is printed once, until there is another
 * reason.
 */
struct timeline_log {
    const struct hak_module_host *host;
    struct timeline_file file;
    struct timeline_names names;
    uint32_t nnames;        /* of the names, those that the file has */
    uint64_t start_ms;      /* of CLOCK_MONOTONIC: t = 0 */
    uint64_t start_unix_ms; /* the wall clock then */
    uint64_t last_ms;       /* t of the last point that was written */
    uint32_t merge_in;      /* periods until a full file may be made shorter */
    char told[256];         /* the reason in the last message, or "" */
    /* Prints a message about the file of that path. */
    void (*tell)(const char *path, const char *what, const char *why);
};

/* Begin. The caller has set host, start_ms, start_unix_ms, tell, and of the
 * file name, is_child and points_most. */
void timeline_log_start(struct timeline_log *log);
/* What a point has besides what each has. */
struct timeline_extra {
    bool classes, resident;
};
/* Write a point for now_ms, and events. last: also the line of the end. */
void timeline_log_write(struct timeline_log *log, uint64_t now_ms,
                        struct timeline_extra with, bool last);

/* ---- merge.c ------------------------------------------------------------- */

/*
 * timeline_merge - make the file shorter: merge the older half of its points by
 * pairs, and leave out the oldest events if there are many.
 * Returns  0; -errno: the file is as it was
 */
int timeline_merge(struct timeline_file *f, const struct timeline_text *header);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * record.h - what the files of hakctl record share.
 *
 *     record.c          the command: PROGRAM, or a process that runs
 *     record_area.c     the memory that programs put their calls into
 *     record_pass.c     the recorder: reads the rings, again and again
 *     record_merge.c    the rings of one process become one sequence
 *     record_process.c  processes: their files, which one a ring is of, ends
 *
 *     struct recorder *r = recorder_new(&options, why, sizeof why);
 *     ... start a program with HAKMEM_RECORD_RING = r->path ...
 *     while (recorder_runs(r))
 *         recorder_sleep(r, recorder_pass(r));
 *     recorder_end(r);
 *     recorder_free(r);
 *
 * One thread. framework/modules/record/ring.h describes the memory, trace.h the
 * files.
 */
#ifndef HAKMEM_RECORD_H
#define HAKMEM_RECORD_H

#include "trace.h"
#include "trace_table.h"

#include <modules/record/ring.h>

#include <limits.h>
#include <sys/types.h>

struct recorder;

struct recorder_options {
    const char *conf;     /* of the program, for the file; may be NULL */
    char *const *program; /* the words of the first one; NULL: unknown */
    uint64_t calls;       /* record so many and stop; 0: all */
    uint64_t duration_ns; /* record so long and stop; 0: no limit */
};

/* ---- one process --------------------------------------------------------- */

/* The next entry of a ring, with the values that were put before it. */
struct record_next {
    enum record_kind kind;
    uint64_t address, size;
    uint64_t align; /* of RECORD_ALIGNED */
    uint64_t ticks; /* absolute */
    uint64_t after; /* number of the entry behind it */
};

/* A ring that is in use, as its reader sees it. */
struct record_stream {
    struct record_ring *ring;
    const struct record_entry *entry;
    struct recorded *of; /* NULL: nobody uses the ring */
    uint32_t thread;     /* in the trace; UINT32_MAX: it has not appeared yet */
    uint64_t tail;       /* number of the first entry that was not read */
    uint64_t head;       /* number behind the last one that is there */
    uint64_t ticks;      /* of the entry before `tail` */
    uint64_t moved;      /* address and block that REALLOC_FROM took */
    uint64_t moved_object;
    bool has_next; /* next is what is at tail */
    bool waits;    /* next needs an entry of another ring */
    struct record_next next;
};

/* A thread that has ended, or seems to have: while it ends, glibc frees what
 * the thread had, and it takes a ring once more. */
struct record_ended {
    uint32_t tid, thread;
    uint32_t nlooks; /* that were made since */
};

/* A process that is recorded: from its start, or from exec or fork, to its end,
 * or to exec. */
struct recorded {
    struct recorded *link; /* the next one of the recorder */
    struct recorder *recorder;
    pid_t pid;
    uint64_t process; /* as in its rings */
    bool elsewhere;   /* its pid is of another namespace, so that neither its
                         end nor its memory can be seen */
    int pidfd;        /* -1: unknown, or the process has ended */
    bool gone;        /* it puts no more entries */
    bool drained;     /* it was gone before the rings were read */
    struct record_stream **stream; /* those of its rings */
    uint32_t nstreams, stream_room;
    struct record_ended *ended;
    uint32_t nended, ended_room;
    struct record_stream *last; /* whose entry was taken last; may be NULL */

    struct trace_table live; /* address / 16 -> number of the block */
    char *file;
    struct trace_writer *writer; /* NULL: the file is not begun, or ended */
    bool failed;                 /* the file cannot be written */
    bool unflushed;              /* something was put since the last flush */
    uint64_t ncalls, nobjects, time_ns, lost;
    uint32_t nthreads, thread; /* thread: of the last operation */
    uint64_t ncalls_looked;    /* when its memory was read last */
};

/*
 * record_merge - put the entries of a process that are older than cut_ticks
 * into its file, in an order in which they may have happened.
 * cut_ticks  of a moment before the heads of its rings were read, so that all
 *            is there that these entries follow from; UINT64_MAX: take all
 * Returns    how many entries were taken
 */
uint64_t record_merge(struct recorded *p, uint64_t cut_ticks);

/* ---- record_process.c ---------------------------------------------------- */

/* The process of a ring, known or new. NULL: no memory. */
struct recorded *recorded_of(struct recorder *r,
                             const struct record_ring *ring);
/* Add a ring to its process, or take it away. Returns false: no memory. */
bool recorded_add(struct recorded *p, struct record_stream *s);
/* Note that the thread of a ring has ended. Returns false: no memory. */
bool recorded_ended(struct recorded *p, const struct record_stream *s);
void recorded_remove(struct recorded *p, struct record_stream *s);
/* Write an operation of a process. Its time is filled in; ticks 0: that of the
 * operation before. */
void recorded_put(struct recorded *p, struct trace_op *op, uint64_t ticks);
/* See which processes have ended, and read how much memory the others have. */
void recorded_look(struct recorder *r);
/* End the files of processes that are gone; all: of all processes. */
void recorded_finish(struct recorder *r, bool all);
/* Write out what was put. */
void recorded_flush(struct recorder *r);

/* ---- the recorder -------------------------------------------------------- */

enum {
    RECORD_SHARES = 4096,      /* a power of two */
    RECORD_PIDS = 1 << 22,     /* PID_MAX_LIMIT of Linux */
    RECORD_QUANTUM_NS = 10000, /* see record_merge.c */
    RECORD_SLACK_NS = 2000,    /* clocks of processors differ by less */
    RECORD_LOOK_NS = 10000000, /* between two looks at the processes */
    RECORD_FLUSH_NS = 1000000000,
    RECORD_SLEEP_NS = 4000000,
};

/* Who has entries of an address, of those that record_merge looks at. */
struct record_share {
    uint32_t round;  /* otherwise the rest is old */
    uint32_t stream; /* its number + 1; UINT32_MAX: several */
};

/* What was recorded. */
struct recorder_totals {
    uint64_t ncalls, nthreads, nprocesses, lost, bytes;
    struct recorder_file { /* of the first process, and of the largest other */
        char path[PATH_MAX];
        pid_t pid;
        uint64_t ncalls, bytes;
        uint32_t nthreads;
    } first, largest;
};

struct recorder {
    struct recorder_options options;
    struct record_area *area;
    int fd;
    char path[64];    /* for HAKMEM_RECORD_RING */
    const char *file; /* of the first process */
    pid_t first;
    uint64_t pid_space; /* as in rings */
    struct record_stream stream[RECORD_RINGS];
    struct recorded *processes;
    uint16_t *images;    /* by pid: programs that it has been */
    bool one_file;       /* FILE is no regular file, so there are no others */
    bool told;           /* that a file could not be begun */
    bool stopped;        /* no more is recorded */
    bool failed;         /* as a file could not be written */
    uint64_t read_ticks; /* when the heads of all rings were read */
    uint64_t left;       /* calls to be recorded; UINT64_MAX: all */
    double ns_per_tick;
    uint64_t begun_ns, looked_ns, flushed_ns;
    uint64_t ended_ns; /* when recording stopped */
    struct record_share share[RECORD_SHARES];
    uint32_t round;
    struct recorder_totals totals;
};

/* Make the memory. NULL, with the reason in why. */
struct recorder *recorder_new(const struct recorder_options *options, char *why,
                              size_t n);
/* Say which process is the first one, and what its file is. The name stays the
 * caller's. Must be called before the first recorder_pass. */
void recorder_first(struct recorder *r, pid_t pid, const char *file);
/* Read what the rings have. Returns how many entries that were. */
uint64_t recorder_pass(struct recorder *r);
/* Wait until a ring is half full, for some milliseconds. taken: what
 * recorder_pass has returned. */
void recorder_sleep(struct recorder *r, uint64_t taken);
/* Let programs put no more entries. */
void recorder_stop(struct recorder *r);
/* Does it still record? */
bool recorder_runs(const struct recorder *r);
/* Stop, and end all files. r->totals is complete then. Returns the number of
 * processes that still ran. */
size_t recorder_end(struct recorder *r);
void recorder_free(struct recorder *r);

/* ---- record_area.c ------------------------------------------------------- */

/* Make the memory, and its name in path. Returns its descriptor or -errno. */
int record_area_new(struct record_area **area, char *path, size_t n);
void record_area_free(struct record_area *area, int fd);

uint64_t record_now_ns(void);

#endif

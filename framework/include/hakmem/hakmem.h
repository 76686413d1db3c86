/* SPDX-License-Identifier: MIT
 * hakmem.h - functions for applications, besides malloc and its family.
 *
 * Link with -lhakmem, or use dlsym(RTLD_DEFAULT, "hak_...") in a program that
 * must work without the library too. docs/glossary.md explains the terms.
 *
 * All functions are thread-safe and none is async-signal-safe. Errors are
 * negative errno values. On failure outputs are untouched.
 *
 * -EAGAIN: the call did nothing, because it came from a signal handler that
 * interrupted a fork, or that forked while it had interrupted malloc or free.
 */
#ifndef HAKMEM_HAKMEM_H
#define HAKMEM_HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version, as "MAJOR.MINOR.PATCH"; a static string. */
const char *hak_version(void);

/*
 * hak_report - write the report of all boxes to a file descriptor.
 * json     true: one line of JSON instead of a table
 * Returns  0; -EAGAIN (above); -errno of write
 * Cost     a walk over the boxes' pages
 */
int hak_report(int fd, bool json);

/* The figures of one box. Those of running threads may lag by a moment. */
struct hak_stats {
    uint64_t allocs, frees;          /* slots handed out and taken back */
    uint64_t live_count, live_bytes; /* usable bytes of live blocks */
    uint64_t peak_bytes;             /* most bytes of pages in use */
    uint64_t mapped_bytes, mapped_peak_bytes;
    uint64_t cached_bytes; /* mapped, free, kept by the box */
    uint64_t refills, remote_frees, declines;
    uint64_t retired_pages, adopted_pages;
};

/* hak_stats - read the figures of a box. box: its NAME of [box NAME]. Returns
 * 0, -ENOENT or -EAGAIN. */
int hak_stats(const char *box, struct hak_stats *out);

/*
 * hak_route - change the route of sizes, in all threads.
 * range    size classes or bytes: "C4-C7", "257-1024", "262145-"
 * route    NAME of a [route NAME] or [box NAME] of the INI
 * Returns  0; -EINVAL: bad range; -ENOENT: no such route; -ENOSYS: the process
 *          runs on libc, without boxes; -ENOMEM: nothing has changed; -EAGAIN
 *          (above); -ENOTSUP: a fused library has fixed routes
 * Live blocks stay where they are. A free still goes to the box that handed the
 * block out.
 */
int hak_route(const char *range, const char *route);

/*
 * hak_drain - take a box out of all routes.
 * Returns  0: the box is draining, so it still takes frees; 1: the box is
 *          closed; -ENOENT: no such box; -ENOMEM; -EAGAIN (above); -ENOTSUP:
 *          a fused library has fixed routes
 * A call after the box's last block was freed closes the box, so call it again
 * until it returns 1.
 */
int hak_drain(const char *box);

/* ---- the learner: docs/learner.md ---- */

/*
 * The figures of one size class. Members *_bps are ratios in basis points
 * (10000 = all) over the last interval that was evaluated; 0 if no page of the
 * class retired in it.
 */
struct hak_learner_class_figures {
    const char *route; /* now, of the class's largest size; static */
    const char *rule;  /* the rule of the INI that holds, or with mode =
                          observe would hold; NULL: none; static */
    /* since start: pages that retired, and the allocations from these pages */
    uint64_t retires, allocations;
    uint64_t switches;        /* decisions for the class */
    uint32_t share_bps;       /* its share of the interval's allocations */
    uint32_t retire_bps;      /* its share of the interval's retires */
    uint32_t utilisation_bps; /* mean of used slots / capacity of its pages */
    uint32_t free_hit_bps;    /* share of its frees by the page's owner */
};

struct hak_learner_figures {
    const char *mode; /* "observe" or "apply"; static */
    uint64_t evaluations, decisions;
    uint64_t interval_retires; /* retires of the last interval */
    uint32_t utilisation_bps;  /* over all classes, as in a class */
    uint32_t free_hit_bps;     /* likewise */
    struct hak_learner_class_figures classes[8]; /* C0..C7 */
};

/*
 * hak_learner - read the learner's figures and decisions. Figures of running
 * threads may lag by a moment.
 * Returns  0; -ENODATA: [learner] mode = off, or a fused library; -ENOSYS: the
 *          process runs on libc, without boxes; -EAGAIN (above)
 * Cost     a lock and a walk over the threads
 */
int hak_learner(struct hak_learner_figures *out);

/* ---- C++, for libhakmem-cxx.so and libhakmem-match.so ---- */

enum {
    HAK_NEW_ANY = 0,   /* do not compare kinds */
    HAK_NEW_ONE = 1,   /* new, delete */
    HAK_NEW_ARRAY = 2, /* new[], delete[] */
};
#define HAK_SIZE_UNKNOWN SIZE_MAX

/*
 * hak_new_is - operator new has handed out p, which malloc or aligned_alloc
 * returned to it.
 * kind        HAK_NEW_...
 * size_bytes  that new was asked for; the block may be longer
 * A box with extension "hak.requests/1" remembers both. For other boxes the
 * call does nothing.
 */
void hak_new_is(void *p, uint32_t kind, size_t size_bytes);

/*
 * hak_delete - free a block of operator new, after comparing its kind and size.
 * p            was never resized
 * kind         HAK_NEW_...
 * align_bytes  that new was asked for; 0: new without an alignment
 * size_bytes   that delete was told; HAK_SIZE_UNKNOWN: none
 * The program ends with one line on stderr if the block has another kind or
 * size. Where the box does not keep requests, only another size class is found.
 */
void hak_delete(void *p, uint32_t kind, size_t align_bytes, size_t size_bytes);

/* The name of the box that owns p; NULL: p is libc's, or nobody's. */
const char *hak_owner(const void *p);

/* hak_trim - give all free memory back to the kernel. Returns the bytes given
 * back; 0 in place of -EAGAIN. */
size_t hak_trim(void);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT
 * hakmem.h - what an application may call, besides malloc and its family.
 *
 * Link with -lhakmem, or use dlsym(RTLD_DEFAULT, "hak_...") to work with and
 * without the library. All calls are thread-safe and none is
 * async-signal-safe. Errors are negative errno values; outputs are untouched
 * on failure. In a signal handler that came in the middle of a fork, or that
 * forked in the middle of a malloc or free, calls do nothing: -EAGAIN.
 */
#ifndef HAKMEM_HAKMEM_H
#define HAKMEM_HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version as "MAJOR.MINOR.PATCH"; static. */
const char *hak_version(void);

/*
 * hak_report - write the report of all boxes to a descriptor.
 * json     one line of JSON instead of a table
 * Cost     walks the boxes' pages
 * Returns  0; -EAGAIN: see above; -errno of write
 */
int hak_report(int fd, bool json);

/* One box's figures; those of running threads may lag by a moment. */
struct hak_stats {
    uint64_t allocs, frees;          /* calls, by slots */
    uint64_t live_count, live_bytes; /* usable bytes of live blocks */
    uint64_t peak_bytes;             /* most bytes of pages in use */
    uint64_t mapped_bytes, mapped_peak_bytes;
    uint64_t cached_bytes; /* mapped, free, kept by the box */
    uint64_t refills, remote_frees, declines;
    uint64_t retired_pages, adopted_pages;
};

/* Figures of the box named in the INI. 0, -ENOENT or -EAGAIN. */
int hak_stats(const char *box, struct hak_stats *out);

/*
 * hak_route - from now on, sizes of `range` ("C4-C7", "257-1024", "262145-")
 * go to the route or box `route` of the INI, in every thread. Blocks that are
 * live go home to the box that gave them.
 * Returns  0; -EINVAL: range; -ENOENT: no such route; -ENOSYS: no boxes;
 *          -ENOMEM: as before; -EAGAIN: see above; -ENOTSUP: routes are
 *          fixed, the library is a fused one
 */
int hak_route(const char *range, const char *route);

/*
 * hak_drain - take a box out of all routes. It keeps taking frees; when its
 * last block is gone a later call retires it.
 * Returns  0 = draining, 1 = retired; -ENOENT; -ENOMEM; -EAGAIN: see above;
 *          -ENOTSUP: fused
 */
int hak_drain(const char *box);

/* ---- the learner: docs/learner.md ---- */

/*
 * One class. Ratios are those of the last interval that was evaluated, in basis
 * points (10000 = all); 0 when nothing of the class retired in it.
 */
struct hak_learner_class_figures {
    const char *route; /* of its largest size, now; static */
    const char *rule;  /* of the INI that stands, NULL: none; static. With
                          mode = observe: that would */
    uint64_t retires, allocations; /* since start, in pages that retired */
    uint64_t switches;             /* decisions for it */
    uint32_t share_bps;            /* of the interval's allocations */
    uint32_t retire_bps;           /* of the interval's retires */
    uint32_t utilisation_bps; /* mean of used slots / capacity of its pages */
    uint32_t free_hit_bps;    /* of its frees, those by the page's owner */
};

struct hak_learner_figures {
    const char *mode; /* "observe" or "apply"; static */
    uint64_t evaluations, decisions;
    uint64_t interval_retires; /* that the last evaluation looked at */
    uint32_t utilisation_bps;  /* over all classes, of the last interval */
    uint32_t free_hit_bps;
    struct hak_learner_class_figures classes[8]; /* C0..C7 */
};

/*
 * hak_learner - what the learner sees and has decided. Those of running
 * threads may lag by a moment. Cost: a lock and a walk over the threads.
 * Returns  0; -ENODATA: mode = off, as in a fused library; -ENOSYS: no boxes;
 *          -EAGAIN: see above
 */
int hak_learner(struct hak_learner_figures *out);

/* ---- C++, for libhakmem-cxx.so and libhakmem-match.so ---- */

enum {
    HAK_NEW_ANY = 0, /* kinds are not looked at */
    HAK_NEW_ONE = 1,
    HAK_NEW_ARRAY = 2,
};
#define HAK_SIZE_UNKNOWN SIZE_MAX

/*
 * hak_new_is - operator new has given out p, from malloc or aligned_alloc.
 * size_bytes  what it was asked for; the block may be longer
 * Boxes that keep requests remember both. Others: nothing.
 */
void hak_new_is(void *p, uint32_t kind, size_t size_bytes);

/*
 * hak_delete - free what operator new gave out, and never resized. The program
 * ends with one line if it was of another kind, or of another size: of another
 * class of sizes where the box does not keep requests.
 * align_bytes  as asked for; 0: it was new without one
 * size_bytes   HAK_SIZE_UNKNOWN: delete was told none
 */
void hak_delete(void *p, uint32_t kind, size_t align_bytes, size_t size_bytes);

/* Name of the box that owns p; NULL: libc's, or nobody's. */
const char *hak_owner(const void *p);

/* Give back to the system what is free now. Returns bytes; 0 for -EAGAIN. */
size_t hak_trim(void);

#ifdef __cplusplus
}
#endif
#endif

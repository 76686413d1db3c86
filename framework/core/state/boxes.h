/* SPDX-License-Identifier: MIT
 * boxes.h - the core's side of each box.
 */
#ifndef HAKMEM_STATE_BOXES_H
#define HAKMEM_STATE_BOXES_H

#include <kit/base.h>

#pragma GCC visibility push(hidden)

/* What changes in it while the process runs, but for box.state_now. */
struct hak_loaded_now {
    bool untrusted;   /* its owns() claimed what is another's */
    bool told_retire; /* that its records are too short */
    uint64_t mapped_bytes, mapped_peak_bytes;
};

/* The core's side of a box; `box` is what the box sees. Sealed, but for a box
 * without init. */
struct hak_loaded {
    struct hak_box box;
    struct hak_box_ops ops;
    struct hak_span slow;  /* the directory's word for "call ops->free" */
    uint32_t header_bytes; /* 16 for a box without usable_size, else 0 */
    int priority;
    bool foreign;   /* another's library: hakmem/foreign.h */
    bool far;       /* its slots may be outside of the window */
    bool residual;  /* what nobody owns is its */
    bool quick;     /* route.c has a short way to it: no lanes, no header, and
                       it counts its bytes itself or they are not counted */
    char said[400]; /* its error message in init */
    const struct hak_requests_1 *requests; /* or NULL: it keeps none */
    const struct hak_box_entry *entry;
    union hak_value *values;
    const char *path;
    struct hak_loaded_now *now;
};

struct hak_boxes {
    struct hak_loaded *all[HAK_MAX_BOXES];  /* by box->index */
    struct hak_loaded *walk[HAK_MAX_BOXES]; /* by priority: the owns() walk */
    uint32_t n;
    struct hak_loaded *residual; /* the one of the walk that is, or NULL */
    bool keeps_requests;         /* one of them does */
    struct hak_loaded *sole;     /* the only one that may have pointers outside
                                    of the window, if it is quick */
};
extern struct hak_boxes hak_boxes;

static inline struct hak_loaded *hak_loaded_of(struct hak_box *box)
{
    return hak_container_of(box, struct hak_loaded, box);
}

#pragma GCC visibility pop

#endif

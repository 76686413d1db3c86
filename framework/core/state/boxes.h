/* SPDX-License-Identifier: MIT
 * boxes.h - what the core keeps for each box.
 */
#ifndef HAKMEM_STATE_BOXES_H
#define HAKMEM_STATE_BOXES_H

#include <kit/base.h>

#pragma GCC visibility push(hidden)

/* Counts of the slow paths for one thread and box. Only the thread writes
 * them; reports read them at any time. */
struct hak_counts {
    uint64_t allocs, frees;       /* calls of ops->alloc and ops->free */
    uint64_t bytes_in, bytes_out; /* usable bytes of these slots */
    uint64_t refills, remote_frees, declines;
};

/* The members of a box that change while the process runs. They are not sealed.
 * (box.state_now, which is atomic, `instead` and the values of mutable
 * parameters change too, with the seal open.) */
struct hak_loaded_now {
    bool untrusted;   /* its owns() claimed memory of another box */
    bool told_retire; /* the message about too short records was printed */
    uint64_t mapped_bytes, mapped_peak_bytes;
    uint64_t told_frees, told_remote_frees; /* the most that was reported */
    /* What threads had counted at this box's index when it was loaded: for the
     * box that had the index before. */
    struct hak_counts before;
};

/* A loaded box. `box` is the part that the box itself sees. Sealed, unless the
 * box has no init: such a box may set box.state at any time. */
struct hak_loaded {
    struct hak_box box;
    struct hak_box_ops ops;
    /* The directory names this span for memory of the box that has no span of
     * its own. free() then calls ops.free. */
    struct hak_span slow;
    uint32_t header_bytes; /* 16 for a box without usable_size, else 0 */
    int priority;
    bool foreign;  /* a foreign box: hakmem/foreign.h */
    bool far;      /* it may have slots outside of the window */
    bool residual; /* pointers that nobody owns are taken to be its */
    /* malloc/short_way.h may call it: it has no lanes and no header, and the
     * core need neither count its bytes nor note its calls. */
    bool quick;
    char said[400]; /* the error that it logged in init, or "" */
    const struct hak_requests_1 *requests; /* NULL: it has no such extension */
    /* The box that took its place in the chains; NULL: none. Only for a box
     * that is draining or closed. */
    struct hak_loaded *instead;
    const struct hak_box_entry *entry;
    union hak_value *values;
    const char *path;
    struct hak_loaded_now *now;
};

/*
 * All boxes of the process. Sealed. A box that is loaded while the process runs
 * comes last in both lists, or takes the place of a closed box. So a thread
 * that reads them meanwhile never misses a box that was there before.
 */
struct hak_boxes {
    struct hak_loaded *all[HAK_MAX_BOXES];  /* atomic: hak_box_at() */
    struct hak_loaded *walk[HAK_MAX_BOXES]; /* by priority; hak_box_in_walk() */
    uint32_t n;                             /* atomic: hak_nboxes() */
    struct hak_loaded *residual;            /* the residual box, or NULL */
    bool keeps_requests; /* at least one box has `requests` */
    /* The only box that may have slots outside of the window, if there is just
     * one and it is `quick`; else NULL. */
    struct hak_loaded *sole;
};
extern struct hak_boxes hak_boxes;

/* Stands in hak_boxes where a box was that is gone. It owns nothing. */
extern struct hak_loaded hak_vacant;

static inline uint32_t hak_nboxes(void)
{
    return __atomic_load_n(&hak_boxes.n, __ATOMIC_ACQUIRE);
}

/* The nth box of each list. Another thread may put a box in its place. */
static inline struct hak_loaded *hak_box_at(uint32_t index)
{
    return __atomic_load_n(&hak_boxes.all[index], __ATOMIC_ACQUIRE);
}

static inline struct hak_loaded *hak_box_in_walk(uint32_t n)
{
    return __atomic_load_n(&hak_boxes.walk[n], __ATOMIC_ACQUIRE);
}

/* The state of a box that another thread may change. */
static inline uint32_t hak_state_of(const struct hak_loaded *b)
{
    return __atomic_load_n(&b->box.state_now, __ATOMIC_RELAXED);
}

/* The box that serves where chains of the configuration name b: b itself, the
 * one that was put in its place, or NULL. */
static inline struct hak_loaded *hak_serving(struct hak_loaded *b)
{
    while (b != NULL && hak_state_of(b) != HAK_BOX_ACTIVE)
        b = b->instead;
    return b;
}

/* The struct around a box. */
static inline struct hak_loaded *hak_loaded_of(struct hak_box *box)
{
    return hak_container_of(box, struct hak_loaded, box);
}

#pragma GCC visibility pop

#endif

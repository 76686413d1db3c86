/* SPDX-License-Identifier: MIT
 * sampler.h - what sampling knows of one thread; private to core/route/.
 *
 *     sample.c        counts inline allocations; samples for a box (guard)
 *     sample_bytes.c  samples by bytes, for a module (heap_profile)
 */
#ifndef HAKMEM_ROUTE_SAMPLER_H
#define HAKMEM_ROUTE_SAMPLER_H

#include <core/route/sample.h>

#pragma GCC visibility push(hidden)

/* What is known of one span. Lanes share spans, so arms are found by slot size:
 * hak_index_of(slot_bytes). A span replaces another one of its slot size. */
struct hak_arm {
    struct hak_span *span; /* NULL: none */
    uint64_t seen;         /* value of its nalloc up to which it is counted */
    uint64_t ours, boxs;   /* the trigger set here, and the box's own */
    bool armed; /* span->trigger is `ours`, unless the box changed it since */
    /* Samples by bytes, of slots of this size: */
    uint32_t epoch;      /* of hak_core.sample_epoch when `left` was drawn */
    uint32_t steps;      /* slow-path mallocs that pass before a due sample */
    uint32_t slot_bytes; /* 0: nothing was drawn */
    int64_t left;        /* slots until the next sample; <= 0: due */
    double nblocks;      /* blocks that the next sample stands for */
};

/* Sampling state of one thread, used by that thread only. */
struct hak_sampler {
    /* For a box. */
    int64_t left;       /* allocations until the next sample; <= 0: due */
    uint32_t steps;     /* mallocs that still pass before a due sample */
    uint32_t every;     /* present mean interval */
    uint32_t ndeclined; /* declines in a row, up to DECLINES + DOUBLINGS */
    uint64_t declines;  /* the thread's count of them at the last sample */
    /* By bytes. */
    uint32_t epoch;    /* of hak_core.sample_epoch that the members are of */
    double left_bytes; /* until the next sample of requests without a lane */
    double mean_bytes; /* present mean distance of samples */
    uint64_t spent_ns, since_ns;   /* time in samples since then */
    uint32_t ntimed;               /* samples since then */
    uint8_t arm_of[HAK_LANES + 1]; /* the arm of a lane's last span */
    struct hak_arm arm[HAK_LANES + 1];
};

/* A sample that is due is one of the next few mallocs on the slow path, so many
 * at most. */
enum { HAK_SAMPLE_STEPS = 8 };

/* The sampler of t, the calling thread, with what was allocated inline from the
 * lane of that size index counted. NULL: no memory. */
struct hak_sampler *hak_sampler_counted(struct hak_thread *t, uint32_t index);

static inline uint32_t hak_arm_index(const struct hak_span *span)
{
    return hak_index_of(span->slot_bytes);
}

static inline struct hak_arm *hak_arm_of(struct hak_sampler *s,
                                         const struct hak_span *span)
{
    return &s->arm[hak_arm_index(span)];
}

/* ---- sample_bytes.c ---- */

/* Does the lane of arm a have to stay empty? */
bool hak_bytes_are_near(const struct hak_sampler *s, const struct hak_arm *a);
/* The lane of size index `index` got a slot of span. */
void hak_bytes_took(struct hak_sampler *s, uint32_t index,
                    const struct hak_span *span);

#pragma GCC visibility pop

#endif

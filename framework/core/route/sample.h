/* SPDX-License-Identifier: MIT
 * sample.h - samples of allocations: one in N for a box, and by bytes for a
 * module.
 */
#ifndef HAKMEM_ROUTE_SAMPLE_H
#define HAKMEM_ROUTE_SAMPLE_H

#include <core/state/ops.h>
#include <core/state/thread.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/* Sample one in `every` allocations (at least 1) for box. At start. */
void hak_sample_start(struct hak_loaded *box, uint32_t every);
/*
 * hak_sample_due - count a malloc of t on its slow path, and what its lane
 * served inline since it was counted last. t: the calling thread.
 * Returns  true: the caller offers this request to the sampling box first
 */
bool hak_sample_due(struct hak_thread *t, uint32_t index);
/* Is a sample due, so that the lanes of span have to stay empty? */
bool hak_sample_is_near(struct hak_thread *t, const struct hak_span *span);
/* Count a slot of span that was taken for a request of size index `index`, by
 * t, the calling thread. The span is in no lane. */
void hak_sample_took(struct hak_thread *t, uint32_t index,
                     const struct hak_span *span);
/* Count that, and the inline allocations from span from now on. The caller has
 * put it into a lane of t, the calling thread, and has taken a slot from it. */
void hak_sample_lane(struct hak_thread *t, uint32_t index,
                     struct hak_span *span);
/* End that: count span once more, and give it its box's trigger again. */
void hak_sample_drop(struct hak_thread *t, const struct hak_span *span);
/* nfree of a span of the calling thread has reached span->trigger, which was
 * set here or by the box. Calls ops->triggered if it is the box's. */
void hak_sample_triggered(struct hak_span *span);

/* free() calls it when nfree of a span has reached span->trigger. */
HAK_BOX_OUTLINE void hak_span_triggered(struct hak_span *span)
{
    if (hak_samples())
        hak_sample_triggered(span);
    else
        hak_box_triggered(span);
}

/* ---- samples by bytes, sample_bytes.c ---- */

/* Begin or end it: host->sample_bytes in hakmem/module.h. */
int hak_sample_bytes_start(const struct hak_sample_ops *ops,
                           uint64_t every_bytes, uint32_t cost_percent);
/*
 * hak_sample_bytes_due - count a malloc of t on its slow path, and what its
 * lane served inline since it was counted last. t: the calling thread.
 * size_bytes  of the request, at least 1
 * laned       the first box of its chain has lanes
 * Returns     0: the request is not sampled; else the number of allocations
 *             that it stands for
 */
double hak_sample_bytes_due(struct hak_thread *t, uint32_t index,
                            size_t size_bytes, bool laned);
/* The block for which hak_sample_bytes_due was not 0 is a slot of span, which
 * is for larger requests. That slot is not counted. t: as above. */
void hak_sample_bytes_is_in(struct hak_thread *t, const struct hak_span *span);
/* A sample of t, the calling thread, has ended that began at began_ns, a time
 * of hak_os_now_ns. */
void hak_sample_bytes_timed(struct hak_thread *t, uint64_t began_ns);

#pragma GCC visibility pop

#endif

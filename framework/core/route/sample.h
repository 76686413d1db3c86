/* SPDX-License-Identifier: MIT
 * sample.h - offers one in N allocations to a sampling box.
 */
#ifndef HAKMEM_ROUTE_SAMPLE_H
#define HAKMEM_ROUTE_SAMPLE_H

#include <core/state/ops.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Sample one in `every` allocations (at least 1) for box; NULL: no sampling. At
 * start. */
void hak_sample_start(struct hak_loaded *box, uint32_t every);
/*
 * hak_sample_due - count a malloc of t on its slow path, and what its lane
 * served inline since it was counted last. t: the calling thread.
 * Returns  true: the caller offers this request to the sampling box first
 */
bool hak_sample_due(struct hak_thread *t, uint32_t index);
/* Is a sample due, so that lanes have to stay empty? */
bool hak_sample_is_near(const struct hak_thread *t);
/* Count the inline allocations from span from now on. The caller has put it
 * into a lane of t, the calling thread, and has taken a slot from it. */
void hak_sample_lane(struct hak_thread *t, struct hak_span *span);
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

#pragma GCC visibility pop

#endif

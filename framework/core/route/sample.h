/* SPDX-License-Identifier: MIT
 * sample.h - one in N allocations to a sampling box.
 */
#ifndef HAKMEM_ROUTE_SAMPLE_H
#define HAKMEM_ROUTE_SAMPLE_H

#include <core/state/ops.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Before threads run. box NULL: no sampling; every >= 1. */
void hak_sample_start(struct hak_loaded *box, uint32_t every);
/*
 * A malloc of t is on its slow path: count it, and what its lane served since
 * it was here. True: ask the sampling box first. Cost: small.
 */
bool hak_sample_due(struct hak_thread *t, uint32_t index);
/* Are the next few mallocs to come here too, so that lanes stay empty? */
bool hak_sample_is_near(const struct hak_thread *t);
/* span, refilled and asked for a slot, is a lane of t from now on. */
void hak_sample_lane(struct hak_thread *t, struct hak_span *span);
/* It is one no more; its trigger is the box's again. */
void hak_sample_drop(struct hak_thread *t, const struct hak_span *span);
/* nfree of a span of the calling thread reached trigger: ours or the box's. */
void hak_sample_triggered(struct hak_span *span);

/* What free does when a span's nfree reached its trigger. */
HAK_BOX_OUTLINE void hak_span_triggered(struct hak_span *span)
{
    if (hak_samples())
        hak_sample_triggered(span);
    else
        hak_box_triggered(span);
}

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * sample.c - offers one in `sample_every` allocations to the sampling box.
 *
 * malloc takes slots inline, and nothing is added to that path. So a sample can
 * only be taken on malloc's slow path. Each thread counts its allocations down:
 *
 *     - Inline allocations are counted later, on a slow path of their lane. The
 *       span's nalloc tells how many there were.
 *     - A lane whose slots are freed as fast as they are taken never runs
 * empty, so malloc never takes its slow path. Such a lane is counted in free():
 *       its span is armed, which means that span->trigger is set lower than the
 *       box set it. When nfree reaches the box's own value, ops->triggered is
 *       called.
 *     - When the countdown has ended, lanes are kept empty, so that each malloc
 *       takes the slow path. One of the next few, chosen at random, is the
 *       sample. The first malloc of each refill would often be of the same
 *       kind.
 *
 * The interval is uniform in 1 .. 2 * every - 1. Allocations that are counted
 * late shorten the next interval, so the rate is right in the long run. Samples
 * of a thread with many busy lanes come in bursts.
 *
 * The sampling box may decline many samples in a row, because it is full or has
 * reached its limit for this second. It is then asked less often until it takes
 * one, because empty lanes slow down a program that allocates all the time.
 *
 * An armed span is in a lane of the thread and is owned by it. hak_lanes_drop,
 * which a box calls before it gives a span to another owner, disarms it.
 */
#include <core/route/sampler.h>

#include <base/meta.h>
#include <base/random.h>
#include <core/route/lanes.h>
#include <core/state/ops.h>

enum {
    LOOKS_A_TIME = 4, /* times that free counts a lane in an interval, about */
    DECLINES = 8,     /* declines in a row before the interval is doubled */
    DOUBLINGS = 5,    /* times that it is doubled, at most */
};

void hak_sample_start(struct hak_loaded *box, uint32_t every)
{
    hak_core.sample_box = box;
    hak_core.sample_every = every;
    hak_core.sampling |= HAK_SAMPLE_FOR_BOX;
}

/* Choose the next interval and the number of steps at random. */
static void draw_interval(struct hak_sampler *s)
{
    uint64_t bits = hak_random(), every = s->every;
    s->left += 1 + (int64_t)((bits >> 8) % (2 * every - 1));
    s->steps = (uint32_t)((bits & 0xff) % hak_min(HAK_SAMPLE_STEPS, every));
}

static struct hak_sampler *sampler_of(struct hak_thread *t)
{
    if (unlikely(t->sampler == NULL)) {
        t->sampler = hak_meta(sizeof *t->sampler);
        if (t->sampler != NULL) {
            t->sampler->every = hak_core.sample_every;
            if (hak_samples_for_box())
                draw_interval(t->sampler);
        }
    }
    return t->sampler;
}

/* ---- arms ---------------------------------------------------------------- */

/* Give the span its box's trigger again, and count what was allocated inline
 * from it. */
static void count_arm(struct hak_sampler *s, struct hak_arm *a)
{
    if (a->armed && a->span->trigger == a->ours)
        a->span->trigger = a->boxs;
    a->armed = false;
    int64_t n = (int64_t)(a->span->nalloc - a->seen);
    s->left -= n;
    a->left -= n;
    a->seen = a->span->nalloc;
}

/* The box's trigger has to be there, as a refill may set it. */
struct hak_sampler *hak_sampler_counted(struct hak_thread *t, uint32_t index)
{
    struct hak_sampler *s = sampler_of(t);
    struct hak_span *span = hak_lane(t, index);
    if (s != NULL && hak_arm_of(s, span)->span == span)
        count_arm(s, hak_arm_of(s, span));
    return s;
}

/* Frees of the span of arm a after which free() has to look at it. */
static uint64_t frees_until_look(const struct hak_sampler *s,
                                 const struct hak_arm *a)
{
    uint64_t n = UINT64_MAX;
    if (hak_samples_for_box())
        n = hak_min((uint64_t)(s->left > 0 ? s->left : 1),
                    s->every / LOOKS_A_TIME + 1);
    if (hak_samples_bytes() && a->slot_bytes != 0)
        n = hak_min(n, (uint64_t)(a->left > 0 ? a->left : 1));
    return n;
}

/* Lower span->trigger, so that free calls hak_sample_triggered after some
 * frees. Nothing is changed if the box's own trigger comes earlier. */
static void arm_span(const struct hak_sampler *s, struct hak_arm *a)
{
    struct hak_span *span = a->span;
    uint64_t frees = frees_until_look(s, a);
    if (frees == UINT64_MAX || span->trigger <= span->nfree + frees)
        return;
    a->boxs = span->trigger;
    a->ours = span->trigger = span->nfree + frees;
    a->armed = true;
}

/* Is a sample due, so that the lane of arm a has to stay empty? */
static bool is_near(const struct hak_sampler *s, const struct hak_arm *a)
{
    return (hak_samples_for_box() && s->left <= 0) ||
           (hak_samples_bytes() && hak_bytes_are_near(s, a));
}

bool hak_sample_is_near(struct hak_thread *t, const struct hak_span *span)
{
    struct hak_sampler *s = t->sampler;
    return s != NULL && is_near(s, hak_arm_of(s, span));
}

void hak_sample_drop(struct hak_thread *t, const struct hak_span *span)
{
    struct hak_arm *a =
        t->sampler != NULL ? hak_arm_of(t->sampler, span) : NULL;
    if (a == NULL || a->span != span)
        return;
    count_arm(t->sampler, a);
    a->span = NULL;
}

void hak_sample_took(struct hak_thread *t, uint32_t index,
                     const struct hak_span *span)
{
    if (t->sampler != NULL && hak_samples_bytes())
        hak_bytes_took(t->sampler, index, span);
}

void hak_sample_lane(struct hak_thread *t, uint32_t index,
                     struct hak_span *span)
{
    struct hak_sampler *s = t->sampler;
    if (s == NULL)
        return;
    struct hak_arm *a = hak_arm_of(s, span);
    if (a->span == span)
        a->seen++; /* the slot that was just taken is counted below */
    if (a->span != NULL)
        count_arm(s, a);
    hak_sample_took(t, index, span);
    a->span = span;
    a->seen = span->nalloc;
    arm_span(s, a);
}

/* A span of t that is in no arm has reached its trigger. A lane of before
 * samples by bytes began is counted from its next refill on. */
static void trigger_of_box(struct hak_thread *t, struct hak_span *span)
{
    hak_box_triggered(span);
    if (hak_samples_bytes())
        hak_lanes_drop(t, span);
}

void hak_sample_triggered(struct hak_span *span)
{
    struct hak_thread *t = hak_self;
    struct hak_sampler *s = t->sampler;
    if (s == NULL || hak_arm_of(s, span)->span != span) {
        trigger_of_box(t, span);
        return;
    }
    struct hak_arm *a = hak_arm_of(s, span);
    bool ours = a->armed && span->trigger == a->ours;
    if (!ours)
        hak_box_triggered(span); /* it may drop the lane, and so the arm */
    if (a->span != span)
        return;
    count_arm(s, a);
    if (is_near(s, a))
        hak_lanes_drop(t, span);
    else
        arm_span(s, a);
}

/* ---- samples ------------------------------------------------------------- */

/* Set the mean interval: it grows while the box declines samples in a row. */
static void set_interval(struct hak_sampler *s, const struct hak_thread *t)
{
    uint64_t declines = t->count[hak_core.sample_box->box.index].declines;
    bool taken = declines == s->declines;
    s->declines = declines;
    if (taken)
        s->ndeclined = 0;
    else if (s->ndeclined < DECLINES + DOUBLINGS)
        s->ndeclined++;
    uint32_t doublings = s->ndeclined > DECLINES ? s->ndeclined - DECLINES : 0;
    s->every = (uint32_t)hak_min((uint64_t)hak_core.sample_every << doublings,
                                 UINT32_MAX);
}

bool hak_sample_due(struct hak_thread *t, uint32_t index)
{
    struct hak_sampler *s = hak_sampler_counted(t, index);
    if (s == NULL)
        return false;
    if (--s->left > 0)
        return false;
    if (s->steps != 0) {
        s->steps--;
        return false;
    }
    set_interval(s, t);
    draw_interval(s);
    return hak_state_of(hak_core.sample_box) == HAK_BOX_ACTIVE;
}

/* SPDX-License-Identifier: MIT
 * sample.c - one in `sample_every` allocations goes to the sampling box first.
 *
 * malloc takes slots inline, so a sample can only be taken where malloc comes
 * to its slow path. Nothing is added to the inline path; instead
 *
 *     - what was taken inline is counted when a lane comes here: nalloc of its
 *       span tells how much that was;
 *     - a lane that never runs empty, since its slots come back as fast, comes
 *       here by way of free: trigger of its span, which free looks at anyway,
 *       is set nearer than the box did, and triggered() is passed on to the box
 *       when its own value is reached;
 *     - when the countdown is over, lanes are left empty, so that mallocs come
 *       here one by one, and one of the next few is the sample, by chance: the
 *       first of each refill would often be of the same kind.
 *
 * The interval is uniform in 1 .. 2 * every - 1. What was counted late is owed,
 * so the rate is right in the long run, but samples of a thread with many busy
 * lanes come in bursts.
 *
 * A box that declines many in a row (it is full, or has taken what it may in
 * this second) is asked less often until it takes one: to empty the lanes for
 * nothing is what a program that allocates all the time would feel.
 *
 * An armed span is one of the thread's lanes and has it as owner: arms end in
 * hak_lanes_drop, which a box calls before it gives a span away.
 */
#include <core/route/sample.h>

#include <base/meta.h>
#include <base/random.h>
#include <core/route/lanes.h>
#include <core/state/ops.h>

enum {
    STEPS_MOST = 8,   /* mallocs one by one before a sample */
    LOOKS_A_TIME = 4, /* looks at a lane in an interval, by way of free */
    DECLINES = 8,     /* in a row, from which on intervals double ... */
    DOUBLINGS = 5,    /* so often */
};

/* By index_of(slot_bytes), since lanes share spans; spans may share one. */
struct arm {
    struct hak_span *span; /* NULL: none */
    uint64_t seen;         /* its nalloc that was counted */
    uint64_t ours, boxs;   /* triggers: the one set here, the one it hides */
    bool armed;            /* span->trigger is ours, unless the box set it */
};

struct hak_sampler {
    int64_t left; /* allocations until a sample; <= 0: due */
    uint32_t steps;
    uint32_t every;     /* now: sample_every, doubled so often */
    uint32_t ndeclined; /* in a row, as far as it matters */
    uint64_t declines;  /* of the thread, when last looked at */
    struct arm arm[HAK_LANES + 1];
};

void hak_sample_start(struct hak_loaded *box, uint32_t every)
{
    hak_core.sample_box = box;
    hak_core.sample_every = box != NULL ? every : 0;
}

static void draw(struct hak_sampler *s)
{
    uint64_t bits = hak_random(), every = s->every;
    s->left += 1 + (int64_t)((bits >> 8) % (2 * every - 1));
    s->steps = (uint32_t)((bits & 0xff) % hak_min(STEPS_MOST, every));
}

static struct hak_sampler *sampler_of(struct hak_thread *t)
{
    if (unlikely(t->sampler == NULL)) {
        t->sampler = hak_meta(sizeof *t->sampler);
        if (t->sampler != NULL) {
            t->sampler->every = hak_core.sample_every;
            draw(t->sampler);
        }
    }
    return t->sampler;
}

/* ---- arms ---------------------------------------------------------------- */

static struct arm *arm_of(struct hak_sampler *s, const struct hak_span *span)
{
    return &s->arm[hak_index_of(span->slot_bytes)];
}

static void disarm(struct arm *a)
{
    if (a->armed && a->span->trigger == a->ours)
        a->span->trigger = a->boxs;
    a->armed = false;
}

static void count(struct hak_sampler *s, struct arm *a)
{
    s->left -= (int64_t)(a->span->nalloc - a->seen);
    a->seen = a->span->nalloc;
}

/* Come back here after some frees, unless the box is told before. */
static void arm(const struct hak_sampler *s, struct arm *a)
{
    struct hak_span *span = a->span;
    uint64_t frees = hak_min((uint64_t)(s->left > 0 ? s->left : 1),
                             s->every / LOOKS_A_TIME + 1);
    if (span->trigger <= span->nfree + frees)
        return;
    a->boxs = span->trigger;
    a->ours = span->trigger = span->nfree + frees;
    a->armed = true;
}

void hak_sample_drop(struct hak_thread *t, const struct hak_span *span)
{
    struct arm *a = t->sampler != NULL ? arm_of(t->sampler, span) : NULL;
    if (a == NULL || a->span != span)
        return;
    disarm(a);
    count(t->sampler, a);
    a->span = NULL;
}

void hak_sample_lane(struct hak_thread *t, struct hak_span *span)
{
    struct hak_sampler *s = t->sampler;
    if (s == NULL)
        return;
    struct arm *a = arm_of(s, span);
    if (a->span != NULL) {
        disarm(a);
        count(s, a);
    }
    a->span = span;
    a->seen = span->nalloc;
    arm(s, a);
}

void hak_sample_triggered(struct hak_span *span)
{
    struct hak_thread *t = hak_self;
    struct hak_sampler *s = t->sampler;
    struct arm *a = s != NULL ? arm_of(s, span) : NULL;
    if (a == NULL || a->span != span || !a->armed || span->trigger != a->ours) {
        hak_box_triggered(span);
        if (a == NULL || a->span != span)
            return;
    }
    disarm(a);
    count(s, a);
    if (s->left <= 0)
        hak_lanes_drop(t, span);
    else
        arm(s, a);
}

/* ---- samples ------------------------------------------------------------- */

bool hak_sample_is_near(const struct hak_thread *t)
{
    return t->sampler != NULL && t->sampler->left <= 0;
}

/* What became of the last sample says when the next one is. */
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
    struct hak_sampler *s = sampler_of(t);
    if (s == NULL)
        return false;
    struct hak_span *span = hak_lane(t, index);
    struct arm *a = arm_of(s, span);
    if (a->span == span) { /* a refill may set its trigger */
        disarm(a);
        count(s, a);
    }
    if (--s->left > 0)
        return false;
    if (s->steps != 0) {
        s->steps--;
        return false;
    }
    set_interval(s, t);
    draw(s);
    return hak_core.sample_box->box.state_now == HAK_BOX_ACTIVE;
}

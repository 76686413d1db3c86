/* SPDX-License-Identifier: MIT
 * sample_bytes.c - samples allocations by bytes, for a module.
 *
 * The samples are the points of a Poisson process over the bytes that a thread
 * allocates. A block with at least one point is sampled. So a block of s bytes
 * is sampled with probability p = 1 - exp(-s / mean), and stands for 1 / p
 * blocks like it: sums over samples are unbiased.
 *
 * Such processes can be split: each slot size of a thread has one of its own,
 * and requests that no lane serves have another one.
 *
 *     slots of lanes    Each slot is a trial with the probability p, so the
 *                       number of slots until the next sample is drawn
 *                       (hak_arm.left). Inline allocations are counted late:
 *                       sample.c says when. If the sample was among them, one
 *                       of the next few mallocs of this slot size is taken
 *                       instead, so that figures of each size are unbiased.
 *                       Chance says which one, because the malloc that finds a
 *                       lane empty is often of the same call site.
 *     other requests    The bytes until the next point are counted down
 *                       exactly.
 *
 * If the mean is below LANES_LEAST, all lanes stay empty, so that each request
 * is an "other" one. With a mean of 1 byte every block is sampled, whatever its
 * size.
 *
 * A sample costs a microsecond or more, as a stack is taken. A program that
 * allocates gigabytes a second would be slowed down, so the mean is doubled
 * while samples take more than their share of a thread's time, and halved when
 * they take much less. Each sample tells what it stands for.
 */
#include <core/route/sampler.h>

#include <base/os.h>
#include <base/poisson.h>
#include <base/random.h>
#include <base/seal.h>
#include <core/route/lanes.h>

#include <errno.h>

enum {
    LANES_LEAST = 64 << 10, /* mean below which lanes stay empty */
    TIMED = 8,              /* samples after which their cost is judged */
    DOUBLINGS = 16,         /* of the mean, at most */
};

/* ---- begin and end ------------------------------------------------------- */

int hak_sample_bytes_start(const struct hak_sample_ops *ops,
                           uint64_t every_bytes, uint32_t cost_percent)
{
    if (!hak_routes_may_change())
        return -ENOTSUP;
    if (hak_core.sample_ops != NULL && hak_core.sample_ops != ops)
        return -EBUSY;
    if (!hak_seal_open())
        return -ENOMEM;
    uint32_t kept = hak_core.sampling & HAK_SAMPLE_FOR_BOX;
    uint32_t bytes = every_bytes != 0 ? HAK_SAMPLE_BYTES : HAK_SAMPLE_ENDED;
    hak_core.sample_cost = every_bytes == 1 ? 0 : cost_percent;
    __atomic_store_n(&hak_core.sample_bytes, every_bytes, __ATOMIC_RELAXED);
    __atomic_add_fetch(&hak_core.sample_epoch, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&hak_core.sample_ops, ops, __ATOMIC_RELEASE);
    __atomic_store_n(&hak_core.sampling, kept | bytes, __ATOMIC_RELEASE);
    hak_seal_close();
    /* Threads that allocate inline get to know it when their lanes are empty.
     */
    hak_lanes_reroute(0, HAK_LANES);
    return 0;
}

/* If sampling has begun anew, or with another mean, forget what was drawn. */
static void sync_epoch(struct hak_sampler *s)
{
    uint32_t epoch = __atomic_load_n(&hak_core.sample_epoch, __ATOMIC_RELAXED);
    if (likely(s->epoch == epoch))
        return;
    s->epoch = epoch;
    s->mean_bytes =
        (double)__atomic_load_n(&hak_core.sample_bytes, __ATOMIC_RELAXED);
    s->left_bytes = s->mean_bytes * hak_random_exponential();
    s->spent_ns = s->since_ns = 0;
    s->ntimed = 0;
}

/* ---- slots of lanes ------------------------------------------------------ */

static int64_t draw_slots(const struct hak_sampler *s, const struct hak_arm *a)
{
    double slots = s->mean_bytes / a->slot_bytes * hak_random_exponential();
    return 1 + (int64_t)slots;
}

static double stands_for(const struct hak_sampler *s, double size_bytes)
{
    return s->mean_bytes <= 1
               ? 1
               : 1 / hak_hit_probability(size_bytes / s->mean_bytes);
}

/* Draw the first sample of an arm. */
static void begin_arm(struct hak_sampler *s, struct hak_arm *a,
                      uint32_t slot_bytes)
{
    a->epoch = s->epoch;
    a->slot_bytes = slot_bytes;
    a->left = draw_slots(s, a);
    a->nblocks = stands_for(s, slot_bytes);
    a->steps = (uint32_t)hak_random() % HAK_SAMPLE_STEPS;
}

void hak_bytes_took(struct hak_sampler *s, uint32_t index,
                    const struct hak_span *span)
{
    struct hak_arm *a = hak_arm_of(s, span);
    sync_epoch(s);
    s->arm_of[index] = (uint8_t)hak_arm_index(span);
    if (unlikely(a->slot_bytes != span->slot_bytes || a->epoch != s->epoch))
        begin_arm(s, a, span->slot_bytes);
    a->left--;
}

static bool keeps_lanes_empty(const struct hak_sampler *s)
{
    return s->mean_bytes < LANES_LEAST;
}

bool hak_bytes_are_near(const struct hak_sampler *s, const struct hak_arm *a)
{
    return keeps_lanes_empty(s) || (a->slot_bytes != 0 && a->left <= 0);
}

/* Is a sample of arm a due? Returns as hak_sample_bytes_due. There may have
 * been several samples among the slots; the next one stands for all. */
static double take_due_slot(struct hak_sampler *s, struct hak_arm *a)
{
    double n = 0;
    if (a->slot_bytes == 0 || a->left > 0 || a->epoch != s->epoch)
        return 0;
    if (a->steps != 0) {
        a->steps--;
        return 0;
    }
    a->left--; /* the sampled one, whose slot is of another size */
    for (; a->left <= 0; a->left += draw_slots(s, a))
        n++;
    n *= a->nblocks;
    a->nblocks = stands_for(s, a->slot_bytes);
    a->steps = (uint32_t)hak_random() % HAK_SAMPLE_STEPS;
    return n;
}

void hak_sample_bytes_is_in(struct hak_thread *t, const struct hak_span *span)
{
    hak_arm_of(t->sampler, span)->left++;
}

/* ---- other requests ------------------------------------------------------ */

/* Is the request of size_bytes sampled? Returns as hak_sample_bytes_due. The
 * next distance begins behind it. */
static double take_due_bytes(struct hak_sampler *s, size_t size_bytes)
{
    s->left_bytes -= (double)size_bytes;
    if (s->left_bytes > 0 && s->mean_bytes > 1)
        return 0;
    s->left_bytes = s->mean_bytes * hak_random_exponential();
    return stands_for(s, (double)size_bytes);
}

double hak_sample_bytes_due(struct hak_thread *t, uint32_t index,
                            size_t size_bytes, bool laned)
{
    struct hak_sampler *s = hak_sampler_counted(t, index);
    if (s == NULL)
        return 0;
    sync_epoch(s);
    if (laned && !keeps_lanes_empty(s))
        return take_due_slot(s, &s->arm[s->arm_of[index]]);
    return take_due_bytes(s, size_bytes);
}

/* ---- cost ---------------------------------------------------------------- */

/* Judge the cost of the last samples, and change the mean by it. */
static void set_mean(struct hak_sampler *s, uint64_t now_ns)
{
    double most = (double)(1ULL << DOUBLINGS);
    double least =
        (double)__atomic_load_n(&hak_core.sample_bytes, __ATOMIC_RELAXED);
    double share = 100.0 * (double)s->spent_ns / (double)(now_ns - s->since_ns);
    if (share > hak_core.sample_cost && s->mean_bytes < least * most)
        s->mean_bytes *= 2;
    else if (share < hak_core.sample_cost / 4.0 && s->mean_bytes > least)
        s->mean_bytes /= 2;
}

void hak_sample_bytes_timed(struct hak_thread *t, uint64_t began_ns)
{
    struct hak_sampler *s = t->sampler;
    if (s == NULL || hak_core.sample_cost == 0)
        return;
    uint64_t now_ns = hak_os_now_ns();
    s->spent_ns += now_ns - began_ns;
    if (s->since_ns != 0 && ++s->ntimed < TIMED)
        return;
    if (s->since_ns != 0 && now_ns > s->since_ns)
        set_mean(s, now_ns);
    s->since_ns = now_ns;
    s->spent_ns = 0;
    s->ntimed = 0;
}

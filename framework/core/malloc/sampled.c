/* SPDX-License-Identifier: MIT
 * sampled.c - sampled requests: for the sampling box, and by bytes.
 */
#include <core/malloc/sampled.h>

#include <base/os.h>
#include <core/malloc/alloc.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/fast.h>
#include <core/malloc/owner.h>
#include <core/malloc/routing.h>
#include <core/route/sample.h>
#include <core/state/directory.h>

#include <errno.h>

/* ---- for the sampling box ---- */

static void *from_sampling_box(struct hak_thread *t, size_t align, size_t size,
                               bool zero)
{
    struct hak_loaded *b = hak_core.sample_box;
    size_t want = hak_max(size, 1);
    if (!hak_sample_due(t, hak_index_of(size)))
        return NULL;
    void *p = align > HAK_ALIGN_BYTES ? hak_from_box_aligned(t, b, align, want)
                                      : hak_from_box(t, b, want, zero);
    if (p == NULL)
        hak_count(&t->count[b->box.index].declines, 1);
    return p;
}

/* ---- by bytes ---- */

/* The first box of the chain for size_bytes, if it has lanes for it; or NULL.
 */
static struct hak_loaded *laned_box(size_t size_bytes)
{
    uint32_t index = hak_index_of(size_bytes);
    struct hak_loaded *b = hak_chain_of(index)->box[0];
    return b != NULL && index < HAK_LANES && hak_box_lanes(b) ? b : NULL;
}

/* Fill in what the module has to know of a slot. */
static struct hak_sample describe(const char *slot, size_t offset, size_t size,
                                  double nblocks)
{
    struct hak_span *span;
    const struct hak_loaded *b = hak_owner_box(slot, &span);
    struct hak_loaded *laned = laned_box(hak_max(size, 1));
    struct hak_sample s = {
        .block = slot + offset,
        .offset_bytes = offset,
        .asked_bytes = size,
        .nblocks = nblocks,
        .box = b != NULL ? b->box.name : "libc",
        .index = hak_index_of(size),
    };
    if (laned == NULL)
        s.slot_bytes = hak_usable_in("malloc", b, span, slot);
    else if (HAK_BOX_HAS(laned, slot_size))
        s.slot_bytes = hak_box_slot_size(laned, hak_max(size, 1));
    return s;
}

/* Tell the module. False: it has no room. */
static bool record(struct hak_thread *t, const char *slot, size_t offset,
                   size_t size, double nblocks)
{
    uint64_t began_ns = hak_os_now_ns();
    struct hak_sample s = describe(slot, offset, size, nblocks);
    bool recorded = hak_core.sample_ops->allocated(&s);
    hak_sample_bytes_took_ns(t, hak_os_now_ns() - began_ns);
    return recorded;
}

static void *by_bytes(struct hak_thread *t, size_t align, size_t size,
                      bool zero)
{
    size_t want = hak_max(size, 1);
    bool laned = laned_box(want) != NULL;
    double nblocks = hak_sample_bytes_due(t, hak_index_of(want), want, laned);
    size_t offset = laned ? align : 0;
    if (nblocks == 0 || want > PTRDIFF_MAX - align)
        return NULL;
    want += offset;
    char *slot = align > HAK_ALIGN_BYTES
                     ? hak_from_chain_aligned(t, align, want)
                     : hak_from_chain(t, hak_index_of(want), want, zero);
    if (slot == NULL)
        return NULL;
    const struct hak_span *span = hak_directory_get(slot);
    if (offset != 0 && span != NULL)
        hak_sample_bytes_is_in(t, span);
    if (record(t, slot, offset, size, nblocks))
        return slot + offset;
    hak_free(slot);
    return NULL;
}

void hak_sampled_resized(void *p, size_t size_bytes)
{
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) || !hak_samples_bytes())
        return;
    double nblocks =
        hak_sample_bytes_due(t, hak_index_of(size_bytes), size_bytes, false);
    if (nblocks != 0)
        record(t, p, 0, size_bytes, nblocks);
}

void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero)
{
    int kept = errno;
    void *p = NULL;
    if (hak_samples_bytes())
        p = by_bytes(t, align, size, zero);
    if (p == NULL && hak_samples_for_box()) {
        hak_begin_routing(t); /* the box may be about to drain */
        p = from_sampling_box(t, align, size, zero);
        hak_end_routing(t);
    }
    errno = kept;
    return p;
}

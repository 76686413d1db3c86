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

/* Does free() take its slow path for this block, and ask the module? It does
 * unless the address can be the start of a slot. */
static bool free_notices(const char *block)
{
    const struct hak_span *span = hak_directory_get(block);
    return span == NULL || !hak_span_has_slot_at(span, block);
}

/* A slot for size bytes behind offset_bytes. */
static char *take_slot(struct hak_thread *t, size_t offset_bytes, size_t align,
                       size_t size, bool zero)
{
    size_t want = offset_bytes + size;
    char *slot = align > HAK_ALIGN_BYTES
                     ? hak_from_chain_aligned(t, align, hak_max(want, 1))
                     : hak_from_chain(t, hak_index_of(want), want, zero);
    const struct hak_span *span = slot != NULL ? hak_directory_get(slot) : NULL;
    if (offset_bytes != 0 && span != NULL)
        hak_sample_bytes_is_in(t, span);
    return slot;
}

/*
 * Take a slot in which a block of size bytes is noticed by free(). Sets the
 * block's offset. It is 0 if the first box of the chain has no lanes; but that
 * box may decline, and another one of the chain have lanes. There are slots in
 * which no address with this alignment is noticed (smallmid's lists, whose
 * slots may start at any multiple of 16 to 1024). libc serves the block then.
 */
static char *take_noticed(struct hak_thread *t, size_t *offset_bytes,
                          size_t align, size_t size, bool zero)
{
    bool laned = laned_box(hak_max(size, 1)) != NULL;
    for (*offset_bytes = laned ? align : 0;; *offset_bytes = align) {
        char *slot = take_slot(t, *offset_bytes, align, size, zero);
        if (slot == NULL || free_notices(slot + *offset_bytes))
            return slot;
        hak_free(slot);
        if (*offset_bytes != 0)
            break;
    }
    *offset_bytes = 0;
    return hak_from_libc(t, hak_chain_of(hak_index_of(size))->last, align,
                         hak_max(size, 1), zero);
}

static void *by_bytes(struct hak_thread *t, size_t align, size_t size,
                      bool zero, double nblocks)
{
    size_t offset_bytes;
    char *slot = take_noticed(t, &offset_bytes, align, size, zero);
    if (slot == NULL)
        return NULL;
    if (record(t, slot, offset_bytes, size, nblocks))
        return slot + offset_bytes;
    hak_free(slot);
    return NULL;
}

/* 0: the request is not sampled; else the allocations that it stands for. */
static double due(struct hak_thread *t, size_t align, size_t size)
{
    size_t want = hak_max(size, 1);
    if (!hak_samples_bytes() || want > PTRDIFF_MAX - align)
        return 0;
    return hak_sample_bytes_due(t, hak_index_of(want), want,
                                laned_box(want) != NULL);
}

void hak_sampled_resized(void *p, size_t size_bytes)
{
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) || !hak_samples_bytes() || !free_notices(p))
        return;
    double nblocks =
        hak_sample_bytes_due(t, hak_index_of(size_bytes), size_bytes, false);
    if (nblocks != 0)
        record(t, p, 0, size_bytes, nblocks);
}

/* A request of which both samples are due is the sampling box's, and recorded.
 */
void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero)
{
    int kept = errno;
    void *p = NULL;
    double nblocks = due(t, align, size);
    if (hak_samples_for_box()) {
        hak_begin_routing(t); /* the box may be about to drain */
        p = from_sampling_box(t, align, size, zero);
        hak_end_routing(t);
    }
    if (p == NULL && nblocks != 0)
        p = by_bytes(t, align, size, zero, nblocks);
    else if (nblocks != 0 && free_notices(p))
        record(t, p, 0, size, nblocks);
    errno = kept;
    return p;
}

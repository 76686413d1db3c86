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

/* The size of the slot that b gives for size_bytes; 0: b does not say. */
static size_t slot_size(struct hak_loaded *b, size_t size_bytes)
{
    return HAK_BOX_HAS(b, slot_size) ? hak_box_slot_size(b, size_bytes) : 0;
}

/* A block before the program has it. */
struct taken {
    char *slot;
    size_t offset;
    void *proxy; /* or NULL */
};

/* Fill in what the module has to know of a block. */
static struct hak_sample describe(const struct taken *b, size_t size,
                                  double nblocks)
{
    struct hak_span *span;
    const struct hak_loaded *owner = hak_owner_box(b->slot, &span);
    struct hak_loaded *laned = laned_box(hak_max(size, 1));
    return (struct hak_sample){
        .block = b->slot + b->offset,
        .offset_bytes = b->offset,
        .place = b->proxy != NULL ? b->proxy : b->slot,
        .asked_bytes = size,
        .slot_bytes = laned != NULL
                          ? slot_size(laned, hak_max(size, 1))
                          : hak_usable_in("malloc", owner, span, b->slot),
        .nblocks = nblocks,
        .box = owner != NULL ? owner->box.name : "libc",
        .index = hak_index_of(size),
    };
}

/* Tell the module. False: it has no room. */
static bool record(struct hak_thread *t, const struct taken *b, size_t size,
                   double nblocks)
{
    uint64_t began_ns = hak_os_now_ns();
    struct hak_sample s = describe(b, size, nblocks);
    bool recorded = hak_core.sample_ops->allocated(&s);
    hak_sample_bytes_took_ns(t, hak_os_now_ns() - began_ns);
    return recorded;
}

/* Get memory for a sampled request, which is counted already. */
static void *take(struct hak_thread *t, size_t align, size_t size, bool zero)
{
    void *p = align > HAK_ALIGN_BYTES
                  ? hak_from_chain_aligned(t, align, size)
                  : hak_from_chain(t, hak_index_of(size), size, zero);
    const struct hak_span *span = hak_directory_get(p);
    if (span != NULL)
        hak_sample_bytes_is_in(t, span);
    return p;
}

/* Free a slot of these; NULL: there is none. */
static void free_taken(void *slot)
{
    if (slot != NULL)
        hak_free(slot);
}

static void give_back(const struct taken *b)
{
    free_taken(b->slot);
    free_taken(b->proxy);
}

/* Take a block inside of a slot of box b, as in sampled.h. With FEW_BLOCKS the
 * proxies are a sixteenth of the memory. */
static struct taken take_inside(struct hak_thread *t, struct hak_loaded *b,
                                size_t align, size_t size, double nblocks,
                                bool zero)
{
    enum { FEW_BLOCKS = 16 };
    size_t least = slot_size(b, size);
    bool moves = least == 0 || slot_size(b, size + align) != least;
    struct taken out = {.offset = align};
    if (moves && nblocks >= FEW_BLOCKS)
        out.proxy = take(t, align, size, false);
    out.slot = take(t, align, size + align, zero);
    if (out.slot == NULL) {
        give_back(&out);
        return out;
    }
    void **start = (void **)(void *)out.slot;
    start[0] = NULL; /* no mark of a free slot */
    start[1] = out.proxy;
    return out;
}

static void *by_bytes(struct hak_thread *t, size_t align, size_t size,
                      bool zero)
{
    size_t want = hak_max(size, 1);
    struct hak_loaded *laned = laned_box(want);
    struct taken b = {0};
    double nblocks =
        hak_sample_bytes_due(t, hak_index_of(want), want, laned != NULL);
    if (nblocks == 0 || want > PTRDIFF_MAX - align)
        return NULL;
    if (laned != NULL)
        b = take_inside(t, laned, align, want, nblocks, zero);
    else
        b.slot = take(t, align, want, zero);
    if (b.slot == NULL)
        return NULL;
    if (record(t, &b, size, nblocks))
        return b.slot + b.offset;
    give_back(&b);
    return NULL;
}

void *hak_sample_forget_slow(void *p)
{
    int64_t offset = hak_core.sample_ops->freed(p);
    if (offset <= 0)
        return p;
    char *slot = (char *)p - offset;
    free_taken(((void **)(void *)slot)[1]);
    return slot;
}

void hak_sampled_resized(void *p, size_t size_bytes)
{
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) || !hak_samples_bytes())
        return;
    double nblocks =
        hak_sample_bytes_due(t, hak_index_of(size_bytes), size_bytes, false);
    const struct taken b = {.slot = p};
    if (nblocks != 0)
        record(t, &b, size_bytes, nblocks);
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

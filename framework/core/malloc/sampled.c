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
    hak_sample_bytes_timed(t, began_ns);
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

/* Does free() take its slow path for this block, and ask the module? It does
 * unless the address can be the start of a slot. */
static bool free_notices(const struct taken *b)
{
    if (b->slot == NULL)
        return true;
    const char *block = b->slot + b->offset;
    const struct hak_span *span = hak_directory_get(block);
    return span == NULL || !hak_span_has_slot_at(span, block);
}

/*
 * Take a block that free() notices. Boxes without lanes give it as it is. But
 * the first box of the chain may decline, and another one of the chain have
 * lanes. There are slots in which no address with this alignment is noticed
 * (smallmid's lists, whose slots may start at any multiple of 16 to 1024). libc
 * serves the block then.
 */
static struct taken take_noticed(struct hak_thread *t, size_t align,
                                 size_t size, double nblocks, bool zero)
{
    size_t want = hak_max(size, 1);
    struct hak_loaded *laned = laned_box(want);
    struct taken b = {0};
    if (laned == NULL) {
        b.slot = take(t, align, align > HAK_ALIGN_BYTES ? want : size, zero);
        if (free_notices(&b))
            return b;
        laned = hak_loaded_of(hak_directory_get(b.slot)->box);
        give_back(&b);
    }
    b = take_inside(t, laned, align, want, nblocks, zero);
    if (free_notices(&b))
        return b;
    give_back(&b);
    enum hak_fallback last = hak_chain_of(hak_index_of(want))->last;
    return (struct taken){.slot = hak_from_libc(t, last, align, want, zero)};
}

static void *by_bytes(struct hak_thread *t, size_t align, size_t size,
                      bool zero, double nblocks)
{
    struct taken b = take_noticed(t, align, size, nblocks, zero);
    if (b.slot == NULL)
        return NULL;
    if (record(t, &b, size, nblocks))
        return b.slot + b.offset;
    give_back(&b);
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
    const struct taken b = {.slot = p};
    if (!hak_is_attached(t) || !hak_samples_bytes() || !free_notices(&b))
        return;
    double nblocks =
        hak_sample_bytes_due(t, hak_index_of(size_bytes), size_bytes, false);
    if (nblocks != 0)
        record(t, &b, size_bytes, nblocks);
}

/* A request of which both samples are due is the sampling box's, and recorded.
 */
void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero)
{
    int kept = errno;
    struct taken b = {0};
    double nblocks = due(t, align, size);
    if (hak_samples_for_box()) {
        hak_begin_routing(t); /* the box may be about to drain */
        b.slot = from_sampling_box(t, align, size, zero);
        hak_end_routing(t);
    }
    if (b.slot == NULL && nblocks != 0)
        b.slot = by_bytes(t, align, size, zero, nblocks);
    else if (nblocks != 0 && free_notices(&b))
        record(t, &b, size, nblocks);
    errno = kept;
    return b.slot;
}

/* SPDX-License-Identifier: MIT
 * testhost_slots.c - malloc and free as the core does them.
 */
#include <string.h>

#include "testhost_private.h"

#include <kit/span.h>

/* In front of a block of a box that has no usable_size. */
struct header {
    size_t size_bytes;
    size_t offset; /* of the block from its slot */
};

/* ---- checks ------------------------------------------------------------ */

static size_t slot_bytes(struct hak_box *box, const void *p, size_t asked)
{
    const struct hak_span *span = span_at(p);
    size_t by_span = span ? span->slot_bytes : 0;
    size_t by_op = box->ops->usable_size ? box->ops->usable_size(box, p) : 0;
    if (by_span && by_op && by_span != by_op)
        th_die(box, "%p: span says %zu bytes, usable_size %zu", p, by_span,
               by_op);
    return by_op ? by_op : by_span ? by_span : asked;
}

static void check_place(const struct hak_box *box, const void *p)
{
    if ((uintptr_t)p % HAK_ALIGN_BYTES)
        th_die(box, "slot %p is not 16-byte aligned", p);
    if (!th_is_far(box, p) && box_at(p) != box)
        th_die(box, "slot %p is outside the box's mappings", p);
    if (!th_is_far(box, p))
        th_need_open(box, p, 1);
}

/* Checks a slot that the box hands out, and records it. */
static void *accept(struct hak_box *box, void *p, size_t asked)
{
    if (!p)
        return NULL;
    check_place(box, p);
    size_t bytes = slot_bytes(box, p, asked);
    if (bytes < asked)
        th_die(box, "slot %p has %zu bytes, asked %zu", p, bytes, asked);
    if (!th_is_far(box, p) && !th_holds(box, p, bytes))
        th_die(box, "slot %p of %zu bytes ends outside the mappings", p, bytes);
    if (!th.boxes[box->index].residual &&
        (!box->ops->owns(box, p) ||
         !box->ops->owns(box, (char *)p + bytes - 1)))
        th_die(box, "owns() denies slot %p of %zu bytes", p, bytes);
    th_record_out(box, p, bytes);
    return p;
}

/*
 * By the owner: what is out of the span must be within nalloc - nfree. (Not
 * equal: remote frees that the box has not collected yet count as out.)
 */
static void check_counts(const struct hak_span *span, const void *p)
{
    const size_t units = HAK_GRANULE_BYTES / UNIT;
    size_t low = granule_of(p), high = low, out = 0;
    while (low && granule_span(low - 1) == span)
        low--;
    while (high < top() && granule_span(high) == span)
        high++;
    for (size_t u = low * units; u < high * units; u++, out++) {
        u = th_bits_find(th.first_bits, u, high * units);
        if (u == high * units)
            break;
    }
    /* Another thread may have retired a granule of the span meanwhile, and a
     * third one may have slots out of it: then the count says nothing. */
    for (size_t g = low; g < high; g++)
        if (granule_span(g) != span)
            return;
    if (out > span->nalloc - span->nfree)
        th_die(span->box,
               "%zu slots of the span of %p are out, nalloc %llu, "
               "nfree %llu",
               out, p, (unsigned long long)span->nalloc,
               (unsigned long long)span->nfree);
}

/* May slots that granules name the one span for be handed out by the other,
 * which none names? Who frees them then finds the first one. */
static bool may_lend(const struct hak_span *named, const struct hak_span *span)
{
    return named->box == span->box && named->owner == NULL &&
           named->key == span->key && named->slot_bytes == span->slot_bytes;
}

static void check_refilled(const struct hak_box *box,
                           const struct hak_span *span)
{
    if (!span->local)
        th_die(box, "refill: the span has no free slot");
    check_place(box, span->local);
    const struct hak_span *named = span_at(span->local);
    if (!named || (named != span && !may_lend(named, span)))
        th_die(box, "refill: slot %p is not in the span that was returned",
               span->local);
    if (named == span) /* else its counts are another's to read */
        check_counts(named, span->local);
}

/* A free slot of a span, as malloc will have it. */
static void check_mark(const struct hak_box *box, const struct hak_span *span,
                       const void *p)
{
    if ((span->key & HAK_KEY_BITS) != HAK_KEY_BITS)
        th_die(box, "the key of span %p has not HAK_KEY_BITS",
               (const void *)span);
    if (!hak_span_has_slot_at(span, p))
        th_die(box, "slot %p starts where none does, by inverse and start", p);
    if (!hak_slot_is_marked(p, span->key))
        th_die(box, "the free slot %p has no mark", p);
}

/* ---- lanes ------------------------------------------------------------- */

/* lane_first, lane_last bound the lanes of a span; last exclusive, 0: none. */
static void set_lane(struct hak_thread *t, uint32_t index,
                     struct hak_span *span)
{
    t->lane[span->box->index][index] = span;
    if (!span->lane_last || index < span->lane_first)
        span->lane_first = (uint16_t)index;
    if (index >= span->lane_last)
        span->lane_last = (uint16_t)(index + 1);
}

void th_lane_drop(struct hak_span *span)
{
    struct hak_thread *owner = span->owner;
    if (owner && owner != th_me && owner != th_closing)
        th_die(span->box, "lane_drop by a thread that is not the owner");
    if (!owner && span->lane_last)
        th_die(span->box, "lane_drop of a span that has no owner any more");
    for (uint32_t i = span->lane_first; i < span->lane_last; i++)
        if (owner->lane[span->box->index][i] == span)
            owner->lane[span->box->index][i] = NULL;
    span->lane_first = span->lane_last = 0;
}

/* ---- slots from the box ------------------------------------------------ */

static void *slot_direct(struct hak_box *box, size_t need)
{
    return accept(box, box->ops->alloc(box, need), need);
}

static void *slot_from_lane(struct hak_box *box, size_t need)
{
    struct hak_thread *t = th_attach();
    uint32_t index = hak_index_of(need);
    size_t most = hak_index_bytes(index);
    struct hak_span *span = t->lane[box->index][index];
    if (!span || !span->local) {
        void *heap = th_heap(box, true);
        if (!heap)
            return slot_direct(box, need);
        span = box->ops->refill(box, heap, most);
        if (!span)
            return NULL;
        check_refilled(box, span);
        set_lane(t, index, span);
        count(&th.counts.refills);
    }
    if (span->owner != t)
        th_die(box, "the span in the lane of %zu bytes has another owner",
               most);
    void *p = span->local;
    check_place(box, p);
    check_mark(box, span, p);
    return accept(box, hak_span_pop(span), most);
}

static bool has_header(const struct hak_box *box)
{
    return !box->ops->usable_size;
}

/* How many bytes to ask the box for; 0 = more than there can be. */
static size_t needed(const struct hak_box *box, size_t size_bytes, size_t extra)
{
    size_t need = size_bytes ? size_bytes : 1;
    extra += has_header(box) ? HEADER : 0;
    return need > PTRDIFF_MAX || extra > PTRDIFF_MAX - need ? 0 : need + extra;
}

/* The block at (or aligned up in) a slot, now the test's. */
static void *hand_out(struct hak_box *box, char *slot, size_t size_bytes,
                      size_t align_bytes)
{
    if (!slot)
        return NULL;
    th_record_test(box, slot, true);
    if (!has_header(box))
        return slot;
    size_t step = align_bytes > HEADER ? align_bytes : HEADER;
    uintptr_t at = ((uintptr_t)slot + HEADER + step - 1) & ~(step - 1);
    struct header *h = (struct header *)(at - HEADER);
    h->size_bytes = size_bytes;
    h->offset = at - (uintptr_t)slot;
    return (void *)at;
}

static struct hak_box *box_of(const void *p)
{
    struct hak_box *box = box_at(p);
    if (!box)
        th_die(NULL, "test: %p is in no box", p);
    return box;
}

static void *slot_of(const struct hak_box *box, const void *p)
{
    uintptr_t at = (uintptr_t)p;
    if (has_header(box))
        at -= ((const struct header *)(at - HEADER))->offset;
    bool held =
        th_is_far(box, (void *)at)
            ? th_far_box((void *)at, true) == box
            : in_window((void *)at) && bit(th.test_bits, unit_of((void *)at));
    if (!held)
        th_die(box, "test: %p is no live block", p);
    return (void *)at;
}

static void *allocate(struct hak_box *box, size_t size_bytes, size_t align,
                      size_t extra, bool lanes)
{
    size_t need = needed(box, size_bytes, extra);
    if (!need || box->state_now != HAK_BOX_ACTIVE)
        return NULL;
    th_attach();
    void *slot = lanes && box->lanes && need <= HAK_LANE_MAX_BYTES
                     ? slot_from_lane(box, need)
                     : slot_direct(box, need);
    return hand_out(box, slot, size_bytes, align);
}

void *th_malloc(struct hak_box *box, size_t size_bytes)
{
    return allocate(box, size_bytes, 0, 0, true);
}

void *th_alloc_direct(struct hak_box *box, size_t size_bytes)
{
    return allocate(box, size_bytes, 0, 0, false);
}

void *th_zalloc(struct hak_box *box, size_t size_bytes)
{
    size_t need = needed(box, size_bytes, 0);
    if (box->ops->zalloc && need && box->state_now == HAK_BOX_ACTIVE) {
        th_attach();
        void *slot = accept(box, box->ops->zalloc(box, need), need);
        return hand_out(box, slot, size_bytes, 0);
    }
    void *p = th_malloc(box, size_bytes);
    return p ? memset(p, 0, size_bytes) : NULL;
}

/* A slot of a power of two often has its natural alignment; else decline. */
static void *aligned_by_size(struct hak_box *box, size_t align, size_t size)
{
    size_t round = align;
    while (round < size && round <= PTRDIFF_MAX)
        round *= 2;
    void *p = th_malloc(box, round);
    if (p && (uintptr_t)p % align) {
        th_free(p);
        p = NULL;
    }
    return p;
}

void *th_aligned_alloc(struct hak_box *box, size_t align_bytes,
                       size_t size_bytes)
{
    size_t need = needed(box, size_bytes, 0);
    if (align_bytes <= HAK_ALIGN_BYTES)
        return th_malloc(box, size_bytes);
    if (has_header(box))
        return allocate(box, size_bytes, align_bytes, align_bytes, true);
    if (!box->ops->aligned_alloc)
        return aligned_by_size(box, align_bytes, size_bytes);
    if (!need || box->state_now != HAK_BOX_ACTIVE)
        return NULL;
    th_attach();
    void *p = box->ops->aligned_alloc(box, align_bytes, need);
    if ((uintptr_t)p % align_bytes)
        th_die(box, "aligned_alloc(%zu, %zu): %p", align_bytes, need, p);
    accept(box, p, need);
    return hand_out(box, p, size_bytes, align_bytes);
}

/* ops->resize with the records moved along; NULL = p is as before. */
static void *resize(struct hak_box *box, void *p, size_t size_bytes)
{
    size_t need = needed(box, size_bytes, 0);
    char *slot = slot_of(box, p);
    if (!box->ops->resize || !need || box->state_now != HAK_BOX_ACTIVE)
        return NULL;
    if (has_header(box) && (char *)p - slot != HEADER)
        return NULL;
    th_attach();
    th_record_test(box, slot, false);
    size_t old_bytes = th_record_in(box, slot);
    void *moved = box->ops->resize(box, slot, need);
    if (!moved)
        th_record_out(box, slot, old_bytes);
    accept(box, moved, need);
    if (moved)
        return hand_out(box, moved, size_bytes, 0);
    th_record_test(box, slot, true);
    return NULL;
}

void *th_realloc(struct hak_box *box, void *p, size_t size_bytes)
{
    if (!p)
        return th_malloc(box, size_bytes);
    void *moved = resize(box, p, size_bytes);
    if (moved)
        return moved;
    size_t old_bytes = th_usable(p);
    moved = th_malloc(box, size_bytes);
    if (moved) {
        memcpy(moved, p, old_bytes < size_bytes ? old_bytes : size_bytes);
        th_free(p);
    }
    return moved;
}

/* ---- slots back to the box --------------------------------------------- */

static void free_inline(struct hak_span *span, void *p)
{
    if (!hak_span_push(span, p))
        return;
    span->box->ops->triggered(span);
    count(&th.counts.drains);
    if (__atomic_load_n(&span->owner, __ATOMIC_RELAXED) != th_me)
        return; /* given up: nothing of it may be looked at */
    if (span->trigger <= span->nfree && span->nalloc != span->nfree)
        th_die(span->box, "triggered() left trigger at nfree");
    check_counts(span, p);
}

static void free_slot(struct hak_box *box, void *p, bool direct)
{
    struct hak_span *span = box->lanes && !direct ? span_at(p) : NULL;
    th_record_test(box, p, false);
    th_record_in(box, p);
    if (!span) {
        count(&th.counts.slow_frees);
        box->ops->free(box, p);
        return;
    }
    if (span->box != box)
        th_die(box, "span of %p now has box %p", p, (void *)span->box);
    struct hak_thread *owner = __atomic_load_n(&span->owner, __ATOMIC_RELAXED);
    if (owner && owner == th_me) {
        free_inline(span, p);
    } else {
        count(&th.counts.remote_frees);
        box->ops->remote_free(span, p);
    }
}

void th_free(void *p)
{
    if (!p)
        return;
    struct hak_box *box = box_of(p);
    free_slot(box, slot_of(box, p), false);
}

void th_free_direct(void *p)
{
    if (!p)
        return;
    struct hak_box *box = box_of(p);
    free_slot(box, slot_of(box, p), true);
}

size_t th_usable(const void *p)
{
    struct hak_box *box = box_of(p);
    slot_of(box, p);
    if (has_header(box))
        return ((const struct header *)((uintptr_t)p - HEADER))->size_bytes;
    return slot_bytes(box, p, 0);
}

void *th_slot(const void *p)
{
    return slot_of(box_of(p), p);
}

struct hak_box *th_mapper(const void *p)
{
    return box_at(p);
}

struct hak_box *th_owner(const void *p)
{
    struct hak_box *owner = NULL;
    for (uint32_t i = 0; i < th.nboxes; i++) {
        struct hak_box *b = &th.boxes[i].box;
        if (b->state_now == HAK_BOX_LOADED || !b->ops->owns(b, p))
            continue;
        if (owner)
            th_die(b, "claims %p, which box %s claims too", p, owner->name);
        owner = b;
    }
    struct hak_box *far = owner ? NULL : th_far_box(p, false);
    if (far && th.boxes[far->index].residual)
        owner = far; /* what nobody claims */
    return owner;
}

/* SPDX-License-Identifier: MIT
 * three.c - the smallest box: it has only alloc, free and owns.
 *
 * Requests are rounded up to a power of two. Slots of up to 32 KiB are cut
 * from granules, each of which has slots of one class. A larger request gets
 * granules of its own. A table in metadata has an entry for each granule of the
 * window, so slots need no headers:
 *
 *     kind[granule]   0: not ours; 1 + class; LARGE + number of granules
 *
 * The free list of a class is a Treiber stack. A lock would need a fork
 * operation, to release it in the child if another thread held it. The head of
 * the stack has a tag that every change increments. It prevents the ABA
 * problem: a slot that is popped and pushed again between another thread's load
 * of the head and its exchange.
 *
 *     head   | tag: 24 bits | slot: 40 bits, 16-byte units from the window |
 *            0 = empty; the first unit is 1
 */
#include "hakmem/box.h"

/* Class c has slots of 16 << c bytes, c = 0..11. */
enum { CLASSES = 12, LARGE = 64, SLOT_BITS = 40 };
#define SLOT_MAX_BYTES ((size_t)16 << (CLASSES - 1))

struct three {
    uint64_t head[CLASSES];
    uint32_t kind[];
};

/* The state of the box. There is no init, so the first alloc makes it. If
 * several threads do so at once, the metadata of all but one is lost. */
static struct three *state_of(struct hak_box *box, bool make)
{
    void *state = __atomic_load_n(&box->state, __ATOMIC_ACQUIRE);
    if (state || !make)
        return state;
    size_t granules = box->host->window_bytes >> HAK_GRANULE_SHIFT;
    void *made = box->host->meta(box, sizeof(struct three) +
                                          granules * sizeof(uint32_t));
    if (made && __atomic_compare_exchange_n(&box->state, &state, made, false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    return state;
}

/* ---- the table of granules --------------------------------------------- */

static uint32_t *kind_at(struct hak_box *box, struct three *t, const void *p)
{
    return &t->kind[((uintptr_t)p - box->host->window_base) >>
                    HAK_GRANULE_SHIFT];
}

static void set_kind(struct hak_box *box, struct three *t, char *p,
                     size_t bytes, size_t kind)
{
    for (size_t at = 0; at < bytes; at += HAK_GRANULE_BYTES)
        __atomic_store_n(kind_at(box, t, p + at), (uint32_t)kind,
                         __ATOMIC_RELEASE);
}

static bool three_owns(struct hak_box *box, const void *p)
{
    struct three *t = state_of(box, false);
    uintptr_t offset = (uintptr_t)p - box->host->window_base;
    return t && offset < box->host->window_bytes &&
           __atomic_load_n(kind_at(box, t, p), __ATOMIC_ACQUIRE) != 0;
}

/* ---- the stacks -------------------------------------------------------- */

static void *slot_at(struct hak_box *box, uint64_t head)
{
    uint64_t unit = head & ((1ull << SLOT_BITS) - 1);
    return unit ? (void *)(box->host->window_base + (unit - 1) * 16) : NULL;
}

static uint64_t head_for(struct hak_box *box, const void *p, uint64_t old)
{
    uint64_t tag = (old >> SLOT_BITS) + 1;
    uint64_t unit = p ? ((uintptr_t)p - box->host->window_base) / 16 + 1 : 0;
    return tag << SLOT_BITS | unit;
}

/* Push a list of slots, which are linked from first to last already. */
static void push(struct hak_box *box, uint64_t *head, void *first, void *last)
{
    uint64_t old = __atomic_load_n(head, __ATOMIC_RELAXED);
    do
        __atomic_store_n((void **)last, slot_at(box, old), __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(head, &old, head_for(box, first, old),
                                        true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

/* The slot may have been handed out meanwhile, and next is then data of the
 * program. The exchange fails in this case, because the tag has changed. */
static void *pop(struct hak_box *box, uint64_t *head)
{
    uint64_t old = __atomic_load_n(head, __ATOMIC_ACQUIRE), fresh;
    void *p;
    do {
        p = slot_at(box, old);
        if (!p)
            return NULL;
        void *next = __atomic_load_n((void **)p, __ATOMIC_RELAXED);
        fresh = head_for(box, next, old);
    } while (!__atomic_compare_exchange_n(head, &old, fresh, true,
                                          __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE));
    return p;
}

/* ---- operations -------------------------------------------------------- */

static void *alloc_large(struct hak_box *box, struct three *t, size_t size)
{
    size_t bytes = (size + HAK_GRANULE_BYTES - 1) & ~(HAK_GRANULE_BYTES - 1);
    void *p = box->host->map(box, bytes, 0, 0);
    if (p)
        set_kind(box, t, p, bytes, LARGE + (bytes >> HAK_GRANULE_SHIFT));
    return p;
}

/* Map a granule for class c. Returns its first slot and frees the others. */
static void *carve(struct hak_box *box, struct three *t, uint32_t c)
{
    size_t size = (size_t)16 << c;
    char *p = box->host->map(box, HAK_GRANULE_BYTES, 0, 0);
    if (!p)
        return NULL;
    set_kind(box, t, p, HAK_GRANULE_BYTES, 1 + c);
    char *last = p + HAK_GRANULE_BYTES - size;
    for (char *at = p + size; at < last; at += size)
        *(void **)at = at + size;
    push(box, &t->head[c], p + size, last);
    return p;
}

static void *three_alloc(struct hak_box *box, size_t size_bytes)
{
    struct three *t = state_of(box, true);
    uint32_t c = 0;
    if (!t)
        return NULL;
    if (size_bytes > SLOT_MAX_BYTES)
        return alloc_large(box, t, size_bytes);
    while ((size_t)16 << c < size_bytes)
        c++;
    void *p = pop(box, &t->head[c]);
    return p ? p : carve(box, t, c);
}

static void three_free(struct hak_box *box, void *p)
{
    struct three *t = state_of(box, false);
    uint32_t kind = __atomic_load_n(kind_at(box, t, p), __ATOMIC_ACQUIRE);
    if (kind < LARGE) {
        push(box, &t->head[kind - 1], p, p);
        return;
    }
    size_t bytes = (size_t)(kind - LARGE) << HAK_GRANULE_SHIFT;
    set_kind(box, t, p, bytes,
             0); /* before unmap: another thread may get the granules at once */
    box->host->unmap(box, p, bytes);
}

#ifndef THREE_NO_ENTRY /* boxes that include this file define an entry */
HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("three", "1.0"),
    .summary = "the smallest box: a free list for each power of two",
    .ops = {.alloc = three_alloc, .free = three_free, .owns = three_owns},
};
#endif

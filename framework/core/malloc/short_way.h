/* SPDX-License-Identifier: MIT
 * short_way.h - short slow paths for `quick` boxes, which have no lanes.
 *
 * Each malloc and free of such a box is a slow path, so these functions leave
 * out what other slow paths do for lanes. One call in SHORT_TRIPS takes the
 * full slow path instead, so that ticks, parcels and modules get their turn. A
 * thread that is abroad or has not attached always takes the full slow path. No
 * box is quick while calls of boxes are noted ([core] blame).
 */
#ifndef HAKMEM_MALLOC_SHORT_WAY_H
#define HAKMEM_MALLOC_SHORT_WAY_H

#include <core/malloc/routing.h>
#include <core/memory/boot.h>
#include <core/memory/libc.h>
#include <core/state/directory.h>
#include <core/state/ops.h>

enum { SHORT_TRIPS = 64 };

/* Get a slot from the first box of the chain. NULL: take the full slow path. */
static inline void *alloc_by_chain(struct hak_thread *t, size_t size, bool zero)
{
    struct hak_loaded *b = hak_chain_of(hak_index_of(size))->box[0];
    if (b == NULL || !b->quick || ++t->trips % SHORT_TRIPS == 0 ||
        (zero && !HAK_BOX_HAS(b, zalloc)))
        return NULL;
    int kept = *t->error;
    t->abroad = b->foreign;
    void *p = zero ? hak_quick_zalloc(b, size) : hak_quick_alloc(b, size);
    t->abroad = 0;
    *t->error = kept;
    if (likely(p != NULL))
        hak_count(&t->count[b->box.index].allocs, 1);
    return p;
}

/* malloc by the short path. t: the calling thread, attached or not. zero: every
 * usable byte has to be zero. NULL: take the full slow path. Keeps errno. */
static inline void *hak_alloc_short(struct hak_thread *t, size_t size,
                                    bool zero)
{
    if (!hak_goes_abroad() || t->abroad != 0 || hak_watches() ||
        size - 1 >= PTRDIFF_MAX)
        return NULL;
    hak_begin_routing(t);
    void *p = alloc_by_chain(t, size, zero);
    hak_end_routing(t);
    return p;
}

/* Free p, a slot of the quick box b. t: attached, and not abroad. Keeps errno.
 */
static inline void hak_free_short(struct hak_thread *t, struct hak_loaded *b,
                                  void *p)
{
    int kept = *t->error;
    t->abroad = b->foreign;
    hak_quick_free(b, p);
    t->abroad = 0;
    *t->error = kept;
    /* Last: a box whose last block was counted may be closed. */
    hak_count(&t->count[b->box.index].frees, 1);
}

/* The box hak_boxes.sole, if p is its slot and t may call it by the short path;
 * else NULL. Any p. */
static inline struct hak_loaded *hak_short_owner(const struct hak_thread *t,
                                                 const void *p)
{
    struct hak_loaded *b =
        hak_goes_abroad() && !hak_asks_frees()
            ? __atomic_load_n(&hak_boxes.sole, __ATOMIC_ACQUIRE)
            : NULL;
    if (likely(b == NULL) || t->abroad != 0 || p == NULL ||
        hak_directory_in_window(p) || hak_boot_owns(p) ||
        (hak_libc_keeps() && hak_libc_owns(p)))
        return NULL;
    return b->residual || (!b->now->untrusted && hak_quick_owns(b, p)) ? b
                                                                       : NULL;
}

/* realloc by the box, which decides whether p stays in place. NULL: take the
 * full slow path, p is unchanged. Keeps errno. */
static inline void *hak_realloc_short(struct hak_thread *t, void *p,
                                      size_t size)
{
    struct hak_loaded *b = hak_short_owner(t, p);
    if (b == NULL || !HAK_BOX_HAS(b, resize) ||
        hak_chain_of(hak_index_of(size))->box[0] != b)
        return NULL;
    int kept = *t->error;
    t->abroad = 1;
    p = hak_quick_resize(b, p, size);
    t->abroad = 0;
    *t->error = kept;
    return p;
}

#endif

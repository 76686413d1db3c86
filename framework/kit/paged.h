/* SPDX-License-Identifier: MIT
 * paged.h - kit layer 11: the operations of a box that is made of pages.
 *
 * Boxes whose slots all lie in pages of the kit differ in two things: which
 * size class serves a request, and where a page's memory comes from. For the
 * memory there is struct hak_heaps_ops (heap.h). For the size class, and for
 * the way from an address to its page, the box defines three functions that are
 * declared here. They are static inline, so that the compiler can inline them
 * into refill and the calls without lanes.
 *
 * Include this file in the one source file that has the box's hak_box_entry:
 *
 *     struct mine {
 *         struct hak_heaps heaps;          first
 *         struct table table;
 *     };
 *
 *     static uint32_t box_class_of(...)    and the other two
 *
 *     HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
 *         HAK_BOX_HEADER("mine", "1.0"),
 *         .ops = {HAK_PAGED_OPS, HAK_PAGED_CALLS, .owns = hak_paged_owns,
 *                 .init = mine_init, .trim = mine_trim, .stats = mine_stats},
 *     };
 *
 * The box itself provides
 *   init       fills in `heaps` and sets box->state last
 *   owns       if the box has other memory than its pages
 *   trim       calls hak_heap_trim
 *   stats      calls hak_heaps_stats
 *   shrink     calls hak_heaps_shrink
 *   get_extension  is hak_paged_extension, unless the box has other extensions
 *   heap_park  is hak_heap_park, or NULL: then a heap is parked as it is
 */
#ifndef HAK_KIT_PAGED_H
#define HAK_KIT_PAGED_H

#include "lost.h"

/* ---- what the box defines ------------------------------------------------ */

/*
 * The first class whose slots have size_bytes or more and lie at multiples of
 * align_bytes.
 * size_bytes   any
 * align_bytes  a power of two; the constant 1: any slot will do
 * Returns      the class; HAK_CLASS_NONE = there is none
 */
static inline uint32_t box_class_of(const struct hak_box *box,
                                    size_t size_bytes, size_t align_bytes);

/* Bytes of each slot of the class. */
static inline uint32_t box_slot_bytes(const struct hak_box *box,
                                      uint32_t class_number);

/* The page in use that p is in, or NULL. p: any value. Takes no lock. */
static inline struct hak_page *box_page_of(const struct hak_box *box,
                                           const void *p);

/* For box_class_of, where class n has slots of (n + 1) * 16 bytes, up to `most`
 * bytes. Slots of a multiple of an alignment have it: HAK_PAGE_COLOR. */
static inline uint32_t hak_class_by_16(size_t size_bytes, size_t align_bytes,
                                       size_t most)
{
    if (size_bytes > most || align_bytes > most)
        return HAK_CLASS_NONE;
    size_t bytes = hak_round_up(size_bytes, align_bytes);
    return bytes == 0 ? 0 : hak_index_of(bytes) - 1;
}

/* ---- operations ---------------------------------------------------------- */

static inline struct hak_heaps *hak_paged_heaps(const struct hak_box *box)
{
    return box->state; /* its first member */
}

static inline void *hak_paged_heap_open(struct hak_box *box,
                                        struct hak_thread *thread)
{
    struct hak_heaps *all = hak_paged_heaps(box);
    HAK_ALWAYS(all->box == box); /* box->state must begin with hak_heaps */
    return hak_heap_open(all, thread);
}

static inline struct hak_span *hak_paged_refill(struct hak_box *box, void *heap,
                                                size_t size_bytes)
{
    uint32_t class_number = box_class_of(box, size_bytes, 1);
    if (unlikely(class_number == HAK_CLASS_NONE))
        return NULL;
    return hak_heap_refill(heap, class_number);
}

static inline size_t hak_paged_slot_size(struct hak_box *box, size_t size_bytes)
{
    uint32_t class_number = box_class_of(box, size_bytes, 1);
    return class_number == HAK_CLASS_NONE ? 0
                                          : box_slot_bytes(box, class_number);
}

static inline bool hak_paged_owns(struct hak_box *box, const void *p)
{
    return box_page_of(box, p) != NULL;
}

static inline void hak_paged_fork(struct hak_box *box,
                                  enum hak_fork_phase phase)
{
    hak_heaps_fork(hak_paged_heaps(box), phase);
}

static inline void hak_paged_visit_slots(struct hak_box *box, hak_visit *visit,
                                         void *context)
{
    hak_heaps_visit(hak_paged_heaps(box), visit, context);
}

static inline void hak_paged_age(struct hak_box *box)
{
    hak_heaps_age(hak_paged_heaps(box));
}

/* The operations that every box made of pages has. */
#define HAK_PAGED_OPS                                                     \
    .heap_open = hak_paged_heap_open, .heap_close = hak_heap_close,       \
    .heap_lost = hak_heap_lost, .refill = hak_paged_refill,               \
    .triggered = hak_heap_triggered, .remote_free = hak_heap_remote_free, \
    .slot_size = hak_paged_slot_size, .fork = hak_paged_fork,             \
    .visit_slots = hak_paged_visit_slots, .age = hak_paged_age

/* ---- figures by class ---------------------------------------------------- */

/* Fill in all classes of the box, one row each. */
static inline void hak_paged_fill_classes(struct hak_box *box,
                                          struct hak_class *out)
{
    const struct hak_heaps *all = hak_paged_heaps(box);
    for (uint32_t c = 0; c < all->nclasses; c++)
        out[c].slot_bytes = box_slot_bytes(box, c);
    hak_heaps_classes(all, out);
}

/* hak_classes_1.read, for a box that keeps no slots beside its heaps. */
static inline uint32_t hak_paged_read_classes(struct hak_box *box,
                                              struct hak_class *out, uint32_t n)
{
    uint32_t nclasses = hak_paged_heaps(box)->nclasses;
    HAK_ALWAYS(nclasses <= n);
    hak_paged_fill_classes(box, out);
    return hak_classes_merge(out, nclasses);
}

/* ops->get_extension, for such a box. */
static inline const void *hak_paged_extension(struct hak_box *box,
                                              const char *id)
{
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = hak_paged_read_classes,
    };
    (void)box;
    return strcmp(id, HAK_CLASSES_1) == 0 ? &classes : NULL;
}

/* ---- calls without lanes ------------------------------------------------- */

static inline void *hak_paged_alloc_class(struct hak_box *box,
                                          uint32_t class_number)
{
    if (class_number == HAK_CLASS_NONE)
        return NULL;
    struct hak_heap *heap = box->host->heap(box, true);
    return heap == NULL ? NULL : hak_heap_alloc(heap, class_number);
}

static inline void *hak_paged_alloc(struct hak_box *box, size_t size_bytes)
{
    return hak_paged_alloc_class(box, box_class_of(box, size_bytes, 1));
}

static inline void *hak_paged_aligned_alloc(struct hak_box *box,
                                            size_t align_bytes,
                                            size_t size_bytes)
{
    return hak_paged_alloc_class(box,
                                 box_class_of(box, size_bytes, align_bytes));
}

/* The page of p, which is being freed. Aborts if there is none. */
static inline struct hak_page *hak_paged_expect_page(struct hak_box *box,
                                                     const void *p)
{
    struct hak_page *page = box_page_of(box, p);
    if (unlikely(page == NULL))
        hak_free_refused(box, p, HAK_WHY_NO_PAGE, NULL, 0);
    return page;
}

static inline void hak_paged_free(struct hak_box *box, void *p)
{
    struct hak_page *page = hak_paged_expect_page(box, p);
    hak_heap_free(box->host->heap(box, false), page, p);
}

static inline size_t hak_paged_usable_size(struct hak_box *box, const void *p)
{
    return hak_page_usable(box_page_of(box, p), p);
}

/* The calls without lanes, for a box that keeps no slots beside its heaps. */
#define HAK_PAGED_CALLS                                                 \
    .alloc = hak_paged_alloc, .aligned_alloc = hak_paged_aligned_alloc, \
    .free = hak_paged_free, .usable_size = hak_paged_usable_size

#endif

/* SPDX-License-Identifier: MIT
 * visit.h - kit layer 7: the figures of all heaps of a box, and visits of their
 * live slots.
 */
#ifndef HAK_KIT_VISIT_H
#define HAK_KIT_VISIT_H

#include "orphan.h"

/* ---- statistics and walks ---- */

static inline uint64_t hak_heaps_kept(const struct hak_heaps *all)
{
    uint64_t bytes = 0;
    const struct hak_heap *heap =
        __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        bytes += hak_counted(&heap->kept_bytes);
    return bytes;
}

static inline void hak_heaps_stats(const struct hak_heaps *all,
                                   struct hak_box_stats *out)
{
    const struct hak_page *page =
        __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next) {
        /* Before nalloc, so that frees are never more than allocs. */
        uint64_t frees = hak_page_frees(page);
        uint64_t allocs = __atomic_load_n(&page->span.nalloc, __ATOMIC_ACQUIRE);
        out->allocs += allocs;
        out->frees += frees;
        out->live_count += allocs - frees;
        out->live_bytes += (allocs - frees) * page->span.slot_bytes;
    }
    out->peak_bytes = hak_counted(&all->peak_bytes);
    const struct hak_heap *heap =
        __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        out->retired_pages += hak_counted(&heap->retired);
        out->adopted_pages += hak_counted(&heap->adopted);
    }
}

/* ---- figures by class ---- */

/*
 * Add what the page did for the class that it serves. If it changes its class
 * meanwhile, nothing is added: hak_heap_count_class. frees is loaded before
 * nalloc, so that frees are never more than allocs.
 */
static inline void hak_page_add_to_class(const struct hak_page *page,
                                         struct hak_class *out)
{
    uint32_t c = __atomic_load_n(&page->counted_class, __ATOMIC_ACQUIRE);
    uint64_t frees = hak_page_frees(page) -
                     __atomic_load_n(&page->counted_nfree, __ATOMIC_RELAXED);
    uint64_t allocs = __atomic_load_n(&page->span.nalloc, __ATOMIC_ACQUIRE) -
                      __atomic_load_n(&page->counted_nalloc, __ATOMIC_RELAXED);
    if (__atomic_load_n(&page->counted_class, __ATOMIC_RELAXED) != c ||
        frees > allocs)
        return;
    out[c].allocs += allocs;
    out[c].frees += frees;
}

static inline void hak_heaps_add_kept(const struct hak_heaps *all,
                                      struct hak_class *out)
{
    const struct hak_heap *heap =
        __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        for (uint32_t c = 0; c < all->nclasses; c++)
            out[c].cached_bytes +=
                __atomic_load_n(&heap->bin[c].kept_bytes, __ATOMIC_RELAXED);
}

/* The figures of a class, now that its pages are added up. */
static inline void hak_class_finish(struct hak_class_figures *figures,
                                    struct hak_class *out)
{
    out->live_count = out->allocs - out->frees;
    out->live_bytes = out->live_count * out->slot_bytes;
    out->mapped_bytes += hak_counted(&figures->in_use_bytes);
    out->allocs = hak_count_told(&figures->told_allocs, out->allocs);
    out->frees = hak_count_told(&figures->told_frees, out->frees);
}

/*
 * Fill in out[c] for each class c of the box. The caller has set slot_bytes,
 * and the other members to 0.
 * past_allocs is loaded before the pages are visited. If a page changes its
 * class meanwhile, the sum is then too small, not too large, and the figure
 * that is told stays as it was.
 */
static inline void hak_heaps_classes(const struct hak_heaps *all,
                                     struct hak_class *out)
{
    struct hak_class_figures *figures =
        __atomic_load_n(&all->figures, __ATOMIC_ACQUIRE);
    const struct hak_page *page =
        __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    if (figures == NULL) /* no heap was ever made */
        return;
    for (uint32_t c = 0; c < all->nclasses; c++)
        out[c].allocs = out[c].frees =
            __atomic_load_n(&figures[c].past_allocs, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next)
        hak_page_add_to_class(page, out);
    hak_heaps_add_kept(all, out);
    for (uint32_t c = 0; c < all->nclasses; c++)
        hak_class_finish(&figures[c], &out[c]);
}

/* Add up classes whose slots have the same size. Returns how many are left. */
static inline uint32_t hak_classes_merge(struct hak_class *out, uint32_t n)
{
    uint32_t have = 0;
    for (uint32_t c = 0; c < n; c++) {
        uint32_t at = 0;
        while (at < have && out[at].slot_bytes != out[c].slot_bytes)
            at++;
        if (at == have) {
            out[have++] = out[c];
            continue;
        }
        out[at].allocs += out[c].allocs;
        out[at].frees += out[c].frees;
        out[at].live_count += out[c].live_count;
        out[at].live_bytes += out[c].live_bytes;
        out[at].mapped_bytes += out[c].mapped_bytes;
        out[at].cached_bytes += out[c].cached_bytes;
    }
    return have;
}

/* Most slots of a page that can be visited. */
enum { HAK_PAGE_SLOTS_MAX = 4096 };

static inline void hak_page_mark(const struct hak_page *page, const void *list,
                                 uint64_t *is_free)
{
    for (uint32_t n = 0; list != NULL && n < page->carved; n++) {
        size_t i =
            (size_t)((const char *)list - page->start) / page->span.slot_bytes;
        is_free[i >> 6] |= 1ull << (i & 63);
        list = hak_slot_next(list, page->span.key);
    }
}

/* ops->fork: take or release the locks of the heaps, in lock order (heap.h). */
static inline void hak_heaps_fork(struct hak_heaps *all,
                                  enum hak_fork_phase phase)
{
    hak_lock_fork(&all->absent, phase);
    hak_lock_fork(&all->common_lock, phase);
    hak_lock_fork(&all->lock, phase);
    if (all->box_lock != NULL)
        hak_lock_fork(all->box_lock, phase);
}

/* Set the bits of all free slots of the page: on its lists, or asleep. */
static inline void hak_page_mark_free(const struct hak_page *page,
                                      uint64_t *is_free)
{
    hak_page_mark(page, page->span.local, is_free);
    hak_page_mark(page, hak_remote_head(page->remote), is_free);
    uint64_t map = page->asleep | hak_page_remote_asleep(page);
    for (; map != 0; map &= map - 1) {
        struct hak_group group =
            hak_page_group(page, (uint32_t)__builtin_ctzll(map));
        hak_bits_set(is_free, group.first, group.end - group.first);
    }
}

/* Returns false: visit has stopped. */
static inline bool hak_page_visit(const struct hak_heaps *all,
                                  const struct hak_page *page, hak_visit *visit,
                                  void *context)
{
    uint64_t is_free[HAK_PAGE_SLOTS_MAX / 64] = {0};
    hak_page_mark_free(page, is_free);
    if (all->ops->own_mark != NULL)
        all->ops->own_mark(page, is_free);
    for (uint32_t i = 0; i < page->carved; i++)
        if (!(is_free[i >> 6] >> (i & 63) & 1) &&
            !visit(context, page->start + (size_t)i * page->span.slot_bytes,
                   page->span.slot_bytes))
            return false;
    return true;
}

static inline void hak_heaps_visit(const struct hak_heaps *all,
                                   hak_visit *visit, void *context)
{
    const struct hak_page *page =
        __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next)
        if (page->state != HAK_PAGE_FREE &&
            !hak_page_visit(all, page, visit, context))
            return;
}

#endif

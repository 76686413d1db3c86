/* SPDX-License-Identifier: MIT
 * cold.c - the two ways between threads and the shared segments.
 */
#include "mid_v35.h"

static struct mid_v35 *mid_v35_of_heap(const struct hak_heap *heap)
{
    return hak_container_of(heap->all, struct mid_v35, heaps);
}

struct hak_page *refill_page(struct hak_heap *heap, uint32_t class_number)
{
    struct mid_v35 *m = mid_v35_of_heap(heap);
    segments_tick(&m->segments);
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    struct segment_page *entry = segments_take(&m->segments);
    if (entry == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    hak_page_init(page, segment_page_at(entry), HAK_GRANULE_BYTES,
                  m->classes.slot_bytes[class_number], class_number);
    page->source = entry;
    __atomic_store_n(&entry->page, page, __ATOMIC_RELEASE);
    hak_heap_enter(heap, page, HAK_GRANULE_BYTES);
    return page;
}

void retire_page(struct hak_heap *heap, struct hak_page *page)
{
    struct mid_v35 *m = mid_v35_of_heap(heap);
    struct hak_box *box = heap->all->box;
    struct segment_page *entry = page->source;
    bool written = page->carved != 0;
    box->host->span_set(box, NULL, hak_page_memory(page), HAK_GRANULE_BYTES);
    __atomic_store_n(&entry->page, NULL, __ATOMIC_RELEASE);
    hak_heap_spare(heap, page);
    segments_put(&m->segments, entry, written);
    segments_tick(&m->segments);
}

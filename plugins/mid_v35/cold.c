/* SPDX-License-Identifier: MIT
 * cold.c - the two ways between threads and the shared segments.
 */
#include "mid_v35.h"

static struct mid_v35 *mid_v35_of_heap(const struct hak_heap *heap)
{
    return hak_container_of(heap->all, struct mid_v35, heaps);
}

/* The page gives up its memory; the struct stays the heap's. */
static void leave(struct hak_heap *heap, struct hak_page *page)
{
    hak_chunks_give(&mid_v35_of_heap(heap)->segments, page->source,
                    hak_page_memory(page), page->carved != 0);
    hak_heap_spare(heap, page);
}

struct hak_page *refill_page(struct hak_heap *heap, uint32_t class_number)
{
    struct mid_v35 *m = mid_v35_of_heap(heap);
    hak_chunks_tick(&m->segments);
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    struct hak_chunk *segment;
    char *start = hak_chunks_take(&m->segments, &segment);
    if (start == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    hak_page_init(page, start, HAK_GRANULE_BYTES,
                  m->classes.slot_bytes[class_number], class_number);
    page->source = segment;
    hak_map_set(&m->segments.holders, start, HAK_GRANULE_BYTES, page);
    hak_heap_enter(heap, page, HAK_GRANULE_BYTES);
    return page;
}

void retire_page(struct hak_heap *heap, struct hak_page *page)
{
    struct mid_v35 *m = mid_v35_of_heap(heap);
    struct hak_box *box = heap->all->box;
    box->host->span_set(box, NULL, hak_page_memory(page), HAK_GRANULE_BYTES);
    leave(heap, page);
    hak_chunks_tick(&m->segments);
}

/* SPDX-License-Identifier: MIT
 * test_ultra.h - helpers that the tests of box ultra share; they see its pages.
 */
#ifndef HAK_TEST_ULTRA_H
#define HAK_TEST_ULTRA_H

#include "own_box.h"
#include "random.h"

#include <kit/lost.h>

enum { GRANULE = HAK_GRANULE_BYTES, LEAST = 16, MOST = 1024 };

/* Open a new instance of the box; params are "key=value" texts. */
#define OPEN(flags, ...) OPEN_OWN("ultra", flags __VA_OPT__(, ) __VA_ARGS__)

static inline struct hak_heaps *heaps_of(const struct hak_box *box)
{
    return box->state; /* the first member of the box's state */
}

static inline struct hak_page *page_of(const void *p)
{
    struct hak_span *span = th_host()->span_of(p);
    if (span == NULL)
        test_fail(__FILE__, __LINE__, "%p is in no page", p);
    return hak_container_of(span, struct hak_page, span);
}

/* Slots of more than 256 and 512 bytes have pages of 2 and 4 granules. */
static inline size_t page_bytes(size_t slot_bytes)
{
    return (slot_bytes > 512 ? 4u : slot_bytes > 256 ? 2u : 1u) * GRANULE;
}

/* Bytes from the start of a page's memory to its first slot. */
static inline size_t page_color(size_t slot_bytes)
{
    uint32_t bytes = (uint32_t)slot_bytes;
    return HAK_PAGE_COLOR(bytes, bytes / LEAST - 1);
}

static inline size_t slots_a_page(size_t slot_bytes)
{
    return (page_bytes(slot_bytes) - page_color(slot_bytes)) / slot_bytes;
}

static inline struct hak_box_stats stats_of(struct hak_box *box)
{
    return th_stats(box);
}

/* Check every page. No other thread may use the box meanwhile. */
static inline void check_pages(struct hak_box *box)
{
    uint64_t live = 0;
    for (const struct hak_page *page = heaps_of(box)->all_pages; page != NULL;
         page = page->all_next) {
        uint32_t out = hak_page_out(page);
        uint32_t remote = hak_remote_length(page->remote);
        if (page->state == HAK_PAGE_FREE)
            EXPECT_EQ(out, 0);
        else
            hak_page_check(page);
        EXPECT_LE(remote, out);
        live += out - remote;
    }
    EXPECT_EQ(live, th_live(box, true));
    EXPECT_EQ(stats_of(box).live_count, live);
}

static inline size_t count_heaps(struct hak_box *box)
{
    size_t n = 0;
    for (const struct hak_heap *h = heaps_of(box)->all_heaps; h != NULL;
         h = h->all_next)
        n++;
    return n;
}

static inline size_t count_structs(struct hak_box *box)
{
    size_t n = 0;
    for (const struct hak_page *page = heaps_of(box)->all_pages; page != NULL;
         page = page->all_next)
        n++;
    return n;
}

#endif

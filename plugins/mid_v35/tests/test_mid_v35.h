/* SPDX-License-Identifier: MIT
 * test_mid_v35.h - what the tests of the mid_v35 box share: its state, from
 * inside.
 */
#ifndef HAK_TEST_MID_V35_H
#define HAK_TEST_MID_V35_H

#include "mid_v35.h"
#include "own_box.h"
#include "random.h"

enum {
    GRANULE = HAK_GRANULE_BYTES,
    MOST = HAK_SMALL_MAX_BYTES,
    SLOTS_1K = GRANULE / 1024,
    SEGMENT_1K = SEGMENT_PAGES * SLOTS_1K,
};

/* A new instance; params are "key=value" texts. */
#define OPEN(flags, ...) OPEN_OWN("mid_v35", flags __VA_OPT__(, ) __VA_ARGS__)

static void *block[1 << 16];

static inline struct hak_box_stats stats_of(struct hak_box *box)
{
    return th_stats(box);
}

/* While no other thread works with the box: everything is sound. */
static inline void check(struct hak_box *box)
{
    const struct mid_v35 *m = mid_v35_of(box);
    uint64_t live = 0;
    hak_chunks_check(&m->segments);
    for (const struct hak_page *page = m->heaps.all_pages; page != NULL;
         page = page->all_next) {
        uint32_t remote = hak_remote_length(page->remote);
        if (page->state == HAK_PAGE_FREE) {
            EXPECT_EQ(hak_page_out(page), 0);
            continue;
        }
        hak_page_check(page);
        EXPECT(hak_map_get(&m->segments.holders, page->start) == page);
        EXPECT_LE(remote, hak_page_out(page));
        live += hak_page_out(page) - remote;
    }
    EXPECT_EQ(live, th_live(box, true));
    EXPECT_EQ(stats_of(box).live_count, live);
    EXPECT_EQ(count_visited(box), live);
}

static inline struct hak_page *page_of(struct hak_box *box, const void *p)
{
    struct hak_page *page = hak_map_get(&mid_v35_of(box)->segments.holders, p);
    if (page == NULL)
        test_fail(__FILE__, __LINE__, "%p is in no page", p);
    return page;
}

static inline const struct hak_chunk *segment_of(struct hak_box *box,
                                                 const void *p)
{
    return page_of(box, p)->source;
}

static inline int nfree(const struct hak_chunk *segment)
{
    return __builtin_popcount(segment->free);
}

#endif

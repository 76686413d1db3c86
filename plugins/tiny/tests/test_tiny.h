/* SPDX-License-Identifier: MIT
 * test_tiny.h - what the tests of the tiny box share: its state, from inside.
 */
#ifndef HAK_TEST_TINY_H
#define HAK_TEST_TINY_H

#include "own_box.h"
#include "random.h"

#include "tiny.h"

enum { LEAST = 16, MOST = 128 };

/* A new instance; params are "key=value" texts. */
#define OPEN(flags, ...) OPEN_OWN("tiny", flags __VA_OPT__(, ) __VA_ARGS__)

static inline struct tiny *state_of(const struct hak_box *box)
{
    return box->state;
}

static inline struct hak_page *page_of(const struct hak_box *box, const void *p)
{
    struct hak_page *page = page_at(state_of(box), p);
    if (page == NULL)
        test_fail(__FILE__, __LINE__, "%p is in no page", p);
    return page;
}

static inline struct hak_box_stats stats_of(struct hak_box *box)
{
    return th_stats(box);
}

static inline struct hak_magazine_counts counts_of(struct hak_box *box,
                                                   size_t bytes)
{
    const struct hak_magazine_extension *extension =
        box->ops->get_extension(box, HAK_MAGAZINE_EXTENSION);
    struct hak_magazine_counts counts;
    EXPECT(extension != NULL);
    extension->snapshot(box, (uint32_t)(bytes - 1) / LEAST, &counts);
    return counts;
}

static inline bool count_live_visit(void *context, void *p, size_t slot_bytes)
{
    EXPECT(th_usable(p) == slot_bytes); /* aborts unless p is live */
    ++*(size_t *)context;
    return true;
}

/* While no other thread works with the box: all is sound, all books agree. */
static inline void check(struct hak_box *box)
{
    struct tiny *t = state_of(box);
    size_t visits = 0;
    hak_chunks_check(&t->superslabs);
    for (const struct hak_page *page = t->heaps.all_pages; page != NULL;
         page = page->all_next)
        if (page->state != HAK_PAGE_FREE) {
            hak_page_check(page);
            EXPECT(page_at(t, hak_page_memory(page)) == page);
        }
    box->ops->visit_slots(box, count_live_visit, &visits);
    EXPECT_EQ(visits, th_live(box, true));
    EXPECT_EQ(stats_of(box).live_count, th_live(box, true));
}

static inline void must_get_many(struct hak_box *box, void **p, size_t n,
                                 size_t bytes)
{
    EXPECT_EQ(get_many(box, p, n, bytes), n);
}

/* The n blocks are freed by a thread that ends. */
struct part {
    void **p;
    size_t n;
};

static inline void *free_part(void *argument)
{
    struct part *part = argument;
    put_many(part->p, part->n);
    return NULL;
}

#endif

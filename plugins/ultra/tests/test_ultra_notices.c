/* SPDX-License-Identifier: MIT
 * test_ultra_notices.c - box ultra: remote frees, their notices, and threads
 * that are halted in the middle of a notice.
 */
#include "test_ultra_threads.h"

/* ---- frees by another thread ----------------------------------------- */

TEST(a_full_page_freed_elsewhere_is_available_again)
{
    box = OPEN(0);
    get_many(box, block, SLOTS + 1, BYTES);
    struct hak_page *full = page_of(block[0]);
    EXPECT_EQ(full->state, HAK_PAGE_FULL);
    EXPECT_EQ(full->remote, HAK_REMOTE_NOTIFY);
    free_elsewhere(block, SLOTS);
    EXPECT_EQ(full->remote & HAK_REMOTE_FLAGS, HAK_REMOTE_PENDING);
    EXPECT_EQ(hak_remote_length(full->remote), SLOTS);
    EXPECT(full->heap->pending == full);
    check_pages(box);
    get_many(box, block, SLOTS - 1, BYTES); /* the rest of the current page */
    EXPECT_EQ(full->state, HAK_PAGE_KEPT);  /* a refill collected it */
    EXPECT(full->heap->pending == NULL);
    EXPECT_EQ(full->remote, HAK_REMOTE_NOTIFY);
    EXPECT_EQ(get_many(box, block, SLOTS, BYTES), SLOTS);
    EXPECT(page_of(block[0]) == full);
    EXPECT_EQ(th_mapped(box), 2 * GRANULE);
    check_pages(box);
}

/* One remote free in each of many full pages is enough for the owner to find
 * all these pages. */
TEST(every_page_with_a_free_slot_is_found)
{
    enum { PAGES = 12 };
    void *again[PAGES];
    box = OPEN(0);
    get_many(box, block, PAGES * SLOTS, BYTES);
    for (size_t i = 0; i < PAGES; i++)
        free_elsewhere(&block[i * SLOTS + i], 1);
    EXPECT_EQ(get_many(box, again, PAGES, BYTES), PAGES);
    EXPECT_EQ(th_mapped(box), PAGES * GRANULE);
    for (size_t i = 0; i < PAGES; i++) {
        size_t found = 0;
        for (size_t k = 0; k < PAGES; k++)
            found += again[k] == block[i * SLOTS + i];
        EXPECT_EQ(found, 1);
    }
    EXPECT(th_malloc(box, BYTES) != NULL);
    EXPECT_EQ(th_mapped(box), (PAGES + 1) * GRANULE);
    check_pages(box);
}

/* The current page gets no notice: the owner looks at its remote list by
 * itself.
 */
TEST(the_current_page_takes_what_came_back)
{
    box = OPEN(0);
    get_many(box, block, SLOTS, BYTES);
    for (int round = 0; round < 20; round++) {
        free_elsewhere(block + 10, 500);
        check_pages(box);
        EXPECT_EQ(get_many(box, block + 10, 500, BYTES), 500);
    }
    EXPECT_EQ(th_mapped(box), GRANULE);
    check_pages(box);
}

TEST(pages_emptied_elsewhere_go_back)
{
    enum { PAGES = 20 };
    box = OPEN(0, "warm=0", "depot=0");
    get_many(box, block, PAGES * SLOTS, BYTES);
    free_elsewhere(block, PAGES * SLOTS);
    EXPECT_EQ(th_mapped(box), PAGES * GRANULE); /* the owner has not looked */
    EXPECT_EQ(stats_of(box).live_count, 0);
    EXPECT(th_malloc(box, 16) != NULL); /* a refill of any class collects */
    EXPECT_EQ(th_mapped(box), 2 * GRANULE);
    check_pages(box);
}

/* Frees of one page by the owner and by another thread give back all slots. */
TEST(local_and_remote_frees_of_one_page)
{
    box = OPEN(0, "warm=0", "depot=0");
    for (size_t split = 1; split < SLOTS; split += 97) {
        get_many(box, block, 3 * SLOTS, BYTES);
        for (size_t i = 0; i < 3; i++) {
            free_elsewhere(block + i * SLOTS, split);
            put_many(block + i * SLOTS + split, SLOTS - split);
        }
        check_pages(box);
    }
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), GRANULE);
}

/* ---- a notice in flight ---------------------------------------------- */

/*
 * A remote free with a notice has two steps: the thread puts the slot on the
 * page's list, which clears NOTIFY; then it puts the page on the heap's list.
 * Here a thread is halted between the two steps. `halted` is the page.
 */
static struct hak_page *halted;

static void first_step_only(struct hak_span *span, void *p)
{
    struct hak_page *page = hak_container_of(span, struct hak_page, span);
    uint64_t old = hak_page_push_remote(page, p);
    EXPECT_EQ(old & HAK_REMOTE_FLAGS, HAK_REMOTE_NOTIFY);
    EXPECT(halted == NULL);
    halted = page;
}

static void free_and_halt(void *p)
{
    struct hak_box_ops *ops = (struct hak_box_ops *)(uintptr_t)box->ops;
    void (*whole)(struct hak_span *, void *) = ops->remote_free;
    ops->remote_free = first_step_only;
    free_elsewhere(&p, 1);
    ops->remote_free = whole;
}

static void go_on(void)
{
    hak_heap_notify(halted);
}

/* Number of pages on the pending list. A page that is on it twice would make
 * the list circular. */
static size_t count_pending(const struct hak_heap *heap)
{
    size_t n = 0;
    for (const struct hak_page *p = heap->pending; p != NULL;
         p = p->pending_next)
        EXPECT_LT(n++, 100);
    return n;
}

TEST(page_becomes_full_again_meanwhile)
{
    box = OPEN(0);
    get_many(box, block, 2 * SLOTS, BYTES);
    struct hak_page *page = page_of(block[0]);
    put_many(block + 1, SLOTS / 2); /* the page is available */
    free_and_halt(block[0]);
    EXPECT(halted == page);
    void *more[SLOTS];
    get_many(box, more, SLOTS, BYTES); /* the page is current, then full */
    EXPECT_EQ(page->state, HAK_PAGE_FULL);
    EXPECT_EQ(hak_page_out(page), SLOTS);
    free_elsewhere(&more[0], 1); /* in it, while the notice is in flight */
    EXPECT(page_of(more[0]) == page);
    go_on();
    EXPECT_EQ(count_pending(page->heap), 1);
    get_many(box, block, 2 * SLOTS, BYTES);
    EXPECT_EQ(hak_remote_length(page->remote), 0);
    EXPECT_EQ(page->remote & HAK_REMOTE_PENDING, 0);
    check_pages(box);
    free_elsewhere(&more[1], 1); /* notices work as before */
    EXPECT_EQ(count_pending(page->heap), 1);
}

/* Make a page whose slots are all free while a notice of it is in flight. */
static struct hak_page *empty_with_a_notice(void)
{
    void *more[SLOTS];
    get_many(box, block, 2 * SLOTS, BYTES);
    struct hak_page *page = page_of(block[0]);
    put_many(block + 1, SLOTS / 2); /* the page is available */
    free_and_halt(block[0]);
    get_many(box, more, SLOTS / 2 + 1, BYTES); /* it is current; all slots */
    EXPECT(halted == page && page_of(more[SLOTS / 2]) == page);
    EXPECT_EQ(hak_page_out(page), SLOTS);
    EXPECT_EQ(page->remote & HAK_REMOTE_FLAGS, HAK_REMOTE_PENDING);
    EXPECT(page_of(th_malloc(box, BYTES)) != page); /* the page is full */
    put_many(block + SLOTS / 2 + 1, SLOTS - SLOTS / 2 - 1);
    put_many(more, SLOTS / 2 + 1);
    EXPECT_EQ(hak_page_out(page), 0);
    return page;
}

TEST(page_becomes_empty_meanwhile_and_is_kept)
{
    box = OPEN(0);
    struct hak_page *page = empty_with_a_notice();
    struct hak_bin *bin = &page->heap->bin[page->class_number];
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    go_on();
    th_malloc(box, 16); /* a refill collects */
    EXPECT(bin->kept == page && page->state == HAK_PAGE_KEPT);
    EXPECT_EQ(page->remote, HAK_REMOTE_NOTIFY);
    check_pages(box);
    box->ops->trim(box);
    EXPECT_EQ(page->state, HAK_PAGE_FREE);
}

TEST(page_becomes_empty_meanwhile_and_is_not_kept)
{
    box = OPEN(0, "warm=0", "depot=0");
    struct hak_page *page = empty_with_a_notice();
    box->ops->trim(box); /* every page may go but this one */
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    EXPECT(th_mapper(page->start) == box);
    go_on();
    EXPECT_EQ(count_pending(page->heap), 1);
    box->ops->trim(box);
    EXPECT_EQ(page->state, HAK_PAGE_FREE);
    check_pages(box);
}

/* The owner ends and its heap is closed while a notice is in flight. */
TEST(heap_is_closed_meanwhile)
{
    box = OPEN(0, "warm=0", "depot=0");
    pthread_t thread = start_filling();
    struct hak_page *page = page_of(block[0]);
    put_many(block + 1, SLOTS); /* all but block[0], by a thread without heap */
    struct hak_heap *heap = page->heap;
    hak_heap_collect(heap); /* as the owner's next refill does */
    free_and_halt(block[0]);
    end_filling(thread);
    EXPECT_EQ(th_live(box, true), 0);
    EXPECT_EQ(heap->orphan, 1); /* the page keeps its heap and its memory */
    EXPECT(page->state != HAK_PAGE_FREE && page->heap == heap);
    go_on();
    EXPECT_EQ(count_pending(heap), 1);
    void *mine = th_malloc(box, BYTES); /* adopts the orphan */
    EXPECT_EQ(heap->orphan, 0);
    EXPECT(heaps_of(box)->spares == heap && heap->pending == NULL);
    EXPECT_LE(th_mapped(box), GRANULE);
    th_free(mine);
    check_pages(box);
}

/* A page that was full keeps NOTIFY when it becomes current again. */
static void *make_current_again(void *argument)
{
    (void)argument;
    get_many(box, block, SLOTS + 1, BYTES);
    put_many(block + 1, SLOTS / 2); /* the first page is available */
    get_many(box, block + SLOTS + 1, SLOTS - 1, BYTES);
    block[1] = th_malloc(box, BYTES); /* second full, first current */
    put_many(block + 1, 1);
    put_many(block + SLOTS / 2 + 1, SLOTS - SLOTS / 2 - 1 + SLOTS);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

TEST(heap_is_closed_with_the_page_current)
{
    box = OPEN(0, "warm=0", "depot=0");
    pthread_barrier_init(&meet, NULL, 2);
    pthread_t thread = th_spawn(make_current_again, NULL);
    pthread_barrier_wait(&meet);
    struct hak_page *page = page_of(block[0]);
    struct hak_heap *heap = page->heap;
    EXPECT_EQ(page->state, HAK_PAGE_CURRENT);
    EXPECT_EQ(page->remote, HAK_REMOTE_NOTIFY);
    free_and_halt(block[0]);
    end_filling(thread);
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    EXPECT_EQ(heap->orphan, 1);
    EXPECT_EQ(th_mapped(box), GRANULE);
    go_on();
    EXPECT_EQ(count_pending(heap), 1);
    th_malloc(box, 16);
    EXPECT(heaps_of(box)->spares == heap);
    EXPECT_EQ(th_mapped(box), GRANULE); /* the page of the 16 bytes */
    check_pages(box);
}

TEST(heap_is_adopted_meanwhile)
{
    box = OPEN(0, "warm=0", "depot=0");
    end_filling(start_filling());
    struct hak_page *page = page_of(block[0]);
    struct hak_heap *orphan = page->heap;
    free_and_halt(block[0]);
    void *mine = th_malloc(box, BYTES); /* adopts all but `page` */
    EXPECT(page_of(mine)->heap != orphan && page->heap == orphan);
    EXPECT(page_of(mine) == page_of(block[SLOTS]));
    EXPECT(heaps_of(box)->orphans == orphan);
    go_on(); /* the notice adopts `page` too */
    EXPECT(page->heap == page_of(mine)->heap);
    EXPECT(heaps_of(box)->orphans == NULL);
    EXPECT(heaps_of(box)->spares == orphan);
    EXPECT_EQ(hak_page_out(page), SLOTS - 1);
    EXPECT_EQ(stats_of(box).adopted_pages, 2);
    uint64_t remote = th_counts().remote_frees;
    put_many(block + 1, SLOTS);
    EXPECT_EQ(th_counts().remote_frees, remote);
    check_pages(box);
}

/* trim also adopts orphans behind one that cannot be adopted whole. */
TEST(trim_goes_past_an_orphan_with_a_notice_in_flight)
{
    static struct part parts[2] = {{block, SLOTS + 1},
                                   {block + 2 * SLOTS, SLOTS + 1}};
    pthread_t thread[2];
    box = OPEN(0, "warm=0", "depot=0");
    for (int i = 0; i < 2; i++)
        thread[i] = th_spawn(fill_part, &parts[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    th_reap();
    struct hak_heap *newest = heaps_of(box)->orphans;
    int with = page_of(block[0])->heap == newest ? 0 : 1;
    free_and_halt(parts[with].p[0]);
    free_elsewhere(parts[1 - with].p, SLOTS + 1);
    th_free(th_malloc(box, 16));
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 3 * GRANULE); /* two orphaned, one mine */
    go_on();
    put_many(parts[with].p + 1, SLOTS);
    box->ops->trim(box);
    EXPECT_LE(th_mapped(box), GRANULE);
    check_pages(box);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_ultra_threads.c - the ultra box in many threads: remote frees, notices,
 * orphans, fork.
 */
#include "test_ultra.h"

#include <time.h>

enum { THREADS = 4, BYTES = 64, SLOTS = 65536 / BYTES };

static struct hak_box *box;
static void *block[1 << 16];
static pthread_barrier_t meet;

/* ---- frees by another thread ----------------------------------------- */

static struct part {
    void **p;
    size_t n;
} part;

static void *free_part(void *argument)
{
    struct part *mine = argument;
    put_many(mine->p, mine->n);
    return NULL;
}

/* By a thread that has no heap in the box, and ends. */
static void free_elsewhere(void **p, size_t n)
{
    part = (struct part){p, n};
    th_join(th_spawn(free_part, &part));
}

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
    EXPECT_EQ(full->state, HAK_PAGE_AVAIL); /* the first refill collected */
    EXPECT(full->heap->pending == NULL);
    EXPECT_EQ(full->remote, HAK_REMOTE_NOTIFY);
    EXPECT_EQ(get_many(box, block, SLOTS, BYTES), SLOTS);
    EXPECT(page_of(block[0]) == full);
    EXPECT_EQ(th_mapped(box), 2 * GRANULE);
    check_pages(box);
}

/* One free in each of many full pages is enough to find them all again. */
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

/* No notice, no list: the owner looks at its current page by itself. */
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
    box = OPEN(0, "empty_pages=0");
    get_many(box, block, PAGES * SLOTS, BYTES);
    free_elsewhere(block, PAGES * SLOTS);
    EXPECT_EQ(th_mapped(box), PAGES * GRANULE); /* until the owner looks */
    EXPECT_EQ(stats_of(box).live_count, 0);
    EXPECT(th_malloc(box, 16) != NULL); /* of whatever class */
    EXPECT_LE(th_mapped(box), 3 * GRANULE);
    check_pages(box);
}

/* Half by the owner, half not, in any order: all comes back. */
TEST(local_and_remote_frees_of_one_page)
{
    box = OPEN(0, "empty_pages=0");
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
 * A remote free is two steps: the slot goes onto the page's list and clears
 * NOTIFY; then the page goes onto the heap's list. Here a thread is halted
 * between the two, and the first halted page waits in `halted`.
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

/* Number of pages on the pending list; a page twice would make a circle. */
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
    put_many(block + 1, SLOTS / 2); /* available */
    free_and_halt(block[0]);
    EXPECT(halted == page);
    void *more[SLOTS];
    get_many(box, more, SLOTS, BYTES); /* current, then full */
    EXPECT_EQ(page->state, HAK_PAGE_FULL);
    EXPECT_EQ(hak_page_out(page), SLOTS);
    free_elsewhere(&more[0], 1); /* in that page, with the notice in flight */
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

/* All of a page is free again, but a notice still names it. */
static struct hak_page *empty_with_a_notice(void)
{
    void *more[SLOTS];
    get_many(box, block, 2 * SLOTS, BYTES);
    struct hak_page *page = page_of(block[0]);
    put_many(block + 1, SLOTS / 2); /* available */
    free_and_halt(block[0]);
    get_many(box, more, SLOTS / 2 + 1, BYTES); /* current: the remote one too */
    EXPECT(halted == page && page_of(more[SLOTS / 2]) == page);
    EXPECT_EQ(hak_page_out(page), SLOTS);
    EXPECT_EQ(page->remote & HAK_REMOTE_FLAGS, HAK_REMOTE_PENDING);
    EXPECT(page_of(th_malloc(box, BYTES)) != page); /* full */
    put_many(block + SLOTS / 2 + 1, SLOTS - SLOTS / 2 - 1);
    put_many(more, SLOTS / 2 + 1);
    EXPECT_EQ(hak_page_out(page), 0);
    return page;
}

TEST(page_becomes_empty_meanwhile_and_is_kept)
{
    box = OPEN(0, "empty_pages=0");
    struct hak_page *page = empty_with_a_notice();
    struct hak_bin *bin = &page->heap->bin[page->class_number];
    EXPECT(bin->kept == page);
    go_on();
    th_malloc(box, 16); /* collects */
    EXPECT(bin->kept == page && page->state == HAK_PAGE_AVAIL);
    EXPECT_EQ(page->remote, HAK_REMOTE_NOTIFY);
    check_pages(box);
    box->ops->trim(box);
    EXPECT_EQ(page->state, HAK_PAGE_FREE);
}

TEST(page_becomes_empty_meanwhile_and_is_not_kept)
{
    box = OPEN(0, "empty_pages=0");
    struct hak_page *page = empty_with_a_notice();
    box->ops->trim(box); /* all but this one may go */
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    EXPECT(th_mapper(page->start) == box);
    go_on();
    EXPECT_EQ(count_pending(page->heap), 1);
    box->ops->trim(box);
    EXPECT_EQ(page->state, HAK_PAGE_FREE);
    check_pages(box);
}

static size_t fill = SLOTS + 1; /* blocks: a full page, and one slot */

static void *fill_and_wait(void *argument)
{
    (void)argument;
    get_many(box, block, fill, BYTES);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

static pthread_t start_filling(void)
{
    pthread_barrier_init(&meet, NULL, 2);
    pthread_t thread = th_spawn(fill_and_wait, NULL);
    pthread_barrier_wait(&meet);
    return thread;
}

static void end_filling(pthread_t thread)
{
    pthread_barrier_wait(&meet);
    th_join(thread);
}

/* The owner ends, its heap is closed, while a notice is in flight. */
TEST(heap_is_closed_meanwhile)
{
    box = OPEN(0, "empty_pages=0");
    pthread_t thread = start_filling();
    struct hak_page *page = page_of(block[0]);
    put_many(block + 1, SLOTS); /* all but one; this thread has no heap */
    struct hak_heap *heap = page->heap;
    hak_heap_collect(heap); /* as the owner's next refill does */
    free_and_halt(block[0]);
    end_filling(thread);
    EXPECT_EQ(th_live(box, true), 0);
    EXPECT_EQ(heap->orphan, 1); /* the page keeps its heap and memory */
    EXPECT(page->state != HAK_PAGE_FREE && page->heap == heap);
    go_on();
    EXPECT_EQ(count_pending(heap), 1);
    void *mine = th_malloc(box, BYTES); /* adopts */
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
    put_many(block + 1, SLOTS / 2); /* page 0 is available */
    get_many(box, block + SLOTS + 1, SLOTS - 1, BYTES);
    block[1] = th_malloc(box, BYTES); /* page 1 is full, page 0 current */
    put_many(block + 1, 1);
    put_many(block + SLOTS / 2 + 1, SLOTS - SLOTS / 2 - 1 + SLOTS);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return NULL;
}

TEST(heap_is_closed_with_the_page_current)
{
    box = OPEN(0, "empty_pages=0");
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
    EXPECT_EQ(th_mapped(box), GRANULE); /* of the 16 bytes */
    check_pages(box);
}

TEST(heap_is_adopted_meanwhile)
{
    box = OPEN(0, "empty_pages=0");
    end_filling(start_filling());
    struct hak_page *page = page_of(block[0]);
    struct hak_heap *orphan = page->heap;
    free_and_halt(block[0]);
    void *mine = th_malloc(box, BYTES); /* adopts what it can: page 1 */
    EXPECT(page_of(mine)->heap != orphan && page->heap == orphan);
    EXPECT(page_of(mine) == page_of(block[SLOTS]));
    EXPECT(heaps_of(box)->orphans == orphan);
    go_on(); /* adopts the rest */
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

/* ---- orphans --------------------------------------------------------- */

static void *fill_part(void *argument)
{
    struct part *mine = argument;
    EXPECT_EQ(get_many(box, mine->p, mine->n, BYTES), mine->n);
    for (size_t i = 0; i < mine->n; i++)
        memset(mine->p[i], (int)i, BYTES);
    return NULL;
}

static void fill_elsewhere(size_t n)
{
    part = (struct part){block, n};
    th_join(th_spawn(fill_part, &part));
}

TEST(the_first_free_adopts)
{
    box = OPEN(0);
    void *mine = th_malloc(box, 16);
    fill_elsewhere(3 * SLOTS);
    EXPECT(page_of(block[0])->span.owner == NULL);
    th_free(block[0]);
    uint64_t remote = th_counts().remote_frees;
    for (size_t i = 1; i < 3 * SLOTS; i++) {
        EXPECT(page_of(block[i])->span.owner == th_self());
        EXPECT_EQ(*(unsigned char *)block[i], i % 256);
        th_free(block[i]);
    }
    EXPECT_EQ(th_counts().remote_frees, remote);
    EXPECT_EQ(stats_of(box).adopted_pages, 3);
    th_free(mine);
    check_pages(box);
}

TEST(who_runs_out_of_pages_adopts)
{
    box = OPEN(0);
    fill_elsewhere(SLOTS / 2);
    void *mine = th_malloc(box, BYTES);
    EXPECT(page_of(mine) == page_of(block[0]));
    EXPECT_EQ(th_mapped(box), GRANULE);
    EXPECT_EQ(get_many(box, block + SLOTS, SLOTS / 2 - 1, BYTES),
              SLOTS / 2 - 1);
    EXPECT_EQ(th_mapped(box), GRANULE);
    check_pages(box);
}

/* Full when its thread ended, full when adopted, and then a slot comes back. */
TEST(an_adopted_full_page_is_available_after_one_free)
{
    box = OPEN(0);
    fill_elsewhere(SLOTS);
    struct hak_page *page = page_of(block[0]);
    EXPECT(page_of(th_malloc(box, BYTES)) != page);
    EXPECT(page->span.owner == th_self() && page->state == HAK_PAGE_FULL);
    th_free(block[0]);
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    put_many(block + 1, SLOTS - 1);
    check_pages(box);
}

static size_t count_heaps(void)
{
    size_t n = 0;
    for (const struct hak_heap *h = heaps_of(box)->all_heaps; h != NULL;
         h = h->all_next)
        n++;
    return n;
}

/* Each thread leaves blocks and frees those of the one before. */
static void *relay(void *argument)
{
    void *mine[10];
    (void)argument;
    get_many(box, mine, 10, BYTES);
    put_many(block, 10);
    memcpy(block, mine, sizeof mine);
    return NULL;
}

TEST(a_thousand_threads_in_turn)
{
    box = OPEN(0);
    get_many(box, block, 10, BYTES);
    uint64_t meta = 0;
    for (int i = 0; i < 1000; i++) {
        th_join(th_spawn(relay, NULL));
        EXPECT_LE(th_mapped(box), 4 * GRANULE);
        meta = i == 10 ? th_counts().meta_bytes : meta;
    }
    EXPECT_EQ(th_counts().meta_bytes, meta);
    EXPECT_LE(count_heaps(), 3);
    EXPECT_EQ(stats_of(box).live_count, 10);
    check_pages(box);
}

static void *relay_and_park(void *argument)
{
    relay(argument);
    th_park();
    return NULL;
}

TEST(a_thousand_threads_that_take_over)
{
    box = OPEN(0);
    get_many(box, block, 10, BYTES);
    for (int i = 0; i < 1000; i++)
        th_join(th_spawn(relay_and_park, NULL));
    EXPECT_LE(th_mapped(box), 2 * GRANULE);
    EXPECT_EQ(count_heaps(), 2);
    EXPECT_EQ(stats_of(box).adopted_pages, 0);
    check_pages(box);
}

/* ---- what ends leaves nothing ---------------------------------------- */

static void *use_and_free(void *argument)
{
    void *mine[1000];
    (void)argument;
    for (size_t bytes = LEAST; bytes <= MOST; bytes += 48) {
        get_many(box, mine, 1000, bytes);
        put_many(mine, 1000);
    }
    pthread_barrier_wait(&meet);
    return NULL;
}

TEST(threads_that_freed_all_leave_no_memory)
{
    pthread_t thread[THREADS];
    box = OPEN(0);
    pthread_barrier_init(&meet, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        thread[i] = th_spawn(use_and_free, NULL);
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    EXPECT(heaps_of(box)->orphans == NULL);
    check_pages(box);
}

/* Others freed all of it, and the owner ended without another look. */
TEST(what_others_freed_before_the_end_leaves_no_memory)
{
    box = OPEN(0);
    fill = 5 * SLOTS + 1;
    pthread_t thread = start_filling();
    put_many(block, fill);
    end_filling(thread);
    EXPECT_EQ(th_mapped(box), 0);
    check_pages(box);
}

/* Freed after the end by threads without a heap: nobody could adopt. */
TEST(trim_finds_what_was_freed_in_orphans)
{
    pthread_t thread[THREADS];
    static struct part parts[THREADS];
    box = OPEN(0);
    for (size_t i = 0; i < THREADS; i++) {
        parts[i] = (struct part){block + i * SLOTS, SLOTS};
        thread[i] = th_spawn(fill_part, &parts[i]);
    }
    for (int i = 0; i < THREADS; i++) /* none is closed before all began */
        pthread_join(thread[i], NULL);
    th_reap();
    EXPECT_GE(th_mapped(box), THREADS * GRANULE);
    free_elsewhere(block, THREADS * SLOTS);
    th_free(th_malloc(box, MOST));
    box->ops->trim(box);
    EXPECT_LE(th_mapped(box), page_bytes(MOST));
    check_pages(box);
}

/* An orphan that cannot be adopted whole does not hide the others. */
TEST(trim_goes_past_an_orphan_with_a_notice_in_flight)
{
    static struct part parts[2] = {{block, SLOTS + 1},
                                   {block + 2 * SLOTS, SLOTS + 1}};
    pthread_t thread[2];
    box = OPEN(0, "empty_pages=0");
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
    EXPECT_EQ(th_mapped(box), 3 * GRANULE); /* those of the notice, and mine */
    go_on();
    put_many(parts[with].p + 1, SLOTS);
    box->ops->trim(box);
    EXPECT_LE(th_mapped(box), GRANULE);
    check_pages(box);
}

/* ---- fork ------------------------------------------------------------ */

TEST(fork_holds_the_lock)
{
    box = OPEN(0);
    struct hak_lock *lock = &heaps_of(box)->lock;
    box->ops->fork(box, HAK_FORK_PREPARE);
    EXPECT(!hak_lock_try(lock));
    box->ops->fork(box, HAK_FORK_PARENT);
    EXPECT(hak_lock_try(lock));
    hak_lock_drop(lock);
    box->ops->fork(box, HAK_FORK_PREPARE);
    box->ops->fork(box, HAK_FORK_CHILD);
    EXPECT(hak_lock_try(lock));
    hak_lock_drop(lock);
}

static bool stop;

static void *come_and_go(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        void *mine[64];
        get_many(box, mine, 64, BYTES);
        put_many(mine, 64);
        th_detach();
        th_reap();
    }
    return NULL;
}

static void child(void)
{
    alarm(20);
    put_many(block, 100);
    EXPECT_EQ(get_many(box, block, 3000, BYTES), 3000);
    fill_elsewhere(100);
    put_many(block, 100);
    _exit(0);
}

TEST(fork_beside_busy_threads)
{
    pthread_t thread[2];
    box = OPEN(0);
    fill_elsewhere(100);
    for (int i = 0; i < 2; i++)
        thread[i] = th_spawn(come_and_go, NULL);
    for (int i = 0; i < 50; i++) {
        int status;
        pid_t pid = th_fork();
        if (pid == 0)
            child();
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        th_join(thread[i]);
    check_pages(box);
}

/* ---- figures of running threads -------------------------------------- */

static void *exchange;

/* Frees what another thread left, about half of the time. */
static void *feed(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        void *p = th_malloc(box, BYTES);
        th_free(__atomic_exchange_n(&exchange, p, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* More threads than processors: the reader is halted between two reads. */
TEST(figures_lag_but_never_wrap)
{
    pthread_t thread[THREADS];
    box = OPEN(0);
    for (int i = 0; i < THREADS; i++)
        thread[i] = th_spawn(feed, NULL);
    for (uint64_t end = now_ms() + 400; now_ms() < end;)
        for (int i = 0; i < 1000; i++) {
            struct hak_box_stats s = stats_of(box);
            EXPECT_GE(s.allocs, s.frees);
            EXPECT_GE((int64_t)s.live_count, 0);
            EXPECT_GE((int64_t)s.live_bytes, 0);
        }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    check_pages(box);
}

/* ---- everything at once ---------------------------------------------- */

enum { PLACES = 600, STEPS = 15000 };

static struct item {
    uint32_t bytes, mark;
} * place[PLACES];

static void check_and_free(struct item *item)
{
    if (item == NULL)
        return;
    const unsigned char *p = (unsigned char *)item;
    for (size_t i = sizeof *item; i < item->bytes; i++)
        EXPECT_EQ(p[i], (unsigned char)item->mark);
    th_free(item);
}

static struct item *make_item(uint64_t random)
{
    uint32_t bytes = 16 + (uint32_t)(random >> 8) % (random & 7 ? 90 : 1008);
    struct item *item = th_malloc(box, bytes);
    EXPECT(item != NULL);
    memset(item, (int)(random >> 40 & 255), bytes);
    *item = (struct item){bytes, (uint32_t)(random >> 40 & 255)};
    return item;
}

static void *swap_items(void *argument)
{
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ull;
    for (int i = 0; i < STEPS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        struct item *fresh = random >> 60 < 8 ? make_item(random) : NULL;
        check_and_free(__atomic_exchange_n(&place[random % PLACES], fresh,
                                           __ATOMIC_ACQ_REL));
        if ((random >> 32) % 5000 == 0)
            box->ops->trim(box);
    }
    return NULL;
}

static void swap_in_threads(unsigned flags)
{
    pthread_t thread[THREADS];
    box = OPEN(flags, "empty_pages=1", "carve=512");
    for (uintptr_t i = 0; i < THREADS; i++)
        thread[i] = th_spawn(swap_items, (void *)(i + 1));
    for (uintptr_t n = 0; n < 20; n++) { /* ended ones are replaced */
        th_join(thread[n % THREADS]);
        thread[n % THREADS] = th_spawn(swap_items, (void *)(n + 11));
    }
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    check_pages(box);
    for (int i = 0; i < PLACES; i++)
        check_and_free(place[i]);
    EXPECT_EQ(count_walk(box), 0);
    EXPECT_LE(count_heaps(), 2 * THREADS);
    check_pages(box);
}

TEST(threads_swap_blocks_with_lanes)
{
    swap_in_threads(0);
}

TEST(threads_swap_blocks_without_lanes)
{
    swap_in_threads(TH_NO_LANES);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_ultra_threads.c - box ultra: threads that end, fork, figures, and all of
 * these at once.
 */
#include "test_ultra_threads.h"

#include <time.h>
#include <unistd.h>

/* ---- orphans --------------------------------------------------------- */

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

/* A page that is full when its thread ends, and still full when it is adopted.
 */
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

/* Each thread leaves blocks and frees those of the thread before it. */
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
    EXPECT_LE(count_heaps(box), 3);
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
    EXPECT_EQ(count_heaps(box), 2);
    EXPECT_EQ(stats_of(box).adopted_pages, 0);
    check_pages(box);
}

/* ---- threads that end leave no memory -------------------------------- */

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
    box = OPEN(0, "depot=0");
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

/* Other threads free all blocks, and the owner ends without collecting them. */
TEST(what_others_freed_before_the_end_leaves_no_memory)
{
    box = OPEN(0, "depot=0");
    fill = 5 * SLOTS + 1;
    pthread_t thread = start_filling();
    put_many(block, fill);
    end_filling(thread);
    EXPECT_EQ(th_mapped(box), 0);
    check_pages(box);
}

/* A thread without a heap frees blocks of ended threads; it cannot adopt their
 * heaps. */
TEST(trim_finds_what_was_freed_in_orphans)
{
    pthread_t thread[THREADS];
    static struct part parts[THREADS];
    box = OPEN(0);
    for (size_t i = 0; i < THREADS; i++) {
        parts[i] = (struct part){block + i * SLOTS, SLOTS};
        thread[i] = th_spawn(fill_part, &parts[i]);
    }
    for (int i = 0; i < THREADS; i++) /* before th_reap() closes any */
        pthread_join(thread[i], NULL);
    th_reap();
    EXPECT_GE(th_mapped(box), THREADS * GRANULE);
    free_elsewhere(block, THREADS * SLOTS);
    th_free(th_malloc(box, MOST));
    box->ops->trim(box);
    EXPECT_LE(th_mapped(box), page_bytes(MOST));
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
    SKIP_TSAN("a child that starts threads");
    if (TEST_ASAN)
        SKIP("GCC 12's ASan does not hold its own locks over a fork");
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

/* Free the block that was left last, about half of the time by another thread.
 */
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

/* With more threads than CPUs, the reader is often halted between two reads. */
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

/* Take many slots of one size after the other and free them, so that pages go
 * from class to class. warm=0: no heap keeps one. */
static void *change_classes(void *seed)
{
    enum { N = 400 };
    void *slot[N];
    uint64_t random = (uintptr_t)seed;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        size_t bytes = LEAST + (size_t)(random >> 33) % 240;
        random = random * 6364136223846793005u + 1442695040888963407u;
        for (int i = 0; i < N; i++)
            slot[i] = th_malloc(box, bytes);
        for (int i = 0; i < N; i++)
            th_free(slot[i]);
    }
    return NULL;
}

TEST(figures_by_class_never_decrease)
{
    static struct hak_class before[HAK_CLASSES_ROOM], now[HAK_CLASSES_ROOM];
    struct hak_class sum = {0};
    pthread_t thread[THREADS];
    box = OPEN(0, "warm=0");
    const struct hak_classes_1 *classes =
        box->ops->get_extension(box, HAK_CLASSES_1);
    for (uintptr_t i = 0; i < THREADS; i++)
        thread[i] = th_spawn(change_classes, (void *)(i + 1));
    for (uint64_t end = now_ms() + 400; now_ms() < end;) {
        memset(now, 0, sizeof now);
        uint32_t n = classes->read(box, now, HAK_CLASSES_ROOM);
        for (uint32_t c = 0; c < n; c++) {
            EXPECT_GE(now[c].allocs, before[c].allocs);
            EXPECT_GE(now[c].frees, before[c].frees);
            EXPECT_GE((int64_t)now[c].live_count, 0);
        }
        memcpy(before, now, sizeof now);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    memset(now, 0, sizeof now);
    uint32_t n = classes->read(box, now, HAK_CLASSES_ROOM);
    for (uint32_t c = 0; c < n; c++) {
        EXPECT_EQ(now[c].allocs, now[c].frees);
        sum.allocs += now[c].allocs;
        sum.live_count += now[c].live_count;
    }
    EXPECT_EQ(sum.allocs, stats_of(box).allocs);
    EXPECT_EQ(sum.live_count, 0);
    check_pages(box);
}

/* ---- everything at once ---------------------------------------------- */

enum { PLACES = 600, STEPS = 15000 };

struct item {
    uint32_t bytes, mark;
};
static struct item *place[PLACES];

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
    uint64_t state = (uintptr_t)argument;
    for (int i = 0; i < STEPS; i++) {
        uint64_t random = random_next(&state);
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
    box = OPEN(flags, "warm=64k", "carve=512");
    for (uintptr_t i = 0; i < THREADS; i++)
        thread[i] = th_spawn(swap_items, (void *)(i + 1));
    for (uintptr_t n = 0; n < 20; n++) { /* replace ended threads */
        th_join(thread[n % THREADS]);
        thread[n % THREADS] = th_spawn(swap_items, (void *)(n + 11));
    }
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    check_pages(box);
    for (int i = 0; i < PLACES; i++)
        check_and_free(place[i]);
    EXPECT_EQ(count_visited(box), 0);
    EXPECT_LE(count_heaps(box), 2 * THREADS);
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

/* ---- heaps of threads that a fork left behind ------------------------ */

enum {
    LEFT = 4 * SLOTS,
    KEEP_EACH = 8,
    KEPT = (LEFT + KEEP_EACH - 1) / KEEP_EACH
};
static struct hak_heap *left;

/* A thread that fills four pages, frees most slots, and is halted. */
static void *be_left(void *unused)
{
    (void)unused;
    EXPECT_EQ(get_many(box, block, LEFT, BYTES), LEFT);
    for (size_t i = 0; i < LEFT; i++)
        if (i % KEEP_EACH == 0)
            memset(block[i], 42, BYTES);
        else
            th_free(block[i]);
    left = box->host->heap(box, false);
    pthread_barrier_wait(&meet);
    pause();
    return NULL;
}

static void leave_one(void)
{
    box = OPEN(0);
    pthread_barrier_init(&meet, NULL, 2);
    th_spawn(be_left, NULL);
    pthread_barrier_wait(&meet);
}

static void expect_kept(void)
{
    for (size_t i = 0; i < LEFT; i += KEEP_EACH)
        for (size_t k = 0; k < BYTES; k++)
            EXPECT_EQ(((unsigned char *)block[i])[k], 42);
}

/* Allocate as many blocks as need no further page. */
static size_t get_all(void **p)
{
    size_t n = 0, mapped = th_mapped(box);
    while (th_mapped(box) == mapped)
        memset(p[n++] = th_malloc(box, BYTES), 7, BYTES);
    return n - 1;
}

TEST(what_is_free_of_a_lost_heap_serves_others)
{
    leave_one();
    box->ops->heap_lost(box, left, left->thread);
    EXPECT_GE(get_all(block + LEFT), LEFT - KEPT);
    expect_kept();
    for (size_t i = 0; i < LEFT; i += KEEP_EACH)
        th_free(block[i]);
    check_pages(box);
}

/* The thread was halted in a malloc that had taken a slot off the list and not
 * counted it, and in a free that had written the link and not put the slot on
 * the list. Each loses one slot. */
TEST(halves_of_steps_lose_a_slot_each)
{
    leave_one();
    struct hak_span *span = &page_of(block[0])->span;
    span->local = hak_slot_next(span->local, span->key);
    uint64_t mine = *(uint64_t *)block[KEEP_EACH];
    hak_slot_link(block[KEEP_EACH], span->key, span->local);
    box->ops->heap_lost(box, left, left->thread);
    *(uint64_t *)block[KEEP_EACH] = mine;
    size_t n = get_all(block + LEFT);
    EXPECT_GE(n, LEFT - KEPT - 1);
    expect_kept();
}

static void expect_left_alone(struct hak_page *page)
{
    box->ops->heap_lost(box, left, left->thread);
    EXPECT(page->heap == left);
    for (size_t i = 0, n = get_all(block + LEFT); i < n; i++)
        EXPECT(page_of(block[LEFT + i]) != page);
    expect_kept();
}

TEST(a_page_with_a_broken_link_stays)
{
    leave_one();
    struct hak_page *page = page_of(block[0]);
    *(uint64_t *)page->span.local = 0;
    expect_left_alone(page);
}

TEST(a_page_whose_list_goes_round_stays)
{
    leave_one();
    struct hak_page *page = page_of(block[0]);
    void *second = hak_slot_next(page->span.local, page->span.key);
    hak_slot_link(second, page->span.key, page->span.local);
    expect_left_alone(page);
}

TEST(a_page_with_a_list_to_elsewhere_stays)
{
    leave_one();
    struct hak_page *page = page_of(block[0]);
    hak_slot_link(page->span.local, page->span.key, block[LEFT - KEEP_EACH]);
    expect_left_alone(page);
}

/* Another thread may be between the two steps of a notice of the page. */
TEST(a_page_with_a_notice_under_way_stays)
{
    leave_one();
    struct hak_page *page = page_of(block[0]);
    page->remote |= HAK_REMOTE_PENDING;
    expect_left_alone(page);
}

TEST_MAIN()

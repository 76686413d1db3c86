/* SPDX-License-Identifier: MIT
 * test_threads.c - the box under threads: remote frees, ended threads, fork.
 */
#include "smallmid.h"

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { BLOCKS = 4000, MIB = 1 << 20 };

static struct hak_box *box;
static void *block[BLOCKS];

static void start(void)
{
    if (th_open_entry(&hak_box_entry, "smallmid", NULL, 0, &box) != 0)
        test_fail(__FILE__, __LINE__, "%s", th_error());
}

static struct smallmid *sm(void)
{
    return smallmid_of(box);
}

static uint64_t live(void)
{
    return th_stats(box).live_count;
}

static void expect_nothing_left(void)
{
    th_reap();
    EXPECT_EQ(th_live(box, true), 0);
    EXPECT_EQ(live(), 0);
    box->ops->trim(box);
    smallmid_check(sm());
    EXPECT_EQ(th_mapped(box), 0);
    for (uint32_t c = 0; c < sm()->nclasses; c++)
        EXPECT_EQ(sm()->pool[c].out, 0);
}

static void *make_all(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++)
        EXPECT((block[i] = th_malloc(box, 1 + i % 1024)) != NULL);
    return NULL;
}

static void *free_all(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++)
        th_free(block[i]);
    return NULL;
}

/* ---- remote frees ------------------------------------------------------ */

/* A thread that never allocated has no heap: straight to the slabs. */
TEST(a_thread_without_a_heap_frees_into_the_slabs)
{
    start();
    make_all(NULL);
    EXPECT_EQ(live(), BLOCKS);
    th_join(th_spawn(free_all, NULL));
    EXPECT_EQ(live(), 0);
    EXPECT(sm()->all_heaps->all_next == NULL);
    expect_nothing_left();
}

static void *use_then_free_all(void *unused)
{
    (void)unused;
    th_free(th_malloc(box, 256));
    th_free(th_malloc(box, 512));
    th_free(th_malloc(box, 1024));
    uint64_t out = sm()->pool[0].out;
    free_all(NULL);
    const struct heap *heap = box->host->heap(box, false);
    for (uint32_t c = 0; c < 3; c++) {
        EXPECT_LT(heap->list[c].naway, sm()->pool[c].batch);
        EXPECT_LT(list_count(&heap->list[c]), 2u * sm()->pool[c].capacity);
    }
    EXPECT_LT(sm()->pool[0].out, out / 2); /* home, before it ends */
    return NULL;
}

TEST(frees_of_others_go_home_in_batches)
{
    start();
    for (int round = 0; round < 50; round++) {
        make_all(NULL);
        th_join(th_spawn(use_then_free_all, NULL));
        EXPECT_EQ(live(), 0);
        smallmid_check(sm());
    }
    EXPECT_LE(th_mapped(box), 4 * MIB);
    expect_nothing_left();
}

/* What the thread that had them left, the next one gets. */
static void *make_all_and_free_half(void *unused)
{
    make_all(unused);
    for (size_t i = 0; i < BLOCKS; i += 2)
        th_free(block[i]);
    return NULL;
}

TEST(slabs_of_ended_threads_are_taken_over)
{
    start();
    th_join(th_spawn(make_all_and_free_half, NULL));
    th_reap();
    size_t mapped = th_mapped(box);
    uint64_t maps = th_counts().maps;
    for (size_t i = 0; i < BLOCKS; i += 2)
        EXPECT((block[i] = th_malloc(box, 1 + i % 1024)) != NULL);
    EXPECT_EQ(th_counts().maps, maps);
    EXPECT_EQ(th_mapped(box), mapped);
    EXPECT_GT(sm()->pool[0].taken_over, 0);
    EXPECT_EQ(live(), BLOCKS);
    smallmid_check(sm());
    free_all(NULL);
    expect_nothing_left();
}

enum { RING = 512, PASSED = 200000 };
static void *ring[RING];

static void *consume(void *unused)
{
    (void)unused;
    for (int i = 0; i < PASSED; i++) {
        void *p;
        while ((p = __atomic_exchange_n(&ring[i % RING], NULL,
                                        __ATOMIC_ACQUIRE)) == NULL)
            usleep(0);
        EXPECT_EQ(*(int *)p, i);
        th_free(p);
        if (i % 1000 == 0)
            th_free(th_malloc(box, 900)); /* a heap of its own */
    }
    return NULL;
}

TEST(producer_and_consumer_keep_memory_bounded)
{
    start();
    pthread_t thread = th_spawn(consume, NULL);
    for (int i = 0; i < PASSED; i++) {
        int *p = th_malloc(box, 129 + (size_t)i % 896);
        EXPECT(p != NULL);
        *p = i;
        while (__atomic_load_n(&ring[i % RING], __ATOMIC_RELAXED) != NULL)
            usleep(0);
        __atomic_store_n(&ring[i % RING], p, __ATOMIC_RELEASE);
    }
    th_join(thread);
    EXPECT_LE(th_counts().peak_bytes, 4 * MIB);
    expect_nothing_left();
}

/* ---- ended threads ----------------------------------------------------- */

static void *use_and_leave_one(void *unused)
{
    void *p[100];
    (void)unused;
    for (size_t i = 0; i < 100; i++)
        EXPECT((p[i] = th_malloc(box, 10 * (i + 1))) != NULL);
    for (size_t i = 0; i < 99; i++)
        th_free(p[i]);
    return p[99];
}

TEST(heaps_of_ended_threads_are_used_again)
{
    start();
    uint64_t metas = 0;
    for (int i = 0; i < 1000; i++) {
        void *left;
        pthread_t thread = th_spawn(use_and_leave_one, NULL);
        pthread_join(thread, &left);
        th_reap();
        EXPECT_EQ(live(), 1);
        for (uint32_t c = 0; c < 2; c++)
            EXPECT_EQ(sm()->pool[c].out, 0);
        th_free(left);
        if (i == 10)
            metas = th_counts().metas;
    }
    EXPECT_EQ(th_counts().metas, metas);
    expect_nothing_left();
}

/* ---- all at once ------------------------------------------------------- */

static void *shared[1000];

static void *churn(void *number)
{
    uint64_t seed = (uintptr_t)number;
    for (int i = 0; i < 100000; i++) {
        size_t size = 1 + random_below(&seed, 1024);
        char *p = th_malloc(box, size);
        EXPECT(p != NULL);
        p[0] = p[size - 1] = (char)size;
        th_free(__atomic_exchange_n(&shared[random_below(&seed, 1000)], p,
                                    __ATOMIC_ACQ_REL));
    }
    return NULL;
}

TEST(threads_exchange_blocks)
{
    pthread_t thread[4];
    start();
    for (uintptr_t i = 0; i < 4; i++)
        thread[i] = th_spawn(churn, (void *)(i + 1));
    for (int i = 0; i < 50; i++) { /* stats and trim beside them */
        live();
        box->ops->trim(box);
        usleep(100);
    }
    for (int i = 0; i < 4; i++)
        th_join(thread[i]);
    smallmid_check(sm());
    EXPECT_EQ(live(), th_live(box, true));
    for (size_t i = 0; i < 1000; i++)
        th_free(shared[i]);
    expect_nothing_left();
}

/* ---- fork -------------------------------------------------------------- */

static bool stop;

static void *churn_until_told(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p[100];
        for (size_t i = 0; i < 100; i++)
            EXPECT((p[i] = th_malloc(box, 1 + i * 10)) != NULL);
        for (size_t i = 0; i < 100; i++)
            th_free(p[i]);
        box->ops->trim(box); /* the SuperSlabs' lock, most of the time */
    }
    return NULL;
}

static void in_child(void)
{
    alarm(20);
    make_all(NULL);
    smallmid_check(sm());
    free_all(NULL);
    smallmid_check(sm());
    box->ops->trim(box);
    _exit(0);
}

TEST(a_child_of_a_busy_parent_goes_on)
{
    start();
    pthread_t thread = th_spawn(churn_until_told, NULL);
    for (int i = 0; i < 100; i++) {
        int status;
        pid_t pid = th_fork();
        if (pid == 0)
            in_child();
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(thread);
    expect_nothing_left();
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_threads.c - the box under threads: shared segments, remote frees,
 * fork.
 */
#include "test_mid_v35.h"

/* ---- threads ----------------------------------------------------------- */

static struct hak_box *shared;
static pthread_barrier_t meet;

static void *one_block(void *argument)
{
    *(void **)argument = th_malloc(shared, 1000);
    pthread_barrier_wait(&meet);
    return NULL;
}

TEST(threads_share_a_segment)
{
    pthread_t thread[8];
    shared = OPEN(0);
    pthread_barrier_init(&meet, NULL, 8);
    for (size_t i = 0; i < 8; i++)
        thread[i] = th_spawn(one_block, &block[i]);
    for (size_t i = 0; i < 8; i++)
        th_join(thread[i]);
    EXPECT_EQ(th_mapped(shared), SEGMENT_BYTES);
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < i; k++)
            EXPECT(page_of(shared, block[i]) != page_of(shared, block[k]));
    check(shared);
    put_many(block, 8); /* pages of ended threads */
    shared->ops->trim(shared);
    EXPECT_EQ(th_live(shared, true), 0);
    check(shared);
}

static void **mailbox[4];

/* Blocks at random; every other one is freed by whoever finds it. */
static void *mixed(void *argument)
{
    size_t me = (size_t)argument;
    uint64_t random = me;
    static __thread void *mine[512];
    for (int i = 0; i < 60000; i++) {
        uint64_t x = random_next(&random);
        size_t at = (size_t)(x >> 20) % 512, bytes = (size_t)(x >> 40) % 1025;
        if (mine[at] != NULL && (x & 1))
            mine[at] = __atomic_exchange_n(&mailbox[(me + 1) % 4][at], mine[at],
                                           __ATOMIC_ACQ_REL);
        if (mine[at] != NULL)
            th_free(mine[at]);
        mine[at] = th_malloc(shared, bytes);
        EXPECT(mine[at] != NULL);
        memset(mine[at], (int)me, bytes);
        if (i % 5000 == 0)
            shared->ops->trim(shared);
    }
    for (size_t i = 0; i < 512; i++)
        if (mine[i] != NULL)
            th_free(mine[i]);
    return NULL;
}

static void threads_at_random(unsigned flags)
{
    pthread_t thread[4];
    shared = OPEN(flags, "empty_segments=0");
    for (size_t i = 0; i < 4; i++)
        mailbox[i] = block + i * 512;
    for (size_t i = 0; i < 4; i++)
        thread[i] = th_spawn(mixed, (void *)i);
    for (size_t i = 0; i < 4; i++)
        th_join(thread[i]);
    check(shared);
    for (size_t i = 0; i < 2048; i++)
        if (block[i] != NULL)
            th_free(block[i]);
    th_attach();
    th_free(th_malloc(shared, 1)); /* a heap here, to adopt the orphans */
    shared->ops->trim(shared);
    shared->ops->trim(shared);
    EXPECT_EQ(th_live(shared, true), 0);
    EXPECT_EQ(th_mapped(shared), 0);
    struct th_retires all = th_retires();
    EXPECT_EQ(all.allocations, 4 * 60000 + 1); /* every page was retired */
    EXPECT_EQ(all.frees, all.allocations);
    EXPECT(all.local_frees > 0 && all.local_frees < all.frees);
    check(shared);
}

TEST(threads_at_random_with_lanes)
{
    threads_at_random(0);
}

TEST(threads_at_random_without_lanes)
{
    threads_at_random(TH_NO_LANES);
}

static bool stop;

static void *pages_in_and_out(void *argument)
{
    static void *p[2][8 * SLOTS_1K];
    void **mine = p[(size_t)argument];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        get_many(shared, mine, 8 * SLOTS_1K, 1024);
        put_many(mine, 8 * SLOTS_1K);
    }
    return NULL;
}

TEST(fork_holds_every_lock)
{
    struct hak_box *box = OPEN(0);
    struct mid_v35 *m = mid_v35_of(box);
    struct hak_lock *locks[] = {&m->heaps.lock, &m->segments.lock};
    for (int phase = HAK_FORK_PARENT; phase <= HAK_FORK_CHILD; phase++) {
        box->ops->fork(box, HAK_FORK_PREPARE);
        for (size_t i = 0; i < 2; i++)
            EXPECT(!hak_lock_try(locks[i]));
        box->ops->fork(box, (enum hak_fork_phase)phase);
        for (size_t i = 0; i < 2; i++)
            EXPECT_EQ(locks[i]->word, 0);
    }
}

TEST(a_child_of_fork_can_go_on)
{
    shared = OPEN(0, "empty_segments=0");
    pthread_t thread = th_spawn(pages_in_and_out, (void *)0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = th_fork();
        if (pid == 0) {
            alarm(10);
            EXPECT_EQ(get_many(shared, block, SEGMENT_1K, 1024), SEGMENT_1K);
            put_many(block, SEGMENT_1K);
            _exit(0);
        }
        int status = 1;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(thread);
    check(shared);
}

TEST_MAIN()

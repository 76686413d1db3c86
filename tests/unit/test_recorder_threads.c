/* SPDX-License-Identifier: MIT
 * test_recorder_threads.c - hakctl record's writer, against rings that the test
 * fills itself: the order of threads that run.
 */
#include "recorder.h"

/* ---- threads that run ---------------------------------------------------- */

/* An allocator of few addresses, so that they are used again at once, and
 * blocks that go from thread to thread. The size of a block is a number of its
 * own; the entry before a free has it again. */
enum { NTHREADS = 4, NADDRESSES = 32, NTURNS = 60000, NHANDED = 8 };

static struct {
    pthread_mutex_t lock;
    uint64_t free[NADDRESSES];
    unsigned n;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct block {
    uint64_t address;
    uint32_t id;
};
static struct {
    pthread_mutex_t lock;
    struct block at[NHANDED];
} handed = {.lock = PTHREAD_MUTEX_INITIALIZER};
static unsigned nworking = NTHREADS;

static uint64_t heap_take(void)
{
    pthread_mutex_lock(&heap.lock);
    uint64_t address = heap.n != 0 ? heap.free[--heap.n] : 0;
    pthread_mutex_unlock(&heap.lock);
    return address;
}

static void heap_give(uint64_t address)
{
    pthread_mutex_lock(&heap.lock);
    heap.free[heap.n++] = address;
    pthread_mutex_unlock(&heap.lock);
}

static void put_now(struct thread *t, enum record_kind kind, uint64_t address,
                    uint32_t size)
{
    put_at(t, record_ticks(), kind, address, size);
}

static void free_block(struct thread *t, struct block b)
{
    if (b.address == 0)
        return;
    put_now(t, RECORD_TOUCHED, b.address, b.id);
    put_now(t, RECORD_FREE, b.address, 0);
    heap_give(b.address);
}

static struct block make_block(struct thread *t, uint32_t id)
{
    struct block b = {heap_take(), id};
    if (b.address != 0)
        put_now(t, RECORD_MALLOC, b.address, b.id);
    return b;
}

/* Moves the block, if there is another place. */
static struct block move_block(struct thread *t, struct block b, uint32_t id)
{
    uint64_t former = b.address;
    if (former == 0)
        return b;
    put_now(t, RECORD_TOUCHED, former, b.id);
    put_now(t, RECORD_REALLOC_FROM, former, 0);
    uint64_t address = heap_take();
    if (address != 0)
        heap_give(former);
    b = (struct block){address != 0 ? address : former, id};
    put_now(t, RECORD_REALLOC_TO, b.address, b.id);
    return b;
}

static struct block exchange(unsigned i, struct block b)
{
    pthread_mutex_lock(&handed.lock);
    struct block there = handed.at[i % NHANDED];
    handed.at[i % NHANDED] = b;
    pthread_mutex_unlock(&handed.lock);
    return there;
}

static void *work(void *number)
{
    struct thread t = take_ring(getpid(), SELF);
    uint32_t id = (uint32_t)(uintptr_t)number << 24;
    t.ring->tid = id;
    for (unsigned i = 0; i < TEST_TURNS(NTURNS); i++) {
        struct block b = make_block(&t, ++id);
        if (i % 3 == 0)
            b = move_block(&t, b, ++id);
        if (i % 4 != 0)
            b = exchange(i, b);
        free_block(&t, b);
    }
    __atomic_store_n(&t.ring->ended, 1, __ATOMIC_RELEASE);
    __atomic_sub_fetch(&nworking, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* What the file says, against what the blocks say of themselves. */
static void check_ops(void)
{
    static uint64_t size_of[4 * NTHREADS * NTURNS];
    static bool live[4 * NTHREADS * NTURNS];
    uint64_t last_of[NTHREADS] = {0}, nended = 0;
    char why[256] = "";
    struct trace_op op;
    struct trace *t = trace_open(file, NULL, why, sizeof why);
    while (trace_next(t, &op, why, sizeof why) == 1) {
        EXPECT(op.kind == TRACE_RESIDENT || op.thread < NTHREADS);
        nended += op.kind == TRACE_ENDED;
        if (op.kind == TRACE_TOUCHED) {
            EXPECT_EQ(size_of[op.object], op.size);
            EXPECT(live[op.object]);
        }
        uint64_t given = op.kind == TRACE_FREE      ? op.object
                         : op.kind == TRACE_REALLOC ? op.old
                                                    : 0;
        if (op.kind == TRACE_FREE || op.kind == TRACE_REALLOC) {
            EXPECT(live[given]);
            live[given] = false;
        }
        if (op.kind == TRACE_MALLOC || op.kind == TRACE_REALLOC) {
            live[op.object] = true;
            size_of[op.object] = op.size;
            EXPECT_GT(op.size, last_of[op.thread]); /* order of one thread */
            last_of[op.thread] = op.size;
        }
    }
    EXPECT_STR(why, "");
    EXPECT_EQ(nended, NTHREADS);
}

TEST(threads_that_pass_blocks_on)
{
    pthread_t thread[NTHREADS];
    begin();
    for (unsigned i = 0; i < NADDRESSES; i++)
        heap_give(0x10000 + i * 16);
    for (uintptr_t i = 0; i < NTHREADS; i++)
        pthread_create(&thread[i], NULL, work, (void *)i); /* NOLINT */
    while (__atomic_load_n(&nworking, __ATOMIC_ACQUIRE) != 0) {
        recorder_sleep(recorder, recorder_pass(recorder));
    }
    recorder_end(recorder);
    EXPECT_EQ(recorder->totals.lost, 0);
    EXPECT_STR(said, "");
    check_ops();
    for (unsigned i = 0; i < NTHREADS; i++)
        EXPECT_EQ(recorder->area->ring[i].pid, 0);
}

TEST_MAIN()

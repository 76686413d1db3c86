/* SPDX-License-Identifier: MIT
 * test_recorder.c - hakctl record's writer, against rings that the test fills
 * itself: the order of what it writes, files of processes, its limits.
 */
#include "test.h"

#include <hakctl.h>
#include <trace/record.h>

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

/* ---- what hakctl has elsewhere ------------------------------------------- */

static char said[4096];

void ctl_say(const char *format, ...)
{
    size_t n = strlen(said);
    va_list ap;
    va_start(ap, format);
    vsnprintf(said + n, sizeof said - n, format, ap);
    va_end(ap);
}

void ctl_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    _exit(1);
}

/* ---- a recorder ---------------------------------------------------------- */

static struct recorder *recorder;
static char folder[64], file[128], said_of_file[256];

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
}

static void begin_with(struct recorder_options options)
{
    snprintf(folder, sizeof folder, "/tmp/hakmem-recorder-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    snprintf(file, sizeof file, "%s/x.trace", folder);
    recorder = recorder_new(&options, said_of_file, sizeof said_of_file);
    EXPECT(recorder != NULL);
    recorder_first(recorder, getpid(), file);
}

static void begin(void)
{
    begin_with((struct recorder_options){0});
}

/* ---- a thread of a program ----------------------------------------------- */

enum { SELF = 1000 }; /* `process` of this one */

struct thread {
    struct record_ring *ring;
    struct record_entry *entry;
    uint64_t head, ticks;
};

static struct thread take_ring(pid_t pid, uint64_t process)
{
    struct record_area *a = recorder->area;
    for (uint32_t i = 0; i < RECORD_RINGS; i++) {
        uint32_t none = 0;
        struct record_ring *ring = &a->ring[i];
        if (!__atomic_compare_exchange_n(&ring->pid, &none, (uint32_t)pid,
                                         false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        uint32_t nused = __atomic_load_n(&a->nused, __ATOMIC_RELAXED);
        while (nused < i + 1 &&
               !__atomic_compare_exchange_n(&a->nused, &nused, i + 1, false,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            ;
        ring->process = process;
        ring->pid_space = recorder->pid_space;
        ring->started_ticks = a->begun_ticks;
        return (struct thread){ring, record_entries(a, i), ring->head,
                               a->begun_ticks};
    }
    test_fail(__FILE__, __LINE__, "no ring is free");
}

static void wait_for_room(const struct thread *t)
{
    while (t->head + 4 - __atomic_load_n(&t->ring->tail, __ATOMIC_ACQUIRE) >
           RECORD_RING_ENTRIES)
        sched_yield();
}

static void put_raw(struct thread *t, uint64_t value, enum record_kind kind,
                    uint32_t size, uint32_t ticks)
{
    t->entry[t->head++ % RECORD_RING_ENTRIES] =
        (struct record_entry){value | (uint64_t)kind, size, ticks};
}

static void publish(const struct thread *t)
{
    __atomic_store_n(&t->ring->head, t->head, __ATOMIC_RELEASE);
}

static void put_at(struct thread *t, uint64_t ticks, enum record_kind kind,
                   uint64_t address, uint64_t size)
{
    wait_for_room(t);
    uint64_t passed = ticks - t->ticks;
    if (size >= UINT32_MAX)
        put_raw(t, size << 4, RECORD_LONG, 0, 0);
    if (passed >= UINT32_MAX)
        put_raw(t, ticks << 4, RECORD_TIME, 0, 0);
    put_raw(t, address, kind,
            (uint32_t)(size >= UINT32_MAX ? UINT32_MAX : size),
            (uint32_t)(passed >= UINT32_MAX ? UINT32_MAX : passed));
    t->ticks = ticks;
    publish(t);
}

/* At so many microseconds after the beginning, about. */
static void put(struct thread *t, double us, enum record_kind kind,
                uint64_t address, uint64_t size)
{
    static double per_us;
    if (per_us == 0.0) {
        uint64_t ns = record_now_ns(), ticks = record_ticks();
        usleep(20000);
        per_us = (double)(record_ticks() - ticks) /
                 (double)(record_now_ns() - ns) * 1e3;
    }
    put_at(t, recorder->area->begun_ticks + (uint64_t)(us * per_us), kind,
           address, size);
}

/* ---- the file ------------------------------------------------------------ */

/* An operation as text: its thread, a letter, the block or blocks. */
static void append_op(char *text, size_t n, const struct trace_op *op)
{
    static const char letters[] = "mcarfn_R.";
    size_t used = strlen(text);
    used +=
        (size_t)snprintf(text + used, n - used, "%s%u%c", used != 0 ? " " : "",
                         op->thread, letters[op->kind]);
    if (op->kind == TRACE_REALLOC)
        used += (size_t)snprintf(text + used, n - used, "%d>", (int)op->old);
    if (op->kind <= TRACE_FREE || op->kind == TRACE_TOUCHED)
        used += (size_t)snprintf(text + used, n - used, "%d", (int)op->object);
    if (op->kind <= TRACE_REALLOC)
        used += (size_t)snprintf(text + used, n - used, "=%" PRIu64, op->size);
    if (op->kind == TRACE_ALIGNED)
        snprintf(text + used, n - used, "/%d", (int)op->align);
}

/* All operations of a file as text, without how much memory there was. */
static const char *read_ops(const char *path, struct trace_totals *totals)
{
    static char text[4096];
    char why[256] = "";
    struct trace_op op;
    struct trace *t = trace_open(path, NULL, why, sizeof why);
    EXPECT_STR(why, "");
    text[0] = 0;
    while (trace_next(t, &op, why, sizeof why) == 1)
        if (op.kind != TRACE_RESIDENT)
            append_op(text, sizeof text, &op);
    EXPECT_STR(why, "");
    if (totals != NULL)
        EXPECT(trace_totals(t, totals));
    trace_close(t);
    return text;
}

static const char *end(void)
{
    static struct trace_totals totals;
    recorder_end(recorder);
    return read_ops(file, &totals);
}

/* ---- entries ------------------------------------------------------------- */

TEST(one_thread)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 100);
    put(&a, 2, RECORD_CALLOC, 0x2000, UINT64_C(5) << 32);
    put_raw(&a, UINT64_C(4096) << 4, RECORD_VALUE, 0, 0);
    put(&a, 3, RECORD_ALIGNED, 0x3000, 10);
    put(&a, 4, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&a, 5, RECORD_REALLOC_TO, 0x1000, 200);
    put(&a, 6, RECORD_FREE, 0, 0);
    put(&a, 2e7, RECORD_TOUCHED, 0x1000, 4096);
    put(&a, 2e7 + 1, RECORD_FREE, 0x1000, 0);
    put(&a, 2e7 + 2, RECORD_REALLOC_FROM, 0, 0);
    put(&a, 2e7 + 3, RECORD_REALLOC_TO, 0x1000, 7);
    EXPECT_STR(end(), "0m1=100 0c2=21474836480 0a3=10/4096 0r1>4=200 0n 0_4 "
                      "0f4 0r0>5=7");
    EXPECT_EQ(recorder->totals.ncalls, 7);
    EXPECT_EQ(recorder->totals.lost, 0);
}

TEST(times_are_of_the_recording)
{
    char why[64];
    struct trace_op op;
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 50, RECORD_MALLOC, 0x1000, 1);
    put(&a, 1500, RECORD_MALLOC, 0x2000, 1);
    usleep(10000);
    recorder_end(recorder);
    struct trace *t = trace_open(file, NULL, why, sizeof why);
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 1);
    EXPECT_GE(op.time_ns, 48000);
    EXPECT_LE(op.time_ns, 52000);
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 1);
    EXPECT_GE(op.time_ns, 1490000);
    EXPECT_LE(op.time_ns, 1510000);
    EXPECT_CONTAINS(trace_about(t), "\"source\":\"record\"");
    EXPECT_CONTAINS(trace_about(t), "test_recorder");
}

TEST(realloc_that_fails_keeps_the_block)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 100);
    put(&a, 2, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&a, 3, RECORD_REALLOC_TO, 0, 200);
    put(&a, 4, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=100 0r1>0=200 0f1");
}

TEST(free_of_unknown_blocks)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_FREE, 0x1000, 0);
    put(&a, 2, RECORD_TOUCHED, 0x2000, 4096);
    put(&a, 3, RECORD_REALLOC_FROM, 0x2000, 0);
    put(&a, 4, RECORD_REALLOC_TO, 0x1000, 8);
    put(&a, 5, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0f0 0r0>1=8 0f1");
}

/* Its free was lost, and is put in. */
TEST(address_of_a_live_block_is_made_again)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_MALLOC, 0x1000, 2);
    put(&a, 3, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 0f1 0m2=2 0f2");
    EXPECT_EQ(recorder->totals.lost, 1);
}

TEST(nonsense_in_a_ring_is_passed_over)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_NONE, 0x1000, 2);
    put(&a, 3, (enum record_kind)15, 0x1000, 2);
    put(&a, 4, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 0f1");
}

/* Its thread would wait for room for ever. */
TEST(no_nonsense_holds_up_a_ring)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put_at(&a, record_ticks() + (UINT64_C(1) << 50), RECORD_MALLOC, 0x1000, 1);
    for (unsigned i = 0; i < RECORD_RING_ENTRIES; i++)
        put_raw(&b, i << 4, RECORD_LONG, 0, 0);
    publish(&b);
    for (unsigned i = 0; i < 10; i++) {
        recorder_sleep(recorder, recorder_pass(recorder));
        usleep(1000);
    }
    EXPECT_EQ(a.ring->tail, a.ring->head);
    EXPECT_LE(b.ring->head - b.ring->tail, 8);
    b.head += 3 * RECORD_RING_ENTRIES;
    publish(&b);
    recorder_pass(recorder);
    EXPECT_EQ(b.ring->tail, b.ring->head);
}

/* So hakctl is not busy with a ring that it can take nothing from. */
TEST(nothing_taken_is_a_reason_to_sleep)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    a.head += RECORD_RING_ENTRIES;
    publish(&a);
    uint64_t before = record_now_ns();
    recorder_sleep(recorder, 1);
    uint64_t between = record_now_ns();
    recorder_sleep(recorder, 0);
    EXPECT_GE(record_now_ns() - between, RECORD_SLEEP_NS / 2);
    EXPECT_LT(between - before, UINT64_C(1000000000));
}

/* ---- order --------------------------------------------------------------- */

TEST(a_thread_frees_what_another_made)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&a, 2, RECORD_FREE, 0x1000, 0);
    put(&b, 1, RECORD_MALLOC, 0x1000, 1);
    EXPECT_STR(end(), "0m1=1 1f1");
}

/* A thread goes on beyond the next entry of the other, but not for long. */
TEST(threads_change_seldom)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    for (unsigned i = 0; i < 4; i++) {
        put(&a, 1 + i, RECORD_FREE, 0, 0);
        put(&b, 1.5 + i, RECORD_FREE, 0, 0);
    }
    put(&a, 30, RECORD_FREE, 0, 0);
    put(&b, 20, RECORD_FREE, 0, 0);
    EXPECT_STR(end(), "0n 0n 0n 0n 1n 1n 1n 1n 1n 0n");
}

/* By addresses alone, the first free could be that of thread a as well. */
TEST(a_block_goes_to_the_free_that_came_later)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), c = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&c, 3, RECORD_FREE, 0x1000, 0);
    put(&c, 4, RECORD_MALLOC, 0x1000, 2);
    put(&a, 5, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 1f1 1m2=2 0f2");
    EXPECT_EQ(recorder->totals.lost, 0);
}

TEST(an_address_is_used_while_its_block_is_moved)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&b, 20, RECORD_MALLOC, 0x1000, 2);
    put(&a, 40, RECORD_REALLOC_TO, 0x2000, 3);
    put(&b, 21, RECORD_FREE, 0x1000, 0);
    put(&a, 41, RECORD_FREE, 0x2000, 0);
    EXPECT_STR(end(), "0m1=1 1m2=2 1f2 0r1>3=3 0f3");
    EXPECT_EQ(recorder->totals.lost, 0);
}

/* The clock of one processor is behind. */
TEST(clocks_differ_a_little)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&b, 1.0, RECORD_FREE, 0x1000, 0);
    put(&a, 1.5, RECORD_MALLOC, 0x1000, 1);
    put(&a, 1.8, RECORD_MALLOC, 0x2000, 2);
    put(&b, 1.7, RECORD_FREE, 0x2000, 0);
    put(&b, 1.9, RECORD_MALLOC, 0x1000, 3);
    EXPECT_STR(end(), "0m1=1 0m2=2 1f1 1f2 1m3=3");
}

TEST(a_free_does_not_wait_for_an_address_that_comes_much_later)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&b, 1, RECORD_FREE, 0x1000, 0);
    put(&a, 100, RECORD_MALLOC, 0x1000, 1);
    EXPECT_STR(end(), "0f0 1m1=1");
}

/* What is newer than the moment before the heads were read may follow from what
 * is not there yet. */
TEST(the_newest_entries_wait_for_the_next_pass)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put_at(&a, record_ticks() + (UINT64_C(1) << 40), RECORD_FREE, 0x1000, 0);
    EXPECT_EQ(recorder_pass(recorder), 1);
    EXPECT_EQ(recorder->totals.ncalls, 0);
    EXPECT_STR(end(), "0m1=1 0f1");
}

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

/* ---- processes ----------------------------------------------------------- */

/* In a child: put two entries, and end without a word. */
static pid_t child_puts(uint64_t process)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct thread t = take_ring(getpid(), process);
    put(&t, 1, RECORD_MALLOC, 0x1000, 5);
    put(&t, 2, RECORD_FREE, 0x2000, 0);
    _exit(0);
}

static unsigned count_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1000; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

TEST(forks_get_files_and_leave_no_descriptors)
{
    enum { FORKS = 50 };
    char path[256];
    pid_t pids[FORKS];
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x2000, 1);
    recorder_pass(recorder);
    unsigned before = count_descriptors();
    for (unsigned i = 0; i < FORKS; i++) {
        pids[i] = child_puts(2000 + i);
        recorder_pass(recorder);
        waitpid(pids[i], NULL, 0);
        for (unsigned k = 0; k < 3; k++) {
            usleep(RECORD_LOOK_NS / 1000);
            recorder_pass(recorder);
        }
        EXPECT_EQ(count_descriptors(), before);
        EXPECT_EQ(recorder->area->ring[1].pid, 0);
    }
    EXPECT_LE(recorder->area->nused, 2);
    EXPECT_STR(end(), "0m1=1");
    for (unsigned i = 0; i < FORKS; i++) {
        snprintf(path, sizeof path, "%s/x.%d.trace", folder, (int)pids[i]);
        EXPECT_STR(read_ops(path, NULL), "0m1=5 0f0");
    }
    EXPECT_EQ(recorder->totals.nprocesses, FORKS + 1);
}

TEST(exec_begins_another_file)
{
    char path[256];
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    recorder_pass(recorder);
    put(&a, 2, RECORD_MALLOC, 0x2000, 2);
    struct thread b = take_ring(getpid(), SELF + 1);
    put(&b, 3, RECORD_FREE, 0x1000, 0);
    put(&b, 4, RECORD_MALLOC, 0x2000, 3);
    recorder_pass(recorder);
    recorder_pass(recorder);
    EXPECT_EQ(a.ring->pid, 0);
    EXPECT_NE(b.ring->pid, 0);
    EXPECT_STR(read_ops(file, NULL), "0m1=1 0m2=2");
    recorder_end(recorder);
    snprintf(path, sizeof path, "%s/x.%d-2.trace", folder, (int)getpid());
    EXPECT_STR(read_ops(path, NULL), "0f0 0m1=3");
}

TEST(a_ring_is_free_again_when_its_process_put_nothing)
{
    begin();
    pid_t pid = fork();
    if (pid == 0) {
        take_ring(getpid(), 7);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    EXPECT_NE(recorder->area->ring[0].pid, 0);
    usleep(RECORD_LOOK_NS / 1000);
    recorder_pass(recorder);
    EXPECT_EQ(recorder->area->ring[0].pid, 0);
    recorder_end(recorder);
    EXPECT_EQ(access(file, F_OK), -1);
}

/* Its pid may be that of nobody here, or of somebody else. */
TEST(a_process_of_another_namespace_lives)
{
    char path[256];
    begin();
    struct thread a = take_ring(1234567, 9);
    a.ring->pid_space = 1;
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    for (unsigned i = 0; i < 3; i++) {
        usleep(RECORD_LOOK_NS / 1000);
        recorder_pass(recorder);
    }
    EXPECT_EQ(a.ring->pid, 1234567);
    put(&a, 2, RECORD_FREE, 0x1000, 0);
    recorder_end(recorder);
    snprintf(path, sizeof path, "%s/x.1234567.trace", folder);
    EXPECT_STR(read_ops(path, NULL), "0m1=1 0f1");
}

TEST(a_thread_that_ended_gives_its_ring_and_number_away)
{
    begin();
    for (unsigned i = 0; i < 3; i++) {
        struct thread a = take_ring(getpid(), SELF);
        EXPECT_EQ(a.ring - recorder->area->ring, 0);
        a.ring->tid = i;
        put(&a, 1 + i, RECORD_FREE, 0, 0);
        a.ring->lost = 2;
        __atomic_store_n(&a.ring->ended, 1, __ATOMIC_RELEASE);
        recorder_pass(recorder);
    }
    EXPECT_STR(end(), "0n 1n 2n 0. 1. 2.");
    EXPECT_EQ(recorder->totals.lost, 6);
}

/* glibc frees what a thread had when the thread has ended already. */
TEST(a_thread_that_ends_may_take_a_ring_once_more)
{
    begin();
    for (unsigned i = 0; i < 3; i++) {
        struct thread a = take_ring(getpid(), SELF);
        a.ring->tid = 7;
        put(&a, 1 + i, RECORD_FREE, 0, 0);
        __atomic_store_n(&a.ring->ended, 1, __ATOMIC_RELEASE);
        recorder_pass(recorder);
    }
    EXPECT_STR(end(), "0n 0n 0n 0.");
}

/* ---- limits -------------------------------------------------------------- */

TEST(a_number_of_calls)
{
    begin_with((struct recorder_options){.calls = 3});
    struct thread a = take_ring(getpid(), SELF);
    for (unsigned i = 1; i <= 10; i++)
        put(&a, i, RECORD_MALLOC, i * 16, i);
    recorder_pass(recorder);
    EXPECT(!recorder_runs(recorder));
    EXPECT_EQ(recorder->area->stopped, 1);
    EXPECT_STR(end(), "0m1=1 0m2=2 0m3=3");
}

TEST(some_time)
{
    begin_with((struct recorder_options){.duration_ns = 30000000});
    recorder_pass(recorder);
    EXPECT(recorder_runs(recorder));
    usleep(30000);
    recorder_pass(recorder);
    EXPECT(!recorder_runs(recorder));
}

/* The program goes on, and what was written can be read. */
TEST(a_full_disk)
{
    struct rlimit bytes = {20000, 20000};
    char why[256] = "";
    struct trace_op op;
    uint64_t n = 0, random = 1;
    begin();
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &bytes), 0);
    struct thread a = take_ring(getpid(), SELF);
    for (unsigned i = 1; i <= 300000 && recorder_runs(recorder); i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        put(&a, i * 0.01, RECORD_MALLOC, i * 16, random >> 40);
        if (i % 1000 == 0) {
            recorder_pass(recorder);
            recorded_flush(recorder);
        }
    }
    EXPECT(!recorder_runs(recorder));
    EXPECT_EQ(recorder->area->stopped, 1);
    recorder_end(recorder);
    EXPECT(recorder->failed);
    EXPECT_CONTAINS(said, "x.trace: File too large; the recording stops");
    struct trace *t = trace_open(file, NULL, why, sizeof why);
    while (trace_next(t, &op, why, sizeof why) == 1)
        n++;
    EXPECT_STR(why, "");
    EXPECT_GE(n, 1000);
    EXPECT(trace_was_cut(t));
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_recorder_processes.c - hakctl record's writer, against rings that the
 * test fills itself: files of processes, and limits.
 */
#include "recorder.h"

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
        EXPECT_EQ(a.ring->head % RECORD_RING_ENTRIES, 0);
        EXPECT_EQ(a.ring->head, a.ring->tail);
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

/* SPDX-License-Identifier: MIT
 * test_thread_fork.c - threads of the core: fork, also inside of our calls and
 * of our fork handlers.
 */
#include "core_threads.h"

/* ---- fork ------------------------------------------------------------ */

static int in_child(void)
{
    void *p = get(BYTES);
    bool good = p != NULL && span_of(p)->owner == hak_self;
    put(p);
    for (int i = 0; i < 2; i++)
        put(block[i]); /* of threads that the child does not have */
    pthread_t thread;
    good &= pthread_create(&thread, NULL, get_and_end, NULL) == 0 &&
            pthread_join(thread, NULL) == 0;
    hak_thread_reap(0, true);
    return good ? 0 : 1;
}

TEST(the_child_of_a_fork_goes_on)
{
    int status = 1;
    SKIP_TSAN("a child that starts threads");
    start();
    get(BYTES);
    hold(2);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child());
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    expect_content(2);
    let_go(2);
}

/*
 * As in a signal handler that interrupts a call of ours: the lock of what is
 * sealed is held.
 */
static void fork_inside_of_a_call(bool in_child)
{
    int status = 1;
    void *mine[600];
    struct hak_thread *t = hak_self;
    for (int i = 0; i < 600; i++)
        mine[i] = get(BYTES);
    uint64_t live = figures().live_count;
    EXPECT(hak_seal_open());
    pid_t pid = fork();
    if (pid != 0) {
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    if ((pid == 0) == in_child) { /* still in the handler */
        void *p = get(BYTES);
        EXPECT(p != NULL && hak_directory_get(p) == NULL); /* libc's */
        for (int i = 0; i < 600; i++)
            put(mine[i]);
        EXPECT_EQ(hak_report_write(STDERR_FILENO, false), -EAGAIN);
        EXPECT(hak_self == &hak_forker);
        put(p);
    }
    hak_seal_close();
    void *p = get(BYTES);
    EXPECT(hak_self == t && span_of(p)->owner == t);
    put(p);
    if ((pid == 0) == in_child)
        EXPECT_EQ(figures().live_count, live - 600);
    if (pid == 0)
        _exit(0);
}

TEST(a_fork_inside_of_a_call_of_ours)
{
    start();
    put(get(BYTES));
    fork_inside_of_a_call(true);
    fork_inside_of_a_call(false);
}

static struct hak_thread *forker;

static void *watch_forker(void *unused)
{
    for (int i = 0; i < 10000 && forker->heap[ULTRA] != NULL; i++) {
        usleep(1000);
        hak_thread_reap(0, true);
    }
    _exit(forker->heap[ULTRA] == NULL ? 0 : 1);
    return unused;
}

/* Before our last destructor, which libc does not call. */
static void fork_while_ending(void *p)
{
    pthread_t thread;
    int status = 1;
    forker = hak_self;
    put(p);
    pid_t pid = fork();
    if (pid == 0) {
        EXPECT_EQ(pthread_create(&thread, NULL, watch_forker, NULL), 0);
        syscall(SYS_exit, 0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(a_child_of_an_ending_thread_knows_when_that_is_gone)
{
    SKIP_TSAN("a child that starts threads");
    start();
    EXPECT_EQ(pthread_key_create(&key, fork_while_ending), 0);
    run(leave_a_block, NULL);
}

static bool stop;
static struct hak_lock stub_lock;

static void fork_stub(struct hak_box *box, enum hak_fork_phase phase)
{
    (void)box;
    hak_lock_fork(&stub_lock, phase);
}

static void lock_stub(enum hak_fork_phase phase)
{
    hak_lock_fork(&stub_lock, phase);
}

static void (*const locks[])(enum hak_fork_phase phase) = {
    hak_report_lock, lock_stub,        hak_modules_lock,
    hak_thread_lock, hak_mailbox_lock, hak_policy_lock,
    hak_seal_lock,   hak_space_lock,   hak_meta_lock,
};
enum { LOCKS = sizeof locks / sizeof locks[0] };
static struct {
    bool inside, had[LOCKS];
    int waiting;
} fork_seen;

static void *want_lock(void *which)
{
    uintptr_t i = (uintptr_t)which;
    while (!__atomic_load_n(&fork_seen.inside, __ATOMIC_ACQUIRE))
        usleep(100);
    __atomic_add_fetch(&fork_seen.waiting, 1, __ATOMIC_RELEASE);
    locks[i](HAK_FORK_PREPARE);
    __atomic_store_n(&fork_seen.had[i], true, __ATOMIC_RELEASE);
    locks[i](HAK_FORK_PARENT);
    return NULL;
}

/* A handler that is older than ours runs when ours is through. */
static void look_inside(void)
{
    __atomic_store_n(&fork_seen.inside, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&fork_seen.waiting, __ATOMIC_ACQUIRE) < LOCKS)
        usleep(100);
    usleep(50000);
    for (int i = 0; i < LOCKS; i++)
        if (__atomic_load_n(&fork_seen.had[i], __ATOMIC_ACQUIRE))
            test_fail(__FILE__, __LINE__, "lock %d is free", i);
}

TEST(fork_holds_every_lock)
{
    pthread_t thread[LOCKS];
    int status = 1;
    char why[256];
    EXPECT_EQ(pthread_atfork(look_inside, NULL, NULL), 0);
    start();
    EXPECT_EQ(hak_module_open("learner", why, sizeof why), 0);
    stub.ops.fork = fork_stub;
    add_stub();
    for (uintptr_t i = 0; i < LOCKS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, want_lock, (void *)i), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < LOCKS; i++) {
            locks[i](HAK_FORK_PREPARE);
            locks[i](HAK_FORK_PARENT);
        }
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    for (int i = 0; i < LOCKS; i++) {
        pthread_join(thread[i], NULL);
        EXPECT(fork_seen.had[i]);
    }
}

static void *take_each_lock(void *unused)
{
    for (int i = 0; i < LOCKS; i++) {
        locks[i](HAK_FORK_PREPARE);
        locks[i](HAK_FORK_PARENT);
    }
    put(get(BYTES));
    return unused;
}

static struct {
    enum hak_fork_phase phase;
    bool done;
} signal_at;

/* A signal handler forks in the middle of our fork handlers; its child goes on
 * with them. */
static void fork_in_fork_stub(struct hak_box *box, enum hak_fork_phase phase)
{
    int status = 1;
    fork_stub(box, phase);
    if (signal_at.done || phase != signal_at.phase)
        return;
    signal_at.done = true;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        run(take_each_lock, NULL);
        return;
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(a_fork_in_the_middle_of_our_fork_handlers)
{
    SKIP_TSAN("a child that starts threads");
    start();
    stub.ops.fork = fork_in_fork_stub;
    add_stub();
    void *p = get(BYTES);
    pid_t original = getpid();
    for (signal_at.phase = HAK_FORK_PREPARE;
         signal_at.phase <= HAK_FORK_CHILD && getpid() == original;
         signal_at.phase++) {
        int status = 0;
        signal_at.done = false;
        pid_t pid = fork();
        EXPECT(hak_self == span_of(p)->owner);
        run(take_each_lock, NULL);
        if (pid == 0)
            _exit(0);
        if (waitpid(pid, &status, 0) != pid) /* the parent's child */
            EXPECT_NE(getpid(), original);
        EXPECT_EQ(status, 0);
    }
}

static void count_under_lock(struct hak_box *box, struct hak_box_stats *out)
{
    (void)box;
    hak_lock_take(&stub_lock);
    out->live_count = 1;
    hak_lock_drop(&stub_lock);
}

static void *keep_reporting(void *unused)
{
    int fd = open("/dev/null", O_WRONLY);
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        EXPECT_EQ(hak_report_write(fd, false), 0);
    return NULL;
}

/* The report has a lock, and asks boxes that may have one of their own. */
TEST(fork_beside_a_report)
{
    pthread_t thread;
    start();
    stub.ops.fork = fork_stub;
    stub.ops.stats = count_under_lock;
    add_stub();
    EXPECT_EQ(pthread_create(&thread, NULL, keep_reporting, NULL), 0);
    for (int i = 0; i < 300; i++) {
        int status = 1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

TEST_MAIN()

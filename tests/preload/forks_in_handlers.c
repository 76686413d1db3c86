/* SPDX-License-Identifier: MIT
 * forks_in_handlers.c - signal handlers that fork in the middle of a fork, a
 * malloc or a free of their own thread.
 *
 * glibc takes no lock in a process of one thread, so there it works. Its malloc
 * may be half way then, so what allocates in a child before its handler returns
 * is for hakmem alone.
 */
#include "forked.h"
#include "refuse.h"

#include <malloc.h>

/* ---- what children do ---------------------------------------------------- */

enum child {
    CHILD_EXITS,     /* at once */
    CHILD_ALLOCATES, /* in the handler */
    CHILD_FORKS,     /* in the handler, then returns from it */
    CHILD_RETURNS,   /* and goes on with what the signal interrupted */
    CHILD_KINDS,
};

static pid_t original;
static struct block kept[64]; /* the parent's, for children to free */

static void keep_some(void)
{
    for (size_t i = 0; i < 64; i++) {
        kept[i].n = i % 3 == 0 ? 5000 * i : 30 * i;
        kept[i].p = malloc(kept[i].n);
        EXPECT(kept[i].p != NULL);
        fill(kept[i].p, kept[i].n, i);
    }
}

static void free_kept(void)
{
    for (size_t i = 0; i < 64; i++) {
        EXPECT_PATTERN(kept[i].p, kept[i].n, i);
        if (i % 4 == 0) {
            kept[i].p = realloc(kept[i].p, kept[i].n + 100);
            EXPECT_PATTERN(kept[i].p, kept[i].n, i);
        }
        free(kept[i].p);
        kept[i] = (struct block){NULL, 0};
    }
}

/* In the child of a handler that interrupted this, it is another's child. */
static void wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            EXPECT_NE(getpid(), original);
            return;
        }
    EXPECT_EQ(status, 0);
}

static void fork_and_wait(void)
{
    pid_t pid = fork_or_die();
    if (pid == 0)
        _exit(0);
    expect_child_ok(pid, CHILD_SECONDS);
}

/* What the handler does. Threads only where no lock can be held. */
static void fork_here(enum child kind, bool threads)
{
    pid_t pid = fork_or_die();
    if (pid != 0) {
        expect_child_ok(pid, CHILD_SECONDS);
        return;
    }
    if (kind == CHILD_ALLOCATES) {
        free_kept();
        own_work(2);
        fork_and_wait();
        if (threads)
            child_threads();
        own_work(3);
    }
    if (kind == CHILD_FORKS)
        fork_and_wait();
    if (kind < CHILD_FORKS)
        _exit(0);
}

/* Threads with stacks of the test's: pthread_create maps none for them. */
static void threads_on_own_stacks(void)
{
    static char stack[2][256 * KIB] __attribute__((aligned(4096)));
    pthread_t thread[2];
    pthread_attr_t attr;
    for (int i = 0; i < 2; i++) {
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, stack[i], sizeof stack[i]);
        EXPECT_EQ(pthread_create(&thread[i], &attr, thread_work, NULL), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
}

/* Where the interrupted calls are over: children have lived long enough. */
static void end_of_children(void)
{
    if (getpid() == original)
        return;
    own_work(5);
    free_kept();
    threads_on_own_stacks();
    fork_and_wait();
    own_work(6);
    _exit(0);
}

/* ---- in the middle of a fork --------------------------------------------- */

static volatile struct {
    int phase; /* -1: none */
    enum child kind;
    int signals;
} inside = {.phase = -1};

static void on_signal(int signal_number)
{
    (void)signal_number;
    inside.phase = -1;
    inside.signals++;
    fork_here(inside.kind, true);
}

/* Older than the allocator's handlers: it holds its locks. */
static void interrupt_in(int phase)
{
    if (inside.phase == phase)
        raise(SIGUSR1);
}

static void in_prepare(void)
{
    interrupt_in(0);
}

static void in_parent(void)
{
    interrupt_in(1);
}

static void in_child(void)
{
    interrupt_in(2);
}

static void register_handlers(void)
{
    register_older(in_prepare, in_parent, in_child);
}

__attribute__((section(".preinit_array"),
               used)) static void (*at_start)(void) = register_handlers;

/* Both sides of the outer fork, in each process that there is of it. */
static void fork_around(int phase, enum child kind)
{
    inside.kind = kind;
    inside.phase = phase;
    inside.signals = 0;
    pid_t pid = fork_or_die();
    if (pid == 0) {
        EXPECT_EQ(inside.signals, phase != 1);
        own_work(7);
        free_kept();
        child_threads();
        _exit(0);
    }
    EXPECT_EQ(inside.signals, phase != 2);
    wait_for(pid);
    end_of_children();
    own_work(8);
}

static void check_inside_forks(void)
{
    alarm(60);
    original = getpid();
    EXPECT(signal(SIGUSR1, on_signal) != SIG_ERR);
    keep_some();
    for (int phase = 0; phase < 3; phase++)
        for (enum child kind = 0; kind < CHILD_KINDS; kind++)
            fork_around(phase, kind);
    child_threads();
    free_kept();
}

TEST(in_the_middle_of_a_fork)
{
    check_inside_forks();
}

/* As above, when the process has had threads. */
TEST(in_the_middle_of_a_fork_with_threads)
{
    child_threads();
    check_inside_forks();
}

/* ---- at every call of the kernel ------------------------------------------
 */

#if defined(__x86_64__)

enum { FORKS = 100 };
static volatile struct {
    int calls, forks;
    bool off;
} kernel;

static void on_call(int signal_number, siginfo_t *info, void *state)
{
    enum child kind = (enum child)(kernel.forks % CHILD_KINDS);
    bool forks = !kernel.off && getpid() == original;
    (void)signal_number;
    if (forks && kernel.calls++ % 3 == 0) {
        int error = errno;
        kernel.off = true;
        kernel.forks++;
        if (kind == CHILD_ALLOCATES && !under_hakmem())
            kind = CHILD_EXITS;
        fork_here(kind, false);
        kernel.off = false;
        errno = error;
    }
    on_refusable(signal_number, info, state);
}

/* Blocks that come and go, of all sizes. */
static void churn(uint64_t *random)
{
    enum { SLOTS = 100 };
    static struct block slot[SLOTS];
    struct block *s = &slot[random_below(random, SLOTS)];
    EXPECT_PATTERN(s->p, s->n < 4096 ? s->n : 4096, 9);
    free(s->p);
    s->n = random_size(random, 4, random_below(random, 10) == 0 ? 23 : 13);
    s->p = malloc(s->n);
    EXPECT(s->p != NULL);
    fill(s->p, s->n < 4096 ? s->n : 4096, 9);
}

/*
 * They are made under the allocator's locks, most of them; SIGSYS is what shows
 * them, and its handler forks.
 */
TEST(at_every_call_of_the_kernel)
{
    struct sigaction action = {.sa_sigaction = on_call,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};
    uint64_t random = 1;
    alarm(120);
    original = getpid();
    keep_some();
    if (!refuse_start())
        SKIP("no seccomp");
    refuse_stop();
    EXPECT_EQ(sigaction(SIGSYS, &action, NULL), 0);
    double until = seconds() + 3;
    while (kernel.forks < FORKS && seconds() < until) {
        churn(&random);
        if (kernel.forks % 10 == 9)
            malloc_trim(0);
        end_of_children();
    }
    EXPECT_GE(kernel.forks, 4); /* each kind */
    kernel.off = true;
    free_kept();
    own_work(10);
}

/* ---- at any time -----------------------------------------------------------
 */

static uint64_t when = 3;
static volatile int nhandled;
static timer_t timer; /* the original's alone */

/* From the end of one handler to the next signal: up to 2 ms. */
static void set_timer(void)
{
    struct itimerspec t = {{0, 0}, {0, 1 + (long)random_below(&when, 2000000)}};
    timer_settime(timer, 0, &t, NULL);
}

static void on_timer(int signal_number)
{
    enum child kind = (enum child)(nhandled++ % CHILD_KINDS);
    int error = errno;
    (void)signal_number;
    if (kind == CHILD_ALLOCATES && !under_hakmem())
        kind = CHILD_EXITS;
    fork_here(kind, false);
    if (getpid() == original)
        set_timer();
    errno = error;
}

TEST(at_any_time)
{
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
                             .sigev_signo = SIGUSR2};
    uint64_t random = 2;
    alarm(60);
    original = getpid();
    keep_some();
    EXPECT_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    EXPECT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    set_timer();
    double until = seconds() + 2;
    for (int i = 0; seconds() < until; i++) {
        churn(&random);
        end_of_children();
        if (i % 50 != 0)
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            own_work(11);
            _exit(0);
        }
        wait_for(pid);
        end_of_children();
    }
    signal(SIGUSR2, SIG_IGN);
    EXPECT_GE(nhandled, 4);
    free_kept();
}

#endif

TEST_MAIN()

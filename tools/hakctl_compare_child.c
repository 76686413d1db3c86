/* SPDX-License-Identifier: MIT
 * hakctl_compare_child.c - starts, awaits and ends the processes of hakctl
 * compare.
 *
 * The signals that matter are blocked for good and taken by sigtimedwait, so
 * none can come between a test and a wait. Each child leads a process group, so
 * that Ctrl-C reaches hakctl alone, which then ends the whole group.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigset_t waited_for, before;
static bool asked_to_end;

void compare_signals_start(void)
{
    signal(SIGCHLD, SIG_DFL); /* if ignored, no child could be awaited */
    sigemptyset(&waited_for);
    sigaddset(&waited_for, SIGCHLD);
    sigaddset(&waited_for, SIGINT);
    sigaddset(&waited_for, SIGTERM);
    if (signal(SIGHUP, SIG_DFL) != SIG_IGN)
        sigaddset(&waited_for, SIGHUP);
    else
        signal(SIGHUP, SIG_IGN); /* as under nohup */
    sigprocmask(SIG_BLOCK, &waited_for, &before);
    /* What a server has started becomes a child of hakctl when the server
     * ends, so its end can be awaited. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool compare_interrupted(void)
{
    return asked_to_end;
}

int64_t compare_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- starting ------------------------------------------------------------ */

static void use_fd(int fd, int as)
{
    if (fd < 0)
        fd = open("/dev/null", as == STDIN_FILENO ? O_RDONLY : O_WRONLY);
    if (fd != as)
        dup2(fd, as);
}

/* In the child: execute. Only an error reaches the pipe. */
__attribute__((noreturn)) static void become(const struct compare_start *how,
                                             pid_t parent, int to)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it has ended before */
        _exit(CTL_CANNOT_RUN);
    use_fd(how->in, STDIN_FILENO);
    use_fd(how->out, STDOUT_FILENO);
    use_fd(how->err, STDERR_FILENO);
    sigprocmask(SIG_SETMASK, &before, NULL);
    execvpe(how->argv[0], how->argv, how->environment);
    int error = errno;
    while (write(to, &error, sizeof error) < 0 && errno == EINTR)
        ;
    _exit(CTL_CANNOT_RUN);
}

int compare_start(struct compare_child *child, const struct compare_start *how)
{
    int ends[2], error = 0;
    pid_t own = getpid();
    *child = (struct compare_child){0};
    child->started_ns = compare_now_ns();
    child->pid = ctl_fork(ends);
    if (child->pid == 0)
        become(how, own, ends[1]);
    setpgid(child->pid, child->pid); /* whoever of both comes first */
    close(ends[1]);
    ssize_t got = read(ends[0], &error, sizeof error);
    close(ends[0]);
    if (got != (ssize_t)sizeof error)
        return 0;
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    child->ended = true;
    return -error;
}

/* ---- waiting ------------------------------------------------------------- */

static void reap(struct compare_child *child)
{
    if (child == NULL || child->ended)
        return;
    if (wait4(child->pid, &child->status, WNOHANG, &child->usage) != child->pid)
        return;
    child->ended_ns = compare_now_ns();
    child->ended = true;
}

/* Wait for a signal, or for the time. Returns whether it asks to end. */
static bool next_signal(int64_t until_ns)
{
    int64_t left = until_ns - compare_now_ns();
    if (left < 0)
        left = 0;
    struct timespec t = {.tv_sec = left / 1000000000,
                         .tv_nsec = left % 1000000000};
    int got = sigtimedwait(&waited_for, NULL, &t);
    bool asks = got > 0 && got != SIGCHLD;
    asked_to_end |= asks;
    return asks;
}

void compare_wait(struct compare_child *a, struct compare_child *b,
                  int64_t until_ns)
{
    for (;;) {
        reap(a);
        reap(b);
        if (a->ended || (b != NULL && b->ended) || asked_to_end ||
            compare_now_ns() >= until_ns)
            return;
        next_signal(until_ns);
    }
}

static void add_usage(struct rusage *sum, const struct rusage *more)
{
    timeradd(&sum->ru_utime, &more->ru_utime, &sum->ru_utime);
    timeradd(&sum->ru_stime, &more->ru_stime, &sum->ru_stime);
    sum->ru_minflt += more->ru_minflt;
    if (more->ru_maxrss > sum->ru_maxrss)
        sum->ru_maxrss = more->ru_maxrss;
}

/* Take the ended processes of the group, which are hakctl's children once the
 * one that started them has ended. Returns whether none is left. */
static bool is_group_gone(struct compare_child *child)
{
    pid_t got;
    struct rusage usage;
    reap(child);
    if (!child->ended)
        return false;
    while ((got = wait4(-child->pid, NULL, WNOHANG, &usage)) > 0)
        add_usage(&child->usage, &usage);
    return got < 0 && errno == ECHILD;
}

bool compare_end(struct compare_child *child)
{
    const int64_t second = 1000000000, step = second / 50;
    int64_t until = compare_now_ns() + 10 * second;
    bool gone = is_group_gone(child), at_once = false;
    if (!gone)
        kill(-child->pid, SIGTERM);
    while (!gone && !at_once && compare_now_ns() < until) {
        at_once = next_signal(compare_now_ns() + step);
        gone = is_group_gone(child);
    }
    if (gone)
        return false;
    kill(-child->pid, SIGKILL);
    until = compare_now_ns() + 10 * second;
    while (!is_group_gone(child) && compare_now_ns() < until)
        next_signal(compare_now_ns() + step);
    return true;
}

int compare_run_to_end(struct compare_child *child,
                       const struct compare_start *how)
{
    int error = compare_start(child, how);
    if (error != 0)
        return error;
    compare_wait(child, NULL, INT64_MAX);
    if (!child->ended)
        compare_end(child);
    return 0;
}

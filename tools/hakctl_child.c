/* SPDX-License-Identifier: MIT
 * hakctl_child.c - runs a program as a child, and passes signals on to it.
 *
 * The signals are blocked for good and taken by sigtimedwait, so that none is
 * lost between a test and a wait.
 */
#include "hakctl.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* The signals that are passed on: all but those that are faults of hakctl
 * itself, and those that stop it together with the program. */
static void choose_signals(sigset_t *set)
{
    static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP,
                              SIGABRT, SIGSYS,  SIGPIPE, SIGXFSZ, SIGTSTP,
                              SIGTTIN, SIGTTOU, SIGKILL, SIGSTOP};
    sigfillset(set);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(set, own[i]);
}

void ctl_child_start(struct ctl_child *child, char **argv, const char *preload)
{
    struct sigaction usual = {.sa_handler = SIG_DFL}, old;
    *child = (struct ctl_child){0};
    choose_signals(&child->passed);
    sigprocmask(SIG_BLOCK, &child->passed, &child->before);
    sigaction(SIGCHLD, &usual,
              &old); /* if ignored, no child could be awaited */
    fflush(NULL);
    child->pid = fork();
    if (child->pid < 0)
        ctl_die("fork: %s", strerror(errno));
    if (child->pid != 0) {
        signal(SIGXFSZ, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        return;
    }
    sigaction(SIGCHLD, &old, NULL);
    sigprocmask(SIG_SETMASK, &child->before, NULL);
    int status = ctl_run_program(argv, preload);
    fflush(NULL);
    _exit(status);
}

/* A signal that the terminal sent has reached the child as well. */
bool ctl_child_look(struct ctl_child *child, bool wait)
{
    const struct timespec none = {0};
    siginfo_t info;
    while (!child->ended) {
        if (sigtimedwait(&child->passed, &info, wait ? NULL : &none) < 0) {
            if (!wait && errno != EINTR)
                return false;
        } else if (info.si_signo != SIGCHLD) {
            if (info.si_code != SI_KERNEL)
                kill(child->pid, info.si_signo);
        } else if (wait4(child->pid, &child->status, WNOHANG, &child->usage) ==
                   child->pid) {
            sigprocmask(SIG_SETMASK, &child->before, NULL);
            child->ended = true;
        }
    }
    return true;
}

int ctl_child_status(const struct ctl_child *child)
{
    return WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status)
                                      : WEXITSTATUS(child->status);
}

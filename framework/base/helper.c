/* SPDX-License-Identifier: MIT
 * helper.c - starts threads of modules, and parts their descriptors from the
 * program's.
 */
#include <base/helper.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/close_range.h>

int hak_helper_start(const char *name, void *(*run)(void *), size_t stack_bytes)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int error = pthread_attr_init(&attr);
    if (error != 0)
        return -error;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack_bytes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, run, NULL);
    if (error == 0)
        pthread_setname_np(thread, name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -error;
}

int hak_helper_own_descriptors(void)
{
    if (close_range(0, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        return -errno;
    for (int i = 0; i < 3; i++)
        if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0 &&
            socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0)
            return -errno;
    return 0;
}

/* A duplicate of descriptor 2 of the program's table, or -1. A sandbox may
 * refuse pidfd_getfd; then /proc opens anew what is no socket. */
static int fetch_stderr(void)
{
    int process = pidfd_open(getpid(), 0);
    int fd = process >= 0 ? pidfd_getfd(process, STDERR_FILENO, 0) : -1;
    if (process >= 0)
        close(process);
    /* self is the whole process here, so these are the program's. */
    return fd >= 0 ? fd
                   : open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NOCTTY |
                                                 O_NONBLOCK | O_CLOEXEC);
}

/* The thread must not keep the program's stderr: a reader of it would wait for
 * its end when the program has closed it. So it is fetched for the time of a
 * message, or of a call in which the core and boxes may print one. */
void hak_helper_lend_stderr(bool lend)
{
    int fd = lend ? fetch_stderr() : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    dup3(fd, STDERR_FILENO, O_CLOEXEC);
    close(fd);
}

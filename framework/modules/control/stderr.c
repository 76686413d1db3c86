/* SPDX-License-Identifier: MIT
 * stderr.c - lends the program's stderr to the control thread.
 *
 * The thread has its own table of descriptors, and there 2 is /dev/null. It
 * must not keep the program's stderr: a reader of it would wait for its end
 * when the program has closed it. So it is fetched for the time of a message,
 * or of a change in which the core and boxes may print one.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <unistd.h>

/* A duplicate of descriptor 2 of the program's table, or -1. A sandbox may
 * refuse pidfd_getfd; then /proc opens anew what is no socket. */
static int fetch(void)
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

void hak_control_lend_stderr(bool lend)
{
    int fd = lend ? fetch() : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    dup3(fd, STDERR_FILENO, O_CLOEXEC);
    close(fd);
}

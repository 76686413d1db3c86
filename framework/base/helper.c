/* SPDX-License-Identifier: MIT
 * helper.c - starts threads of modules, and parts their descriptors from the
 * program's.
 */
#include <base/helper.h>

#include <base/object.h>

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/close_range.h>

/* ---- threads that glibc does not count ----------------------------------- */

/*
 * glibc counts the threads of the process, and the one that takes the last off
 * calls exit(0). A program may rely on that and end all its threads by
 * pthread_exit. A helper must not keep such a process alive, and cannot call
 * exit itself: the exit handlers are the program's and need its descriptors,
 * which the kernel closes with its last thread. So a helper is taken off the
 * count as soon as it runs, and put on again before it ends. The program's last
 * thread then calls exit as it does without helpers.
 *
 * The variable is exported for glibc's own libthread_db. Without it the helpers
 * are counted, and such a program does not end.
 */
static unsigned *count_of_threads(void)
{
    struct hak_object libc;
    return hak_object_of(gnu_get_libc_version(), &libc)
               ? hak_object_variable(&libc, "__nptl_nthreads", sizeof(unsigned))
               : NULL;
}

/* By the thread that has started the helper. before: the count before that; 0:
 * the process is in exit already. The program's threads are counted themselves,
 * so the count becomes 0 only if a helper has started another one, and the
 * program's last thread has ended meanwhile. */
static void take_off(unsigned *count, unsigned before)
{
    if (__atomic_fetch_sub(count, 1, __ATOMIC_ACQ_REL) == 1 && before != 0)
        exit(0);
}

/* By a helper that ends. If the count is 0, the program's last thread is in
 * exit, which the end of another thread must not enter. */
static void put_on(unsigned *count)
{
    unsigned n = __atomic_load_n(count, __ATOMIC_RELAXED);
    while (n == 0 ||
           !__atomic_compare_exchange_n(count, &n, n + 1, true,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        if (n == 0)
            pause();
}

/* ---- helpers ------------------------------------------------------------- */

static void *run_helper(void *of)
{
    void *(*run)(void *);
    *(void **)&run = of;
    run(NULL);
    unsigned *count = count_of_threads();
    if (count != NULL)
        put_on(count);
    return NULL;
}

static int start_thread(const char *name, void *(*run)(void *),
                        size_t stack_bytes)
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
    error = pthread_create(&thread, &attr, run_helper, *(void **)&run);
    if (error == 0)
        pthread_setname_np(thread, name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -error;
}

int hak_helper_start(const char *name, void *(*run)(void *), size_t stack_bytes)
{
    unsigned *count = count_of_threads();
    unsigned before =
        count != NULL ? __atomic_load_n(count, __ATOMIC_RELAXED) : 0;
    int error = start_thread(name, run, stack_bytes);
    if (error == 0 && count != NULL)
        take_off(count, before);
    return error;
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

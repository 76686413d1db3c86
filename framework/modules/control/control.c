/* SPDX-License-Identifier: MIT
 * control.c - module "control": a socket by which the running process is asked
 * and changed.
 *
 * The socket is served by a thread of its own, which starts on a slow path of
 * malloc and not in the constructor, as that of module background. In the child
 * of a fork it starts again, with a socket of its own.
 *
 * The thread has its own table of descriptors (base/helper.h), so that the
 * program cannot close the socket.
 */
#include "control.h"

#include <base/helper.h>
#include <base/log.h>
#include <base/text.h>
#include <conf/conf.h>
#include <kit/base.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Loading a box calls dlopen and the box's constructors, so this is more than
 * module background needs. Only what is used becomes resident. */
enum { STACK_BYTES = 256 << 10 };

/* A fork's child waits so long before it makes its socket. Most children call
 * exec at once, and that would leave the file behind. */
static const struct timespec child_pause = {.tv_nsec = 100000000};

static struct {
    const struct hak_module_host *host;
    pid_t pid;         /* of the process that the thread serves */
    bool wants_thread; /* the next slow path is to start it; atomic */
    bool stopping;     /* the process exits; atomic */
    bool is_child;     /* of a fork */
    bool listening;    /* socket is valid; atomic */
    struct hak_control_socket socket;
} self;

/* Print a message about the key that asks for the socket. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    hak_say("[control] socket = %s: %s", self.host->conf->control_socket, text);
}

/* ---- the thread ---------------------------------------------------------- */

/* Make the socket. If the process exits meanwhile, stop() may have found none,
 * so its file is removed here. */
static int listen_now(void)
{
    char why[400];
    int error = hak_control_listen(self.host->conf->control_socket,
                                   &self.socket, why, sizeof why);
    if (error != 0) {
        /* A child of a fork takes no socket that its parent listens at, and
         * that is no mistake. */
        if (error != -EADDRINUSE || !self.is_child) {
            hak_helper_lend_stderr(true);
            tell("%s", why);
            hak_helper_lend_stderr(false);
        }
        return error;
    }
    __atomic_store_n(&self.listening, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&self.stopping, __ATOMIC_SEQ_CST))
        hak_control_remove(&self.socket);
    return 0;
}

static void *serve(void *unused)
{
    (void)unused;
    int error = hak_helper_own_descriptors();
    if (error != 0) {
        tell("it needs close_range(2) of Linux 5.9, and that says: %s",
             strerrordesc_np(-error));
        return NULL;
    }
    if (self.is_child)
        nanosleep(&child_pause, NULL);
    const struct hak_control_self known = {self.host, self.socket.path,
                                           hak_helper_lend_stderr};
    while (listen_now() == 0) {
        hak_control_serve(&known, self.socket.fd);
        close(self.socket.fd);
        hak_control_remove(&self.socket);
        sleep(1);
    }
    return NULL;
}

/* ---- the module ---------------------------------------------------------- */

static int start(const struct hak_module_host *host)
{
    self.host = host;
    hak_control_read_environment();
    return 0;
}

/* The thread of a fork's parent does not exist in the child, and neither do its
 * descriptors and replies. */
static void run(void)
{
    self.is_child = self.pid != 0;
    self.pid = getpid();
    self.listening = false;
    self.wants_thread = true;
    self.host->want(self.host);
}

static void slow_path(void)
{
    if (!__atomic_exchange_n(&self.wants_thread, false, __ATOMIC_RELAXED))
        return;
    int error = hak_helper_start("hakmem", serve, STACK_BYTES);
    if (error != 0)
        tell("no thread: %s", strerrordesc_np(error));
}

/* Remove the socket's file. A child that was made without fork handlers (vfork,
 * clone) leaves that to the process that made it. */
static void stop(void)
{
    if (self.pid != getpid())
        return;
    __atomic_store_n(&self.stopping, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&self.listening, __ATOMIC_SEQ_CST))
        hak_control_remove(&self.socket);
}

HAK_MODULE(control) = {
    HAK_MODULE_HEADER("control"), .start = start, .run = run, .stop = stop,
    .slow_path = slow_path,
};

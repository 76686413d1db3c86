/* SPDX-License-Identifier: MIT
 * background.c - a thread that gives back what nobody calls for.
 *
 * Memory ages on the slow paths of the program's own threads, so a program that
 * sleeps keeps what it had. With [core] background = yes there is one thread
 * more, which does for all of them what their slow paths would do.
 *
 * It starts at a slow path and not in the constructor: a process that only
 * forks and calls exec pays nothing, and a child of a fork, in which no thread
 * but the forking one is left, starts its own the same way.
 */
#include <base/log.h>
#include <conf/conf.h>
#include <hakmem/module.h>
#include <hakmem/version.h>
#include <kit/base.h>

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <string.h>

enum {
    STACK_BYTES = 128 << 10,
    LEAST_MS = 10,
};

static const struct hak_module_host *host;

__attribute__((noreturn)) static void *run(void *unused)
{
    (void)unused;
    uint64_t ms = hak_max(host->conf->purge_delay_ms / 2, LEAST_MS);
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * 1000000};
    for (;;) {
        nanosleep(&pause, NULL);
        host->age();
    }
}

/* The program's signals are for its own threads. */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int error = pthread_attr_init(&attr);
    if (error != 0)
        return error;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, run, NULL);
    if (error == 0)
        pthread_setname_np(thread, "hakmem");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

static void ask_for_thread(void)
{
    host->want(host);
}

static void slow_path(void)
{
    int error = start_thread();
    if (error != 0)
        hak_say("[core] background = yes: no thread: %s", strerror(error));
}

static int start(const struct hak_module_host *of_core)
{
    host = of_core;
    return 0;
}

HAK_MODULE_EXPORT extern const struct hak_module_entry
    HAK_MODULE_ENTRY(background);
const struct hak_module_entry HAK_MODULE_ENTRY(background) = {
    .version = HAK_MODULE_VERSION,
    .core_version = HAK_VERSION,
    .name = "background",
    .start = start,
    .run = ask_for_thread,
    .slow_path = slow_path,
};

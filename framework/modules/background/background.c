/* SPDX-License-Identifier: MIT
 * background.c - module "background": a thread that ages memory.
 *
 * Memory ages on the slow paths of the program's own threads, so a program that
 * sleeps keeps all its free memory. With [core] background = yes one more
 * thread ages the memory of all threads.
 *
 * The thread starts on a slow path of malloc and not in the constructor. So a
 * process that only forks and calls exec does not pay for it. A child of a
 * fork, in which the parent's background thread does not exist, starts its own
 * in the same way.
 */
#include <base/log.h>
#include <conf/conf.h>
#include <hakmem/module.h>
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

__attribute__((noreturn)) static void *age_for_ever(void *unused)
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

/* The thread is created with all signals blocked, so that the program's signals
 * arrive at the program's own threads. */
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
    error = pthread_create(&thread, &attr, age_for_ever, NULL);
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

HAK_MODULE(background) = {
    HAK_MODULE_HEADER("background"),
    .start = start,
    .run = ask_for_thread,
    .slow_path = slow_path,
};

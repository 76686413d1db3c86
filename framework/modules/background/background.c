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
#include <base/helper.h>
#include <base/log.h>
#include <conf/conf.h>
#include <hakmem/module.h>
#include <kit/base.h>

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
    for (;;) { /* the delay may be changed while the process runs */
        uint64_t ms = hak_max(host->conf->purge_delay_ms / 2, LEAST_MS);
        struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                 .tv_nsec = (long)(ms % 1000) * 1000000};
        nanosleep(&pause, NULL);
        host->age();
    }
}

static void ask_for_thread(void)
{
    host->want(host);
}

static void slow_path(void)
{
    int error = hak_helper_start("hakmem", age_for_ever, STACK_BYTES);
    if (error != 0)
        hak_say("[core] background = yes: no thread: %s",
                strerrordesc_np(-error));
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

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
#include "core.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum {
    STACK_BYTES = 128 << 10,
    SPACE_TICKS = 16, /* each gives back a little */
    LEAST_MS = 10,
};

static uint32_t wanted; /* atomic: a thread is to be started */

static void age_all(void)
{
    for (int i = 0; i < SPACE_TICKS; i++)
        hak_space_tick();
    uint64_t now_ms = hak_os_now_ms();
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) && (t = hak_thread_attach()) == NULL)
        return;
    hak_parcel_post(t);
    hak_parcel_receive(t);
    hak_thread_reap(now_ms, false);
    hak_parcel_age(t, now_ms);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.age != NULL)
            b->ops.age(&b->box);
    }
}

__attribute__((noreturn)) static void *run(void *unused)
{
    (void)unused;
    uint64_t ms = hak_max(hak_space_purge_delay_ms() / 2, LEAST_MS);
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * 1000000};
    for (;;) {
        nanosleep(&pause, NULL);
        age_all();
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

void hak_background_want(void)
{
    __atomic_store_n(&wanted, hak_conf.background, __ATOMIC_RELAXED);
}

void hak_background_look(void)
{
    if (likely(__atomic_load_n(&wanted, __ATOMIC_RELAXED) == 0) ||
        __atomic_exchange_n(&wanted, 0, __ATOMIC_RELAXED) == 0)
        return;
    int error = start_thread();
    if (error != 0)
        hak_say("[core] background = yes: no thread: %s", strerror(error));
}

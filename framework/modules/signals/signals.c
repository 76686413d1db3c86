/* SPDX-License-Identifier: MIT
 * signals.c - module "signals": reports at a signal, [stats] on_signal and
 * on_term.
 *
 * A signal may come in the middle of a malloc, which holds locks that a report
 * needs. So the handler only wakes a thread of this module, which writes the
 * report. The handlers are installed at start. One that the program installs
 * later replaces ours.
 *
 * on_signal   The program goes on. System calls that were interrupted are
 *             restarted where the kernel does so (SA_RESTART).
 * on_term     After the report the default action follows, so the program ends
 *             by the signal. Only where the disposition is the default one.
 *
 * As in module "background", the thread starts on a slow path of malloc, in a
 * child of a fork too. A signal that comes before that is reported when the
 * thread starts. A process that has taken no slow path since its start or its
 * fork ends by SIGTERM without a report.
 */
#include <base/helper.h>
#include <base/log.h>
#include <conf/conf.h>
#include <hakmem/module.h>
#include <kit/base.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 128 << 10,
    /* How long a thread that got a signal of on_term waits for the end. If it
     * holds a lock that the report needs, it has to go on. */
    WAIT_MS = 250,
    STEP_MS = 5,
};

static const struct hak_module_host *host;
/* The process that the members below belong to. A child of vfork has the memory
 * of its parent, and another process id. */
static pid_t owner;
static sem_t wake;
static bool thread_runs; /* atomic */
static bool asked;       /* atomic: by on_signal */
static int ending;       /* atomic: the signal of on_term; 0: none came */

static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
enum { ENDS = sizeof ends / sizeof ends[0] };

/* ---- handlers ------------------------------------------------------------ */

/* errno: a handler must keep it. */
static void on_asked(int number)
{
    int kept = errno;
    (void)number;
    if (getpid() == owner) {
        __atomic_store_n(&asked, true, __ATOMIC_RELEASE);
        sem_post(&wake);
    }
    errno = kept;
}

static void die_by_default(int number)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigaction(number, &normal, NULL);
    raise(number); /* blocked until the handler returns */
}

/* A second signal does not wait for the report of the first one. */
static void on_end(int number)
{
    int kept = errno, none = 0;
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    if (getpid() != owner || !__atomic_load_n(&thread_runs, __ATOMIC_ACQUIRE) ||
        !__atomic_compare_exchange_n(&ending, &none, number, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        die_by_default(number);
    } else {
        sem_post(&wake);
        for (int ms = 0; ms < WAIT_MS; ms += STEP_MS)
            nanosleep(&step, NULL);
    }
    errno = kept;
}

static bool has_handler(const struct sigaction *a, void (*handler)(int))
{
    return (a->sa_flags & SA_SIGINFO) == 0 && a->sa_handler == handler;
}

/* Install the handlers. on_signal is also for a signal that is ignored: nohup
 * and shells leave some so, and the INI asks for it by name. */
static void install(void)
{
    struct sigaction there;
    struct sigaction ask = {.sa_handler = on_asked, .sa_flags = SA_RESTART};
    struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESTART};
    int number = host->conf->stats_on_signal;
    if (number != 0 && sigaction(number, NULL, &there) == 0 &&
        (has_handler(&there, SIG_DFL) || has_handler(&there, SIG_IGN)))
        sigaction(number, &ask, NULL);
    if (!host->conf->stats_on_term)
        return;
    for (size_t i = 0; i < ENDS; i++)
        sigaddset(&end.sa_mask, ends[i]);
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i] != number && sigaction(ends[i], NULL, &there) == 0 &&
            has_handler(&there, SIG_DFL))
            sigaction(ends[i], &end, NULL);
}

/* ---- the thread ------------------------------------------------------------
 */

/* End the process by the signal. If the program has installed a handler
 * meanwhile, the handler gets the signal instead. */
static void end_by(int number)
{
    struct sigaction there, normal = {.sa_handler = SIG_DFL};
    sigset_t just;
    if (sigaction(number, NULL, &there) == 0 && !has_handler(&there, on_end) &&
        !has_handler(&there, SIG_DFL)) {
        __atomic_store_n(&ending, 0, __ATOMIC_RELEASE);
        kill(getpid(), number);
        return;
    }
    sigaction(number, &normal, NULL);
    sigemptyset(&just);
    sigaddset(&just, number);
    pthread_sigmask(SIG_UNBLOCK, &just, NULL);
    raise(number);
}

__attribute__((noreturn)) static void *report_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        while (sem_wait(&wake) != 0)
            ;
        if (__atomic_exchange_n(&asked, false, __ATOMIC_ACQ_REL))
            host->write_report();
        int number = __atomic_load_n(&ending, __ATOMIC_ACQUIRE);
        if (number == 0)
            continue;
        host->write_report();
        end_by(number);
    }
}

/* ---- entry --------------------------------------------------------------- */

/* In a child of fork the thread is missing, and signals that came to the parent
 * are the parent's. */
static void run(void)
{
    bool first = owner == 0;
    __atomic_store_n(&thread_runs, false, __ATOMIC_RELEASE);
    __atomic_store_n(&asked, false, __ATOMIC_RELEASE);
    __atomic_store_n(&ending, 0, __ATOMIC_RELEASE);
    sem_init(&wake, 0, 0);
    owner = getpid();
    if (first)
        install();
    host->want(host);
}

static void slow_path(void)
{
    int kept = errno;
    int error =
        hak_helper_start("hakmem-signals", report_for_ever, STACK_BYTES);
    __atomic_store_n(&thread_runs, error == 0, __ATOMIC_RELEASE);
    if (error != 0)
        hak_say("[stats] on_signal, on_term: no thread: %s",
                strerrordesc_np(-error));
    errno = kept;
}

static int start(const struct hak_module_host *of_core)
{
    host = of_core;
    return 0;
}

HAK_MODULE(signals) = {
    HAK_MODULE_HEADER("signals"),
    .start = start,
    .run = run,
    .slow_path = slow_path,
};

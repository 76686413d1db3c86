/* SPDX-License-Identifier: MIT
 * timeline.c - module "timeline": a record of memory over time, in a file.
 *
 * A thread wakes once a period, reads all figures and writes one line. It
 * starts on a slow path of malloc, in a child of fork anew, as that of module
 * background, and has its own descriptors (base/helper.h): the program cannot
 * close them, and finds none that it did not open.
 *
 * Time. Periods are counted from the start of the thread, on a clock that is
 * not set (CLOCK_MONOTONIC), so they do not drift. One that was missed makes
 * the next point longer. The thread measures what points cost it, and leaves
 * periods out so that it takes no more than its share of a CPU.
 *
 * Exit. entry->stop runs in another thread, which cannot use the descriptors.
 * It wakes the thread, which writes the end, and waits for that.
 */
#include "timeline.h"

#include <base/helper.h>
#include <base/log.h>
#include <base/os.h>
#include <base/text.h>
#include <conf/conf.h>
#include <kit/base.h>

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 128 << 10,
    /* A fork's child waits so long before it makes its file, since most
     * children call exec at once. */
    CHILD_MS = 100,
    EXIT_MS = 1000, /* the most that an exit waits for the last point */
    /* After a point that took 1 us of CPU time comes a pause of so many us, and
     * likewise after classes and a look at what is resident. So points take at
     * most 0.125 % of a CPU, and the others 0.025 % each. */
    POINT_PAUSE = 800,
    EXTRA_PAUSE = 4000,
    RESIDENT_MS = 1000, /* the least between two looks at what is resident */
};

static struct {
    const struct hak_module_host *host;
    pid_t pid;         /* of the process that the thread serves */
    bool is_child;     /* of a fork */
    bool wants_thread; /* the next slow path is to start it; atomic */
    bool runs;         /* the thread was started; atomic */
    bool stopping;     /* the process exits; atomic */
    sem_t wake, done;  /* to the thread; the end was written */
    const char
        *named; /* the value of the key that `name` was made of; atomic */
    char name[PATH_MAX]; /* of the file, absolute */
    struct timeline_log log;
} self;

/* ---- time ---------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    return hak_os_now_us() / 1000;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* CPU time of the thread. */
static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Wait for a semaphore until that time of CLOCK_MONOTONIC. */
static void wait_until(sem_t *s, uint64_t end_ms)
{
    const struct timespec end = {.tv_sec = (time_t)(end_ms / 1000),
                                 .tv_nsec = (long)(end_ms % 1000) * 1000000};
    while (sem_clockwait(s, CLOCK_MONOTONIC, &end) != 0 && errno == EINTR)
        ;
}

static bool is_stopping(void)
{
    return __atomic_load_n(&self.stopping, __ATOMIC_ACQUIRE);
}

/* ---- the file ------------------------------------------------------------ */

/* The program has the thread's stderr for the time of a message. */
static void tell(const char *path, const char *what, const char *why)
{
    hak_helper_lend_stderr(true);
    hak_say("[stats] timeline: %s %s: %s; it is tried again each period", path,
            what, why);
    hak_helper_lend_stderr(false);
}

static const char *value_of_key(void)
{
    return __atomic_load_n(&self.host->conf->timeline, __ATOMIC_RELAXED);
}

/* Make self.name of the key's value. Relative names are relative to the present
 * working directory. */
static void make_name(void)
{
    const char *value = value_of_key();
    if (value[0] == '/' || getcwd(self.name, sizeof self.name) == NULL)
        hak_text_join(self.name, sizeof self.name, value);
    else
        hak_text_join(self.name, sizeof self.name, self.name, "/", value);
    __atomic_store_n(&self.named, value, __ATOMIC_RELEASE);
}

static bool has_name(void)
{
    return strcmp(self.named, "none") != 0;
}

static void begin_log(void)
{
    struct timeline_log *log = &self.log;
    log->host = self.host;
    log->tell = tell;
    log->file = (struct timeline_file){.name = self.name,
                                       .is_child = self.is_child,
                                       .points_most = TIMELINE_POINTS_MOST};
    if (has_name())
        timeline_log_start(log);
}

static uint64_t since_start(void)
{
    return now_ms() - self.log.start_ms;
}

static void end_log(void)
{
    static const struct timeline_extra whole = {true, true};
    if (has_name())
        timeline_log_write(&self.log, since_start(), whole, true);
    timeline_file_close(&self.log.file);
}

/* The key may be changed while the process runs. */
static void follow_key(void)
{
    const char *value = value_of_key();
    if (value == self.named || strcmp(value, self.named) == 0)
        return;
    end_log();
    make_name();
    self.log.start_ms = now_ms();
    self.log.start_unix_ms = wall_ms();
    begin_log();
}

/* ---- the thread ---------------------------------------------------------- */

/* What points cost, and when the next one may come, alone or with more. */
struct cost {
    uint64_t point_us; /* CPU time of a point with nothing more */
    uint64_t next_ms, classes_ms, resident_ms;
    uint32_t since_classes; /* points since the last one with classes */
};

/* At most one of the two, so that the cost of each is known. */
static struct timeline_extra choose_extra(const struct cost *cost, uint64_t now)
{
    bool classes = cost->since_classes + 1 >= TIMELINE_CLASSES_EVERY &&
                   now >= cost->classes_ms;
    return (struct timeline_extra){classes,
                                   !classes && now >= cost->resident_ms};
}

/* The CPU time of a point, given what the last one took. Interrupts and other
 * machines on this CPU are in a measured time. So the estimate falls at once,
 * and rises slowly. */
static uint64_t without_spikes(uint64_t before_us, uint64_t took_us)
{
    return before_us == 0 ? took_us
                          : hak_min(took_us, before_us + before_us / 8 + 1);
}

static void write_point(struct cost *cost)
{
    uint64_t now = now_ms(), before_us = cpu_us();
    struct timeline_extra with = choose_extra(cost, now);
    uint32_t npoints = self.log.file.npoints;
    timeline_log_write(&self.log, since_start(), with, false);
    if (self.log.file.npoints < npoints)
        return; /* the file was made shorter, which is seldom */
    uint64_t took_us = cpu_us() - before_us;
    uint64_t more_us = took_us - hak_min(took_us, cost->point_us);
    if (with.classes)
        cost->classes_ms = now + more_us * EXTRA_PAUSE / 1000;
    else if (with.resident)
        cost->resident_ms =
            now + hak_max(more_us * EXTRA_PAUSE / 1000, RESIDENT_MS);
    else
        cost->point_us = without_spikes(cost->point_us, took_us);
    cost->since_classes = with.classes ? 0 : cost->since_classes + 1;
    cost->next_ms = now + cost->point_us * POINT_PAUSE / 1000;
}

static uint64_t period_ms(void)
{
    uint32_t every =
        __atomic_load_n(&self.host->conf->stats_every_ms, __ATOMIC_RELAXED);
    return hak_max(every, 1);
}

/* Write points until the process exits. */
static void write_points(void)
{
    struct cost cost = {.since_classes = TIMELINE_CLASSES_EVERY};
    uint64_t last_ms = now_ms(); /* beginning of the present period */
    for (;;) {
        wait_until(&self.wake, last_ms + period_ms());
        if (is_stopping())
            return;
        follow_key();
        uint64_t now = now_ms(), every = period_ms();
        if (now < last_ms + every)
            continue;
        last_ms += (now - last_ms) / every * every;
        if (has_name() && now >= cost.next_ms)
            write_point(&cost);
    }
}

static void *serve(void *unused)
{
    (void)unused;
    if (hak_helper_own_descriptors() != 0) {
        hak_say("[stats] timeline = %s: it needs close_range(2) of Linux 5.9; "
                "nothing is written",
                self.named);
        __atomic_store_n(&self.runs, false, __ATOMIC_RELEASE);
        return NULL;
    }
    if (self.is_child)
        wait_until(&self.wake, now_ms() + CHILD_MS);
    if (!self.is_child || !is_stopping()) {
        begin_log();
        write_points();
        end_log();
    }
    sem_post(&self.done);
    return NULL;
}

/* ---- the module ---------------------------------------------------------- */

static int start(const struct hak_module_host *host)
{
    self.host = host;
    make_name();
    return 0;
}

/* The thread of a fork's parent does not exist in the child, and neither do its
 * descriptors. It may have been about to follow the key. */
static void run(void)
{
    self.is_child = self.pid != 0;
    self.pid = getpid();
    self.log.start_ms = now_ms();
    self.log.start_unix_ms = wall_ms();
    self.runs = self.stopping = false;
    if (self.named != value_of_key())
        make_name();
    sem_init(&self.wake, 0, 0);
    sem_init(&self.done, 0, 0);
    timeline_events_forget();
    if (hak_os_secure())
        return;
    self.wants_thread = true;
    self.host->want(self.host);
}

static void slow_path(void)
{
    int kept = errno;
    if (!__atomic_exchange_n(&self.wants_thread, false, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&self.runs, true, __ATOMIC_RELEASE);
    int error = hak_helper_start("hakmem", serve, STACK_BYTES);
    if (error != 0) {
        __atomic_store_n(&self.runs, false, __ATOMIC_RELEASE);
        hak_say("[stats] timeline = %s: no thread: %s", self.named,
                strerrordesc_np(-error));
    }
    errno = kept;
}

/* A child that was made without fork handlers (vfork, clone) has no thread. */
static void stop(void)
{
    if (self.pid != getpid() || !__atomic_load_n(&self.runs, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&self.stopping, true, __ATOMIC_RELEASE);
    sem_post(&self.wake);
    wait_until(&self.done, now_ms() + EXIT_MS);
}

/* The thread may sleep for an hour, and the event may be another period. */
static void event(const struct hak_event *what)
{
    timeline_event(what);
    if (strcmp(what->kind, "set") == 0)
        sem_post(&self.wake);
}

HAK_MODULE(timeline) = {
    HAK_MODULE_HEADER("timeline"), .start = start, .run = run, .stop = stop,
    .slow_path = slow_path,        .event = event,
};

/* SPDX-License-Identifier: MIT
 * pressure.c - module "pressure": gives memory back while memory is short.
 *
 * A thread waits for events of memory pressure (files.c). At the first one the
 * purge delay becomes short and the first of STEPS is taken. Each later event
 * takes the next step, since the steps before were not enough. Without an event
 * for CALM_MS the pressure is over: the purge delay is as configured, and the
 * next event begins with the first step.
 *
 *     watching --event: step 1--> pressed --event: step 2, 3, 3 ...--> pressed
 *        ^                           |
 *        +---- CALM_MS, no event ----+
 *
 * The thread starts on a slow path of malloc, in a child of fork anew, as that
 * of module background, and has its own descriptors (base/helper.h), so that a
 * program that closes all of its own goes on being watched.
 */
#include "pressure.h"

#include <base/helper.h>
#include <base/log.h>
#include <base/os.h>
#include <conf/conf.h>
#include <hakmem/module.h>
#include <kit/sync.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
    STACK_BYTES = 128 << 10,
    /* While stalls go on, the kernel tells so once in a window. */
    CALM_MS = 2 * HAK_PRESSURE_WINDOW_MS + HAK_PRESSURE_WINDOW_MS / 2,
    PRESSED_DELAY_MS = 10, /* purge delay under pressure */
    AGE_MS = 100,          /* under pressure memory is aged so often */
    /* Events are not looked at for so long after a step. memory.events may have
     * a hundred in a second, and the step needs time to help. Doubled after
     * each whole trim that gave back less than WORTH_BYTES, since it walks over
     * all pages. */
    PAUSE_MS = 100,
    PAUSE_MOST_MS = 3200,
    WORTH_BYTES = 1 << 20,
    /* A fork's child waits so long before it opens the files, since most
     * children call exec at once. */
    CHILD_MS = 100,
    REOPEN_MS = 1000,
};

enum state {
    STATE_STARTING, /* no slow path so far */
    STATE_WATCHING,
    STATE_PRESSED,
    STATE_OFF, /* no file can be opened, or no thread started */
};
static const char *const state_names[] = {"starting", "watching", "pressed",
                                          "off"};

/* All but host are atomic. */
static struct {
    const struct hak_module_host *host;
    bool is_child; /* of a fork */
    enum state state;
    uint64_t events, trims, given_bytes;
} self;

static void set_state(enum state state)
{
    __atomic_store_n(&self.state, state, __ATOMIC_RELAXED);
}

static enum state state_now(void)
{
    return __atomic_load_n(&self.state, __ATOMIC_RELAXED);
}

/* Print a message, and do nothing in this process and its children from now on.
 */
static void give_up(const char *why)
{
    set_state(STATE_OFF);
    hak_say("[core] on_pressure = trim: %s", why);
}

/* ---- under pressure ------------------------------------------------------ */

static size_t trim_window(void)
{
    return self.host->trim_window();
}

static size_t trim_boxes(void)
{
    self.host->age(); /* gives this thread heaps, which boxes need for it */
    return self.host->trim_boxes();
}

static size_t trim_all(void)
{
    return self.host->changes->trim();
}

static size_t (*const step[])(void) = {trim_window, trim_boxes, trim_all};
enum { STEPS = sizeof step / sizeof step[0] };

/* The course of one time of pressure. */
struct course {
    uint32_t next;    /* step */
    uint64_t calm_ms; /* when it is over unless there is another event */
    uint64_t pause_ms;
};

static void sleep_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                         .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void begin(struct course *c)
{
    *c = (struct course){.pause_ms = PAUSE_MS};
    self.host->limit_purge_delay(PRESSED_DELAY_MS);
    set_state(STATE_PRESSED);
}

static void end(void)
{
    self.host->limit_purge_delay(UINT64_MAX);
    set_state(STATE_WATCHING);
}

/* The core may print messages and end the program when it finds broken memory,
 * so it has the program's stderr meanwhile. */
static void take_step(struct course *c)
{
    bool whole = c->next == STEPS - 1;
    hak_helper_lend_stderr(true);
    size_t given = step[c->next]();
    hak_helper_lend_stderr(false);
    hak_count_shared(&self.given_bytes, (int64_t)given);
    hak_count_shared(&self.trims, 1);
    if (!whole)
        c->next++;
    else if (given < WORTH_BYTES)
        c->pause_ms = hak_min(c->pause_ms * 2, PAUSE_MOST_MS);
    else
        c->pause_ms = PAUSE_MS;
    sleep_ms(c->pause_ms);
    c->calm_ms = hak_os_now_ms() + CALM_MS;
}

static void on_event(struct course *c)
{
    hak_count_shared(&self.events, 1);
    if (state_now() != STATE_PRESSED)
        begin(c);
    take_step(c);
}

/* Age memory by the short purge delay, in place of threads that sleep. */
static void on_no_event(const struct course *c)
{
    hak_helper_lend_stderr(true);
    self.host->age();
    hak_helper_lend_stderr(false);
    if (hak_os_now_ms() >= c->calm_ms)
        end();
}

/* Returns -errno when a file is of no use any more. */
static int watch_files(struct hak_pressure_files *files)
{
    struct course course = {0};
    for (;;) {
        bool pressed = state_now() == STATE_PRESSED;
        int got = hak_pressure_wait(files, pressed ? AGE_MS : -1);
        if (got > 0)
            on_event(&course);
        else if (pressed && got == 0)
            on_no_event(&course);
        if (got >= 0)
            continue;
        end();
        return got;
    }
}

/* ---- the thread ---------------------------------------------------------- */

static void *watch(void *unused)
{
    struct hak_pressure_files files;
    char why[512];
    (void)unused;
    if (hak_helper_own_descriptors() != 0) {
        give_up("it needs close_range(2) of Linux 5.9; memory pressure is not "
                "watched");
        return NULL;
    }
    if (__atomic_load_n(&self.is_child, __ATOMIC_RELAXED))
        sleep_ms(CHILD_MS);
    while (hak_pressure_open(self.host->conf->pressure_file, &files, why,
                             sizeof why) == 0) {
        set_state(STATE_WATCHING);
        watch_files(&files);
        hak_pressure_close(&files);
        sleep_ms(REOPEN_MS); /* the process may be in another cgroup */
    }
    hak_helper_lend_stderr(true);
    give_up(why);
    return NULL;
}

/* ---- the module ---------------------------------------------------------- */

static int start(const struct hak_module_host *host)
{
    self.host = host;
    return 0;
}

/* A child of a fork lacks the thread, which may have limited the purge delay.
 */
static void run(void)
{
    static bool ran;
    __atomic_store_n(&self.is_child, ran, __ATOMIC_RELAXED);
    ran = true;
    self.host->limit_purge_delay(UINT64_MAX);
    if (state_now() == STATE_OFF)
        return;
    set_state(STATE_STARTING);
    self.host->want(self.host);
}

static void slow_path(void)
{
    int kept = errno;
    if (hak_helper_start("hakmem", watch, STACK_BYTES) != 0)
        give_up("no thread can be started; memory pressure is not watched");
    errno = kept;
}

static void report(const struct hak_report_part *to)
{
    const char *state = state_names[state_now()];
    uint64_t events = hak_counted(&self.events);
    uint64_t trims = hak_counted(&self.trims);
    uint64_t given = hak_counted(&self.given_bytes);
    if (to->json)
        to->add(to->report,
                ",\"pressure\":{\"state\":\"%s\",\"events\":%" PRIu64
                ",\"trims\":%" PRIu64 ",\"given_back_bytes\":%" PRIu64 "}",
                state, events, trims, given);
    else
        to->add(to->report,
                "pressure: %s, %" PRIu64 " events, %" PRIu64 " trims, %" PRIu64
                " bytes given back\n",
                state, events, trims, given);
}

HAK_MODULE(pressure) = {
    HAK_MODULE_HEADER("pressure"), .start = start,   .run = run,
    .slow_path = slow_path,        .report = report,
};

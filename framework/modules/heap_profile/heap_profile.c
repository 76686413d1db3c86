/* SPDX-License-Identifier: MIT
 * heap_profile.c - module "heap_profile": where the memory goes.
 *
 * The core samples allocations (host->sample_bytes) and tells this module of
 * each. It keeps them with their stacks until they are freed, and writes the
 * profile when the process ends, at a signal, when the program has grown, or
 * when it is asked by the module control.
 *
 * Writing takes files and time. A thread of this module does it for signals and
 * growth, that of module control when it is asked, and the exiting thread at
 * exit. The thread starts on a slow path of malloc, in a child of a fork too,
 * and only if a key asks for it.
 *
 * A child of a fork has a copy of all blocks and goes on with their records,
 * unless only_pid names its parent: then it takes no more samples. A
 * child of vfork has the memory of its parent and another process id; it writes
 * nothing.
 */
#include "heap_profile.h"

#include <base/helper.h>
#include <base/log.h>
#include <base/why.h>
#include <conf/conf.h>
#include <hakmem/stack.h>

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>

enum { STACK_BYTES = 128 << 10 };

struct hak_profile hak_profile;

static struct {
    bool off; /* the key `file` cannot be used */
    sem_t wake;
    uint32_t asked;  /* HAK_PROFILE_ reasons; atomic */
    uint32_t ndumps; /* of the numbered ones; atomic */
    /* Some programs close stderr in their exit handlers. */
    struct hak_held held_stderr;
} self;

/* ---- profiles ------------------------------------------------------------ */

/* Is the profile for another process alone? */
static bool is_of_another(void)
{
    uint32_t only = hak_profile.keys->only_pid;
    return only != 0 && only != (uint32_t)hak_profile.pid;
}

static bool has_file(void)
{
    return strcmp(hak_profile.keys->file, "none") != 0 && !self.off &&
           !is_of_another();
}

static bool has_sampled(void)
{
    return hak_counted(&hak_profile.every_bytes) != 0;
}

static int dump_numbered(const char *reason, char path[PATH_MAX], char *why,
                         size_t n)
{
    uint32_t number = __atomic_add_fetch(&self.ndumps, 1, __ATOMIC_RELAXED);
    hak_profile_note_levels(true);
    return hak_profile_dump(hak_profile.keys->file, reason, number, path, why,
                            n);
}

static void tell(const char *why)
{
    hak_say("[heap_profile] file = %s", why);
}

static void dump_for(uint32_t reasons)
{
    char path[PATH_MAX], why[PATH_MAX + 256];
    const char *reason = (reasons & HAK_PROFILE_SIGNAL) != 0   ? "signal"
                         : (reasons & HAK_PROFILE_GROWTH) != 0 ? "growth"
                                                               : "peak";
    if (dump_numbered(reason, path, why, sizeof why) == 0)
        return;
    hak_helper_lend_stderr(true);
    tell(why);
    hak_helper_lend_stderr(false);
}

static void *dump_when_asked(void *unused)
{
    (void)unused;
    if (hak_helper_own_descriptors() != 0) {
        tell("on_signal, on_growth and on_peak need close_range(2) of Linux "
             "5.9");
        return NULL;
    }
    for (;;) {
        while (sem_wait(&self.wake) != 0)
            ;
        uint32_t reasons =
            __atomic_exchange_n(&self.asked, 0, __ATOMIC_ACQ_REL);
        if (reasons != 0 && has_file())
            dump_for(reasons);
    }
}

void hak_profile_ask(uint32_t reasons)
{
    __atomic_or_fetch(&self.asked, reasons, __ATOMIC_RELEASE);
    sem_post(&self.wake);
}

/* ---- the signal ---------------------------------------------------------- */

static void on_signal(int number)
{
    int error = errno;
    (void)number;
    if (getpid() == hak_profile.pid)
        hak_profile_ask(HAK_PROFILE_SIGNAL);
    errno = error;
}

/* As in module signals: also a signal that is ignored, as the INI asks for it
 * by name, but none that the program handles already. */
static void install_handler(void)
{
    struct sigaction there;
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int number = hak_profile.keys->on_signal;
    if (number == 0)
        return;
    if (number == hak_profile.host->conf->stats_on_signal)
        hak_say("[heap_profile] on_signal: [stats] on_signal has the same "
                "signal and gets it; use another one");
    else if (sigaction(number, NULL, &there) == 0 &&
             (there.sa_flags & SA_SIGINFO) == 0 &&
             (there.sa_handler == SIG_DFL || there.sa_handler == SIG_IGN))
        sigaction(number, &ours, NULL);
}

static bool has_triggers(void)
{
    return has_file() && (hak_profile.keys->on_signal != 0 ||
                          hak_profile.keys->on_growth_bytes != 0 ||
                          hak_profile.keys->on_peak_percent != 0);
}

/* ---- extension ----------------------------------------------------------- */

static int start_by_control(uint64_t every_bytes, char *why, size_t n)
{
    return hak_profile_begin(
        every_bytes != 0 ? every_bytes : hak_profile.keys->every_bytes, why, n);
}

static int dump_by_control(const char *file, char *why, size_t n)
{
    char path[PATH_MAX];
    int error;
    if (!has_sampled())
        return hak_refuse(-EINVAL, why, n,
                          "there is no profile yet; profile start begins one");
    if (file == NULL && !has_file())
        return hak_refuse(-EINVAL, why, n,
                          "[heap_profile] file is none; name a FILE");
    if (file == NULL)
        error = dump_numbered("control", path, why, n);
    else if (strstr(file, "%n") == NULL)
        error = hak_profile_dump(file, "control", 0, path, why, n);
    else
        error = hak_profile_dump(
            file, "control",
            __atomic_add_fetch(&self.ndumps, 1, __ATOMIC_RELAXED), path, why,
            n);
    return error != 0 ? error : hak_refuse(0, why, n, "%s", path);
}

struct figures {
    struct hak_profile_totals totals;
    uint64_t nlost_blocks, used_bytes;
    bool sampling;
};

static struct figures read_figures(void)
{
    struct figures f;
    bool entered = hak_profile_enter();
    f.totals = hak_profile.totals;
    hak_profile_leave(entered);
    f.nlost_blocks = hak_counted(&hak_profile.nlost_blocks);
    f.used_bytes = hak_counted(&hak_profile.used_bytes);
    f.sampling = hak_profile_is_sampling();
    return f;
}

static void add_state(const struct hak_report_part *to)
{
    struct figures f = read_figures();
    to->add(to->report,
            "\"sampling\":%s,\"every\":%" PRIu64 ",\"samples\":%" PRIu64
            ",\"live_bytes\":%.0f,\"peak_bytes\":%.0f,\"allocated_bytes\":%.0f"
            ",\"lost_blocks\":%" PRIu64 ",\"lost_stacks\":%" PRIu64
            ",\"memory_bytes\":%" PRIu64 ",\"dumps\":%u",
            f.sampling ? "true" : "false",
            hak_counted(&hak_profile.every_bytes), f.totals.nsamples,
            f.totals.live_bytes, f.totals.peak_bytes, f.totals.allocated_bytes,
            f.nlost_blocks, f.totals.nlost_stacks, f.used_bytes,
            __atomic_load_n(&self.ndumps, __ATOMIC_RELAXED));
}

static const struct hak_heap_profile_1 table = {
    .start = start_by_control,
    .stop = hak_profile_end,
    .dump = dump_by_control,
    .state = add_state,
};

static const void *extension(const char *id)
{
    return strcmp(id, HAK_HEAP_PROFILE_1) == 0 ? &table : NULL;
}

/* ---- the module ---------------------------------------------------------- */

static int start(const struct hak_module_host *host)
{
    const struct hak_stack_1 *stack = host->extension(HAK_STACK_1);
    const void *const ours[] = {(const void *)(uintptr_t)host->sample_bytes,
                                &hak_profile, stack, NULL};
    hak_profile.host = host;
    hak_profile.keys = &host->conf->heap_profile;
    if (stack == NULL)
        hak_say("[heap_profile] module stack is not open; the profile has no "
                "stacks");
    hak_profile_objects_start(ours);
    hak_profile_samples_start(stack);
    return 0;
}

/* The first call begins to sample, if the INI asks for it. */
static void begin_by_keys(void)
{
    char why[PATH_MAX + 256];
    const char *file = hak_profile.keys->file;
    if (!has_file())
        return;
    if (!hak_profile_suffix_fits(file, why, sizeof why)) {
        self.off = true;
        tell(why);
        return;
    }
    hak_hold_stderr(&self.held_stderr);
    hak_profile_note_levels(false);
    install_handler();
    if (hak_profile_begin(hak_profile.keys->every_bytes, why, sizeof why) != 0)
        hak_say("[heap_profile] file = %s: %s", file, why);
}

static void run(void)
{
    bool first = hak_profile.pid == 0;
    hak_profile.pid = getpid();
    hak_profile.is_child = !first;
    __atomic_store_n(&self.asked, 0, __ATOMIC_RELAXED);
    sem_init(&self.wake, 0, 0);
    if (first)
        begin_by_keys();
    else
        hak_profile_dump_forked();
    if (!first && is_of_another())
        hak_profile_pause(); /* it would write nothing */
    if (has_triggers())
        hak_profile.host->want(hak_profile.host);
}

static void slow_path(void)
{
    int kept = errno;
    int error =
        hak_helper_start("hakmem-profile", dump_when_asked, STACK_BYTES);
    if (error != 0)
        hak_say("[heap_profile] on_signal, on_growth, on_peak: no thread: %s",
                strerrordesc_np(-error));
    errno = kept;
}

/* A child of a fork in which nothing was sampled, as those of a shell, would
 * leave a file that says nothing. */
static bool writes_at_exit(void)
{
    return hak_profile.pid == getpid() && hak_profile.keys->at_exit &&
           has_file() && has_sampled() &&
           (!hak_profile.is_child || hak_profile.totals.nsamples != 0);
}

static void stop(void)
{
    static char path[PATH_MAX], why[PATH_MAX + 256]; /* for small stacks */
    if (!writes_at_exit() || hak_profile_dump(hak_profile.keys->file, "exit", 0,
                                              path, why, sizeof why) == 0)
        return;
    int fd = hak_held_stderr(&self.held_stderr);
    if (fd >= 0)
        hak_say_to(fd, "[heap_profile] file = %s", why);
}

static void fork_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&hak_profile.lock, phase);
}

static void report(const struct hak_report_part *to)
{
    struct figures f = read_figures();
    if (to->json) {
        to->add(to->report, ",\"heap_profile\":{");
        add_state(to);
        to->add(to->report, "}");
        return;
    }
    to->add(to->report,
            "heap profile: %s, one sample in %" PRIu64 " bytes, %" PRIu64
            " samples; about %.0f bytes live, %.0f at the peak, %.0f allocated"
            "; %" PRIu64 " blocks and %" PRIu64 " stacks lost\n",
            f.sampling ? "sampling" : "not sampling",
            hak_counted(&hak_profile.every_bytes), f.totals.nsamples,
            f.totals.live_bytes, f.totals.peak_bytes, f.totals.allocated_bytes,
            f.nlost_blocks, f.totals.nlost_stacks);
}

HAK_MODULE(heap_profile) = {
    HAK_MODULE_HEADER("heap_profile"),
    .needs = "stack",
    .start = start,
    .extension = extension,
    .run = run,
    .stop = stop,
    .slow_path = slow_path,
    .fork = fork_lock,
    .report = report,
};

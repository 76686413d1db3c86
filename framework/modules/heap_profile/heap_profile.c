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
 * A child of a fork has a copy of all blocks and goes on with their records. A
 * child of vfork has the memory of its parent and another process id; it writes
 * nothing.
 */
#include "heap_profile.h"

#include <base/helper.h>
#include <base/log.h>
#include <base/os.h>
#include <base/why.h>
#include <conf/conf.h>
#include <hakmem/stack.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    STACK_BYTES = 128 << 10,
    TRACES = 16, /* stacks that are taken at once without memory of the thread's
                    own stack */
    /* A thread's name is read again at its samples 1, 2, 4, 8 ... and at each
     * of so many, since most threads are named soon after their start. */
    NAME_AGAIN = 256,
    /* on_peak: peaks below this, and below so many samples, are too small to
     * be told from chance. */
    PEAK_LEAST_BYTES = 1 << 20,
    PEAK_LEAST_SAMPLES = 16,
};

struct hak_profile hak_profile;

/* Why the helper thread is to write a profile: a set of bits. */
enum { FOR_SIGNAL = 1, FOR_GROWTH = 2, FOR_PEAK = 4 };

static struct {
    const struct hak_stack_1 *stack; /* NULL: stacks cannot be taken */
    bool sampling;                   /* atomic */
    bool off;                        /* the key `file` cannot be used */
    bool has_thread_names;           /* name_key is valid */
    pthread_key_t name_key;
    sem_t wake;
    uint32_t asked;     /* set of reasons; atomic */
    uint32_t ndumps;    /* of the numbered ones; atomic */
    double grown_bytes; /* on_growth: live bytes at the last dump; guarded by
                           the lock, as the next two are */
    double peak_bytes;  /* on_peak: of the last dump */
} self;

static struct trace_room {
    bool taken; /* atomic */
    struct hak_profile_trace trace;
} rooms[TRACES];

/* ---- the lock ------------------------------------------------------------ */

bool hak_profile_enter(void)
{
    if (hak_lock_is_mine(&hak_profile.lock))
        return false;
    hak_lock_take(&hak_profile.lock);
    hak_profile_drain();
    return true;
}

/* A free that finds the lock taken leaves its record to the holder, perhaps
 * after the holder has drained the list. So the holder looks once more when
 * others can take the lock. */
void hak_profile_leave(bool entered)
{
    if (!entered)
        return;
    do {
        hak_profile_drain();
        hak_lock_drop(&hak_profile.lock);
    } while (hak_profile_has_freed() && hak_lock_try(&hak_profile.lock));
}

/* ---- samples ------------------------------------------------------------- */

/*
 * The name of the calling thread. The kernel has it, and prctl(2) is the only
 * way to ask that needs no file. It is kept in a thread-specific value, which
 * is NULL in a thread that has just begun: the number of the thread's name + 1,
 * and in the high half how many samples it has had.
 */
struct thread_now {
    uint64_t word;
    char name[HAK_PROFILE_THREAD_BYTES]; /* "": the number in word is right */
};

static struct thread_now read_thread(void)
{
    struct thread_now t = {0};
    if (self.has_thread_names)
        t.word = (uint64_t)(uintptr_t)pthread_getspecific(self.name_key);
    uint64_t nsamples = t.word >> 32;
    if ((uint32_t)t.word == 0 || nsamples % NAME_AGAIN == 0 ||
        hak_is_power_of_two(nsamples))
        prctl(PR_GET_NAME, t.name);
    return t;
}

static uint32_t number_of_thread(struct thread_now *t)
{
    if (t->name[0] == 0 && (uint32_t)t->word != 0)
        return (uint32_t)t->word - 1;
    uint32_t number = hak_profile_thread(t->name);
    t->word = (t->word >> 32 << 32) | (uint32_t)(number + 1);
    return number;
}

static void keep_thread(const struct thread_now *t)
{
    uint64_t word = t->word + (1ull << 32);
    if (self.has_thread_names)
        pthread_setspecific(self.name_key, (void *)(uintptr_t)word);
}

/* Ask the helper thread for a profile. Async-signal-safe. */
static void ask(uint32_t reasons)
{
    __atomic_or_fetch(&self.asked, reasons, __ATOMIC_RELEASE);
    sem_post(&self.wake);
}

/* The reasons for a profile that the last sample has given. Guarded by the
 * lock. */
static uint32_t reasons_now(void)
{
    const struct hak_profile_totals *t = &hak_profile.totals;
    uint32_t reasons = 0;
    double growth = (double)hak_profile.keys->on_growth_bytes;
    double percent = hak_profile.keys->on_peak_percent;
    if (growth > 0 && t->live_bytes >= self.grown_bytes + growth) {
        reasons |= FOR_GROWTH;
        self.grown_bytes = t->live_bytes;
    }
    if (percent > 0 && t->peak_bytes >= self.peak_bytes * (1 + percent / 100)) {
        reasons |= FOR_PEAK;
        self.peak_bytes = t->peak_bytes;
    }
    return reasons;
}

/* Enter a sample into the tables. Guarded by the lock. */
static bool keep_sample(const struct hak_sample *sample, uint32_t thread,
                        const struct hak_profile_trace *trace)
{
    uint64_t now_us = hak_os_now_us();
    uint32_t entry = hak_profile_entry(sample, thread, trace);
    if (entry == HAK_PROFILE_NONE || !hak_profile_record(sample, entry, now_us))
        return false;
    hak_profile_count(entry, sample->nblocks, (double)sample->asked_bytes,
                      now_us);
    return true;
}

static bool take_sample(const struct hak_sample *sample,
                        struct hak_profile_trace *trace)
{
    uint32_t most = hak_profile.keys->frames + HAK_PROFILE_OUR_FRAMES;
    struct thread_now thread = read_thread();
    trace->n = self.stack != NULL ? self.stack->take(trace->frame, most) : 0;
    bool entered = hak_profile_enter();
    bool kept = keep_sample(sample, number_of_thread(&thread), trace);
    uint32_t reasons = kept ? reasons_now() : 0;
    hak_profile_leave(entered);
    keep_thread(&thread);
    if (reasons != 0)
        ask(reasons);
    return kept;
}

__attribute__((noinline)) static bool
take_sample_on_stack(const struct hak_sample *sample)
{
    struct hak_profile_trace trace;
    return take_sample(sample, &trace);
}

/* Small stacks, as those of signal handlers, have no room for a trace. */
static bool take_sample_in_room(const struct hak_sample *sample)
{
    for (int i = 0; i < TRACES; i++) {
        if (__atomic_exchange_n(&rooms[i].taken, true, __ATOMIC_ACQUIRE))
            continue;
        bool kept = take_sample(sample, &rooms[i].trace);
        __atomic_store_n(&rooms[i].taken, false, __ATOMIC_RELEASE);
        return kept;
    }
    return take_sample_on_stack(sample);
}

/* A signal handler may have interrupted this thread in this module. */
static bool allocated(const struct hak_sample *sample)
{
    int error = errno;
    bool kept =
        !hak_lock_is_mine(&hak_profile.lock) && take_sample_in_room(sample);
    if (!kept)
        hak_count_shared(&hak_profile.nlost_blocks, 1);
    errno = error;
    return kept;
}

static int64_t freed(const void *block)
{
    int64_t offset = hak_profile_free(block);
    if (offset >= 0 && hak_lock_try(&hak_profile.lock))
        hak_profile_leave(true);
    return offset;
}

static int64_t offset(const void *block)
{
    const struct hak_profile_record *r = hak_profile_record_of(block);
    return r != NULL ? (int64_t)r->offset_bytes : -1;
}

static const struct hak_sample_ops sample_ops = {allocated, freed, offset};

static int begin(uint64_t every_bytes, char *why, size_t n)
{
    struct timespec now;
    if (self.off)
        return hak_refuse(-EINVAL, why, n, "[heap_profile] file is wrong");
    int error = hak_profile.host->sample_bytes(&sample_ops, every_bytes,
                                               hak_profile.keys->cost_percent);
    if (error != 0)
        return hak_refuse(error, why, n, "%s",
                          error == -EBUSY     ? "another module samples"
                          : error == -ENOTSUP ? "a fused library has no samples"
                                              : strerrordesc_np(-error));
    if (hak_profile.began_us == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        hak_profile.began_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
        hak_profile.began_us = hak_os_now_us();
    }
    __atomic_store_n(&hak_profile.every_bytes, every_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&self.sampling, true, __ATOMIC_RELAXED);
    return 0;
}

/* ---- profiles ------------------------------------------------------------ */

static bool has_file(void)
{
    return strcmp(hak_profile.keys->file, "none") != 0 && !self.off;
}

static bool has_sampled(void)
{
    return hak_counted(&hak_profile.every_bytes) != 0;
}

/* What growth and peaks count from. A profile that is too small to be told from
 * chance is none for on_peak. */
static void note_levels(void)
{
    double least = (double)hak_max(
        PEAK_LEAST_BYTES, PEAK_LEAST_SAMPLES * hak_profile.keys->every_bytes);
    bool entered = hak_profile_enter();
    self.grown_bytes = hak_profile.totals.live_bytes;
    self.peak_bytes = hak_profile.totals.peak_bytes > least
                          ? hak_profile.totals.peak_bytes
                          : least;
    hak_profile_leave(entered);
}

static int dump_numbered(const char *reason, char path[PATH_MAX], char *why,
                         size_t n)
{
    uint32_t number = __atomic_add_fetch(&self.ndumps, 1, __ATOMIC_RELAXED);
    note_levels();
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
    const char *reason = (reasons & FOR_SIGNAL) != 0   ? "signal"
                         : (reasons & FOR_GROWTH) != 0 ? "growth"
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

/* ---- the signal ---------------------------------------------------------- */

static void on_signal(int number)
{
    int error = errno;
    (void)number;
    if (getpid() == hak_profile.pid)
        ask(FOR_SIGNAL);
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
    return begin(every_bytes != 0 ? every_bytes : hak_profile.keys->every_bytes,
                 why, n);
}

static int stop_by_control(char *why, size_t n)
{
    if (!__atomic_exchange_n(&self.sampling, false, __ATOMIC_RELAXED))
        return hak_refuse(-EINVAL, why, n, "nothing is sampled");
    return hak_profile.host->sample_bytes(&sample_ops, 0, 0);
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
    f.sampling = __atomic_load_n(&self.sampling, __ATOMIC_RELAXED);
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
    .stop = stop_by_control,
    .dump = dump_by_control,
    .state = add_state,
};

static const void *extension(const char *id)
{
    return strcmp(id, HAK_HEAP_PROFILE_1) == 0 ? &table : NULL;
}

/* ---- the module ---------------------------------------------------------- */

/* glibc keeps the values of the first 32 keys in the thread's own structure;
 * those of others would be allocated. */
static void make_name_key(void)
{
    enum { KEYS_IN_PLACE = 32 };
    self.has_thread_names = pthread_key_create(&self.name_key, NULL) == 0 &&
                            self.name_key < KEYS_IN_PLACE;
}

static int start(const struct hak_module_host *host)
{
    const void *ours[] = {(const void *)(uintptr_t)host->sample_bytes,
                          &hak_profile, NULL, NULL};
    hak_profile.host = host;
    hak_profile.keys = &host->conf->heap_profile;
    self.stack = host->extension(HAK_STACK_1);
    if (self.stack != NULL)
        ours[2] = self.stack;
    else
        hak_say("[heap_profile] module stack is not open; the profile has no "
                "stacks");
    hak_profile_objects_start(ours);
    make_name_key();
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
    note_levels();
    self.grown_bytes = 0;
    install_handler();
    if (begin(hak_profile.keys->every_bytes, why, sizeof why) != 0)
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

static void stop(void)
{
    char path[PATH_MAX], why[PATH_MAX + 256];
    if (hak_profile.pid == getpid() && hak_profile.keys->at_exit &&
        has_file() && has_sampled() &&
        hak_profile_dump(hak_profile.keys->file, "exit", 0, path, why,
                         sizeof why) != 0)
        tell(why);
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

/* SPDX-License-Identifier: MIT
 * samples.c - takes samples: what the core calls for each sampled allocation
 * and for each free.
 *
 * A signal handler may allocate while its thread is in one of these functions.
 * If the thread holds the lock, the sample is declined. Everything that takes
 * long, the stack above all, is done before the lock is taken.
 */
#include "heap_profile.h"

#include <base/os.h>
#include <base/why.h>
#include <conf/conf.h>
#include <hakmem/stack.h>

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

enum {
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

static struct {
    const struct hak_stack_1 *stack; /* NULL: stacks cannot be taken */
    bool has_name_key;
    pthread_key_t name_key;
    bool sampling; /* atomic */
    /* What on_growth and on_peak count from. Guarded by the lock. */
    double grown_bytes, peak_bytes;
} self;

static struct room {
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
    if (self.has_name_key)
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
    if (self.has_name_key)
        pthread_setspecific(self.name_key, (void *)(uintptr_t)word);
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
        reasons |= HAK_PROFILE_GROWTH;
        self.grown_bytes = t->live_bytes;
    }
    if (percent > 0 && t->peak_bytes >= self.peak_bytes * (1 + percent / 100)) {
        reasons |= HAK_PROFILE_PEAK;
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
        hak_profile_ask(reasons);
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

/* A signal handler may have interrupted this thread in this module. The core
 * may go on asking after the end: in a paused child, and for a moment in other
 * threads. */
static bool allocated(const struct hak_sample *sample)
{
    int error = errno;
    if (!hak_profile_is_sampling())
        return false;
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

/* ---- begin and end ------------------------------------------------------- */

/* glibc keeps the values of the first 32 keys in the thread's own structure;
 * those of others would be allocated. */
static void make_name_key(void)
{
    enum { KEYS_IN_PLACE = 32 };
    self.has_name_key = pthread_key_create(&self.name_key, NULL) == 0 &&
                        self.name_key < KEYS_IN_PLACE;
}

void hak_profile_samples_start(const struct hak_stack_1 *stack)
{
    self.stack = stack;
    make_name_key();
}

int hak_profile_begin(uint64_t every_bytes, char *why, size_t n)
{
    struct timespec now;
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

int hak_profile_end(char *why, size_t n)
{
    if (!__atomic_exchange_n(&self.sampling, false, __ATOMIC_RELAXED))
        return hak_refuse(-EINVAL, why, n, "nothing is sampled");
    return hak_profile.host->sample_bytes(&sample_ops, 0, 0);
}

void hak_profile_pause(void)
{
    __atomic_store_n(&self.sampling, false, __ATOMIC_RELAXED);
}

bool hak_profile_is_sampling(void)
{
    return __atomic_load_n(&self.sampling, __ATOMIC_RELAXED);
}

void hak_profile_note_levels(bool growth)
{
    double least = (double)hak_max(
        PEAK_LEAST_BYTES, PEAK_LEAST_SAMPLES * hak_profile.keys->every_bytes);
    bool entered = hak_profile_enter();
    if (growth)
        self.grown_bytes = hak_profile.totals.live_bytes;
    self.peak_bytes = hak_profile.totals.peak_bytes > least
                          ? hak_profile.totals.peak_bytes
                          : least;
    hak_profile_leave(entered);
}

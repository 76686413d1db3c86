/* SPDX-License-Identifier: MIT
 * player_time.c - the clock that the program sees, and time in the allocator.
 *
 * Allocators give memory back some time after it was freed. So that they do
 * it where they would have done it in the program, clock_gettime is defined
 * here: libraries that are preloaded call this one, and get the time of the
 * operation that is being played. What sleeps in the kernel (threads of the
 * allocator in the background) is not reached by it.
 *
 * Calls are measured in ticks of the processor. While a thread waits for a
 * processor its ticks go on, so from calls that took long that time is taken
 * off, as the kernel tells it in /proc/thread-self/schedstat.
 */
#include "player.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- the clock ----------------------------------------------------------- */

static _Atomic bool turned;     /* the clock is the trace's */
static _Atomic uint64_t now_ns; /* of the trace */
static uint64_t base_ns[2];     /* of the monotonic and the real clock */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = {0};
    syscall(SYS_clock_gettime, clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t play_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t play_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void play_set_clock(uint64_t ns)
{
    if (ns > atomic_load_explicit(&now_ns, memory_order_relaxed))
        atomic_store_explicit(&now_ns, ns, memory_order_relaxed);
}

void play_start_clock(void)
{
    base_ns[0] = clock_ns(CLOCK_MONOTONIC);
    base_ns[1] = clock_ns(CLOCK_REALTIME);
    atomic_store(&turned, true);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock,
                                                         struct timespec *t)
{
    bool real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    bool monotonic = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW ||
                     clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME;
    if (!atomic_load_explicit(&turned, memory_order_acquire) ||
        (!real && !monotonic))
        return (int)syscall(SYS_clock_gettime, clock, t);
    uint64_t ns =
        base_ns[real] + atomic_load_explicit(&now_ns, memory_order_relaxed);
    t->tv_sec = (time_t)(ns / 1000000000u);
    t->tv_nsec = (long)(ns % 1000000000u);
    return 0;
}

/* ---- ticks --------------------------------------------------------------- */

static uint64_t began_ticks, began_ns;

static void *do_nothing(uint64_t size)
{
    return (void *)(uintptr_t)size;
}

void play_calibrate(void)
{
    enum { TIMES = 4096, LONG = 1024 };
    static uint16_t count[LONG];
    void *(*volatile nothing)(uint64_t) = do_nothing;
    unsigned seen = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t begin = play_ticks_before();
        nothing(i);
        uint64_t ticks = play_ticks_after() - begin;
        count[ticks < LONG ? ticks : LONG - 1]++;
    }
    uint64_t median = 0;
    while (median < LONG - 1 && (seen += count[median]) < TIMES / 2)
        median++;
    player.control->overhead_ticks = median;
    began_ns = play_now_ns();
    began_ticks = record_ticks();
    play_calibrate_ticks();
}

void play_calibrate_ticks(void)
{
    enum { LEAST_NS = 1000000 };
    uint64_t now;
    do
        now = play_now_ns();
    while (now - began_ns < LEAST_NS);
    player.control->ticks_per_ns =
        (double)(record_ticks() - began_ticks) / (double)(now - began_ns);
}

/* The second number of "4711 0815 42", in ns. */
uint64_t play_queued_ns(struct worker *me)
{
    char text[96];
    if (me->schedstat < 0)
        return 0;
    ssize_t n = pread(me->schedstat, text, sizeof text - 1, 0), i = 0;
    uint64_t ns = 0;
    while (i < n && text[i] != ' ')
        i++;
    for (i++; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        ns = ns * 10 + (uint64_t)(text[i] - '0');
    return ns;
}

/* ---- calls --------------------------------------------------------------- */

static unsigned bucket_of(uint64_t ticks)
{
    if (ticks < 2ul * PLAY_STEPS)
        return (unsigned)ticks;
    unsigned doublings = 58 - (unsigned)__builtin_clzll(ticks);
    unsigned bucket = doublings * PLAY_STEPS + (unsigned)(ticks >> doublings);
    return bucket < PLAY_BUCKETS ? bucket : PLAY_BUCKETS - 1;
}

void play_add_call(struct worker *me, enum play_call which, uint64_t begin,
                   uint64_t end)
{
    struct play_seat *seat = me->seat;
    uint64_t ticks = end - begin;
    if (ticks > PLAY_LONG_TICKS) {
        uint64_t queued = play_queued_ns(me);
        uint64_t off = (uint64_t)((double)(queued - me->queued_ns) *
                                  player.control->ticks_per_ns);
        me->queued_ns = queued;
        ticks -= off < ticks ? off : ticks;
    }
    uint64_t overhead = player.control->overhead_ticks;
    ticks -= overhead < ticks ? overhead : ticks;
    seat->ncalls++;
    seat->ticks += ticks;
    seat->histogram[which][bucket_of(ticks)]++;
}

/* SPDX-License-Identifier: MIT
 * recorder.h - hakctl record's writer in a test program, which fills the rings
 * itself: a recorder, threads that put entries, and the file as text.
 *
 * For one test program: it defines what the writer takes from hakctl.
 */
#ifndef HAK_TESTS_RECORDER_H
#define HAK_TESTS_RECORDER_H

#include "test.h"

#include <hakctl.h>
#include <trace/record.h>

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

/* ---- what hakctl has elsewhere ------------------------------------------- */

static char said[4096];

void ctl_say(const char *format, ...)
{
    size_t n = strlen(said);
    va_list ap;
    va_start(ap, format);
    vsnprintf(said + n, sizeof said - n, format, ap);
    va_end(ap);
}

void ctl_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    _exit(1);
}

/* ---- a recorder ---------------------------------------------------------- */

static struct recorder *recorder;
static char folder[64], file[128], said_of_file[256];

static inline void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
}

static inline void begin_with(struct recorder_options options)
{
    snprintf(folder, sizeof folder, "/tmp/hakmem-recorder-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    snprintf(file, sizeof file, "%s/x.trace", folder);
    recorder = recorder_new(&options, said_of_file, sizeof said_of_file);
    EXPECT(recorder != NULL);
    recorder_first(recorder, getpid(), file);
}

static inline void begin(void)
{
    begin_with((struct recorder_options){0});
}

/* ---- a thread of a program ----------------------------------------------- */

enum { SELF = 1000 }; /* `process` of this one */

struct thread {
    struct record_ring *ring;
    struct record_entry *entry;
    uint64_t head, ticks;
};

static inline struct thread take_ring(pid_t pid, uint64_t process)
{
    struct record_area *a = recorder->area;
    for (uint32_t i = 0; i < RECORD_RINGS; i++) {
        uint32_t none = 0;
        struct record_ring *ring = &a->ring[i];
        if (!__atomic_compare_exchange_n(&ring->pid, &none, (uint32_t)pid,
                                         false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        uint32_t nused = __atomic_load_n(&a->nused, __ATOMIC_RELAXED);
        while (nused < i + 1 &&
               !__atomic_compare_exchange_n(&a->nused, &nused, i + 1, false,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            ;
        ring->process = process;
        ring->pid_space = recorder->pid_space;
        ring->started_ticks = a->begun_ticks;
        return (struct thread){ring, record_entries(a, i), ring->head,
                               a->begun_ticks};
    }
    test_fail(__FILE__, __LINE__, "no ring is free");
}

static inline void wait_for_room(const struct thread *t)
{
    while (t->head + 4 - __atomic_load_n(&t->ring->tail, __ATOMIC_ACQUIRE) >
           RECORD_RING_ENTRIES)
        sched_yield();
}

static inline void put_raw(struct thread *t, uint64_t value,
                           enum record_kind kind, uint32_t size, uint32_t ticks)
{
    t->entry[t->head++ % RECORD_RING_ENTRIES] =
        (struct record_entry){value | (uint64_t)kind, size, ticks};
}

static inline void publish(const struct thread *t)
{
    __atomic_store_n(&t->ring->head, t->head, __ATOMIC_RELEASE);
}

static inline void put_at(struct thread *t, uint64_t ticks,
                          enum record_kind kind, uint64_t address,
                          uint64_t size)
{
    wait_for_room(t);
    uint64_t passed = ticks - t->ticks;
    if (size >= UINT32_MAX)
        put_raw(t, size << 4, RECORD_LONG, 0, 0);
    if (passed >= UINT32_MAX)
        put_raw(t, ticks << 4, RECORD_TIME, 0, 0);
    put_raw(t, address, kind,
            (uint32_t)(size >= UINT32_MAX ? UINT32_MAX : size),
            (uint32_t)(passed >= UINT32_MAX ? UINT32_MAX : passed));
    t->ticks = ticks;
    publish(t);
}

/* At so many microseconds after the beginning, about. */
static inline void put(struct thread *t, double us, enum record_kind kind,
                       uint64_t address, uint64_t size)
{
    static double per_us;
    if (per_us == 0.0) {
        uint64_t ns = record_now_ns(), ticks = record_ticks();
        usleep(20000);
        per_us = (double)(record_ticks() - ticks) /
                 (double)(record_now_ns() - ns) * 1e3;
    }
    put_at(t, recorder->area->begun_ticks + (uint64_t)(us * per_us), kind,
           address, size);
}

/* ---- the file ------------------------------------------------------------ */

/* An operation as text: its thread, a letter, the block or blocks. */
static inline void append_op(char *text, size_t n, const struct trace_op *op)
{
    static const char letters[] = "mcarfn_R.";
    size_t used = strlen(text);
    used +=
        (size_t)snprintf(text + used, n - used, "%s%u%c", used != 0 ? " " : "",
                         op->thread, letters[op->kind]);
    if (op->kind == TRACE_REALLOC)
        used += (size_t)snprintf(text + used, n - used, "%d>", (int)op->old);
    if (op->kind <= TRACE_FREE || op->kind == TRACE_TOUCHED)
        used += (size_t)snprintf(text + used, n - used, "%d", (int)op->object);
    if (op->kind <= TRACE_REALLOC)
        used += (size_t)snprintf(text + used, n - used, "=%" PRIu64, op->size);
    if (op->kind == TRACE_ALIGNED)
        snprintf(text + used, n - used, "/%d", (int)op->align);
}

/* All operations of a file as text, without how much memory there was. */
static inline const char *read_ops(const char *path,
                                   struct trace_totals *totals)
{
    static char text[4096];
    char why[256] = "";
    struct trace_op op;
    struct trace *t = trace_open(path, NULL, why, sizeof why);
    EXPECT_STR(why, "");
    text[0] = 0;
    while (trace_next(t, &op, why, sizeof why) == 1)
        if (op.kind != TRACE_RESIDENT)
            append_op(text, sizeof text, &op);
    EXPECT_STR(why, "");
    if (totals != NULL)
        EXPECT(trace_totals(t, totals));
    trace_close(t);
    return text;
}

static inline const char *end(void)
{
    static struct trace_totals totals;
    recorder_end(recorder);
    return read_ops(file, &totals);
}

#endif

/* SPDX-License-Identifier: MIT
 * report.c - reports of errors, with stacks, through host->log.
 *
 *     hakmem: box guard: heap overflow: write at 0x7f..., 1 bytes behind the
 *                        end of a live block of 24 bytes at 0x7f...
 *     hakmem: box guard:   accessed by thread 4711:
 *     hakmem: box guard:     #0 0x55... prog+0x11a9 (main)
 *
 * Also runs in the signal handler: no malloc, and no lock but the loader's in
 * dladdr. The stack of the access is printed last, because unwinding it may
 * fail in whatever state the program is in.
 */
#include "guard.h"

#include <dlfcn.h>
#include <pthread.h>

/* Print one line of a report. */
#define SAY(guard, ...) \
    (guard)->box->host->log((guard)->box, HAK_LOG_ERROR, __VA_ARGS__)

/*
 * The calling thread's id without a system call: a sandbox may kill the process
 * for gettid. libc knows the id and stores it in a recursive mutex when it
 * locks one.
 */
static int own_tid(void)
{
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    pthread_mutex_lock(&mutex);
    int tid = mutex.__data.__owner;
    pthread_mutex_unlock(&mutex);
    return tid;
}

void stack_take(const struct guard *guard, struct stack *out)
{
    out->tid = own_tid();
    out->n = guard->stack != NULL && guard->frames != 0
                 ? guard->stack->take(out->frame, guard->frames)
                 : 0;
}

/* Does the frame lie in the core's library or in this box's? */
static bool is_ours(const struct guard *guard, uintptr_t frame)
{
    const void *core = (const void *)(uintptr_t)guard->box->host->log;
    const void *box = (const void *)&hak_box_entry;
    Dl_info at, a, b;
    if (dladdr((const void *)frame, &at) == 0)
        return false;
    return (dladdr(core, &a) != 0 && at.dli_fbase == a.dli_fbase) ||
           (dladdr(box, &b) != 0 && at.dli_fbase == b.dli_fbase);
}

/* The frame that a report begins with: the faulting instruction `exact`, or
 * when it is 0 the first frame that is not the core's or the box's. */
static uint32_t first_frame(const struct guard *guard, const struct stack *s,
                            uintptr_t exact)
{
    uint32_t i = 0;
    if (exact != 0) {
        while (i < s->n && s->frame[i] != exact)
            i++;
        return i < s->n ? i : 0;
    }
    while (i < s->n && is_ours(guard, s->frame[i]))
        i++;
    return i < s->n ? i : 0;
}

static void say_frame(struct guard *guard, uint32_t i, uintptr_t frame)
{
    Dl_info at;
    if (dladdr((const void *)frame, &at) == 0 || at.dli_fname == NULL) {
        SAY(guard, "    #%u %p", i, (void *)frame);
        return;
    }
    void *offset = (void *)(frame - (uintptr_t)at.dli_fbase);
    if (at.dli_sname != NULL)
        SAY(guard, "    #%u %p %s+%p (%s)", i, (void *)frame, at.dli_fname,
            offset, at.dli_sname);
    else
        SAY(guard, "    #%u %p %s+%p", i, (void *)frame, at.dli_fname, offset);
}

static void say_stack(struct guard *guard, const char *what,
                      const struct stack *s, uintptr_t exact)
{
    uint32_t first = first_frame(guard, s, exact);
    SAY(guard, "  %s by thread %d%s", what, s->tid,
        s->n != 0 ? ":" : " (no stack)");
    for (uint32_t i = first; i < s->n; i++)
        say_frame(guard, i - first, s->frame[i]);
}

static void say_history(struct guard *guard, const struct slot *slot)
{
    if (slot_state(slot) == SLOT_FREED)
        say_stack(guard, "freed", &slot->freed, 0);
    say_stack(guard, "allocated", &slot->allocated, 0);
}

static void say_here(struct guard *guard, const char *what, uintptr_t exact)
{
    struct stack here;
    stack_take(guard, &here);
    say_stack(guard, what, &here, exact);
}

/* The distance in bytes from the block to p, and in *words what it means. */
static size_t place(const struct slot *slot, uintptr_t p, const char **words)
{
    uintptr_t end = slot->start + slot->bytes;
    *words = p < slot->start ? "before the start of"
             : p >= end      ? "behind the end of"
                             : "inside";
    return p < slot->start ? slot->start - p
           : p >= end      ? p - end + 1
                           : p - slot->start;
}

static void say_block(struct guard *guard, const char *kind, const char *deed,
                      uintptr_t p, const struct slot *slot)
{
    const char *words;
    size_t n = place(slot, p, &words);
    SAY(guard, "%s: %s %p, %zu bytes %s a %s block of %zu bytes at %p", kind,
        deed, (void *)p, n, words,
        slot_state(slot) == SLOT_LIVE ? "live" : "freed", slot->bytes,
        (void *)slot->start);
}

void report_fault(struct guard *guard, uintptr_t p, const char *access,
                  uintptr_t exact)
{
    struct slot *slot = pool_near(&guard->pool, p);
    bool write = access[0] == 'w';
    hak_count_shared(&guard->faults, 1);
    if (slot == NULL) {
        SAY(guard, "wild %s at %p, where no block has been", access, (void *)p);
    } else if (!__atomic_exchange_n(&slot->reported, true, __ATOMIC_RELAXED)) {
        const char *kind = slot_state(slot) != SLOT_LIVE ? "use after free"
                           : p < slot->start             ? "heap underflow"
                                                         : "heap overflow";
        say_block(guard, kind, write ? "write at" : "read at", p, slot);
        say_history(guard, slot);
        say_here(guard, "accessed", exact);
    }
}

void report_misuse(struct guard *guard, const char *call, const void *p)
{
    struct slot *slot = pool_near(&guard->pool, (uintptr_t)p);
    hak_count_shared(&guard->faults, 1);
    if (slot == NULL) {
        SAY(guard, "%s of wild pointer %p, where no block has been", call, p);
    } else {
        bool freed =
            slot_state(slot) != SLOT_LIVE && (uintptr_t)p == slot->start;
        bool is_free = strcmp(call, "free") == 0;
        const char *kind = freed ? is_free ? "double free" : "use after free"
                                 : "invalid pointer";
        say_block(guard, kind, is_free ? "free of" : "size asked of",
                  (uintptr_t)p, slot);
        say_history(guard, slot);
    }
    say_here(guard, "called", 0);
    abort();
}

void report_written(struct guard *guard, const struct slot *slot,
                    uintptr_t where)
{
    hak_count_shared(&guard->faults, 1);
    say_block(guard, where < slot->start ? "heap underflow" : "heap overflow",
              "found at free, write at", where, slot);
    say_stack(guard, "allocated", &slot->allocated, 0);
    say_stack(guard, "freed", &slot->freed, 0);
    abort();
}

/* SPDX-License-Identifier: MIT
 * guard.h - one instance of the box, and what its files share.
 *
 *     guard.c     entry, parameters, alloc and free
 *     fault.c     the SIGSEGV handler and whom it calls after us
 *     report.c    what is said of a fault
 *     pool.c      slots between guard pages
 *
 * A file calls only what stands below it.
 */
#ifndef GUARD_GUARD_H
#define GUARD_GUARD_H

#include <kit/base.h>
#include <kit/sync.h>

#include <hakmem/stack.h>

enum { FRAMES_MOST = 32 };

struct stack {
    int tid;
    uint32_t n;
    uintptr_t frame[FRAMES_MOST];
};

enum slot_state {
    SLOT_FRESH, /* never used */
    SLOT_BUSY,  /* between two others, one thread's */
    SLOT_LIVE,
    SLOT_FREED, /* closed, in the queue; start is 0 where no block ever was */
};

/*
 * slot - one block's place: slot_bytes of pages with a guard page on each side
 *
 *     pool | guard | slot 0 | guard | slot 1 | ... | slot n-1 | guard |
 *
 * start, bytes  of the block that is or was there; bytes is what may be used
 * Written by the thread that has it BUSY; state is released last.
 */
struct slot {
    uint32_t state; /* enum slot_state, atomic */
    bool reported;  /* a fault of this block was told */
    bool open; /* its pages; while BUSY and LIVE, or not closed by the kernel */
    uintptr_t start;
    size_t bytes;
    struct stack allocated, freed;
};

struct pool {
    struct hak_box *box;
    struct hak_lock lock; /* of queue, nfresh, base, rate */
    uintptr_t base;       /* 0 until the first block; atomic */
    size_t pool_bytes, page_bytes, slot_bytes, stride_bytes;
    uint32_t nslots, quarantine;
    uint32_t nfresh;       /* slots that were ever used */
    uint32_t *queue;       /* freed slots, a ring, the longest freed first */
    uint32_t first, count; /* of it */
    struct slot *slot;
};

struct guard {
    struct hak_box *box;
    struct pool pool;
    const struct hak_stack_1 *stack; /* NULL: the core has none */
    uint32_t frames;
    bool signal_recheck;
    uint64_t most_per_second; /* 0: no limit */
    uint64_t window, taken;   /* of the rate; under pool.lock */
    uint64_t nth;             /* left and right in turn */
    struct guard *next;       /* of all instances */
    uint64_t sampled, full, passed, unfit, freed, faults;
    uint64_t live_bytes, peak_bytes;
};

static inline struct guard *guard_of(const struct hak_box *box)
{
    return box->state;
}

/* ---- pool.c -------------------------------------------------------------- */

/* box->host->meta for nslots. False: no memory. */
bool pool_init(struct pool *pool, struct hak_box *box, uint32_t nslots,
               uint32_t quarantine, size_t slot_bytes);

/* A slot in state BUSY, its pages open; NULL = all are in use, or no memory. */
struct slot *pool_take(struct pool *pool);

/* A slot in state BUSY whose block is gone: close it, to the queue's end. */
void pool_give(struct pool *pool, struct slot *slot);

/* Any p. */
bool pool_owns(const struct pool *pool, const void *p);

/* First byte of the slot's pages. */
uintptr_t pool_slot(const struct pool *pool, const struct slot *slot);

/*
 * The slot that p, in the pool, is in or beside; of two the one with a live
 * block, then the nearer one. NULL: no block was ever there.
 */
struct slot *pool_near(const struct pool *pool, uintptr_t p);

static inline uint32_t slot_state(const struct slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

static inline void slot_set(struct slot *slot, enum slot_state state)
{
    __atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

/* ---- report.c ------------------------------------------------------------ */

/* The calling thread's, where the core has stacks. */
void stack_take(const struct guard *guard, struct stack *out);

/* An access at p was refused. exact: the instruction's address, 0 = unknown;
 * access: "read", "write". Async-signal-safe as far as dladdr is. */
void report_fault(struct guard *guard, uintptr_t p, const char *access,
                  uintptr_t exact);

/* A call with a pointer that is no live block's start, or a block whose
 * surroundings were written: one report, then abort. */
__attribute__((noreturn)) void report_misuse(struct guard *guard,
                                             const char *call, const void *p);
__attribute__((noreturn)) void
report_written(struct guard *guard, const struct slot *slot, uintptr_t where);

/* ---- fault.c ------------------------------------------------------------- */

/* At init, for good: its faults are told. Installs the handler. */
void fault_enter(struct guard *guard);

/* Our handler in front, if a program put another there since the last call. A
 * system call: with `signal_recheck` alone. */
void fault_recheck(void);

void fault_fork_child(void);

/* ---- guard.c ------------------------------------------------------------- */

/* Aborts when the instance contradicts itself. No other thread is in it. */
void guard_check(struct guard *guard);

#endif

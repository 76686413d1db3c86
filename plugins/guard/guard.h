/* SPDX-License-Identifier: MIT
 * guard.h - one instance of the box, and what its files share.
 *
 *     guard.c     entry, parameters, alloc and free
 *     fault.c     the SIGSEGV handler, which passes signals on to the program's
 *     report.c    reports of errors, with stacks
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
    SLOT_BUSY,  /* changing from one state to another, by one thread */
    SLOT_LIVE,  /* the program has the block */
    SLOT_FREED, /* in the queue; start is 0 if no block was ever in it */
};

/*
 * slot - one block's place: slot_bytes of pages with a guard page on each side
 *
 *     pool | guard | slot 0 | guard | slot 1 | ... | slot n-1 | guard |
 *
 * start, bytes  the block that is or was in the slot; bytes are what it may use
 *
 * The members are written by the thread that made the slot BUSY. It stores
 * state last, with release; slot_state() acquires.
 */
struct slot {
    uint32_t state; /* enum slot_state, atomic */
    bool reported;  /* a fault of this block was reported */
    bool open; /* mapped: while BUSY or LIVE, or when unmapping it failed */
    uintptr_t start;
    size_t bytes;
    struct stack allocated, freed;
};

struct pool {
    struct hak_box *box;
    struct hak_lock lock; /* guards queue, nfresh, base; guard.window, taken */
    uintptr_t base;       /* 0 until the first block; atomic */
    size_t pool_bytes, page_bytes, slot_bytes, stride_bytes;
    uint32_t nslots, quarantine;
    uint32_t nfresh;       /* slots that were ever used */
    uint32_t *queue;       /* numbers of freed slots, a ring, oldest first */
    uint32_t first, count; /* position of the oldest in queue; length */
    struct slot *slot;
};

struct guard {
    struct hak_box *box;
    struct pool pool;
    const struct hak_stack_1 *stack; /* NULL: the core cannot unwind stacks */
    uint32_t frames;
    bool signal_recheck;
    uint64_t most_per_second; /* 0: no limit */
    /* The rate: number of this period of 64 ms, and samples taken in it;
     * guarded by pool.lock. */
    uint64_t window, taken;
    uint64_t nth;       /* blocks so far: even ones lie at their slot's start */
    struct guard *next; /* in the list of all instances */
    /* Allocations that were served, and declined: no slot; over the rate; too
     * large. Blocks freed, errors found. */
    uint64_t sampled, full, passed, unfit, freed, faults;
    uint64_t live_bytes, peak_bytes;
};

static inline struct guard *guard_of(const struct hak_box *box)
{
    return box->state;
}

/* ---- pool.c -------------------------------------------------------------- */

/* Set up the pool, with metadata for nslots. False: no memory. */
bool pool_init(struct pool *pool, struct hak_box *box, uint32_t nslots,
               uint32_t quarantine, size_t slot_bytes);

/* Take a slot. Returns it in state BUSY, with its pages mapped; NULL = none may
 * be used now, or no memory. */
struct slot *pool_take(struct pool *pool);

/* Unmap a slot in state BUSY, whose block is gone, and add it to the queue. */
void pool_give(struct pool *pool, struct slot *slot);

/* Is p in the pool? p may be any value. */
bool pool_owns(const struct pool *pool, const void *p);

/* First byte of the slot's pages. */
uintptr_t pool_slot(const struct pool *pool, const struct slot *slot);

/*
 * The slot that p, an address in the pool, is in, or for a guard page the slot
 * on either side: the one with a live block, else the nearer one. NULL: no
 * block was ever in them.
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

/* Record the calling thread's id and its stack, if the core can unwind stacks.
 */
void stack_take(const struct guard *guard, struct stack *out);

/* Report that an access at p faulted.
 * access  "read" or "write"
 * exact   address of the instruction, 0 = unknown
 * Async-signal-safe as far as dladdr is. */
void report_fault(struct guard *guard, uintptr_t p, const char *access,
                  uintptr_t exact);

/* report_misuse: a call got a pointer that is not the start of a live block.
 * report_written: the bytes around the block were written to, first at `where`.
 * Both report it and abort. */
__attribute__((noreturn)) void report_misuse(struct guard *guard,
                                             const char *call, const void *p);
__attribute__((noreturn)) void
report_written(struct guard *guard, const struct slot *slot, uintptr_t where);

/* ---- fault.c ------------------------------------------------------------- */

/* Called by init: report faults in the pool of this instance from now on.
 * Installs the handler. */
void fault_enter(struct guard *guard);

/* Put our handler in front again if the program has installed another one. This
 * is a system call, so it is called only with `signal_recheck` and at init. */
void fault_recheck(void);

void fault_fork_child(void);

/* ---- guard.c ------------------------------------------------------------- */

/* Aborts when an invariant is broken. No other thread may be in the box. */
void guard_check(struct guard *guard);

#endif

/* SPDX-License-Identifier: MIT
 * walk.c - module "stack": walks the calling thread's stack, on x86-64.
 *
 * A frame costs a look at a cache of rows (cfi.h), by the address of the
 * instruction. The unwinder of libgcc interprets the tables each time, for all
 * registers, which takes some seven times as long (`make bench-stack`).
 *
 * Each read is inside of the thread's stack. Where that ends is not known for
 * stacks of coroutines and of signal handlers, so these are left to libgcc, and
 * so are frames whose rows have another form.
 *
 * Code that a program makes at run time has no tables. Such code mostly keeps a
 * chain of frame pointers in rbp. It is followed, as long as it leads to code
 * that has tables again.
 */
#include "walk.h"

#if defined __x86_64__ && defined __GLIBC__

#include "cfi.h"

#include <kit/base.h>

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

/* The end of the first thread's stack, a variable of glibc's loader. */
extern void *stack_end __asm__("__libc_stack_end");

struct frame {
    uintptr_t pc; /* of an instruction in the frame's function */
    uintptr_t rsp, rbp;
};

struct walk {
    struct frame frame;
    uintptr_t limit; /* end of the stack */
    uintptr_t *out;
    uint32_t n, most;
};

/* ---- rows, cached -------------------------------------------------------- */

/*
 * A place of the cache, for one address of an instruction. Threads read and
 * write it without a lock. A writer clears `key`, writes `row`, and then
 * writes `key`. A reader takes a row only if `key` is the same before and
 * after.
 *
 * The key has the address and the object that it was in, because a library may
 * be closed and another one loaded at its address.
 */
struct place {
    uint64_t key; /* 0: empty */
    uint64_t row; /* kind, cfa_offset, rbp_offset */
};

enum { PLACES = 1 << 14, OFFSET_BITS = 30 };
static struct place cache[PLACES];

static uint64_t mix(uint64_t x)
{
    x *= 0x9e3779b97f4a7c15;
    return x ^ x >> 29;
}

static uint64_t pack(struct hak_row row)
{
    uint64_t mask = (1u << OFFSET_BITS) - 1;
    return (uint64_t)row.kind << 60 |
           ((uint64_t)row.cfa_offset & mask) << OFFSET_BITS |
           ((uint64_t)row.rbp_offset & mask);
}

static int32_t offset_of(uint64_t bits)
{
    return (int32_t)((uint32_t)bits << (32 - OFFSET_BITS)) >>
           (32 - OFFSET_BITS);
}

static struct hak_row unpack(uint64_t word)
{
    return (struct hak_row){
        .kind = (enum hak_row_kind)(word >> 60),
        .cfa_offset = offset_of(word >> OFFSET_BITS),
        .rbp_offset = offset_of(word),
    };
}

static bool fits(struct hak_row row)
{
    struct hak_row there = unpack(pack(row));
    return there.cfa_offset == row.cfa_offset &&
           there.rbp_offset == row.rbp_offset;
}

static struct hak_row row_at(const struct dl_find_object *object, uintptr_t pc)
{
    uint64_t key = pc ^ mix((uintptr_t)object->dlfo_link_map ^
                            mix((uintptr_t)object->dlfo_map_start));
    struct place *place = &cache[mix(pc) % PLACES];
    if (__atomic_load_n(&place->key, __ATOMIC_ACQUIRE) == key) {
        uint64_t word = __atomic_load_n(&place->row, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&place->key, __ATOMIC_RELAXED) == key)
            return unpack(word);
    }
    struct hak_row row = hak_cfi_row(object->dlfo_eh_frame, pc);
    if (!fits(row))
        return (struct hak_row){.kind = HAK_ROW_OTHER};
    __atomic_store_n(&place->key, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&place->row, pack(row), __ATOMIC_RELAXED);
    __atomic_store_n(&place->key, key, __ATOMIC_RELEASE);
    return row;
}

/* The row of pc. NONE: no object with tables has it. */
static struct hak_row row_of(uintptr_t pc)
{
    struct dl_find_object object;
    if (_dl_find_object((void *)pc, &object) != 0 ||
        object.dlfo_eh_frame == NULL)
        return (struct hak_row){.kind = HAK_ROW_NONE};
    return row_at(&object, pc);
}

/* ---- where the stack ends ------------------------------------------------ */

/*
 * The end of the stack that sp is in, or 0. glibc puts a thread's control block
 * at the end of its stack, and that is where the thread pointer leads.
 * STACK_MOST is the usual most of a stack; more may be another thread's memory.
 */
static uintptr_t end_of_stack(uintptr_t sp)
{
    enum { STACK_MOST = 8 << 20 };
    uintptr_t first = (uintptr_t)stack_end;
    uintptr_t own = (uintptr_t)__builtin_thread_pointer();
    if (first - sp < STACK_MOST)
        return first;
    return own - sp < STACK_MOST ? own : 0;
}

/* Read the word at that address of the stack, above sp. False: it is not in the
 * stack. */
static bool read_stack(const struct walk *w, uintptr_t at, uintptr_t *out)
{
    if (at < w->frame.rsp || at > w->limit - sizeof *out || at % 8 != 0)
        return false;
    *out = *(const uintptr_t *)at;
    return true;
}

/* ---- steps ---------------------------------------------------------------
 */

/* Go to the caller by a row. False: the stack is not as the row says. */
static bool step_by_row(struct walk *w, struct hak_row row)
{
    struct frame *f = &w->frame;
    uintptr_t base = row.kind == HAK_ROW_RSP ? f->rsp : f->rbp;
    uintptr_t cfa = base + (uintptr_t)(intptr_t)row.cfa_offset;
    uintptr_t back, rbp = f->rbp;
    if (cfa <= f->rsp || !read_stack(w, cfa - 8, &back))
        return false;
    if (row.rbp_offset != HAK_RBP_SAME &&
        !read_stack(w, cfa + (uintptr_t)(intptr_t)row.rbp_offset, &rbp))
        return false;
    *f = (struct frame){.pc = back - 1, .rsp = cfa, .rbp = rbp};
    return true;
}

/*
 * Go to the function that a signal has interrupted. The kernel has pushed a
 * ucontext_t, at which rsp points when the handler has returned. The handler
 * may have a stack of its own.
 */
static bool step_over_signal(struct walk *w)
{
    const struct frame *f = &w->frame;
    if (w->limit - f->rsp < sizeof(ucontext_t))
        return false;
    const ucontext_t *u = (const ucontext_t *)f->rsp;
    const greg_t *g = u->uc_mcontext.gregs;
    uintptr_t rsp = (uintptr_t)g[REG_RSP];
    w->limit = end_of_stack(rsp);
    w->frame =
        (struct frame){(uintptr_t)g[REG_RIP], rsp, (uintptr_t)g[REG_RBP]};
    return w->limit != 0;
}

/* Follow one frame pointer. It has to be near, as rbp may have another use. */
static bool step_by_frame_pointer(struct walk *w)
{
    enum { NEAR_BYTES = 64 << 10 };
    struct frame *f = &w->frame;
    uintptr_t at = f->rbp, back, rbp;
    if (at - f->rsp > NEAR_BYTES || !read_stack(w, at + 8, &back) ||
        !read_stack(w, at, &rbp))
        return false;
    *f = (struct frame){.pc = back - 1, .rsp = at + 16, .rbp = rbp};
    return back > 4096;
}

static bool add(struct walk *w)
{
    if (w->n == w->most || w->frame.pc == 0)
        return false;
    w->out[w->n++] = w->frame.pc;
    return true;
}

/* Follow frame pointers until there are tables again. If that does not come to
 * pass, only the first of these frames is certain. */
static bool cross_code_without_tables(struct walk *w)
{
    enum { FRAMES = 64 };
    uint32_t certain = w->n;
    for (int i = 0; i < FRAMES; i++) {
        if (!step_by_frame_pointer(w) || !add(w))
            break;
        if (row_of(w->frame.pc).kind != HAK_ROW_NONE)
            return true;
    }
    if (w->n < w->most)
        w->n = certain;
    return false;
}

/* What to do next: */
enum step { GO_ON, END, GIVE_UP };

static enum step step(struct walk *w)
{
    struct hak_row row = row_of(w->frame.pc);
    switch (row.kind) {
    case HAK_ROW_RSP:
    case HAK_ROW_RBP:
        if (!step_by_row(w, row))
            return GIVE_UP;
        break;
    case HAK_ROW_SIGNAL:
        if (!step_over_signal(w))
            return GIVE_UP;
        break;
    case HAK_ROW_NONE:
        return cross_code_without_tables(w) ? GO_ON : END;
    case HAK_ROW_LAST:
        return END;
    case HAK_ROW_OTHER:
        return GIVE_UP;
    }
    return add(w) ? GO_ON : END;
}

/* The first frame is this function's caller. It must not be inlined, since the
 * frame pointer is of this function. */
__attribute__((noinline)) bool hak_stack_walk(uintptr_t *out, uint32_t most,
                                              uint32_t *n)
{
    const uintptr_t *own = __builtin_frame_address(0);
    struct walk w = {
        .frame = {.pc = own[1] - 1, .rsp = (uintptr_t)(own + 2), .rbp = own[0]},
        .limit = end_of_stack((uintptr_t)own),
        .out = out,
        .most = most,
    };
    enum step next = GO_ON;
    if (w.limit == 0)
        return false;
    add(&w);
    while (next == GO_ON)
        next = step(&w);
    *n = w.n;
    return next == END;
}

#else

bool hak_stack_walk(uintptr_t *out, uint32_t most, uint32_t *n)
{
    (void)out, (void)most, (void)n;
    return false;
}

#endif

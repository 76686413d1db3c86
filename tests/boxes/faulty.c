/* SPDX-License-Identifier: MIT
 * faulty.c - like whole.c, but the operation that parameter `op` names fails in
 * the way that `how` names, from when the program asks for FAULTY_ARMS bytes.
 * An init fails at once. Ways to crash and hang: segv bus fpe ill abort hang.
 * Ways to be wrong, for [core] verify:
 *     nest     it calls malloc
 *     again    it hands out a slot that is live
 *     skew     a slot that is aligned to 8
 *     static   memory of its own file
 *     beyond   a slot that ends in memory which is not the box's
 *     disown   owns() is false from then on
 *     short    usable_size() is 1 from then on
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "whole.h"

enum { FAULTY_ARMS = 300001 };
enum { FAULTY_OP = WHOLE_NPARAMS, FAULTY_HOW, FAULTY_NPARAMS };
enum {
    HOW_SEGV,
    HOW_BUS,
    HOW_FPE,
    HOW_ILL,
    HOW_ABORT,
    HOW_HANG,
    HOW_NEST,
    HOW_AGAIN, /* from here on the slot is wrong */
    HOW_SKEW,
    HOW_STATIC,
    HOW_BEYOND,
    HOW_DISOWN,
    HOW_SHORT,
};

static const struct hak_param faulty_params[] = {
    [FAULTY_OP] = {.name = "op", .type = HAK_PARAM_TEXT, .def_text = "none"},
    [FAULTY_HOW] = {.name = "how",
                    .type = HAK_PARAM_ENUM,
                    .choices = "segv|bus|fpe|ill|abort|hang|nest|again|skew|"
                               "static|beyond|disown|short"},
    [WHOLE_SPARE] = {.name = "spare",
                     .type = HAK_PARAM_SIZE,
                     .min = 0,
                     .max = 1 << 20,
                     .def = 4096},
    [WHOLE_ZERO] = {.name = "zero", .type = HAK_PARAM_BOOL, .max = 1},
    [WHOLE_WAY] = {.name = "way", .type = HAK_PARAM_ENUM, .choices = "up|down"},
};

static bool armed; /* atomic */
static volatile char *volatile nowhere;
static volatile int zero;
static void *volatile kept;

/* Reading a mapped page behind the end of its file is SIGBUS. */
static void read_behind_a_file(void)
{
    int fd = memfd_create("faulty", 0);
    volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    (void)*p;
}

static void fail_as(int64_t how)
{
    switch (how) {
    case HOW_SEGV:
        *nowhere = 1;
        break;
    case HOW_BUS:
        read_behind_a_file();
        break;
    case HOW_FPE:
        zero = 7 / zero;
        break;
    case HOW_ILL:
        __builtin_trap();
    case HOW_ABORT:
        abort();
    case HOW_HANG:
        (void)!write(2, "hangs\n", 6);
        for (;;)
            pause();
    case HOW_NEST:
        kept = malloc(100);
        break;
    default:
        break;
    }
}

static bool fails_in(const struct hak_box *box, const char *op)
{
    const char *of = box->params[FAULTY_OP].text;
    while (*of != 0 && *of == *op) {
        of++;
        op++;
    }
    return *of == *op && __atomic_load_n(&armed, __ATOMIC_RELAXED);
}

static void fail_in(const struct hak_box *box, const char *op)
{
    if (fails_in(box, op))
        fail_as(box->params[FAULTY_HOW].i);
}

/* ---- wrong slots -----------------------------------------------------------
 */

static char *last; /* a slot that is live */
static bool disowns, is_short;

static char *slot_beyond(struct hak_box *box)
{
    char *p = box->host->map(box, 2 * HAK_GRANULE_BYTES, 0, 0);
    box->host->unmap(box, p + HAK_GRANULE_BYTES, HAK_GRANULE_BYTES);
    return p + HAK_GRANULE_BYTES - 64;
}

/* What op returns in place of slot p. */
static void *spoil(struct hak_box *box, const char *op, char *p)
{
    static char memory[1 << 20] __attribute__((aligned(4096)));
    if (!fails_in(box, op))
        return p;
    switch (box->params[FAULTY_HOW].i) {
    case HOW_AGAIN:
        return last;
    case HOW_SKEW:
        return p + 8;
    case HOW_STATIC:
        return memory;
    case HOW_BEYOND:
        return slot_beyond(box);
    case HOW_DISOWN:
        disowns = true;
        return p;
    case HOW_SHORT:
        is_short = true;
        return p;
    default:
        return p;
    }
}

/* ---- operations ------------------------------------------------------------
 */

static void *faulty_alloc(struct hak_box *box, size_t size_bytes)
{
    fail_in(box, "alloc");
    char *p = lanes_alloc(box, size_bytes);
    if (size_bytes == FAULTY_ARMS)
        __atomic_store_n(&armed, true, __ATOMIC_RELAXED);
    else if (!armed)
        last = p;
    return size_bytes == FAULTY_ARMS ? p : spoil(box, "alloc", p);
}

/* In the way `again` the last slot that was taken is on the list once more. */
static struct hak_span *faulty_refill(struct hak_box *box, void *heap,
                                      size_t size_bytes)
{
    static void *taken;
    fail_in(box, "refill");
    struct hak_span *span = lanes_refill(box, heap, size_bytes);
    struct page *page = (struct page *)span;
    if (span && taken && fails_in(box, "refill") &&
        box->params[FAULTY_HOW].i == HOW_AGAIN) {
        link_slot(page, taken, span->local);
        span->local = taken;
    }
    if (span)
        taken = span->local;
    return span;
}

static bool faulty_owns(struct hak_box *box, const void *p)
{
    fail_in(box, "owns");
    return !disowns && lanes_owns(box, p);
}

static size_t faulty_usable_size(struct hak_box *box, const void *p)
{
    fail_in(box, "usable_size");
    return is_short ? 1 : lanes_usable_size(box, p);
}

static int faulty_init(struct hak_box *box)
{
    int error = lanes_init(box);
    armed = true;
    fail_in(box, "init");
    armed = false;
    return error;
}

#define FAILS(result, name, of, parameters, ...) \
    static result faulty_##name parameters       \
    {                                            \
        fail_in((of), #name);                    \
        return lanes_##name(__VA_ARGS__);        \
    }
#define FAILS_WHOLE(result, name, of, parameters, ...)        \
    static result faulty_##name parameters                    \
    {                                                         \
        fail_in((of), #name);                                 \
        return spoil((of), #name, whole_##name(__VA_ARGS__)); \
    }

FAILS(void, free, box, (struct hak_box * box, void *p), box, p)
FAILS(void *, heap_open, box, (struct hak_box * box, struct hak_thread *thread),
      box, thread)
FAILS(void, heap_close, box, (struct hak_box * box, void *heap), box, heap)
FAILS(void, triggered, span->box, (struct hak_span * span), span)
FAILS(void, remote_free, span->box, (struct hak_span * span, void *p), span, p)
FAILS(void, fork, box, (struct hak_box * box, enum hak_fork_phase phase), box,
      phase)
FAILS(size_t, trim, box, (struct hak_box * box), box)
FAILS(void, stats, box, (struct hak_box * box, struct hak_box_stats *out), box,
      out)
FAILS_WHOLE(void *, aligned_alloc, box,
            (struct hak_box * box, size_t align, size_t n), box, align, n)
FAILS_WHOLE(void *, zalloc, box, (struct hak_box * box, size_t n), box, n)
FAILS_WHOLE(void *, resize, box, (struct hak_box * box, void *p, size_t n), box,
            p, n)

static void faulty_heap_park(struct hak_box *box, void *heap)
{
    (void)heap;
    fail_in(box, "heap_park");
}

static size_t faulty_shrink(struct hak_box *box, size_t want_bytes)
{
    (void)want_bytes;
    fail_in(box, "shrink");
    return 0;
}

static void faulty_age(struct hak_box *box)
{
    fail_in(box, "age");
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    .summary = "fails in one operation",
    .params = faulty_params,
    .nparams = FAULTY_NPARAMS,
    HAK_BOX_HEADER("faulty", "1.0"),
    .ops = {WHOLE_OPS,
            .alloc = faulty_alloc,
            .free = faulty_free,
            .owns = faulty_owns,
            .init = faulty_init,
            .usable_size = faulty_usable_size,
            .aligned_alloc = faulty_aligned_alloc,
            .zalloc = faulty_zalloc,
            .resize = faulty_resize,
            .heap_open = faulty_heap_open,
            .heap_close = faulty_heap_close,
            .heap_park = faulty_heap_park,
            .refill = faulty_refill,
            .triggered = faulty_triggered,
            .remote_free = faulty_remote_free,
            .fork = faulty_fork,
            .trim = faulty_trim,
            .stats = faulty_stats,
            .shrink = faulty_shrink,
            .age = faulty_age},
};

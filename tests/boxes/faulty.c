/* SPDX-License-Identifier: MIT
 * faulty.c - like whole.c, but the operation that parameter `op` names fails in
 * the way that `how` names, from when the program asks for FAULTY_ARMS bytes.
 * An init fails at once. `hang` never comes back; `nest` calls malloc.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "whole.h"

enum { FAULTY_ARMS = 300001 };
enum { FAULTY_OP = WHOLE_NPARAMS, FAULTY_HOW, FAULTY_NPARAMS };
enum { HOW_SEGV, HOW_BUS, HOW_FPE, HOW_ILL, HOW_ABORT, HOW_HANG, HOW_NEST };

static const struct hak_param faulty_params[] = {
    [FAULTY_OP] = {.name = "op", .type = HAK_PARAM_TEXT, .def_text = "none"},
    [FAULTY_HOW] = {.name = "how",
                    .type = HAK_PARAM_ENUM,
                    .choices = "segv|bus|fpe|ill|abort|hang|nest"},
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
        for (;;)
            pause();
    default:
        kept = malloc(100);
    }
}

static void fail_in(const struct hak_box *box, const char *op)
{
    const char *of = box->params[FAULTY_OP].text;
    while (*of != 0 && *of == *op) {
        of++;
        op++;
    }
    if (*of == *op && __atomic_load_n(&armed, __ATOMIC_RELAXED))
        fail_as(box->params[FAULTY_HOW].i);
}

static void *faulty_alloc(struct hak_box *box, size_t size_bytes)
{
    fail_in(box, "alloc");
    if (size_bytes == FAULTY_ARMS)
        __atomic_store_n(&armed, true, __ATOMIC_RELAXED);
    return lanes_alloc(box, size_bytes);
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
#define FAILS_WHOLE(result, name, of, parameters, ...) \
    static result faulty_##name parameters             \
    {                                                  \
        fail_in((of), #name);                          \
        return whole_##name(__VA_ARGS__);              \
    }

FAILS(void, free, box, (struct hak_box * box, void *p), box, p)
FAILS(bool, owns, box, (struct hak_box * box, const void *p), box, p)
FAILS(size_t, usable_size, box, (struct hak_box * box, const void *p), box, p)
FAILS(void *, heap_open, box, (struct hak_box * box, struct hak_thread *thread),
      box, thread)
FAILS(void, heap_close, box, (struct hak_box * box, void *heap), box, heap)
FAILS(struct hak_span *, refill, box,
      (struct hak_box * box, void *heap, size_t n), box, heap, n)
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

/* SPDX-License-Identifier: MIT
 * op_calls.c - notes calls of boxes, and makes the calls of ops.h while they
 * are noted.
 */
#include <core/state/op_calls.h>

#include <base/text.h>
#include <core/state/ops.h>
#include <core/state/thread.h>

/* The record of a thread without a structure: before it attaches, in a fork,
 * and after it has parked. Only crashes are told from it. */
static __thread struct hak_op_call unattached
    __attribute__((tls_model("initial-exec")));

struct hak_op_call *hak_op_record(void)
{
    struct hak_thread *t = hak_self;
    return hak_is_attached(t) ? &t->call : &unattached;
}

/* box is stored last and cleared first, so that a signal handler finds an
 * operation for each box that it finds. */
static void set_record(struct hak_op_call *record, const struct hak_loaded *b,
                       uint32_t operation, uint64_t argument, uintptr_t frame)
{
    record->frame = frame;
    __atomic_store_n(&record->operation, operation, __ATOMIC_RELAXED);
    __atomic_store_n(&record->argument, argument, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&record->box, b, __ATOMIC_RELAXED);
}

struct hak_op_call *hak_op_enter(struct hak_op_call *outer,
                                 const struct hak_loaded *b,
                                 enum hak_op_name operation, uint64_t argument)
{
    struct hak_op_call *record = hak_op_record();
    *outer = *record;
    if (outer->box == NULL)
        __atomic_store_n(&record->serial, outer->serial + 1, __ATOMIC_RELAXED);
    record->told = false;
    set_record(record, b, operation, argument, (uintptr_t)outer);
    return record;
}

void hak_op_leave(struct hak_op_call *record, const struct hak_op_call *outer)
{
    if (outer->box == NULL)
        __atomic_store_n(&record->box, NULL, __ATOMIC_RELAXED);
    else
        set_record(record, outer->box, outer->operation, outer->argument,
                   outer->frame);
}

void hak_op_told(void)
{
    if (hak_blames())
        hak_op_record()->told = true;
}

/* ---- the record as text -------------------------------------------------- */

enum { SIZE, POINTER, NOTHING };
static const struct {
    char name[16];
    int argument;
} calls[] = {
#define HAK_OP_ROW(name, argument) {#name, (argument)},
    HAK_OPS(HAK_OP_ROW)};

const char *hak_op_name(const struct hak_op_call *record)
{
    uint32_t operation = __atomic_load_n(&record->operation, __ATOMIC_RELAXED);
    return calls[operation % HAK_OP_NAMES].name;
}

void hak_op_text(const struct hak_op_call *record, char out[64])
{
    char number[24];
    const char *argument = "";
    uint32_t operation = record->operation % HAK_OP_NAMES;
    if (calls[operation].argument == SIZE)
        argument = hak_text_number(number, record->argument);
    else if (calls[operation].argument == POINTER)
        argument = hak_text_pointer(number, (void *)record->argument);
    hak_text_join(out, 64, calls[operation].name, "(", argument, ")");
}

/* ---- noted calls of ops.h ------------------------------------------------ */

#define NOTED(result_type, name, parameters, b, argument, ...)              \
    result_type hak_noted_##name parameters                                 \
    {                                                                       \
        struct hak_op_call outer;                                           \
        struct hak_op_call *record =                                        \
            hak_op_enter(&outer, (b), HAK_OP_##name, (uint64_t)(argument)); \
        result_type result = (b)->ops.name(__VA_ARGS__);                    \
        hak_op_leave(record, &outer);                                       \
        return result;                                                      \
    }
#define NOTED_VOID(name, parameters, b, argument, ...)                         \
    void hak_noted_##name parameters                                           \
    {                                                                          \
        struct hak_op_call outer;                                              \
        struct hak_loaded *loaded = (b);                                       \
        struct hak_op_call *record =                                           \
            hak_op_enter(&outer, loaded, HAK_OP_##name, (uint64_t)(argument)); \
        loaded->ops.name(__VA_ARGS__);                                         \
        hak_op_leave(record, &outer);                                          \
    }

NOTED(void *, alloc, (struct hak_loaded * b, size_t n), b, n, &b->box, n)
NOTED(void *, alloc_none, (struct hak_loaded * b), b, 0, &b->box)
NOTED(void *, zalloc, (struct hak_loaded * b, size_t n), b, n, &b->box, n)
NOTED(void *, aligned_alloc, (struct hak_loaded * b, size_t align, size_t n), b,
      n, &b->box, align, n)
NOTED(void *, resize, (struct hak_loaded * b, void *p, size_t n), b, n, &b->box,
      p, n)
NOTED(bool, owns, (struct hak_loaded * b, const void *p), b, (uintptr_t)p,
      &b->box, p)
NOTED(size_t, usable_size, (struct hak_loaded * b, const void *p), b,
      (uintptr_t)p, &b->box, p)
NOTED(size_t, slot_size, (struct hak_loaded * b, size_t n), b, n, &b->box, n)
NOTED(struct hak_span *, refill, (struct hak_loaded * b, void *heap, size_t n),
      b, n, &b->box, heap, n)
NOTED_VOID(free, (struct hak_loaded * b, void *p), b, (uintptr_t)p,
           &loaded->box, p)
NOTED_VOID(triggered, (struct hak_span * span), hak_loaded_of(span->box), 0,
           span)
NOTED_VOID(remote_free, (struct hak_span * span, void *p),
           hak_loaded_of(span->box), (uintptr_t)p, span, p)

/* SPDX-License-Identifier: MIT
 * stack.c - module "stack": the calling thread's stack ("hak.stack/1").
 *
 * It is a module of its own, since it needs the unwinder and few boxes look at
 * stacks.
 *
 * The stack is walked by the unwind tables that every object of the x86-64 ABI
 * has: quickly by walk.c, and where that cannot do it by libgcc. libgcc is
 * linked statically. It finds the tables by _dl_find_object, without a lock. It
 * allocates for registered frames only, and this copy of libgcc has none.
 */
#include "walk.h"

#include <hakmem/module.h>
#include <hakmem/stack.h>

#include <string.h>

#include <unwind.h>

struct walk {
    uintptr_t *out;
    uint32_t n, most;
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context,
                                     void *data)
{
    struct walk *w = data;
    int exact = 0; /* 0: `at` is a return address, so the call is before it */
    uintptr_t at = _Unwind_GetIPInfo(context, &exact);
    if (w->n == w->most || at == 0)
        return _URC_NORMAL_STOP;
    w->out[w->n++] = at - (exact == 0);
    return _URC_NO_REASON;
}

static uint32_t take_stack(uintptr_t *out, uint32_t most)
{
    struct walk w = {.out = out, .most = most};
    if (most != 0 && !hak_stack_walk(out, most, &w.n))
        _Unwind_Backtrace(add_frame, &w);
    return w.n;
}

static const struct hak_stack_1 table = {
    .struct_bytes = sizeof table,
    .take = take_stack,
};

static const void *extension(const char *id)
{
    return strcmp(id, HAK_STACK_1) == 0 ? &table : NULL;
}

HAK_MODULE(stack) = {
    HAK_MODULE_HEADER("stack"),
    .extension = extension,
};

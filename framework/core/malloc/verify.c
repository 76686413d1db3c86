/* SPDX-License-Identifier: MIT
 * verify.c - [core] verify: checks what operations of a box return, and that
 * they do not call malloc.
 *
 * With verify each malloc and free is a slow path, and lanes stay empty. So the
 * core sees every slot that a box hands out, those of spans too.
 */
#include <core/malloc/verify.h>

#include <base/log.h>
#include <base/sections.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/live.h>
#include <core/state/directory.h>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- slots ----------------------------------------------------------------
 */

/* Are all granules of the slot in memory that host->map gave this box? */
static bool is_in_memory_of(const struct hak_loaded *b, const char *p,
                            size_t size)
{
    uintptr_t granule = (uintptr_t)p & ~(uintptr_t)(HAK_GRANULE_BYTES - 1);
    uintptr_t end = (uintptr_t)p + hak_max(size, 1);
    for (; granule < end; granule += HAK_GRANULE_BYTES) {
        const struct hak_span *span = hak_directory_get((void *)granule);
        if (span == NULL || span->box != &b->box)
            return false;
    }
    return true;
}

/* The fault of slot p, which box b gave for size bytes, as the end of a
 * message; NULL: it has none. */
static const char *why_no_slot(struct hak_loaded *b, const char *p, size_t size)
{
    size_t last = size != 0 ? size - 1 : 0;
    if ((uintptr_t)p % HAK_ALIGN_BYTES != 0)
        return "which is not 16-byte aligned";
    if (!b->far && !is_in_memory_of(b, p, 1))
        return "which is no memory that host->map gave this box";
    if (!b->far && !is_in_memory_of(b, p, size))
        return "which reaches out of the memory that host->map gave this box";
    if (hak_box_header_bytes(b) == 0 && hak_box_usable_size(b, p) < size)
        return "whose usable_size is less";
    if (!b->residual && !b->now->untrusted &&
        !(hak_box_owns(b, p) && hak_box_owns(b, p + last)))
        return "of which its own owns() knows nothing";
    return NULL;
}

/* Enter slot p into the map of live slots. size_bytes: of a box with headers,
 * whose usable size is not asked for. */
static void enter_live(struct hak_loaded *b, const char *operation,
                       const char *p, size_t size)
{
    size_t usable =
        hak_box_header_bytes(b) != 0 ? size : hak_box_usable_size(b, p);
    const char *other = hak_live_enter(p, usable);
    if (likely(other == NULL))
        return;
    const struct hak_span *span = hak_directory_get(other);
    hak_die("verify: box %s: %s(%zu) returned %p, which overlaps %p, a live "
            "slot of box %s (hakctl check-box tests the box)",
            b->box.name, operation, size, (const void *)p, (const void *)other,
            span != NULL ? span->box->name : b->box.name);
}

void hak_verify_slot(struct hak_loaded *b, const char *operation, const char *p,
                     size_t size)
{
    if (p == NULL)
        return;
    const char *why = why_no_slot(b, p, size);
    if (unlikely(why != NULL))
        hak_die("verify: box %s: %s(%zu) returned %p, %s (hakctl check-box "
                "tests the box)",
                b->box.name, operation, size, (const void *)p, why);
    enter_live(b, operation, p, size);
}

void hak_verify_aligned(struct hak_loaded *b, const void *p, size_t align,
                        size_t size)
{
    if (p != NULL && !hak_is_aligned(p, align))
        hak_die("verify: box %s: aligned_alloc(%zu, %zu) returned %p, which is "
                "not aligned to %zu (hakctl check-box tests the box)",
                b->box.name, align, size, p, align);
    hak_verify_slot(b, "aligned_alloc", p, size);
}

/* ---- malloc inside of an operation ------------------------------------------
 */

/* Where the handlers of signals return to, in libc; 0: unknown. */
static HAK_SEALED uintptr_t restorer;

/* Ask the kernel, which knows it of each handler that libc has installed. Those
 * of start/crash.c are there. */
static uintptr_t find_restorer(void)
{
    struct {
        uintptr_t handler;
        unsigned long flags;
        uintptr_t restorer;
        uint64_t mask;
    } there = {0};
    for (int number = 1; number < NSIG && there.restorer == 0; number++)
        syscall(SYS_rt_sigaction, number, NULL, &there, sizeof there.mask);
    return there.restorer;
}

void hak_verify_start(void)
{
    restorer = find_restorer();
    hak_live_start();
}

/*
 * Has a signal handler interrupted the operation, and called malloc? Its frame,
 * which the kernel has pushed, begins with the address of the restorer. If the
 * operation is not on this stack, the handler runs on a stack of its own.
 */
static bool is_in_handler(const struct hak_op_call *in)
{
    enum { DEPTH_MOST = 1 << 20 };
    const uintptr_t *at = __builtin_frame_address(0);
    uintptr_t depth = in->frame - (uintptr_t)at;
    if (restorer == 0 || depth > DEPTH_MOST)
        return true;
    for (; (uintptr_t)at < in->frame; at++)
        if (*at == restorer)
            return true;
    return false;
}

/* A foreign library may call malloc. So may a library that a box opens in its
 * init. */
void hak_verify_outside(const char *call)
{
    const struct hak_op_call *in = hak_op_record();
    char operation[64];
    if (likely(in->box == NULL) || in->box->foreign ||
        in->operation == HAK_OP_init || !hak_is_attached(hak_self) ||
        is_in_handler(in))
        return;
    hak_op_text(in, operation);
    hak_die("verify: box %s: %s called %s, which no operation of a box may",
            in->box->box.name, operation, call);
}

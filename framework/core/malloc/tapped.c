/* SPDX-License-Identifier: MIT
 * tapped.c - tells a module of each call of the malloc family.
 */
#include <core/malloc/tapped.h>

#include <core/malloc/fast.h>
#include <core/thread/thread.h>

#include <string.h>

/* The calling thread's structure. NULL: it has none, and gets none. */
static struct hak_thread *attached(struct hak_thread *t)
{
    return likely(hak_is_attached(t)) ? t : hak_thread_attach();
}

static void **word_of(struct hak_thread *t)
{
    return &t->of_module[hak_core.tap_module];
}

/* A handler of a signal may interrupt the thread at any point. */
static void set_in_call(struct hak_thread *t, bool in_call)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    t->in_call = in_call;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Take a slot from the lanes of watched threads, as malloc's inline path does
 * from the others. NULL: there is none. */
static void *pop_tap(struct hak_thread *t, size_t size, bool zero)
{
    struct hak_span **taps = t->taps;
    if (unlikely(taps == NULL))
        return NULL;
    struct hak_span *span = hak_lane_of(taps, hak_index_of(size));
    void *p = hak_span_try_pop(span);
    return p != NULL && zero ? memset(p, 0, span->slot_bytes) : p;
}

void *hak_tapped_alloc(const struct hak_call_ops *tap, struct hak_thread *t,
                       size_t size, bool zero)
{
    t = attached(t);
    if (unlikely(t == NULL)) {
        tap->lost();
        return hak_alloc_untold(hak_self, size, zero);
    }
    void *p = pop_tap(t, size, zero);
    if (p == NULL) {
        set_in_call(t, true);
        p = hak_alloc_untold(t, size, zero);
        set_in_call(t, false);
    }
    if (likely(p != NULL))
        tap->made(word_of(t), zero ? HAK_CALL_CALLOC : HAK_CALL_MALLOC, p, size,
                  0);
    return p;
}

void *hak_tapped_aligned(const struct hak_call_ops *tap, size_t align,
                         size_t size)
{
    struct hak_thread *t = attached(hak_self);
    if (unlikely(t == NULL)) {
        tap->lost();
        return hak_alloc_aligned_untold(align, size);
    }
    set_in_call(t, true);
    void *p = hak_alloc_aligned_untold(align, size);
    set_in_call(t, false);
    if (p != NULL)
        tap->made(word_of(t), HAK_CALL_ALIGNED, p, size, align);
    return p;
}

void *hak_tapped_realloc(const struct hak_call_ops *tap, void *p, size_t size)
{
    struct hak_thread *t = attached(hak_self);
    if (unlikely(t == NULL)) {
        tap->lost();
        return hak_realloc_untold(p, size);
    }
    tap->resizing(word_of(t), p);
    set_in_call(t, true);
    void *q = hak_realloc_untold(p, size);
    set_in_call(t, false);
    tap->resized(word_of(t), q, size);
    return q;
}

/*
 * In a fork the free is kept, and told when it is carried out. At the end of
 * each thread libc frees a few pointers that are NULL. The thread has parked
 * its structure by then, and takes none for that.
 */
void hak_tapped_free(const struct hak_call_ops *tap, void *p)
{
    if (p == NULL && !hak_is_attached(hak_self))
        return;
    struct hak_thread *t = attached(hak_self);
    if (likely(t != NULL)) {
        tap->freeing(word_of(t), p);
        set_in_call(t, true);
    } else if (!hak_is_forking()) {
        tap->lost();
    }
    if (!hak_free_below(p, hak_directory.limit_unwatched))
        hak_free_untold(p);
    if (likely(t != NULL))
        set_in_call(t, false);
}

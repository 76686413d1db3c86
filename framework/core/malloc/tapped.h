/* SPDX-License-Identifier: MIT
 * tapped.h - tells a module of each call of the malloc family
 * (host->watch_calls).
 *
 *     program -> malloc, inline: finds nothing (route/tap.c)
 *                  slow path: is there a tap?
 *                    hak_tapped_...   tells the module, before or after
 *                      hak_..._untold   the call itself
 *
 * The call itself may make others: realloc calls malloc and free, and a foreign
 * library may call any of them. t->in_call keeps these from being told.
 *
 * A block is told after it was made and before the program has it, and before
 * it is given back. So what is told of one address is in order, whatever
 * threads use it, if the module's own memory is.
 *
 * A thread that has no structure gets one. Inside of fork it cannot. A free
 * then waits for the end of the fork, and is told there; other calls are lost.
 */
#ifndef HAKMEM_MALLOC_TAPPED_H
#define HAKMEM_MALLOC_TAPPED_H

#include <core/malloc/slow.h>
#include <core/state/build.h>

#pragma GCC visibility push(hidden)

/* The functions to tell of a call that t, the calling thread, makes now; NULL:
 * there are none, or the call is part of another one. */
static inline const struct hak_call_ops *hak_tap_of(const struct hak_thread *t)
{
    const struct hak_call_ops *tap = hak_tap();
    return unlikely(tap != NULL) && !t->in_call ? tap : NULL;
}

/* Each does what the function of slow.h without `tapped` in its name does. */
void *hak_tapped_alloc(const struct hak_call_ops *tap, struct hak_thread *t,
                       size_t size_bytes, bool zero);
void *hak_tapped_aligned(const struct hak_call_ops *tap, size_t align_bytes,
                         size_t size_bytes);
void *hak_tapped_realloc(const struct hak_call_ops *tap, void *p,
                         size_t size_bytes);
void hak_tapped_free(const struct hak_call_ops *tap, void *p);

#pragma GCC visibility pop

#endif

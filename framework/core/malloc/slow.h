/* SPDX-License-Identifier: MIT
 * slow.h - the slow paths that the malloc family falls back to.
 */
#ifndef HAKMEM_MALLOC_SLOW_H
#define HAKMEM_MALLOC_SLOW_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* ---- alloc.c, aligned.c, realloc.c ---- */

/* noinline: link-time optimisation must not put their frames into malloc. */
void *hak_alloc_slow(struct hak_thread *t, size_t size_bytes, bool zero)
    __attribute__((noinline));
void *hak_alloc_aligned(size_t align_bytes, size_t size_bytes)
    __attribute__((noinline));
/* p was handed out; size_bytes > 0. In place when it fits. */
void *hak_realloc_slow(void *p, size_t size_bytes) __attribute__((noinline));

/* ---- free.c ---- */

void hak_free_slow(void *p) __attribute__((noinline));
/* The caller's free was the one that the span's trigger waits for. */
void hak_free_triggered(struct hak_span *span) __attribute__((noinline));
/* A block of a span that is not the caller's, by the entry's word. */
void hak_free_remote(uint64_t entry, void *p) __attribute__((noinline));
/* Free p when the fork that the thread is inside of is over. */
void hak_defer_free(void *p);
void hak_free_deferred(void);
/* The slots of a parcel: thread/mailbox.h, hak_unpack. */
void hak_free_parcel(struct hak_thread *t, void *const *slot, uint32_t n,
                     bool mine);

/* ---- owner.c ---- */

/* Usable bytes; aborts, naming the call, unless p is live as far as we know. */
size_t hak_usable(const char *call, const void *p);
/* Aborts, naming the call, when p cannot have come of such a request. */
void hak_expect_size(const char *call, const void *p, size_t align_bytes,
                     size_t size_bytes);

/* ---- tick.c ---- */

/* A slow path of t, the calling thread: at times, age what waits. */
void hak_tick(struct hak_thread *t);
/* Age what waits of all threads and boxes. Any thread. */
void hak_age_all(void);
/* Give back as much as boxes have grown by, where that is owed. Keeps errno. */
void hak_pay_for_growth(void);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * slow.h - the slow paths of the malloc family.
 */
#ifndef HAKMEM_MALLOC_SLOW_H
#define HAKMEM_MALLOC_SLOW_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* ---- alloc.c, aligned.c, realloc.c ---- */

/*
 * malloc, calloc and aligned requests when the inline path has no slot. t: the
 * calling thread, attached or not; zero: every usable byte has to be zero;
 * align_bytes: a power of two above 16. NULL: errno is ENOMEM.
 * noinline: link-time optimisation must not put their stack frames into malloc.
 */
void *hak_alloc_slow(struct hak_thread *t, size_t size_bytes, bool zero)
    __attribute__((noinline));
void *hak_alloc_aligned(size_t align_bytes, size_t size_bytes)
    __attribute__((noinline));
/* realloc of block p; size_bytes > 0. NULL: errno is ENOMEM, p is unchanged. */
void *hak_realloc_slow(void *p, size_t size_bytes) __attribute__((noinline));
/* The same, and a module that watches calls is not told of it: tapped.h. */
void *hak_alloc_untold(struct hak_thread *t, size_t size_bytes, bool zero);
void *hak_alloc_aligned_untold(size_t align_bytes, size_t size_bytes);
void *hak_realloc_untold(void *p, size_t size_bytes);

/* ---- free.c ---- */

/* Free p, any value that the program passed to free. Keeps errno. */
void hak_free_slow(void *p) __attribute__((noinline));
/* The same, and a module that watches calls is not told of it: tapped.h. */
void hak_free_untold(void *p);
/* A free by the owner has brought span->nfree to span->trigger. */
void hak_free_triggered(struct hak_span *span) __attribute__((noinline));
/* Free p, which the calling thread does not own according to the directory.
 * entry: that of p, not 0. Keeps errno. */
void hak_free_remote(uint64_t entry, void *p) __attribute__((noinline));
/* Keep p until hak_free_deferred. For a thread inside fork. Lock-free. */
void hak_defer_free(void *p);
/* Free all that was kept by hak_defer_free. The thread's fork is over. */
void hak_free_deferred(void);
/* Free the slots of a parcel: hak_unpack in thread/mailbox.h. */
void hak_free_parcel(struct hak_thread *t, void *const *slot, uint32_t n,
                     bool mine);

/* ---- owner.c ---- */

/* Usable bytes of block p. Aborts, naming the call, if p is not live as far as
 * can be told. */
size_t hak_usable(const char *call, const void *p);
/* Abort, naming the call, if block p cannot be the result of a request of
 * size_bytes and align_bytes. p may be NULL. */
void hak_expect_size(const char *call, const void *p, size_t align_bytes,
                     size_t size_bytes);

/* ---- tick.c ---- */

/* Called on slow paths of t, the calling thread. Every 8th call posts parcels,
 * purges and ages memory, and reaps threads. */
void hak_tick(struct hak_thread *t);
/* Age the memory of all boxes and threads now. Any thread. */
void hak_age_all(void);
/* Give all free memory back to the system. Returns the bytes. Any thread. */
size_t hak_trim_all(void);
/* Let b, which is closed, give all its memory back to the system. */
void hak_trim_closed(struct hak_loaded *b);
/* If the memory of boxes has grown (hak_space_owed), give as much of the free
 * and kept memory back to the system. Keeps errno. */
void hak_pay_for_growth(void);

#pragma GCC visibility pop

#endif

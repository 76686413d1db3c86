/* SPDX-License-Identifier: MIT
 * testhost.h - a strict host for testing one box without the core.
 *
 *     struct hak_box *box = th_open("build/boxes/mine.so", "mine", NULL, 0);
 *     void *p = th_malloc(box, 100);
 *     th_free(p);
 *     th_detach();
 *     th_reap();
 *
 * It gives boxes what box.h promises and no more, does what the core does
 * (lanes, inline frees, remote frees, slow frees, heaps, fork), and aborts
 * with "testhost: box NAME: ..." when a box breaks a rule. It keeps its own
 * record of every slot that is out, so that slots that overlap, and memory
 * given back or purged under a live slot, are found when it happens.
 *
 * It is linked as build/testhost.a; a .so path needs a slash.
 * One host a process; it starts with the first call and is never torn down.
 * Nothing here calls malloc except dlopen, pthread_create and stdio.
 */
#ifndef HAK_TESTS_TESTHOST_H
#define HAK_TESTS_TESTHOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hakmem/box.h"

/* ---- boxes ------------------------------------------------------------- */

enum th_flags {
    TH_NO_LANES = 1, /* as `lanes = off` */
};

/*
 * th_try_open - load a box and init it, as the core's loader would.
 * path    of the .so
 * name    the instance; kept, not copied
 * params  NULL, or "key=value" texts ended by NULL; kept, not copied
 * flags   enum th_flags
 * Returns 0 with *out set, or -errno with th_error() saying why: -ENOENT
 *         not opened or no entry, -ENOEXEC refused entry, -EINVAL parameter,
 *         -ENOSPC more than HAK_MAX_BOXES, else what the box's init returned
 * th_open - the same, aborts on failure.
 * th_open_entry - the same for an entry linked into the test.
 */
int th_try_open(const char *path, const char *name, const char *const *params,
                unsigned flags, struct hak_box **out);
struct hak_box *th_open(const char *path, const char *name,
                        const char *const *params, unsigned flags);
int th_open_entry(const struct hak_box_entry *entry, const char *name,
                  const char *const *params, unsigned flags,
                  struct hak_box **out);

/*
 * The two steps before: the entry of a file, NULL with th_error(); and do the
 * texts fit its parameters? 0, -EINVAL, -ENOEXEC for a refused entry.
 */
const struct hak_box_entry *th_entry_of(const char *path);
int th_check_params(const struct hak_box_entry *entry,
                    const char *const *params);

/* The entry and its parameters as this header has them. 0 or -ENOEXEC. */
int th_read_entry(const struct hak_box_entry *theirs,
                  struct hak_box_entry *out);

const char *th_error(void);
const char *th_last_log(void); /* the last line any box logged, "" if none */

/* The entry as th_read_entry has it. */
const struct hak_box_entry *th_entry(const struct hak_box *box);

/*
 * The operation that the calling thread is in, or the last that it was in:
 * "in alloc(100)", "after free(0x...)"; NULL: none yet. any_thread: of the one
 * that called last. Async-signal-safe but for snprintf.
 */
const char *th_call_text(bool any_thread, char *text, size_t n);

/* Before a fork, so that th_shared_call_text tells of the child's last call
 * even when that has said nothing at its end. */
void th_share_calls(void);
const char *th_shared_call_text(char *text, size_t n);

/* ops->stats as the core asks it, with room for a longer struct. */
struct hak_box_stats th_stats(struct hak_box *box);

/* Changes a parameter that HAK_PARAM_MUTABLE allows. 0 or -errno. */
int th_set_param(struct hak_box *box, const char *assignment);

/* Makes the box draining: alloc and refill are not called any more. Then, with
 * nothing out, closed: nothing but heap_close is. */
void th_drain(struct hak_box *box);
void th_retire(struct hak_box *box);

/* ---- what the core does with a box ------------------------------------- */

/*
 * th_malloc - one block: lane, refill or alloc, as box.h says. A box without
 * usable_size gets a 16-byte header. The calling thread is attached at need.
 * NULL = the box declined. th_alloc_direct goes past the lanes to ops->alloc.
 */
void *th_malloc(struct hak_box *box, size_t size_bytes);
void *th_alloc_direct(struct hak_box *box, size_t size_bytes);
void *th_zalloc(struct hak_box *box, size_t size_bytes);
void *th_aligned_alloc(struct hak_box *box, size_t align_bytes,
                       size_t size_bytes);

/* realloc: ops->resize, else alloc, copy, free. NULL = p unchanged. */
void *th_realloc(struct hak_box *box, void *p, size_t size_bytes);

/*
 * th_free - inline into the span, remote_free, or ops->free.
 * th_free_direct goes to ops->free whatever span there is. Both abort when p
 * is not a live block of the test's.
 */
void th_free(void *p);
void th_free_direct(void *p);
size_t th_usable(const void *p);
void *th_slot(const void *p); /* where the box's slot begins: header or p */

/* The box that maps the granule of p, or NULL. Any p. */
struct hak_box *th_mapper(const void *p);

/* The one box whose owns() is true for p, or NULL; aborts at two. */
struct hak_box *th_owner(const void *p);

/* Slots of the box that are out, with those inside a call (in_calls). */
size_t th_live(const struct hak_box *box, bool in_calls);

/* ---- threads ----------------------------------------------------------- */

/*
 * th_attach  the calling thread's hak_thread, made at need
 * th_self    the same or NULL
 * th_flush   the calling thread's lanes forget their spans; boxes are not
 *            told, as when the core's routes change
 * th_park    leaves lanes, heaps and hak_thread to the next thread that
 *            attaches, as the core does with threads that come and go
 * th_detach  leaves lanes and heaps for th_reap
 * th_reap    heap_close of every detached thread; call it from any thread.
 *            Aborts when a span still names the closed thread. The hak_thread
 *            is then used again for the next one that attaches.
 * th_reap_newest  the same in the opposite order
 */
struct hak_thread *th_attach(void);
struct hak_thread *th_self(void);
void th_flush(void);
void th_park(void);
void th_detach(void);
void th_reap(void);
void th_reap_newest(void);

/* pthread_create and pthread_join with th_detach at the end, then th_reap. */
pthread_t th_spawn(void *(*run)(void *), void *argument);
void th_join(pthread_t thread);

/*
 * th_fork - fork() with PREPARE, PARENT and CHILD for every box. Nothing
 * keeps other threads from calling the boxes meanwhile but the boxes' locks.
 */
pid_t th_fork(void);

/* ---- the host's memory, clock and faults ------------------------------- */

struct th_counts {
    uint64_t maps, unmaps, purges, remaps, metas; /* calls that worked; maps
                                                     with reserve, unmaps with
                                                     unreserve */
    uint64_t mapped_bytes, peak_bytes; /* by map, remap and open_pages */
    uint64_t meta_bytes;
    uint64_t requests; /* map, meta, remap, reserve, open_pages, failed too */
    uint64_t refused;  /* by th_fail_at, or window full */
    uint64_t refills;  /* ops->refill that gave something */
    uint64_t drains;   /* ops->triggered */
    uint64_t remote_frees;
    uint64_t slow_frees; /* ops->free */
};

/* What boxes told host->retired(): how often, sums, and the last record. */
struct th_retires {
    uint64_t n, allocations, frees, local_frees;
    struct hak_retire last;
};

struct th_retires th_retires(void);

const struct hak_host *th_host(void);
struct th_counts th_counts(void);
size_t th_mapped(const struct hak_box *box); /* bytes, now, this box */
size_t th_resident(void);                    /* bytes of maps in memory */

/* The nth map, meta, remap, reserve or open_pages from now (1 = the next) and
 * all after fail. */
void th_fail_at(uint64_t n);
void th_fail_never(void);

/* now_ms stands still but for th_clock_add; it starts at 1000000. */
void th_clock_add(uint64_t ms);
void th_purge_delay(uint64_t ms); /* what purge_delay_ms says; 1000 */

/* true: purge keeps the content, as box.h allows. Else it reads zero. */
void th_purge_keeps(bool keeps);

/*
 * false: map gives untouched pages. Else what is mapped without HAK_MAP_ZERO
 * is filled with junk, and so is resident: turn it off to use th_resident.
 */
void th_map_junk(bool junk);

#endif

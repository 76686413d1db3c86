/* SPDX-License-Identifier: MIT
 * record_module.h - what the files of module "record" share.
 *
 *     module.c   the module: its key, control, forks, exit
 *     area.c     the shared memory: mapped, left, waited for
 *     put.c      a call of malloc or free -> entries of the thread's ring
 *     large.c    large blocks: how much of them was touched
 *
 *     core --a call--> put.c --entries--> ring (ring.h) --> hakctl record
 *
 * A thread marks itself `busy` while it is in this module. What takes the
 * memory away first says that nothing is recorded, makes a barrier in all
 * threads, and then waits until none is busy.
 */
#ifndef HAKMEM_RECORD_MODULE_H
#define HAKMEM_RECORD_MODULE_H

#include "ring.h"

#include <hakmem/module.h>
#include <kit/base.h>

#pragma GCC visibility push(hidden)

/* One thread, or one that has ended: the word of this module in its structure.
 * Only the thread uses it, but for `busy` and what thread_ended does. */
struct record_thread {
    _Alignas(64) uint32_t busy; /* atomic */
    uint32_t pause;             /* calls until the next look for a ring */
    uint64_t process;           /* that the ring was taken for; 0: no ring */
    struct record_ring *ring;
    struct record_entry *entries;
    uint64_t head;       /* as in the ring */
    uint64_t look_at;    /* the head at which the writer is looked after */
    uint64_t last_ticks; /* of the last entry */
    /* The block of the realloc that is under way, if it is a large one. */
    size_t resized_bytes, resized_resident;
};

/*
 * In a page of its own, which reads zero in a child of fork, however that was
 * made (MADV_WIPEONFORK).
 * process  of the rings of this process; 0: none is recorded, or this is a
 *          child that has not begun yet. Atomic
 */
struct record_page {
    uint64_t process;
};

struct record_self {
    const struct hak_module_host *host;
    struct record_page *page;
    struct record_area *area; /* NULL: none is mapped */
    bool recording;           /* calls are watched; atomic */
    bool leaving;             /* the area waits to be unmapped; atomic */
    uint64_t pid_space;
    uint64_t nlost; /* that area->lost does not have yet; atomic */
    pid_t pid;      /* of the process that runs; of vfork's parent */
};
extern struct record_self hak_record_self;

static inline uint64_t hak_record_process_now(void)
{
    return __atomic_load_n(&hak_record_self.page->process, __ATOMIC_ACQUIRE);
}

static inline void hak_record_count_lost(void)
{
    __atomic_add_fetch(&hak_record_self.nlost, 1, __ATOMIC_RELAXED);
}

/* ---- area.c ---- */

/* Map the area of a writer and watch calls. 0, or -errno with the reason. */
int hak_record_begin(const char *path, char *why, size_t n);
/* Record no more; for_all: nor do other processes, and the writer ends. Any
 * thread, also one that is busy. The memory stays mapped until
 * hak_record_leave. */
void hak_record_end(bool for_all);
/* Unmap what hak_record_end has left. wait_ms: how long to wait for threads
 * that are in this module. Returns false: there still are some. */
bool hak_record_leave(uint32_t wait_ms);
/* In a child of fork, before it calls malloc. */
void hak_record_forked(void);
/* Give th a ring of this process. th is busy. Returns false: it gets none. */
bool hak_record_take_ring(struct record_thread *th);
/* The head of th is at look_at: wake the writer if there is much to read, and
 * wait for it if the ring is full. Keeps errno. Returns false: recording is
 * over. */
bool hak_record_look(struct record_thread *th);
/* Let the area have the lost calls. The area is mapped. */
void hak_record_tell_lost(void);

/* ---- put.c ---- */

enum {
    RECORD_ROOM = 8,                /* entries that a call puts, at most */
    RECORD_LARGE_BYTES = 128 << 10, /* blocks from here on are large */
};

extern const struct hak_call_ops hak_record_calls;
/* Put RECORD_TOUCHED for each large block that is live. word: the calling
 * thread's. */
void hak_record_put_all_touched(void **word);

/* ---- large.c ---- */

/* Make the table, once. False: no memory; nothing is known of any block. */
bool hak_record_large_start(const struct hak_module_host *host);
/* Forget all blocks. No thread is in this module. */
void hak_record_large_forget(void);
/* Remember a block that was made, or forget one that is given back: its size
 * and the pages that were in memory when it was made. False: it is unknown. */
void hak_record_large_add(const void *block, size_t size_bytes,
                          size_t resident);
bool hak_record_large_take(const void *block, size_t *size_bytes,
                           size_t *resident);
/* Pages of the block that are in memory. SIZE_MAX: unknown. Keeps errno. */
size_t hak_record_large_resident(const void *block, size_t size_bytes);
/* Bytes of the block that were touched since it was made. False: unknown. */
bool hak_record_large_touched(const void *block, size_t size_bytes,
                              size_t resident, size_t *touched_bytes);
/* Call each(context, ...) for the blocks of the table. */
void hak_record_large_each(void (*each)(void *context, const void *block,
                                        size_t size_bytes, size_t resident),
                           void *context);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * mailbox.h - remote frees travel in parcels to the threads that own the slots.
 */
#ifndef HAKMEM_THREAD_MAILBOX_H
#define HAKMEM_THREAD_MAILBOX_H

#include <core/state/directory.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/*
 * A function that frees the n slots of a parcel. free.c provides it, because
 * the mailbox does not know how a slot is freed.
 * t     the calling thread; it may be hak_nobody, hak_forker or hak_ended
 * mine  the parcel was posted to t, so t most likely owns the slots
 */
typedef void hak_unpack(struct hak_thread *t, void *const *slot, uint32_t n,
                        bool mine);
void hak_mailbox_start(hak_unpack *unpack); /* at start */

/* The slow parts of hak_mailbox_put: no parcel for that thread is open, or the
 * open one is full. */
bool hak_mailbox_put_first(struct hak_thread *t, uint64_t entry, void *p)
    __attribute__((noinline));
void hak_mailbox_full(struct hak_thread *t, struct hak_out *out)
    __attribute__((noinline));

/*
 * hak_mailbox_put - put slot p into t's parcel for its owner.
 * t        the calling thread
 * entry    the directory's entry of p; it names the owner
 * Returns  false: p cannot travel in a parcel. Its slots are large, its owner
 *          is unknown or t itself, t is abroad, or there is no memory.
 * Cost     two stores. The parcel is posted after 62 slots at most
 */
static inline bool hak_mailbox_put(struct hak_thread *t, uint64_t entry,
                                   void *p)
{
    uint32_t tag = hak_entry_tag(entry), step = hak_entry_step(entry);
    struct hak_out *out = &t->out[(tag - t->tag) % HAK_OUTS];
    if (unlikely(out->key != tag + 1 || step == HAK_STEP_LARGE))
        return hak_mailbox_put_first(t, entry, p);
    /* Atomic, because hak_mailbox_read reads both from other threads. */
    __atomic_store_n(out->at, p, __ATOMIC_RELAXED);
    __atomic_store_n(&out->at, out->at + 1, __ATOMIC_RELAXED);
    out->room -= (int32_t)hak_max(hak_step_bytes(step), HAK_PARCEL_SLOT_LEAST);
    if (unlikely(out->room <= 0))
        hak_mailbox_full(t, out);
    return true;
}

/* Post all open parcels of t. t: the calling thread, or one that has ended. */
void hak_mailbox_post_now(struct hak_thread *t);
static inline void hak_mailbox_post(struct hak_thread *t)
{
    if (t->nopen != 0)
        hak_mailbox_post_now(t);
}

/* Free the slots in the inbox of t, the calling thread. Keeps errno. */
void hak_mailbox_receive_now(struct hak_thread *t);
static inline void hak_mailbox_receive(struct hak_thread *t)
{
    if (unlikely(__atomic_load_n(&t->inbox, __ATOMIC_RELAXED) != NULL))
        hak_mailbox_receive_now(t);
}
/* Free the slots in the inboxes of all threads, by remote_free where another
 * thread owns them. me: the calling thread. */
void hak_mailbox_receive_all(struct hak_thread *me);
/* Do the same, and free the slots of box in parcels that other threads have not
 * posted yet. One thread at a time. Cost: a walk over all threads, and two
 * barriers in all of them */
void hak_mailbox_collect(struct hak_thread *me, const struct hak_box *box);
/* Do the same for a few inboxes whose parcels have waited for a purge delay.
 * me: the calling thread. */
void hak_mailbox_age(struct hak_thread *me, uint64_t now_ms);

/* Open the inbox of t: a thread takes the structure over. */
void hak_mailbox_open(struct hak_thread *t);
/* Close the inbox of t, whose thread has ended and whose heaps are closed, and
 * free the slots in it. */
void hak_mailbox_close(struct hak_thread *t);
/* Close the inbox of t, a thread of the parent, in a child of fork. The slots
 * in it are lost. */
void hak_mailbox_abandon(struct hak_thread *t);

/* Slots of a box that are in parcels: free to the program, but live to the
 * box. */
struct hak_mailbox_figures {
    uint64_t n, bytes;
};
struct hak_mailbox_figures hak_mailbox_read(const struct hak_box *box);
/* The fork handlers' step on the lock of the pool. */
void hak_mailbox_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif

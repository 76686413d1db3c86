/* SPDX-License-Identifier: MIT
 * mailbox.h - frees of other threads' slots, on their way to those threads.
 */
#ifndef HAKMEM_THREAD_MAILBOX_H
#define HAKMEM_THREAD_MAILBOX_H

#include <core/state/directory.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/*
 * What frees the slots of a parcel: core/malloc/free.c. The mailbox itself does
 * not know how a slot is freed.
 * t     the calling thread, or hak_nobody and kin
 * mine  the parcel came for t, so the slots are most likely its own
 */
typedef void hak_unpack(struct hak_thread *t, void *const *slot, uint32_t n,
                        bool mine);
void hak_mailbox_start(hak_unpack *unpack); /* at start */

/* What hak_mailbox_put leaves: no parcel for that thread is open, or this one
 * is full now. */
bool hak_mailbox_put_first(struct hak_thread *t, uint64_t entry, void *p)
    __attribute__((noinline));
void hak_mailbox_full(struct hak_thread *t, struct hak_out *out)
    __attribute__((noinline));

/*
 * Put p, whose entry that is, into t's parcel for its owner. False: it is not
 * for a parcel, or there is no memory. t: the calling thread.
 */
static inline bool hak_mailbox_put(struct hak_thread *t, uint64_t entry,
                                   void *p)
{
    uint32_t tag = hak_entry_tag(entry), step = hak_entry_step(entry);
    struct hak_out *out = &t->out[(tag - t->tag) % HAK_OUTS];
    if (unlikely(out->key != tag + 1 || step == HAK_STEP_LARGE))
        return hak_mailbox_put_first(t, entry, p);
    __atomic_store_n(out->at, p, __ATOMIC_RELAXED); /* reports read it */
    __atomic_store_n(&out->at, out->at + 1, __ATOMIC_RELAXED);
    out->room -= (int32_t)hak_max(hak_step_bytes(step), HAK_PARCEL_SLOT_LEAST);
    if (unlikely(out->room <= 0))
        hak_mailbox_full(t, out);
    return true;
}

/* Post what t keeps. t: the calling thread, or one that has ended. */
void hak_mailbox_post_now(struct hak_thread *t);
static inline void hak_mailbox_post(struct hak_thread *t)
{
    if (t->nopen != 0)
        hak_mailbox_post_now(t);
}

/* Free what has come for t, the calling thread. Keeps errno. */
void hak_mailbox_receive_now(struct hak_thread *t);
static inline void hak_mailbox_receive(struct hak_thread *t)
{
    if (unlikely(__atomic_load_n(&t->inbox, __ATOMIC_RELAXED) != NULL))
        hak_mailbox_receive_now(t);
}
/* The same for all threads, those that are busy elsewhere too. */
void hak_mailbox_receive_all(struct hak_thread *me);
/* For some threads, where it has waited for a purge delay. */
void hak_mailbox_age(struct hak_thread *me, uint64_t now_ms);

/* An inbox of nobody: opened by the next one that takes the structure over,
 * closed after the heaps of the last one, in a fork's child abandoned. */
void hak_mailbox_open(struct hak_thread *t);
void hak_mailbox_close(struct hak_thread *t);
void hak_mailbox_abandon(struct hak_thread *t);

/* What is on its way to a box's spans: freed by other threads than the owner,
 * but live to the box. */
struct hak_mailbox_figures {
    uint64_t n, bytes;
};
struct hak_mailbox_figures hak_mailbox_read(const struct hak_box *box);
void hak_mailbox_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * testhost_far.c - foreign boxes: their operations, the record of their slots.
 *
 * A table of open addressing under a lock; a slot that is gone leaves its
 * address behind, for the same one is likely to come again.
 */
#include <errno.h>
#include <sys/mman.h>

#include <core/box/abi.h>

#include "testhost_private.h"

#include <hakmem/foreign.h>

enum { FAR_SLOTS = 1 << 20 };

struct far_slot {
    void *p;
    struct hak_box *box;
    size_t bytes; /* 0: gone */
    bool held;
};

static struct far_slot *far;
static size_t nfar;

int th_far_start(struct instance *b)
{
    struct hak_foreign_box_1 table;
    struct hak_box_ops ops;
    if (!hak_abi_foreign(&b->entry, &b->box, &table, &ops))
        return 0;
    far =
        far ? far : th_reserve(FAR_SLOTS * sizeof *far, PROT_READ | PROT_WRITE);
    if (!far)
        return th_refuse(-ENOMEM, "no address space for a record of slots");
    th_note_calls(b, &ops);
    b->foreign = true;
    b->residual = table.residual;
    return 0;
}

/* lock held; the place of p, or the free one where it would be. */
static struct far_slot *find(const void *p)
{
    size_t at = ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull >> 44;
    while (far[at].p && far[at].p != p)
        at = (at + 1) % FAR_SLOTS;
    return &far[at];
}

void th_far_out(struct hak_box *box, void *p, size_t bytes)
{
    pthread_mutex_lock(&th.lock);
    struct far_slot *s = find(p);
    if (!s->p && ++nfar > FAR_SLOTS / 2)
        th_die(box, "test: more than %d places of slots", FAR_SLOTS / 2);
    bool again = s->p && s->bytes;
    *s = (struct far_slot){p, box, bytes, false};
    pthread_mutex_unlock(&th.lock);
    if (again)
        th_die(box, "slot %p of %zu bytes is out already", p, bytes);
    __atomic_fetch_add(&th.boxes[box->index].out, 1, __ATOMIC_RELAXED);
}

size_t th_far_in(struct hak_box *box, void *p)
{
    pthread_mutex_lock(&th.lock);
    struct far_slot *s = find(p);
    size_t bytes = s->p ? s->bytes : 0;
    s->bytes = 0;
    pthread_mutex_unlock(&th.lock);
    if (!bytes)
        th_die(box, "%p is no slot that is out", p);
    __atomic_fetch_sub(&th.boxes[box->index].out, 1, __ATOMIC_RELAXED);
    return bytes;
}

void th_far_test(struct hak_box *box, void *p, bool held)
{
    pthread_mutex_lock(&th.lock);
    struct far_slot *s = find(p);
    bool wrong = !s->p || !s->bytes || s->held == held;
    s->held = held;
    pthread_mutex_unlock(&th.lock);
    if (wrong)
        th_die(box, "%p: %s", p, held ? "handed out twice" : "freed twice");
}

/* A block with a header begins one header behind its slot. */
struct hak_box *th_far_box(const void *p, bool held)
{
    struct hak_box *box = NULL;
    if (!far)
        return NULL;
    pthread_mutex_lock(&th.lock);
    for (int header = 0; header < 2 && !box; header++) {
        const struct far_slot *s = find((const char *)p - header * HEADER);
        if (s->p && s->bytes && (s->held || !held))
            box = s->box;
    }
    pthread_mutex_unlock(&th.lock);
    return box;
}

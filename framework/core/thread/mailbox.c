/* SPDX-License-Identifier: MIT
 * mailbox.c - frees of other threads' slots travel to those threads.
 *
 *     free(p)        p -> open parcel for the thread that the directory names
 *     full, or old   parcel -> inbox of that thread
 *     its slow path  inbox -> each p freed as the thread's own
 *
 * A slot is in its owner's cache, and so is its span. Who else frees it touches
 * neither: the directory's entry says whose it is, and of p nothing but the
 * address travels. So a free by another thread costs a store, its arrival what
 * the owner's own free costs, and a parcel shares two atomics.
 *
 * The directory's word is a hint: what arrives at a thread that does not own
 * it is freed the long way, by the span's word.
 *
 * A thread keeps at most PARCEL_BYTES of slots back for each of HAK_OUTS
 * others, and all threads together KEPT_BYTES or so; it posts them on its slow
 * paths, and when it ends. An inbox holds INBOX_PARCELS: when its thread stays
 * away for long, boxes take the slots (remote_free), which needs no memory. So
 * they do where an inbox is closed: the thread has ended and its heaps are
 * closed, or it stayed behind in a fork. What waits in an inbox for a purge
 * delay goes the same way, by any thread's tick.
 *
 * Parcels are type-stable and go round: a few wait with each thread, the others
 * in a pool.
 */
#include <core/thread/mailbox.h>

#include <base/log.h>
#include <base/meta.h>
#include <base/os.h>
#include <base/sections.h>
#include <core/memory/space.h>
#include <core/thread/thread.h>

#include <errno.h>

enum {
    PARCEL_SLOTS = 62,                                   /* 512 bytes in all */
    PARCEL_BYTES = PARCEL_SLOTS * HAK_PARCEL_SLOT_LEAST, /* of slots: 16 KiB */
    PARCEL_BYTES_LEAST = 1 << 10,
    KEPT_BYTES = 16 << 20, /* 16 KiB for each of 16 others in 64 threads */
    INBOX_PARCELS = 128,
    AGE_THREADS = 64, /* inboxes looked at in a tick, and ... */
    AGE_INBOXES = 4,  /* ... emptied */
    STASH_PARCELS = 4,
};

struct hak_parcel {
    struct hak_parcel *next;
    uint32_t n;     /* once it is posted */
    uint32_t depth; /* in an inbox: parcels from this one on; atomic */
    void *slot[PARCEL_SLOTS]; /* atomic */
};

static struct {
    struct hak_lock lock;
    struct hak_parcel *free;
} pool;

static struct hak_parcel closed; /* what a closed inbox holds */

static HAK_SEALED hak_unpack *free_slots;

void hak_mailbox_start(hak_unpack *unpack)
{
    free_slots = unpack;
}

static struct {
    uint64_t due_ms;       /* atomic */
    struct hak_thread *at; /* the next one to look at; atomic */
} ageing;

void hak_mailbox_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&pool.lock, phase);
}

/* ---- empty parcels ---- */

static struct hak_parcel *take_empty(struct hak_thread *t)
{
    struct hak_parcel *parcel = t->stash;
    if (parcel != NULL) {
        t->stash = parcel->next;
        t->nstash--;
        return parcel;
    }
    hak_lock_take(&pool.lock);
    parcel = pool.free;
    if (parcel != NULL)
        pool.free = parcel->next;
    hak_lock_drop(&pool.lock);
    return parcel != NULL ? parcel : hak_meta(sizeof *parcel);
}

static void put_empty(struct hak_thread *t, struct hak_parcel *parcel)
{
    if (t->nstash < STASH_PARCELS && hak_is_attached(t)) {
        parcel->next = t->stash;
        t->stash = parcel;
        t->nstash++;
        return;
    }
    hak_lock_take(&pool.lock);
    parcel->next = pool.free;
    pool.free = parcel;
    hak_lock_drop(&pool.lock);
}

/* ---- the last slot of a parcel ----------------------------------------------
 */

/*
 * Two frees of one slot in one parcel are found out when they arrive. The last
 * slot of a parcel carries a mark from when it is posted until it arrives,
 * whose link is no address: freed again by the same thread as the first of the
 * next parcel, it is known for what it is. (Where it arrived, and is in use
 * again, the mark is gone, and nobody can tell that free from a right one.)
 */
static uint64_t mark_of(const struct hak_span *span)
{
    return span->key ^ 16;
}

/* Only what looks live: a wrong free is told when it arrives, and until then
 * hurts neither a list that the slot is in nor what lies beside a slot. */
static void mark(void *p)
{
    const struct hak_span *span = hak_directory_get(p);
    if (span != NULL && span->key != 0 && hak_span_looks_live(span, p))
        __atomic_store_n((uint64_t *)p, mark_of(span), __ATOMIC_RELAXED);
}

static bool has_mark(const struct hak_span *span, const void *p)
{
    return span != NULL && span->key != 0 &&
           __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED) ==
               mark_of(span);
}

static void unmark(void *p)
{
    if (has_mark(hak_directory_get(p), p))
        hak_slot_clear(p);
}

/* ---- arrival ---- */

/* Free what is in a list of parcels. mine: they came for the calling thread.
 * t: gets the empty ones. */
static void unpack(struct hak_thread *t, struct hak_parcel *parcel, bool mine)
{
    int kept = errno;
    while (parcel != NULL && parcel != &closed) {
        struct hak_parcel *next = parcel->next;
        unmark(parcel->slot[parcel->n - 1]);
        free_slots(t, parcel->slot, parcel->n, mine);
        put_empty(t, parcel);
        parcel = next;
    }
    errno = kept;
}

static struct hak_parcel *exchange(struct hak_thread *t, struct hak_parcel *now)
{
    return __atomic_exchange_n(&t->inbox, now, __ATOMIC_ACQUIRE);
}

/* What came for any thread. Its inbox, which may be closed meanwhile, stays so.
 */
static struct hak_parcel *take_all(struct hak_thread *t)
{
    struct hak_parcel *first = __atomic_load_n(&t->inbox, __ATOMIC_RELAXED);
    while (first != NULL && first != &closed &&
           !__atomic_compare_exchange_n(&t->inbox, &first, NULL, true,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        ;
    return first;
}

/* Has nothing come or gone since the last look? */
static bool is_old(struct hak_thread *t)
{
    const struct hak_parcel *first =
        __atomic_load_n(&t->inbox, __ATOMIC_RELAXED);
    const struct hak_parcel *seen =
        __atomic_exchange_n(&t->inbox_seen, first, __ATOMIC_RELAXED);
    return first != NULL && first != &closed && first == seen;
}

void hak_mailbox_age(struct hak_thread *me, uint64_t now_ms)
{
    uint32_t nemptied = 0;
    if (!hak_is_due(&ageing.due_ms, now_ms,
                    now_ms + hak_space_purge_delay_ms()))
        return;
    struct hak_thread *t = __atomic_load_n(&ageing.at, __ATOMIC_RELAXED);
    for (int i = 0; i < AGE_THREADS && nemptied < AGE_INBOXES; i++) {
        t = t != NULL ? t : hak_thread_first();
        if (t != me && is_old(t)) {
            unpack(me, take_all(t), false);
            nemptied++;
        }
        t = t->next;
        if (t == NULL)
            break;
    }
    __atomic_store_n(&ageing.at, t, __ATOMIC_RELAXED);
}

/* ---- posting ---- */

/* False: the inbox is closed or full. */
static bool deliver(struct hak_thread *to, struct hak_parcel *parcel)
{
    struct hak_parcel *old = __atomic_load_n(&to->inbox, __ATOMIC_RELAXED);
    do {
        uint32_t depth = 0;
        if (old != NULL) /* it may have left: then the exchange fails */
            depth = __atomic_load_n(&old->depth, __ATOMIC_RELAXED);
        if (old == &closed || depth >= INBOX_PARCELS)
            return false;
        parcel->next = old;
        __atomic_store_n(&parcel->depth, depth + 1, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&to->inbox, &old, parcel, true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    return true;
}

static void post(struct hak_thread *t, struct hak_out *out)
{
    struct hak_parcel *parcel = out->parcel;
    struct hak_thread *to = hak_thread_by_tag[out->key - 1];
    uint32_t n = (uint32_t)(out->at - parcel->slot);
    *out = (struct hak_out){.last = parcel->slot[n - 1]};
    t->nopen--;
    __atomic_store_n(&parcel->n, n, __ATOMIC_RELAXED);
    bool mine = to == hak_self; /* who posts for t, which has ended */
    if (!mine && to != t) {
        mark(parcel->slot[n - 1]);
        if (deliver(to, parcel))
            return;
    }
    parcel->next = NULL; /* deliver may have tried before it gave up */
    unpack(t, parcel, mine);
}

void hak_mailbox_post_now(struct hak_thread *t)
{
    for (uint32_t i = 0; i < HAK_OUTS; i++)
        if (t->out[i].parcel != NULL)
            post(t, &t->out[i]);
}

void hak_mailbox_receive_now(struct hak_thread *t)
{
    unpack(t, exchange(t, NULL), true);
}

void hak_mailbox_receive_all(struct hak_thread *me)
{
    hak_mailbox_post(me);
    hak_mailbox_receive(me);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        unpack(me, take_all(t), false);
}

void hak_mailbox_full(struct hak_thread *t, struct hak_out *out)
{
    post(t, out);
}

/* Bytes of slots that a parcel holds: fewer, the more threads there are. */
static int32_t room(void)
{
    size_t share = KEPT_BYTES / HAK_OUTS / hak_max(hak_thread_count(), 1);
    return (int32_t)hak_max(hak_min(share, PARCEL_BYTES), PARCEL_BYTES_LEAST);
}

bool hak_mailbox_put_first(struct hak_thread *t, uint64_t entry, void *p)
{
    uint32_t tag = hak_entry_tag(entry);
    struct hak_out *out = &t->out[(tag - t->tag) % HAK_OUTS];
    if (tag == 0 || tag == t->tag || t->abroad != 0 ||
        hak_entry_step(entry) == HAK_STEP_LARGE)
        return false;
    if (unlikely(p == out->last) && has_mark(hak_entry_span(entry), p))
        hak_die("free(%p): freed twice", p);
    if (out->parcel != NULL)
        post(t, out);
    struct hak_parcel *parcel = take_empty(t);
    if (parcel == NULL)
        return false;
    *out = (struct hak_out){
        .parcel = parcel,
        .at = parcel->slot,
        .key = tag + 1,
        .room = room(),
    };
    t->nopen++;
    return hak_mailbox_put(t, entry, p);
}

/* ---- threads that come and go ---- */

void hak_mailbox_open(struct hak_thread *t)
{
    if (__atomic_load_n(&t->inbox, __ATOMIC_RELAXED) == &closed)
        exchange(t, NULL);
}

void hak_mailbox_close(struct hak_thread *t)
{
    unpack(t, exchange(t, &closed), false);
}

void hak_mailbox_abandon(struct hak_thread *t)
{
    exchange(t, &closed);
}

/* ---- what is on its way ---- */

static void count(const struct hak_parcel *parcel, uint32_t n,
                  const struct hak_box *box, struct hak_mailbox_figures *sum)
{
    for (uint32_t i = 0; i < n && i < PARCEL_SLOTS; i++) {
        const struct hak_span *span = hak_directory_get(
            __atomic_load_n(&parcel->slot[i], __ATOMIC_RELAXED));
        if (span == NULL || span->box != box)
            continue;
        sum->n++;
        sum->bytes += span->slot_bytes;
    }
}

struct hak_mailbox_figures hak_mailbox_read(const struct hak_box *box)
{
    struct hak_mailbox_figures sum = {0};
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next) {
        for (uint32_t i = 0; i < HAK_OUTS; i++) {
            const struct hak_parcel *parcel =
                __atomic_load_n(&t->out[i].parcel, __ATOMIC_RELAXED);
            void **at = __atomic_load_n(&t->out[i].at, __ATOMIC_RELAXED);
            if (parcel != NULL)
                count(parcel, (uint32_t)(at - parcel->slot), box, &sum);
        }
        const struct hak_parcel *parcel =
            __atomic_load_n(&t->inbox, __ATOMIC_ACQUIRE);
        for (int i = 0; i < INBOX_PARCELS && parcel != NULL; i++) {
            count(parcel, __atomic_load_n(&parcel->n, __ATOMIC_RELAXED), box,
                  &sum);
            parcel = __atomic_load_n(&parcel->next, __ATOMIC_RELAXED);
        }
    }
    return sum;
}

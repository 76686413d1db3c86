/* SPDX-License-Identifier: MIT
 * mailbox.c - remote frees travel in parcels to the threads that own the slots.
 *
 *     free(p)        p -> open parcel for the thread that the directory names
 *     full, or old   parcel -> inbox of that thread
 *     its slow path  inbox -> each p is freed like the thread's own slots
 *
 * A slot and its span are usually in the cache of the owner's CPU. A thread
 * that frees a remote slot touches neither: the directory's entry names the
 * owner, and only the address p is stored in the parcel. So a remote free costs
 * a store, the arrival costs as much as a free by the owner, and the atomic
 * operations are two for each parcel.
 *
 * The tag in the directory is a hint. If a slot arrives at a thread that does
 * not own it, free_misdelivered in free.c frees it, by span->owner.
 *
 * A thread holds back at most PARCEL_BYTES of slots for each of HAK_OUTS other
 * threads, and all threads together about KEPT_BYTES. It posts its parcels on
 * slow paths and when it ends. An inbox takes INBOX_PARCELS parcels. When it is
 * full, because its thread makes no request for long, the slots go to the box
 * (ops->remote_free), which needs no memory. The same happens where an inbox is
 * closed: the thread was reaped, or it is a thread of the parent in a child of
 * fork. Parcels that wait in an inbox for a purge delay are freed like that
 * too, in any thread's tick.
 *
 * Parcels are type-stable and reused: a few are kept by each thread, the others
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
    PARCEL_SLOTS = 62, /* sizeof(struct hak_parcel) is 512 */
    /* The most bytes of slots in a parcel, 16 KiB. */
    PARCEL_BYTES = PARCEL_SLOTS * HAK_PARCEL_SLOT_LEAST,
    PARCEL_BYTES_LEAST = 1 << 10,
    /* 16 KiB for each of 16 other threads, with 64 threads. With more threads,
     * parcels are posted with fewer bytes. */
    KEPT_BYTES = 16 << 20,
    INBOX_PARCELS = 128,
    AGE_THREADS = 64,  /* inboxes that one hak_mailbox_age looks at ... */
    AGE_INBOXES = 4,   /* ... and the most that it empties */
    STASH_PARCELS = 4, /* empty parcels that a thread keeps */
};

struct hak_parcel {
    struct hak_parcel *next; /* in an inbox, a stash or the pool; atomic */
    uint32_t n;              /* slots; set when it is posted; atomic */
    uint32_t depth; /* in an inbox: parcels from this one to the end; atomic */
    void *slot[PARCEL_SLOTS]; /* atomic */
};

/* Empty parcels; guarded by pool.lock. */
static struct {
    struct hak_lock lock;
    struct hak_parcel *free;
} pool;

/* The inbox of a thread that takes no parcels leads to this one. */
static struct hak_parcel closed;

static HAK_SEALED hak_unpack *free_slots; /* hak_free_parcel of free.c */

void hak_mailbox_start(hak_unpack *unpack)
{
    free_slots = unpack;
}

/* When hak_mailbox_age runs next, and where in hak_threads it goes on. */
static struct {
    uint64_t due_ms;       /* atomic */
    struct hak_thread *at; /* NULL: at the start of the list; atomic */
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
 * A double free of a slot within one parcel is detected when the parcel
 * arrives. To detect one across two parcels, the last slot of a parcel carries
 * a special mark while the parcel is on its way. It decodes to 16, the address
 * of no slot. If the thread frees that slot again as the first one of its next
 * parcel, the mark shows the double free. After the arrival the mark is
 * gone, and if the slot is in use again, the second free looks like a correct
 * one.
 */
static uint64_t mark_of(const struct hak_span *span)
{
    return span->key ^ 16;
}

/* Mark slot p if it looks live. If it is not live, the program is wrong; a
 * store could break a free list or change memory beside a slot, and the fault
 * is reported when the parcel arrives. */
static void mark_last_slot(void *p)
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

static void unmark_last_slot(void *p)
{
    if (has_mark(hak_directory_get(p), p))
        hak_slot_clear(p);
}

/* ---- collecting ---- */

/*
 * hak_mailbox_collect takes slots out of the open parcels of other threads,
 * which may not run for long. It leaves NULL in their places. Who takes a slot
 * out of a parcel while `collecting` is set does it by an exchange, so each
 * slot is freed once.
 *
 * The flag is set before a barrier in all threads, and open parcels are looked
 * for after it. So a thread that frees the slots of a parcel without exchanges
 * has seen the flag unset, before the barrier: that parcel was posted before,
 * and is not found open. The same holds for a thread that marks the last slot
 * of a parcel which it posts: post_parcel takes the parcel out of `out` first.
 */
static bool collecting; /* atomic */

static bool is_collecting(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return unlikely(__atomic_load_n(&collecting, __ATOMIC_RELAXED));
}

/* ---- arrival ---- */

/* Free the slots that are still in a parcel, while others may take some. */
static void free_by_exchange(struct hak_thread *t, struct hak_parcel *parcel,
                             bool mine)
{
    for (uint32_t i = parcel->n; i-- != 0;) {
        void *p = __atomic_exchange_n(&parcel->slot[i], NULL, __ATOMIC_ACQ_REL);
        if (p == NULL)
            continue;
        if (i == parcel->n - 1)
            unmark_last_slot(p);
        free_slots(t, &p, 1, mine);
    }
}

/* An empty parcel has no slots, so that a place behind the end of an open
 * parcel is never taken for a slot. */
static void clear(struct hak_parcel *parcel)
{
    for (uint32_t i = 0; i < parcel->n; i++)
        __atomic_store_n(&parcel->slot[i], NULL, __ATOMIC_RELAXED);
}

/* Free the slots of a list of parcels. mine: they were posted to the calling
 * thread. t: the structure that keeps the empty parcels. */
static void free_parcels(struct hak_thread *t, struct hak_parcel *parcel,
                         bool mine)
{
    int kept = errno;
    while (parcel != NULL && parcel != &closed) {
        struct hak_parcel *next = parcel->next;
        if (is_collecting()) {
            free_by_exchange(t, parcel, mine);
        } else {
            unmark_last_slot(parcel->slot[parcel->n - 1]);
            free_slots(t, parcel->slot, parcel->n, mine);
            clear(parcel);
        }
        put_empty(t, parcel);
        parcel = next;
    }
    errno = kept;
}

static struct hak_parcel *exchange_inbox(struct hak_thread *t,
                                         struct hak_parcel *now)
{
    return __atomic_exchange_n(&t->inbox, now, __ATOMIC_ACQUIRE);
}

/* Empty the inbox of any thread. Returns its parcels, or &closed: an inbox that
 * is closed stays closed. */
static struct hak_parcel *take_inbox(struct hak_thread *t)
{
    struct hak_parcel *first = __atomic_load_n(&t->inbox, __ATOMIC_RELAXED);
    while (first != NULL && first != &closed &&
           !__atomic_compare_exchange_n(&t->inbox, &first, NULL, true,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        ;
    return first;
}

/* Does the inbox hold parcels, and is its head the same as at the last call? */
static bool is_inbox_old(struct hak_thread *t)
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
        if (t != me && is_inbox_old(t)) {
            free_parcels(me, take_inbox(t), false);
            nemptied++;
        }
        t = t->next;
        if (t == NULL)
            break;
    }
    __atomic_store_n(&ageing.at, t, __ATOMIC_RELAXED);
}

/* ---- posting ---- */

/* Add a parcel to an inbox. False: the inbox is closed or full. The release
 * pairs with the acquire of exchange_inbox and take_inbox. */
static bool deliver(struct hak_thread *to, struct hak_parcel *parcel)
{
    struct hak_parcel *old = __atomic_load_n(&to->inbox, __ATOMIC_RELAXED);
    do {
        uint32_t depth = 0;
        /* `old` may have left the inbox and be in use for something else: its
         * memory is type-stable, and the exchange below fails then. */
        if (old != NULL)
            depth = __atomic_load_n(&old->depth, __ATOMIC_RELAXED);
        if (old == &closed || depth >= INBOX_PARCELS)
            return false;
        parcel->next = old;
        __atomic_store_n(&parcel->depth, depth + 1, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&to->inbox, &old, parcel, true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    return true;
}

/* Post the parcel of `out`, or free its slots here if its inbox refuses it. */
static void post_parcel(struct hak_thread *t, struct hak_out *out)
{
    struct hak_parcel *parcel = out->parcel;
    struct hak_thread *to = hak_thread_by_tag[out->key - 1];
    uint32_t n = (uint32_t)(out->at - parcel->slot);
    *out = (struct hak_out){.last = parcel->slot[n - 1]};
    t->nopen--;
    __atomic_store_n(&parcel->n, n, __ATOMIC_RELAXED);
    /* The caller may post for a thread t that has ended, so the parcel may be
     * for the caller itself. */
    bool mine = to == hak_self;
    if (!mine && to != t) {
        if (!is_collecting())
            mark_last_slot(parcel->slot[n - 1]);
        if (deliver(to, parcel))
            return;
    }
    parcel->next = NULL; /* deliver may have set it before it failed */
    free_parcels(t, parcel, mine);
}

void hak_mailbox_post_now(struct hak_thread *t)
{
    for (uint32_t i = 0; i < HAK_OUTS; i++)
        if (t->out[i].parcel != NULL)
            post_parcel(t, &t->out[i]);
}

void hak_mailbox_receive_now(struct hak_thread *t)
{
    free_parcels(t, exchange_inbox(t, NULL), true);
}

void hak_mailbox_receive_all(struct hak_thread *me)
{
    hak_mailbox_post(me);
    hak_mailbox_receive(me);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        free_parcels(me, take_inbox(t), false);
}

/* Free the slots of box in the first n places of an open parcel. It may be
 * posted and opened again meanwhile, so n may be wrong: there is no slot behind
 * the parcel's end. */
static void collect_from(struct hak_thread *me, struct hak_parcel *parcel,
                         uint32_t n, const struct hak_box *box)
{
    for (uint32_t i = 0; i < n && i < PARCEL_SLOTS; i++) {
        void *p = __atomic_load_n(&parcel->slot[i], __ATOMIC_RELAXED);
        const struct hak_span *span = hak_directory_get(p);
        if (span != NULL && span->box == box &&
            __atomic_compare_exchange_n(&parcel->slot[i], &p, NULL, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            free_slots(me, &p, 1, false);
    }
}

void hak_mailbox_collect(struct hak_thread *me, const struct hak_box *box)
{
    int kept = errno;
    hak_mailbox_receive_all(me);
    if (hak_core.fences)
        return; /* there is no barrier in all threads */
    __atomic_store_n(&collecting, true, __ATOMIC_RELAXED);
    hak_os_barrier();
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next) {
        for (uint32_t i = 0; i < HAK_OUTS; i++) {
            void **at = __atomic_load_n(&t->out[i].at, __ATOMIC_ACQUIRE);
            struct hak_parcel *parcel =
                __atomic_load_n(&t->out[i].parcel, __ATOMIC_RELAXED);
            if (parcel != NULL && t != me)
                collect_from(me, parcel, (uint32_t)(at - parcel->slot), box);
        }
    }
    hak_os_barrier(); /* who still sees the flag has found no slot to take */
    __atomic_store_n(&collecting, false, __ATOMIC_RELAXED);
    errno = kept;
}

void hak_mailbox_full(struct hak_thread *t, struct hak_out *out)
{
    post_parcel(t, out);
}

/* The bytes of slots after which a parcel is posted. With more threads it is
 * fewer, so that all parcels together stay near KEPT_BYTES. */
static int32_t parcel_room_bytes(void)
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
        post_parcel(t, out);
    struct hak_parcel *parcel = take_empty(t);
    if (parcel == NULL)
        return false;
    *out = (struct hak_out){
        .parcel = parcel,
        .at = parcel->slot,
        .key = tag + 1,
        .room = parcel_room_bytes(),
    };
    t->nopen++;
    return hak_mailbox_put(t, entry, p);
}

/* ---- threads that come and go ---- */

void hak_mailbox_open(struct hak_thread *t)
{
    if (__atomic_load_n(&t->inbox, __ATOMIC_RELAXED) == &closed)
        exchange_inbox(t, NULL);
}

void hak_mailbox_close(struct hak_thread *t)
{
    free_parcels(t, exchange_inbox(t, &closed), false);
}

void hak_mailbox_abandon(struct hak_thread *t)
{
    exchange_inbox(t, &closed);
}

/* ---- figures ---- */

/* Add the slots of box in the first n places of a parcel to *sum. The parcel
 * may change meanwhile. */
static void count_slots(const struct hak_parcel *parcel, uint32_t n,
                        const struct hak_box *box,
                        struct hak_mailbox_figures *sum)
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
                count_slots(parcel, (uint32_t)(at - parcel->slot), box, &sum);
        }
        const struct hak_parcel *parcel =
            __atomic_load_n(&t->inbox, __ATOMIC_ACQUIRE);
        for (int i = 0; i < INBOX_PARCELS && parcel != NULL; i++) {
            count_slots(parcel, __atomic_load_n(&parcel->n, __ATOMIC_RELAXED),
                        box, &sum);
            parcel = __atomic_load_n(&parcel->next, __ATOMIC_RELAXED);
        }
    }
    return sum;
}

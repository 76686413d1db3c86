/* SPDX-License-Identifier: MIT
 * slots.c - the way of a slot: handed out, checked, wiped, in quarantine.
 *
 *     slab --random--> next --> the program --wiped--> shuffled --> queue
 *       ^                                                             |
 *       +-------------------------------------------------------------+
 */
#include "bounds.h"

enum {
    QUARANTINE_BYTES = 128 * 1024, /* most bytes in each half, or one slot */
};

/* ---- locks -----------------------------------------------------------------
 */

/*
 * A process of one thread needs no lock, and the two atomic instructions of one
 * are two thirds of what a call costs. libc says whether there is one thread,
 * and nothing between lock and unlock starts another. hak_lock_enter still
 * records that the call is inside, for a fork in a signal handler that has
 * interrupted it.
 */
static void lock(struct class *c)
{
    if (__libc_single_threaded)
        hak_lock_enter(&c->lock);
    else
        hak_lock_take(&c->lock);
}

static void unlock(struct class *c)
{
    if (__libc_single_threaded)
        hak_lock_leave(&c->lock);
    else
        hak_lock_drop(&c->lock);
}

/* ---- set up ---------------------------------------------------------------
 */

void slots_init(struct hardened *h, uint32_t quarantine)
{
    slabs_init(h);
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct shape *s = &h->shape[i];
        s->nwait = (uint32_t)hak_min(
            quarantine, hak_max(QUARANTINE_BYTES / s->slot_bytes, 1));
    }
}

/* ---- bounds ---------------------------------------------------------------
 */

static void found_written(struct hardened *h, const char *p, size_t asked)
{
    h->box->host->log(h->box, HAK_LOG_ERROR,
                      "malloc(%zu): the free slot %p was written to since "
                      "its free",
                      asked, (const void *)p);
    abort();
}

/* A slot with room for `room` bytes is handed out: check that it is as free
 * left it, and set its border and canary. */
static inline void open_bounds(struct hardened *h, char *p, size_t asked,
                               size_t room)
{
    char *end = p + room + BORDER_BYTES;
    struct pair border = border_of(h, end);
    if (h->zero && unlikely(!h->is_zero(p, room)))
        found_written(h, p, asked);
    if (unlikely(!border_is(border, end))) {
        if (!border_may_be(border, end))
            found_written(h, p, asked);
        set_border(border, end);
    }
    set_canary(border, p, asked, room);
}

/*
 * May the border in front of p, a slot that is out, be read? In front of a
 * slab's first slot is a closed page or other memory. In front of the first
 * slot of a run, the run before may be closed; once open, it stays open while a
 * slot of the slab is out. The acquire pairs with open_these().
 */
static bool border_in_front(const struct slab *slab, const char *p)
{
    size_t at = (size_t)(p - slab->start);
    if (likely(at % RUN_BYTES != 0))
        return true;
    return at != 0 && !(__atomic_load_n(&slab->closed, __ATOMIC_ACQUIRE) >>
                            (at / RUN_BYTES - 1) &
                        1);
}

static inline __attribute__((always_inline)) void
check_bounds(struct hardened *h, const struct slab *slab, size_t i, char *p)
{
    size_t room = room_of(slab);
    char *end = p + room + BORDER_BYTES;
    struct pair border = border_of(h, end);
    if (unlikely(!border_is(border, end) ||
                 !canary_is_whole(h, border, p, asked_of(slab, i), room)))
        hardened_refuse(h, slab, p,
                        "overflow: the bytes behind it were written to");
    if (likely(border_in_front(slab, p)) &&
        unlikely(!border_may_be(border_of(h, p), p)))
        hardened_refuse(h, slab, p,
                        "underflow: the bytes before it were written to");
}

void slots_check(struct hardened *h, const struct slab *slab, size_t i, char *p)
{
    check_bounds(h, slab, i, p);
}

void slots_set_asked(struct hardened *h, struct slab *slab, size_t i, void *p,
                     size_t size_bytes)
{
    size_t room = room_of(slab), asked = asked_of(slab, i);
    drop_canary(p, asked, room);
    if (size_bytes < asked)
        memset((char *)p + size_bytes, 0, asked - size_bytes);
    set_canary(border_of(h, (char *)p + room + BORDER_BYTES), p, size_bytes,
               room);
    set_note(slab, i,
             (note_of(slab, i) & NOTE_MARKS) | NOTE_OUT |
                 (uint32_t)size_bytes << NOTE_ASKED_SHIFT);
}

/* Declines to shrink to less than half of the slot, as realloc should move
 * then. Slots of up to SMALL_BYTES are kept. */
bool slots_resize(struct hardened *h, struct slab *slab, size_t i, void *p,
                  size_t size_bytes)
{
    enum { SMALL_BYTES = 64 };
    size_t room = room_of(slab);
    if (size_bytes > room || (room > SMALL_BYTES && size_bytes < room / 2 &&
                              size_bytes != asked_of(slab, i)))
        return false;
    slots_set_asked(h, slab, i, p, size_bytes);
    return true;
}

/*
 * Wipe a long slot page by page, and write only to pages that do not read zero.
 * A program may use little of a long slot, and a page that was never written to
 * takes no memory. In a page that was used, the check usually ends within its
 * first bytes.
 */
static void wipe_used(const struct hardened *h, char *p, size_t bytes)
{
    size_t page = h->box->host->os_page_bytes;
    for (char *end = p + bytes; p != end;) {
        size_t left = page - (uintptr_t)p % page;
        left = hak_min(left, (size_t)(end - p));
        if (!h->is_zero(p, left))
            h->wipe(p, left);
        p += left;
    }
}

/* ---- quarantine ------------------------------------------------------------
 */

/*
 * Put a freed slot in quarantine: it takes the place of a random slot in the
 * shuffled half, and that one takes the place of the oldest in the queue. The
 * slot that leaves the queue becomes free. The class's lock is held.
 */
static void quarantine(struct hardened *h, struct class *c, uint32_t nwait,
                       char *p)
{
    if (unlikely(nwait == 0)) {
        slabs_release(h, c, p);
        return;
    }
    char **shuffled =
        &c->wait[hardened_scaled(hardened_random(&c->random), nwait)];
    char *waited = *shuffled;
    *shuffled = p;
    if (unlikely(waited == NULL))
        return;
    char **queue = &c->wait[nwait], *out = queue[c->at];
    queue[c->at] = waited;
    c->at = c->at + 1 == nwait ? 0 : c->at + 1;
    if (likely(out != NULL))
        slabs_release(h, c, out);
}

/* Free all slots in quarantine. The class's lock is held. */
static void end_wait(struct hardened *h, struct class *c)
{
    for (uint32_t i = 0; i < 2 * h->shape[c->number].nwait; i++) {
        if (c->wait[i] != NULL)
            slabs_release(h, c, c->wait[i]);
        c->wait[i] = NULL;
    }
}

/* ---- the next slot
 * -----------------------------------------------------------
 */

/*
 * Choose the next slot when one is handed out, and prefetch its first lines and
 * its note, which the next malloc reads. Only an open slot is chosen: pages are
 * not opened before malloc needs them. The class's lock is held.
 */
static void choose_ahead(struct class *c)
{
    size_t i;
    struct slab *slab = slabs_use_open(c, &i);
    if (unlikely(slab == NULL))
        return;
    c->next = slab->start + i * slab->slot_bytes;
    c->next_slab = slab;
    c->next_index = (uint32_t)i;
    __builtin_prefetch(c->next);
    __builtin_prefetch(c->next + 64);
    __builtin_prefetch(note_at(slab, i));
}

/* In a fork's child, free the slot that the parent chose. The class's lock is
 * held. */
static void drop_old(struct hardened *h, struct class *c)
{
    if (c->old != NULL)
        slabs_release(h, c, c->old);
    c->old = NULL;
}

/* Choose the next slot, and open its pages if needed. False: no memory. The
 * class's lock is held. */
static bool choose_now(struct hardened *h, struct class *c)
{
    size_t i;
    drop_old(h, c);
    struct slab *slab = slabs_use(h, c, &i);
    if (slab == NULL)
        return false;
    c->next = slab->start + i * slab->slot_bytes;
    c->next_slab = slab;
    c->next_index = (uint32_t)i;
    return true;
}

/* Neither frees the parent's slot nor chooses another here: both wait until the
 * child allocates. So a child that only runs another program copies few pages.
 */
void slots_choose_anew(struct hardened *h, struct class *c)
{
    if (c->old == NULL)
        c->old = c->next;
    c->next = NULL;
    c->random = h->box->host->random() | 1;
}

/* ---- slots ----------------------------------------------------------------
 */

static char *take(struct hardened *h, uint32_t class_number, size_t asked)
{
    struct class *c = class_of(h, arena_of(h), class_number);
    if (unlikely(c == NULL))
        return NULL;
    lock(c);
    if (unlikely(c->next == NULL) && !choose_now(h, c)) {
        unlock(c);
        return NULL;
    }
    char *p = c->next;
    set_note(c->next_slab, c->next_index,
             (uint32_t)asked << NOTE_ASKED_SHIFT | NOTE_OUT);
    hak_count(&c->nout, 1);
    c->next = NULL;
    choose_ahead(c);
    unlock(c);
    return p;
}

void *slots_alloc(struct hardened *h, uint32_t class_number, size_t asked)
{
    char *p = take(h, class_number, asked);
    if (unlikely(p == NULL)) {
        hardened_give_back(h);
        p = take(h, class_number, asked);
    }
    if (likely(p != NULL && class_number != 0))
        open_bounds(h, p, asked,
                    h->shape[class_number].slot_bytes - BORDER_BYTES);
    return p;
}

/*
 * The slot is checked and wiped before the lock is taken, since no other call
 * may use it. When two threads free it at once, both get as far as the lock;
 * the second then finds that it is not out.
 */
void slots_free(struct hardened *h, struct slab *slab, size_t i, void *p)
{
    struct class *c = slab->class;
    if (likely(slab->class_number != 0)) {
        check_bounds(h, slab, i, p);
        if (h->zero && is_wide(slab))
            wipe_used(h, p, room_of(slab));
        else if (h->zero)
            h->wipe(p, room_of(slab));
    }
    lock(c);
    if (unlikely(!is_out(slab, i)))
        hardened_refuse(h, slab, p, "freed twice");
    set_note(slab, i, 0);
    hak_count(&c->nout, -(uint64_t)1);
    quarantine(h, c, h->shape[c->number].nwait, p);
    unlock(c);
}

/* ---- trim -----------------------------------------------------------------
 */

/* Free the slot that was chosen as next. The class's lock is held. */
static void unchoose(struct hardened *h, struct class *c)
{
    drop_old(h, c);
    if (c->next != NULL)
        slabs_release(h, c, c->next);
    c->next = NULL;
}

/* Close empty slabs; with `waiting` free the slots in quarantine first, without
 * it purge idle pages too. Returns the bytes of the closed slabs. */
static size_t give_back(struct hardened *h, bool waiting)
{
    size_t bytes = 0;
    struct class *c;
    for (uint32_t n = 0; (c = nth_class(h, &n)) != NULL;) {
        lock(c);
        unchoose(h, c);
        if (waiting)
            end_wait(h, c);
        bytes += slabs_close_empty(h, c);
        if (!waiting)
            slabs_purge(h, c);
        unlock(c);
    }
    return bytes;
}

void slots_give_back(struct hardened *h)
{
    give_back(h, true);
}

size_t slots_trim(struct hardened *h)
{
    return give_back(h, false);
}

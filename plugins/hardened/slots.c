/* SPDX-License-Identifier: MIT
 * slots.c - slots are handed out, looked at, wiped, and wait.
 *
 *     slab --random--> next --> the program --wiped--> shuffled --> in turn
 *       ^                                                                |
 *       +----------------------------------------------------------------+
 */
#include "bounds.h"

enum {
    QUARANTINE_BYTES = 128 * 1024, /* of a class, in each half, or one slot */
};

/* ---- locks -----------------------------------------------------------------
 */

/*
 * A process of one thread needs none, and two atomics are two thirds of what a
 * call costs. libc knows, and nothing here starts a thread halfway. A fork in a
 * signal handler needs to know of the call that was interrupted.
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

/* A free slot with room for `room` is handed out: it must be as free left it.
 */
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
 * May the bytes in front of p, a slot that is out, be looked at? In front of a
 * slab is a closed page, or another's memory; a run in front may be closed, and
 * is not closed again while a slot of the slab is out.
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

/* As realloc has it: not where most of the slot would be for nothing. */
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
 * A program may use little of a long slot, so what still reads zero is not
 * written to: a page that was never touched then takes no memory. Where a page
 * was used, the look ends within its first bytes.
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
 * A freed slot changes places with a random one of those that are shuffled,
 * that with the oldest of those that wait in turn; what comes out is free. The
 * lock is held.
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

/* What waits in the quarantine is free. The lock is held. */
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
 * It is chosen when one is handed out, and its first lines fetched: they are to
 * be looked at. Only of pages that are open: what it takes to have more waits
 * until it is asked for. The lock is held.
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

/* The lock is held. */
static void drop_old(struct hardened *h, struct class *c)
{
    if (c->old != NULL)
        slabs_release(h, c, c->old);
    c->old = NULL;
}

/* The lock is held. False: no memory. */
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

/* Later, where it is needed, so that a child that only runs another program
 * copies few pages. */
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
 * Its bytes are wiped before the lock is taken: the slot is nobody else's. Two
 * frees at once both come as far as the lock.
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

/* What was chosen ahead is free. The lock is held. */
static void unchoose(struct hardened *h, struct class *c)
{
    drop_old(h, c);
    if (c->next != NULL)
        slabs_release(h, c, c->next);
    c->next = NULL;
}

/* Returns bytes. */
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

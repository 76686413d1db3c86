/* SPDX-License-Identifier: MIT
 * big.c - blocks too large for a slot: granules of their own, between guards.
 *
 *     | closed   |  page  |  page  | ...  |  page  |        closed |
 *     place            start           start + slot_bytes
 *
 * A block ends where its granule does, and the next one is closed, so that the
 * first byte behind it faults; what is in front of its first page is closed
 * too. What lies between block and page is a canary and zeros (bounds.h), at
 * either end, looked at by free. A freed block is closed whole, which gives its
 * memory and its mapping back, and waits so: any use of it faults. What has
 * waited is kept for blocks that need as much, closed still, or goes back to
 * the host.
 *
 * A block that realloc makes larger begins its place, with room for as much
 * again behind it: address space, which costs nothing, of which pages are
 * opened as it grows. So an array that grows step by step is copied as often as
 * its size doubles.
 *
 * Where no more blocks may lie between guards (most_guarded, or the kernel
 * refuses a mapping), a block lies in memory that the host has mapped, side by
 * side with others: it costs no mapping. A freed one waits purged, but open.
 */
#include "bounds.h"

#include <errno.h>

enum {
    NOW_MOST_BYTES = 128 * 1024, /* of a block used again: pages at once */
    KEPT_MOST_BYTES = 64 << 20,  /* of address space */
};

void big_init(struct hardened *h)
{
    h->now->big.newest = &h->now->big.oldest;
}

/* ---- what is open ---- */

static char *first_page(const struct hardened *h, const struct span *span)
{
    uintptr_t page = h->box->host->os_page_bytes;
    return (char *)((uintptr_t)span->start & ~(page - 1));
}

static size_t open_bytes(const struct hardened *h, const struct span *span)
{
    return (size_t)(span->start + span->slot_bytes - first_page(h, span));
}

/* ---- structs and what is kept ---- */

static struct span *take_struct(struct hardened *h)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    struct span *span = big->spare;
    if (span != NULL)
        big->spare = span->next;
    hak_lock_drop(&big->lock);
    if (span == NULL)
        span = hardened_struct(h, 1, SLOT_MOST_BYTES);
    return span;
}

static void put_struct(struct hardened *h, struct span *span)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    span->next = big->spare;
    big->spare = span;
    hak_lock_drop(&big->lock);
}

/* Of that many granules; NULL = none. */
static struct span *take_kept(struct hardened *h, size_t granules)
{
    struct big *big = &h->now->big;
    if (granules >= BIG_KEPT_GRANULES)
        return NULL;
    hak_lock_take(&big->lock);
    struct span *span = big->kept[granules];
    if (span != NULL) {
        big->kept[granules] = span->next;
        hak_count(&big->kept_bytes, -span->place_bytes);
    }
    hak_lock_drop(&big->lock);
    return span;
}

static void put_kept(struct hardened *h, size_t granules, struct span *span)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    span->next = big->kept[granules];
    big->kept[granules] = span;
    hak_count(&big->kept_bytes, span->place_bytes);
    hak_lock_drop(&big->lock);
}

static void give_back(struct hardened *h, struct span *span)
{
    struct hak_box *box = h->box;
    hak_map_set(&h->map, span->place, span->place_bytes, NULL);
    if (span->guarded)
        box->host->unreserve(box, span->place, span->place_bytes);
    else
        box->host->unmap(box, span->place, span->place_bytes);
    put_struct(h, span);
}

/*
 * A freed block's pages; false: the kernel refuses, which takes mappings of
 * somebody else's in both guards and no mapping left. One that is not guarded
 * is purged instead.
 */
static bool close_block(struct hardened *h, struct span *span)
{
    struct hak_box *box = h->box;
    if (!span->guarded) {
        box->host->purge(box, span->place, span->place_bytes);
        return true;
    }
    if (!box->host->close_pages(box, first_page(h, span), open_bytes(h, span)))
        return false;
    hardened_drop_guard(h);
    return true;
}

/* Two threads at once may keep a little more. */
static void keep(struct hardened *h, struct span *span)
{
    size_t granules = span->place_bytes / HAK_GRANULE_BYTES;
    if (!span->guarded || granules >= BIG_KEPT_GRANULES ||
        hak_counted(&h->now->big.kept_bytes) + span->place_bytes >
            KEPT_MOST_BYTES)
        give_back(h, span);
    else
        put_kept(h, granules, span);
}

static void put_unclosed(struct hardened *h, struct span *span)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    span->next = big->unclosed;
    __atomic_store_n(&big->unclosed, span, __ATOMIC_RELAXED);
    hak_lock_drop(&big->lock);
}

static struct span *take_unclosed(struct hardened *h)
{
    struct big *big = &h->now->big;
    if (likely(__atomic_load_n(&big->unclosed, __ATOMIC_RELAXED) == NULL))
        return NULL;
    hak_lock_take(&big->lock);
    struct span *span = big->unclosed;
    if (span != NULL)
        __atomic_store_n(&big->unclosed, span->next, __ATOMIC_RELAXED);
    hak_lock_drop(&big->lock);
    return span;
}

/* One that has waited, and others that could not be closed when they had. */
static void end_wait(struct hardened *h, struct span *span)
{
    for (; span != NULL; span = take_unclosed(h)) {
        if (unlikely(span->unclosed) && !close_block(h, span)) {
            put_unclosed(h, span);
            return;
        }
        span->unclosed = false;
        keep(h, span);
    }
}

/* The oldest of those that wait, when they are more than `most`; or NULL. */
static struct span *next_to_go(struct hardened *h, uint32_t most)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    struct span *span = big->nwaiting > most ? big->oldest : NULL;
    if (span != NULL) {
        big->nwaiting--;
        big->oldest = span->next;
        if (big->oldest == NULL)
            big->newest = &big->oldest;
    }
    hak_lock_drop(&big->lock);
    return span;
}

void big_give_back(struct hardened *h)
{
    struct span *span;
    end_wait(h, take_unclosed(h));
    while ((span = next_to_go(h, 0)) != NULL)
        end_wait(h, span);
    for (size_t granules = 0; granules < BIG_KEPT_GRANULES; granules++)
        while ((span = take_kept(h, granules)) != NULL)
            give_back(h, span);
}

/* ---- blocks ---- */

struct request {
    size_t align_bytes, size_bytes;
    size_t bytes; /* in granules, with room for the alignment or to grow */
    bool grows;
};

/* Where the block may end. */
static char *limit_of(const struct span *span)
{
    return span->place + span->place_bytes -
           (span->guarded ? HAK_GRANULE_BYTES : 0);
}

/* Up to the end of a page: what is closed behind it is a guard. */
static size_t room_for(const struct hardened *h, const char *start,
                       size_t size_bytes)
{
    uintptr_t end = (uintptr_t)start + size_bytes;
    return hak_round_up(end, h->box->host->os_page_bytes) - (uintptr_t)start;
}

/* At the place's end, but for the guard; or at its start. */
static void lay_out(const struct hardened *h, struct span *span,
                    const struct request *r)
{
    uintptr_t start = (uintptr_t)limit_of(span) - r->size_bytes;
    if (r->grows)
        start =
            (uintptr_t)span->place + (span->guarded ? HAK_GRANULE_BYTES : 0);
    span->start = (char *)(start & ~(r->align_bytes - 1));
    span->asked_bytes = r->size_bytes;
    span->slot_bytes = room_for(h, span->start, r->size_bytes);
}

/* ---- what is around a block, in its pages ---- */

static void set_bounds(const struct hardened *h, struct span *span)
{
    struct pair border = border_of(h, span->start);
    if (span->start != first_page(h, span))
        set_border(border, span->start);
    set_canary(border, span->start, span->asked_bytes, span->slot_bytes);
}

static bool front_is_whole(const struct hardened *h, const struct span *span)
{
    const char *page = first_page(h, span), *start = span->start;
    return start == page || (border_is(border_of(h, start), start) &&
                             reads_zero(page, start - BORDER_BYTES));
}

void big_check(struct hardened *h, const struct span *span, const char *p)
{
    if (!canary_is_whole(h, border_of(h, p), p, span->asked_bytes,
                         span->slot_bytes))
        hardened_refuse(h, span, p,
                        "overflow: the bytes behind it were written to");
    if (!front_is_whole(h, span))
        hardened_refuse(h, span, p,
                        "underflow: the bytes before it were written to");
}

/* Reserved, or mapped. NULL = no room in the window, or no memory. */
static struct span *fresh_place(struct hardened *h, size_t bytes, bool reserved)
{
    struct hak_box *box = h->box;
    struct span *span = take_struct(h);
    if (span == NULL)
        return NULL;
    span->place = reserved ? box->host->reserve(box, bytes, 0)
                           : box->host->map(box, bytes, 0, HAK_MAP_ZERO);
    if (span->place == NULL) {
        put_struct(h, span);
        return NULL;
    }
    span->place_bytes = bytes;
    span->class_number = CLASSES;
    span->capacity = span->nused = 1;
    span->guarded = reserved;
    return span;
}

/*
 * In a place that was kept, or a fresh one. One where somebody else has mapped
 * is his: nothing of it is touched again.
 */
static struct span *guarded_block(struct hardened *h, const struct request *r)
{
    struct hak_box *box = h->box;
    size_t all = r->bytes + 2 * HAK_GRANULE_BYTES;
    for (;;) {
        struct span *span = take_kept(h, all / HAK_GRANULE_BYTES);
        bool again = span != NULL;
        if (span == NULL)
            span = fresh_place(h, all, true);
        if (span == NULL)
            return NULL;
        lay_out(h, span, r);
        size_t bytes = open_bytes(h, span);
        int error = box->host->open_pages(
            box, first_page(h, span), bytes,
            again && bytes <= NOW_MOST_BYTES ? HAK_OPEN_NOW : 0);
        if (error == 0)
            return span;
        if (error != -EEXIST) {
            give_back(h, span);
            return NULL;
        }
        hak_map_set(&h->map, span->place, all, NULL);
    }
}

static struct span *unguarded_block(struct hardened *h, const struct request *r)
{
    struct span *span = fresh_place(h, r->bytes, false);
    if (span != NULL)
        lay_out(h, span, r);
    return span;
}

static struct span *any_block(struct hardened *h, const struct request *r)
{
    struct span *span = NULL;
    if (hardened_take_guard(h) && (span = guarded_block(h, r)) == NULL)
        hardened_drop_guard(h);
    return span != NULL ? span : unguarded_block(h, r);
}

static void count_block(struct hardened *h, const struct span *span, int sign)
{
    int64_t bytes = sign * (int64_t)span->slot_bytes;
    hardened_count_in_use(h, bytes);
    hak_count_shared(&h->now->big.count, sign);
    hak_count_shared(&h->now->big.bytes, bytes);
}

/* NULL = no memory. */
static struct span *block_for(struct hardened *h, const struct request *r)
{
    struct span *span = any_block(h, r);
    if (span == NULL)
        return NULL;
    set_bounds(h, span);
    hak_map_set(&h->map, span->place, span->place_bytes, span);
    count_block(h, span, 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    set_note(span, 0, NOTE_OUT);
    return span;
}

void *big_alloc(struct hardened *h, size_t align_bytes, size_t size_bytes)
{
    size_t window = h->box->host->window_bytes;
    if (size_bytes > window || align_bytes > window)
        return NULL;
    size_t room = align_bytes > HAK_GRANULE_BYTES ? align_bytes : 0;
    struct request r = {align_bytes, size_bytes,
                        hak_round_up(size_bytes + room, HAK_GRANULE_BYTES),
                        false};
    struct span *span = block_for(h, &r);
    if (span == NULL) {
        hardened_give_back(h);
        span = block_for(h, &r);
    }
    return span != NULL ? span->start : NULL;
}

void big_free(struct hardened *h, struct span *span, void *p)
{
    struct big *big = &h->now->big;
    big_check(h, span, p);
    if (unlikely((take_note(span, 0) & NOTE_OUT) == 0))
        hardened_refuse(h, span, p, "freed twice");
    count_block(h, span, -1);
    span->unclosed = !close_block(h, span);
    span->next = NULL;
    hak_lock_take(&big->lock);
    *big->newest = span;
    big->newest = &span->next;
    big->nwaiting++;
    hak_lock_drop(&big->lock);
    while ((span = next_to_go(h, h->most_waiting)) != NULL)
        end_wait(h, span);
}

/* ---- realloc ---- */

static void set_room(struct hardened *h, struct span *span, size_t room)
{
    int64_t more = (int64_t)(room - span->slot_bytes);
    hardened_count_in_use(h, more);
    hak_count_shared(&h->now->big.bytes, more);
    span->slot_bytes = room;
}

/* More pages, if there is room for them. */
static bool open_more(struct hardened *h, struct span *span, size_t room)
{
    struct hak_box *box = h->box;
    char *end = span->start + span->slot_bytes;
    size_t more = room - span->slot_bytes;
    if (room > (size_t)(limit_of(span) - span->start))
        return false;
    if (more != 0 && span->guarded &&
        box->host->open_pages(box, end, more, HAK_OPEN_NOW) != 0)
        return false;
    set_room(h, span, room);
    return true;
}

/* What is behind the block reads zero again, and is closed if it can be. */
static void close_rest(struct hardened *h, struct span *span, size_t size_bytes)
{
    struct hak_box *box = h->box;
    size_t room = room_for(h, span->start, size_bytes);
    char *end = span->start + room;
    size_t rest = span->slot_bytes - room;
    bool closed =
        rest != 0 && span->guarded && box->host->close_pages(box, end, rest);
    memset(span->start + size_bytes, 0,
           (closed ? room : span->slot_bytes) - size_bytes);
    if (closed || !span->guarded)
        set_room(h, span, room);
}

static void *moved(struct hardened *h, struct span *span, size_t size_bytes)
{
    struct request r = {HAK_ALIGN_BYTES, size_bytes,
                        hak_round_up(size_bytes * 2, HAK_GRANULE_BYTES), true};
    if (size_bytes > h->box->host->window_bytes)
        return NULL;
    struct span *to = block_for(h, &r);
    if (to == NULL)
        return NULL;
    memcpy(to->start, span->start, span->asked_bytes);
    big_free(h, span, span->start);
    return to->start;
}

/* Fewer, or as many as are open. */
void big_set_asked(struct hardened *h, struct span *span, size_t size_bytes)
{
    drop_canary(span->start, span->asked_bytes, span->slot_bytes);
    if (size_bytes < span->asked_bytes)
        close_rest(h, span, size_bytes);
    span->asked_bytes = size_bytes;
    set_canary(border_of(h, span->start), span->start, size_bytes,
               span->slot_bytes);
}

/* NULL: the core copies it to a place that has no more room than it needs. */
void *big_resize(struct hardened *h, struct span *span, char *p,
                 size_t size_bytes)
{
    if (size_bytes < span->asked_bytes / 2)
        return NULL;
    if (size_bytes > span->asked_bytes &&
        !open_more(h, span, room_for(h, p, size_bytes)))
        return moved(h, span, size_bytes);
    big_set_asked(h, span, size_bytes);
    return p;
}

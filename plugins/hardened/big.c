/* SPDX-License-Identifier: MIT
 * big.c - large blocks: granules of their own, between guards.
 *
 *     | closed   |  page  |  page  | ...  |  page  |        closed |
 *     place            start           start + slot_bytes
 *
 * A block ends at the end of a granule, as far as its alignment allows, and the
 * next granule is closed, so that the first byte there faults. What is in front
 * of its first page is closed too. The bytes between the block and its pages,
 * at either end, are canary and zeros (bounds.h), which free checks. A freed
 * block is closed whole, which gives its memory and its mapping back, and waits
 * in the quarantine: any use of it faults. After that its place is kept, still
 * closed, for a block that needs as much, or goes back to the host.
 *
 * A block that realloc makes larger moves to the start of a place with room for
 * as much again. The room is address space, which costs nothing; its pages are
 * opened as the block grows. So an array that grows step by step is copied only
 * as often as its size doubles.
 *
 * When no more blocks may lie between guards (most_guarded are, or the kernel
 * has no mapping left), a block lies in memory that the host has mapped, side
 * by side with others, and takes no mapping of its own. Such a block waits in
 * the quarantine purged, but open.
 */
#include "bounds.h"

#include <errno.h>

enum {
    NOW_MOST_BYTES = 128 * 1024, /* reused places up to this are populated */
    KEPT_MOST_BYTES = 64 << 20,  /* most address space of kept places */
};

void big_init(struct hardened *h)
{
    h->now->big.newest = &h->now->big.oldest;
}

/* ---- the open pages of a block ---- */

static char *first_page(const struct hardened *h, const struct slab *slab)
{
    uintptr_t page = h->box->host->os_page_bytes;
    return (char *)((uintptr_t)slab->start & ~(page - 1));
}

static size_t open_bytes(const struct hardened *h, const struct slab *slab)
{
    return (size_t)(slab->start + slab->slot_bytes - first_page(h, slab));
}

/* ---- structs and kept places ---- */

static struct slab *take_struct(struct hardened *h)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    struct slab *slab = big->spare;
    if (slab != NULL)
        big->spare = slab->next;
    hak_lock_drop(&big->lock);
    if (slab == NULL)
        slab = hardened_struct(h, 1, SLOT_MOST_BYTES);
    return slab;
}

static void put_struct(struct hardened *h, struct slab *slab)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    slab->next = big->spare;
    big->spare = slab;
    hak_lock_drop(&big->lock);
}

/* A kept place of that many granules; NULL = none. */
static struct slab *take_kept(struct hardened *h, size_t granules)
{
    struct big *big = &h->now->big;
    if (granules >= BIG_KEPT_GRANULES)
        return NULL;
    hak_lock_take(&big->lock);
    struct slab *slab = big->kept[granules];
    if (slab != NULL) {
        big->kept[granules] = slab->next;
        hak_count(&big->kept_bytes, -slab->place_bytes);
    }
    hak_lock_drop(&big->lock);
    return slab;
}

static void put_kept(struct hardened *h, size_t granules, struct slab *slab)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    slab->next = big->kept[granules];
    big->kept[granules] = slab;
    hak_count(&big->kept_bytes, slab->place_bytes);
    hak_lock_drop(&big->lock);
}

static void give_back(struct hardened *h, struct slab *slab)
{
    struct hak_box *box = h->box;
    hak_map_set(&h->map, slab->place, slab->place_bytes, NULL);
    if (slab->guarded)
        box->host->unreserve(box, slab->place, slab->place_bytes);
    else
        box->host->unmap(box, slab->place, slab->place_bytes);
    put_struct(h, slab);
}

/*
 * Close the pages of a freed block. One without guards is purged instead.
 * False: the kernel refuses, which it does only when the program has mapped
 * something itself in both guards and has no mapping left.
 */
static bool close_block(struct hardened *h, struct slab *slab)
{
    struct hak_box *box = h->box;
    if (!slab->guarded) {
        box->host->purge(box, slab->place, slab->place_bytes);
        return true;
    }
    if (!box->host->close_pages(box, first_page(h, slab), open_bytes(h, slab)))
        return false;
    hardened_drop_guard(h);
    return true;
}

/* Keep the place of a block, or give it back. Two threads that do this at once
 * may keep a little more than KEPT_MOST_BYTES. */
static void keep(struct hardened *h, struct slab *slab)
{
    size_t granules = slab->place_bytes / HAK_GRANULE_BYTES;
    if (!slab->guarded || granules >= BIG_KEPT_GRANULES ||
        hak_counted(&h->now->big.kept_bytes) + slab->place_bytes >
            KEPT_MOST_BYTES)
        give_back(h, slab);
    else
        put_kept(h, granules, slab);
}

static void put_unclosed(struct hardened *h, struct slab *slab)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    slab->next = big->unclosed;
    __atomic_store_n(&big->unclosed, slab, __ATOMIC_RELAXED);
    hak_lock_drop(&big->lock);
}

static struct slab *take_unclosed(struct hardened *h)
{
    struct big *big = &h->now->big;
    if (likely(__atomic_load_n(&big->unclosed, __ATOMIC_RELAXED) == NULL))
        return NULL;
    hak_lock_take(&big->lock);
    struct slab *slab = big->unclosed;
    if (slab != NULL)
        __atomic_store_n(&big->unclosed, slab->next, __ATOMIC_RELAXED);
    hak_lock_drop(&big->lock);
    return slab;
}

/* A block leaves the quarantine. Blocks that could not be closed when they left
 * it are tried again. */
static void end_wait(struct hardened *h, struct slab *slab)
{
    for (; slab != NULL; slab = take_unclosed(h)) {
        if (unlikely(slab->unclosed) && !close_block(h, slab)) {
            put_unclosed(h, slab);
            return;
        }
        slab->unclosed = false;
        keep(h, slab);
    }
}

/* Take the oldest block out of the quarantine if more than `most` are in it;
 * else NULL. */
static struct slab *next_to_go(struct hardened *h, uint32_t most)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    struct slab *slab = big->nwaiting > most ? big->oldest : NULL;
    if (slab != NULL) {
        big->nwaiting--;
        big->oldest = slab->next;
        if (big->oldest == NULL)
            big->newest = &big->oldest;
    }
    hak_lock_drop(&big->lock);
    return slab;
}

void big_give_back(struct hardened *h)
{
    struct slab *slab;
    end_wait(h, take_unclosed(h));
    while ((slab = next_to_go(h, 0)) != NULL)
        end_wait(h, slab);
    for (size_t granules = 0; granules < BIG_KEPT_GRANULES; granules++)
        while ((slab = take_kept(h, granules)) != NULL)
            give_back(h, slab);
}

/* ---- blocks ---- */

struct request {
    size_t align_bytes, size_bytes;
    size_t bytes; /* in granules, with room for the alignment or to grow */
    bool grows;
};

/* The end of the bytes that a block may use in its place. */
static char *limit_of(const struct slab *slab)
{
    return slab->place + slab->place_bytes -
           (slab->guarded ? HAK_GRANULE_BYTES : 0);
}

/* Bytes from start to the end of the page in which the block ends. What is
 * closed behind that page is the guard. */
static size_t room_for(const struct hardened *h, const char *start,
                       size_t size_bytes)
{
    uintptr_t end = (uintptr_t)start + size_bytes;
    return hak_round_up(end, h->box->host->os_page_bytes) - (uintptr_t)start;
}

/* Lay out the block: at the end of its place, in front of the guard; or at the
 * start of its place when it is to grow. */
static void lay_out(const struct hardened *h, struct slab *slab,
                    const struct request *r)
{
    uintptr_t start = (uintptr_t)limit_of(slab) - r->size_bytes;
    if (r->grows)
        start =
            (uintptr_t)slab->place + (slab->guarded ? HAK_GRANULE_BYTES : 0);
    slab->start = (char *)(start & ~(r->align_bytes - 1));
    slab->asked_bytes = r->size_bytes;
    slab->slot_bytes = room_for(h, slab->start, r->size_bytes);
}

/* ---- canary and border of a block ---- */

static void set_bounds(const struct hardened *h, struct slab *slab)
{
    struct pair border = border_of(h, slab->start);
    if (slab->start != first_page(h, slab))
        set_border(border, slab->start);
    set_canary(border, slab->start, slab->asked_bytes, slab->slot_bytes);
}

static bool front_is_whole(const struct hardened *h, const struct slab *slab)
{
    const char *page = first_page(h, slab), *start = slab->start;
    return start == page || (border_is(border_of(h, start), start) &&
                             reads_zero(page, start - BORDER_BYTES));
}

void big_check(struct hardened *h, const struct slab *slab, const char *p)
{
    if (!canary_is_whole(h, border_of(h, p), p, slab->asked_bytes,
                         slab->slot_bytes))
        hardened_refuse(h, slab, p,
                        "overflow: the bytes behind it were written to");
    if (!front_is_whole(h, slab))
        hardened_refuse(h, slab, p,
                        "underflow: the bytes before it were written to");
}

/* A new place of so many bytes, reserved or mapped. NULL = the window is full,
 * or no memory. */
static struct slab *fresh_place(struct hardened *h, size_t bytes, bool reserved)
{
    struct hak_box *box = h->box;
    struct slab *slab = take_struct(h);
    if (slab == NULL)
        return NULL;
    slab->place = reserved ? box->host->reserve(box, bytes, 0)
                           : box->host->map(box, bytes, 0, HAK_MAP_ZERO);
    if (slab->place == NULL) {
        put_struct(h, slab);
        return NULL;
    }
    slab->place_bytes = bytes;
    slab->class_number = CLASSES;
    slab->capacity = slab->nused = 1;
    slab->guarded = reserved;
    return slab;
}

/*
 * A block between guards, in a kept place or a fresh one. A place where the
 * program has mapped something itself (-EEXIST) is left alone for good.
 */
static struct slab *guarded_block(struct hardened *h, const struct request *r)
{
    struct hak_box *box = h->box;
    size_t all = r->bytes + 2 * HAK_GRANULE_BYTES;
    for (;;) {
        struct slab *slab = take_kept(h, all / HAK_GRANULE_BYTES);
        bool again = slab != NULL;
        if (slab == NULL)
            slab = fresh_place(h, all, true);
        if (slab == NULL)
            return NULL;
        lay_out(h, slab, r);
        size_t bytes = open_bytes(h, slab);
        int error = box->host->open_pages(
            box, first_page(h, slab), bytes,
            again && bytes <= NOW_MOST_BYTES ? HAK_OPEN_NOW : 0);
        if (error == 0)
            return slab;
        if (error != -EEXIST) {
            give_back(h, slab);
            return NULL;
        }
        hak_map_set(&h->map, slab->place, all, NULL);
    }
}

static struct slab *unguarded_block(struct hardened *h, const struct request *r)
{
    struct slab *slab = fresh_place(h, r->bytes, false);
    if (slab != NULL)
        lay_out(h, slab, r);
    return slab;
}

static struct slab *any_block(struct hardened *h, const struct request *r)
{
    struct slab *slab = NULL;
    if (hardened_take_guard(h) && (slab = guarded_block(h, r)) == NULL)
        hardened_drop_guard(h);
    return slab != NULL ? slab : unguarded_block(h, r);
}

static void count_block(struct hardened *h, const struct slab *slab, int sign)
{
    int64_t bytes = sign * (int64_t)slab->slot_bytes;
    hardened_count_in_use(h, bytes);
    hak_count_shared(&h->now->big.count, sign);
    hak_count_shared(&h->now->big.bytes, bytes);
}

/* A block that is set up and entered in the map; NULL = no memory. */
static struct slab *block_for(struct hardened *h, const struct request *r)
{
    struct slab *slab = any_block(h, r);
    if (slab == NULL)
        return NULL;
    set_bounds(h, slab);
    hak_map_set(&h->map, slab->place, slab->place_bytes, slab);
    count_block(h, slab, 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    set_note(slab, 0, NOTE_OUT);
    return slab;
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
    struct slab *slab = block_for(h, &r);
    if (slab == NULL) {
        hardened_give_back(h);
        slab = block_for(h, &r);
    }
    return slab != NULL ? slab->start : NULL;
}

void big_free(struct hardened *h, struct slab *slab, void *p)
{
    struct big *big = &h->now->big;
    big_check(h, slab, p);
    if (unlikely((take_note(slab, 0) & NOTE_OUT) == 0))
        hardened_refuse(h, slab, p, "freed twice");
    count_block(h, slab, -1);
    slab->unclosed = !close_block(h, slab);
    slab->next = NULL;
    hak_lock_take(&big->lock);
    *big->newest = slab;
    big->newest = &slab->next;
    big->nwaiting++;
    hak_lock_drop(&big->lock);
    while ((slab = next_to_go(h, h->most_waiting)) != NULL)
        end_wait(h, slab);
}

/* ---- realloc ---- */

static void set_room(struct hardened *h, struct slab *slab, size_t room)
{
    int64_t more = (int64_t)(room - slab->slot_bytes);
    hardened_count_in_use(h, more);
    hak_count_shared(&h->now->big.bytes, more);
    slab->slot_bytes = room;
}

/* Open pages so that the block has `room` bytes. False: its place has no room
 * for them, or they cannot be opened. */
static bool open_more(struct hardened *h, struct slab *slab, size_t room)
{
    struct hak_box *box = h->box;
    char *end = slab->start + slab->slot_bytes;
    size_t more = room - slab->slot_bytes;
    if (room > (size_t)(limit_of(slab) - slab->start))
        return false;
    if (more != 0 && slab->guarded &&
        box->host->open_pages(box, end, more, HAK_OPEN_NOW) != 0)
        return false;
    set_room(h, slab, room);
    return true;
}

/* The block shrinks to size_bytes: close the pages behind it if possible, and
 * zero what stays open. */
static void close_rest(struct hardened *h, struct slab *slab, size_t size_bytes)
{
    struct hak_box *box = h->box;
    size_t room = room_for(h, slab->start, size_bytes);
    char *end = slab->start + room;
    size_t rest = slab->slot_bytes - room;
    bool closed =
        rest != 0 && slab->guarded && box->host->close_pages(box, end, rest);
    memset(slab->start + size_bytes, 0,
           (closed ? room : slab->slot_bytes) - size_bytes);
    if (closed || !slab->guarded)
        set_room(h, slab, room);
}

static void *moved(struct hardened *h, struct slab *slab, size_t size_bytes)
{
    struct request r = {HAK_ALIGN_BYTES, size_bytes,
                        hak_round_up(size_bytes * 2, HAK_GRANULE_BYTES), true};
    if (size_bytes > h->box->host->window_bytes)
        return NULL;
    struct slab *to = block_for(h, &r);
    if (to == NULL)
        return NULL;
    memcpy(to->start, slab->start, slab->asked_bytes);
    big_free(h, slab, slab->start);
    return to->start;
}

/* size_bytes is smaller than before, or fits the open pages. */
void big_set_asked(struct hardened *h, struct slab *slab, size_t size_bytes)
{
    drop_canary(slab->start, slab->asked_bytes, slab->slot_bytes);
    if (size_bytes < slab->asked_bytes)
        close_rest(h, slab, size_bytes);
    slab->asked_bytes = size_bytes;
    set_canary(border_of(h, slab->start), slab->start, size_bytes,
               slab->slot_bytes);
}

/* NULL: the core copies the block to one that has no more room than it needs.
 */
void *big_resize(struct hardened *h, struct slab *slab, char *p,
                 size_t size_bytes)
{
    if (size_bytes < slab->asked_bytes / 2)
        return NULL;
    if (size_bytes > slab->asked_bytes &&
        !open_more(h, slab, room_for(h, p, size_bytes)))
        return moved(h, slab, size_bytes);
    big_set_asked(h, slab, size_bytes);
    return p;
}

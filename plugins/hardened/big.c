/* SPDX-License-Identifier: MIT
 * big.c - blocks too large for a slot: a mapping each, between guards.
 *
 *     | closed              |  page  |  page  | ...  |  page  | guard |
 *     mapped                     start               start + slot_bytes
 *
 * A block ends where its guard begins, so that the first byte behind it faults,
 * and what is in front of its first page is closed too. A freed one is closed
 * whole and waits so: any use of it faults. What has waited is kept for blocks
 * that need as much, closed still, or goes back to the host.
 */
#include "hardened.h"

#include <sys/mman.h>

enum {
    WIPE_MOST_BYTES = 128 * 1024, /* what costs less than fresh pages do */
    KEPT_MOST_BYTES = 64 << 20,   /* of address space */
    WARM_MOST_BYTES = 16 << 20,   /* of blocks with pages */
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
        span = hardened_struct(h, 1);
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

/* Of that many granules, or of list 0; NULL = none. */
static struct span *take_kept(struct hardened *h, size_t list)
{
    struct big *big = &h->now->big;
    if (list >= BIG_KEPT_GRANULES)
        return NULL;
    hak_lock_take(&big->lock);
    struct span *span = big->kept[list];
    if (span != NULL) {
        big->kept[list] = span->next;
        big->kept_bytes -= span->mapped_bytes;
        big->warm_bytes -= span->warm ? span->slot_bytes : 0;
    }
    hak_lock_drop(&big->lock);
    return span;
}

static void put_kept(struct hardened *h, size_t list, struct span *span)
{
    struct big *big = &h->now->big;
    hak_lock_take(&big->lock);
    span->next = big->kept[list];
    big->kept[list] = span;
    big->kept_bytes += span->mapped_bytes;
    big->warm_bytes += span->warm ? span->slot_bytes : 0;
    hak_lock_drop(&big->lock);
}

/*
 * What the kernel does not open cannot be anybody else's: it stays with us, in
 * list 0, for the next trim.
 */
static size_t give_back(struct hardened *h, struct span *span)
{
    struct hak_box *box = h->box;
    size_t bytes = span->mapped_bytes;
    if (unlikely(!hardened_open(span->mapped, bytes))) {
        put_kept(h, 0, span);
        return 0;
    }
    (void)!madvise(span->mapped, bytes, MADV_DODUMP);
    hak_map_set(&h->map, span->mapped, bytes, NULL);
    box->host->unmap(box, span->mapped, bytes);
    span->mapped_bytes = 0;
    put_struct(h, span);
    return bytes;
}

/* One that has waited. Two threads at once may keep a little more. */
static void keep(struct hardened *h, struct span *span)
{
    const struct big *big = &h->now->big;
    size_t bytes = span->mapped_bytes, granules = bytes / HAK_GRANULE_BYTES;
    if (!span->wiped || granules >= BIG_KEPT_GRANULES ||
        hak_counted(&big->kept_bytes) + bytes > KEPT_MOST_BYTES) {
        give_back(h, span);
        return;
    }
    if (span->warm &&
        hak_counted(&big->warm_bytes) + span->slot_bytes > WARM_MOST_BYTES) {
        h->box->host->purge(h->box, span->mapped, bytes);
        span->warm = false;
    }
    put_kept(h, granules, span);
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

/* All of a list: some of it may come back to list 0. */
static size_t give_back_kept(struct hardened *h, size_t list)
{
    struct span *first = NULL, *span;
    size_t bytes = 0;
    while ((span = take_kept(h, list)) != NULL) {
        span->next = first;
        first = span;
    }
    while ((span = first) != NULL) {
        first = span->next;
        bytes += give_back(h, span);
    }
    return bytes;
}

size_t big_trim(struct hardened *h)
{
    size_t bytes = 0;
    struct span *span;
    while ((span = next_to_go(h, 0)) != NULL)
        bytes += give_back(h, span);
    for (size_t list = 0; list < BIG_KEPT_GRANULES; list++)
        bytes += give_back_kept(h, list);
    return bytes;
}

/* ---- blocks ---- */

static void place(struct span *span, size_t align_bytes, size_t size_bytes)
{
    char *end = span->mapped + span->mapped_bytes - HAK_GRANULE_BYTES;
    span->start = (char *)(((uintptr_t)end - size_bytes) & ~(align_bytes - 1));
    span->slot_bytes = (size_t)(end - span->start);
}

/* Marked so that no core dump has it, its mapping stays apart from the block's:
 * to close that and to open it again splits and joins nothing. */
static void guard(char *p, size_t bytes)
{
    hardened_close(p, bytes);
    (void)!madvise(p, bytes, MADV_DONTDUMP);
}

static bool map_block(struct hardened *h, struct span *span, size_t all,
                      size_t align_bytes, size_t size_bytes)
{
    span->mapped = h->box->host->map(h->box, all, 0, HAK_MAP_ZERO);
    if (span->mapped == NULL)
        return false;
    span->mapped_bytes = all;
    span->class_number = CLASSES;
    span->capacity = span->nused = 1;
    place(span, align_bytes, size_bytes);
    guard(span->mapped, (size_t)(first_page(h, span) - span->mapped));
    guard(span->start + span->slot_bytes, HAK_GRANULE_BYTES);
    hak_map_set(&h->map, span->mapped, all, span);
    return true;
}

static struct span *fresh_block(struct hardened *h, size_t all,
                                size_t align_bytes, size_t size_bytes)
{
    struct span *span = take_struct(h);
    if (span == NULL || map_block(h, span, all, align_bytes, size_bytes))
        return span;
    if (big_trim(h) != 0 && map_block(h, span, all, align_bytes, size_bytes))
        return span;
    put_struct(h, span);
    return NULL;
}

/* A block that was kept, or NULL. */
static struct span *reopened(struct hardened *h, size_t all, size_t align_bytes,
                             size_t size_bytes)
{
    struct span *span = take_kept(h, all / HAK_GRANULE_BYTES);
    if (span == NULL)
        return NULL;
    place(span, align_bytes, size_bytes);
    if (hardened_open(first_page(h, span), open_bytes(h, span)))
        return span;
    span->warm = false; /* what it counts for is not known any more */
    put_kept(h, 0, span);
    return NULL;
}

void *big_alloc(struct hardened *h, size_t align_bytes, size_t size_bytes)
{
    size_t window = h->box->host->window_bytes;
    if (size_bytes > window || align_bytes > window)
        return NULL;
    size_t room = align_bytes > HAK_GRANULE_BYTES ? align_bytes : 0;
    size_t all = hak_round_up(size_bytes + room, HAK_GRANULE_BYTES) +
                 2 * HAK_GRANULE_BYTES;
    struct span *span = reopened(h, all, align_bytes, size_bytes);
    if (span == NULL)
        span = fresh_block(h, all, align_bytes, size_bytes);
    if (span == NULL)
        return NULL;
    hardened_count_in_use(h, (int64_t)span->slot_bytes);
    hak_count_shared(&h->now->big.count, 1);
    hak_count_shared(&h->now->big.bytes, (int64_t)span->slot_bytes);
    __atomic_store_n(&span->bits->out, 1, __ATOMIC_RELEASE);
    return span->start;
}

/* Zero from now on, and closed. */
static void close_block(struct hardened *h, struct span *span)
{
    char *from = first_page(h, span);
    size_t bytes = open_bytes(h, span);
    span->warm = bytes <= WIPE_MOST_BYTES;
    if (span->warm)
        memset(from, 0, bytes);
    span->wiped = span->warm || madvise(from, bytes, MADV_DONTNEED) == 0;
    hardened_close(from, bytes);
}

void big_free(struct hardened *h, struct span *span, void *p)
{
    struct big *big = &h->now->big;
    if (unlikely(__atomic_exchange_n(&span->bits->out, 0, __ATOMIC_ACQ_REL) ==
                 0))
        hardened_refuse(h, span, p, "freed twice");
    hardened_count_in_use(h, -(int64_t)span->slot_bytes);
    hak_count_shared(&big->count, -1);
    hak_count_shared(&big->bytes, -(int64_t)span->slot_bytes);
    close_block(h, span);
    span->next = NULL;
    hak_lock_take(&big->lock);
    *big->newest = span;
    big->newest = &span->next;
    big->nwaiting++;
    hak_lock_drop(&big->lock);
    while ((span = next_to_go(h, h->most_waiting)) != NULL)
        keep(h, span);
}

/* SPDX-License-Identifier: MIT
 * big.c - blocks too large for a slot: a mapping each, between guards.
 *
 * A block ends where its guard begins, so that the first byte behind it faults.
 * A freed one is closed whole and waits so: any use of it faults. The oldest
 * goes back to the host.
 */
#include "hardened.h"

void big_init(struct hardened *h, uint32_t quarantine)
{
    h->most_waiting = quarantine;
    h->newest = &h->oldest;
}

static struct span *take_struct(struct hardened *h)
{
    hak_lock_take(&h->big_lock);
    struct span *span = h->spare;
    if (span != NULL)
        h->spare = span->next;
    hak_lock_drop(&h->big_lock);
    if (span == NULL)
        span = hardened_struct(h, 1);
    return span;
}

static void put_struct(struct hardened *h, struct span *span)
{
    hak_lock_take(&h->big_lock);
    span->next = h->spare;
    h->spare = span;
    hak_lock_drop(&h->big_lock);
}

static void give_back(struct hardened *h, struct span *span)
{
    struct hak_box *box = h->box;
    hak_map_set(&h->map, span->mapped, span->mapped_bytes, NULL);
    hardened_open(h, span->mapped, span->mapped_bytes);
    box->host->unmap(box, span->mapped, span->mapped_bytes);
    span->mapped_bytes = 0;
    put_struct(h, span);
}

/* The oldest of those that wait, when they are more than `most`; or NULL. */
static struct span *next_to_go(struct hardened *h, uint32_t most)
{
    hak_lock_take(&h->big_lock);
    struct span *span = h->nwaiting > most ? h->oldest : NULL;
    if (span != NULL) {
        h->nwaiting--;
        h->oldest = span->next;
        if (h->oldest == NULL)
            h->newest = &h->oldest;
    }
    hak_lock_drop(&h->big_lock);
    return span;
}

size_t big_trim(struct hardened *h)
{
    size_t bytes = 0;
    struct span *span;
    while ((span = next_to_go(h, 0)) != NULL) {
        bytes += span->mapped_bytes;
        give_back(h, span);
    }
    return bytes;
}

static bool map_block(struct hardened *h, struct span *span, size_t align_bytes,
                      size_t size_bytes)
{
    size_t room = align_bytes > HAK_GRANULE_BYTES ? align_bytes : 0;
    size_t body = hak_round_up(size_bytes + room, HAK_GRANULE_BYTES);
    size_t all = body + 2 * HAK_GRANULE_BYTES;
    char *mapped = h->box->host->map(h->box, all, 0, HAK_MAP_ZERO);
    if (mapped == NULL)
        return false;
    char *end = mapped + HAK_GRANULE_BYTES + body;
    uintptr_t start = ((uintptr_t)end - size_bytes) & ~(align_bytes - 1);
    span->mapped = mapped;
    span->mapped_bytes = all;
    span->start = (char *)start;
    span->slot_bytes = (size_t)(end - span->start);
    span->class_number = CLASSES;
    span->capacity = span->nused = 1;
    hardened_close(h, mapped, HAK_GRANULE_BYTES);
    hardened_close(h, end, HAK_GRANULE_BYTES);
    return true;
}

void *big_alloc(struct hardened *h, size_t align_bytes, size_t size_bytes)
{
    size_t window = h->box->host->window_bytes;
    if (size_bytes > window || align_bytes > window)
        return NULL;
    struct span *span = take_struct(h);
    if (span == NULL)
        return NULL;
    if (!map_block(h, span, align_bytes, size_bytes) &&
        (big_trim(h) == 0 || !map_block(h, span, align_bytes, size_bytes))) {
        put_struct(h, span);
        return NULL;
    }
    hak_map_set(&h->map, span->mapped, span->mapped_bytes, span);
    hardened_count_in_use(h, (int64_t)span->slot_bytes);
    hak_count_shared(&h->big_count, 1);
    hak_count_shared(&h->big_bytes, (int64_t)span->slot_bytes);
    __atomic_store_n(span->out, 1, __ATOMIC_RELEASE);
    return span->start;
}

void big_free(struct hardened *h, struct span *span, void *p)
{
    if (unlikely(__atomic_exchange_n(span->out, 0, __ATOMIC_ACQ_REL) == 0))
        hardened_refuse(h, span, p, "freed twice");
    hardened_count_in_use(h, -(int64_t)span->slot_bytes);
    hak_count_shared(&h->big_count, -1);
    hak_count_shared(&h->big_bytes, -(int64_t)span->slot_bytes);
    hardened_close(h, span->mapped, span->mapped_bytes);
    h->box->host->purge(h->box, span->mapped, span->mapped_bytes);
    span->next = NULL;
    hak_lock_take(&h->big_lock);
    *h->newest = span;
    h->newest = &span->next;
    h->nwaiting++;
    hak_lock_drop(&h->big_lock);
    while ((span = next_to_go(h, h->most_waiting)) != NULL)
        give_back(h, span);
}

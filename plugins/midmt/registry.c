/* SPDX-License-Identifier: MIT
 * registry.c - every segment of the box, sorted by address: see registry.h.
 */
#include "registry.h"

#include <errno.h>

int registry_init(struct registry *r, struct hak_box *box, size_t capacity)
{
    const struct hak_host *host = box->host;
    if (host->window_bytes >> HAK_GRANULE_SHIFT > UINT32_MAX ||
        capacity > UINT32_MAX)
        return -EOVERFLOW;
    for (int i = 0; i < 2; i++) {
        struct registry_side *side = &r->side[i];
        side->first = host->meta(box, capacity * sizeof *side->first);
        side->segment = host->meta(box, capacity * sizeof *side->segment);
        if (side->first == NULL || side->segment == NULL)
            return -ENOMEM;
    }
    r->window_base = host->window_base;
    r->window_bytes = host->window_bytes;
    r->capacity = (uint32_t)capacity;
    r->tries = REGISTRY_TRIES;
    return 0;
}

void registry_chain(struct registry *r, struct segment *s)
{
    s->all_next = __atomic_load_n(&r->all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&r->all, &s->all_next, s, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

static uint32_t granule_of(const struct registry *r, const void *p)
{
    return (uint32_t)(((uintptr_t)p - r->window_base) >> HAK_GRANULE_SHIFT);
}

/* ---- readers ----------------------------------------------------------- */

static uint32_t entry_first(const struct registry_side *side, uint32_t i)
{
    return __atomic_load_n(&side->first[i], __ATOMIC_RELAXED);
}

/*
 * How many entries have first <= granule. A writer may overwrite the side
 * meanwhile: every value read is some entry, and n <= capacity at any time.
 */
static uint32_t upper_bound(const struct registry_side *side, uint32_t n,
                            uint32_t granule)
{
    uint32_t low = 0;
    if (n == 0)
        return 0;
    while (n > 1) { /* no branch on data: half the time, test_registry cost */
        uint32_t half = n / 2;
        low += half & -(uint32_t)(entry_first(side, low + half - 1) <= granule);
        n -= half;
    }
    return low + (entry_first(side, low) <= granule);
}

static struct segment *search(const struct registry_side *side,
                              uint32_t granule)
{
    uint32_t n = __atomic_load_n(&side->n, __ATOMIC_RELAXED);
    uint32_t at = upper_bound(side, n, granule);
    return at == 0 ? NULL
                   : __atomic_load_n(&side->segment[at - 1], __ATOMIC_RELAXED);
}

struct segment *registry_scan(const struct registry *r, const void *p)
{
    struct segment *s = __atomic_load_n(&r->all, __ATOMIC_ACQUIRE);
    while (s != NULL && !segment_contains(s, p))
        s = s->all_next;
    return s;
}

struct segment *registry_find(const struct registry *r, const void *p)
{
    if ((uintptr_t)p - r->window_base >= r->window_bytes)
        return NULL;
    uint32_t granule = granule_of(r, p);
    for (uint32_t i = 0; i < r->tries; i++) {
        /* acquire: pairs with the release that published this version */
        uint64_t seq = __atomic_load_n(&r->seq, __ATOMIC_ACQUIRE);
        struct segment *s = search(&r->side[seq >> 1 & 1], granule);
        if (s != NULL && segment_contains(s, p))
            return s;
        /* pairs with the release fence in begin_write: if the search read
         * anything of the version after next, seq shows that it began */
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t now = __atomic_load_n(&r->seq, __ATOMIC_RELAXED);
        if (now - (seq & ~1ull) <= 2)
            return NULL;
    }
    return registry_scan(r, p);
}

/* ---- writers ----------------------------------------------------------- */

/* Under the lock. The side that readers do not search. */
static struct registry_side *begin_write(struct registry *r,
                                         const struct registry_side **from)
{
    uint64_t version = r->seq >> 1;
    __atomic_store_n(&r->seq, r->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *from = &r->side[version & 1];
    return &r->side[(version + 1) & 1];
}

static void end_write(struct registry *r, struct registry_side *to, uint32_t n)
{
    __atomic_store_n(&to->n, n, __ATOMIC_RELAXED);
    __atomic_store_n(&r->seq, r->seq + 1, __ATOMIC_RELEASE);
}

static void set(struct registry_side *to, uint32_t at, uint32_t first,
                struct segment *s)
{
    __atomic_store_n(&to->first[at], first, __ATOMIC_RELAXED);
    __atomic_store_n(&to->segment[at], s, __ATOMIC_RELAXED);
}

/* Entries [at, end) of `from`, moved by `shift` (-1, 0, 1). */
static void copy(struct registry_side *to, const struct registry_side *from,
                 uint32_t at, uint32_t end, int shift)
{
    for (; at < end; at++)
        set(to, at + (uint32_t)shift, from->first[at], from->segment[at]);
}

int registry_add(struct registry *r, struct segment *s)
{
    const struct registry_side *from;
    hak_lock_take(&r->lock);
    if (r->side[r->seq >> 1 & 1].n == r->capacity) {
        hak_lock_drop(&r->lock);
        return -ENOSPC;
    }
    struct registry_side *to = begin_write(r, &from);
    uint32_t first = granule_of(r, segment_base(s));
    uint32_t at = upper_bound(from, from->n, first);
    copy(to, from, 0, at, 0);
    set(to, at, first, s);
    copy(to, from, at, from->n, 1);
    end_write(r, to, from->n + 1);
    hak_lock_drop(&r->lock);
    return 0;
}

void registry_remove(struct registry *r, const struct segment *s)
{
    const struct registry_side *from;
    hak_lock_take(&r->lock);
    struct registry_side *to = begin_write(r, &from);
    uint32_t end = upper_bound(from, from->n, granule_of(r, segment_base(s)));
    HAK_ALWAYS(end != 0 && from->segment[end - 1] == s);
    copy(to, from, 0, end - 1, 0);
    copy(to, from, end, from->n, -1);
    end_write(r, to, from->n - 1);
    hak_lock_drop(&r->lock);
}

void registry_check(const struct registry *r)
{
    const struct registry_side *side = &r->side[r->seq >> 1 & 1];
    uint32_t used = 0;
    HAK_ALWAYS(r->seq % 2 == 0);
    HAK_ALWAYS(side->n <= r->capacity);
    for (uint32_t i = 0; i < side->n; i++) {
        const struct segment *s = side->segment[i];
        uint32_t end = side->first[i] + segment_ngranules(s);
        HAK_ALWAYS(side->first[i] == granule_of(r, segment_base(s)));
        HAK_ALWAYS(i + 1 == side->n || end <= side->first[i + 1]);
    }
    for (const struct segment *s = r->all; s != NULL; s = s->all_next)
        used += segment_range(s) != 0;
    HAK_ALWAYS(used == side->n);
}

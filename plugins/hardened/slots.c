/* SPDX-License-Identifier: MIT
 * slots.c - classes of slots: regions, spans, random choice, quarantine.
 */
#include "hardened.h"

#include <sys/single_threaded.h>

enum {
    SPAN_SLOTS_MIN = 4,
    REGION_SPANS_FIRST = 8,
    REGION_SPANS_MOST = 64,        /* bits of `taken` */
    QUARANTINE_BYTES = 128 * 1024, /* of one class, in each half, at most */
};

/* ---- locks -----------------------------------------------------------------
 */

/*
 * A process of one thread needs none, and two atomics are two thirds of what a
 * call costs. libc knows, and nothing here starts a thread halfway.
 */
static void lock(struct class *c)
{
    if (!__libc_single_threaded)
        hak_lock_take(&c->lock);
}

static void unlock(struct class *c)
{
    if (!__libc_single_threaded)
        hak_lock_drop(&c->lock);
}

/* ---- randomness -----------------------------------------------------------
 */

/* Where slots go is to be hard to guess from the outside, no more. */
static uint32_t rnd(struct class *c, uint32_t n)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)((c->random >> 32) * n >> 32);
}

void slots_seed(struct hardened *h)
{
    for (uint32_t i = 0; i < CLASSES; i++)
        h->class[i].random = h->box->host->random() | 1;
}

/* ---- canaries -------------------------------------------------------------
 */

/* The first byte behind the slot is 0, which ends a string that is read on. */
static uint64_t canary_of(const struct hardened *h, const void *p)
{
    return ((uintptr_t)p ^ h->secret) * 0x9e3779b97f4a7c15ull & ~0xffull;
}

static uint64_t *canary_at(const struct span *span, void *p)
{
    return (uint64_t *)(void *)((char *)p + usable_of(span));
}

/* ---- spans ----------------------------------------------------------------
 */

static size_t span_bytes(const struct class *c)
{
    return c->span_granules * HAK_GRANULE_BYTES;
}

/* The last page of a span is its guard, and the next span's in front. */
static uint32_t span_slots(const struct hardened *h, const struct class *c)
{
    size_t guard = h->guard ? h->box->host->os_page_bytes : 0;
    return (uint32_t)((span_bytes(c) - guard) / c->slot_bytes);
}

void slots_init(struct hardened *h, uint32_t quarantine)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = &h->class[i];
        c->box = h->box;
        c->slot_bytes = i == 0 ? HAK_ALIGN_BYTES : (uint32_t)hak_index_bytes(i);
        c->span_granules = 1;
        while (span_slots(h, c) < SPAN_SLOTS_MIN)
            c->span_granules++;
        c->nwait =
            (uint32_t)hak_min(quarantine, QUARANTINE_BYTES / c->slot_bytes);
        hak_link_init(&c->partial);
        hak_link_init(&c->empty);
    }
    slots_seed(h);
}

/* A region more, twice as many spans as the last had, behind a guard. */
static bool grow(struct hardened *h, struct class *c)
{
    struct hak_box *box = h->box;
    uint32_t n = c->nspans == 0 ? REGION_SPANS_FIRST : c->nspans * 2;
    char *base = NULL;
    for (n = n > REGION_SPANS_MOST ? REGION_SPANS_MOST : n; n != 0; n /= 2) {
        base = box->host->map(box, HAK_GRANULE_BYTES + n * span_bytes(c), 0,
                              HAK_MAP_ZERO);
        if (base != NULL)
            break;
    }
    if (base == NULL)
        return false;
    hardened_close(h, base, HAK_GRANULE_BYTES);
    c->region = base + HAK_GRANULE_BYTES;
    c->nspans = n;
    c->taken = 0;
    return true;
}

/* A place of the newest region that nobody has, at random. */
static char *place(struct hardened *h, struct class *c)
{
    if (c->taken == hak_bits_mask(0, 0, c->nspans) && !grow(h, c))
        return NULL;
    uint32_t i = rnd(c, c->nspans);
    while (c->taken >> i & 1)
        i = (i + 1) % c->nspans;
    c->taken |= 1ull << i;
    return c->region + i * span_bytes(c);
}

/* What is behind the slots; the page in front, whose span nobody may have had
 * yet; and slots of no bytes themselves. */
static void close_around(struct hardened *h, const struct class *c,
                         const struct span *span)
{
    size_t page = h->box->host->os_page_bytes;
    size_t open = hak_round_up((size_t)span->capacity * c->slot_bytes, page);
    if (span->class_number == 0)
        open = 0;
    if (h->guard || open == 0)
        hardened_close(h, span->start + open, span_bytes(c) - open);
    if (h->guard)
        hardened_close(h, span->start - page, page);
}

static struct span *fresh_span(struct hardened *h, struct class *c)
{
    uint32_t capacity = span_slots(h, c);
    if (c->made == NULL)
        c->made = hardened_struct(h, capacity);
    char *start = c->made != NULL ? place(h, c) : NULL;
    if (start == NULL)
        return NULL;
    struct span *span = c->made;
    c->made = NULL;
    span->start = start;
    span->capacity = capacity;
    span->slot_bytes = c->slot_bytes;
    span->inverse = ((uint64_t)1 << 40) / c->slot_bytes + 1;
    span->class_number = (uint8_t)(c - h->class);
    close_around(h, c, span);
    hak_map_set(&h->map, start, span_bytes(c), span);
    return span;
}

/* The lock is held. The first of the class with a free slot. */
static struct span *span_with_room(struct hardened *h, struct class *c)
{
    if (!hak_link_empty(&c->partial))
        return hak_item(c->partial.next, struct span, link);
    struct span *span;
    if (!hak_link_empty(&c->empty)) {
        span = hak_item(c->empty.next, struct span, link);
        hak_link_remove(&span->link);
        c->nwarm -= span->warm;
        span->warm = false;
    } else if ((span = fresh_span(h, c)) == NULL) {
        return NULL;
    }
    hak_link_after(&c->partial, &span->link);
    hardened_count_in_use(h, (int64_t)span_bytes(c));
    return span;
}

/* Of an empty span; it reads zero all the same. */
static size_t purge(struct hardened *h, struct class *c, struct span *span)
{
    h->box->host->purge(h->box, span->start, span_bytes(c));
    return span_bytes(c);
}

/* The lock is held. The slot may be handed out again. */
static void release(struct hardened *h, struct class *c, void *p)
{
    struct span *span = span_of(h, p);
    HAK_ALWAYS(span != NULL); /* spans of slots stay in the map */
    size_t i = index_of(span, (size_t)((char *)p - span->start));
    hak_bits_clear(span->used, i, 1);
    if (span->nused-- == span->capacity)
        hak_link_after(c->partial.prev, &span->link); /* the last */
    if (span->nused != 0)
        return;
    hak_link_remove(&span->link);
    hardened_count_in_use(h, -(int64_t)span_bytes(c));
    if (c->nwarm * span_bytes(c) < h->keep_bytes) {
        span->warm = true;
        c->nwarm++;
        hak_link_after(&c->empty, &span->link);
    } else {
        hak_link_after(c->empty.prev, &span->link); /* the last */
        purge(h, c, span);
    }
}

/*
 * A freed slot changes places with a random one of `shuffle`, that with the
 * oldest of `queue`; what comes out is free. The lock is held.
 */
static void quarantine(struct hardened *h, struct class *c, char *p)
{
    if (c->nwait == 0) {
        release(h, c, p);
        return;
    }
    uint32_t i = rnd(c, c->nwait);
    char *waited = c->shuffle[i];
    c->shuffle[i] = p;
    if (waited == NULL)
        return;
    char *out = c->queue[c->at];
    c->queue[c->at] = waited;
    c->at = (c->at + 1) % c->nwait;
    if (out != NULL)
        release(h, c, out);
}

/* ---- slots ----------------------------------------------------------------
 */

static void *take(struct hardened *h, struct class *c, struct span **from)
{
    lock(c);
    struct span *span = *from = span_with_room(h, c);
    if (span == NULL) {
        unlock(c);
        return NULL;
    }
    size_t near = rnd(c, span->capacity);
    size_t i = hak_bits_next(span->used, ~0ull, near, span->capacity);
    if (i == span->capacity)
        i = hak_bits_next(span->used, ~0ull, 0, near);
    hak_bits_set(span->used, i, 1);
    hak_bits_set(span->out, i, 1);
    if (++span->nused == span->capacity)
        hak_link_remove(&span->link);
    hak_count(&c->nout, 1);
    unlock(c);
    return span->start + i * c->slot_bytes;
}

/* bytes: a multiple of 16, from such an address on. */
static bool is_zero(const void *p, size_t bytes)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    const pair *at = p;
    pair any = {0, 0};
    for (size_t i = 0; i < bytes / sizeof *at; i++)
        any |= at[i];
    return (any[0] | any[1]) == 0;
}

void *slots_alloc(struct hardened *h, uint32_t class_number)
{
    struct class *c = &h->class[class_number];
    struct span *span;
    void *p = take(h, c, &span);
    if (p == NULL || class_number == 0)
        return p;
    if (h->zero && unlikely(!is_zero(p, c->slot_bytes))) {
        h->box->host->log(h->box, HAK_LOG_ERROR,
                          "malloc(%zu): the free slot %p was written to since "
                          "its free",
                          usable_of(span), p);
        abort();
    }
    *canary_at(span, p) = canary_of(h, p);
    return p;
}

/*
 * Its bytes are wiped before the lock is taken: the slot is nobody else's. Two
 * frees at once both come as far as the lock.
 */
void slots_free(struct hardened *h, struct span *span, void *p)
{
    struct class *c = &h->class[span->class_number];
    size_t i = index_of(span, (size_t)((char *)p - span->start));
    if (span->class_number != 0) {
        if (unlikely(*canary_at(span, p) != canary_of(h, p)))
            hardened_refuse(h, span, p,
                            "overflow: the bytes behind it were written to");
        if (h->zero)
            memset(p, 0, c->slot_bytes);
    }
    lock(c);
    if (unlikely(!hak_bit(span->out, i)))
        hardened_refuse(h, span, p, "freed twice");
    hak_bits_clear(span->out, i, 1);
    hak_count(&c->nout, -(uint64_t)1);
    quarantine(h, c, p);
    unlock(c);
}

size_t slots_trim(struct hardened *h)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = &h->class[i];
        lock(c);
        for (struct hak_link *at = c->empty.next; at != &c->empty;
             at = at->next) {
            struct span *span = hak_item(at, struct span, link);
            bytes += span->warm ? purge(h, c, span) : 0;
            span->warm = false;
        }
        c->nwarm = 0;
        unlock(c);
    }
    return bytes;
}

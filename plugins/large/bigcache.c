/* SPDX-License-Identifier: MIT
 * bigcache.c - see bigcache.h. */
#include "bigcache.h"

#include <boxkit/bits.h>

/* Bin of a size: granules 1 2 3 4 5 6 7 8 10 12 14 16 20 ..., rounded down. */
static uint32_t bin_of(size_t bytes)
{
    size_t n = bytes >> HAK_GRANULE_SHIFT;
    uint32_t log2 = 63u - (uint32_t)__builtin_clzl(n | 1);
    uint32_t quarter = log2 >= 2 ? (uint32_t)(n >> (log2 - 2)) & 3
                                 : (uint32_t)(n << (2 - log2)) & 3;
    uint32_t bin = log2 * 4 + quarter;
    return bin < BIGCACHE_BINS ? bin : BIGCACHE_BINS - 1;
}

void bigcache_init(struct bigcache *c)
{
    for (uint32_t i = 0; i < BIGCACHE_BINS; i++)
        hak_link_init(&c->bin[i]);
    hak_link_init(&c->age);
}

void bigcache_put(struct bigcache *c, struct block *b, uint64_t now_ms)
{
    uint32_t bin = bin_of(b->bytes);
    b->state = BLOCK_CACHED;
    b->freed_ms = now_ms;
    hak_link_after(&c->bin[bin], &b->bin);
    hak_link_after(&c->age, &b->age);
    hak_bits_set(c->filled, bin, 1);
    c->bytes += b->bytes;
}

void bigcache_remove(struct bigcache *c, struct block *b)
{
    uint32_t bin = bin_of(b->bytes);
    hak_link_remove(&b->bin);
    hak_link_remove(&b->age);
    if (hak_link_empty(&c->bin[bin]))
        hak_bits_clear(c->filled, bin, 1);
    c->bytes -= b->bytes;
}

static struct block *fit_in(struct hak_link *head, size_t bytes, size_t most,
                            size_t align)
{
    enum { LOOKS = 8 }; /* a bound on the time under the lock */
    int looks = 0;
    for (struct hak_link *at = head->next; at != head && looks < LOOKS;
         at = at->next, looks++) {
        struct block *b = hak_item(at, struct block, bin);
        if (b->bytes >= bytes && b->bytes <= most &&
            ((uintptr_t)b->start & (align - 1)) == 0)
            return b;
    }
    return NULL;
}

struct block *bigcache_get(struct bigcache *c, size_t bytes, size_t align)
{
    size_t most = bytes + bytes / 4;
    size_t last = bin_of(most);
    for (size_t bin = hak_bits_next(c->filled, 0, bin_of(bytes), last + 1);
         bin <= last; bin = hak_bits_next(c->filled, 0, bin + 1, last + 1)) {
        struct block *b = fit_in(&c->bin[bin], bytes, most, align);
        if (b != NULL) {
            bigcache_remove(c, b);
            return b;
        }
    }
    return NULL;
}

struct block *bigcache_oldest(const struct bigcache *c)
{
    return hak_link_empty(&c->age) ? NULL
                                   : hak_item(c->age.prev, struct block, age);
}

void bigcache_check(struct bigcache *c)
{
    size_t bytes = 0, n = 0;
    for (uint32_t i = 0; i < BIGCACHE_BINS; i++) {
        struct hak_link *head = &c->bin[i];
        HAK_ALWAYS(hak_bit(c->filled, i) == !hak_link_empty(head));
        for (struct hak_link *at = head->next; at != head; at = at->next, n++) {
            struct block *b = hak_item(at, struct block, bin);
            HAK_ALWAYS(b->state == BLOCK_CACHED && bin_of(b->bytes) == i);
            bytes += b->bytes;
        }
    }
    for (struct hak_link *at = c->age.next; at != &c->age; at = at->next)
        n--;
    HAK_ALWAYS(n == 0 && bytes == c->bytes);
}

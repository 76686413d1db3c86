/* SPDX-License-Identifier: MIT
 * blocks.c - address -> block, see blocks.h. */
#include "blocks.h"

#include <kit/bits.h>
#include <errno.h>

_Static_assert(sizeof(struct block) == 64, "one cache line");

enum { SLAB_BLOCKS = 63 }; /* made at a time: an OS page by host->meta */

/* A table of `bits` for each of n granules. A core without window_table gets a
 * sparse one from meta, which costs address space. */
static void *table(struct hak_box *box, size_t n, uint32_t bits)
{
    return HAK_HAS(box->host, window_table)
               ? box->host->window_table(box, bits)
               : box->host->meta(box, HAK_BITS_WORDS(n * bits) * 8);
}

int blocks_init(struct blocks *blocks, struct hak_box *box)
{
    const struct hak_host *host = box->host;
    size_t n = host->window_bytes >> HAK_GRANULE_SHIFT;
    size_t nstarts = HAK_BITS_WORDS(n), nwords = HAK_BITS_WORDS(nstarts);
    blocks->box = box;
    blocks->base = host->window_base;
    blocks->entry = table(box, n, 64);
    blocks->starts = table(box, n, 1);
    blocks->words = host->meta(box, nwords * sizeof(uint64_t));
    if (blocks->entry == NULL || blocks->starts == NULL ||
        blocks->words == NULL)
        return -ENOMEM;
    blocks->n = n;
    hak_link_init(&blocks->spare);
    return 0;
}

/* ---- the structs ------------------------------------------------------- */

/* Make SLAB_BLOCKS spare structs. Call it without the lock: host->meta may map.
 */
static bool add_slab(struct blocks *blocks)
{
    struct block *slab =
        blocks->box->host->meta(blocks->box, SLAB_BLOCKS * sizeof *slab);
    if (slab == NULL)
        return false;
    hak_lock_take(&blocks->lock);
    for (size_t i = SLAB_BLOCKS; i-- > 0;)
        hak_link_after(&blocks->spare, &slab[i].same);
    blocks->made += SLAB_BLOCKS;
    hak_count(&blocks->nspare, SLAB_BLOCKS);
    hak_lock_drop(&blocks->lock);
    return true;
}

static struct block *take_spare(struct blocks *blocks)
{
    struct block *b = NULL;
    hak_lock_take(&blocks->lock);
    if (!hak_link_empty(&blocks->spare)) {
        b = hak_item(blocks->spare.next, struct block, same);
        hak_link_remove(&b->same);
        hak_count(&blocks->nspare, (uint64_t)-1);
    }
    hak_lock_drop(&blocks->lock);
    return b;
}

struct block *blocks_new(struct blocks *blocks)
{
    struct block *b;
    while ((b = take_spare(blocks)) == NULL)
        if (!add_slab(blocks))
            return NULL;
    return b;
}

void blocks_stock(struct blocks *blocks)
{
    if (unlikely(hak_counted(&blocks->nspare) == 0))
        add_slab(blocks);
}

void blocks_recycle(struct blocks *blocks, struct block *b)
{
    __atomic_store_n(&b->state, BLOCK_SPARE, __ATOMIC_RELEASE);
    hak_lock_take(&blocks->lock);
    hak_link_after(&blocks->spare, &b->same);
    hak_count(&blocks->nspare, 1);
    hak_lock_drop(&blocks->lock);
}

/* ---- writers ----------------------------------------------------------- */

static size_t granule_of(const struct blocks *blocks, const void *p)
{
    return ((uintptr_t)p - blocks->base) >> HAK_GRANULE_SHIFT;
}

/* Writers hold the lock, so no read-modify-write is needed. Readers see the old
 * word or the new one. */
static void change_bit(uint64_t *map, size_t i, bool set)
{
    uint64_t bit = 1ull << (i & 63);
    uint64_t word = set ? map[i >> 6] | bit : map[i >> 6] & ~bit;
    __atomic_store_n(&map[i >> 6], word, __ATOMIC_RELEASE);
}

void blocks_enter(struct blocks *blocks, struct block *b)
{
    size_t g = granule_of(blocks, b->base);
    hak_lock_take(&blocks->lock);
    HAK_ALWAYS(g < blocks->n && blocks->entry[g] == NULL);
    __atomic_store_n(&blocks->entry[g], b, __ATOMIC_RELEASE);
    change_bit(blocks->starts, g, true);
    change_bit(blocks->words, g >> 6, true);
    blocks->entered++;
    hak_lock_drop(&blocks->lock);
}

void blocks_leave(struct blocks *blocks, struct block *b)
{
    size_t g = granule_of(blocks, b->base);
    hak_lock_take(&blocks->lock);
    HAK_ALWAYS(g < blocks->n && blocks->entry[g] == b);
    change_bit(blocks->starts, g, false);
    if (blocks->starts[g >> 6] == 0)
        change_bit(blocks->words, g >> 6, false);
    __atomic_store_n(&blocks->entry[g], NULL, __ATOMIC_RELEASE);
    blocks->entered--;
    hak_lock_drop(&blocks->lock);
}

/* Set the length of a kept block. Its former color and size are lost. */
static void set_length(struct block *b, size_t ngranules)
{
    __atomic_store_n(&b->color, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&b->size_bytes, ngranules << HAK_GRANULE_SHIFT,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&b->ngranules, (uint32_t)ngranules, __ATOMIC_RELAXED);
}

struct block *blocks_split(struct blocks *blocks, struct block *b,
                           size_t ngranules)
{
    struct block *rest = take_spare(blocks);
    if (rest == NULL)
        return NULL;
    HAK_ALWAYS(ngranules != 0 && ngranules < b->ngranules);
    rest->base = b->base + (ngranules << HAK_GRANULE_SHIFT);
    rest->freed_ms = b->freed_ms;
    rest->freed_turn = b->freed_turn;
    rest->huge = b->huge;
    set_length(rest, b->ngranules - ngranules);
    set_length(b, ngranules); /* before another block starts in it */
    __atomic_store_n(&rest->state, b->state, __ATOMIC_RELAXED);
    blocks_enter(blocks, rest);
    return rest;
}

void blocks_join(struct blocks *blocks, struct block *b, struct block *right)
{
    HAK_ALWAYS(b->base + block_bytes(b) == right->base);
    blocks_leave(blocks, right);
    set_length(b, (size_t)b->ngranules + right->ngranules);
    blocks_recycle(blocks, right);
}

/* ---- readers ----------------------------------------------------------- */

static uint64_t read_word(const uint64_t *map, size_t w)
{
    return __atomic_load_n(&map[w], __ATOMIC_ACQUIRE);
}

/* The highest set bit of map at or below i, or HAK_BITS_NONE. */
static size_t last_before(const uint64_t *map, size_t i)
{
    size_t w = i >> 6;
    uint64_t word = read_word(map, w) & (~0ull >> (63 - (i & 63)));
    while (word == 0) {
        if (w-- == 0)
            return HAK_BITS_NONE;
        word = read_word(map, w);
    }
    return w * 64 + 63 - (size_t)__builtin_clzll(word);
}

/* The nearest start at or below granule g, or HAK_BITS_NONE. */
static size_t start_before(const struct blocks *blocks, size_t g)
{
    size_t w = g >> 6;
    uint64_t word = read_word(blocks->starts, w) & (~0ull >> (63 - (g & 63)));
    while (word == 0) {
        if (w == 0)
            return HAK_BITS_NONE;
        w = last_before(blocks->words, w - 1);
        if (w == HAK_BITS_NONE)
            return HAK_BITS_NONE;
        word = read_word(blocks->starts, w); /* 0: a writer is clearing it */
    }
    return w * 64 + 63 - (size_t)__builtin_clzll(word);
}

struct block *blocks_around(const struct blocks *blocks, const void *p)
{
    size_t g = granule_of(blocks, p);
    if (g >= blocks->n)
        return NULL;
    size_t start = start_before(blocks, g);
    if (start == HAK_BITS_NONE)
        return NULL;
    struct block *b = __atomic_load_n(&blocks->entry[start], __ATOMIC_ACQUIRE);
    if (b == NULL || g - start >= block_bytes(b) >> HAK_GRANULE_SHIFT)
        return NULL;
    return b;
}

struct block *blocks_right(const struct blocks *blocks, const struct block *b)
{
    const char *end = b->base + block_bytes(b);
    size_t g = granule_of(blocks, end);
    if (g >= blocks->n)
        return NULL;
    return __atomic_load_n(&blocks->entry[g], __ATOMIC_ACQUIRE);
}

struct block *blocks_left(const struct blocks *blocks, const struct block *b)
{
    return blocks_around(blocks, b->base - 1); /* blocks do not overlap */
}

/* The lowest set bit of map at or above i and below end, or end. */
static size_t first_after(const uint64_t *map, size_t i, size_t end)
{
    while (i < end) {
        uint64_t word = read_word(map, i >> 6) >> (i & 63);
        if (word != 0)
            return i + (size_t)__builtin_ctzll(word);
        i = (i | 63) + 1;
    }
    return end;
}

/* The nearest start at or above granule g, or blocks->n. */
static size_t start_after(const struct blocks *blocks, size_t g)
{
    size_t nstarts = HAK_BITS_WORDS(blocks->n), w = g >> 6;
    if (g >= blocks->n)
        return blocks->n;
    size_t end = w * 64 + 64, at = first_after(blocks->starts, g, end);
    while (at == end) {
        w = first_after(blocks->words, w + 1, nstarts);
        if (w == nstarts)
            return blocks->n;
        end = w * 64 + 64;
        at = first_after(blocks->starts, w * 64, end);
    }
    return at;
}

struct block *blocks_next(const struct blocks *blocks, size_t *g)
{
    for (size_t at = *g; (at = start_after(blocks, at)) < blocks->n; at++) {
        struct block *b = __atomic_load_n(&blocks->entry[at], __ATOMIC_ACQUIRE);
        if (b != NULL) {
            *g = at + 1;
            return b;
        }
    }
    return NULL;
}

/* ---- validator --------------------------------------------------------- */

void blocks_check(struct blocks *blocks)
{
    size_t entered = 0, free_from = 0;
    hak_lock_take(&blocks->lock);
    for (size_t w = 0; w < HAK_BITS_WORDS(blocks->n); w++)
        HAK_ALWAYS((blocks->starts[w] != 0) == hak_bit(blocks->words, w));
    struct block *b;
    for (size_t g = 0; (b = blocks_next(blocks, &g)) != NULL; entered++) {
        HAK_ALWAYS(granule_of(blocks, b->base) == g - 1);
        HAK_ALWAYS(g - 1 >= free_from && b->ngranules != 0);
        HAK_ALWAYS(b->size_bytes != 0);
        HAK_ALWAYS(b->color + b->size_bytes <= block_bytes(b));
        HAK_ALWAYS(b->state != BLOCK_SPARE);
        free_from = g - 1 + b->ngranules;
    }
    HAK_ALWAYS(entered == blocks->entered && free_from <= blocks->n);
    size_t spare = 0;
    for (struct hak_link *at = blocks->spare.next; at != &blocks->spare;
         at = at->next, spare++)
        HAK_ALWAYS(hak_item(at, struct block, same)->state == BLOCK_SPARE);
    HAK_ALWAYS(spare == blocks->nspare && spare + entered == blocks->made);
    hak_lock_drop(&blocks->lock);
}

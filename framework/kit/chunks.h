/* SPDX-License-Identifier: MIT
 * chunks.h - kit layer 3: aligned chunks of memory, handed out by granules.
 *
 * A box that uses memory by granules maps many at once. Its threads share one
 * store. That maps *chunks*, each aligned to its size, hands out their
 * granules, finds what the box keeps for an address, and gives memory back.
 *
 *     hak_chunks_init(&s, box, 1 << 20, 1)      false: no memory for the map
 *     start = hak_chunks_take(&s, &chunk);      64 KiB of any content, or NULL
 *     hak_map_set(&s.holders, start, HAK_GRANULE_BYTES, page);
 *     hak_map_get(&s.holders, start + 100)      page
 *     hak_chunks_give(&s, chunk, start, true);  somebody wrote to it
 *
 * A granule is taken from the chunk with the fewest free ones, so that others
 * can become empty. There it is the dirty one that came back last, since that
 * costs no page fault and may still be in a cache; else the lowest clean one.
 *
 * Up to `keep` chunks that are all free wait for the next take. When there is
 * one more, the one that has waited for longest goes to the host. What was not
 * needed for a purge delay goes with hak_chunks_tick. A purge takes granules as
 * a page does: nobody has them meanwhile, and their chunk is not unmapped.
 *
 * Invariants of a chunk (hak_chunks_check):
 *
 *     bit i of free  <=>  granule i has no holder, when nobody is at work
 *     old            is a subset of free & dirty
 *     link           in bin[number of bits in free], or in none: it is 0
 *     base == NULL   <=>  spare: free == dirty == 0
 *
 * Structs stay in the chain `all` for ever. `lock` guards what is below it in
 * the struct, and the chunks; `free` and `dirty` are read without it, too. Host
 * functions called under it are now_ms and meta: what goes back is taken first.
 * Why midmt's segments are no such chunks: docs/decisions.md, section kit.
 */
#ifndef HAK_KIT_CHUNKS_H
#define HAK_KIT_CHUNKS_H

#include "bits.h"
#include "list.h"
#include "map.h"
#include "sync.h"

enum { HAK_CHUNK_GRANULES_MAX = 32 }; /* bits of `free`: 2 MiB */

struct hak_chunk {
    char *base;           /* NULL: spare */
    struct hak_link link; /* in a bin */
    struct hak_chunk *spare_next, *all_next;
    uint64_t empty_since_ms;
    uint32_t free;
    uint32_t dirty; /* was written to, and was not purged since */
    uint32_t old;   /* was free and dirty at the last tick already */
    uint32_t given[HAK_CHUNK_GRANULES_MAX]; /* `ngiven` when it came back */
};

struct hak_chunks {
    struct hak_box *box;
    size_t chunk_bytes;        /* a power of two */
    uint32_t ngranules, whole; /* of a chunk; a bit for each */
    uint32_t keep;             /* empty chunks that wait; atomic */
    bool fresh_is_dirty; /* since the host hands on what others wrote to */
    size_t struct_bytes; /* of the box's struct that begins with a hak_chunk */
    struct hak_map holders;
    struct hak_chunk *all;
    uint64_t given_bytes, next_tick_ms; /* atomic; unmapped or purged, ever */
    struct hak_lock lock;
    struct hak_link bin[HAK_CHUNK_GRANULES_MAX + 1]; /* latest in front */
    uint64_t bins;           /* bit b: bin[b] has a chunk */
    uint32_t nempty, ngiven; /* chunks in bin[ngranules]; gives ever */
    struct hak_chunk *spare;
};

/* *s is zero; fresh_is_dirty and struct_bytes may be set. */
static inline bool hak_chunks_init(struct hak_chunks *s, struct hak_box *box,
                                   size_t chunk_bytes, uint32_t keep)
{
    s->box = box;
    s->chunk_bytes = chunk_bytes;
    s->keep = keep;
    s->struct_bytes = hak_max(s->struct_bytes, sizeof(struct hak_chunk));
    s->ngranules = (uint32_t)(chunk_bytes >> HAK_GRANULE_SHIFT);
    s->whole = (uint32_t)((1ull << s->ngranules) - 1);
    for (uint32_t b = 0; b <= s->ngranules; b++)
        hak_link_init(&s->bin[b]);
    return hak_map_init(&s->holders, box);
}

/* ---- the lock is held ---------------------------------------------------- */

/* These granules are free from now on, and these are dirty. */
static inline void hak_chunk_refile(struct hak_chunks *s,
                                    struct hak_chunk *chunk, uint32_t free,
                                    uint32_t dirty)
{
    uint32_t from = (uint32_t)__builtin_popcount(chunk->free);
    uint32_t to = (uint32_t)__builtin_popcount(free);
    __atomic_store_n(&chunk->free, free, __ATOMIC_RELAXED);
    __atomic_store_n(&chunk->dirty, dirty, __ATOMIC_RELAXED);
    if (from == to)
        return;
    if (from != 0)
        hak_link_remove(&chunk->link);
    if (hak_link_empty(&s->bin[from]))
        s->bins &= ~(1ull << from);
    if (to != 0) {
        hak_link_after(&s->bin[to], &chunk->link);
        s->bins |= 1ull << to;
    }
    s->nempty += (to == s->ngranules) - (uint32_t)(from == s->ngranules);
}

/* An empty chunk becomes a spare struct. Returns its memory, to unmap. */
static inline char *hak_chunk_detach(struct hak_chunks *s,
                                     struct hak_chunk *chunk)
{
    char *base = chunk->base;
    hak_chunk_refile(s, chunk, 0, 0);
    chunk->old = 0;
    chunk->base = NULL;
    chunk->spare_next = s->spare;
    s->spare = chunk;
    return base;
}

/* Granules come back. Returns memory to unmap, or NULL. */
static inline char *hak_chunk_return(struct hak_chunks *s,
                                     struct hak_chunk *chunk, uint32_t granules,
                                     uint32_t dirty)
{
    hak_chunk_refile(s, chunk, chunk->free | granules, chunk->dirty | dirty);
    if (chunk->free != s->whole)
        return NULL;
    chunk->empty_since_ms = s->box->host->now_ms();
    if (s->nempty <= __atomic_load_n(&s->keep, __ATOMIC_RELAXED))
        return NULL;
    struct hak_link *oldest = s->bin[s->ngranules].prev;
    return hak_chunk_detach(s, hak_item(oldest, struct hak_chunk, link));
}

/* A struct without memory, or NULL. */
static inline struct hak_chunk *hak_chunks_struct(struct hak_chunks *s)
{
    struct hak_chunk *chunk = s->spare;
    if (chunk != NULL) {
        s->spare = chunk->spare_next;
        return chunk;
    }
    chunk = s->box->host->meta(s->box, s->struct_bytes);
    if (chunk == NULL)
        return NULL;
    chunk->all_next = s->all; /* release: it is walked without the lock */
    __atomic_store_n(&s->all, chunk, __ATOMIC_RELEASE);
    return chunk;
}

static inline uint32_t hak_chunk_choose(const struct hak_chunk *chunk)
{
    uint32_t rest = chunk->free & chunk->dirty;
    uint32_t best = (uint32_t)__builtin_ctz(rest != 0 ? rest : chunk->free);
    for (; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(rest);
        if ((int32_t)(chunk->given[i] - chunk->given[best]) > 0)
            best = i;
    }
    return best;
}

/* ---- the lock is not held ------------------------------------------------ */

/* Map an empty chunk if no granule is free, or always. False: no memory.
 * Threads that start at once would have a chunk each, so whoever finds that
 * another was faster gives his back. */
static inline bool hak_chunks_grow(struct hak_chunks *s, bool always)
{
    const struct hak_host *host = s->box->host;
    char *base = host->map(s->box, s->chunk_bytes, s->chunk_bytes, 0);
    if (base == NULL)
        return false;
    hak_lock_take(&s->lock);
    bool wanted = always || s->bins == 0;
    struct hak_chunk *chunk = wanted ? hak_chunks_struct(s) : NULL;
    if (chunk != NULL) {
        chunk->base = base;
        chunk->empty_since_ms = host->now_ms();
        hak_chunk_refile(s, chunk, s->whole, s->fresh_is_dirty ? s->whole : 0);
    }
    hak_lock_drop(&s->lock);
    if (chunk == NULL)
        host->unmap(s->box, base, s->chunk_bytes);
    return chunk != NULL || !wanted;
}

/* A granule and its chunk, for hak_chunks_give. NULL: no memory. */
static inline char *hak_chunks_take(struct hak_chunks *s,
                                    struct hak_chunk **from)
{
    char *start = NULL;
    do {
        hak_lock_take(&s->lock);
        if (s->bins != 0) {
            struct hak_link *at = s->bin[__builtin_ctzll(s->bins)].next;
            struct hak_chunk *chunk = hak_item(at, struct hak_chunk, link);
            uint32_t i = hak_chunk_choose(chunk), rest = ~(1u << i);
            chunk->old &= rest;
            hak_chunk_refile(s, chunk, chunk->free & rest, chunk->dirty);
            *from = chunk;
            start = chunk->base + i * HAK_GRANULE_BYTES;
        }
        hak_lock_drop(&s->lock);
    } while (start == NULL && hak_chunks_grow(s, false));
    return start;
}

/* base: of a chunk that was detached, or NULL. */
static inline void hak_chunks_unmap(struct hak_chunks *s, char *base)
{
    if (base != NULL) {
        s->box->host->unmap(s->box, base, s->chunk_bytes);
        hak_count_shared(&s->given_bytes, (int64_t)s->chunk_bytes);
    }
}

/* A granule goes back, and is no longer found. */
static inline void hak_chunks_give(struct hak_chunks *s,
                                   struct hak_chunk *chunk, const char *start,
                                   bool written)
{
    size_t i = (size_t)(start - chunk->base) >> HAK_GRANULE_SHIFT;
    hak_map_set(&s->holders, start, HAK_GRANULE_BYTES, NULL);
    hak_lock_take(&s->lock);
    chunk->given[i] = ++s->ngiven;
    char *base = hak_chunk_return(s, chunk, 1u << i, (uint32_t)written << i);
    hak_lock_drop(&s->lock);
    hak_chunks_unmap(s, base);
}

/* ---- giving memory back -------------------------------------------------- */

/* One host call for each run of the map. */
static inline void hak_chunk_purge(struct hak_chunks *s,
                                   const struct hak_chunk *chunk, uint64_t map)
{
    size_t end, at = hak_bits_next(&map, 0, 0, s->ngranules);
    for (; at < s->ngranules; at = hak_bits_next(&map, 0, end, s->ngranules)) {
        end = hak_bits_next(&map, ~0ull, at, s->ngranules);
        char *start = chunk->base + at * HAK_GRANULE_BYTES;
        size_t bytes = (end - at) * HAK_GRANULE_BYTES;
        s->box->host->purge(s->box, start, bytes);
        hak_count_shared(&s->given_bytes, (int64_t)bytes);
    }
}

/* Unmap chunks that are empty since before_ms or longer. Of others, purge what
 * is free and dirty: all, or what was so at the last call already. */
static inline void hak_chunks_age(struct hak_chunks *s, bool all,
                                  uint64_t before_ms)
{
    struct hak_chunk *chunk = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; chunk != NULL; chunk = chunk->all_next) {
        char *base = NULL;
        hak_lock_take(&s->lock);
        bool empty = chunk->free == s->whole;
        uint32_t idle = empty ? 0 : chunk->free & chunk->dirty;
        uint32_t taken = all ? idle : idle & chunk->old;
        if (empty && chunk->empty_since_ms <= before_ms)
            base = hak_chunk_detach(s, chunk);
        chunk->old = idle & ~taken;
        hak_chunk_refile(s, chunk, chunk->free & ~taken, chunk->dirty & ~taken);
        hak_lock_drop(&s->lock);
        if (taken != 0) {
            hak_chunk_purge(s, chunk, taken);
            hak_lock_take(&s->lock);
            base = hak_chunk_return(s, chunk, taken, 0);
            hak_lock_drop(&s->lock);
        }
        hak_chunks_unmap(s, base);
    }
}

/* Twice in a purge delay, by whoever comes first. */
static inline void hak_chunks_tick(struct hak_chunks *s)
{
    uint64_t now_ms = s->box->host->now_ms();
    uint64_t delay_ms = s->box->host->purge_delay_ms();
    uint64_t next_ms = now_ms + hak_max(delay_ms / 2, 1);
    if (hak_is_due(&s->next_tick_ms, now_ms, next_ms))
        hak_chunks_age(s, false, now_ms > delay_ms ? now_ms - delay_ms : 0);
}

/* All that is free goes back. Returns the bytes that went meanwhile. */
static inline size_t hak_chunks_trim(struct hak_chunks *s)
{
    uint64_t before = hak_counted(&s->given_bytes);
    hak_chunks_age(s, true, UINT64_MAX);
    return hak_counted(&s->given_bytes) - before;
}

/* ---- figures, checks ----------------------------------------------------- */

/* Bytes of free granules, or of dirty ones; others at work blur it a little. */
static inline size_t hak_chunks_free_bytes(const struct hak_chunks *s,
                                           bool dirty_only)
{
    size_t n = 0;
    const struct hak_chunk *chunk = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; chunk != NULL; chunk = chunk->all_next) {
        uint32_t free = __atomic_load_n(&chunk->free, __ATOMIC_RELAXED);
        uint32_t dirty = __atomic_load_n(&chunk->dirty, __ATOMIC_RELAXED);
        n += (size_t)__builtin_popcount(dirty_only ? free & dirty : free);
    }
    return n << HAK_GRANULE_SHIFT;
}

static inline bool hak_chunk_check(const struct hak_chunks *s,
                                   const struct hak_chunk *chunk)
{
    HAK_ALWAYS((chunk->old & ~(chunk->free & chunk->dirty)) == 0);
    HAK_ALWAYS(hak_link_in_list(&chunk->link) == (chunk->free != 0));
    HAK_ALWAYS(chunk->base != NULL || (chunk->free | chunk->dirty) == 0);
    HAK_ALWAYS((uintptr_t)chunk->base % s->chunk_bytes == 0);
    for (uint32_t i = 0; chunk->base != NULL && i < s->ngranules; i++) {
        const char *at = chunk->base + i * HAK_GRANULE_BYTES;
        HAK_ALWAYS((chunk->free >> i & 1) == !hak_map_get(&s->holders, at));
    }
    return chunk->free != 0;
}

/* While nobody else uses the store. */
static inline void hak_chunks_check(const struct hak_chunks *s)
{
    size_t nlinked = 0;
    for (const struct hak_chunk *c = s->all; c != NULL; c = c->all_next)
        nlinked += hak_chunk_check(s, c);
    for (uint32_t b = 0; b <= s->ngranules; b++) {
        struct hak_link *at = s->bin[b].next;
        size_t n = 0;
        for (; at != &s->bin[b]; at = at->next, n++) {
            const struct hak_chunk *c = hak_item(at, struct hak_chunk, link);
            HAK_ALWAYS((uint32_t)__builtin_popcount(c->free) == b);
        }
        HAK_ALWAYS((s->bins >> b & 1) == (n != 0));
        HAK_ALWAYS(b != s->ngranules || n == s->nempty);
        nlinked -= n;
    }
    HAK_ALWAYS(nlinked == 0);
}

#endif

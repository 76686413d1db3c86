/* SPDX-License-Identifier: MIT
 * chunks.h - kit layer 3: aligned chunks of memory, handed out by granules.
 *
 * A box that needs single granules maps many at once, as a chunk. All its
 * threads share one store of chunks. The store maps chunks, each aligned to its
 * size, hands out their granules, finds the holder of an address, and gives
 * memory back.
 *
 *     hak_chunks_init(&s, box, 1 << 20, 1)      false: no memory for the map
 *     start = hak_chunks_take(&s, &chunk);      64 KiB of any content, or NULL
 *     hak_map_set(&s.holders, start, HAK_GRANULE_BYTES, page);
 *     hak_map_get(&s.holders, start + 100)      page
 *     hak_chunks_give(&s, chunk, start, true);  true: it was written to
 *
 * hak_chunks_take chooses the chunk with the fewest free granules, so that
 * other chunks can become empty. In this chunk it takes the dirty granule that
 * came back last, which costs no page fault and may still be in a cache; if
 * none is dirty, the lowest clean one.
 *
 * Up to `keep` empty chunks wait for the next take. When there is one more, the
 * one that has waited longest is unmapped. hak_chunks_tick gives back what was
 * not needed for a purge delay. A purge takes granules as a page does, so
 * nobody else gets them meanwhile, and their chunk is not unmapped.
 *
 * Invariants of a chunk (hak_chunks_check):
 *
 *     bit i of free  <=>  granule i has no holder, while no call is under way
 *     old            is a subset of free & dirty
 *     link           is in bin[number of bits in free]; in no bin if free == 0
 *     base == NULL   <=>  the struct is spare: free == dirty == 0
 *
 * Structs stay in the list `all` for ever.
 * Locks: s->lock guards the chunks and the members of hak_chunks after it.
 * `free` and `dirty` may be read without it. Of the host's functions only
 * now_ms and meta are called under it: memory to give back is taken out of its
 * chunk first. docs/decisions.md, section kit, says why midmt's segments are
 * not such chunks.
 */
#ifndef HAK_KIT_CHUNKS_H
#define HAK_KIT_CHUNKS_H

#include "list.h"
#include "map.h"
#include "sync.h"

enum { HAK_CHUNK_GRANULES_MAX = 32 }; /* bits of `free`: 2 MiB */

struct hak_chunk {
    char *base;           /* NULL: a spare struct */
    struct hak_link link; /* in a bin */
    struct hak_chunk *spare_next, *all_next;
    uint64_t empty_since_ms;
    uint32_t free;
    uint32_t dirty; /* granules that were written to and not purged since */
    uint32_t old;   /* granules that were free and dirty at the last tick */
    uint32_t given[HAK_CHUNK_GRANULES_MAX]; /* s->ngiven when it came back */
};

struct hak_chunks {
    struct hak_box *box;
    size_t chunk_bytes;        /* a power of two */
    uint32_t ngranules, whole; /* of a chunk; a bit for each */
    uint32_t keep;             /* empty chunks to keep; atomic */
    bool fresh_is_dirty; /* a new chunk counts as dirty, since the host may hand
                            on memory that was written to */
    size_t struct_bytes; /* of the box's struct that begins with a hak_chunk */
    struct hak_map holders;
    struct hak_chunk *all;
    /* Both atomic. given_bytes: unmapped or purged, in total. */
    uint64_t given_bytes, next_tick_ms;
    struct hak_lock lock;
    struct hak_link bin[HAK_CHUNK_GRANULES_MAX + 1]; /* last changed first */
    uint64_t bins;           /* bit b: bin[b] has a chunk */
    uint32_t nempty, ngiven; /* chunks in bin[ngranules]; gives in total */
    struct hak_chunk *spare;
};

/* Set a store up. *s is zero, except that fresh_is_dirty and struct_bytes may
 * be set. Returns false: no memory. */
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

/* ---- guarded by s->lock -------------------------------------------------- */

/* Set which granules of a chunk are free and dirty, and put the chunk into its
 * bin. */
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

/* Make an empty chunk a spare struct. Returns its memory, to be unmapped. */
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

/* Take granules back. Returns memory to be unmapped, or NULL. */
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
    chunk->all_next = s->all; /* release: `all` is read without the lock */
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

/* ---- without s->lock ----------------------------------------------------- */

/* Map an empty chunk if no granule is free, or always. Returns false: no
 * memory. If several threads come at once, each maps a chunk. A thread that
 * then finds free granules unmaps its own again. */
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

/* Take a granule. *from gets its chunk, for hak_chunks_give. NULL: no memory.
 */
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

/* Unmap the memory of a detached chunk, if base is not NULL. */
static inline void hak_chunks_unmap(struct hak_chunks *s, char *base)
{
    if (base != NULL) {
        s->box->host->unmap(s->box, base, s->chunk_bytes);
        hak_count_shared(&s->given_bytes, (int64_t)s->chunk_bytes);
    }
}

/* Give a granule back and clear its holder. */
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

/* Purge granules, with one call of the host for each run in the map, which has
 * at most HAK_CHUNK_GRANULES_MAX bits. */
static inline void hak_chunk_purge(struct hak_chunks *s,
                                   const struct hak_chunk *chunk, uint64_t map)
{
    while (map != 0) {
        size_t at = (size_t)__builtin_ctzll(map);
        size_t n = (size_t)__builtin_ctzll(~(map >> at));
        s->box->host->purge(s->box, chunk->base + at * HAK_GRANULE_BYTES,
                            n * HAK_GRANULE_BYTES);
        hak_count_shared(&s->given_bytes, (int64_t)(n * HAK_GRANULE_BYTES));
        map &= ~0ull << (at + n);
    }
}

/* Unmap chunks that have been empty since before_ms or longer. In other chunks
 * purge granules that are free and dirty: all of them, or those that were so at
 * the last call already. */
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

/* Age the store twice in a purge delay. The first thread that comes does it. */
static inline void hak_chunks_tick(struct hak_chunks *s)
{
    uint64_t now_ms = s->box->host->now_ms();
    uint64_t delay_ms = s->box->host->purge_delay_ms();
    uint64_t next_ms = now_ms + hak_max(delay_ms / 2, 1);
    if (hak_is_due(&s->next_tick_ms, now_ms, next_ms))
        hak_chunks_age(s, false, now_ms > delay_ms ? now_ms - delay_ms : 0);
}

/* Give all free memory back. Returns the bytes given back meanwhile, by any
 * thread. */
static inline size_t hak_chunks_trim(struct hak_chunks *s)
{
    uint64_t before = hak_counted(&s->given_bytes);
    hak_chunks_age(s, true, UINT64_MAX);
    return hak_counted(&s->given_bytes) - before;
}

/* ---- figures, checks ----------------------------------------------------- */

/* Bytes of free granules, or only of dirty ones. The figure may be a little
 * wrong while other threads use the store. */
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

/* Check the invariants. No other thread may use the store meanwhile. */
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

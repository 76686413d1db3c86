/* SPDX-License-Identifier: MIT
 * superslab.c - taking and giving back slabs: see superslab.h.
 */
#include "superslab.h"

bool superslabs_init(struct superslabs *s, bool reuse, uint32_t warm)
{
    s->reuse = reuse;
    s->chunks.struct_bytes = sizeof(struct superslab);
    s->chunks.fresh_is_dirty = true;
    return hak_chunks_init(&s->chunks, s->chunks.box, SUPERSLAB_BYTES,
                           reuse ? warm : 0);
}

uint32_t superslabs_prewarm(struct superslabs *s, uint32_t n)
{
    size_t step = s->chunks.box->host->os_page_bytes;
    uint32_t done = 0;
    for (; done < n && hak_chunks_grow(&s->chunks, true); done++)
        for (size_t at = 0; at < SUPERSLAB_BYTES; at += step)
            *(volatile char *)(s->chunks.all->base + at) = 0;
    return done;
}

struct slab *superslabs_take(struct superslabs *s)
{
    struct hak_chunk *chunk;
    char *start = hak_chunks_take(&s->chunks, &chunk);
    if (start == NULL)
        return NULL;
    struct superslab *super = superslab_of_chunk(chunk);
    struct slab *slab =
        &super->slab[(size_t)(start - chunk->base) / SLAB_BYTES];
    slab->start = start;
    slab->super = super;
    hak_map_set(&s->chunks.holders, start, SLAB_BYTES, slab);
    hak_count_peak(&s->peak_bytes,
                   hak_count_shared(&s->busy_bytes, (int64_t)SLAB_BYTES));
    return slab;
}

/* ---- spent slabs: reuse = off ------------------------------------------- */

/* `more` slabs of the SuperSlab are spent. What is spent of it now, if that is
 * `least` slabs or more, is the caller's to give back. */
static uint32_t take_spent(struct superslabs *s, struct superslab *super,
                           uint32_t more, int least)
{
    hak_lock_take(&s->chunks.lock);
    uint32_t spent = super->spent | more;
    bool enough = __builtin_popcount(spent) >= least;
    super->spent = enough ? 0 : spent;
    hak_lock_drop(&s->chunks.lock);
    return enough ? spent : 0;
}

static void give_spent(struct superslabs *s, struct superslab *super,
                       uint32_t spent)
{
    for (; spent != 0; spent &= spent - 1) {
        hak_count_shared(&s->spent_bytes, -(int64_t)SLAB_BYTES);
        hak_chunks_give(&s->chunks, &super->chunk,
                        super->slab[__builtin_ctz(spent)].start, true);
    }
}

/* All of a SuperSlab goes as a whole, and not by way of the host's cache: the
 * next one has to fault in its pages. */
static void spend(struct superslabs *s, const struct slab *slab)
{
    struct superslab *super = slab->super;
    struct hak_box *box = s->chunks.box;
    hak_count_shared(&s->spent_bytes, (int64_t)SLAB_BYTES);
    uint32_t spent =
        take_spent(s, super, 1u << (slab - super->slab), SUPERSLAB_SLABS);
    if (spent != 0)
        box->host->purge(box, super->chunk.base, SUPERSLAB_BYTES);
    give_spent(s, super, spent);
}

void superslabs_put(struct superslabs *s, struct slab *slab)
{
    hak_count_shared(&s->busy_bytes, -(int64_t)SLAB_BYTES);
    hak_count_shared(&s->retired, 1);
    if (s->reuse)
        hak_chunks_give(&s->chunks, &slab->super->chunk, slab->start, true);
    else
        spend(s, slab);
}

void superslabs_trim(struct superslabs *s)
{
    struct superslab *super = superslab_first(s);
    for (; super != NULL; super = superslab_next(super))
        give_spent(s, super, take_spent(s, super, 0, 1));
    hak_chunks_trim(&s->chunks);
}

/* ---- check -------------------------------------------------------------- */

static void check_slab(const struct superslabs *s, const struct slab *slab,
                       bool is_free, bool is_spent)
{
    HAK_ALWAYS(!is_free || !is_spent);
    HAK_ALWAYS((is_free || is_spent) == (slab->tag == 0));
    HAK_ALWAYS(slab->tag != 0 || slab->list == NULL);
    HAK_ALWAYS(is_free || slab_of(s, slab->start) == slab);
    HAK_ALWAYS(is_free || slab_of(s, slab->start + SLAB_BYTES - 1) == slab);
}

void superslabs_check(const struct superslabs *s)
{
    uint64_t nbusy = 0, nspent = 0;
    hak_chunks_check(&s->chunks);
    for (const struct superslab *super = superslab_first(s); super != NULL;
         super = superslab_next(super)) {
        if (super->chunk.base == NULL) {
            HAK_ALWAYS(super->spent == 0);
            continue;
        }
        HAK_ALWAYS(super->spent != s->chunks.whole);
        HAK_ALWAYS(super->spent == 0 || !s->reuse);
        for (uint32_t i = 0; i < SUPERSLAB_SLABS; i++) {
            check_slab(s, &super->slab[i], super->chunk.free >> i & 1,
                       super->spent >> i & 1);
            nbusy += super->slab[i].tag != 0;
        }
        nspent += (uint64_t)__builtin_popcount(super->spent);
    }
    HAK_ALWAYS(nbusy * SLAB_BYTES == s->busy_bytes);
    HAK_ALWAYS(nspent * SLAB_BYTES == s->spent_bytes);
}

/* SPDX-License-Identifier: MIT
 * pool.c - the slabs of one class: see pool.h.
 */
#include "pool.h"

/* The notes' 32, 24, 16 slots for 256, 512, 1024 bytes, carried on both ways:
 * 8 more for each halving. */
static uint32_t capacity_of(uint32_t slot_bytes)
{
    uint32_t log2_up = 32u - (uint32_t)__builtin_clz(slot_bytes - 1);
    return 8u * (12u - log2_up);
}

void pool_init(struct pool *pool, struct superslabs *supers,
               uint32_t class_number, uint32_t slot_bytes)
{
    pool->supers = supers;
    pool->class_number = (uint8_t)class_number;
    pool->tag = (uint8_t)(SLAB_TAG | class_number);
    pool->slot_bytes = slot_bytes;
    pool->capacity = (uint8_t)capacity_of(slot_bytes);
    pool->batch = pool->capacity / 2;
    hak_link_init(&pool->slabs);
}

/* ---- slabs come and go ------------------------------------------------- */

static struct slab *grow(struct pool *pool)
{
    struct slab *slab = superslabs_take(pool->supers);
    if (slab == NULL)
        return NULL;
    slab->free = NULL;
    slab->used = slab->carved = 0;
    slab->capacity = (uint16_t)(SLAB_BYTES / pool->slot_bytes);
    slab->class_number = pool->class_number;
    __atomic_store_n(&slab->slot_bytes, pool->slot_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&slab->tag, pool->tag, __ATOMIC_RELAXED);
    hak_link_after(&pool->slabs, &slab->link);
    return slab;
}

static void retire(struct pool *pool, struct slab *slab)
{
    hak_link_remove(&slab->link);
    __atomic_store_n(&slab->tag, 0, __ATOMIC_RELAXED);
    superslabs_put(pool->supers, slab);
}

/* ---- slots ------------------------------------------------------------- */

/* What was freed first, it may still be in a cache; then what nobody had. A
 * list is popped from its end, so the lowest address is carved last. */
static uint32_t take_from(struct slab *slab, void **out, uint32_t n)
{
    uint32_t k = 0;
    for (; k < n && slab->free != NULL; k++) {
        out[k] = slab->free;
        slab->free = *(void **)slab->free;
    }
    uint32_t carve =
        (uint32_t)hak_min(n - k, (size_t)slab->capacity - slab->carved);
    for (uint32_t i = carve; i-- != 0; k++)
        out[k] = slab->start + (size_t)(slab->carved + i) * slab->slot_bytes;
    slab->carved = (uint16_t)(slab->carved + carve);
    slab->used = (uint16_t)(slab->used + k);
    return k;
}

uint32_t pool_take(struct pool *pool, void **out, uint32_t n)
{
    uint32_t k = 0;
    while (k < n) {
        struct slab *slab = hak_link_empty(&pool->slabs)
                                ? grow(pool)
                                : hak_item(pool->slabs.next, struct slab, link);
        if (slab == NULL)
            break;
        k += take_from(slab, out + k, n - k);
        if (!slab_has_free(slab))
            hak_link_remove(&slab->link);
    }
    hak_count(&pool->out, k);
    return k;
}

static void give_one(struct pool *pool, void *p)
{
    struct slab *slab = slab_of(pool->supers, p);
    /* freed twice, and the slab has gone since */
    if (unlikely(slab == NULL || slab->tag != pool->tag))
        return;
    *(void **)p = slab->free;
    slab->free = p;
    slab->used--;
    hak_count(&pool->out, (uint64_t)-1);
    if (!hak_link_in_list(&slab->link))
        hak_link_after(&pool->slabs, &slab->link);
    if (slab->used == 0)
        retire(pool, slab);
}

void pool_give(struct pool *pool, void *const *slots, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        give_one(pool, slots[i]);
}

/* ---- check ------------------------------------------------------------- */

static void check_slab(const struct pool *pool, const struct slab *slab)
{
    uint32_t n = 0;
    for (const void *p = slab->free; p != NULL; p = *(void *const *)p) {
        size_t at = (size_t)((const char *)p - slab->start);
        HAK_ALWAYS(at % slab->slot_bytes == 0);
        HAK_ALWAYS(at / slab->slot_bytes < slab->carved);
        HAK_ALWAYS(++n <= slab->carved);
    }
    HAK_ALWAYS(slab->slot_bytes == pool->slot_bytes);
    HAK_ALWAYS(slab->carved <= slab->capacity);
    HAK_ALWAYS(slab->used != 0 && slab->used + n == slab->carved);
    HAK_ALWAYS(hak_link_in_list(&slab->link) == slab_has_free(slab));
}

void pool_check(const struct pool *pool)
{
    uint64_t out = 0;
    const struct superslab *super =
        __atomic_load_n(&pool->supers->all, __ATOMIC_ACQUIRE);
    for (; super != NULL; super = super->all_next)
        for (size_t i = 0; i < SUPERSLAB_SLABS; i++) {
            const struct slab *slab = &super->slab[i];
            if (super->base == NULL || slab->tag != pool->tag)
                continue;
            check_slab(pool, slab);
            out += slab->used;
        }
    HAK_ALWAYS(out == pool->out);
}

/* SPDX-License-Identifier: MIT
 * superslab.h - SuperSlabs: chunks of 1 MiB, as 16 slabs of 64 KiB, and what
 * is known of each slab.
 *
 * The kit's store says which slabs are free. One that is not is busy, in the
 * pool of a class, or spent: with reuse = off a slab serves once, and goes back
 * to the store when all slabs of its SuperSlab are spent.
 *
 *     busy == all & ~(free | spent),  free & spent == 0
 *     bit i of busy  <=>  slab[i].tag != 0
 *     busy_bytes, spent_bytes: of all SuperSlabs together
 */
#ifndef SMALLMID_SUPERSLAB_H
#define SMALLMID_SUPERSLAB_H

#include <kit/chunks.h>
#include <kit/page.h>

enum {
    SUPERSLAB_SLABS = 16,
    SLAB_SLOTS_MAX = HAK_GRANULE_BYTES / HAK_ALIGN_BYTES,
    SLAB_TAG = 0xb0, /* | class; 0 = in no class */
};
#define SLAB_BYTES HAK_GRANULE_BYTES
#define SUPERSLAB_BYTES (SUPERSLAB_SLABS * SLAB_BYTES)

/*
 * One slab. All but tag, and slot_bytes of a slab with live slots, is guarded
 * by the lock of the class's pool, while it is busy.
 *
 *     used + length of free == carved <= capacity
 */
struct slab {
    struct hak_link link; /* in a list of its holder, or the pool's: pool.h */
    struct list *list;    /* that holds it, or NULL; pool.h */
    void *free;           /* linked through the first word */
    char *start;
    struct superslab *super;
    uint32_t slot_bytes;
    uint16_t capacity, used, carved;
    uint8_t class_number;
    uint8_t tag;
};

struct superslab {
    struct hak_chunk chunk;
    uint32_t spent; /* guarded by chunks.lock; 0 with reuse = on */
    _Alignas(64) struct slab slab[SUPERSLAB_SLABS];
};

struct superslabs {
    struct hak_chunks chunks; /* holders: struct slab */
    bool reuse;
    uint64_t busy_bytes, spent_bytes, peak_bytes; /* atomic */
    uint64_t retired; /* slabs that became empty, ever; atomic */
};

/* *s is zero but for chunks.box. False: no memory. */
bool superslabs_init(struct superslabs *s, bool reuse, uint32_t warm);

/* In init: map n SuperSlabs, touch their pages. Returns how many there were. */
uint32_t superslabs_prewarm(struct superslabs *s, uint32_t n);

/* A slab of no class, all of it free, or NULL. It is put back empty. */
struct slab *superslabs_take(struct superslabs *s);
void superslabs_put(struct superslabs *s, struct slab *slab);

/* What is empty goes to the host, free slabs of the others are purged. Spent
 * ones lose their pages too, and serve again. */
void superslabs_trim(struct superslabs *s);

/* Nobody else may use the box meanwhile. */
void superslabs_check(const struct superslabs *s);

static inline struct superslab *superslab_of_chunk(struct hak_chunk *chunk)
{
    return hak_container_of(chunk, struct superslab, chunk);
}

/* For a walk along all SuperSlabs, spare ones too; NULL: there are no more. */
static inline struct superslab *superslab_first(const struct superslabs *s)
{
    return (struct superslab *)__atomic_load_n(&s->chunks.all,
                                               __ATOMIC_ACQUIRE);
}

static inline struct superslab *superslab_next(const struct superslab *super)
{
    return (struct superslab *)super->chunk.all_next;
}

/* The slab of an address, or NULL: it is free. Any p; no lock. */
static inline struct slab *slab_of(const struct superslabs *s, const void *p)
{
    return hak_map_get(&s->chunks.holders, p);
}

static inline uint8_t slab_tag(const struct slab *slab)
{
    return __atomic_load_n(&slab->tag, __ATOMIC_RELAXED);
}

static inline bool slab_has_free(const struct slab *slab)
{
    return slab->free != NULL || slab->carved < slab->capacity;
}

#endif

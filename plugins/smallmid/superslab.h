/* SPDX-License-Identifier: MIT
 * superslab.h - 1 MiB of slots as 16 slabs of 64 KiB, and who has them.
 *
 *     avail     bit i: slab i may be taken, for any class
 *     busy      bit i: slab i belongs to the pool of a class
 *     neither   reuse = off: slab i has served once and never will again
 *     dirty     bit i: slab i may have pages in memory
 *
 *     avail & busy == 0
 *     avail all set      in `empty`: the warm ones, and those of prewarm
 *     avail in part      in `open`, last used first
 *     avail none         in no list
 *
 * Structs are type-stable (a late reader of `table` finds one, be it of other
 * memory by now) and chained for ever; a spare one has base == NULL.
 */
#ifndef SMALLMID_SUPERSLAB_H
#define SMALLMID_SUPERSLAB_H

#include <kit/list.h>
#include <kit/page.h>
#include <kit/sync.h>

enum {
    SUPERSLAB_SHIFT = 20,
    SUPERSLAB_SLABS = 16,
    SUPERSLAB_ALL = (1 << SUPERSLAB_SLABS) - 1,
    SLAB_SLOTS_MAX = HAK_GRANULE_BYTES / HAK_ALIGN_BYTES,
    SLAB_TAG = 0xb0, /* | class; 0 = in no class */
};
#define SUPERSLAB_BYTES ((size_t)1 << SUPERSLAB_SHIFT)
#define SLAB_BYTES HAK_GRANULE_BYTES

/*
 * One slab. All but tag, and slot_bytes of a slab with live slots, belong to
 * the lock of the class's pool (while it is busy) or of the SuperSlabs.
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
    struct hak_link link;
    struct hak_box *box;
    char *base;
    uint16_t avail, busy, dirty;
    struct superslab *next; /* spare structs */
    struct superslab *all_next;
    _Alignas(64) struct slab slab[SUPERSLAB_SLABS];
};

struct superslabs {
    struct hak_box *box;
    uintptr_t base; /* window_base, down to a multiple of 1 MiB */
    size_t n;
    struct superslab **table; /* 1 MiB -> SuperSlab: owns() and free */
    bool reuse;
    uint32_t warm;
    struct hak_lock lock; /* of all below */
    uint32_t nempty;
    struct hak_link open, empty;
    struct superslab *spare, *all;
    uint64_t mapped_bytes, busy_bytes, peak_bytes; /* read without the lock */
    uint64_t given_bytes;                          /* back to the host, ever */
    uint64_t retired; /* slabs that became empty, ever */
};

/* The caller has zeroed *s and set box, reuse and warm. False: no memory. */
bool superslabs_init(struct superslabs *s);

/* Map n SuperSlabs and touch their pages. Returns how many there were. */
uint32_t superslabs_prewarm(struct superslabs *s, uint32_t n);

/* A slab of no class, all of it free, or NULL. It is put back empty. */
struct slab *superslabs_take(struct superslabs *s);
void superslabs_put(struct superslabs *s, struct slab *slab);

/* What is empty goes to the host, free slabs of the others are purged. */
void superslabs_trim(struct superslabs *s);

void superslabs_check(struct superslabs *s);

/* The SuperSlab of an address, or NULL. Any p; no lock. */
static inline struct superslab *superslab_of(const struct superslabs *s,
                                             const void *p)
{
    size_t i = ((uintptr_t)p - s->base) >> SUPERSLAB_SHIFT;
    return i < s->n ? __atomic_load_n(&s->table[i], __ATOMIC_ACQUIRE) : NULL;
}

static inline struct slab *slab_of(const struct superslabs *s, const void *p)
{
    struct superslab *super = superslab_of(s, p);
    size_t i = ((uintptr_t)p >> HAK_GRANULE_SHIFT) % SUPERSLAB_SLABS;
    return super != NULL ? &super->slab[i] : NULL;
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

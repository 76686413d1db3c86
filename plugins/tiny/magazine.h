/* SPDX-License-Identifier: MIT
 * magazine.h - TinyHeapV2: the last few freed slots of a thread, in front.
 *
 *     free  --> magazine, if there is room --> the heap
 *     alloc --> magazine, if there is one  --> the heap
 *
 * A magazine never refills itself: an empty one lets the request go on, and
 * only frees put slots in. (One that refilled from the heap it stood in front
 * of went round in a circle in the notes.) A slot in a magazine counts as out
 * for its page, and as free in what the box says of itself.
 *
 * Extension "hak.magazine/1" (struct hak_magazine_extension), offered while
 * `magazine = on`: what the magazines did so far.
 */
#ifndef TINY_MAGAZINE_H
#define TINY_MAGAZINE_H

#include <kit/sync.h>

enum {
    TINY_CLASSES = 8,       /* slots of 16, 32 ... 128 bytes */
    MAGAZINE_CAPACITY = 16, /* the notes' */
};

#define HAK_MAGAZINE_EXTENSION "hak.magazine/1"

/*
 * calls          requests of a size that has a magazine = hits + misses
 * misses         the magazine was empty: the heap was asked
 * pushes         frees that went into a magazine
 * refused        frees that found it full and went on to the heap
 * out_of_memory  misses that the heap could not serve either
 * held           slots in magazines now
 */
struct hak_magazine_counts {
    uint64_t calls, hits, misses;
    uint64_t pushes, refused;
    uint64_t out_of_memory;
    uint64_t held;
};

/*
 * snapshot - counts of the slots of 16 * (slot_class + 1) bytes, over all
 * threads, ended ones too. Figures of running threads may lag. Any thread.
 */
struct hak_magazine_extension {
    uint32_t struct_size;
    uint32_t nclasses;
    void (*snapshot)(struct hak_box *box, uint32_t slot_class,
                     struct hak_magazine_counts *out);
};

/* ---- inside the box: one thread writes, any may read -------------------- */

struct magazine {
    uint64_t n; /* <= MAGAZINE_CAPACITY */
    uint64_t hits, misses, pushes, refused, out_of_memory;
    void *slot[MAGAZINE_CAPACITY];
};

static inline void *magazine_pop(struct magazine *m)
{
    if (m->n == 0) {
        hak_count(&m->misses, 1);
        return NULL;
    }
    hak_count(&m->hits, 1);
    hak_count(&m->n, -(uint64_t)1);
    return m->slot[m->n];
}

static inline bool magazine_push(struct magazine *m, void *p)
{
    if (m->n == MAGAZINE_CAPACITY) {
        hak_count(&m->refused, 1);
        return false;
    }
    __atomic_store_n(&m->slot[m->n], p, __ATOMIC_RELAXED);
    hak_count(&m->n, 1);
    hak_count(&m->pushes, 1);
    return true;
}

/* The next slot to go back to its page, or NULL: no hit, nobody asked. */
static inline void *magazine_drain(struct magazine *m)
{
    if (m->n == 0)
        return NULL;
    hak_count(&m->n, -(uint64_t)1);
    return m->slot[m->n];
}

/* Any thread; of a running one's it may be wrong. */
static inline bool magazine_has(const struct magazine *m, const void *p)
{
    uint64_t n = hak_counted(&m->n);
    for (uint64_t i = 0; i < n; i++)
        if (__atomic_load_n(&m->slot[i], __ATOMIC_RELAXED) == p)
            return true;
    return false;
}

static inline void magazine_add(const struct magazine *m,
                                struct hak_magazine_counts *out)
{
    uint64_t hits = hak_counted(&m->hits), misses = hak_counted(&m->misses);
    out->calls += hits + misses;
    out->hits += hits;
    out->misses += misses;
    out->pushes += hak_counted(&m->pushes);
    out->refused += hak_counted(&m->refused);
    out->out_of_memory += hak_counted(&m->out_of_memory);
    out->held += hak_counted(&m->n);
}

#endif

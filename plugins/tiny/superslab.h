/* SPDX-License-Identifier: MIT
 * superslab.h - SuperSlabs: 1 MiB of address space, cut to 16 slabs of 64 KiB.
 *
 *     table[address >> 20] --> superslab --> page[slab] --> the kit's page
 *
 * A slab is one granule and one page. The box has one set of SuperSlabs for
 * all its threads, under one lock; readers of the table take none.
 *
 *     free bit i set   <=>  slab i is in no page and no purge holds it
 *     old              is a subset of the slabs with dirty_bytes != 0
 *     home             none: free == 0    empty: free == SLABS_ALL
 *                      partial: anything else
 *
 * Structs are type-stable: a spare one has base == NULL and free == 0.
 */
#ifndef TINY_SUPERSLAB_H
#define TINY_SUPERSLAB_H

#include <kit/bits.h>
#include <kit/page.h>

enum { SUPERSLAB_SHIFT = 20, SLABS = 16, SLABS_ALL = (1 << SLABS) - 1 };

#define SUPERSLAB_BYTES ((size_t)1 << SUPERSLAB_SHIFT)
#define SLAB_BYTES HAK_GRANULE_BYTES

enum superslab_home { SUPERSLAB_NONE, SUPERSLAB_PARTIAL, SUPERSLAB_EMPTY };

struct superslab {
    struct hak_page *page[SLABS]; /* read without the lock */
    char *base;                   /* NULL: spare */
    uint32_t free, old;
    uint32_t home;        /* enum superslab_home */
    struct hak_link link; /* in that list */
    uint64_t empty_since_ms;
    uint32_t dirty_bytes[SLABS]; /* from the slab's start, since a purge */
    struct superslab *next;      /* spare structs */
    struct superslab *all_next;  /* push only */
};

struct superslabs {
    struct hak_box *box;
    uintptr_t first; /* number of table[0]: address >> SUPERSLAB_SHIFT */
    size_t n;
    struct superslab **table;
    uint32_t keep_empty;
    uint64_t given_bytes; /* back to the host, ever */
    uint64_t free_slabs;
    uint64_t next_tick_ms;
    struct hak_lock lock;           /* all below, and the structs */
    struct hak_link partial, empty; /* most recent first */
    uint32_t nempty;
    struct superslab *spare, *all;
};

/* p: any value. The SuperSlab around it, or NULL; no lock. */
static inline struct superslab *superslab_of(const struct superslabs *s,
                                             const void *p)
{
    size_t i = ((uintptr_t)p >> SUPERSLAB_SHIFT) - s->first;
    return i < s->n ? __atomic_load_n(&s->table[i], __ATOMIC_ACQUIRE) : NULL;
}

static inline uint32_t superslab_slab(const void *p)
{
    return (uint32_t)((uintptr_t)p >> HAK_GRANULE_SHIFT) % SLABS;
}

/* p: any value. The page around it, or NULL; no lock. */
static inline struct hak_page *superslab_page(const struct superslabs *s,
                                              const void *p)
{
    const struct superslab *ss = superslab_of(s, p);
    return ss == NULL ? NULL
                      : __atomic_load_n(&ss->page[superslab_slab(p)],
                                        __ATOMIC_ACQUIRE);
}

/* 0 or -ENOMEM. */
int superslabs_init(struct superslabs *s, struct hak_box *box,
                    uint32_t keep_empty);

/*
 * slab_take - a slab for the page, or NULL. Content unspecified. The caller
 * then sets the page up and calls slab_name, so that it can be found.
 * slab_give - the slab goes back; its first written_bytes were touched.
 */
char *slab_take(struct superslabs *s);
void slab_name(struct superslabs *s, char *start, struct hak_page *page);
void slab_give(struct superslabs *s, char *start, size_t written_bytes);

/* Twice in a purge delay, by whoever comes first: give back what is old. */
void superslabs_tick(struct superslabs *s);

/* Give back all that is free. */
void superslabs_trim(struct superslabs *s);

/* While nobody else works with the box. */
void superslabs_check(const struct superslabs *s);

#endif

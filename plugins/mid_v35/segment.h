/* SPDX-License-Identifier: MIT
 * segment.h - shared segments of 2 MiB: a stack of free pages each.
 *
 *     region[(p - base) >> 21] --> struct segment --> 2 MiB of 32 pages
 *
 *     nfree + pages in use + pages being purged = 32
 *     stack[0 .. nfree)  the free pages' numbers, the last freed on top
 *     bin[n]             the segments with nfree == n, n >= 1
 *     dirty              bit i: page i is free and was written to
 *     old                bit i: it was already at the last tick; in dirty
 *
 * Pages come from the fullest segment that has one, so that the others can
 * become empty. `lock` guards all but the words that find reads: region[],
 * segment.base and .page. No host function is called under it but now_ms.
 *
 * Structs are type-stable and chained for ever; one without memory has
 * base == 0 and is found by nobody.
 */
#ifndef MID_V35_SEGMENT_H
#define MID_V35_SEGMENT_H

#include <kit/list.h>
#include <kit/page.h>

#define SEGMENT_SHIFT 21
#define SEGMENT_BYTES ((size_t)1 << SEGMENT_SHIFT)
#define SEGMENT_MAGIC 0x6d696476333501ull /* "midv35", 1 */

enum {
    SEGMENT_PAGES = 32, /* metadata is elsewhere: all are usable */
};

/* One page's entry. */
struct segment_page {
    struct hak_page *page; /* NULL: free */
    struct segment *segment;
};

struct segment {
    uint64_t magic;
    struct hak_box *box;
    uintptr_t base; /* 0: no memory */
    struct hak_link link;
    struct segment *spare_next, *all_next;
    uint64_t empty_since_ms;
    uint32_t dirty, old;
    uint8_t nfree;
    uint8_t stack[SEGMENT_PAGES];
    struct segment_page page[SEGMENT_PAGES];
};

struct segments {
    struct hak_box *box;
    uintptr_t base; /* of region[0]: the window's, down to 2 MiB */
    size_t nregions;
    struct segment **region;
    struct hak_lock lock;
    struct hak_link bin[SEGMENT_PAGES + 1];
    uint64_t bins;   /* bit n: bin[n] has a segment */
    uint32_t nempty; /* in bin[32] */
    uint32_t keep;   /* empty ones that stay for a purge delay */
    uint64_t ndirty; /* pages, over all segments */
    uint64_t next_tick_ms;
    struct segment *spares, *all;
};

/* 0 or -ENOMEM. s: zero */
int segments_init(struct segments *s, struct hak_box *box);

/*
 * segments_take - a free page; its entry, in which page is NULL. NULL = no
 * memory. segments_put - the reverse; written: somebody wrote there.
 * segments_page_at - where the entry's 64 KiB are.
 */
struct segment_page *segments_take(struct segments *s);
void segments_put(struct segments *s, struct segment_page *entry, bool written);

static inline char *segment_page_at(const struct segment_page *entry)
{
    const struct segment *segment = entry->segment;
    return (char *)segment->base +
           ((size_t)(entry - segment->page) << HAK_GRANULE_SHIFT);
}

/* Twice a purge delay: purge free pages, give empty segments back. */
void segments_tick(struct segments *s);

/* Give everything free back now. Returns bytes. */
size_t segments_trim(struct segments *s);

/* Bytes of free pages that are in memory still. */
uint64_t segments_cached(struct segments *s);

/* Nobody else may use the segments meanwhile. */
void segments_check(const struct segments *s);

/*
 * segments_find - the page in use at p, or NULL. p: any value.
 * The segment must say that it is this box's and that it is there: an entry
 * of the table may be read just before it is cleared.
 */
static inline struct hak_page *segments_find(const struct segments *s,
                                             const void *p)
{
    size_t i = ((uintptr_t)p - s->base) >> SEGMENT_SHIFT;
    if (i >= s->nregions)
        return NULL;
    struct segment *segment = __atomic_load_n(&s->region[i], __ATOMIC_ACQUIRE);
    if (segment == NULL || segment->magic != SEGMENT_MAGIC ||
        segment->box != s->box)
        return NULL;
    uintptr_t base = __atomic_load_n(&segment->base, __ATOMIC_RELAXED);
    size_t at = (uintptr_t)p - base;
    return base == 0 || at >= SEGMENT_BYTES
               ? NULL
               : __atomic_load_n(&segment->page[at >> HAK_GRANULE_SHIFT].page,
                                 __ATOMIC_ACQUIRE);
}

#endif

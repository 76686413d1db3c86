/* SPDX-License-Identifier: MIT
 * blocks.h - every block's metadata, and the way from an address to it.
 *
 *     window   | . . [block: 5 granules] . [2 ] . . . . [ 1 GiB ...      ]
 *     entry[]    0 0  *  0  0  0  0      0  *  0 0 0 0 0 *  0 0 ...
 *     starts     0 0  1  0  0  0  0      0  1  0 0 0 0 0 1  0 0 ...
 *     words      one bit for 64 of starts: "any 1 in there?"
 *
 * Only the first granule of a block is entered, so a block of 1 GiB costs as
 * much as one of 64 KiB. An address inside is looked up by searching back to
 * the nearest start, 256 MiB a word of `words`, and checking that the block
 * found reaches that far.
 *
 * Readers take no lock. Writers hold `lock` and store in the order struct
 * (base, ngranules), entry, starts, words, and take back in the order starts,
 * words, entry. A reader inside a live block finds it: between its start and
 * the address nothing else starts, and what once did was taken back before
 * the block was entered, which happens before its address was handed out.
 */
#ifndef LARGE_BLOCKS_H
#define LARGE_BLOCKS_H

#include <kit/list.h>
#include <kit/sync.h>

enum block_state {
    BLOCK_SPARE,  /* in the list of spare ones, or on its way */
    BLOCK_LIVE,   /* the program's */
    BLOCK_CACHED, /* freed: in the BigCache, or on its way in or out */
    BLOCK_CLEAN,  /* the same, and purged: addresses that read zero */
};

/*
 * block - a run of granules that is or was handed out: a mapping, a part of
 * one, or adjoining ones together.
 * Type-stable: its memory stays a struct block for the life of the process.
 *
 * size_bytes  what the program may use: the request rounded up to OS pages,
 *             0 < size_bytes <= ngranules * HAK_GRANULE_BYTES
 * state       LIVE -> CACHED by one atomic exchange in free(): of two frees
 *             of one block one sees that it comes too late
 * base, ngranules  constant while LIVE and entered, but for resize; in the
 *             BigCache they change under the lock of the shard; read without
 * huge        all of it was mapped for huge pages; constant while entered
 * place       number of the shard whose lists it is in, from 1; 0 = in none.
 *             Changes to and from a shard's number under that shard's lock, so
 *             whoever holds it and reads the number knows that it stays
 * color       from base to the slot, a multiple of 64 below an OS page:
 *             color + size_bytes <= ngranules * HAK_GRANULE_BYTES; constant
 *             while LIVE
 * the rest    under the lock of its shard, while CACHED or CLEAN
 */
struct block {
    char *base;
    size_t size_bytes;
    uint32_t ngranules;
    uint32_t freed_ms; /* the clock's low half: ages are differences */
    uint16_t color;
    uint8_t state; /* enum block_state */
    uint8_t place;
    uint8_t freed_turn; /* see bigcache.h; the same of turns */
    bool huge;
    struct hak_link same; /* blocks of its bucket, newest first */
    struct hak_link age;  /* blocks of its shard, newest first */
};

struct blocks {
    struct hak_lock lock; /* for changes and the spare list */
    struct hak_box *box;
    uintptr_t base;
    size_t n; /* granules of the window */
    struct block **entry;
    uint64_t *starts, *words;
    struct hak_link spare; /* by .same */
    uint64_t nspare;       /* in that list; read without the lock */
    uint64_t made;         /* structs that exist */
    uint64_t entered;
};

static inline size_t block_bytes(const struct block *b)
{
    return (size_t)__atomic_load_n(&b->ngranules, __ATOMIC_RELAXED)
           << HAK_GRANULE_SHIFT;
}

static inline size_t block_size(const struct block *b)
{
    return __atomic_load_n(&b->size_bytes, __ATOMIC_RELAXED);
}

static inline char *block_slot(const struct block *b)
{
    return b->base + __atomic_load_n(&b->color, __ATOMIC_RELAXED);
}

static inline uint32_t block_state(const struct block *b)
{
    return __atomic_load_n(&b->state, __ATOMIC_ACQUIRE);
}

/* 0 or -ENOMEM. */
int blocks_init(struct blocks *blocks, struct hak_box *box);

/* A struct for a new block, or NULL. Give it back when it is not needed. */
struct block *blocks_new(struct blocks *blocks);
void blocks_recycle(struct blocks *blocks, struct block *b);

/* Have a spare struct for blocks_split(), if there is memory for one. No lock
 * of the box is held. */
void blocks_stock(struct blocks *blocks);

/* Enter b, whose base and ngranules are set; take it out. */
void blocks_enter(struct blocks *blocks, struct block *b);
void blocks_leave(struct blocks *blocks, struct block *b);

/*
 * For blocks that are CACHED or CLEAN and the caller's alone (a shard's, whose
 * lock is held, or in no list). Addresses in them may be nobody's for a moment.
 * blocks_split  b keeps its first ngranules; the rest is the block returned,
 *               entered, alike but for its place. NULL = no spare struct
 * blocks_join   b takes over `right`, which begins where it ends
 */
struct block *blocks_split(struct blocks *blocks, struct block *b,
                           size_t ngranules);
void blocks_join(struct blocks *blocks, struct block *b, struct block *right);

/* The block whose slot starts at p, or NULL. Any p. */
static inline struct block *blocks_at(const struct blocks *blocks,
                                      const void *p)
{
    size_t g = ((uintptr_t)p - blocks->base) >> HAK_GRANULE_SHIFT;
    if (unlikely(g >= blocks->n))
        return NULL;
    struct block *b = __atomic_load_n(&blocks->entry[g], __ATOMIC_ACQUIRE);
    return likely(b != NULL && block_slot(b) == p) ? b : NULL;
}

/* The block that has p anywhere in its mapping, or NULL. Any p. */
struct block *blocks_around(const struct blocks *blocks, const void *p);

/* The block that begins where b ends, that ends where b begins; or NULL. Both
 * may change at once, unless a lock that the caller holds keeps them. */
struct block *blocks_right(const struct blocks *blocks, const struct block *b);
struct block *blocks_left(const struct blocks *blocks, const struct block *b);

/* The first entered block at granule *g or after; *g is moved past it. */
struct block *blocks_next(const struct blocks *blocks, size_t *g);

/* Aborts when the structure contradicts itself. Nothing may change it. */
void blocks_check(struct blocks *blocks);

#endif

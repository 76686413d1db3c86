/* SPDX-License-Identifier: MIT
 * blocks.h - the metadata of blocks, and how an address leads to its block.
 *
 *     window   | . . [block: 5 granules] . [2 ] . . . . [ 1 GiB ...      ]
 *     entry[]    0 0  *  0  0  0  0      0  *  0 0 0 0 0 *  0 0 ...
 *     starts     0 0  1  0  0  0  0      0  1  0 0 0 0 0 1  0 0 ...
 *     words      one bit for 64 of starts: "any 1 in there?"
 *
 * Only the first granule of a block is entered, so entering a block of 1 GiB
 * costs as much as one of 64 KiB. To look up an address, a reader searches back
 * to the nearest start (one word of `words` covers 256 MiB) and checks that the
 * block found there reaches as far as the address.
 *
 * Readers take no lock. Writers hold `lock`. To enter a block they store the
 * struct (base, ngranules), entry, starts, words, in this order; to take it out
 * they clear starts, words, entry. A reader of an address in a live block
 * always finds that block: no other block starts between its start and the
 * address. Starts of earlier blocks there were cleared before this block was
 * entered, and it was entered before its address was handed out.
 */
#ifndef LARGE_BLOCKS_H
#define LARGE_BLOCKS_H

#include <kit/list.h>
#include <kit/sync.h>

enum block_state {
    BLOCK_SPARE,  /* the struct is unused: in blocks.spare or on its way */
    BLOCK_LIVE,   /* the program has it */
    BLOCK_CACHED, /* kept and dirty: in the BigCache, or on its way in or out */
    BLOCK_CLEAN,  /* kept and purged: in the BigCache, reads zero */
};

/*
 * block - a run of granules that is or was handed out: a mapping, a part of
 * one, or adjoining ones together.
 * Type-stable: its memory stays a struct block for the life of the process.
 *
 * size_bytes  what the program may use: the request rounded up to OS pages,
 *             0 < size_bytes <= ngranules * HAK_GRANULE_BYTES
 * state       LIVE -> CACHED by one compare-and-swap in free(), so that of two
 *             frees of one block the second fails. near.h has an exception
 * base, ngranules  constant while LIVE and entered, except in resize; in the
 *             BigCache they change under the lock of the shard. Readers of the
 *             table load ngranules without a lock
 * huge        all of it was mapped for huge pages; constant while entered
 * place       number of the shard whose lists the block is in, from 1; 0: it is
 *             in none. A shard's number is set and cleared under that shard's
 *             lock, so a thread that holds the lock and reads the shard's
 *             number here knows that it stays
 * color       bytes from base to the slot, a multiple of 64 below an OS page:
 *             color + size_bytes <= ngranules * HAK_GRANULE_BYTES; constant
 *             while LIVE
 * the rest    guarded by the lock of its shard, while CACHED or CLEAN
 */
struct block {
    char *base;
    size_t size_bytes;
    uint32_t ngranules;
    uint32_t freed_ms; /* when it was freed: low half of the clock */
    uint16_t color;
    uint8_t state; /* enum block_state */
    uint8_t place;
    uint8_t freed_turn; /* the turn it was freed in, modulo 256: bigcache.h */
    bool huge;
    struct hak_link same; /* blocks of its bucket, newest first */
    struct hak_link age;  /* blocks of its shard, newest first */
};

struct blocks {
    struct hak_lock lock; /* guards changes of the table and the spare list */
    struct hak_box *box;
    uintptr_t base;
    size_t n; /* granules of the window */
    struct block **entry;
    uint64_t *starts, *words;
    struct hak_link spare; /* unused structs, linked by .same */
    uint64_t nspare;       /* length of that list; read without the lock */
    uint64_t made;         /* structs that exist */
    uint64_t entered;      /* blocks in the table */
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

/* An unused struct, or NULL. blocks_recycle() takes it back. */
struct block *blocks_new(struct blocks *blocks);
void blocks_recycle(struct blocks *blocks, struct block *b);

/* See to it that blocks_split() finds a spare struct, as long as there is
 * memory for one. Call it without any lock of the box: it may call the host. */
void blocks_stock(struct blocks *blocks);

/* Enter b, whose base and ngranules are set, in the table; take it out. */
void blocks_enter(struct blocks *blocks, struct block *b);
void blocks_leave(struct blocks *blocks, struct block *b);

/*
 * For blocks that are CACHED or CLEAN and that no other thread can take: in a
 * shard whose lock the caller holds, or in no list. While these run, a lookup
 * of an address in the blocks may find none.
 * blocks_split  b keeps its first ngranules; the rest is the block returned,
 *               entered, with b's state and age but no place. NULL = no spare
 *               struct, nothing changed
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

/* The block that begins where b ends (right) or that ends where b begins
 * (left), or NULL. Unless the caller holds the lock of that block's shard, the
 * block may change at any moment. */
struct block *blocks_right(const struct blocks *blocks, const struct block *b);
struct block *blocks_left(const struct blocks *blocks, const struct block *b);

/* The first entered block at granule *g or after; *g is moved past it. */
struct block *blocks_next(const struct blocks *blocks, size_t *g);

/* Aborts when an invariant is broken. No other thread may change the table. */
void blocks_check(struct blocks *blocks);

#endif

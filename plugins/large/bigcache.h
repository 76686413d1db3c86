/* SPDX-License-Identifier: MIT
 * bigcache.h - blocks, and the cache of freed ones.
 *
 * A block is a whole mapping of the host, granules long. Cached blocks are in
 * two lists at once: a bin of their size (newest first: warm) and the age
 * list (oldest last). Four bins a doubling; a request takes a block at most a
 * quarter larger than it needs.
 *
 * Invariant: bytes = sum of the cached blocks' sizes. Not thread-safe: the
 * caller locks.
 */
#ifndef LARGE_BIGCACHE_H
#define LARGE_BIGCACHE_H

#include <boxkit/list.h>

enum block_state { BLOCK_SPARE, BLOCK_LIVE, BLOCK_CACHED };

/* Type-stable: reused, never given back. */
struct block {
    char *start;
    size_t bytes; /* granule multiple */
    uint32_t state;
    uint64_t freed_ms;
    struct hak_link bin, age;
    struct block *next_spare;
    struct block *all_next;
};

enum { BIGCACHE_BINS = 4 * 40 };

struct bigcache {
    struct hak_link bin[BIGCACHE_BINS];
    struct hak_link age;
    uint64_t filled[(BIGCACHE_BINS + 63) / 64]; /* bins that are not empty */
    size_t bytes;
};

void bigcache_init(struct bigcache *c);
void bigcache_put(struct bigcache *c, struct block *b, uint64_t now_ms);
/* A cached block of bytes .. bytes * 5 / 4 that is so aligned, or NULL. */
struct block *bigcache_get(struct bigcache *c, size_t bytes, size_t align);
/* The block that waits longest, or NULL; it stays. */
struct block *bigcache_oldest(const struct bigcache *c);
void bigcache_remove(struct bigcache *c, struct block *b);
void bigcache_check(struct bigcache *c);

#endif

/* SPDX-License-Identifier: MIT
 * registry.h - every segment of the box, sorted by address.
 *
 * Look-up is a binary search without a lock. The tables are as large as the
 * window could ever need, taken once at init and never moved; only what is
 * used of them is ever touched.
 *
 *     seq  = 2 * version + (a writer is at work)
 *     side[version & 1] is what readers of that version search
 *
 * A writer, under `lock`, fills the other side and then publishes it, so a
 * reader is disturbed only when two writes begin while it searches. What a
 * search hits is checked against the segment's own range and needs no second
 * look at seq; a miss does. A reader that was disturbed REGISTRY_TRIES times
 * goes through the chain of all segment structs instead: it never waits.
 */
#ifndef MIDMT_REGISTRY_H
#define MIDMT_REGISTRY_H

#include "segment.h"

enum { REGISTRY_TRIES = 4 };

struct registry_side {
    uint32_t n;
    uint32_t *first;          /* first granule in the window, ascending */
    struct segment **segment; /* the segment that starts there */
};

struct registry {
    uintptr_t window_base;
    size_t window_bytes;
    uint32_t capacity;
    uint32_t tries;       /* REGISTRY_TRIES; a test may set less */
    struct hak_lock lock; /* writers */
    struct segment *all;  /* push only, by all_next */
    _Alignas(64) uint64_t seq;
    struct registry_side side[2];
};

/*
 * capacity  most segments at a time
 * Returns   0, -ENOMEM, or -EOVERFLOW when granule numbers of the window do
 *           not fit 32 bits
 */
int registry_init(struct registry *r, struct hak_box *box, size_t capacity);

/* A new struct, range == 0, enters the chain; it stays for ever. */
void registry_chain(struct registry *r, struct segment *s);

/*
 * registry_add - let look-ups find s, which has its range. 0 or -ENOSPC.
 * registry_remove - the opposite; a look-up that began earlier may still
 * answer s, hence the caller clears the range before it reuses the memory.
 */
int registry_add(struct registry *r, struct segment *s);
void registry_remove(struct registry *r, const struct segment *s);

/* The segment around p, or NULL. p: any value. Never waits, never faults. */
struct segment *registry_find(const struct registry *r, const void *p);

/* What registry_find falls back to: linear, but nobody can disturb it. */
struct segment *registry_scan(const struct registry *r, const void *p);

void registry_check(const struct registry *r);

#endif

/* SPDX-License-Identifier: MIT
 * space.h - the window: the one address range that all boxes get memory from.
 *
 * Any thread may call these functions. Sizes and addresses are multiples of the
 * granule (64 KiB), but for open, close and purge, which take multiples of the
 * OS page.
 */
#ifndef HAKMEM_CORE_SPACE_H
#define HAKMEM_CORE_SPACE_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

struct hak_space_figures {
    uint64_t used_bytes;  /* mapped, in use by boxes */
    uint64_t free_bytes;  /* mapped, free, waiting for reuse or purge */
    uint64_t dirty_bytes; /* of those, not purged yet */
    uint64_t mapped_peak_bytes;
    uint64_t maps, unmaps;
    uint64_t purged_bytes; /* atomic: given back, by boxes or by the window */
    /* Atomic: how often memory was given back, and how often the kernel refused
     * since the program has locked it. */
    uint64_t purges, purges_refused;
};

/* Choose the window's base and map its tables. At start. 0 or -errno. */
int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms);
/*
 * hak_space_take - take mapped memory, readable and writable.
 * align_bytes  a power of two up to 4 GiB; 0 = one granule
 * flags        enum hak_map_flags
 * Returns      NULL: no memory or no address space
 */
void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags);
/* Give a range of taken memory back. It is purged after the purge delay. */
void hak_space_give(void *p, size_t size_bytes);
/* Resize taken memory, by mremap to another place if necessary. New bytes read
 * zero. Returns NULL: it cannot be done, and nothing has changed. */
void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes);
/* Take or give back granules without anything mapped, and map and unmap their
 * pages: host->reserve, unreserve, open_pages and close_pages in box.h. open
 * and close take no lock unless memory is short. */
void *hak_space_reserve(size_t size_bytes, size_t align_bytes);
void hak_space_unreserve(void *p, size_t size_bytes);
int hak_space_open(void *p, size_t size_bytes, bool now);
bool hak_space_close(void *p, size_t size_bytes);
void hak_space_tick(void);   /* purge some of what has waited long enough */
size_t hak_space_trim(void); /* purge all free memory; returns bytes */
/* Purge so much of the free memory. Returns the bytes that were purged. */
size_t hak_space_shrink(size_t want_bytes);
/* The bytes by which the memory of boxes rose above its recent highest value.
 * 0 while that is less than the larger of 1 MiB and 1/16 of that value. Each
 * byte is reported once. Cost: two loads. */
size_t hak_space_owed(void);
/* How many bytes boxes should give back before size_bytes are taken. 0: there
 * is room, or boxes could give back little when they were last asked. Report
 * with hak_space_reclaimed what they gave. Cost: a few loads. */
size_t hak_space_will_grow(size_t size_bytes);
void hak_space_reclaimed(size_t want_bytes, size_t got_bytes);
/* Purge memory that a box keeps. Lock-free. 0 or -errno. */
int hak_space_purge(void *p, size_t size_bytes);
/* The fork handlers' step on the three locks. */
void hak_space_lock(enum hak_fork_phase phase);
void hak_space_read(struct hak_space_figures *out);
/* The bytes of the window that are in memory, by mincore(2). Granules that move
 * meanwhile may be missed or counted twice. -E2BIG: there is too much reserved
 * address space to look at. Cost: some ms for each GiB, without a lock. */
int64_t hak_space_resident(void);
/* The purge delay: what was set, but most_ms at most. UINT64_MAX: no limit. */
uint64_t hak_space_purge_delay_ms(void);
void hak_space_set_purge_delay(uint64_t ms);
void hak_space_limit_purge_delay(uint64_t most_ms);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * space.h - the window: the one address range that all boxes get memory from.
 */
#ifndef HAKMEM_CORE_SPACE_H
#define HAKMEM_CORE_SPACE_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

struct hak_space_figures {
    uint64_t used_bytes; /* in the hands of boxes, mapped */
    uint64_t free_bytes; /* mapped, free, waiting for reuse or purge */
    uint64_t mapped_peak_bytes;
    uint64_t maps, unmaps;
    uint64_t purged_bytes; /* atomic: back with the system, from boxes too */
};

int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms);
void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags);
void hak_space_give(void *p, size_t size_bytes);
void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes);
/* Granules with nothing mapped, and their pages: box.h, reserve. open and
 * close take no lock while all is well. */
void *hak_space_reserve(size_t size_bytes, size_t align_bytes);
void hak_space_unreserve(void *p, size_t size_bytes);
int hak_space_open(void *p, size_t size_bytes, bool now);
bool hak_space_close(void *p, size_t size_bytes);
void hak_space_tick(void);   /* purge what has waited long enough */
size_t hak_space_trim(void); /* purge all that is free; returns bytes */
/* Purge so much of what is free; returns bytes. */
size_t hak_space_shrink(size_t want_bytes);
/* Bytes by which what boxes have has risen above its highest of late, once they
 * are worth a look; told once. Cost: two loads. */
size_t hak_space_owed(void);
/* How many bytes boxes should give back before so many are taken; 0: none,
 * since there is room, or they had none of late. Then what they gave. Cost:
 * loads. */
size_t hak_space_will_grow(size_t size_bytes);
void hak_space_reclaimed(size_t want_bytes, size_t got_bytes);
/* What a box has; lock-free. 0 or -errno. */
int hak_space_purge(void *p, size_t size_bytes);
void hak_space_lock(enum hak_fork_phase phase);
void hak_space_read(struct hak_space_figures *out);
uint64_t hak_space_purge_delay_ms(void);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * caches.h - what boxes keep for reuse, all of them together.
 */
#ifndef HAKMEM_BOX_CACHES_H
#define HAKMEM_BOX_CACHES_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Ask boxes for so much of what they keep (ops->shrink). Returns the bytes. Not
 * under a lock that boxes or the window take. */
size_t hak_boxes_shrink(size_t want_bytes);

/* Twice a purge delay, by whichever thread comes first: those that it uses age
 * (ops->age). t: the calling thread. */
void hak_boxes_age(const struct hak_thread *t, uint64_t now_ms);

/* b is about to map so much. Before the process grows, what boxes keep becomes
 * the window's, dirty as it is, and may do. */
void hak_boxes_reclaim(const struct hak_loaded *b, size_t size_bytes);

#pragma GCC visibility pop

#endif

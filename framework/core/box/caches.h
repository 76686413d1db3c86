/* SPDX-License-Identifier: MIT
 * caches.h - memory that boxes keep for reuse, of all boxes together.
 */
#ifndef HAKMEM_BOX_CACHES_H
#define HAKMEM_BOX_CACHES_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Ask boxes to give back kept memory (ops->shrink) until it comes to
 * want_bytes. Returns the bytes given back. The caller holds no lock that boxes
 * or the window take. */
size_t hak_boxes_shrink(size_t want_bytes);

/* Let all boxes give back what they keep (ops->shrink), and the window all that
 * is free in it. Returns the bytes. The caller holds no lock, as above. */
size_t hak_boxes_give_back(void);

/* Call ops->age of each box in which t, the calling thread, has a heap. All but
 * the first call in half a purge delay do nothing. */
void hak_boxes_age(const struct hak_thread *t, uint64_t now_ms);

/* b is about to map size_bytes. If that would make the process grow, boxes are
 * asked to give kept memory back to the window first. It is not purged, so the
 * window can use it for this request. */
void hak_boxes_reclaim(const struct hak_loaded *b, size_t size_bytes);

/* Around a fork: before the locks of the boxes. Sets errno as hak_lock_fork. */
void hak_boxes_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif

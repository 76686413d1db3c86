/* SPDX-License-Identifier: MIT
 * map.h - kit layer 2: a box's own lock-free directory, from granule to
 * pointer.
 *
 * The map is a table over the window. It takes memory only where the window is
 * in use. hak_map_get takes any address and neither faults nor locks.
 *
 * A box sets the entry of a granule before it hands out a slot of it, and
 * clears the entry after the last slot came back. The release of hak_map_set
 * pairs with the acquire of hak_map_get, so that the struct that the entry
 * points at is initialised for the reader.
 */
#ifndef HAK_KIT_MAP_H
#define HAK_KIT_MAP_H

#include "base.h"

struct hak_map {
    uintptr_t base;
    size_t n;
    void **entry;
};

static inline bool hak_map_init(struct hak_map *map, struct hak_box *box)
{
    map->base = box->host->window_base;
    map->n = box->host->window_bytes >> HAK_GRANULE_SHIFT;
    map->entry = HAK_HAS(box->host, window_table)
                     ? box->host->window_table(box, 64)
                     : box->host->meta(box, map->n * sizeof(void *));
    return map->entry != NULL;
}

static inline void *hak_map_get(const struct hak_map *map, const void *p)
{
    size_t g = ((uintptr_t)p - map->base) >> HAK_GRANULE_SHIFT;
    return g < map->n ? __atomic_load_n(&map->entry[g], __ATOMIC_ACQUIRE)
                      : NULL;
}

static inline void hak_map_set(struct hak_map *map, const void *p,
                               size_t size_bytes, void *value)
{
    size_t g = ((uintptr_t)p - map->base) >> HAK_GRANULE_SHIFT;
    for (size_t end = g + (size_bytes >> HAK_GRANULE_SHIFT); g < end; g++)
        __atomic_store_n(&map->entry[g], value, __ATOMIC_RELEASE);
}

#endif

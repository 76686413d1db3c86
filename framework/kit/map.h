/* SPDX-License-Identifier: MIT
 * map.h - kit layer 2: granule -> pointer, a box's own lock-free directory.
 *
 * A table over the window, which takes memory where that is in use.
 * Any address may be asked about; it answers without a fault or a lock. Set
 * before a slot of the granule is handed out, cleared after the last came
 * back; release pairs with acquire so that what is found is initialised.
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

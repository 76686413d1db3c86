/* SPDX-License-Identifier: MIT
 * memory.c - the memory of the profile: pools, indexes and texts, in mappings
 * of its own. Together they take at most [heap_profile] most.
 *
 * Nothing here locks; the callers hold the module's lock.
 */
#include "heap_profile.h"

#include <base/os.h>
#include <base/text.h>
#include <conf/conf.h>

#include <sys/mman.h>

enum {
    FIRST_PLACES = 1024,
    TEXT_BYTES = 16 << 10, /* mapped at once for texts */
};

void *hak_profile_map(size_t size_bytes)
{
    uint64_t used = hak_counted(&hak_profile.used_bytes);
    size_bytes = hak_round_up(size_bytes, hak_os_page_bytes());
    if (size_bytes > hak_profile.keys->most_bytes ||
        used > hak_profile.keys->most_bytes - size_bytes)
        return NULL;
    void *p = hak_os_map(size_bytes, PROT_READ | PROT_WRITE);
    if (p != NULL)
        hak_count(&hak_profile.used_bytes, size_bytes);
    return p;
}

void hak_profile_unmap(void *p, size_t size_bytes)
{
    size_bytes = hak_round_up(size_bytes, hak_os_page_bytes());
    if (p != NULL && hak_os_unmap(p, size_bytes))
        hak_count(&hak_profile.used_bytes, -(uint64_t)size_bytes);
}

/* ---- pools --------------------------------------------------------------- */

/* The chunk that item i is in, and in *end the first item behind it. */
static uint32_t chunk_of(uint32_t i, uint32_t *end)
{
    uint32_t at = i + (1u << HAK_PROFILE_CHUNK_SHIFT);
    uint32_t k = 31u - (uint32_t)__builtin_clz(at) - HAK_PROFILE_CHUNK_SHIFT;
    *end = ((2u << k) - 1) << HAK_PROFILE_CHUNK_SHIFT;
    return k;
}

uint32_t hak_profile_add(struct hak_profile_pool *p, uint32_t n)
{
    uint32_t end, first = p->n;
    uint32_t k = chunk_of(first, &end);
    if (n > end - first) { /* items of one call lie in one chunk */
        first = end;
        k = chunk_of(first, &end);
    }
    if (k >= sizeof p->chunk / sizeof p->chunk[0])
        return HAK_PROFILE_NONE;
    if (p->chunk[k] == NULL) {
        size_t nitems = (size_t)1 << (k + HAK_PROFILE_CHUNK_SHIFT);
        char *chunk = hak_profile_map(nitems * p->item_bytes);
        if (chunk == NULL)
            return HAK_PROFILE_NONE;
        __atomic_store_n(&p->chunk[k], chunk, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&p->n, first + n, __ATOMIC_RELEASE);
    return first;
}

/* ---- indexes ------------------------------------------------------------- */

static void put(struct hak_profile_index *index, struct hak_profile_place what)
{
    uint32_t mask = index->nplaces - 1, i = what.hash & mask;
    while (index->place[i].item != 0)
        i = (i + 1) & mask;
    index->place[i] = what;
}

uint32_t hak_profile_find(const struct hak_profile_index *index, uint32_t hash,
                          bool (*is)(uint32_t item, const void *key),
                          const void *key)
{
    uint32_t mask = index->nplaces - 1;
    if (index->nplaces == 0)
        return HAK_PROFILE_NONE;
    for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
        const struct hak_profile_place *at = &index->place[i];
        if (at->item == 0)
            return HAK_PROFILE_NONE;
        if (at->hash == hash && is(at->item - 1, key))
            return at->item - 1;
    }
}

bool hak_profile_index_room(struct hak_profile_index *index)
{
    struct hak_profile_index old = *index;
    if (index->nused < index->nplaces / 2)
        return true;
    uint32_t n = old.nplaces != 0 ? old.nplaces * 2 : FIRST_PLACES;
    struct hak_profile_place *place = hak_profile_map(n * sizeof *place);
    if (place == NULL)
        return false;
    index->place = place;
    index->nplaces = n;
    for (uint32_t i = 0; i < old.nplaces; i++)
        if (old.place[i].item != 0)
            put(index, old.place[i]);
    hak_profile_unmap(old.place, old.nplaces * sizeof *place);
    return true;
}

void hak_profile_index_add(struct hak_profile_index *index, uint32_t hash,
                           uint32_t item)
{
    put(index, (struct hak_profile_place){hash, item + 1});
    index->nused++;
}

/* ---- texts --------------------------------------------------------------- */

/* Room for a text of so many bytes. */
static char *text_room(size_t bytes)
{
    static char *room;
    static size_t left_bytes;
    if (room == NULL || bytes > left_bytes) {
        size_t more = hak_max(TEXT_BYTES, bytes);
        char *mapped = hak_profile_map(more);
        if (mapped == NULL)
            return NULL;
        room = mapped;
        left_bytes = more;
    }
    room += bytes;
    left_bytes -= bytes;
    return room - bytes;
}

const char *hak_profile_text(const char *text, const char *more)
{
    size_t bytes = strlen(text) + strlen(more) + 1;
    char *copy = text_room(bytes);
    if (copy != NULL)
        hak_text_join(copy, bytes, text, more);
    return copy;
}

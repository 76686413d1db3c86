/* SPDX-License-Identifier: MIT
 * hakctl_profile_set.c - byte strings, each once, numbered as they came.
 *
 * A hash table with open addressing, at most half full.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <stdlib.h>
#include <string.h>

void *pf_grow(void *array, size_t n, size_t element_bytes)
{
    if (n != 0 && (n & (n - 1)) != 0)
        return array;
    array = reallocarray(array, n != 0 ? n * 2 : 1, element_bytes);
    if (array == NULL)
        ctl_die("no memory for the profile");
    return array;
}

/* FNV-1a */
static uint64_t hash_of(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

static void insert(struct pf_set *set, uint32_t number)
{
    size_t i = set->entry[number].hash & (set->nslots - 1);
    while (set->slot[i] != 0)
        i = (i + 1) & (set->nslots - 1);
    set->slot[i] = number + 1;
}

static void grow_slots(struct pf_set *set)
{
    free(set->slot);
    set->nslots = set->nslots != 0 ? set->nslots * 2 : 64;
    set->slot = calloc(set->nslots, sizeof *set->slot);
    if (set->slot == NULL)
        ctl_die("no memory for the profile");
    for (uint32_t i = 0; i < set->n; i++)
        insert(set, i);
}

uint32_t pf_set_add(struct pf_set *set, const void *bytes, size_t n)
{
    const uint64_t hash = hash_of(bytes, n);
    if ((size_t)set->n * 2 >= set->nslots)
        grow_slots(set);
    for (size_t i = hash & (set->nslots - 1); set->slot[i] != 0;
         i = (i + 1) & (set->nslots - 1)) {
        const struct pf_entry *e = &set->entry[set->slot[i] - 1];
        if (e->hash == hash && e->n == n &&
            (n == 0 || memcmp(e->bytes, bytes, n) == 0))
            return set->slot[i] - 1;
    }
    void *copy = malloc(n + 1);
    if (copy == NULL)
        ctl_die("no memory for the profile");
    if (n != 0)
        memcpy(copy, bytes, n);
    set->entry = pf_grow(set->entry, set->n, sizeof *set->entry);
    set->entry[set->n] = (struct pf_entry){copy, n, hash};
    insert(set, set->n);
    return set->n++;
}

const char *pf_keep(const char *text)
{
    static struct pf_set texts;
    if (text == NULL)
        text = "";
    uint32_t i = pf_set_add(&texts, text, strlen(text) + 1);
    return texts.entry[i].bytes;
}

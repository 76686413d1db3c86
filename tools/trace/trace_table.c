/* SPDX-License-Identifier: MIT
 * trace_table.c - a hash table with linear probing.
 *
 * Invariant: between the home slot of a key and the key's slot no slot is
 * empty. At most half of the slots are in use.
 */
#include "trace_table.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_SLOTS = 1024 };

/* The slot where the search for a key begins: Fibonacci hashing (Knuth, The Art
 * of Computer Programming, volume 3, 6.4). */
static size_t home(const struct trace_table *t, uint64_t key)
{
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 20) & (t->nslots - 1);
}

static size_t next(const struct trace_table *t, size_t i)
{
    return (i + 1) & (t->nslots - 1);
}

/* The slot of a key, or the empty one where it belongs. */
static struct trace_entry *find(const struct trace_table *t, uint64_t key)
{
    size_t i = home(t, key);
    while (t->slot[i].key != key && t->slot[i].key != 0)
        i = next(t, i);
    return &t->slot[i];
}

static int grow(struct trace_table *t)
{
    struct trace_table more = {.nslots = t->nslots * 2, .n = t->n};
    if (more.nslots == 0)
        more.nslots = FIRST_SLOTS;
    more.slot = calloc(more.nslots, sizeof *more.slot);
    if (more.slot == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < t->nslots; i++)
        if (t->slot[i].key != 0)
            *find(&more, t->slot[i].key) = t->slot[i];
    free(t->slot);
    *t = more;
    return 0;
}

int trace_table_put(struct trace_table *t, uint64_t key, uint64_t value)
{
    if (t->n >= t->nslots / 2) {
        int error = grow(t);
        if (error != 0)
            return error;
    }
    struct trace_entry *e = find(t, key);
    t->n += e->key == 0;
    *e = (struct trace_entry){key, value};
    return 0;
}

uint64_t *trace_table_find(const struct trace_table *t, uint64_t key)
{
    if (t->n == 0 || key == 0)
        return NULL;
    struct trace_entry *e = find(t, key);
    return e->key != 0 ? &e->value : NULL;
}

void trace_table_fetch(const struct trace_table *t, uint64_t key)
{
    if (t->nslots != 0)
        __builtin_prefetch(&t->slot[home(t, key)], 1);
}

/* Close the gap at slot i: move back each key that was put behind it because
 * the slot was in use (Knuth's algorithm R). */
static void close_gap(struct trace_table *t, size_t gap)
{
    size_t mask = t->nslots - 1;
    for (size_t i = next(t, gap); t->slot[i].key != 0; i = next(t, i)) {
        size_t from_home = (i - home(t, t->slot[i].key)) & mask;
        if (from_home < ((i - gap) & mask))
            continue;
        t->slot[gap] = t->slot[i];
        gap = i;
    }
    t->slot[gap].key = 0;
}

bool trace_table_take(struct trace_table *t, uint64_t key, uint64_t *value)
{
    uint64_t *found = trace_table_find(t, key);
    if (found == NULL)
        return false;
    *value = *found;
    t->n--;
    close_gap(t, (size_t)(find(t, key) - t->slot));
    return true;
}

void trace_table_clear(struct trace_table *t)
{
    free(t->slot);
    *t = (struct trace_table){0};
}

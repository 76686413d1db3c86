/* SPDX-License-Identifier: MIT
 * trace_table.h - a hash table from numbers to numbers. One thread.
 */
#ifndef HAKMEM_TRACE_TABLE_H
#define HAKMEM_TRACE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace_entry {
    uint64_t key; /* 0: the slot is empty */
    uint64_t value;
};

/* Zero at first. Memory: 16 to 64 bytes for each key at the peak. */
struct trace_table {
    struct trace_entry *slot;
    size_t nslots; /* a power of two, or 0 */
    size_t n;      /* keys that are in it */
};

/* Set the value of a key, which is not 0. Returns 0 or -ENOMEM. */
int trace_table_put(struct trace_table *t, uint64_t key, uint64_t value);
/* The value of a key, to be read or changed until the next put or take; NULL:
 * it is not in the table. */
uint64_t *trace_table_find(const struct trace_table *t, uint64_t key);
/* Remove a key, and get the value that it had. Returns false, and leaves value
 * as it is: the key is not in the table. */
bool trace_table_take(struct trace_table *t, uint64_t key, uint64_t *value);
/* Begin to fetch into the cache where that key is, or would be. */
void trace_table_fetch(const struct trace_table *t, uint64_t key);
/* Remove all keys and free the memory. */
void trace_table_clear(struct trace_table *t);

#endif

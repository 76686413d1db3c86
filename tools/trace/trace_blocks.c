/* SPDX-License-Identifier: MIT
 * trace_blocks.c - records of blocks, in chunks of 32.
 *
 * Invariant: a chunk is in the table if and only if a bit of `used` is set.
 */
#include "trace_blocks.h"

#include <stdlib.h>

enum { CHUNK = 32 };

struct trace_chunk {
    uint64_t key;  /* number / CHUNK + 1 of its records */
    uint32_t used; /* a bit for each record */
    _Alignas(8) unsigned char record[];
};

static uint64_t key_of(uint64_t number)
{
    return number / CHUNK + 1;
}

static uint32_t bit_of(uint64_t number)
{
    return UINT32_C(1) << (number % CHUNK);
}

static void *record(const struct trace_blocks *b, struct trace_chunk *c,
                    uint64_t number)
{
    return c->record + number % CHUNK * b->record_bytes;
}

/* The chunk of a number; NULL: it has none. */
static struct trace_chunk *chunk(struct trace_blocks *b, uint64_t number)
{
    if (b->last != NULL && b->last->key == key_of(number))
        return b->last;
    const uint64_t *found = trace_table_find(&b->chunks, key_of(number));
    if (found == NULL)
        return NULL;
    return b->last = (struct trace_chunk *)(uintptr_t)*found;
}

static struct trace_chunk *new_chunk(struct trace_blocks *b, uint64_t number)
{
    struct trace_chunk *c = malloc(sizeof *c + CHUNK * b->record_bytes);
    if (c == NULL)
        return NULL;
    c->key = key_of(number);
    c->used = 0;
    if (trace_table_put(&b->chunks, c->key, (uintptr_t)c) != 0) {
        free(c);
        return NULL;
    }
    return b->last = c;
}

void *trace_blocks_add(struct trace_blocks *b, uint64_t number)
{
    struct trace_chunk *c = chunk(b, number);
    if (c == NULL)
        c = new_chunk(b, number);
    if (c == NULL)
        return NULL;
    c->used |= bit_of(number);
    b->n++;
    return record(b, c, number);
}

void *trace_blocks_find(struct trace_blocks *b, uint64_t number)
{
    struct trace_chunk *c = chunk(b, number);
    return c != NULL && (c->used & bit_of(number)) != 0 ? record(b, c, number)
                                                        : NULL;
}

void trace_blocks_remove(struct trace_blocks *b, uint64_t number)
{
    struct trace_chunk *c = chunk(b, number);
    uint64_t value;
    if (c == NULL)
        return;
    c->used &= ~bit_of(number);
    b->n--;
    if (c->used != 0)
        return;
    trace_table_take(&b->chunks, c->key, &value);
    free(c);
    b->last = NULL;
}

void *trace_blocks_next(struct trace_blocks *b, uint64_t *number, uint64_t last)
{
    for (uint64_t i = *number; i <= last; i++) {
        struct trace_chunk *c = chunk(b, i);
        if (c != NULL && (c->used & bit_of(i)) != 0) {
            *number = i;
            return record(b, c, i);
        }
        if (c == NULL)
            i |= CHUNK - 1;
        if (i == UINT64_MAX)
            break;
    }
    return NULL;
}

void trace_blocks_clear(struct trace_blocks *b)
{
    for (size_t i = 0; i < b->chunks.nslots; i++)
        if (b->chunks.slot[i].key != 0)
            free((void *)(uintptr_t)b->chunks.slot[i].value);
    trace_table_clear(&b->chunks);
    *b = (struct trace_blocks){.record_bytes = b->record_bytes};
}

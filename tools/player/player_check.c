/* SPDX-License-Identifier: MIT
 * player_check.c - what --check looks at: each block is filled with a pattern
 * of its own, which has to be there when it is freed or resized.
 *
 * A block that overlaps another one is seen by what is in the one that was
 * filled first. Then the other one is looked for among all blocks.
 */
#include "player.h"

#include <malloc.h>
#include <string.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* What the words of a block begin with, by the call that made it. */
static uint64_t pattern_of(uint64_t made_by)
{
    return mix(player.control->seed + made_by + 1);
}

/* The word at offset i. */
static inline uint64_t word_at(uint64_t pattern, uint64_t i)
{
    return pattern + i * 0x9e3779b97f4a7c15u;
}

static void fill(char *p, uint64_t made_by, uint64_t bytes)
{
    const uint64_t pattern = pattern_of(made_by), whole = bytes & ~7ul;
    uint64_t i = 0, word;
    for (; i < whole; i += 8) {
        word = word_at(pattern, i);
        memcpy(p + i, &word, 8);
    }
    word = word_at(pattern, i);
    memcpy(p + i, &word, bytes - whole);
}

/* The offset of the first byte that is not what was filled in; `bytes`: all
 * are. */
static uint64_t find_change(const char *p, uint64_t made_by, uint64_t bytes)
{
    const uint64_t pattern = pattern_of(made_by), whole = bytes & ~7ul;
    uint64_t i = 0, held;
    for (; i < whole; i += 8) {
        memcpy(&held, p + i, 8);
        if (held != word_at(pattern, i))
            break;
    }
    for (; i < bytes; i++)
        if ((unsigned char)p[i] !=
            (unsigned char)(word_at(pattern, i & ~7ul) >> i % 8 * 8))
            break;
    return i;
}

/* ---- faults -------------------------------------------------------------- */

static struct play_error error_at(enum play_fault fault,
                                  const struct play_op *op, const char *p,
                                  uint64_t size)
{
    return (struct play_error){.fault = fault,
                               .call = player.batch->first + op->where,
                               .address = (uint64_t)(uintptr_t)p,
                               .size = size};
}

static void look_at_alignment(const struct worker *me, const struct play_op *op,
                              const char *p, uint64_t size)
{
    uint64_t wanted = size >= 16 ? 16 : size >= 8 ? 8 : 1;
    if (op->kind == PLAY_ALIGNED)
        wanted = UINT64_C(1) << op->log_align;
    struct play_error error = error_at(PLAY_BAD_ALIGN, op, p, size);
    error.wanted = wanted;
    if ((uintptr_t)p % wanted != 0)
        play_fail(me, &error);
    error.fault = PLAY_NOT_USABLE;
    error.value = size;
    if (player.asks_usable &&
        (error.value = malloc_usable_size((void *)(uintptr_t)p)) < size)
        play_fail(me, &error);
}

/* The first of some bytes that is not 0; `bytes`: all are. */
static uint64_t find_set(const char *p, uint64_t bytes)
{
    uint64_t word, i = 0;
    for (; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (word != 0)
            break;
    }
    while (i < bytes && p[i] == 0)
        i++;
    return i;
}

/* Up to `touched` each byte is looked at, behind it one of each page. */
static void look_for_zeroes(const struct worker *me, const struct play_op *op,
                            const char *p, uint64_t size, uint64_t touched)
{
    struct play_error error = error_at(PLAY_NOT_ZERO, op, p, size);
    uint64_t at = find_set(p, touched);
    if (at == touched)
        while (at < size && p[at] == 0)
            at += 4096;
    if (at >= size)
        return;
    error.offset = at;
    error.value = (unsigned char)p[at];
    play_fail(me, &error);
}

/* The block beside `slot` that has this byte; NULL: there is none. */
static const struct checked *find_owner(uint64_t slot, uint64_t address)
{
    for (uint64_t i = 0; i < player.control->nslots; i++) {
        uint64_t start = player.table[i] << 16 >> 16;
        if (i != slot && start > 1 && start <= address &&
            address - start < player.checked[i].size)
            return &player.checked[i];
    }
    return NULL;
}

static void look_at_contents(const struct worker *me, uint64_t call,
                             uint64_t slot, const char *p, uint64_t bytes)
{
    const struct checked *c = &player.checked[slot];
    uint64_t at = find_change(p, c->made_by, bytes);
    if (at == bytes)
        return;
    uint64_t word = word_at(pattern_of(c->made_by), at / 8 * 8);
    struct play_error error = {
        .fault = PLAY_CHANGED,
        .call = call,
        .made_by = c->made_by,
        .address = (uint64_t)(uintptr_t)p,
        .offset = at,
        .size = c->size,
        .value = (unsigned char)p[at],
        .wanted = word >> at % 8 * 8 & 0xff,
    };
    const struct checked *other = find_owner(slot, (uint64_t)(uintptr_t)p + at);
    if (other != NULL) {
        error.fault = PLAY_OVERLAPS;
        error.other = other->made_by;
    }
    play_fail(me, &error);
}

/* ---- calls --------------------------------------------------------------- */

void play_check_made(const struct worker *me, const struct play_op *op, char *p,
                     uint64_t size, uint64_t touched)
{
    struct checked *c = &player.checked[op->slot];
    uint64_t call = player.batch->first + op->where;
    look_at_alignment(me, op, p, size);
    if (op->kind == PLAY_CALLOC)
        look_for_zeroes(me, op, p, size, touched);
    if (op->kind == PLAY_REALLOC)
        look_at_contents(me, call, op->slot, p,
                         c->filled < size ? c->filled : size);
    fill(p, call, touched);
    *c = (struct checked){
        .made_by = call, .size = size, .filled = touched, .thread = me->thread};
}

void play_check_held(const struct worker *me, const struct play_op *op,
                     const char *p)
{
    look_at_contents(me, player.batch->first + op->where, op->slot, p,
                     player.checked[op->slot].filled);
}

void play_check_rest(const struct worker *me)
{
    for (uint64_t i = 0; i < player.control->nslots; i++) {
        uint64_t start = player.table[i] << 16 >> 16;
        if (start > 1)
            look_at_contents(me, player.control->to, i,
                             (const char *)(uintptr_t)start,
                             player.checked[i].filled);
    }
}

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

/* The word at offset i of a block. */
static uint64_t word_at(uint64_t made_by, uint64_t i)
{
    return mix(player.control->seed + made_by + 1) + i * 0x9e3779b97f4a7c15u;
}

static void fill(char *p, uint64_t made_by, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(made_by, i);
        memcpy(p + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

/* The offset of the first byte that is not what was filled in; `bytes`: all
 * are. */
static uint64_t find_change(const char *p, uint64_t made_by, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(made_by, i);
        uint64_t n = bytes - i < 8 ? bytes - i : 8;
        if (memcmp(p + i, &word, n) == 0)
            continue;
        const char *wanted = (const char *)&word;
        while (*wanted == p[i])
            wanted++, i++;
        return i;
    }
    return bytes;
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

/* Up to `touched` each byte is looked at, behind it one of each page. */
static void look_for_zeroes(const struct worker *me, const struct play_op *op,
                            const char *p, uint64_t size, uint64_t touched)
{
    struct play_error error = error_at(PLAY_NOT_ZERO, op, p, size);
    for (uint64_t i = 0; i < size; i += i < touched ? 1 : 4096) {
        error.offset = i;
        error.value = (unsigned char)p[i];
        if (p[i] != 0)
            play_fail(me, &error);
    }
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
    uint64_t word = word_at(c->made_by, at / 8 * 8);
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

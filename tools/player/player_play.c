/* SPDX-License-Identifier: MIT
 * player_play.c - the calls of one thread, one after the other.
 *
 * Before each call all that it needs is loaded; after it, the block is touched
 * as the program would have done. Only the call itself is timed.
 */
#include "player.h"

#include <stdlib.h>

enum { GENERATION_SHIFT = 48 };
#define ADDRESS_BITS ((UINT64_C(1) << GENERATION_SHIFT) - 1)
/* What stands in a slot for a block of size 0 that is NULL. */
enum { NULL_BLOCK = 1 };

static uint64_t entry_of(uint16_t generation, const void *p)
{
    return (uint64_t)generation << GENERATION_SHIFT | (uint64_t)(uintptr_t)p;
}

/* ---- time ---------------------------------------------------------------- */

/* The ticks at which a call begins. If much has happened since the call before,
 * the thread may have waited for a processor then, which is no part of the
 * call. */
static inline uint64_t begin_call(struct worker *me)
{
    uint64_t ticks = play_ticks_before();
    if (ticks - me->last_ticks > PLAY_LONG_TICKS) {
        me->queued_ns = play_queued_ns(me);
        ticks = play_ticks_before();
    }
    return ticks;
}

static inline void end_call(struct worker *me, const struct play_op *op,
                            enum play_call which, uint64_t begin)
{
    uint64_t end = play_ticks_after();
    if (player.batch->first + op->where >= player.control->from)
        play_add_call(me, which, begin, end);
    me->last_ticks = end;
}

/* ---- touching ------------------------------------------------------------ */

/* Write into bytes [from, to) of a block, as the program would have done: up to
 * PLAY_LINES into each line of the cache, else into each page. */
static void touch(char *p, uint64_t from, uint64_t to)
{
    uint64_t step = to <= PLAY_LINES ? 64 : 4096;
    for (uint64_t i = from; i < to; i += step)
        *(volatile char *)(p + i) = 1;
    if (from < to)
        *(volatile char *)(p + to - 1) = 1;
}

/* What PLAY_LARGE and PLAY_TOUCH said of this call. */
struct extent {
    uint64_t size, from, to;
};

static struct extent take_extent(struct worker *me, const struct play_op *op)
{
    struct extent e = {.size = op->size | me->high << 32};
    e.to = e.size;
    if (me->has_touch) {
        e.from = me->touch_from;
        e.to = me->touch_to < e.size ? me->touch_to : e.size;
    }
    me->high = 0;
    me->has_touch = false;
    return e;
}

/* ---- calls --------------------------------------------------------------- */

static void no_block(const struct worker *me, const struct play_op *op,
                     uint64_t size)
{
    play_fail(me, &(struct play_error){.fault = PLAY_NO_BLOCK,
                                       .call = player.batch->first + op->where,
                                       .size = size});
}

/* The block that a call made is there: touch it, and let others see it. */
static void have_block(struct worker *me, const struct play_op *op,
                       const struct extent *e, char *p)
{
    uint16_t generation =
        (uint16_t)(op->generation + (op->kind == PLAY_REALLOC));
    if (p == NULL && e->size != 0)
        no_block(me, op, e->size);
    if (p == NULL)
        p = (char *)(uintptr_t)NULL_BLOCK;
    else if (player.checked != NULL)
        play_check_made(me, op, p, e->size, e->to);
    else
        touch(p, e->from, e->to);
    play_set_slot(op->slot, entry_of(generation, p));
}

/* The analyser does not see that blocks live on in slots. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc)
static void make(struct worker *me, const struct play_op *op)
{
    struct extent e = take_extent(me, op);
    void *p = NULL;
    size_t align = (size_t)1 << op->log_align;
    play_await(op->slot, entry_of(op->generation, NULL), false);
    uint64_t begin = begin_call(me);
    if (op->kind == PLAY_MALLOC)
        p = malloc(e.size);
    else if (op->kind == PLAY_CALLOC)
        p = calloc(1, e.size);
    else if (posix_memalign(&p, align, e.size) != 0)
        p = NULL;
    end_call(me, op, PLAY_MAKES, begin);
    have_block(me, op, &e, p);
}

/* The block of a slot; NULL: it is one of size 0 that is NULL. */
static char *block_of(const struct worker *me, const struct play_op *op)
{
    uint64_t entry = play_await(op->slot, entry_of(op->generation, NULL), true);
    char *p = (char *)(uintptr_t)(entry & ADDRESS_BITS);
    if (p == (char *)(uintptr_t)NULL_BLOCK)
        return NULL;
    if (player.checked != NULL)
        play_check_held(me, op, p);
    else if (op->log_align != 0)
        (void)*(volatile char *)p;
    return p;
}

static void resize(struct worker *me, const struct play_op *op)
{
    struct extent e = take_extent(me, op);
    char *old = block_of(me, op);
    uint64_t begin = begin_call(me);
    char *p = realloc(old, e.size);
    end_call(me, op, PLAY_MAKES, begin);
    have_block(me, op, &e, p);
}

// NOLINTEND(clang-analyzer-unix.Malloc)

static void give_back(struct worker *me, const struct play_op *op)
{
    char *p = op->kind == PLAY_FREE ? block_of(me, op) : NULL;
    uint64_t begin = begin_call(me);
    free(p);
    end_call(me, op, PLAY_FREES, begin);
    if (op->kind == PLAY_FREE)
        play_set_slot(op->slot, entry_of((uint16_t)(op->generation + 1), NULL));
}

static void play_call(struct worker *me, const struct play_op *op)
{
    uint64_t call = player.batch->first + op->where;
    atomic_store_explicit(&me->seat->at, call + 1, memory_order_relaxed);
    if (call >= player.control->from &&
        atomic_load_explicit(&player.begun, memory_order_relaxed) == 0 &&
        atomic_exchange(&player.begun, 1) == 0)
        play_begin_part();
    if (op->kind <= PLAY_ALIGNED)
        make(me, op);
    else if (op->kind == PLAY_REALLOC)
        resize(me, op);
    else
        give_back(me, op);
    me->played++;
}

/* ---- the rest ------------------------------------------------------------ */

/* left: calls from the batch's first to the last one that is played. */
static void play_other(struct worker *me, const struct play_op *op,
                       uint64_t left)
{
    switch ((enum play_kind)op->kind) {
    case PLAY_LARGE:
        me->high = op->slot;
        break;
    case PLAY_TOUCH:
        me->touch_from = play_touch_from(op);
        me->touch_to = play_touch_to(op);
        me->has_touch = true;
        break;
    case PLAY_EPOCH:
        play_change_epoch(me, op->slot,
                          op->where < left ? op->size : PLAY_NONE);
        break;
    case PLAY_START:
        play_start_thread(op->slot);
        break;
    case PLAY_CLOCK:
        play_set_clock(op->slot | (uint64_t)op->size << 32);
        break;
    case PLAY_SAMPLE:
        if ((op->slot >= PLAY_SAMPLES ||
             op->slot % player.control->sample_every == 0) &&
            atomic_load(&player.begun) != 0)
            play_take_sample(op->slot);
        break;
    default:
        break;
    }
}

bool play_operations(struct worker *me)
{
    const uint64_t left = player.control->to - player.batch->first;
    for (; me->next != me->end; me->next++) {
        const struct play_op *op = me->next;
        if (op->kind == PLAY_ENDED)
            return true;
        if (op->kind <= PLAY_FREE_NULL) {
            if (op->where >= left)
                return false;
            play_call(me, op);
        } else
            play_other(me, op, left);
    }
    return false;
}

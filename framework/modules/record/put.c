/* SPDX-License-Identifier: MIT
 * put.c - a call of malloc or free -> entries of the thread's ring.
 *
 * A ring has one producer. A handler of a signal that interrupts it here, and
 * calls malloc, finds `busy` set; its call is counted as lost. If such a
 * handler forks, the child returns into the interrupted call. It finds another
 * process in the page just before it would change the parent's ring.
 */
#include "record_module.h"

#include <kit/sync.h>

/* ---- enter and leave ---- */

static void set_busy(struct record_thread *th, uint32_t busy)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&th->busy, busy, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

__attribute__((cold, noinline)) static struct record_thread *
new_thread(void **word)
{
    struct record_thread *th = hak_record_self.host->meta(sizeof *th);
    if (th != NULL)
        __atomic_store_n(word, th, __ATOMIC_RELEASE);
    return th;
}

/* th, busy, with a ring that has room; or NULL: the call is not put. */
static inline struct record_thread *enter(void **word)
{
    struct record_thread *th = *word;
    if (unlikely(th == NULL) && (th = new_thread(word)) == NULL) {
        hak_record_count_lost();
        return NULL;
    }
    if (unlikely(th->busy != 0)) {
        hak_record_count_lost();
        return NULL;
    }
    set_busy(th, 1);
    uint64_t process = hak_record_process_now();
    if ((likely(process != 0 && th->process == process) ||
         hak_record_take_ring(th)) &&
        (likely(th->head < th->look_at) || hak_record_look(th)))
        return th;
    set_busy(th, 0);
    return NULL;
}

/* ---- entries ---- */

static inline struct record_entry *entry_at(const struct record_thread *th,
                                            uint64_t number)
{
    return &th->entries[number % RECORD_RING_ENTRIES];
}

static inline void publish(struct record_thread *th, uint64_t head)
{
    if (unlikely(hak_record_process_now() != th->process))
        return;
    th->head = head;
    __atomic_store_n(&th->ring->head, head, __ATOMIC_RELEASE);
}

/* The time now. It never falls, which the processor's clock may do when the
 * thread moves to another one. */
static inline uint64_t ticks_now(const struct record_thread *th)
{
    return hak_max(record_ticks(), th->last_ticks);
}

static void put_value(struct record_thread *th, uint64_t *head,
                      enum record_kind kind, uint64_t value)
{
    *entry_at(th, (*head)++) = (struct record_entry){value << 4 | kind, 0, 0};
}

static inline void put(struct record_thread *th, uint64_t head,
                       enum record_kind kind, const void *block, uint64_t size)
{
    uint64_t now = ticks_now(th), passed = now - th->last_ticks;
    if (unlikely(size >= UINT32_MAX))
        put_value(th, &head, RECORD_LONG, hak_min(size, UINT64_MAX >> 4));
    if (unlikely(passed >= UINT32_MAX))
        put_value(th, &head, RECORD_TIME, now);
    *entry_at(th, head) = (struct record_entry){
        (uintptr_t)block | kind, (uint32_t)hak_min(size, (uint64_t)UINT32_MAX),
        (uint32_t)hak_min(passed, (uint64_t)UINT32_MAX)};
    th->last_ticks = now;
    publish(th, head + 1);
}

static void put_touched(struct record_thread *th, const void *block,
                        size_t size, size_t resident)
{
    size_t touched;
    if (hak_record_large_touched(block, size, resident, &touched))
        put(th, th->head, RECORD_TOUCHED, block, touched);
}

/* ---- calls ---- */

static void made(void **word, enum hak_call_kind call, const void *block,
                 size_t size, size_t align)
{
    struct record_thread *th = enter(word);
    if (unlikely(th == NULL))
        return;
    uint64_t head = th->head;
    if (call == HAK_CALL_ALIGNED)
        put_value(th, &head, RECORD_VALUE, align);
    put(th, head,
        call == HAK_CALL_MALLOC   ? RECORD_MALLOC
        : call == HAK_CALL_CALLOC ? RECORD_CALLOC
                                  : RECORD_ALIGNED,
        block, size);
    if (unlikely(size >= RECORD_LARGE_BYTES))
        hak_record_large_add(block, size,
                             hak_record_large_resident(block, size));
    set_busy(th, 0);
}

static void freeing(void **word, const void *block)
{
    struct record_thread *th = enter(word);
    size_t size, resident;
    if (unlikely(th == NULL))
        return;
    if (unlikely(hak_record_large_take(block, &size, &resident)))
        put_touched(th, block, size, resident);
    put(th, th->head, RECORD_FREE, block, 0);
    set_busy(th, 0);
}

static void resizing(void **word, const void *block)
{
    struct record_thread *th = enter(word);
    if (unlikely(th == NULL))
        return;
    th->resized_bytes = 0;
    if (unlikely(hak_record_large_take(block, &th->resized_bytes,
                                       &th->resized_resident)))
        put_touched(th, block, th->resized_bytes, th->resized_resident);
    put(th, th->head, RECORD_REALLOC_FROM, block, 0);
    set_busy(th, 0);
}

/* Pages that the block's own content fills are not of blocks before it. */
static size_t resident_before(const struct record_thread *th, const void *block,
                              size_t size)
{
    size_t now = hak_record_large_resident(block, size);
    size_t content = hak_min(th->resized_bytes, size) / 4096;
    return now == SIZE_MAX ? now : now - hak_min(now, content);
}

/* block NULL: the old block, whose address is not told again, is unknown from
 * now on if it was a large one. */
static void resized(void **word, const void *block, size_t size)
{
    struct record_thread *th = enter(word);
    if (unlikely(th == NULL))
        return;
    put(th, th->head, RECORD_REALLOC_TO, block, size);
    if (unlikely(size >= RECORD_LARGE_BYTES && block != NULL))
        hak_record_large_add(block, size, resident_before(th, block, size));
    set_busy(th, 0);
}

const struct hak_call_ops hak_record_calls = {
    .made = made,
    .freeing = freeing,
    .resizing = resizing,
    .resized = resized,
    .lost = hak_record_count_lost,
};

/* ---- exit ---- */

static void put_one(void *context, const void *block, size_t size,
                    size_t resident)
{
    struct record_thread *th = enter(context);
    if (th == NULL)
        return;
    put_touched(th, block, size, resident);
    set_busy(th, 0);
}

void hak_record_put_all_touched(void **word)
{
    hak_record_large_each(put_one, word);
}

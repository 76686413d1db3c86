/* SPDX-License-Identifier: MIT
 * records.c - the sampled blocks that are live, by address.
 *
 * free() asks about each block that reaches its slow path, and nearly none of
 * them is recorded. So the table is read without a lock: open addressing with
 * linear probing, at most half full.
 *
 *     EMPTY --record--> address --drain--> REMOVED --> EMPTY or address
 *
 * The lock's holder alone writes. A slot becomes EMPTY again only where the
 * slot behind it is EMPTY, as then no probe needs to pass it. A block's slot
 * stays where it is until the block is freed, so the probe of the thread that
 * frees it, and has got it from the malloc that recorded it, finds it whatever
 * happens to other slots.
 *
 * A full table is replaced by a larger copy. Readers may still be in the old
 * one, which is never unmapped and has all blocks that were recorded while it
 * was the current one. All old tables together are smaller than the current
 * one.
 *
 * A free claims the record by an exchange of record->block. The claim is what
 * counts: of two frees of one block one gets it.
 */
#include "heap_profile.h"

#include <base/os.h>

enum { FIRST_SLOTS = 4096 };
#define EMPTY ((uintptr_t)0)
#define REMOVED ((uintptr_t)1)

struct slot {
    uintptr_t block; /* atomic */
    uint32_t record; /* atomic; written before block */
};

struct table {
    uint32_t shift; /* 64 - log2 of the number of slots */
    uint32_t nused; /* not EMPTY */
    uint32_t nlive;
    struct slot slot[];
};

struct hak_profile_pool hak_profile_records = {
    .item_bytes = sizeof(struct hak_profile_record)};
static struct table *current; /* atomic; NULL: nothing was recorded yet */
static uint32_t unused;       /* list of records, + 1 */
static uint32_t freed;        /* list of records, + 1; atomic */

static uint32_t slot_mask(const struct table *t)
{
    return (uint32_t)(((uint64_t)1 << (64 - t->shift)) - 1);
}

static uint32_t home_of(const struct table *t, uintptr_t block)
{
    return (uint32_t)(block * 0x9e3779b97f4a7c15ull >> t->shift);
}

static struct hak_profile_record *record_at(uint32_t i)
{
    return hak_profile_at(&hak_profile_records, i);
}

/* ---- reading ------------------------------------------------------------- */

struct hak_profile_record *hak_profile_record_of(const void *block)
{
    const struct table *t = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    uintptr_t wanted = (uintptr_t)block;
    if (t == NULL || wanted <= REMOVED)
        return NULL;
    for (uint32_t i = home_of(t, wanted);; i = (i + 1) & slot_mask(t)) {
        const struct slot *s = &t->slot[i];
        uintptr_t there = __atomic_load_n(&s->block, __ATOMIC_ACQUIRE);
        if (there == EMPTY)
            return NULL;
        if (there != wanted)
            continue;
        struct hak_profile_record *r =
            record_at(__atomic_load_n(&s->record, __ATOMIC_RELAXED));
        if (__atomic_load_n(&r->block, __ATOMIC_ACQUIRE) == wanted)
            return r;
    }
}

static void push_freed(struct hak_profile_record *r, uint32_t number)
{
    uint32_t first = __atomic_load_n(&freed, __ATOMIC_RELAXED);
    do
        r->next = first;
    while (!__atomic_compare_exchange_n(&freed, &first, number + 1, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Once the record is on the list, another thread may use it again. */
int64_t hak_profile_free(const void *block)
{
    struct hak_profile_record *r = hak_profile_record_of(block);
    uintptr_t live = (uintptr_t)block;
    if (r == NULL ||
        !__atomic_compare_exchange_n(&r->block, &live, live | HAK_PROFILE_FREED,
                                     false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return -1;
    int64_t offset = r->offset_bytes;
    r->lifetime = hak_profile_lifetime(hak_os_now_us() - r->born_us);
    push_freed(r, r->number);
    return offset;
}

bool hak_profile_has_freed(void)
{
    return __atomic_load_n(&freed, __ATOMIC_RELAXED) != 0;
}

/* ---- writing, under the lock --------------------------------------------- */

static void fill(struct slot *s, uintptr_t block, uint32_t record)
{
    __atomic_store_n(&s->record, record, __ATOMIC_RELAXED);
    __atomic_store_n(&s->block, block, __ATOMIC_RELEASE);
}

static void insert(struct table *t, uintptr_t block, uint32_t record)
{
    uint32_t i = home_of(t, block);
    while (t->slot[i].block > REMOVED)
        i = (i + 1) & slot_mask(t);
    t->nused += t->slot[i].block == EMPTY;
    t->nlive++;
    fill(&t->slot[i], block, record);
}

static void remove_from(struct table *t, uintptr_t block, uint32_t record)
{
    uint32_t mask = slot_mask(t), i = home_of(t, block);
    while (t->slot[i].block != block || t->slot[i].record != record)
        i = (i + 1) & mask;
    t->nlive--;
    __atomic_store_n(&t->slot[i].block, REMOVED, __ATOMIC_RELEASE);
    while (t->slot[i].block == REMOVED &&
           t->slot[(i + 1) & mask].block == EMPTY) {
        __atomic_store_n(&t->slot[i].block, EMPTY, __ATOMIC_RELEASE);
        t->nused--;
        i = (i - 1) & mask;
    }
}

/* A copy of t that is twice as large. */
static struct table *copy_table(const struct table *t)
{
    uint64_t nslots = FIRST_SLOTS;
    if (t != NULL)
        nslots = ((uint64_t)slot_mask(t) + 1) * 2;
    struct table *larger =
        hak_profile_map(sizeof *t + nslots * sizeof(struct slot));
    if (larger == NULL)
        return NULL;
    larger->shift = 64 - (uint32_t)__builtin_ctzll(nslots);
    for (uint32_t i = 0; t != NULL && i <= slot_mask(t); i++)
        if (t->slot[i].block > REMOVED)
            insert(larger, t->slot[i].block, t->slot[i].record);
    return larger;
}

/* The table, with room for one block more; NULL: no memory. */
static struct table *table_with_room(void)
{
    struct table *t = current;
    if (t != NULL && t->nused <= slot_mask(t) / 2)
        return t;
    t = copy_table(t);
    if (t != NULL)
        __atomic_store_n(&current, t, __ATOMIC_RELEASE);
    return t;
}

static uint32_t take_record(void)
{
    uint32_t i = unused;
    if (i == 0) {
        i = hak_profile_add(&hak_profile_records, 1);
        if (i != HAK_PROFILE_NONE)
            record_at(i)->number = i;
        return i;
    }
    unused = record_at(i - 1)->next;
    return i - 1;
}

bool hak_profile_record(const struct hak_sample *sample, uint32_t entry,
                        uint64_t now_us)
{
    if (sample->offset_bytes > UINT32_MAX)
        return false;
    struct table *t = table_with_room();
    uint32_t number = t != NULL ? take_record() : HAK_PROFILE_NONE;
    if (number == HAK_PROFILE_NONE)
        return false;
    struct hak_profile_record *r = record_at(number);
    r->place = (uintptr_t)sample->place;
    r->asked_bytes = sample->asked_bytes;
    r->nblocks = sample->nblocks;
    r->born_us = now_us;
    r->entry = entry;
    r->offset_bytes = (uint32_t)sample->offset_bytes;
    __atomic_store_n(&r->block, (uintptr_t)sample->block, __ATOMIC_RELEASE);
    insert(t, (uintptr_t)sample->block, number);
    return true;
}

void hak_profile_drain(void)
{
    uint32_t next = __atomic_exchange_n(&freed, 0, __ATOMIC_ACQUIRE);
    while (next != 0) {
        struct hak_profile_record *r = record_at(next - 1);
        remove_from(current, r->block & ~HAK_PROFILE_FREED, next - 1);
        hak_profile_uncount(r->entry, r->nblocks, (double)r->asked_bytes,
                            r->lifetime);
        __atomic_store_n(&r->block, 0, __ATOMIC_RELEASE);
        uint32_t after = r->next;
        r->next = unused;
        unused = next;
        next = after;
    }
}

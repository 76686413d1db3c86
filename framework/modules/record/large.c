/* SPDX-License-Identifier: MIT
 * large.c - large blocks: how much of them the program has touched.
 *
 * The pages of a block that are in memory when it is made are of blocks before
 * it, and say nothing. Of the others, those that are in memory when it is given
 * back were touched. That share is taken for the whole block.
 *
 * The live large blocks are in a small table. A block that finds no room in its
 * bucket is unknown. There is no lock: a bucket's place belongs to the thread
 * that has put RESERVED there, and then to the block, which one thread gives
 * back.
 */
#include "record_module.h"

#include <base/os.h>
#include <kit/sync.h>

enum { BUCKETS = 512, PLACES = 8, FILTER = 1024 };
#define RESERVED ((uintptr_t)1)

struct place {
    size_t size_bytes, resident;
};

static struct table {
    struct {
        _Alignas(64) uintptr_t block[PLACES]; /* 0: free; atomic */
    } bucket[BUCKETS];
    struct place place[BUCKETS][PLACES];
    /* Blocks with this hash. Most frees, of small blocks, end here. Atomic. */
    uint16_t filter[FILTER];
} * table;

bool hak_record_large_start(const struct hak_module_host *host)
{
    if (table == NULL)
        table = host->meta(sizeof *table);
    return table != NULL;
}

void hak_record_large_forget(void)
{
    if (table != NULL)
        memset(table, 0, sizeof *table);
}

/* Fibonacci hashing (Knuth, volume 3, 6.4). */
static uint64_t hash_of(const void *block)
{
    return ((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15ull;
}

static uint16_t *filter_of(uint64_t hash)
{
    return &table->filter[hash >> 54];
}

static uintptr_t *places_of(uint64_t hash)
{
    return table->bucket[hash >> 32 & (BUCKETS - 1)].block;
}

static struct place *place_of(uint64_t hash, uint32_t i)
{
    return &table->place[hash >> 32 & (BUCKETS - 1)][i];
}

void hak_record_large_add(const void *block, size_t size_bytes, size_t resident)
{
    if (table == NULL || resident == SIZE_MAX)
        return;
    uint64_t hash = hash_of(block);
    uintptr_t *at = places_of(hash);
    for (uint32_t i = 0; i < PLACES; i++) {
        uintptr_t none = 0;
        if (!__atomic_compare_exchange_n(&at[i], &none, RESERVED, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        *place_of(hash, i) = (struct place){size_bytes, resident};
        __atomic_add_fetch(filter_of(hash), 1, __ATOMIC_RELAXED);
        __atomic_store_n(&at[i], (uintptr_t)block, __ATOMIC_RELEASE);
        return;
    }
}

bool hak_record_large_take(const void *block, size_t *size_bytes,
                           size_t *resident)
{
    uint64_t hash = hash_of(block);
    if (table == NULL ||
        likely(__atomic_load_n(filter_of(hash), __ATOMIC_RELAXED) == 0))
        return false;
    uintptr_t *at = places_of(hash);
    for (uint32_t i = 0; i < PLACES; i++) {
        uintptr_t is = (uintptr_t)block;
        if (__atomic_load_n(&at[i], __ATOMIC_ACQUIRE) != is)
            continue;
        struct place place = *place_of(hash, i);
        if (!__atomic_compare_exchange_n(&at[i], &is, 0, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue; /* freed twice */
        __atomic_sub_fetch(filter_of(hash), 1, __ATOMIC_RELAXED);
        *size_bytes = place.size_bytes;
        *resident = place.resident;
        return true;
    }
    return false;
}

/* The pages in which the block lies, as a range. */
static size_t pages_of(const void *block, size_t size_bytes, uintptr_t *first)
{
    uintptr_t page = hak_os_page_bytes();
    *first = (uintptr_t)block & ~(page - 1);
    return ((uintptr_t)block + size_bytes - 1 - *first) / page + 1;
}

size_t hak_record_large_resident(const void *block, size_t size_bytes)
{
    uintptr_t first;
    size_t n = 0, npages = pages_of(block, size_bytes, &first);
    int kept = errno;
    bool known =
        hak_os_resident((void *)first, npages * hak_os_page_bytes(), &n);
    errno = kept;
    return known ? n : SIZE_MAX;
}

bool hak_record_large_touched(const void *block, size_t size_bytes,
                              size_t resident, size_t *touched_bytes)
{
    uintptr_t first;
    size_t npages = pages_of(block, size_bytes, &first);
    if (resident >= npages)
        return false;
    size_t now = hak_record_large_resident(block, size_bytes);
    if (now == SIZE_MAX)
        return false;
    double share = now <= resident
                       ? 0
                       : (double)(now - resident) / (double)(npages - resident);
    *touched_bytes = hak_min((size_t)(share * (double)size_bytes), size_bytes);
    return true;
}

void hak_record_large_each(void (*each)(void *context, const void *block,
                                        size_t size_bytes, size_t resident),
                           void *context)
{
    for (uint32_t b = 0; table != NULL && b < BUCKETS; b++)
        for (uint32_t i = 0; i < PLACES; i++) {
            uintptr_t block =
                __atomic_load_n(&table->bucket[b].block[i], __ATOMIC_ACQUIRE);
            struct place place = table->place[b][i];
            if (block != 0 && block != RESERVED)
                each(context, (void *)block, place.size_bytes, place.resident);
        }
}

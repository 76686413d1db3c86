/* SPDX-License-Identifier: MIT
 * pages.c - free memory in the pages that sampled blocks keep.
 *
 * A page goes back to the system when its last slot is free. So those that are
 * live share what is resident of the page and free: (resident bytes - bytes of
 * live slots) / live slots. What is resident is asked by mincore(2).
 *
 * Records are read in pieces, each under the lock, since the core and the
 * kernel must be asked without it. A block may be freed in between: the figures
 * of its page are then those of a page that another block is on, or none.
 */
#include "heap_profile.h"

#include <base/os.h>

enum {
    PIECE = 256,  /* records that are read at once */
    CACHE = 1024, /* pages whose figures are kept */
};

struct block {
    uintptr_t place;
    double nblocks;
    uint32_t entry;
};

/* Figures of pages, by a hash of their start. */
struct cache {
    uintptr_t start;
    double share_bytes;
};

/* The resident bytes of [start, start + n), whole OS pages. */
static size_t resident_bytes(uintptr_t start, size_t n)
{
    size_t page = hak_os_page_bytes(), npages = 0;
    uintptr_t end = hak_round_up(start + n, page);
    start = hak_round_down(start, page);
    return hak_os_resident((void *)start, end - start, &npages) ? npages * page
                                                                : 0;
}

static double share_of(const struct hak_page_now *page)
{
    size_t resident = resident_bytes(page->start, page->size_bytes);
    double used = (double)page->nlive * (double)page->slot_bytes;
    return page->nlive != 0 && (double)resident > used
               ? ((double)resident - used) / (double)page->nlive
               : 0;
}

static double cached_share(struct cache *cache, const struct hak_page_now *page)
{
    struct cache *c =
        &cache[hak_profile_hash(page->start, page->slot_bytes) % CACHE];
    if (c->start != page->start)
        *c = (struct cache){page->start, share_of(page)};
    return c->share_bytes;
}

/* Copy the live blocks among the records from first on. */
static uint32_t read_piece(struct block *out, uint32_t first, uint32_t end)
{
    uint32_t n = 0;
    bool entered = hak_profile_enter();
    for (uint32_t i = first; i < end && i < first + PIECE; i++) {
        const struct hak_profile_record *r =
            hak_profile_at(&hak_profile_records, i);
        uintptr_t block = __atomic_load_n(&r->block, __ATOMIC_RELAXED);
        if (block != 0 && (block & HAK_PROFILE_FREED) == 0)
            out[n++] = (struct block){r->place, r->nblocks, r->entry};
    }
    hak_profile_leave(entered);
    return n;
}

void hak_profile_pages(double *out, uint32_t nentries)
{
    static struct cache cache[CACHE]; /* one dump runs at a time */
    struct block block[PIECE];
    uint32_t end = __atomic_load_n(&hak_profile_records.n, __ATOMIC_ACQUIRE);
    memset(cache, 0, sizeof cache);
    for (uint32_t first = 0; first < end; first += PIECE) {
        uint32_t n = read_piece(block, first, end);
        for (uint32_t i = 0; i < n; i++) {
            struct hak_page_now page;
            if (block[i].entry < nentries &&
                hak_profile.host->page((void *)block[i].place, &page) == 0)
                out[block[i].entry] +=
                    cached_share(cache, &page) * block[i].nblocks;
        }
    }
}

/* SPDX-License-Identifier: MIT
 * resident.c - how much of the window is in memory.
 *
 * Mapped memory that was never touched, or that was purged in place, is not in
 * memory. Only the kernel knows which it is (mincore). It is asked for each run
 * of granules in use or kept, with no lock held, and its own lock on mappings
 * is held for no more than 4 MiB at a time.
 */
#include <core/memory/window.h>

#include <errno.h>

enum {
    PIECE_GRANULES = 64, /* a word of the bitmaps */
    /* A range with a page that is not mapped is looked at page by page. Much
     * reserved address space would take seconds. */
    FAILURES_MOST = 20000,
};

/* The granules of a word of the bitmaps that are in use or kept; 0 from the end
 * of the bitmaps on, with *end set. */
static uint64_t granules_of(size_t word, bool *end)
{
    uint64_t bits = 0;
    hak_lock_take(&hak_window.lock);
    *end = word * PIECE_GRANULES >= hak_window.nbits;
    if (!*end)
        bits = hak_window.used[word] | hak_window.idle[word];
    hak_lock_drop(&hak_window.lock);
    return bits;
}

/* Add the pages in memory of [p, p + size_bytes) to *pages; in halves, where
 * not all of it is mapped. Returns false: it has taken too many calls. */
static bool add_parts(char *p, size_t size_bytes, size_t *pages,
                      uint32_t *failures)
{
    size_t half = hak_round_down(size_bytes / 2, hak_os_page_bytes());
    size_t npages = 0;
    if (hak_os_resident(p, size_bytes, &npages)) {
        *pages += npages;
        return true;
    }
    if (++*failures > FAILURES_MOST)
        return false;
    return half == 0 ||
           (add_parts(p, half, pages, failures) &&
            add_parts(p + half, size_bytes - half, pages, failures));
}

/* Add the runs of set bits of a word. */
static bool add_runs(size_t word, uint64_t bits, size_t *pages,
                     uint32_t *failures)
{
    while (bits != 0) {
        size_t first = (size_t)__builtin_ctzll(bits);
        uint64_t rest = ~(bits >> first);
        size_t n = rest != 0 ? (size_t)__builtin_ctzll(rest) : PIECE_GRANULES;
        n = hak_min(n, PIECE_GRANULES - first);
        if (!add_parts(hak_window_address(word * PIECE_GRANULES + first),
                       hak_window_bytes(n), pages, failures))
            return false;
        bits &= n == PIECE_GRANULES ? 0 : ~(((1ull << n) - 1) << first);
    }
    return true;
}

int64_t hak_space_resident(void)
{
    size_t pages = 0;
    uint32_t failures = 0;
    bool end = false;
    for (size_t word = 0; !end; word++)
        if (!add_runs(word, granules_of(word, &end), &pages, &failures))
            return -E2BIG;
    return (int64_t)(pages * hak_os_page_bytes());
}

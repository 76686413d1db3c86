/* SPDX-License-Identifier: MIT
 * reserve.c - reserves address space without memory; opens and closes pages.
 */
#include <core/memory/window.h>

#include <errno.h>

/* Find a run that is neither used nor mapped. HAK_BITS_NONE: there is none.
 * lock held. */
static size_t find_unmapped(size_t n, size_t align)
{
    size_t g = hak_window.free_hint;
    for (;;) {
        g = hak_bits_run(hak_window.used, ~0ull, g, hak_window.nbits, n, align);
        if (g == HAK_BITS_NONE)
            return g;
        size_t idle = hak_bits_next(hak_window.idle, 0, g, g + n);
        if (idle == g + n)
            return g;
        g = hak_bits_next(hak_window.idle, ~0ull, idle, hak_window.nbits);
    }
}

/* Reserve a run of n granules, and make its entries of the tables writable.
 * HAK_BITS_NONE: there is none, or no memory. */
static size_t hold_unmapped(size_t n, size_t align)
{
    hak_lock_take(&hak_window.mapping);
    hak_window_make_room(n, align);
    hak_lock_take(&hak_window.lock);
    size_t g = find_unmapped(n, align);
    if (g != HAK_BITS_NONE) {
        hak_window_set_used(g, n);
        hak_window.frontier = hak_max(hak_window.frontier, g + n);
    }
    hak_lock_drop(&hak_window.lock);
    if (g != HAK_BITS_NONE &&
        !hak_directory_ready(hak_window_address(g), hak_window_bytes(n))) {
        hak_lock_take(&hak_window.lock);
        hak_window_clear_used(g, n);
        hak_lock_drop(&hak_window.lock);
        g = HAK_BITS_NONE;
    }
    hak_lock_drop(&hak_window.mapping);
    return g;
}

void *hak_space_reserve(size_t size_bytes, size_t align_bytes)
{
    size_t n = hak_window_granules(size_bytes);
    size_t align = hak_max(hak_window_granules(align_bytes), 1);
    if (n == 0 || n > hak_window.ngranules ||
        align_bytes > HAK_BASE_ALIGN_BYTES)
        return NULL;
    size_t g = hold_unmapped(n, align);
    if (g == HAK_BITS_NONE) {
        hak_window_purge_all(&hak_window.idle);
        g = hold_unmapped(n, align);
    }
    if (g == HAK_BITS_NONE)
        return NULL;
    hak_count_shared(&hak_window.figures.maps, 1);
    return hak_window_address(g);
}

void hak_space_unreserve(void *p, size_t size_bytes)
{
    hak_lock_take(&hak_window.lock);
    hak_window_clear_used(
        hak_window_granules((size_t)((char *)p - hak_window.base)),
        hak_window_granules(size_bytes));
    hak_lock_drop(&hak_window.lock);
    hak_count_shared(&hak_window.figures.unmaps, 1);
}

/* Mapping may fail under a limit on address space, because free granules that
 * are mapped count. So they are unmapped, and it is tried once more. */
int hak_space_open(void *p, size_t size_bytes, bool now)
{
    int (*map)(void *, size_t) = now ? hak_os_populate_at : hak_os_map_at;
    int error = map(p, size_bytes);
    if (error != 0 && error != -EEXIST && hak_counted(&hak_window.nidle) != 0) {
        hak_window_purge_all(&hak_window.idle);
        error = map(p, size_bytes);
    }
    if (error != 0)
        return error == -EEXIST ? error : -ENOMEM;
    hak_count_shared(&hak_window.open_bytes, (int64_t)size_bytes);
    hak_window_count_peak();
    return 0;
}

/* A long range is purged first, in pieces, because unmapping a range without
 * pages in memory takes the kernel little time. */
bool hak_space_close(void *p, size_t size_bytes)
{
    if (size_bytes > hak_window_bytes(HAK_PURGE_PIECE_GRANULES))
        hak_window_purge_pages(p, size_bytes);
    bool closed = hak_os_unmap(p, size_bytes);
    bool purged = closed || hak_window_purge_pages(p, size_bytes) == 0;
    hak_window_count_purge(purged);
    if (!purged)
        return false;
    if (closed)
        hak_count_shared(&hak_window.open_bytes, -(int64_t)size_bytes);
    hak_count_shared(&hak_window.figures.purged_bytes, (int64_t)size_bytes);
    return closed;
}

/* SPDX-License-Identifier: MIT
 * directory.c - granule -> span: the memory of the owns() walk.
 *
 * One flat table over the window. It is mapped read-only, so it costs address
 * space alone (no commit under overcommit mode 2); the part for a range of
 * the window becomes writable when something is first mapped there: a writable
 * mapping is moved over it. (mprotect would do as well, but sandboxes kill
 * programs that call it late; glibc's malloc does not.) A read of an untouched
 * entry sees the kernel's zero page: NULL, nobody's.
 *
 * Entries are written before a slot of the granule is handed out and cleared
 * after its last slot came back, so a free() of a live slot reads an entry
 * that its allocation happens after: relaxed is enough.
 */
#include "core.h"

#include <errno.h>
#include <sys/mman.h>

/* 64 KiB of entries, 512 MiB of window, are made writable at once. */
enum { READY_SHIFT = 13 };
#define READY_ENTRIES ((size_t)1 << READY_SHIFT)

HAK_SEALED struct hak_directory hak_directory;
static unsigned char *ready; /* one byte for READY_ENTRIES entries */

int hak_directory_start(uintptr_t base, size_t window_bytes)
{
    size_t n = window_bytes >> HAK_GRANULE_SHIFT;
    ready = hak_meta(hak_max(n >> READY_SHIFT, 1));
    void *table = hak_os_map(n * sizeof(uint64_t), PROT_READ);
    if (ready == NULL || table == NULL)
        return -ENOMEM;
    hak_directory.base = base;
    hak_directory.entry = table;
    hak_directory.limit_real = n;
    return 0;
}

/*
 * The kernel moves a mapping in one step for all readers, and it has accounted
 * for it before: what is there goes only when the new one is sure to come.
 */
static bool make_writable(uint64_t *entries, size_t size_bytes)
{
    void *fresh = hak_os_map(size_bytes, PROT_READ | PROT_WRITE);
    if (fresh == NULL)
        return false;
    if (hak_os_move(fresh, size_bytes, entries, size_bytes))
        return true;
    hak_os_unmap(fresh, size_bytes);
    return hak_os_writable(entries, size_bytes); /* where mremap is refused */
}

/* Called by one thread at a time: space.c, mapping. */
bool hak_directory_ready(const void *p, size_t size_bytes)
{
    size_t first = hak_directory_granule(p);
    size_t last = first + ((size_bytes - 1) >> HAK_GRANULE_SHIFT);
    for (size_t i = first >> READY_SHIFT; i <= last >> READY_SHIFT; i++) {
        if (ready[i])
            continue;
        size_t at = i << READY_SHIFT;
        size_t n = hak_min(READY_ENTRIES, hak_directory.limit_real - at);
        if (!make_writable(hak_directory.entry + at, n * sizeof(uint64_t)))
            return false;
        ready[i] = 1;
    }
    return true;
}

static uint64_t entry_of(const struct hak_span *span)
{
    if (span == NULL)
        return 0;
    uint32_t step = span->slot_bytes == 0 ? HAK_STEP_LARGE : 0;
    while (step < HAK_STEP_LARGE && hak_step_bytes(step) < span->slot_bytes)
        step++;
    const struct hak_thread *owner = hak_owner_of(span);
    uint64_t tag = owner == NULL ? 0 : owner->tag % HAK_TAG_NONE;
    return (uint64_t)(uintptr_t)span << 16 | (uint64_t)step << 16 | tag;
}

void hak_directory_set(struct hak_span *span, const void *p, size_t size_bytes)
{
    size_t g = hak_directory_granule(p);
    size_t end = g + (size_bytes >> HAK_GRANULE_SHIFT);
    HAK_ALWAYS(end <= hak_directory.limit_real);
    uint64_t entry = entry_of(span);
    for (; g < end; g++)
        __atomic_store_n(&hak_directory.entry[g], entry, __ATOMIC_RELEASE);
}

/* Another thread may have been faster, or the span may have gone. */
uint64_t hak_directory_retag(const void *p, uint64_t entry)
{
    size_t g = hak_directory_granule(p);
    uint64_t better = entry_of(hak_entry_span(entry));
    if (better != entry)
        (void)__atomic_compare_exchange_n(&hak_directory.entry[g], &entry,
                                          better, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED);
    return better;
}

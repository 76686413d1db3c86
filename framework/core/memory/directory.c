/* SPDX-License-Identifier: MIT
 * directory.c - granule -> span: the memory of the owns() walk.
 *
 * One flat table over the window, and boxes may have tables of their own over
 * it (host->window_table). A table is mapped read-only, so it costs address
 * space alone: no commit under overcommit mode 2, no memory when the program
 * locks all of it, nothing in a core dump. The part for a range of the window
 * becomes writable when something is first mapped there: a writable
 * mapping is moved over it. (mprotect would do as well, but sandboxes kill
 * programs that call it late; glibc's malloc does not.) A read of an untouched
 * entry sees the kernel's zero page: NULL, nobody's.
 *
 * Entries are written before a slot of the granule is handed out and cleared
 * after its last slot came back, so a free() of a live slot reads an entry
 * that its allocation happens after: relaxed is enough.
 */
#include <core/memory/directory.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/sections.h>
#include <core/state/thread.h>

#include <errno.h>
#include <sys/mman.h>

/*
 * 64 KiB of a table are made writable at once: of the directory, 8192 entries,
 * those of 512 MiB of window.
 */
enum { CHUNK_SHIFT = 16, TABLES_MOST = 4 * HAK_MAX_BOXES };
#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)

/* The directory is the first. */
static HAK_SEALED struct table {
    char *at;
    size_t size_bytes;
    uint32_t shift;       /* granules of a chunk, 2^shift */
    unsigned char *ready; /* a byte a chunk: it is writable */
} tables[TABLES_MOST];
static HAK_SEALED uint32_t ntables;

static bool table_ready(const struct table *t, size_t first, size_t last);

/* What is ready in the directory has to be in a table that comes later. */
static bool follow_directory(const struct table *t)
{
    const struct table *directory = &tables[0];
    size_t n = directory->size_bytes >> CHUNK_SHIFT;
    for (size_t i = 0; t != directory && i < n; i++)
        if (directory->ready[i] &&
            !table_ready(t, i << directory->shift, i << directory->shift))
            return false;
    return true;
}

void *hak_directory_table(uint32_t bits)
{
    struct table *t = &tables[ntables];
    size_t n = hak_directory.limit_real;
    if (ntables == TABLES_MOST || bits == 0 || bits > 64 ||
        (bits & (bits - 1)) != 0)
        return NULL;
    t->shift = CHUNK_SHIFT + 3 - (uint32_t)__builtin_ctz(bits);
    t->size_bytes = hak_round_up(hak_max(n * bits / 8, 1), CHUNK_BYTES);
    t->ready = hak_meta(t->size_bytes >> CHUNK_SHIFT);
    t->at = hak_os_map(t->size_bytes, PROT_READ);
    if (t->ready == NULL || t->at == NULL || !follow_directory(t))
        return NULL;
    ntables++;
    return t->at;
}

int hak_directory_start(uintptr_t base, size_t window_bytes)
{
    hak_directory.base = base;
    hak_directory.limit_real = window_bytes >> HAK_GRANULE_SHIFT;
    hak_directory.entry = hak_directory_table(64);
    if (hak_directory.entry == NULL)
        hak_directory.limit_real = 0;
    return hak_directory.entry == NULL ? -ENOMEM : 0;
}

/*
 * The kernel moves a mapping in one step for all readers, and it has accounted
 * for it before: what is there goes only when the new one is sure to come.
 */
static bool make_writable(char *chunk)
{
    char *fresh = hak_os_map(CHUNK_BYTES, PROT_READ | PROT_WRITE);
    if (fresh == NULL)
        return false;
    if (hak_os_move(fresh, CHUNK_BYTES, chunk, CHUNK_BYTES))
        return true;
    hak_os_unmap(fresh, CHUNK_BYTES);
    return hak_os_writable(chunk, CHUNK_BYTES); /* where mremap is refused */
}

static bool table_ready(const struct table *t, size_t first, size_t last)
{
    for (size_t i = first >> t->shift; i <= last >> t->shift; i++) {
        if (t->ready[i])
            continue;
        if (!make_writable(t->at + (i << CHUNK_SHIFT)))
            return false;
        t->ready[i] = 1;
    }
    return true;
}

/* Called by one thread at a time: space.c, mapping. */
bool hak_directory_ready(const void *p, size_t size_bytes)
{
    size_t first = hak_directory_granule(p);
    size_t last = first + ((size_bytes - 1) >> HAK_GRANULE_SHIFT);
    for (uint32_t i = 0; i < ntables; i++)
        if (!table_ready(&tables[i], first, last))
            return false;
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

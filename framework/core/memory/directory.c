/* SPDX-License-Identifier: MIT
 * directory.c - the owner directory, granule -> span, and other tables over
 * the window.
 *
 * The directory is one flat table with an entry for each granule. Boxes may
 * have tables of their own over the window (host->window_table). A table is
 * mapped read-only, so it costs address space alone: no commit under overcommit
 * mode 2, no memory when the program locks all of it, and nothing in a core
 * dump. An untouched entry reads as zero, which is NULL: nobody's.
 *
 * The entries for a range of the window become writable when something is first
 * mapped in that range: a writable mapping is moved over this part of the
 * table. mprotect would be simpler, but some sandboxes kill a program that
 * calls it after its start.
 *
 * An entry is written before a slot of its granule is handed out, and cleared
 * after the last slot came back. So the allocation of a live slot happens after
 * the store of its entry, and free() may read the entry with a relaxed load.
 */
#include <core/memory/directory.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/seal.h>
#include <base/sections.h>
#include <core/memory/window.h>
#include <core/state/thread.h>

#include <errno.h>
#include <sys/mman.h>

/*
 * A table is made writable in chunks of 64 KiB. A chunk of the directory has
 * 8192 entries, for 512 MiB of the window.
 */
enum { CHUNK_SHIFT = 16, TABLES_MOST = 4 * HAK_MAX_BOXES };
#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)

/* tables[0] is the directory. */
static HAK_SEALED struct table {
    char *at;
    size_t size_bytes;
    uint32_t shift;       /* a chunk has the entries of 2^shift granules */
    unsigned char *ready; /* 1 for each chunk that is writable */
    const void *owner;    /* NULL: for ever */
    bool spare;           /* its owner is gone */
} tables[TABLES_MOST];
static HAK_SEALED uint32_t ntables;
/* Tables are added at start, or with hak_window.mapping held and the seal open.
 */

static bool table_ready(const struct table *t, size_t first, size_t last);

/* Make a new table writable for all ranges for which the directory is. False =
 * no memory. */
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

/* A table of a box that is gone, for entries of the same width. It reads zero.
 */
static void *take_spare(uint32_t shift, const void *owner)
{
    for (uint32_t i = 0; i < ntables; i++) {
        struct table *t = &tables[i];
        if (!t->spare || t->shift != shift ||
            hak_os_purge(t->at, t->size_bytes) != 0)
            continue;
        t->spare = false;
        t->owner = owner;
        return t->at;
    }
    return NULL;
}

static void *add_table(uint32_t bits, uint32_t shift, const void *owner)
{
    struct table *t = &tables[ntables];
    size_t n = hak_directory.limit_real;
    if (ntables == TABLES_MOST)
        return NULL;
    t->shift = shift;
    t->owner = owner;
    t->size_bytes = hak_round_up(hak_max(n * bits / 8, 1), CHUNK_BYTES);
    t->ready = hak_meta(t->size_bytes >> CHUNK_SHIFT);
    t->at = hak_os_map(t->size_bytes, PROT_READ);
    if (t->ready == NULL || t->at == NULL || !follow_directory(t))
        return NULL;
    ntables++;
    return t->at;
}

void *hak_directory_table(uint32_t bits, const void *owner)
{
    if (bits == 0 || bits > 64 || (bits & (bits - 1)) != 0 || !hak_seal_open())
        return NULL;
    hak_lock_take(&hak_window.mapping);
    uint32_t shift = CHUNK_SHIFT + 3 - (uint32_t)__builtin_ctz(bits);
    void *table = take_spare(shift, owner);
    if (table == NULL)
        table = add_table(bits, shift, owner);
    hak_lock_drop(&hak_window.mapping);
    hak_seal_close();
    return table;
}

void hak_directory_forget(const void *owner)
{
    hak_lock_take(&hak_window.mapping);
    for (uint32_t i = 0; i < ntables; i++)
        tables[i].spare |= tables[i].owner == owner;
    hak_lock_drop(&hak_window.mapping);
}

int hak_directory_start(uintptr_t base, size_t window_bytes)
{
    hak_directory.base = base;
    hak_directory.limit_real = window_bytes >> HAK_GRANULE_SHIFT;
    hak_directory.entry = hak_directory_table(64, NULL);
    if (hak_directory.entry == NULL)
        hak_directory.limit_real = 0;
    return hak_directory.entry == NULL ? -ENOMEM : 0;
}

/*
 * Replace a read-only chunk, which reads zero, by a writable one that reads
 * zero. mremap does it in one step, so readers never see a hole. The memory of
 * the new mapping is accounted for before, so mremap does not fail for lack of
 * it after the old chunk is gone.
 */
static bool make_writable(char *chunk)
{
    char *fresh = hak_os_map(CHUNK_BYTES, PROT_READ | PROT_WRITE);
    if (fresh == NULL)
        return false;
    if (hak_os_move(fresh, CHUNK_BYTES, chunk, CHUNK_BYTES))
        return true;
    hak_os_unmap(fresh, CHUNK_BYTES);
    return hak_os_writable(chunk, CHUNK_BYTES); /* if mremap is refused */
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

/* Called with hak_window.mapping held, so by one thread at a time. */
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

/* The exchange fails when another thread was faster, or when the granule has
 * another span by now. Both are fine, since the tag is a hint. */
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

/* SPDX-License-Identifier: MIT
 * meta.c - memory for metadata: a bump allocator over chunks of 256 KiB.
 */
#include <base/meta.h>

#include <base/os.h>
#include <kit/sync.h>

#include <sys/mman.h>
#include <string.h>

enum { META_CHUNK_BYTES = 256 * 1024, META_OWN_MAP_BYTES = 64 * 1024 };

static struct {
    struct hak_lock lock;
    char *next, *end;
    uint64_t bytes;
} meta;

void hak_meta_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&meta.lock, phase);
}

uint64_t hak_meta_bytes(void)
{
    return __atomic_load_n(&meta.bytes, __ATOMIC_RELAXED);
}

/*
 * Take memory from the current chunk. If it does not fit and *fresh is not
 * NULL, *fresh becomes the current chunk and is set to NULL.
 * Returns NULL: it does not fit.
 */
static void *meta_from_chunk(size_t size_bytes, char **fresh)
{
    void *p = NULL;
    hak_lock_take(&meta.lock);
    if ((size_t)(meta.end - meta.next) < size_bytes && *fresh != NULL) {
        meta.next = *fresh;
        meta.end = *fresh + META_CHUNK_BYTES;
        *fresh = NULL;
    }
    if ((size_t)(meta.end - meta.next) >= size_bytes) {
        p = meta.next;
        meta.next += size_bytes;
        hak_count(&meta.bytes, size_bytes);
    }
    hak_lock_drop(&meta.lock);
    return p;
}

/* A chunk is mapped without the lock, since mmap may take long. Of several
 * threads that map one, all but the first unmap theirs. */
void *hak_meta(size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes > PTRDIFF_MAX)
        return NULL;
    size_bytes = hak_round_up(size_bytes, 64);
    if (size_bytes >= META_OWN_MAP_BYTES) /* a mapping of its own */
        return hak_os_map(size_bytes, PROT_READ | PROT_WRITE);
    char *fresh = NULL;
    void *p = meta_from_chunk(size_bytes, &fresh);
    if (p == NULL &&
        (fresh = hak_os_map(META_CHUNK_BYTES, PROT_READ | PROT_WRITE)) != NULL)
        p = meta_from_chunk(size_bytes, &fresh);
    if (fresh != NULL)
        hak_os_unmap(fresh, META_CHUNK_BYTES);
    return p;
}

void *hak_meta_guarded(size_t size_bytes)
{
    size_t page = hak_os_page_bytes(), body = hak_round_up(size_bytes, page);
    if (size_bytes == 0 || size_bytes > PTRDIFF_MAX)
        return NULL;
    char *p = hak_os_map(body + 2 * page, PROT_NONE);
    if (p != NULL && hak_os_map_over(p + page, body))
        return p + page;
    if (p != NULL)
        hak_os_unmap(p, body + 2 * page);
    return hak_os_map(body, PROT_READ | PROT_WRITE);
}

const char *hak_meta_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *kept = hak_meta(bytes);
    return kept != NULL ? memcpy(kept, text, bytes) : NULL;
}

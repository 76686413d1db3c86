/* SPDX-License-Identifier: MIT
 * libc.c - the last resort: glibc's allocator by its own names. */
#include "core.h"

#include <dlfcn.h>
#include <errno.h>

void *__libc_malloc(size_t size_bytes);
void *__libc_calloc(size_t n, size_t size_bytes);
void *__libc_realloc(void *p, size_t size_bytes);
void *__libc_memalign(size_t align_bytes, size_t size_bytes);
void __libc_free(void *p);

static uint64_t blocks;

/*
 * glibc sets its malloc up at the first call, without a lock, since that
 * comes before there are threads; ours may come after. A request that cannot
 * be met sets it up and takes nothing.
 */
void hak_libc_start(void)
{
    int kept = errno;
    (void)!__libc_malloc(SIZE_MAX);
    errno = kept;
}

uint64_t hak_libc_blocks(void)
{
    return __atomic_load_n(&blocks, __ATOMIC_RELAXED);
}

void *hak_libc_alloc(size_t align_bytes, size_t size_bytes, bool zero)
{
    void *p;
    if (align_bytes > HAK_ALIGN_BYTES) {
        p = __libc_memalign(align_bytes, size_bytes);
        if (p != NULL && zero)
            memset(p, 0, size_bytes);
    } else {
        p = zero ? __libc_calloc(1, size_bytes) : __libc_malloc(size_bytes);
    }
    if (p != NULL)
        hak_count_shared(&blocks, 1);
    return p;
}

void hak_libc_free(void *p)
{
    int kept = errno; /* glibc 2.36's free keeps it, older ones did not */
    __libc_free(p);
    errno = kept;
}

void *hak_libc_realloc(void *p, size_t size_bytes)
{
    return __libc_realloc(p, size_bytes);
}

/*
 * glibc has no second name for malloc_usable_size, so the next library's is
 * looked up: at the first use, which is never inside a box or the loader.
 */
size_t hak_libc_usable(void *p)
{
    static size_t (*usable)(void *);
    size_t (*found)(void *) = __atomic_load_n(&usable, __ATOMIC_ACQUIRE);
    if (found == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "malloc_usable_size");
        if (symbol == NULL)
            return 0;
        memcpy(&found, &symbol, sizeof found);
        __atomic_store_n(&usable, found, __ATOMIC_RELEASE);
    }
    return found(p);
}

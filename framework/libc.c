/* SPDX-License-Identifier: MIT
 * libc.c - the last resort: glibc's allocator by its own names. */
#include "core.h"

#include <dlfcn.h>
#include <errno.h>

void *__libc_malloc(size_t size_bytes);
void *__libc_calloc(size_t n, size_t size_bytes);
void *__libc_realloc(void *p, size_t size_bytes);
void *__libc_memalign(size_t align_bytes, size_t size_bytes);
int __libc_mallopt(int parameter, int value);
void __libc_free(void *p);

static uint64_t blocks;

/* ---- which blocks are libc's ------------------------------------------- */

/*
 * A pointer that no box owns is libc's, a residual box's, or wrong. libc
 * serves few requests (fork handlers, threads that ended, what a foreign
 * library itself asks for), so their addresses are kept: two buckets of one
 * cache line are possible for each. Without a lock, since a forking thread
 * allocates too.
 */
enum { BUCKETS = 8192, BUCKET_SLOTS = 8 };

static HAK_SPARSE struct {
    _Alignas(64) const void *slot[BUCKET_SLOTS];
} buckets[BUCKETS];
uint64_t hak_libc_nkept;
static bool keeping = true;
static bool bounded = true; /* no block without a place in the table */

static bool is_keeping(void)
{
    return __atomic_load_n(&keeping, __ATOMIC_RELAXED);
}

void hak_libc_forget(void)
{
    __atomic_store_n(&keeping, false, __ATOMIC_RELAXED);
}

void hak_libc_bound(bool bound)
{
    bounded = bound;
}

static const void **bucket(const void *p, bool second)
{
    uint64_t h = (uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15ull;
    return buckets[(second ? h >> 32 : h >> 51) % BUCKETS].slot;
}

/* Put `to` where `from` is, in the buckets of p. */
static bool replace(const void *p, const void *from, const void *to)
{
    for (int second = 0; second < 2; second++) {
        const void **slot = bucket(p, second);
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            const void *want = from;
            if (__atomic_load_n(&slot[i], __ATOMIC_RELAXED) == from &&
                __atomic_compare_exchange_n(&slot[i], &want, to, false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
                return true;
        }
    }
    return false;
}

bool hak_libc_owns(const void *p)
{
    if (!hak_libc_keeps())
        return false;
    for (int second = 0; second < 2; second++) {
        const void **slot = bucket(p, second);
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
            if (__atomic_load_n(&slot[i], __ATOMIC_RELAXED) == p)
                return true;
    }
    return false;
}

bool hak_libc_may_own(const void *p)
{
    return !is_keeping() || hak_libc_owns(p);
}

/* A new block, or NULL when there has to be a place for it and is none. */
static void *kept(void *p)
{
    if (!is_keeping() || p == NULL)
        return p;
    if (!replace(p, NULL, p)) {
        if (!bounded) {
            hak_libc_forget();
            return p;
        }
        __libc_free(p);
        return NULL;
    }
    __atomic_add_fetch(&hak_libc_nkept, 1, __ATOMIC_RELAXED);
    return p;
}

/* Before the block can be anybody else's. */
static void forget(const void *p)
{
    if (is_keeping() && replace(p, p, NULL))
        __atomic_sub_fetch(&hak_libc_nkept, 1, __ATOMIC_RELAXED);
}

/* ---- the allocator ------------------------------------------------------ */

/* glibc has no second name for malloc_usable_size: the next library's. */
static size_t (*find_usable(void))(void *)
{
    size_t (*found)(void *) = NULL;
    void *symbol = dlsym(RTLD_NEXT, "malloc_usable_size");
    memcpy(&found, &symbol, sizeof found);
    return found;
}

void hak_libc_start(void)
{
    int error = errno;
    hak_core.libc_usable = find_usable();
    errno = error;
}

/*
 * glibc sets its malloc up at the first call, without a lock, since that
 * comes before there are threads; ours may come after. A tuning that it does
 * not know sets it up and changes nothing.
 */
void hak_libc_set_up(void)
{
    static struct hak_lock lock;
    static bool is_set_up;
    if (likely(__atomic_load_n(&is_set_up, __ATOMIC_ACQUIRE)) ||
        hak_lock_is_mine(&lock)) /* a signal handler, in the middle of it */
        return;
    int error = errno;
    hak_lock_take(&lock);
    if (!is_set_up)
        __libc_mallopt(0, 0);
    __atomic_store_n(&is_set_up, true, __ATOMIC_RELEASE);
    hak_lock_drop(&lock);
    errno = error;
}

uint64_t hak_libc_blocks(void)
{
    return __atomic_load_n(&blocks, __ATOMIC_RELAXED);
}

void *hak_libc_alloc(size_t align_bytes, size_t size_bytes, bool zero)
{
    void *p;
    hak_libc_set_up();
    if (align_bytes > HAK_ALIGN_BYTES) {
        p = __libc_memalign(align_bytes, size_bytes);
        if (p != NULL && zero)
            memset(p, 0, size_bytes);
    } else {
        p = zero ? __libc_calloc(1, size_bytes) : __libc_malloc(size_bytes);
    }
    p = kept(p);
    if (p != NULL)
        hak_count_shared(&blocks, 1);
    return p;
}

void hak_libc_free(void *p)
{
    int error = errno; /* glibc 2.36's free keeps it, older ones did not */
    forget(p);
    __libc_free(p);
    errno = error;
}

void *hak_libc_realloc(void *p, size_t size_bytes)
{
    forget(p);
    void *q = __libc_realloc(p, size_bytes);
    if (q == NULL)
        (void)kept(p); /* it is still there, and its place was */
    return kept(q);
}

size_t hak_libc_usable(void *p)
{
    size_t (*usable)(void *) = hak_core.libc_usable;
    if (usable == NULL) /* asked before the start */
        usable = find_usable();
    return usable != NULL ? usable(p) : 0;
}

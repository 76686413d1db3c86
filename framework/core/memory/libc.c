/* SPDX-License-Identifier: MIT
 * libc.c - glibc's allocator, the last resort, and a record of its blocks.
 *
 * glibc's functions are looked up in libc's own symbol table. A call by name
 * would reach this library, which defines glibc's second names (__libc_malloc
 * and so on) too, or another allocator that the program is linked with.
 */
#include <core/memory/libc.h>

#include <base/object.h>
#include <base/os.h>
#include <base/seal.h>
#include <base/sections.h>
#include <kit/sync.h>

#include <errno.h>
#include <gnu/libc-version.h>
#include <sys/mman.h>
#include <string.h>

static uint64_t blocks;

/* ---- the record of libc's blocks ---------------------------------------- */

/*
 * A pointer that no box owns belongs to libc, to another allocator or to the
 * residual box, or it is wrong. libc serves few requests: those of early
 * constructors, of fork handlers, of threads that have ended, and of foreign
 * libraries themselves. So the addresses of all its blocks are recorded in hash
 * tables. Each address has two possible buckets of one cache line. When both
 * are full, a table four times as large is added; a look-up searches all
 * tables. There is no lock, because a forking thread allocates too.
 */
enum { BUCKET_SLOTS = 8, FIRST_BUCKETS = 8192, GROWTH = 4 };

struct bucket {
    _Alignas(64) const void *slot[BUCKET_SLOTS]; /* atomic */
};

struct table {
    struct table *next; /* atomic; set once */
    struct bucket *bucket;
    size_t nbuckets; /* a power of two */
};

static HAK_SPARSE struct bucket first_buckets[FIRST_BUCKETS];
static struct table first_table = {.bucket = first_buckets,
                                   .nbuckets = FIRST_BUCKETS};
uint64_t hak_libc_nkept;
static bool keeping = true; /* atomic: blocks are recorded */
static bool bounded = true; /* a block that cannot be recorded is not given */

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

/* The table behind t; NULL: t is the last one. */
static struct table *next_table(const struct table *t)
{
    return __atomic_load_n(&t->next, __ATOMIC_ACQUIRE);
}

/* Add a table behind `last`. If another thread was faster, its table is
 * returned. NULL: no memory. */
static struct table *add_table(struct table *last)
{
    struct table *none = NULL;
    size_t nbuckets = last->nbuckets * GROWTH;
    /* one more bucket, for struct table itself */
    size_t bytes = sizeof(struct bucket) * (nbuckets + 1);
    struct table *t = hak_os_map(bytes, PROT_READ | PROT_WRITE);
    if (t == NULL)
        return next_table(last);
    t->nbuckets = nbuckets;
    t->bucket = (struct bucket *)(void *)t + 1;
    if (__atomic_compare_exchange_n(&last->next, &none, t, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return t;
    hak_os_unmap(t, bytes);
    return none;
}

/*
 * The finaliser of MurmurHash3 (Appleby, public domain). Each half of the
 * result is used as a hash of its own. It mixes well even for addresses at
 * equal distances.
 */
static uint64_t hash_of(const void *p)
{
    uint64_t h = (uintptr_t)p;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

static const void **bucket_of(const struct table *t, uint64_t hash, bool second)
{
    return t->bucket[(second ? hash >> 32 : hash) & (t->nbuckets - 1)].slot;
}

/* Replace `from` by `to` in one of the two buckets of the hash. False: it is in
 * neither. */
static bool replace_in(const struct table *t, uint64_t hash, const void *from,
                       const void *to)
{
    for (int second = 0; second < 2; second++) {
        const void **slot = bucket_of(t, hash, second);
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

static bool table_has(const struct table *t, uint64_t hash, const void *p)
{
    for (int second = 0; second < 2; second++) {
        const void **slot = bucket_of(t, hash, second);
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
            if (__atomic_load_n(&slot[i], __ATOMIC_RELAXED) == p)
                return true;
    }
    return false;
}

bool hak_libc_owns(const void *p)
{
    if (!hak_libc_keeps())
        return false;
    uint64_t hash = hash_of(p);
    for (const struct table *t = &first_table; t != NULL; t = next_table(t))
        if (table_has(t, hash, p))
            return true;
    return false;
}

bool hak_libc_may_own(const void *p)
{
    return !is_keeping() || hak_libc_owns(p);
}

/* False: no memory for a further table. */
static bool record_block(const void *p)
{
    uint64_t hash = hash_of(p);
    for (struct table *t = &first_table; t != NULL;) {
        if (replace_in(t, hash, NULL, p))
            return true;
        struct table *next = next_table(t);
        t = next != NULL ? next : add_table(t);
    }
    return false;
}

/* Called before libc frees the block: afterwards another thread may get and
 * record the same address. */
static void erase_block(const void *p)
{
    uint64_t hash = hash_of(p);
    if (!is_keeping())
        return;
    for (const struct table *t = &first_table; t != NULL; t = next_table(t))
        if (replace_in(t, hash, p, NULL)) {
            __atomic_sub_fetch(&hak_libc_nkept, 1, __ATOMIC_RELAXED);
            return;
        }
}

/* ---- libc's functions ---------------------------------------------------- */

static HAK_SEALED struct {
    void *(*malloc)(size_t size_bytes);
    void *(*calloc)(size_t n, size_t size_bytes);
    void *(*realloc)(void *p, size_t size_bytes);
    void *(*memalign)(size_t align_bytes, size_t size_bytes);
    void (*free)(void *p);
    size_t (*malloc_usable_size)(void *p);
    int (*mallopt)(int parameter, int value);
} libc;

bool hak_libc_is(const struct hak_object *object)
{
    return hak_object_has(object,
                          (const void *)(uintptr_t)gnu_get_libc_version);
}

#define FIND(name)                                        \
    do {                                                  \
        void *symbol = hak_object_symbol(&object, #name); \
        memcpy(&libc.name, &symbol, sizeof libc.name);    \
    } while (0)

void hak_libc_start(void)
{
    struct hak_object object;
    if (libc.malloc != NULL ||
        !hak_object_of((const void *)(uintptr_t)gnu_get_libc_version, &object))
        return;
    FIND(free);
    FIND(realloc);
    FIND(calloc);
    FIND(memalign);
    FIND(malloc_usable_size);
    FIND(mallopt);
    FIND(malloc);
}

/*
 * glibc initialises its malloc at the first call, without a lock, because it
 * expects that call before the first thread starts. Here the first call may
 * come later, so a lock is held around it. mallopt with an unknown parameter
 * initialises malloc and changes nothing else.
 */
void hak_libc_set_up(void)
{
    static struct hak_lock lock;
    static bool is_set_up;
    if (likely(__atomic_load_n(&is_set_up, __ATOMIC_ACQUIRE)) ||
        hak_lock_is_mine(&lock)) /* a signal handler interrupted this call */
        return;
    int error = errno;
    hak_lock_take(&lock);
    hak_libc_start();
    if (!is_set_up)
        libc.mallopt(0, 0);
    __atomic_store_n(&is_set_up, true, __ATOMIC_RELEASE);
    hak_lock_drop(&lock);
    errno = error;
}

/* ---- the allocator ------------------------------------------------------ */

/* Record a new block and return it. If it cannot be recorded and has to be
 * (`bounded`), it is freed and NULL is returned. */
static void *record_or_free(void *p)
{
    if (!is_keeping() || p == NULL)
        return p;
    if (record_block(p)) {
        __atomic_add_fetch(&hak_libc_nkept, 1, __ATOMIC_RELAXED);
        return p;
    }
    if (!bounded) {
        hak_libc_forget();
        return p;
    }
    libc.free(p);
    return NULL;
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
        p = libc.memalign(align_bytes, size_bytes);
        if (p != NULL && zero)
            memset(p, 0, size_bytes);
    } else {
        p = zero ? libc.calloc(1, size_bytes) : libc.malloc(size_bytes);
    }
    p = record_or_free(p);
    if (p != NULL)
        hak_count_shared(&blocks, 1);
    return p;
}

void hak_libc_free(void *p)
{
    int error = errno; /* free keeps errno only from glibc 2.33 on */
    hak_libc_set_up();
    erase_block(p);
    libc.free(p);
    errno = error;
}

/* Where blocks are recorded, realloc is an allocation and a copy: the new block
 * has to be recorded before the old one is freed. */
void *hak_libc_realloc(void *p, size_t size_bytes)
{
    hak_libc_set_up();
    if (!is_keeping())
        return libc.realloc(p, size_bytes);
    void *q = hak_libc_alloc(HAK_ALIGN_BYTES, size_bytes, false);
    if (q == NULL)
        return NULL;
    memcpy(q, p, hak_min(hak_libc_usable(p), size_bytes));
    hak_libc_free(p);
    return q;
}

size_t hak_libc_usable(void *p)
{
    hak_libc_set_up();
    return libc.malloc_usable_size(p);
}

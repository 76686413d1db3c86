/* SPDX-License-Identifier: MIT
 * odd.c - an allocator with calls of shapes that have no adapter, one that
 * calls malloc itself in the middle of its own, and no usable size. For
 * tests/foreign/test_foreign.sh.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BYTES = 64 << 20 };

int odd_level = 3;
static char *base;
static size_t used;
static uint64_t ncalls, nasked;

/* Blocks are cut from one piece and never used again. */
void *odd_alloc(double weight, size_t bytes, int level)
{
    if (weight != 1.5 || level != odd_level)
        return NULL;
    void *own = malloc(100000); /* ours, in the middle of its own */
    if (own == NULL)
        return NULL;
    free(own);
    __atomic_add_fetch(&ncalls, 1, __ATOMIC_RELAXED);
    size_t at =
        __atomic_fetch_add(&used, (bytes + 15) & ~(size_t)15, __ATOMIC_RELAXED);
    return base != NULL && at + bytes <= BYTES ? base + at : NULL;
}

void odd_free(void *p, double weight)
{
    if (weight != 1.5)
        abort();
    (void)p;
}

_Bool odd_owns(const void *p)
{
    __atomic_add_fetch(&nasked, 1, __ATOMIC_RELAXED);
    return (uintptr_t)p - (uintptr_t)base < BYTES;
}

int odd_start(const char *how, uint64_t *out)
{
    void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    base = p != MAP_FAILED ? p : NULL;
    *out = BYTES;
    return base != NULL && how[0] == 'x' ? 0 : -1;
}

uint64_t odd_asked(void)
{
    return __atomic_load_n(&nasked, __ATOMIC_RELAXED);
}

uint64_t odd_calls(void)
{
    return __atomic_load_n(&ncalls, __ATOMIC_RELAXED);
}

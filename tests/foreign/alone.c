/* SPDX-License-Identifier: MIT
 * alone.c - an allocator that is not thread-safe, and ends the process when two
 * threads are in it at once. Blocks of `alone_align` bytes of alignment. For
 * tests/foreign/test_foreign.sh.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 256 << 20, CLASSES = 20 };

struct block {
    size_t order;
    struct block *next;
};

int alone_align = 16;
static char *base;
static size_t used;
static struct block *list[CLASSES];
static int inside;

static void enter(void)
{
    static const char text[] = "alone: two threads are in it at once\n";
    if (__atomic_exchange_n(&inside, 1, __ATOMIC_RELAXED) != 0) {
        (void)!write(2, text, sizeof text - 1);
        abort();
    }
    for (int i = 0; i < 20; i++) /* so that another one comes */
        __builtin_ia32_pause();
}

static void leave(void)
{
    __atomic_store_n(&inside, 0, __ATOMIC_RELAXED);
}

int alone_start(int align)
{
    alone_align = align;
    base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base != MAP_FAILED ? 0 : -1;
}

void *alone_alloc(size_t bytes)
{
    size_t order = 0;
    enter();
    while (((size_t)32 << order) < bytes + sizeof(struct block))
        order++;
    struct block *b = order < CLASSES ? list[order] : NULL;
    if (b != NULL) {
        list[order] = b->next;
    } else if (order < CLASSES && used + ((size_t)32 << order) <= BYTES) {
        b = (struct block *)(void *)(base + used);
        used += (size_t)32 << order;
        b->order = order;
    }
    leave();
    return b != NULL ? (char *)b + (alone_align == 16 ? 16 : 8) : NULL;
}

void alone_free(void *p)
{
    struct block *b =
        (struct block *)(void *)((char *)p - (alone_align == 16 ? 16 : 8));
    enter();
    b->next = list[b->order];
    list[b->order] = b;
    leave();
}

_Bool alone_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)base < BYTES;
}

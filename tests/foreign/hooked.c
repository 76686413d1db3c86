/* SPDX-License-Identifier: MIT
 * hooked.c - an allocator that has no memory but what functions of its host
 * give it. For tests/foreign/test_foreign.sh.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { PIECE = 128 * 1024, MAGIC = 77 };

struct hooks {
    void *(*take)(const void *self, void *at, size_t bytes, size_t align,
                  _Bool *zero, int kind);
    _Bool (*give)(const void *self, void *p, size_t bytes);
    int (*purge)(void *p, size_t offset, size_t bytes);
    void *nothing;
    long (*zero)(int, double);
    long (*one)(int, double);
};

static const struct hooks *hooks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t ngiven;

/* Before each block: where it was taken and how much; 16 bytes. */
struct head {
    uint32_t offset, pieces;
    uint64_t bytes;
};

static void *get(size_t bytes, size_t align)
{
    _Bool zero = 0;
    char *p = hooks->take(hooks, NULL, bytes, align, &zero, MAGIC);
    if (p == NULL)
        return NULL;
    if (!zero || (uintptr_t)p % align != 0)
        abort();
    for (size_t i = 0; i < bytes; i += 512)
        if (p[i] != 0)
            abort();
    return p;
}

/* Every block is a piece of its own: simple, and all of it goes back. */
void *hooked_alloc(int64_t key, size_t bytes)
{
    if (key != MAGIC + 1 || hooks == NULL)
        return NULL;
    size_t all = (bytes + sizeof(struct head) + PIECE - 1) / PIECE * PIECE;
    struct head *head = get(all, PIECE);
    if (head == NULL)
        return NULL;
    head->bytes = all;
    return head + 1;
}

void hooked_free(void *p)
{
    struct head *head = (struct head *)p - 1;
    size_t all = head->bytes;
    if (hooks->give(hooks, (char *)head + 65536, all) == 0 ||
        hooks->give(hooks, head, all - 65536) == 0 ||
        hooks->purge(head, 4096, all) == 0 ||
        hooks->purge((char *)head + all - 4096, 0, 4096) != 0)
        abort(); /* it takes what is not a whole block */
    if (hooks->give(hooks, head, all) != 0)
        abort();
    pthread_mutex_lock(&lock);
    ngiven++;
    pthread_mutex_unlock(&lock);
}

size_t hooked_usable(const void *p)
{
    const struct head *head = (const struct head *)p - 1;
    return head->bytes - sizeof *head;
}

/* 0, and what is kept for alloc: key and key + 1. */
int hooked_start(const struct hooks **h, int32_t *key)
{
    _Bool zero = 0;
    const struct hooks *x = *h;
    if (x->nothing != NULL || x->zero(1, 2.0) != 0 || x->one(1, 2.0) != 1)
        return 1;
    if (x->take(x, (void *)x, PIECE, 0, &zero, MAGIC) != NULL || zero)
        return 2; /* at a place of our choice */
    if (x->take(x, NULL, PIECE, 0, &zero, MAGIC + 1) != NULL || zero)
        return 3; /* of another kind */
    if (x->take(x, NULL, 0, 0, &zero, MAGIC) != NULL ||
        x->take(x, NULL, PIECE, 3, &zero, MAGIC) != NULL ||
        x->take(x, NULL, SIZE_MAX, 0, &zero, MAGIC) != NULL ||
        x->take(x, NULL, PIECE, (size_t)1 << 40, &zero, MAGIC) != NULL)
        return 4;
    hooks = x;
    *key = MAGIC;
    return 0;
}

uint64_t hooked_given(void)
{
    return ngiven;
}

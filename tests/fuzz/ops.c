/* SPDX-License-Identifier: MIT
 * ops.c - any bytes as calls of the malloc family by four threads, one call at
 * a time, beside a shadow of what must be true: contents, alignment, usable
 * size, zeroes, errno, and that no two live blocks overlap.
 *
 * It runs under the preload, on each configuration (tests/run.sh), and on
 * plain glibc. An operation is four bytes: what, which block, how many bytes
 * (a size class and a place in it). Blocks are shared by the threads, so most
 * frees and reallocs are of another thread's block.
 */
#include "../preload/common.h"
#include "fuzz.h"

#include <malloc.h>
#include <pthread.h>

FUZZ_SEEDS("tests/fuzz/seeds/ops");
FUZZ_WORDS();
TEST_STATE(); /* the harness' EXPECT alone is used */

enum { BLOCKS = 96, THREADS = 4, WHOLE_BYTES = 2048, END_BYTES = 256 };

/* ---- the shadow -----------------------------------------------------------
 */

static struct block {
    char *p;
    size_t n, usable;
    uint64_t pattern;
    bool aligned; /* not for free_sized */
} block[BLOCKS];
static uint64_t npatterns;

/* Of a large block, both ends stand for it. */
static size_t end_bytes(const struct block *b)
{
    return b->n <= WHOLE_BYTES ? 0 : END_BYTES;
}

static void paint(struct block *b)
{
    size_t end = end_bytes(b);
    b->pattern = ++npatterns * 4096;
    fill(b->p, end != 0 ? end : b->n, b->pattern);
    if (end != 0)
        fill(b->p + b->n - end, end, b->pattern + 1);
}

static void check(const struct block *b, size_t n)
{
    size_t end = end_bytes(b);
    size_t head = end != 0 ? end : b->n;
    if (b->p == NULL)
        return;
    head = head < n ? head : n;
    EXPECT_PATTERN(b->p, head, b->pattern);
    if (end != 0 && n >= b->n)
        EXPECT_PATTERN(b->p + b->n - end, end, b->pattern + 1);
}

static void check_alone(const struct block *b)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        const struct block *o = &block[i];
        if (o != b && o->p != NULL && b->p < o->p + o->usable &&
            o->p < b->p + b->usable)
            test_fail(__FILE__, __LINE__, "%p + %zu overlaps %p + %zu", b->p,
                      b->usable, o->p, o->usable);
    }
}

/* A fresh block, or NULL with ENOMEM, which sizes that exist never get. */
static void enter(struct block *b, char *p, size_t n, size_t align)
{
    *b = (struct block){0};
    if (p == NULL) {
        EXPECT_EQ(errno, ENOMEM);
        EXPECT(n > 1ul << 40);
        return;
    }
    EXPECT(n < 1ul << 40);
    EXPECT_EQ(errno, EXDEV); /* success keeps it */
    EXPECT_ALIGNED(p, align < 16 ? 16 : align);
    *b = (struct block){p, n, malloc_usable_size(p), 0, align > 1};
    EXPECT_GE(b->usable, n);
    check_alone(b);
    paint(b);
}

/* ---- operations ------------------------------------------------------------
 */

static size_t size_of(uint8_t class, uint8_t place)
{
    static const size_t odd[] = {0,
                                 1,
                                 15,
                                 16,
                                 17,
                                 1024,
                                 1025,
                                 32768,
                                 32769,
                                 65536,
                                 65537,
                                 131072,
                                 1048576,
                                 2097151,
                                 SIZE_MAX,
                                 PTRDIFF_MAX,
                                 SIZE_MAX - 4095,
                                 SIZE_MAX / 2 + 1};
    enum { ODD = sizeof odd / sizeof odd[0] };
    if (class < 120) /* each small size */
        return class * 9u + place % 9u;
    if (class < 200) /* up to 41 KB */
        return (size_t)(class - 116) * 512 - 1100 + place;
    if (class < 230)
        return (size_t)(class - 199) * 8192 + place * 32u;
    return opaque(odd[place % ODD]);
}

static void release(struct block *b, uint8_t how)
{
    static void (*sized)(void *, size_t);
    if (sized == NULL)
        *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    check(b, b->n);
    char *p = b->p;
    b->p = NULL;
    errno = EXDEV;
    if (how % 4 == 0 && sized != NULL && !b->aligned)
        sized(p, b->n);
    else
        free(p);
    EXPECT_EQ(errno, EXDEV);
}

static void take(struct block *b, uint8_t how, size_t n)
{
    size_t align = 1, half = n / 2;
    char *p = NULL;
    release(b, how);
    errno = EXDEV;
    switch (how % 8) {
    case 0:
        p = calloc(1, n);
        break;
    case 1:
        p = calloc(half, 2);
        n = half * 2;
        break;
    case 2:
    case 3:
        align = (size_t)1 << (how / 8) % 17;
        p = how % 2 == 0 ? memalign(align, n) : aligned_alloc(align, n);
        break;
    case 4: {
        int error = posix_memalign((void **)&p, align = 64, n);
        errno = error != 0 ? error : errno;
        break;
    }
    case 5:
        p = how & 8 ? valloc(n) : reallocarray(NULL, n, 1);
        align = how & 8 ? 4096 : 1;
        break;
    default:
        p = malloc(n);
    }
    if (p != NULL && how % 8 < 2) {
        size_t end = n < 4096 ? n : 4096;
        EXPECT_EQ(first_nonzero(p, end), end);
        EXPECT_EQ(first_nonzero(p + n - end, end), end);
    }
    enter(b, p, n, align);
}

static void resize(struct block *b, size_t n)
{
    struct block old = *b;
    check(b, b->n);
    errno = EXDEV;
    char *p = realloc(b->p, n);
    if (old.p != NULL && n == 0) {
        EXPECT(p == NULL);
        b->p = NULL;
        return;
    }
    if (p == NULL && old.p != NULL) { /* refused: it is as it was */
        EXPECT_EQ(errno, ENOMEM);
        check(b, b->n);
        return;
    }
    if (old.p != NULL) {
        old.p = p;
        check(&old, n);
    }
    b->p = NULL;
    enter(b, p, n, 1);
}

/* All that is usable is the caller's. (To 0 bytes, realloc is free.) */
static void use_all(struct block *b)
{
    check(b, b->n);
    if (b->p == NULL || b->usable == 0 || b->usable > 1u << 20)
        return;
    EXPECT_EQ(malloc_usable_size(b->p), b->usable);
    memset(b->p, 0xa5, b->usable);
    b->n = b->usable;
    paint(b);
    char *p = realloc(b->p, b->usable);
    EXPECT(p != NULL);
    if (under_hakmem())
        EXPECT(p == b->p);
    b->p = p;
}

/* Blocks that nobody can tell apart, and one of them gone from the middle. */
static void neighbours(size_t n)
{
    enum { MANY = 40 };
    struct block b[MANY];
    if (n > 100000)
        return;
    for (size_t i = 0; i < MANY; i++) {
        errno = EXDEV;
        b[i].p = NULL;
        enter(&b[i], malloc(n), n, 1);
    }
    for (size_t i = 0; i < MANY; i++)
        release(&b[i * 7 % MANY], 1);
}

static void operate(const uint8_t *op)
{
    struct block *b = &block[op[1] % BLOCKS];
    size_t n = size_of(op[2], op[3]);
    switch (op[0] % 16) {
    case 0:
    case 1:
    case 2:
        release(b, op[0] >> 4);
        break;
    case 3:
    case 4:
        resize(b, n);
        break;
    case 5:
        use_all(b);
        break;
    case 6:
        neighbours(n);
        break;
    case 7:
        if (op[1] == 0)
            malloc_trim(0);
        check(b, b->n);
        break;
    default:
        take(b, (uint8_t)(op[3] + op[0]), n);
    }
}

/* ---- threads that take turns -----------------------------------------------
 */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t change;
    pthread_t thread[THREADS];
    bool started[THREADS], end[THREADS];
    const uint8_t *at, *stop; /* operations of whoever has the turn */
    int turn;                 /* -1: the main thread's */
} turns = {PTHREAD_MUTEX_INITIALIZER,
           PTHREAD_COND_INITIALIZER,
           {0},
           {false},
           {false},
           NULL,
           NULL,
           -1};

static void *serve(void *which)
{
    int self = (int)(intptr_t)which;
    pthread_mutex_lock(&turns.lock);
    while (!turns.end[self]) {
        if (turns.turn != self) {
            pthread_cond_wait(&turns.change, &turns.lock);
            continue;
        }
        for (; turns.at < turns.stop; turns.at += 4)
            operate(turns.at);
        turns.turn = -1;
        pthread_cond_broadcast(&turns.change);
    }
    turns.end[self] = false;
    pthread_mutex_unlock(&turns.lock);
    return NULL;
}

/* Run the operations in a thread: 0 is the main one, others start here. */
static void run_in(int self, const uint8_t *at, const uint8_t *stop)
{
    if (self == 0) {
        for (; at < stop; at += 4)
            operate(at);
        return;
    }
    if (!turns.started[self])
        EXPECT_EQ(pthread_create(&turns.thread[self], NULL, serve,
                                 (void *)(intptr_t)self),
                  0);
    turns.started[self] = true;
    pthread_mutex_lock(&turns.lock);
    turns.at = at;
    turns.stop = stop;
    turns.turn = self;
    pthread_cond_broadcast(&turns.change);
    while (turns.turn != -1)
        pthread_cond_wait(&turns.change, &turns.lock);
    pthread_mutex_unlock(&turns.lock);
}

static void end_thread(int self)
{
    if (!turns.started[self])
        return;
    pthread_mutex_lock(&turns.lock);
    turns.end[self] = true;
    pthread_cond_broadcast(&turns.change);
    pthread_mutex_unlock(&turns.lock);
    pthread_join(turns.thread[self], NULL);
    turns.started[self] = false;
}

/* Runs of operations, each with a byte that says who: the thread, how many
 * operations, and whether the thread ends after them. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *at = bytes, *stop = bytes + n;
    while (stop - at >= 5) {
        uint8_t who = *at++;
        ptrdiff_t operations = 1 + (who >> 2 & 15);
        if (operations > (stop - at) / 4)
            operations = (stop - at) / 4;
        run_in(who % THREADS, at, at + operations * 4);
        at += operations * 4;
        if (who >= 224)
            end_thread(who % THREADS);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        release(&block[i], 1);
    return 0;
}

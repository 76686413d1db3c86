/* SPDX-License-Identifier: MIT
 * bench_memory.c - memory that grows, shrinks or moves, and large blocks. */
#include "driver.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const char *const bench_usage =
    "usage: bench_memory [--vs LIST] MODE [N [ITER [SEED]]]\n"
    "burst     ITER times: N MiB come in blocks of 16..1024 B, and all go\n"
    "fragment  ITER phases: N MiB are live; in each phase that many bytes\n"
    "          are replaced by blocks of other sizes, 32..8192 B; a few stay\n"
    "          for ever\n"
    "realloc   N blocks grow in turn from 16 B to 1 MiB, by half at a time,\n"
    "          ITER steps\n"
    "calloc    ITER replacements in N blocks of 16..8192 B, which must be 0\n"
    "memalign  the same with aligned_alloc(64) of 64..8192 B\n"
    "large     ITER replacements in N blocks of 64 KiB..32 MiB\n"
    "pages     the same, and every page of each is written to\n"
    "buffers   ITER replacements in N blocks of 5..25 MiB (or as\n"
    "          HAKMEM_BENCH_MIN_SIZE and _MAX_SIZE say), all bytes written; "
    "the\n"
    "          new one comes before the old one goes\n"
    "crowded   the same, while two processes a CPU do nothing but run\n"
    "heap      N MiB live in blocks of 16..1024 B, ITER replacements\n"
    "spans     ITER replacements in 400 blocks, while N spans of 64 KiB are\n"
    "          held by one block of 1 KiB each\n"
    "Prints op/s, an operation being a malloc and a free, in realloc a step.\n"
    "burst and fragment print what is resident a second later, in bytes, too";

/* A size of 2^low .. 2^high: choose a power of two, then a size from it up to
 * the next one, both evenly. */
static size_t log_uniform(uint64_t random, unsigned low, unsigned high)
{
    size_t base = (size_t)1 << (low + (random >> 48) % (high - low));
    return base + (size_t)(random >> 10) % base;
}

static size_t small(uint64_t random)
{
    return 16 + (size_t)(random >> 40) % 1009;
}

static void *fresh(size_t size)
{
    void *p = malloc(size);
    bench_touch(p, size);
    return p;
}

/* ---- burst, fragment ----------------------------------------------------- */

static double burst(size_t n, size_t iter, uint64_t seed)
{
    size_t bytes = n << 20, ops = 0;
    void **block = bench_table(bytes / 16 * sizeof *block);
    uint64_t state = seed + 1;
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        size_t count = 0;
        for (size_t live = 0; live < bytes; count++) {
            size_t size = small(bench_random(&state));
            block[count] = fresh(size);
            live += size;
        }
        for (size_t k = 0; k < count; k++)
            free(block[k]);
        ops += count;
    }
    double seconds = bench_seconds() - from;
    munmap(block, bytes / 16 * sizeof *block);
    bench_look_after_a_second();
    return (double)ops / seconds;
}

/* The first word of a block is its size. */
struct live {
    size_t **block, count, bytes, most_bytes, ops;
    uint64_t state;
};

static void put(struct live *l, size_t size)
{
    while (l->bytes + size > l->most_bytes && l->count != 0) {
        size_t k = (size_t)(bench_random(&l->state) >> 20) % l->count;
        l->bytes -= *l->block[k];
        free(l->block[k]);
        l->block[k] = l->block[--l->count];
    }
    l->block[l->count] = fresh(size);
    *l->block[l->count++] = size;
    l->bytes += size;
    l->ops++;
}

static double fragment(size_t n, size_t iter, uint64_t seed)
{
    struct live l = {.most_bytes = n << 20, .state = seed + 1};
    l.block = bench_table(l.most_bytes / 32 * sizeof *l.block);
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        unsigned base = 5 + (unsigned)(bench_random(&l.state) >> 30) % 8;
        for (size_t bytes = 0, k = 0; bytes < l.most_bytes; k++) {
            size_t size = log_uniform(bench_random(&l.state), base, base + 1);
            put(&l, size);
            bytes += size;
            if (k % 512 == 0 && l.most_bytes > (n << 20) / 8 * 7) {
                l.most_bytes -= size; /* leak this block */
                l.bytes -= size;
                l.count--;
            }
        }
    }
    double seconds = bench_seconds() - from;
    bench_look_after_a_second();
    return (double)l.ops / seconds;
}

/* ---- realloc, calloc, memalign ------------------------------------------- */

static void spoilt(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static double grow(size_t n, size_t iter, uint64_t seed)
{
    unsigned char **block = bench_table(n * sizeof *block);
    size_t *size = bench_table(n * sizeof *size);
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        size_t k = i % n, more = size[k] == 0 ? 16 : size[k] + size[k] / 2;
        if (more > 1 << 20) {
            free(block[k]);
            block[k] = NULL;
            more = 16 + (k + seed) % 16;
        }
        size_t last = block[k] == NULL ? 0 : size[k] - 1;
        unsigned char mark = (unsigned char)i;
        if (block[k] != NULL)
            block[k][last] = mark;
        block[k] = realloc(block[k], more);
        if (block[k] == NULL || (last != 0 && block[k][last] != mark))
            spoilt("realloc lost a byte");
        size[k] = more;
    }
    return (double)iter / (bench_seconds() - from);
}

static double zeroed(size_t n, size_t iter, uint64_t seed)
{
    char **block = bench_table(n * sizeof *block);
    uint64_t state = seed + 1;
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % n, size = log_uniform(x, 4, 13);
        free(block[k]);
        char *p = block[k] = calloc(1, size);
        if (p == NULL || p[0] != 0 || p[size / 2] != 0 || p[size - 1] != 0)
            spoilt("calloc is not zero");
        memset(p, 1, size < 64 ? size : 64);
        p[size / 2] = p[size - 1] = 1;
    }
    return (double)iter / (bench_seconds() - from);
}

static double aligned(size_t n, size_t iter, uint64_t seed)
{
    void **block = bench_table(n * sizeof *block);
    uint64_t state = seed + 1;
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % n, size = 64 + ((x >> 40) % 128) * 64;
        free(block[k]);
        block[k] = aligned_alloc(64, size);
        bench_touch(block[k], size);
        if ((uintptr_t)block[k] % 64 != 0)
            spoilt("aligned_alloc is not aligned");
    }
    return (double)iter / (bench_seconds() - from);
}

/* ---- large, pages -------------------------------------------------------- */

static double replace_large(size_t n, size_t iter, uint64_t seed, size_t step)
{
    char **block = bench_table(n * sizeof *block);
    uint64_t state = seed + 1;
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % n, size = log_uniform(x, 16, 25);
        free(block[k]);
        block[k] = fresh(size);
        for (size_t at = 0; step != 0 && at < size; at += step)
            ((volatile char *)block[k])[at] = 1;
    }
    return (double)iter / (bench_seconds() - from);
}

static double large(size_t n, size_t iter, uint64_t seed)
{
    return replace_large(n, iter, seed, 0);
}

static double pages(size_t n, size_t iter, uint64_t seed)
{
    return replace_large(n, iter, seed, 4096);
}

static double buffers(size_t n, size_t iter, uint64_t seed)
{
    char **block = bench_table(n * sizeof *block);
    struct bench_plan plan = {.least = (size_t)5 << 20,
                              .most = (size_t)25 << 20};
    bench_sizes(&plan.least, &plan.most);
    uint64_t state = seed + 1;
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % n;
        size_t size = bench_uniform(&plan, x << 8);
        char *p = fresh(size);
        memset(p, (int)i, size);
        free(block[k]);
        block[k] = p;
    }
    return (double)iter / (bench_seconds() - from);
}

/* Other processes run at the same time. The bench and its children write to no
 * page that they share. */
static double crowded(size_t n, size_t iter, uint64_t seed)
{
    enum { MOST = 64 };
    pid_t child[MOST];
    long count = 2 * sysconf(_SC_NPROCESSORS_ONLN);
    count = count < MOST ? count : MOST;
    for (long i = 0; i < count; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                __asm__ volatile("pause");
        }
    }
    double ops = buffers(n, iter, seed);
    for (long i = 0; i < count; i++)
        if (child[i] > 0 && kill(child[i], SIGKILL) == 0)
            waitpid(child[i], NULL, 0);
    return ops;
}

/* ---- heap, spans --------------------------------------------------------- */

static double replace(void **block, size_t n, size_t iter, uint64_t state)
{
    double from = bench_seconds();
    for (size_t i = 0; i < iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 8) % n;
        free(block[k]);
        block[k] = fresh(small(x));
    }
    return (double)iter / (bench_seconds() - from);
}

static double heap(size_t n, size_t iter, uint64_t seed)
{
    size_t count = (n << 20) / 520; /* the mean size that small() gives */
    void **block = bench_table(count * sizeof *block);
    uint64_t state = seed + 1;
    for (size_t i = 0; i < count; i++)
        block[i] = fresh(small(bench_random(&state)));
    return replace(block, count, iter, state);
}

static double spans(size_t n, size_t iter, uint64_t seed)
{
    enum { IN_A_SPAN = 64, HOT = 400 };
    void **held = bench_table(n * IN_A_SPAN * sizeof *held);
    static void *hot[HOT];
    for (size_t i = 0; i < n * IN_A_SPAN; i++)
        held[i] = fresh(1024);
    for (size_t i = 0; i < n * IN_A_SPAN; i++)
        if (i % IN_A_SPAN != 0)
            free(held[i]);
    replace(hot, HOT, iter / 8 + 1, seed + 1);
    return replace(hot, HOT, iter, seed + 2);
}

static double bench_run(int argc, char **argv)
{
    static const struct bench_mode modes[] = {
        {"burst", 64, 4, burst},
        {"fragment", 16, 24, fragment},
        {"realloc", 8, 100000, grow},
        {"calloc", 1000, 300000, zeroed},
        {"memalign", 1000, 1000000, aligned},
        {"large", 16, 100000, large},
        {"pages", 16, 200, pages},
        {"buffers", 20, 500, buffers},
        {"crowded", 20, 300, crowded},
        {"heap", 100, 1000000, heap},
        {"spans", 1024, 3000000, spans},
        {NULL, 0, 0, NULL},
    };
    return bench_run_mode(modes, argc, argv);
}

/* SPDX-License-Identifier: MIT
 * check_memory.c - memory that runs out, is used again, is given back.
 */
#include "check.h"

/* ---- exhaustion -------------------------------------------------------- */

/* FAULT_BYTES: what one child fills; 100 of them are to take seconds. */
enum { BLOCKS = 300, MOST_FAULTS = 500, FAULT_BYTES = 32 << 20 };

static void *any_alloc(size_t i, size_t size)
{
    if (i % 8 == 5)
        return th_aligned_alloc(ck.box, 64, size);
    return i % 8 == 6 ? th_zalloc(ck.box, size) : th_malloc(ck.box, size);
}

/* All that can be asked while requests fail: what fails changes nothing. */
static void under_faults(struct block *b)
{
    size_t bytes = 0;
    for (size_t i = 0; i < BLOCKS && bytes < FAULT_BYTES; i++) {
        size_t size = ck_size(ck.max_bytes);
        void *p = any_alloc(i, size);
        if (p && ck_adopt(&b[i], p, size))
            bytes += size;
    }
    for (size_t i = 0; i < BLOCKS; i += 5) {
        size_t size = ck_size(ck.max_bytes);
        void *p = b[i].p ? th_realloc(ck.box, b[i].p, size) : NULL;
        if (!p)
            continue;
        b[i].p = p;
        b[i].bytes = size < b[i].bytes ? size : b[i].bytes;
        ck_check(&b[i]);
    }
    for (size_t i = 0; i < BLOCKS; i += 2)
        ck_free(&b[i]);
    bytes = 0;
    for (size_t i = 0; i < BLOCKS && bytes < FAULT_BYTES; i += 2) {
        size_t size = ck_size(ck.max_bytes);
        void *p = th_malloc(ck.box, size);
        if (p && ck_adopt(&b[i], p, size))
            bytes += size;
    }
}

static void *under_faults_elsewhere(void *blocks)
{
    under_faults(blocks);
    return NULL;
}

/* In a child: the nth request of a fresh instance and all after fail. */
static void fail_from(uint64_t n)
{
    struct block *b = ck_blocks(BLOCKS), *other = ck_blocks(BLOCKS);
    unsigned flags = ck.direct ? TH_NO_LANES : 0;
    th_fail_at(n);
    int error = th_try_open(ck.path, "faulty", ck.params, flags, &ck.box);
    if (!error) {
        under_faults(b);
        th_join(th_spawn(under_faults_elsewhere, other));
    }
    uint64_t refused = th_counts().refused;
    th_fail_never();
    if (error) /* the next instance is not harmed */
        ck.box = ck_open("after");
    ck_free_all(b, BLOCKS);
    ck_fill(b, BLOCKS, ck.max_bytes, FAULT_BYTES);
    ck_free_all(b, BLOCKS);
    ck_free_all(other, BLOCKS);
    ck_end();
    _exit(refused ? 0 : CK_NO_FAULT);
}

PROPERTY(
    exhaustion,
    "whichever request for memory fails: NULL, nothing lost, then it works")
{
    /* each of the first 24, then at growing distances */
    for (uint64_t n = 1; n <= MOST_FAULTS; n += 1 + n / 24) {
        char what[64];
        pid_t pid = ck_fork();
        if (pid == 0)
            fail_from(n);
        snprintf(what, sizeof what, "request %llu fails",
                 (unsigned long long)n);
        if (ck_wait(pid, what) == CK_NO_FAULT)
            return;
    }
}

/* ---- reuse ------------------------------------------------------------- */

/* A fixed working set of one size: each step frees the oldest, takes anew. */
static void working_set(struct block *b, size_t n, size_t size, size_t steps)
{
    for (size_t i = 0; i < steps; i++) {
        struct block *at = &b[i % n];
        th_free(at->p);
        at->p = th_malloc(ck.box, size);
        if (!at->p)
            ck.declined++;
        else
            at->p[0] = at->p[size - 1] = (unsigned char)i;
    }
    for (size_t i = 0; i < n; i++) {
        th_free(b[i].p);
        b[i].p = NULL;
    }
}

/*
 * 128 first: a working set of exactly that hung a bench of the project's
 * first life, and it was never found out why.
 */
PROPERTY(power_of_two_working_sets,
         "working sets of 1, 2, 4 .. 2048 blocks of one size turn over")
{
    static const size_t counts[] = {128,  64, 256, 32, 512, 16,
                                    1024, 8,  4,   2,  1,   2048};
    struct block *b = ck_blocks(2048);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
        for (size_t size = 16; size <= ck.max_bytes; size *= 2) {
            if (!ck_good(size) || size * counts[c] > 16 * CK_MIB)
                continue;
            working_set(b, counts[c], size,
                        size < 4096    ? 5000
                        : size < 65536 ? 3000
                                       : 16 + 2 * counts[c]); /* filled */
        }
}

/* All, then none, in several orders: the peak must not creep up. */
PROPERTY(reuse_is_bounded,
         "all freed, then all taken again: memory does not creep up")
{
    enum { N = 4000, ROUNDS = 60, WARM = 10 };
    struct block *b = ck_blocks(N);
    size_t warm = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
        if (round % 3 == 1)
            ck_shuffle(b, n);
        if (round % 3 == 2)
            for (size_t i = n; i-- > 0;)
                ck_free(&b[i]);
        ck_free_all(b, n);
        if (round < WARM)
            warm = th_mapped(ck.box);
    }
    EXPECT_MAPPED(warm * 2 + 8 * CK_MIB);
}

/* ---- giving back ------------------------------------------------------- */

static void *fill_and_free(void *blocks)
{
    struct block *b = blocks;
    size_t n = ck_fill(b, 20000, ck.max_bytes, 24 * CK_MIB);
    ck_shuffle(b, n);
    ck_free_all(b, n);
    return NULL;
}

/*
 * Enough that address space or memory shrinks: a box that must keep its
 * header pages (spans are for ever) may purge what it cannot unmap.
 */
PROPERTY(memory_is_given_back, "trim() gives back what is free")
{
    enum { N = 20000 };
    NEED_OP(trim);
    struct block *b = ck_blocks(N), *c = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 24 * CK_MIB);
    th_join(th_spawn(fill_and_free, c));
    ck_shuffle(b, n);
    ck_free_all(b, n);
    uint64_t peak = th_counts().peak_bytes;
    th_detach();
    th_reap();
    th_clock_add(10 * th_host()->purge_delay_ms());
    ck.box->ops->trim(ck.box);
    size_t bound = (size_t)peak / 8 + 4 * CK_MIB;
    size_t mapped = th_mapped(ck.box), resident = th_resident();
    if (mapped > bound && resident > bound)
        test_fail(__FILE__, __LINE__,
                  "peak %llu, after trim %zu mapped, %zu resident, bound %zu",
                  (unsigned long long)peak, mapped, resident, bound);
    n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB); /* and it still works */
    ck_free_all(b, n);
}

/* trim between allocations, with live blocks around: they keep their bytes. */
PROPERTY(trim_keeps_the_living, "trim() leaves live slots alone")
{
    enum { N = 3000 };
    NEED_OP(trim);
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 10; round++) {
        size_t n = ck_fill(b, N, ck.max_bytes, 8 * CK_MIB);
        for (size_t i = 0; i < n; i++)
            if (i % 16)
                ck_free(&b[i]);
        th_clock_add(th_host()->purge_delay_ms() * (uint64_t)(round % 3));
        ck.box->ops->trim(ck.box);
        ck_free_all(b, n);
    }
}

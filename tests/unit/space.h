/* SPDX-License-Identifier: MIT
 * space.h - what the tests of the window share: to start one, to take from it,
 * and to look at what lies in it.
 */
#ifndef HAK_TEST_SPACE_H
#define HAK_TEST_SPACE_H

#include "random.h"
#include "test.h"

#include <base/os.h>
#include <core/memory/directory.h>
#include <core/memory/space.h>
#include <core/state/directory.h>

enum { OS_PAGE = 4096, NEVER_MS = 3600000 };
#define G HAK_GRANULE_BYTES

static inline void start(uint64_t purge_delay_ms)
{
    EXPECT_EQ(hak_space_start(hak_os_window_bytes(false), purge_delay_ms), 0);
    EXPECT_EQ(hak_space_purge_delay_ms(), purge_delay_ms);
}

static inline char *take(size_t granules, size_t align, uint32_t flags)
{
    char *p = hak_space_take(granules * G, align * G, flags);
    if (p != NULL)
        EXPECT_EQ((uintptr_t)p % ((align == 0 ? 1 : align) * G), 0);
    return p;
}

static inline struct hak_space_figures figures(void)
{
    struct hak_space_figures f;
    hak_space_read(&f);
    return f;
}

/* ---- content: the first and last bytes of every page ----------------- */

static inline void write_to(char *p, size_t bytes, unsigned char mark)
{
    for (size_t at = 0; at < bytes; at += OS_PAGE) {
        memset(p + at, mark, 16);
        memset(p + at + OS_PAGE - 16, mark, 16);
    }
}

static inline void expect_all(const char *p, size_t bytes, unsigned char mark)
{
    char want[16];
    memset(want, mark, sizeof want);
    for (size_t at = 0; at < bytes; at += OS_PAGE)
        EXPECT(memcmp(p + at, want, 16) == 0 &&
               memcmp(p + at + OS_PAGE - 16, want, 16) == 0);
}

/* Pages of [p, p + bytes) in memory; -1 = not mapped. */
static inline long resident(char *p, size_t bytes)
{
    static unsigned char in[1 << 16];
    long n = 0;
    if (mincore(p, bytes, in) != 0)
        return -1;
    for (size_t i = 0; i < bytes / OS_PAGE; i++)
        n += in[i] & 1;
    return n;
}

/* ---- blocks at random ------------------------------------------------ */

enum { LIVE = 48, STEPS = 2500 };

struct block {
    char *p;
    size_t n;
    unsigned char mark;
};

static inline void put(struct block *b)
{
    expect_all(b->p, b->n * G, b->mark);
    hak_space_give(b->p, b->n * G);
    b->p = NULL;
}

static inline void get(struct block *b)
{
    size_t align = (size_t)1 << rnd(rnd(8) == 0 ? 8 : 3);
    uint32_t flags = rnd(2) ? HAK_MAP_ZERO : 0;
    b->n = 1 + rnd(rnd(10) == 0 ? 70 : 10);
    b->p = take(b->n, rnd(3) == 0 ? 0 : align, flags);
    EXPECT(b->p != NULL);
    EXPECT(hak_directory_get(b->p) == NULL);
    hak_directory_set(NULL, b->p, b->n * G); /* writable */
    if (flags & HAK_MAP_ZERO)
        expect_all(b->p, b->n * G, 0);
    b->mark = (unsigned char)(1 + rnd(255));
    write_to(b->p, b->n * G, b->mark);
}

static inline void random_steps(struct block *b, size_t nblocks, int steps)
{
    for (int i = 0; i < steps; i++) {
        struct block *at = &b[rnd(nblocks)];
        (at->p != NULL ? put : get)(at);
        if (rnd(500) == 0)
            hak_space_trim();
        if (rnd(50) == 0)
            hak_space_tick();
    }
}

#endif

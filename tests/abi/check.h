/* SPDX-License-Identifier: MIT
 * check.h - what the parts of the conformance program share.
 *
 *     check_box.c      main, blocks with a pattern in them
 *     check_basic.c    entry, slots, owns, optional operations
 *     check_memory.c   exhaustion, reuse, memory given back
 *     check_threads.c  heaps, remote frees, ended threads, fork
 *
 * A property is a test that runs twice: NAME with the box's lanes, and
 * NAME_direct as under `lanes = off`; the latter is skipped when the box has
 * no lanes anyway. It finds the box open in ck.box, takes blocks with
 * ck_new(), and must have freed all when it ends: then every heap is closed
 * and nothing may be live.
 */
#ifndef HAK_TESTS_CHECK_H
#define HAK_TESTS_CHECK_H

#include "test.h"
#include "testhost.h"

enum { CK_MIB = 1 << 20 };

struct check {
    const char *path;
    const char *params[32]; /* "key=value", ended by NULL */
    bool may_decline;       /* the box may refuse a request at will */
    bool direct;            /* lanes off */
    struct hak_box *box;
    const struct hak_box_entry *entry;
    size_t min_bytes, max_bytes; /* requests to make */
    size_t declined;             /* by ck_new */
};
extern struct check ck;

#define PROPERTY(fn)             \
    static void fn##_body(void); \
    TEST(fn)                     \
    {                            \
        ck_begin(false);         \
        fn##_body();             \
        ck_end();                \
    }                            \
    TEST(fn##_direct)            \
    {                            \
        ck_begin(true);          \
        fn##_body();             \
        ck_end();                \
    }                            \
    static void fn##_body(void)

#define NEED_OP(op)                      \
    do {                                 \
        if (!ck.box->ops->op)            \
            SKIP("the box has no " #op); \
    } while (0)

void ck_begin(bool direct);
void ck_end(void);
struct hak_box *ck_open(const char *name); /* one more instance */

/* ---- requests ---------------------------------------------------------- */

uint64_t ck_random(void); /* each thread its own sequence, always the same */
void ck_seed(uint64_t seed);

/* Is the box made for this request, as it arrives with header or lane? */
bool ck_good(size_t size_bytes);

/* A good size of ck.min_bytes..most, small ones as often as large ones. */
size_t ck_size(size_t most);

/* ---- blocks ------------------------------------------------------------ */

struct block {
    unsigned char *p;
    size_t bytes;
    unsigned char tag; /* every byte of it */
};

/* n empty blocks, in memory that is not malloc's. */
struct block *ck_blocks(size_t n);

/* Takes a block and fills it; false = declined, *b is empty then. */
bool ck_new(struct block *b, size_t size_bytes);
bool ck_adopt(struct block *b, void *p, size_t size_bytes); /* fills p */
void ck_check(const struct block *b);                       /* content kept? */
void ck_free(struct block *b); /* checks, frees; empty: nothing */
void ck_free_all(struct block *b, size_t n);

/* Takes blocks of up to `most` bytes until n or `total` bytes are out. */
size_t ck_fill(struct block *b, size_t n, size_t most, size_t total);

void ck_shuffle(struct block *b, size_t n);

/* Fails when more than `bound` bytes are mapped by the box. */
#define EXPECT_MAPPED(bound) EXPECT_LE(th_mapped(ck.box), bound)

#endif

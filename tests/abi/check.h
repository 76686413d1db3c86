/* SPDX-License-Identifier: MIT
 * check.h - what the parts of the conformance program share.
 *
 *     check_box.c      main, blocks with a pattern in them
 *     check_file.c     what can be read off the file
 *     check_entry.c    the entry, parameters, init
 *     check_basic.c    slots, owns, optional operations
 *     check_lanes.c    spans and lanes
 *     check_memory.c   exhaustion, reuse, memory given back
 *     check_threads.c  heaps, remote frees, ended threads, fork
 *
 * A property is a test, in a process of its own, with a line that says what
 * it demands. PROPERTY runs twice: NAME with the box's lanes, and NAME_direct
 * as under `lanes = off`, which a box without lanes has not. It finds the box
 * open in ck.box, takes blocks with ck_new(), and must have freed all when it
 * ends: then every heap is closed and nothing may be live. For each property,
 * tests/boxes has a box that breaks it.
 */
#ifndef HAK_TESTS_CHECK_H
#define HAK_TESTS_CHECK_H

#include <core/box/abi.h>

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
    uint64_t seed;               /* of ck_random; 1 unless --seed */
};
extern struct check ck;

/* Runs once, and opens the box itself. */
#define PROPERTY_OF_ENTRY(fn, line) TEST_CASE(fn, 0, NULL, line)

/* Runs once, on a box with lanes. */
#define PROPERTY_OF_LANES(fn, line)       \
    static void fn##_body(void);          \
    TEST_CASE(fn, 0, NULL, line)          \
    {                                     \
        ck_begin(false);                  \
        if (!ck.box->lanes)               \
            SKIP("the box has no lanes"); \
        fn##_body();                      \
        ck_end();                         \
    }                                     \
    static void fn##_body(void)

#define PROPERTY(fn, line)       \
    static void fn##_body(void); \
    TEST_CASE(fn, 0, NULL, line) \
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
/* Skips when owns() is never asked: a residual box of hakmem/foreign.h. */
void ck_need_owns(void);
bool ck_is_residual(void);
bool ck_is_foreign(void);
struct hak_box *ck_open(const char *name); /* one more instance */

/* fork with an alarm in the child; waits for one that must exit with 0 or
 * CK_NO_FAULT, and returns which. Each child, and the time after it, has
 * test_seconds of its own. */
enum { CK_NO_FAULT = 3 };
pid_t ck_fork(void);
int ck_wait(pid_t pid, const char *what);

int64_t ck_nchoices(const char *choices); /* in "a|b|c" */

/* ---- check_run.c ------------------------------------------------------- */

struct ck_plan {
    const struct test_case *property[TEST_MAX];
    int n;
    unsigned seconds;      /* for each */
    unsigned most_seconds; /* for all; 0: no end */
    bool json;
};

/* Runs them and prints what became of each. Returns 0: all hold, 1. */
int ck_run(const struct ck_plan *plan);
/* One, in this process and without a limit of time, for a debugger. */
int ck_run_here(const char *name);

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
#define EXPECT_MAPPED(bound) ck_expect_mapped(__LINE__, __FILE__, bound)
void ck_expect_mapped(int line, const char *file, size_t bound);

#endif

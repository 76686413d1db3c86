/* SPDX-License-Identifier: MIT
 * test_hardened.h - what the tests of the hardened box share.
 *
 * Tests of wrong calls call the operations directly, because the test host
 * refuses such calls itself.
 */
#ifndef HAK_TEST_HARDENED_H
#define HAK_TEST_HARDENED_H

#include "bounds.h"

#include "test.h"
#include "own_box.h"

enum { N = 2000 };
static char *block[N];

#define OPEN(...) OPEN_OWN("hardened", 0 __VA_OPT__(, ) __VA_ARGS__)

static inline void *get(struct hak_box *box, size_t size_bytes)
{
    void *p = box->ops->alloc(box, size_bytes);
    EXPECT(p != NULL);
    return p;
}

static inline void put(struct hak_box *box, void *p)
{
    box->ops->free(box, p);
}

static inline uint64_t nguarded(const struct hak_box *box)
{
    return hardened_of(box)->now->nguarded;
}

#endif

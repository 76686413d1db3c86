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
#include "testhost.h"

enum { N = 2000 };
static char *block[N];

#define OPEN(...) \
    open_hardened((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static inline struct hak_box *open_hardened(const char *const *params)
{
    struct hak_box *box = NULL;
    int error = th_open_entry(&hak_box_entry, "hardened", params, 0, &box);
    if (error != 0)
        test_fail(__FILE__, __LINE__, "open: %d: %s", error, th_error());
    return box;
}

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

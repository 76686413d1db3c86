/* SPDX-License-Identifier: MIT
 * own_box.h - for a plugin's tests: opens the box that the test is linked with,
 * allocates and frees many of its slots, and counts them.
 */
#ifndef HAK_TEST_OWN_BOX_H
#define HAK_TEST_OWN_BOX_H

#include "test.h"
#include "testhost.h"

/* Open a new instance of the box under this name, or fail the test. flags: enum
 * th_flags; then parameters, "key=value" texts. */
#define OPEN_OWN(name, flags, ...) \
    open_own((name), (flags),      \
             (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static inline struct hak_box *open_own(const char *name, unsigned flags,
                                       const char *const *params)
{
    struct hak_box *box = NULL;
    int error = th_open_entry(&hak_box_entry, name, params, flags, &box);
    if (error != 0)
        test_fail(__FILE__, __LINE__, "open: %d: %s", error, th_error());
    return box;
}

static inline bool count_visit(void *context, void *p, size_t slot_bytes)
{
    EXPECT(p != NULL && slot_bytes % HAK_ALIGN_BYTES == 0);
    ++*(size_t *)context;
    return true;
}

/* How many slots ops->visit_slots visits. */
static inline size_t count_visited(struct hak_box *box)
{
    size_t n = 0;
    box->ops->visit_slots(box, count_visit, &n);
    return n;
}

/* Allocate n blocks. Returns how many there was memory for. */
static inline size_t get_many(struct hak_box *box, void **p, size_t n,
                              size_t bytes)
{
    for (size_t i = 0; i < n; i++)
        if ((p[i] = th_malloc(box, bytes)) == NULL)
            return i;
    return n;
}

static inline void put_many(void **p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        th_free(p[i]);
}

#endif

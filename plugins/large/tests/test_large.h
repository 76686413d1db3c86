/* SPDX-License-Identifier: MIT
 * test_large.h - what the tests of the box share that call its operations on
 * the strict host.
 */
#ifndef HAK_TEST_LARGE_H
#define HAK_TEST_LARGE_H

#include "large.h"

#include "random.h"
#include "test.h"
#include "testhost.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
enum { PAGE = 4096, AGE = 1000 /* testhost's purge delay */, PARAMS = 8 };

static struct hak_box *box;
static const char *params[PARAMS + 1] = {"shards=1"};

static inline void with(const char *param)
{
    size_t i = 0;
    while (params[i] != NULL)
        i++;
    params[i] = param;
}

static inline void start(void)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", params, 0, &box), 0);
}

static inline void check(void)
{
    large_check(large_of(box));
}

static inline struct hak_box_stats stats(void)
{
    struct hak_box_stats s;
    box->ops->stats(box, &s);
    return s;
}

static inline uint64_t counter(const char *name)
{
    const struct hak_counters_1 *counters =
        box->ops->get_extension(box, HAK_COUNTERS_1);
    struct hak_counter all[32];
    uint32_t n = counters->read(box, all, 32);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].value;
    test_fail(__FILE__, __LINE__, "no counter %s", name);
}

static inline uint64_t host_calls(void)
{
    struct th_counts c = th_counts();
    return c.requests + c.unmaps + c.purges;
}

/* Fill a block with content that shows misplaced pages: a word at the start of
 * each page. */
static inline void fill(void *p, size_t n, uint64_t tag)
{
    for (size_t at = 0; at + 8 <= n; at += PAGE)
        *(uint64_t *)(void *)((char *)p + at) = tag + at;
}

static inline void expect_filled(const void *p, size_t n, uint64_t tag)
{
    for (size_t at = 0; at + 8 <= n; at += PAGE)
        EXPECT_EQ(*(const uint64_t *)(const void *)((const char *)p + at),
                  tag + at);
}

static inline void expect_zero(const char *p, size_t n)
{
    for (size_t at = 0; at < n; at++)
        if (p[at] != 0)
            test_fail(__FILE__, __LINE__, "byte %zu of %zu is %d", at, n,
                      p[at]);
}

#endif

/* SPDX-License-Identifier: MIT
 * calls.h - hakmem.h's calls, found with dlsym as a program would that runs
 * with and without the library.
 */
#ifndef HAK_TESTS_PRELOAD_CALLS_H
#define HAK_TESTS_PRELOAD_CALLS_H

#include "common.h"

#include <hakmem/hakmem.h>
#include <malloc.h>

static struct {
    const char *(*version)(void);
    int (*report)(int fd, bool json);
    int (*stats)(const char *box, struct hak_stats *out);
    int (*route)(const char *range, const char *route);
    int (*drain)(const char *box);
    const char *(*owner)(const void *p);
    size_t (*trim)(void);
} hak;

static inline void *symbol(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    EXPECT(p != NULL && name);
    return p;
}

/* To be said first. Under hakmem there must be boxes, or nothing is tested. */
#define NEED_BOXES()                               \
    do {                                           \
        if (!under_hakmem())                       \
            SKIP("not under hakmem");              \
        find_calls();                              \
        EXPECT(strcmp(box_for(100), "libc") != 0); \
    } while (0)

/* For what moves routes or drains boxes. */
#define NEED_ROUTES()                                        \
    do {                                                     \
        NEED_BOXES();                                        \
        if (hak.route("C0", "no-such-route") == -ENOTSUP)    \
            SKIP("routes of a fused library are constants"); \
    } while (0)

static inline void find_calls(void)
{
    *(void **)&hak.version = symbol("hak_version");
    *(void **)&hak.report = symbol("hak_report");
    *(void **)&hak.stats = symbol("hak_stats");
    *(void **)&hak.route = symbol("hak_route");
    *(void **)&hak.drain = symbol("hak_drain");
    *(void **)&hak.owner = symbol("hak_owner");
    *(void **)&hak.trim = symbol("hak_trim");
}

/* The box that serves a size now, "libc" where none does. */
static inline const char *box_for(size_t n)
{
    void *p = malloc(n);
    const char *box = hak.owner(p);
    free(p);
    return box != NULL ? box : "libc";
}

static inline struct hak_stats stats_of(const char *box)
{
    struct hak_stats s;
    EXPECT_EQ(hak.stats(box, &s), 0);
    EXPECT_EQ(s.allocs - s.frees, s.live_count);
    return s;
}

static const size_t sizes[] = {1,    16,    100,   600,    1024,   1025,
                               5000, 32768, 32769, 200000, 3 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

#endif

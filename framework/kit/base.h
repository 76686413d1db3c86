/* SPDX-License-Identifier: MIT
 * base.h - kit layer 0: hints, arithmetic, assertions.
 *
 * The kit is the mechanics that boxes share. Each layer includes only lower
 * ones.
 */
#ifndef HAK_KIT_BASE_H
#define HAK_KIT_BASE_H

#include <hakmem/box.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The version of the kit that is compiled into a box. By it the core could tell
 * a box whose kit has a fault that a later kit has not. */
#undef HAK_KIT_VERSION
#define HAK_KIT_VERSION 1

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define hak_container_of(p, type, member) \
    ((type *)(void *)((char *)((p)) - offsetof(type, member)))
#define HAK_TEXT_OF_(x) #x
#define HAK_TEXT_OF(x) HAK_TEXT_OF_(x)

/* Report a broken invariant in one line on stderr and abort. It allocates
 * nothing. */
__attribute__((noreturn, cold, noinline, unused)) static void
hak_broken(const char *what)
{
    (void)!write(2, what, strlen(what));
    abort();
}

/* HAK_ALWAYS is checked in every build, HAK_ASSERT when HAK_DEBUG is 1. */
#define HAK_ALWAYS(condition)                              \
    (likely(condition)                                     \
         ? (void)0                                         \
         : hak_broken("hakmem: " __FILE__ ":" HAK_TEXT_OF( \
               __LINE__) ": broken invariant: " #condition "\n"))
#ifndef HAK_DEBUG
#define HAK_DEBUG 0
#endif
#if HAK_DEBUG
#define HAK_ASSERT(condition) HAK_ALWAYS(condition)
#else
#define HAK_ASSERT(condition) ((void)sizeof(condition))
#endif

/* align is a power of two. The caller has excluded overflow. */
static inline size_t hak_round_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

static inline size_t hak_round_down(size_t n, size_t align)
{
    return n & ~(align - 1);
}

static inline size_t hak_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t hak_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline bool hak_is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Is the box active? Another thread may change its state at any time. */
static inline bool hak_box_is_active(const struct hak_box *box)
{
    return __atomic_load_n(&box->state_now, __ATOMIC_RELAXED) == HAK_BOX_ACTIVE;
}

#endif

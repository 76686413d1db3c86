/* SPDX-License-Identifier: MIT
 * common.h - operations of a box that declines every request, for the tests of
 * the loader.
 */
#ifndef HAK_TESTS_BOXES_COMMON_H
#define HAK_TESTS_BOXES_COMMON_H

#include "hakmem/box.h"

__attribute__((unused)) static void *none_alloc(struct hak_box *box,
                                                size_t size_bytes)
{
    (void)box;
    (void)size_bytes;
    return NULL;
}

__attribute__((unused)) static void none_free(struct hak_box *box, void *p)
{
    (void)box;
    (void)p;
}

__attribute__((unused)) static bool none_owns(struct hak_box *box,
                                              const void *p)
{
    (void)box;
    (void)p;
    return false;
}

#define NONE_OPS .alloc = none_alloc, .free = none_free, .owns = none_owns

#endif

/* SPDX-License-Identifier: MIT
 * slow.c - like three.c, but alloc() sleeps first. A test can then drain the
 * box while a request is on its way to it.
 */
#define THREE_NO_ENTRY
#include "three.c"

#include <time.h>

enum { SLEEP_NS = 300 * 1000 * 1000 };

static void *slow_alloc(struct hak_box *box, size_t size_bytes)
{
    nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    return three_alloc(box, size_bytes);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("slow", "1.0"),
    .ops = {.alloc = slow_alloc, .free = three_free, .owns = three_owns},
};

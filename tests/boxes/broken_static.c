/* SPDX-License-Identifier: MIT
 * broken_static.c - all slots lie in a static variable, not in mapped memory.
 *
 * breaks: alignment
 * says: is outside the box's mappings
 * verify: which is no memory that host->map gave this box
 */
#include "common.h"

static char memory[1 << 20] __attribute__((aligned(64)));
static size_t used;

static void *static_alloc(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    size_t at = used;
    used += (size_bytes + 15) & ~(size_t)15;
    return used <= sizeof memory ? memory + at : NULL;
}

static bool static_owns(struct hak_box *box, const void *p)
{
    (void)box;
    return (uintptr_t)p - (uintptr_t)memory < sizeof memory;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_static", "1.0"),
    .ops = {.alloc = static_alloc, .free = none_free, .owns = static_owns},
};

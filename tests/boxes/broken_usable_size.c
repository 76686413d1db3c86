/* SPDX-License-Identifier: MIT
 * broken_usable_size.c - like three.c, but usable_size() returns more than a
 * slot has.
 *
 * breaks: usable_size
 * says: overlaps one that is out
 * verify: which overlaps
 */
#define THREE_NO_ENTRY
#include "three.c"

static size_t generous_usable_size(struct hak_box *box, const void *p)
{
    struct three *t = state_of(box, false);
    uint32_t kind = __atomic_load_n(kind_at(box, t, p), __ATOMIC_ACQUIRE);
    return kind < LARGE ? ((size_t)16 << (kind - 1)) + 16
                        : (size_t)(kind - LARGE) << HAK_GRANULE_SHIFT;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_usable_size", "1.0"),
    .ops = {.alloc = three_alloc,
            .free = three_free,
            .owns = three_owns,
            .usable_size = generous_usable_size},
};

/* SPDX-License-Identifier: MIT
 * broken_hang.c - like three.c, but alloc() hangs when 128 slots are live for
 * the tenth time.
 *
 * breaks: power_of_two_working_sets
 * says: timed out after 1 s
 * timeout: 1
 */
#define THREE_NO_ENTRY
#include "three.c"

static unsigned out, times;

static void *hanging_alloc(struct hak_box *box, size_t size_bytes)
{
    void *p = three_alloc(box, size_bytes);
    unsigned n = __atomic_add_fetch(&out, p != NULL, __ATOMIC_RELAXED);
    if (n == 128 && __atomic_add_fetch(&times, 1, __ATOMIC_RELAXED) == 10)
        while (__atomic_load_n(&out, __ATOMIC_RELAXED))
            ;
    return p;
}

static void counting_free(struct hak_box *box, void *p)
{
    __atomic_fetch_sub(&out, 1, __ATOMIC_RELAXED);
    three_free(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_hang", "1.0"),
    .ops = {.alloc = hanging_alloc, .free = counting_free, .owns = three_owns},
};

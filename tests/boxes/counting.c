/* SPDX-License-Identifier: MIT
 * counting.c - like three.c, with as many counters as a report has room for,
 * and more.
 */
#define THREE_NO_ENTRY
#include "three.c"

#define NAMES_OF(n)                           \
    "a_counter_with_a_long_name_" #n "0",     \
        "a_counter_with_a_long_name_" #n "1", \
        "a_counter_with_a_long_name_" #n "2", \
        "a_counter_with_a_long_name_" #n "3", \
        "a_counter_with_a_long_name_" #n "4"
static const char *const names[] = {NAMES_OF(0), NAMES_OF(1), NAMES_OF(2),
                                    NAMES_OF(3), NAMES_OF(4), NAMES_OF(5),
                                    NAMES_OF(6), NAMES_OF(7)};
enum { NNAMES = sizeof names / sizeof names[0] };

static uint32_t read_counters(struct hak_box *box, struct hak_counter *out,
                              uint32_t n)
{
    (void)box;
    for (uint32_t i = 0; i < n && i < NNAMES; i++)
        out[i] = (struct hak_counter){names[i], UINT64_MAX};
    return NNAMES;
}

static const struct hak_counters_1 counters = {.struct_bytes = sizeof counters,
                                               .read = read_counters};

static const void *get_extension(struct hak_box *box, const char *id)
{
    (void)box;
    const char *wanted = HAK_COUNTERS_1;
    while (*id != 0 && *id == *wanted) {
        id++;
        wanted++;
    }
    return *id == *wanted ? &counters : NULL;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("counting", "1.0"),
    .ops = {.alloc = three_alloc,
            .free = three_free,
            .owns = three_owns,
            .get_extension = get_extension},
};

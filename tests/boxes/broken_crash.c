/* SPDX-License-Identifier: MIT
 * broken_crash.c - alloc() of more than a page writes to a null pointer.
 *
 * breaks: alignment
 * says: SIGSEGV (broken_crash.so, in alloc(
 * verify: box x: SIGSEGV in alloc(
 */
#include "common.h"

static char *first, *memory, *end;
static volatile char *volatile nowhere;

static void *crashing_alloc(struct hak_box *box, size_t size_bytes)
{
    size_t bytes = (size_bytes + 15) & ~(size_t)15;
    if (size_bytes > 4096)
        *nowhere = 1;
    if ((size_t)(end - memory) < bytes) {
        first = memory = box->host->map(box, HAK_GRANULE_BYTES, 0, 0);
        end = memory != NULL ? memory + HAK_GRANULE_BYTES : NULL;
    }
    if (memory == NULL)
        return NULL;
    memory += bytes;
    return memory - bytes;
}

static bool crashing_owns(struct hak_box *box, const void *p)
{
    (void)box;
    return (uintptr_t)p - (uintptr_t)first < (uintptr_t)(end - first);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_crash", "1.0"),
    .ops = {.alloc = crashing_alloc, .free = none_free, .owns = crashing_owns},
};

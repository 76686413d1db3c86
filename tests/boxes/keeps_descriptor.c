/* SPDX-License-Identifier: MIT
 * keeps_descriptor.c - like three.c, but its init opens a file and keeps the
 * descriptor.
 */
#define THREE_NO_ENTRY
#include "three.c"

#include <fcntl.h>

static int keep(struct hak_box *box)
{
    static int fd;
    (void)box;
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? 0 : -1;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("keeps_descriptor", "1.0"),
    .ops = {.init = keep,
            .alloc = three_alloc,
            .free = three_free,
            .owns = three_owns},
};

/* SPDX-License-Identifier: MIT
 * check.h - checks and reads the entry of a box.
 */
#ifndef HAKMEM_BOX_CHECK_H
#define HAKMEM_BOX_CHECK_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/*
 * hak_entry_read - check a box's entry, and read it as this core's box.h has
 * it. theirs   the entry in the box's file, possibly of another minor version
 * Returns  0; -errno with the reason in why, *e is then undefined
 */
int hak_entry_read(const struct hak_box_entry *theirs, struct hak_box_entry *e,
                   char *why, size_t why_bytes);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * check.h - is it the entry of a box?
 */
#ifndef HAKMEM_BOX_CHECK_H
#define HAKMEM_BOX_CHECK_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* Fill e with what theirs says, as this core's header has it. 0, or -errno with
 * the reason in why. */
int hak_entry_read(const struct hak_box_entry *theirs, struct hak_box_entry *e,
                   char *why, size_t why_bytes);

#pragma GCC visibility pop

#endif

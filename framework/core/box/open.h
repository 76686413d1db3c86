/* SPDX-License-Identifier: MIT
 * open.h - box files and modules: opened, and their entries checked.
 */
#ifndef HAKMEM_BOX_OPEN_H
#define HAKMEM_BOX_OPEN_H

#include <hakmem/box.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/*
 * hak_object_open - open a shared object, which is a regular file that the
 * loader can take, and with raised rights one that root alone can change.
 * Returns  what dlopen returns; NULL with the reason in why
 */
void *hak_object_open(const char *path, char *why, size_t why_bytes);

/*
 * hak_box_file - open a box file and check its entry, nothing else.
 * Returns the entry and its parameters as this core's header has them (abi.h),
 * or NULL with the reason in why. *handle is for dlclose (tools only).
 */
const struct hak_box_entry *hak_box_file(const char *path, void **handle,
                                         char *why, size_t why_bytes);

/* The entry of the module of that name. 0; -ENOENT: there is no such file;
 * another -errno; why has the reason. */
int hak_module_file(const char *name, const struct hak_module_entry **out,
                    char *why, size_t why_bytes);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * open.h - opens box files and modules, and checks their entries.
 */
#ifndef HAKMEM_BOX_OPEN_H
#define HAKMEM_BOX_OPEN_H

#include <hakmem/box.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/*
 * hak_object_open - check a shared object and dlopen it.
 * path     a regular file; in a program with raised rights, one that only root
 *          can change
 * Returns  the handle of dlopen; NULL with the reason in why
 */
void *hak_object_open(const char *path, char *why, size_t why_bytes);

/*
 * hak_box_file - open a box file and check its entry. No operation is called.
 * handle   gets the handle of dlopen; only tools dlclose it
 * Returns  the entry and its parameters, as this core's box.h has them (abi.h);
 *          NULL with the reason in why
 */
const struct hak_box_entry *hak_box_file(const char *path, void **handle,
                                         char *why, size_t why_bytes);

/* Open the file of the module of that name, and find its entry. 0; -ENOENT:
 * there is no such file; another -errno. why has the reason. */
int hak_module_file(const char *name, const struct hak_module_entry **out,
                    char *why, size_t why_bytes);

#pragma GCC visibility pop

#endif

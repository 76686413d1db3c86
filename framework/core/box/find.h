/* SPDX-License-Identifier: MIT
 * find.h - finds box files and modules.
 */
#ifndef HAKMEM_BOX_FIND_H
#define HAKMEM_BOX_FIND_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Write the file name of box `name` to out. given: the key `path` of its
 * section, or NULL. conf_file: the INI, or NULL. */
void hak_box_path(const char *given, const char *name, const char *conf_file,
                  char *out, size_t out_bytes);
/* The most bytes of a name for hak_beside. */
enum { HAK_PLACE_BYTES = 48 };
/* The first of these files or directories that exists, or NULL. places: names
 * relative to the directory of the library or tool, up to a NULL. The result
 * lives as long as the process. */
const char *hak_beside(const char *const *places);
/* The directory of the boxes. If there is none, that of the library or tool. */
const char *hak_boxes_dir(void);

#pragma GCC visibility pop

#endif

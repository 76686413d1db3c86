/* SPDX-License-Identifier: MIT
 * find.h - where box files are.
 */
#ifndef HAKMEM_BOX_FIND_H
#define HAKMEM_BOX_FIND_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Where [box NAME] without `path` or with a relative one is looked for. */
void hak_box_path(const char *given, const char *name, const char *conf_file,
                  char *out, size_t out_bytes);
/* The first of these places that is there, or NULL. They are relative to the
 * directory of the library or tool; a NULL ends them. */
enum { HAK_PLACE_BYTES = 48 }; /* none is longer */
const char *hak_beside(const char *const *places);
/* Directory of the boxes: beside the library or tool. */
const char *hak_boxes_dir(void);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * classes.h - the size classes C0 to C7, for which an INI gives routes.
 *
 * They serve requests of up to 16, 32, 64, 128, 256, 384, 512 and 1024 bytes.
 */
#ifndef HAKMEM_BASE_CLASSES_H
#define HAKMEM_BASE_CLASSES_H

#include <hakmem/box.h>

enum { HAK_CLASSES = 8 };

/* The class of a size index: 0 to 7, or 8 for sizes above 1 KiB. */
uint32_t hak_class_of_index(uint32_t index);
/* The largest request of a class in bytes; SIZE_MAX for a number above 7. */
size_t hak_class_bytes(uint32_t class_number);

#endif

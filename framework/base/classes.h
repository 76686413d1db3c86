/* SPDX-License-Identifier: MIT
 * classes.h - the size classes C0 to C7 that routes are given for: requests of
 * up to 16, 32, 64, 128, 256, 384, 512 and 1024 bytes.
 */
#ifndef HAKMEM_BASE_CLASSES_H
#define HAKMEM_BASE_CLASSES_H

#include <hakmem/box.h>

enum { HAK_CLASSES = 8 };

/* Class of a size index, 0..7; 8 above. */
uint32_t hak_class_of_index(uint32_t index);
/* Largest request of a class; SIZE_MAX above C7. */
size_t hak_class_bytes(uint32_t class_number);

#endif

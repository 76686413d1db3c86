/* SPDX-License-Identifier: MIT
 * classes.c - the size classes C0 to C7.
 */
#include <base/classes.h>

static const uint16_t class_bytes[HAK_CLASSES] = {16,  32,  64,  128,
                                                  256, 384, 512, 1024};

uint32_t hak_class_of_index(uint32_t index)
{
    uint32_t k = 0;
    while (k < HAK_CLASSES && hak_index_bytes(index) > class_bytes[k])
        k++;
    return k;
}

size_t hak_class_bytes(uint32_t class_number)
{
    return class_number < HAK_CLASSES ? class_bytes[class_number] : SIZE_MAX;
}

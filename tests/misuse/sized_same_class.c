/* SPDX-License-Identifier: MIT
 * sized_same_class.c - free_sized() gets a wrong size that has the same size
 * class.
 *
 * fault: free_sized with a size of the same class
 * default: no
 * hardened: at once: free_sized
 * scudo: no such call
 */
#include "misuse.h"

static void misuse(void)
{
    void *p = opaque(malloc(5000));
    step("now");
    if (free_sized != NULL)
        free_sized(p, 4996);
}

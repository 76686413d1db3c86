/* SPDX-License-Identifier: MIT
 * sized_mismatch.c - free_sized() gets a wrong size.
 *
 * fault: free_sized with a wrong size
 * default: at once: free_sized
 * hardened: at once: free_sized
 * scudo: no such call
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    step("now");
    free_sized(p, 1000);
}

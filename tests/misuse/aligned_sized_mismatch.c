/* SPDX-License-Identifier: MIT
 * aligned_sized_mismatch.c - free_aligned_sized() gets a wrong size.
 *
 * fault: free_aligned_sized with a wrong size
 * default: at once: free_aligned_sized
 * hardened: at once: free_aligned_sized
 * scudo: no such call
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(aligned_alloc(64, 128));
    step("now");
    free_aligned_sized(p, 64, 4096);
}

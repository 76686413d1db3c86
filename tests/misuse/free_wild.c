/* SPDX-License-Identifier: MIT
 * free_wild.c - a number that is no address of anything is freed.
 *
 * fault: free of a wild pointer
 * default: at once: no box and not libc
 * hardened: at once: no box and not libc
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    step("now");
    free(opaque((void *)0x123456789abcdef0));
}

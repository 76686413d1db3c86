/* SPDX-License-Identifier: MIT
 * free_global.c - a global variable is freed.
 *
 * fault: free of a global variable
 * default: at once: no box and not libc
 * hardened: at once: no box and not libc
 * scudo: at once
 */
#include "misuse.h"

static char global[64];

static void misuse(void)
{
    step("now");
    free(opaque(global));
}

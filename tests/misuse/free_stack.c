/* SPDX-License-Identifier: MIT
 * free_stack.c - an address on the stack is freed.
 *
 * fault: free of a local variable
 * default: at once: no box and not libc
 * hardened: at once: no box and not libc
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char local[64] = "";
    step("now");
    free(opaque(local));
}

/* SPDX-License-Identifier: MIT
 * usable_stack.c - malloc_usable_size of a local variable.
 *
 * fault: malloc_usable_size of a local variable
 * default: at once: malloc_usable_size(
 * hardened: at once: malloc_usable_size(
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char local[64] = "";
    char *p = opaque(local);
    step("now");
    (void)!malloc_usable_size(p);
}

/* SPDX-License-Identifier: MIT
 * realloc_stack.c - realloc of a local variable.
 *
 * fault: realloc of a local variable
 * default: at once: realloc(
 * hardened: at once: realloc(
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char local[64] = "";
    char *p = opaque(local);
    step("now");
    (void)!realloc(p, 5000);
}

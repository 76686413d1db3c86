/* SPDX-License-Identifier: MIT
 * read_after_free.c - a freed block is read, and still has its old content.
 *
 * fault: secret read after free
 * default: no
 * hardened: at once
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    memset(p, 42, 100);
    free(p);
    step("now");
    if (p[50] != 42)
        abort(); /* the content was wiped */
}

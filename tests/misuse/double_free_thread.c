/* SPDX-License-Identifier: MIT
 * double_free_thread.c - the owner frees a block, then another thread frees it.
 *
 * fault: double free, second time by another thread
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    free(p);
    step("now");
    in_thread(free_it, p);
    step("reuse");
    take_many(100);
}

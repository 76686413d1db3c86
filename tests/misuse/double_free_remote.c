/* SPDX-License-Identifier: MIT
 * double_free_remote.c - another thread frees a block, then its owner frees it.
 *
 * fault: double free, first time by another thread
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    in_thread(free_it, p);
    step("now");
    free(p);
    step("reuse");
    take_many(100);
}

/* SPDX-License-Identifier: MIT
 * double_free_elsewhere.c - two threads that did not allocate a block both free
 * it.
 *
 * fault: double free, by two other threads
 * default: at once: freed twice
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
    in_thread(free_it, p);
    step("reuse");
    take_many(100);
}

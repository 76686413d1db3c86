/* SPDX-License-Identifier: MIT
 * underflow_9.c - one byte 9 bytes before a block is written to, where other
 * allocators have a header.
 *
 * fault: write of 1 byte, 9 before the block
 * default: no
 * hardened: at free: underflow
 * guard: by sampling
 * scudo: at free
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(16));
    while ((uintptr_t)p % 4096 == 0) /* a guard page may precede p */
        p = opaque(malloc(16));
    step("now");
    p[-9] ^= 42;
    step("free");
    free(p);
    step("reuse");
    take_many(16);
}

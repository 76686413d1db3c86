/* SPDX-License-Identifier: MIT
 * free_unmapped.c - an address that was mapped once is freed.
 *
 * fault: free of an unmapped address
 * default: at once: no box and not libc
 * hardened: at once: no box and not libc
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p, 65536);
    step("now");
    free(p);
}

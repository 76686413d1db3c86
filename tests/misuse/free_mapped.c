/* SPDX-License-Identifier: MIT
 * free_mapped.c - memory from mmap is freed.
 *
 * fault: free of memory from mmap
 * default: at once: no box and not libc
 * hardened: at once: no box and not libc
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    step("now");
    free(p + 64);
}

/* SPDX-License-Identifier: MIT
 * owner.c - print who owns a small block; installed set-user-ID by the test. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    void *p = malloc(100);
    const char *owner = hak_owner(p);
    puts(owner != NULL ? owner : "libc");
    free(p);
    return 0;
}

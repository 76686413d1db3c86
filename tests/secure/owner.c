/* SPDX-License-Identifier: MIT
 * owner.c - print who owns a small block; installed set-user-ID by the test.
 * With an argument: after so many turns that fill and empty pages. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

static void turn(size_t bytes, size_t n)
{
    static void *p[4096];
    for (size_t i = 0; i < n; i++)
        p[i] = malloc(bytes);
    for (size_t i = 0; i < n; i++)
        free(p[i]);
}

int main(int argc, char **argv)
{
    for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--) {
        turn(500, 3000);
        turn(1000, 400);
    }
    void *p = malloc(argc > 1 ? 1000 : 100);
    const char *owner = hak_owner(p);
    puts(owner != NULL ? owner : "libc");
    free(p);
    return 0;
}

/* SPDX-License-Identifier: MIT
 * owner.c - print who owns blocks of three sizes; installed set-user-ID by the
 * test. With an argument: the owner of one, after so many turns that fill and
 * empty pages. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>

static void turn(size_t bytes, size_t n)
{
    static void *p[12000];
    for (size_t i = 0; i < n; i++)
        p[i] = malloc(bytes);
    for (size_t i = 0; i < n; i++)
        free(p[i]);
}

static const char *owner(size_t bytes)
{
    void *p = malloc(bytes);
    const char *name = hak_owner(p);
    free(p);
    return name != NULL ? name : "libc";
}

int main(int argc, char **argv)
{
    for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--) {
        turn(500, 12000);
        turn(1000, 1600);
    }
    if (argc > 1)
        puts(owner(1000));
    else
        printf("%s %s %s\n", owner(100), owner(5000), owner(300000));
    return 0;
}

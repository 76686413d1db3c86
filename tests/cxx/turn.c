/* SPDX-License-Identifier: MIT
 * turn.c - a library that calls delete, and, with OWN, the one that has it: by
 * their names, since no library of C++ goes once it is loaded. Two such pairs
 * take each other's addresses, with delete elsewhere in the second one.
 */
#include <stdio.h>
#include <stdlib.h>

void delete_sized(void *p, size_t size) __asm__("_ZdlPvm");
int use(void);

#ifdef OWN
__attribute__((used)) void nothing(void)
{
    __asm__(".fill %c0 * 64, 1, 0xcc" : : "i"(OWN));
}

void delete_sized(void *p, size_t size)
{
    printf("delete %d of %zu bytes\n", OWN, size);
    free(p);
}
#else
int use(void)
{
    for (int i = 0; i < 3; i++)
        delete_sized(malloc(8), 8);
    return 0;
}
#endif

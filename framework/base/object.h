/* SPDX-License-Identifier: MIT
 * object.h - one loaded ELF object (program or library) and its own symbols.
 *
 * dlsym does not fit here: it searches an object and all that it needs, it
 * takes the loader's lock, and for a library that was loaded at start it needs
 * dlopen first, which allocates. These functions look at one object alone, and
 * read its tables in memory.
 */
#ifndef HAK_OBJECT_H
#define HAK_OBJECT_H

#include <link.h>
#include <stdbool.h>

struct hak_object {
    uintptr_t base; /* load bias: added to the addresses of the file */
    const ElfW(Dyn) * dynamic;
    const void *start, *end; /* the range that it is mapped in */
};

/*
 * hak_object_of - find the object that contains address p.
 * Returns  false: no object contains it. Lock-free, any thread.
 */
bool hak_object_of(const void *p, struct hak_object *out);

/* Does the object contain address p? */
static inline bool hak_object_has(const struct hak_object *object,
                                  const void *p)
{
    return p >= object->start && p < object->end;
}

/*
 * hak_object_symbol - the address of a function that the object defines and
 * exports.
 * Returns  NULL: it exports no such function, or it has no GNU hash table.
 *          If there are several versions of the symbol, any of them.
 * Lock-free. The caller makes sure that the object stays loaded meanwhile.
 */
void *hak_object_symbol(const struct hak_object *object, const char *name);

/* hak_object_variable - the same for a variable of that size. If the program
 * has a copy of it (a copy relocation), this is not the copy. */
void *hak_object_variable(const struct hak_object *object, const char *name,
                          size_t size_bytes);

#endif

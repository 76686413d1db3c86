/* SPDX-License-Identifier: MIT
 * object.h - one loaded ELF object (program or library) and its own symbols.
 *
 * dlsym searches an object and all that it needs, takes the loader's lock, and
 * for a library of the start wants dlopen first, which allocates. Here it is
 * one object, read as it lies in memory.
 */
#ifndef HAK_OBJECT_H
#define HAK_OBJECT_H

#include <link.h>
#include <stdbool.h>

struct hak_object {
    uintptr_t base; /* what is added to addresses in the file */
    const ElfW(Dyn) * dynamic;
    const void *start, *end; /* where it is mapped */
};

/*
 * hak_object_of - the object that p is in.
 * Returns  false: in none. Lock-free, any thread.
 */
bool hak_object_of(const void *p, struct hak_object *out);

static inline bool hak_object_has(const struct hak_object *object,
                                  const void *p)
{
    return p >= object->start && p < object->end;
}

/*
 * hak_object_symbol - the address of a function that the object itself
 * defines and lets others use; NULL: it has none of that name, or no GNU hash
 * table. Of several versions any. Lock-free; the object must not go meanwhile.
 */
void *hak_object_symbol(const struct hak_object *object, const char *name);

#endif

/* SPDX-License-Identifier: MIT
 * dlopen.c - dlopen and dlmopen without RTLD_DEEPBIND.
 *
 * A library that is opened with that flag finds libc before us: it would free
 * by libc what it gets from the rest of the program, and the other way round.
 * So the flag is left out, but in a namespace of its own, which has its own
 * libc. Both calls end with a jump, since dlopen takes the search path of the
 * library that it is called from, by its return address. (A tool leaves this
 * file out.)
 */
#include <base/export.h>
#include <dlfcn.h>

typedef void *opens(const char *file, int mode);
typedef void *opens_in(Lmid_t space, const char *file, int mode);

HAK_EXPORT void *dlopen(const char *file, int mode)
{
    opens *next;
    *(void **)&next = dlsym(RTLD_NEXT, "dlopen");
    return next(file, mode & ~RTLD_DEEPBIND);
}

HAK_EXPORT void *dlmopen(Lmid_t space, const char *file, int mode)
{
    opens_in *next;
    *(void **)&next = dlsym(RTLD_NEXT, "dlmopen");
    return next(space, file,
                space == LM_ID_BASE ? mode & ~RTLD_DEEPBIND : mode);
}

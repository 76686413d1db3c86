/* SPDX-License-Identifier: MIT
 * dlopen.c - dlopen and dlmopen without RTLD_DEEPBIND.
 *
 * A library that is opened with RTLD_DEEPBIND finds libc's malloc and free
 * before ours. It would pass blocks of ours to libc's free, and the rest of the
 * program would pass libc's blocks to ours. So dlopen and dlmopen drop the
 * flag. A namespace of its own keeps it, as it has its own libc.
 *
 * Both functions must end in a jump (tail call): dlopen finds the search path
 * of the calling library by its return address. Tools are linked without this
 * file.
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

/* SPDX-License-Identifier: MIT
 * cxx.c - libhakmem-cxx.so: C++'s delete with a size, compared with its block.
 *
 * Preloaded behind libhakmem.so where it is asked for, and a library of its
 * own since its names stand in front of everybody's: what would have had the
 * call without it must have it still.
 *
 *     operator delete(p, size) --> libstdc++'s new and delete throughout?
 *         yes   hak_free_new: compare, free
 *         no    somebody's operator delete(p), as libstdc++ would call it
 *         C++ came by dlopen: whatever the caller's library finds without us
 */
#include <hakmem/hakmem.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
/* What the dynamic linker finds first from the program on, or NULL. */
#define FOUND(symbol) __asm__(symbol) __attribute__((weak))
typedef char place[]; /* cppcheck cannot read an asm name behind [] */

extern __typeof__(hak_free_new) hak_free_new __attribute__((weak));

void delete_plain(void *p) FOUND("_ZdlPv");
void delete_array(void *p) FOUND("_ZdaPv");
void delete_aligned(void *p, size_t align) FOUND("_ZdlPvSt11align_val_t");
void delete_aligned_array(void *p, size_t align) FOUND("_ZdaPvSt11align_val_t");
extern place get_new_handler FOUND("_ZSt15get_new_handlerv");
/* All that a block to be deleted may have come from. */
extern place new_plain FOUND("_Znwm");
extern place new_array FOUND("_Znam");
extern place new_nothrow FOUND("_ZnwmRKSt9nothrow_t");
extern place new_array_nothrow FOUND("_ZnamRKSt9nothrow_t");
extern place new_aligned FOUND("_ZnwmSt11align_val_t");
extern place new_aligned_array FOUND("_ZnamSt11align_val_t");
extern place new_aligned_nothrow FOUND("_ZnwmSt11align_val_tRKSt9nothrow_t");
extern place
    new_aligned_array_nothrow FOUND("_ZnamSt11align_val_tRKSt9nothrow_t");

/* ---- whose are they? ---- */

static bool all_libstdcxxs;

/* Where the object is mapped that has it; NULL: in none. */
static const void *object_of(const void *p)
{
    Dl_info info;
    return p != NULL && dladdr(p, &info) != 0 ? info.dli_fbase : NULL;
}

/*
 * Once, before main: an allocation now disturbs nobody, and what the names are
 * bound to does not change any more. Calls before are not compared.
 */
__attribute__((constructor)) static void begin(void)
{
    const void *const one[] = {
        (const void *)(uintptr_t)delete_plain,
        (const void *)(uintptr_t)delete_array,
        (const void *)(uintptr_t)delete_aligned,
        (const void *)(uintptr_t)delete_aligned_array,
        new_plain,
        new_array,
        new_nothrow,
        new_array_nothrow,
        new_aligned,
        new_aligned_array,
        new_aligned_nothrow,
        new_aligned_array_nothrow,
    };
    const void *theirs = object_of(get_new_handler);
    bool all = theirs != NULL && hak_free_new != NULL;
    for (size_t i = 0; all && i < sizeof one / sizeof one[0]; i++)
        all = object_of(one[i]) == theirs;
    all_libstdcxxs = all;
}

/* ---- C++ that came by dlopen ---- */

typedef void sized(void *p, size_t size, size_t align);

/*
 * The caller's library and those that it needs, without what stands before
 * them: us. Cost: some microseconds, each time, since any of them may go.
 */
static void pass_on(const char *symbol, void *p, size_t size, size_t align,
                    const void *caller)
{
    int kept = errno;
    Dl_info info;
    struct link_map *map;
    void *handle = NULL;
    sized *found = NULL;
    if (dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 &&
        map->l_name[0] != 0)
        handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL)
        *(void **)&found = dlsym(handle, symbol);
    if (found != NULL)
        found(p, size, align);
    else
        free(p);
    if (handle != NULL)
        dlclose(handle);
    errno = kept;
}

/* ---- the operators ---- */

#define CALLER __builtin_return_address(0)

#define SIZED(name, symbol, unsized)                        \
    EXPORT void name(void *p, size_t size) __asm__(symbol); \
    EXPORT void name(void *p, size_t size)                  \
    {                                                       \
        if (all_libstdcxxs)                                 \
            hak_free_new(p, 0, size);                       \
        else if ((unsized) != NULL)                         \
            unsized(p);                                     \
        else                                                \
            pass_on(symbol, p, size, 0, CALLER);            \
    }

#define SIZED_ALIGNED(name, symbol, unsized)                              \
    EXPORT void name(void *p, size_t size, size_t align) __asm__(symbol); \
    EXPORT void name(void *p, size_t size, size_t align)                  \
    {                                                                     \
        if (all_libstdcxxs)                                               \
            hak_free_new(p, align, size);                                 \
        else if ((unsized) != NULL)                                       \
            unsized(p, align);                                            \
        else                                                              \
            pass_on(symbol, p, size, align, CALLER);                      \
    }

SIZED(delete_sized, "_ZdlPvm", delete_plain)
SIZED(delete_sized_array, "_ZdaPvm", delete_array)
SIZED_ALIGNED(delete_sized_aligned, "_ZdlPvmSt11align_val_t", delete_aligned)
SIZED_ALIGNED(delete_sized_aligned_array, "_ZdaPvmSt11align_val_t",
              delete_aligned_array)

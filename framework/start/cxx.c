/* SPDX-License-Identifier: MIT
 * cxx.c - libhakmem-cxx.so and libhakmem-match.so: compare C++'s delete with
 * the block that it frees.
 *
 *     libhakmem-cxx.so    compares the size that delete is told. It replaces
 *                         new only for aligned blocks, whose size libstdc++
 *                         rounds up.
 *     libhakmem-match.so  compares also whether new, new[] or malloc made the
 *                         block (built from this file with HAK_MATCH)
 *
 * One of them is preloaded behind libhakmem.so if the INI asks for it. It is a
 * library of its own because its operators come before those of all other
 * libraries: each call must still reach the operator that it would reach
 * without us.
 *
 *     operator delete(p, size)
 *         all operators are libstdc++'s   hak_delete compares and frees
 *         some are of another library     the operator delete(p) that
 *                                         libstdc++ would call
 *         C++ came by dlopen              the operator that the caller's
 *                                         library would find without us
 */
#include <base/export.h>
#include <hakmem/hakmem.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>

#define CALLER __builtin_return_address(0)
#ifdef HAK_MATCH
enum { MATCHES = 1 };
#else
enum { MATCHES = 0 };
#endif

extern __typeof__(hak_delete) hak_delete __attribute__((weak));
extern __typeof__(hak_new_is) hak_new_is __attribute__((weak));

/* ---- the names ---- */

enum operator{
    NEW,
    NEW_ARRAY,
    NEW_NOTHROW,
    NEW_ARRAY_NOTHROW,
    NEW_ALIGNED,
    NEW_ARRAY_ALIGNED,
    NEW_ALIGNED_NOTHROW,
    NEW_ARRAY_ALIGNED_NOTHROW,
    DELETE,
    DELETE_ARRAY,
    DELETE_ALIGNED,
    DELETE_ARRAY_ALIGNED,
    UNSIZED, /* before it: the operators that a sized delete ends in, and new */
    DELETE_SIZED = UNSIZED,
    DELETE_ARRAY_SIZED,
    DELETE_SIZED_ALIGNED,
    DELETE_ARRAY_SIZED_ALIGNED,
    OPERATORS,
};

static const char *const name_of[OPERATORS] = {
    [NEW] = "_Znwm",
    [NEW_ARRAY] = "_Znam",
    [NEW_NOTHROW] = "_ZnwmRKSt9nothrow_t",
    [NEW_ARRAY_NOTHROW] = "_ZnamRKSt9nothrow_t",
    [NEW_ALIGNED] = "_ZnwmSt11align_val_t",
    [NEW_ARRAY_ALIGNED] = "_ZnamSt11align_val_t",
    [NEW_ALIGNED_NOTHROW] = "_ZnwmSt11align_val_tRKSt9nothrow_t",
    [NEW_ARRAY_ALIGNED_NOTHROW] = "_ZnamSt11align_val_tRKSt9nothrow_t",
    [DELETE] = "_ZdlPv",
    [DELETE_ARRAY] = "_ZdaPv",
    [DELETE_ALIGNED] = "_ZdlPvSt11align_val_t",
    [DELETE_ARRAY_ALIGNED] = "_ZdaPvSt11align_val_t",
    [DELETE_SIZED] = "_ZdlPvm",
    [DELETE_ARRAY_SIZED] = "_ZdaPvm",
    [DELETE_SIZED_ALIGNED] = "_ZdlPvmSt11align_val_t",
    [DELETE_ARRAY_SIZED_ALIGNED] = "_ZdaPvmSt11align_val_t",
};

/* The type of any operator. An operator ignores the arguments that it does not
 * take, as the x86-64 ABI passes them in registers. */
typedef void *operator_fn(uintptr_t first, uintptr_t second, uintptr_t third);

/* ---- which library has the operators ---- */

static struct {
    bool known;          /* atomic */
    bool all_libstdcxxs; /* all operators without us are libstdc++'s */
    operator_fn *without_us[UNSIZED];
} found;

/* The base address of the object that p is in; NULL: it is in none. */
static const void *object_of(const void *p)
{
    Dl_info info;
    return p != NULL && dladdr(p, &info) != 0 ? info.dli_fbase : NULL;
}

static bool is_ours(const void *p)
{
    return p != NULL && object_of(p) == object_of(&found);
}

/* The symbol that the dynamic linker would find without us, searching from the
 * program on; or NULL. */
static void *without_us(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    return is_ours(p) ? dlsym(RTLD_NEXT, name) : p;
}

/*
 * Find the operators, before main at the latest. Once all libraries of the
 * start are loaded, the result does not change. If two threads run this at
 * once, both find and store the same.
 */
__attribute__((constructor)) static void find_operators(void)
{
    int kept = errno;
    const void *theirs = object_of(without_us("_ZSt15get_new_handlerv"));
    bool all = theirs != NULL && hak_delete != NULL && hak_new_is != NULL;
    for (int i = 0; i < UNSIZED; i++) {
        void *p = without_us(name_of[i]);
        found.without_us[i] = (operator_fn *)(uintptr_t)p;
        all = all && object_of(p) == theirs;
    }
    found.all_libstdcxxs = all;
    __atomic_store_n(&found.known, true, __ATOMIC_RELEASE);
    errno = kept;
}

static bool all_libstdcxxs(void)
{
    if (!__atomic_load_n(&found.known, __ATOMIC_ACQUIRE))
        find_operators();
    return found.all_libstdcxxs;
}

/* ---- C++ that came by dlopen ---- */

/* Call libc's dlclose. */
static int close_library(void *handle)
{
    static int (*next)(void *);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "dlclose");
    return next(handle);
}

/*
 * Find an operator in the caller's library and the libraries that it needs. A
 * search from the program on would find us first. Cost: some microseconds.
 */
static operator_fn *look_up(enum operator which, const void *caller)
{
    int kept = errno;
    Dl_info info;
    struct link_map *map;
    void *handle = NULL, *p = NULL;
    if (dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 &&
        map->l_name[0] != 0)
        handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) {
        p = dlsym(handle, name_of[which]);
        close_library(handle);
    }
    errno = kept;
    return is_ours(p) ? NULL : (operator_fn *)(uintptr_t)p;
}

/*
 * The results of look_up, by caller. A library keeps the libraries that it
 * needs loaded, so a result is valid until some library is closed. Then `age`
 * changes, and with it all keys. Slots have no lock: a slot that two threads
 * write at once has a key that fits neither (Hyatt, lockless hashing).
 */
enum { REMEMBERED = 1024, AGE_SHIFT = 48, OPERATOR_SHIFT = 59 };
static struct {
    uint64_t key_and_call; /* key xor call */
    uint64_t call;
} remembered[REMEMBERED];
static uint64_t age;

static uint64_t key_of(enum operator which, const void *caller)
{
    uint64_t now = __atomic_load_n(&age, __ATOMIC_ACQUIRE);
    now &= ((uint64_t)1 << (OPERATOR_SHIFT - AGE_SHIFT)) - 1;
    return (uintptr_t)caller ^ now << AGE_SHIFT ^
           (uint64_t)(which + 1) << OPERATOR_SHIFT;
}

static operator_fn *remembered_call(enum operator which, const void *caller)
{
    uint64_t key = key_of(which, caller);
    size_t i = key * 0x9e3779b97f4a7c15ull >> 54;
    uint64_t it = __atomic_load_n(&remembered[i].call, __ATOMIC_RELAXED);
    if ((__atomic_load_n(&remembered[i].key_and_call, __ATOMIC_RELAXED) ^ it) ==
        key)
        return (operator_fn *)it;
    operator_fn *p = look_up(which, caller);
    it = (uintptr_t)p;
    __atomic_store_n(&remembered[i].call, it, __ATOMIC_RELAXED);
    __atomic_store_n(&remembered[i].key_and_call, key ^ it, __ATOMIC_RELAXED);
    return p;
}

/* The first change of age drops results from before the close. The second one
 * drops results that destructors of the closed library looked up meanwhile. */
HAK_EXPORT int dlclose(void *handle)
{
    __atomic_add_fetch(&age, 1, __ATOMIC_ACQ_REL);
    int result = close_library(handle);
    __atomic_add_fetch(&age, 1, __ATOMIC_ACQ_REL);
    return result;
}

/* ---- the operators ---- */

static enum operator without_size(enum operator which)
{
    return which < UNSIZED ? which : which - DELETE_SIZED + DELETE;
}

/*
 * The caller of the outermost operator that is being passed on; NULL: none. An
 * operator of libstdc++ may call another one, as new[] calls new. That one must
 * be looked up for the outermost caller, as the dynamic linker would do it for
 * libstdc++.
 */
static __thread const void *outermost;

/* A cleanup function, so that it also runs when new throws. */
static void set_outermost(const void *const *caller)
{
    outermost = *caller;
}

/* Pass on a call whose caller got C++ by dlopen, or has no C++ at all. */
static void *call_of_caller(enum operator which, const void *caller,
                            uintptr_t first, uintptr_t second, uintptr_t third)
{
    __attribute__((cleanup(set_outermost))) const void *outer = outermost;
    if (outer == NULL)
        outermost = caller;
    operator_fn *p = remembered_call(which, outermost);
    if (p != NULL)
        return p(first, second, third);
    if (which < DELETE)
        abort(); /* new was called, but the caller has no C++ */
    free((void *)first);
    return NULL;
}

/* Pass a call to the operator that it would reach without us. */
static void *pass_on(enum operator which, const void *caller, uintptr_t first,
                     uintptr_t second, uintptr_t third)
{
    operator_fn *p = found.without_us[without_size(which)];
    if (p == NULL)
        return call_of_caller(which, caller, first, second, third);
    return which < UNSIZED ? p(first, second, third)
                           : p(first, third, 0); /* its alignment */
}

static uint32_t kind_of(enum operator which)
{
    if (!MATCHES)
        return HAK_NEW_ANY;
    return which % 2 == 0 ? HAK_NEW_ONE : HAK_NEW_ARRAY;
}

/* libstdc++ asks for 1 byte in place of 0. */
static inline void *pass_on_new(enum operator which, const void *caller,
                                size_t size, uintptr_t second, uintptr_t third)
{
    bool ours = all_libstdcxxs();
    void *p = pass_on(which, caller, size, second, third);
    if (ours && p != NULL)
        hak_new_is(p, kind_of(which), size == 0 ? 1 : size);
    return p;
}

#define MAKES(which, name, symbol)                                        \
    HAK_EXPORT void *name(size_t size, uintptr_t second,                  \
                          uintptr_t third) __asm__(symbol);               \
    HAK_EXPORT void *name(size_t size, uintptr_t second, uintptr_t third) \
    {                                                                     \
        return pass_on_new(which, CALLER, size, second, third);           \
    }

MAKES(NEW_ALIGNED, new_aligned, "_ZnwmSt11align_val_t")
MAKES(NEW_ARRAY_ALIGNED, new_array_aligned, "_ZnamSt11align_val_t")
MAKES(NEW_ALIGNED_NOTHROW, new_aligned_nothrow,
      "_ZnwmSt11align_val_tRKSt9nothrow_t")
MAKES(NEW_ARRAY_ALIGNED_NOTHROW, new_array_aligned_nothrow,
      "_ZnamSt11align_val_tRKSt9nothrow_t")

static inline void pass_on_delete(enum operator which, const void *caller,
                                  void *p, size_t size, size_t align)
{
    if (all_libstdcxxs())
        hak_delete(p, kind_of(which), align, size);
    else if (which >= UNSIZED)
        pass_on(which, caller, (uintptr_t)p, size, align);
    else
        pass_on(which, caller, (uintptr_t)p, align, 0);
}

#define UNMAKES(which, name, symbol)                                          \
    HAK_EXPORT void name(void *p, size_t size, size_t align) __asm__(symbol); \
    HAK_EXPORT void name(void *p, size_t size, size_t align)

UNMAKES(DELETE_SIZED, delete_sized, "_ZdlPvm")
{
    (void)align;
    pass_on_delete(DELETE_SIZED, CALLER, p, size, 0);
}
UNMAKES(DELETE_ARRAY_SIZED, delete_array_sized, "_ZdaPvm")
{
    (void)align;
    pass_on_delete(DELETE_ARRAY_SIZED, CALLER, p, size, 0);
}
UNMAKES(DELETE_SIZED_ALIGNED, delete_sized_aligned, "_ZdlPvmSt11align_val_t")
{
    pass_on_delete(DELETE_SIZED_ALIGNED, CALLER, p, size, align);
}
UNMAKES(DELETE_ARRAY_SIZED_ALIGNED, delete_array_sized_aligned,
        "_ZdaPvmSt11align_val_t")
{
    pass_on_delete(DELETE_ARRAY_SIZED_ALIGNED, CALLER, p, size, align);
}

#ifdef HAK_MATCH
MAKES(NEW, new_one, "_Znwm")
MAKES(NEW_ARRAY, new_array, "_Znam")
MAKES(NEW_NOTHROW, new_nothrow, "_ZnwmRKSt9nothrow_t")
MAKES(NEW_ARRAY_NOTHROW, new_array_nothrow, "_ZnamRKSt9nothrow_t")

#define UNMAKES_UNSIZED(which, name, symbol)                     \
    HAK_EXPORT void name(void *p, size_t align) __asm__(symbol); \
    HAK_EXPORT void name(void *p, size_t align)

UNMAKES_UNSIZED(DELETE, delete_one, "_ZdlPv")
{
    (void)align;
    pass_on_delete(DELETE, CALLER, p, HAK_SIZE_UNKNOWN, 0);
}
UNMAKES_UNSIZED(DELETE_ARRAY, delete_array, "_ZdaPv")
{
    (void)align;
    pass_on_delete(DELETE_ARRAY, CALLER, p, HAK_SIZE_UNKNOWN, 0);
}
UNMAKES_UNSIZED(DELETE_ALIGNED, delete_aligned, "_ZdlPvSt11align_val_t")
{
    pass_on_delete(DELETE_ALIGNED, CALLER, p, HAK_SIZE_UNKNOWN, align);
}
UNMAKES_UNSIZED(DELETE_ARRAY_ALIGNED, delete_array_aligned,
                "_ZdaPvSt11align_val_t")
{
    pass_on_delete(DELETE_ARRAY_ALIGNED, CALLER, p, HAK_SIZE_UNKNOWN, align);
}
#endif

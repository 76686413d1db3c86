/* SPDX-License-Identifier: MIT
 * hakctl_profile_known.c - what is known of functions by their names: how they
 * are demangled, which only pass requests on to malloc, and which ask for
 * blocks that nobody needs to free.
 *
 * docs/heap-profile.md has both lists.
 */
#include "hakctl_profile.h"

#include <fnmatch.h>
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

const char *pf_demangle(const char *name)
{
    char *plain = NULL;
    if (name[0] == '_' && (name[1] == 'Z' || name[1] == 'R' || name[1] == '_'))
        plain = cplus_demangle(name, DMGL_AUTO | DMGL_ANSI);
    const char *kept = pf_keep(plain != NULL ? plain : name);
    free(plain);
    return kept;
}

static bool matches(const char *const *patterns, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (fnmatch(patterns[i], text, 0) == 0)
            return true;
    return false;
}
#define MATCHES(patterns, text) \
    matches(patterns, sizeof(patterns) / sizeof(patterns)[0], text)

/* A name of C without the underscores and "__GI_" that glibc puts in front of
 * its inner names. */
static const char *bare(const char *function)
{
    if (strncmp(function, "__GI_", 5) == 0)
        function += 5;
    return function + strspn(function, "_");
}

/* ---- wrappers ------------------------------------------------------------ */

/* Bare names. "<" begins a method of Rust, as in
 * <alloc::vec::Vec<T> as Clone>::clone. */
static const char *const wrappers[] = {
    "malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc",
    "posix_memalign", "valloc", "pvalloc", "strdup", "strndup", "libc_*alloc*",
    /* C++ */
    "operator new*", "std::*", "gnu_cxx::*",
    /* Rust */
    "rust_alloc*", "rust_realloc*", "rdl_*", "rg_*", "alloc::alloc::*",
    "alloc::raw_vec::*", "alloc::vec::*", "alloc::string::*", "alloc::boxed::*",
    "alloc::rc::*", "alloc::sync::*", "alloc::collections::*", "alloc::fmt::*",
    "alloc::slice::*", "alloc::str::*", "<alloc::*", "<* as alloc::*",
    "hashbrown::*", "<hashbrown::*", "core::iter::*", "core::option::*",
    "core::result::*", "<core::*", "<* as core::iter::*",
    /* libraries and programs of C */
    "x[mcr]*alloc", "xstrdup", "g_malloc*", "g_realloc*", "g_try_*alloc*",
    "g_slice_alloc*", "g_strdup", "g_strndup", "z[mcr]*alloc*", "ztry*alloc*",
    "Py*Mem_*lloc", "Py*_Malloc", "Py*_Realloc", "Py*_Calloc",
    "PyObject_GC_Alloc", "gc_alloc", "sqlite3Mem*alloc", "sqlite3Malloc*",
    "sqlite3_malloc*", "mallocWithAlarm", "CRYPTO_*alloc"};

bool pf_is_wrapper(const char *function)
{
    return MATCHES(wrappers, bare(function));
}

/* Whole names. */
static const char *const plumbing[] = {
    "_start", "__libc_start_main*", "__libc_start_call_main", "start_thread",
    "__clone3", "clone3", "__clone", "clone",
    /* C++ */
    "std::_*", "std::thread::_*", "std::*>::_[A-Z]*", "__gnu_cxx::*",
    /* Rust */
    "core::ops::function::*", "<* as core::ops::function::Fn*", "std::sys*",
    "std::rt::*", "std::panic*", "alloc::vec::*", "<alloc::*", "<* as alloc::*",
    "core::iter::*", "<core::iter::*", "<* as core::iter::*",
    "<core::option::*", "<hashbrown::*"};

bool pf_is_plumbing(const char *function)
{
    return MATCHES(plumbing, function);
}

/* ---- blocks that stay ---------------------------------------------------- */

/* Bare names of functions of glibc and libstdc++ that keep what they ask for,
 * once a process. What they hand out for the program to free, as getaddrinfo
 * does, is not among them. */
static const char *const once_functions[] = {"dl_*",
                                             "tls_get_addr*",
                                             "setlocale",
                                             "nl_*",
                                             "std::locale::*",
                                             "std::ios_base::Init::*",
                                             "bindtextdomain",
                                             "set_binding_values",
                                             "textdomain",
                                             "dcgettext",
                                             "dcigettext",
                                             "wcsmbs_load_conv",
                                             "gconv_load_*",
                                             "gconv_read_conf",
                                             "gconv_find_*",
                                             "gconv_get_*",
                                             "gconv_lookup_cache",
                                             "tzset*",
                                             "tz_*",
                                             "tzfile_*",
                                             "localtime*",
                                             "nss_*",
                                             "getpw*",
                                             "getgr*",
                                             "check_pf",
                                             "res_*init",
                                             "resolv_context*",
                                             "resolv_conf*",
                                             "IO_file_doallocate",
                                             "IO_doallocbuf",
                                             "add_to_environ",
                                             "setenv",
                                             "putenv",
                                             "cxa_get_globals",
                                             "cxa_thread_atexit_impl"};
/* Libraries whose own start asks for blocks. */
static const char *const start_libraries[] = {
    "ld-linux*", "ld-2.*", "ld.so*", "libc.so*", "libc-2.*", "libstdc++.so*"};

static bool is_of_loader(const char *library)
{
    return strncmp(library, "ld-", 3) == 0 || strncmp(library, "ld.so", 5) == 0;
}

/* Is each frame of glibc or libstdc++, as in the constructor that makes the
 * pool for exceptions that are thrown when memory is short? */
static bool is_start_alone(const struct pf_stack *stack)
{
    for (size_t i = 0; i < stack->n; i++)
        if (!MATCHES(start_libraries, stack->at[i]->library))
            return false;
    return true;
}

/* Frames are looked at from the innermost one on until the first of another
 * library: what a constructor of the program asks for while dlopen runs it is
 * the program's. */
const char *pf_known_leak(const struct pf_stack *stack)
{
    size_t i = 0;
    while (i + 1 < stack->n && pf_is_wrapper(stack->at[i]->function))
        i++;
    if (is_of_loader(stack->at[i]->library))
        return "the dynamic loader";
    if (is_start_alone(stack))
        return "the start of libc or libstdc++";
    for (i = 0; i < stack->n && MATCHES(start_libraries, stack->at[i]->library);
         i++)
        if (MATCHES(once_functions, bare(stack->at[i]->function)))
            return stack->at[i]->function;
    return NULL;
}

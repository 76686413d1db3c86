/* SPDX-License-Identifier: MIT
 * modules.h - modules: opened at start, and called from slow paths.
 */
#ifndef HAKMEM_BOX_MODULES_H
#define HAKMEM_BOX_MODULES_H

#include <core/state/modules.h>

#pragma GCC visibility push(hidden)

/*
 * hak_module_open - open and start the module of that name, unless it is:
 * one that is linked in, or modules/NAME.so. In the library's constructor.
 * Returns  0; -ENOENT: there is none of that name; another -errno: it is none,
 *          or does not start. why has the reason
 */
int hak_module_open(const char *name, char *why, size_t why_bytes)
    __attribute__((cold));

/* The answer of one of the open modules to an extension, or NULL. */
const void *hak_modules_extension(const char *id);

/* entry->run, entry->fork of all. */
void hak_modules_run(void);
void hak_modules_lock(enum hak_fork_phase phase);

/* Does one of them want its slow_path to be called? Then serve it. */
static inline bool hak_modules_are_waiting(void)
{
    return __atomic_load_n(&hak_modules_wanted, __ATOMIC_RELAXED) != 0;
}
void hak_modules_serve(void) __attribute__((cold));

/* A page went back: for those that have page_retired. */
static inline bool hak_modules_hear_of_pages(void)
{
    return unlikely(hak_modules.nlisteners != 0);
}
void hak_modules_tell_of_page(const struct hak_retire *record);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * modules.h - opens modules at start, and calls them on slow paths.
 */
#ifndef HAKMEM_BOX_MODULES_H
#define HAKMEM_BOX_MODULES_H

#include <core/state/modules.h>

#pragma GCC visibility push(hidden)

/*
 * hak_module_open - open the module of that name and start it. It is one that
 * is linked in, or modules/NAME.so. Nothing is done if it is open already. In
 * the library's constructor only.
 * Returns  0; -ENOENT: there is no module of that name; another -errno: the
 *          file is no module, or does not start. why has the reason.
 */
int hak_module_open(const char *name, char *why, size_t why_bytes)
    __attribute__((cold));

/* The first table that an open module has for this extension, or NULL. */
const void *hak_modules_extension(const char *id);

/* Call entry->run, entry->stop or entry->fork of all open modules. */
void hak_modules_run(void);
void hak_modules_stop(void);
void hak_modules_lock(enum hak_fork_phase phase);

/* Has a module called host->want? Then the caller calls hak_modules_serve,
 * which calls entry->slow_path of each such module. */
static inline bool hak_modules_are_waiting(void)
{
    return __atomic_load_n(&hak_modules_wanted, __ATOMIC_RELAXED) != 0;
}
void hak_modules_serve(void) __attribute__((cold));

/* Does a module have page_retired? Then the caller tells it of each run of
 * slots that became empty, by hak_modules_tell_of_page. */
static inline bool hak_modules_hear_of_pages(void)
{
    return unlikely(hak_modules.nlisteners != 0);
}
void hak_modules_tell_of_page(const struct hak_retire *record);

/* Tell the modules with `event` of a change that was made. kind: as in struct
 * hak_event. Keeps errno. */
void hak_modules_tell(const char *kind, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

#pragma GCC visibility pop

#endif

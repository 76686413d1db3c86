/* SPDX-License-Identifier: MIT
 * change.h - changes of the running process.
 *
 * The functions are those of struct hak_changes (hakmem/module.h) with the same
 * names. Any thread may call them.
 */
#ifndef HAKMEM_START_CHANGE_H
#define HAKMEM_START_CHANGE_H

#include <core/state/boxes.h>
#include <core/state/core.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/* ---- change.c ---- */

extern const struct hak_changes hak_changes;
/* Only the thread between these two calls changes boxes and keys. */
void hak_change_begin(void);
void hak_change_end(void);
/* Is the calling thread between them? */
bool hak_change_is_mine(void);
/* The fork handlers' step on the lock. It comes before those of all others. */
void hak_change_lock(enum hak_fork_phase phase);

/* ---- load.c ---- */

int hak_change_load(const struct hak_load *what, char *why, size_t n);
/* Is the calling thread loading a box? It may open modules meanwhile, and the
 * fork handlers that it registers are those of a foreign library. */
bool hak_change_is_loading(void);

/* ---- keys.c ---- */

int hak_change_set(const char *section, const char *key, const char *value,
                   char *why, size_t n);
/* Open module NAME, which the INI did not ask for, and run it. Between
 * hak_change_begin and hak_change_end. */
int hak_change_module(const char *name, char *why, size_t n);
void hak_change_each_key(void (*each)(void *context, const struct hak_key *key),
                         void *context);

#pragma GCC visibility pop

#endif

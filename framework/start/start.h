/* SPDX-License-Identifier: MIT
 * start.h - how the core starts in a process, and how it survives forks.
 */
#ifndef HAKMEM_START_START_H
#define HAKMEM_START_START_H

#include <conf/conf.h>

#pragma GCC visibility push(hidden)

/* ---- start.c ---- */

/* Start the core. Called by the library's constructor. */
void hak_start(char *const *envp);

/* Give the core's folders the functions of folders above them. It is the first
 * step of hak_start; a tool that loads boxes calls only this step. */
void hak_start_links(void);

/* ---- setup.c; in a fused library fused.c ---- */

/* Fill in hak_conf. Findings go to diag. Returns 0 or -errno. */
int hak_setup_conf(char *const *envp, hak_diag_fn *diag);
/* Load the boxes of hak_conf and build its routes. Returns 0; -errno: the
 * process has to run without boxes. */
int hak_setup_boxes(void);
/* The table that host->get_extension returns for an id, or NULL. */
const void *hak_setup_extension(const char *id);
/* Open the modules that the configuration needs. Returns 0; -errno, after a
 * message. */
int hak_setup_modules(void);
/* The INI to use if HAKMEM_CONF names none. It is beside the library. NULL =
 * there is none. */
const char *hak_default_conf(void);

/* ---- crash.c ---- */

/* Install the signal handlers of [core] blame, before boxes are loaded. */
void hak_crash_start(void) __attribute__((cold));
/* Remove them, where they are still in place. */
void hak_crash_stop(void) __attribute__((cold));

/* ---- fork.c ---- */

/* Register the core's fork handlers, unless they are registered already. Must
 * come before any other handlers are registered. */
void hak_fork_register(void);
typedef void hak_fork_handler(void);
struct hak_fork_handlers {
    hak_fork_handler *prepare, *parent, *child; /* or NULL */
};
/* Keep fork handlers that a foreign box's library registers, and run them
 * inside of the core's handlers. Returns false: the handlers are not of such a
 * library, or there is no room. */
bool hak_fork_keep(const struct hak_fork_handlers *handlers);
/* For a thread whose hak_self is hak_forker. Returns true: no fork is under
 * way, and hak_self is the thread's own structure again. False: a fork is under
 * way, or a call of the core that a signal handler interrupted and forked in.
 */
bool hak_fork_recover(void) __attribute__((cold));

#pragma GCC visibility pop

#endif

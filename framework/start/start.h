/* SPDX-License-Identifier: MIT
 * start.h - the start of the core in a process, and its forks.
 */
#ifndef HAKMEM_START_START_H
#define HAKMEM_START_START_H

#include <conf/conf.h>

#pragma GCC visibility push(hidden)

/* ---- start.c ---- */

/* All of it, in the library's constructor. */
void hak_start(char *const *envp);

/* The first step of it; the only one for a tool that loads boxes. */
void hak_start_links(void);

/* ---- setup.c, or fused.c in its place ---- */

/* Fill hak_conf; findings go to diag. 0 or -errno. */
int hak_setup_conf(char *const *envp, hak_diag_fn *diag);
/* Its boxes and routes. 0, or -errno: without them. */
int hak_setup_boxes(void);
/* What the host table answers for an extension, or NULL. */
const void *hak_setup_extension(const char *id);
/* Open the modules that the configuration asks for. 0, or -errno, told. */
int hak_setup_modules(void);
/* The INI when HAKMEM_CONF names none: beside the library; NULL = none. */
const char *hak_default_conf(void);

/* ---- crash.c ---- */

/* [core] verify, before threads run. */
void hak_crash_start(void) __attribute__((cold));

/* ---- fork.c ---- */

/* Register our handlers, if it was not done: before anybody else's. */
void hak_fork_register(void);
typedef void hak_fork_handler(void);
struct hak_fork_handlers {
    hak_fork_handler *prepare, *parent, *child; /* or NULL */
};
/* Run these inside of ours, if a library registers them that a foreign box
 * opens or calls. False: it is another, or there are too many. */
bool hak_fork_keep(const struct hak_fork_handlers *handlers);
/* hak_self is hak_forker: false while a fork or a call that a signal handler
 * interrupted is under way, else hak_self is the thread's own again. */
bool hak_fork_recover(void) __attribute__((cold));

#pragma GCC visibility pop

#endif

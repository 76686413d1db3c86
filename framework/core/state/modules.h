/* SPDX-License-Identifier: MIT
 * modules.h - the modules of the process (hakmem/module.h).
 */
#ifndef HAKMEM_STATE_MODULES_H
#define HAKMEM_STATE_MODULES_H

#include <hakmem/module.h>
#include <kit/base.h>

#pragma GCC visibility push(hidden)

/*
 * Sealed.
 * linked  modules that are linked in, NULL-terminated: in a fused library, in
 *         hakctl and in tests; else NULL
 */
struct hak_modules {
    const struct hak_module_entry *const *linked;
    uint32_t n;          /* open modules; atomic */
    uint32_t nlisteners; /* open modules with page_retired */
    uint32_t nwatchers;  /* open modules with event */
    uint32_t nmourners;  /* open modules with thread_ended */
    const struct hak_module_entry *entry[HAK_MODULES_MOST];
    struct hak_module_host host[HAK_MODULES_MOST];
};
extern struct hak_modules hak_modules;

/* Bit i: module i wants its slow_path to be called. Atomic. */
extern uint32_t hak_modules_wanted;

#pragma GCC visibility pop

#endif

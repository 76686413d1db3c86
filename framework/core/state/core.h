/* SPDX-License-Identifier: MIT
 * core.h - how the process runs: its mode, its configuration, its hooks.
 *
 * The files of core/state/ are the data that the folders below share. They
 * have no functions but short ones that read it; state.c defines it.
 */
#ifndef HAKMEM_STATE_CORE_H
#define HAKMEM_STATE_CORE_H

#include <base/sections.h>
#include <conf/conf.h>

#pragma GCC visibility push(hidden)

enum hak_mode {
    HAK_MODE_BOOT, /* not started: the boot arena */
    HAK_MODE_LIBC, /* no usable configuration: libc alone */
    HAK_MODE_BOXES,
};

/* By index: the lanes about it whose requests get the same slots. */
struct hak_lane_group {
    uint8_t first, last;
};

struct hak_loaded;

/* Sealed. */
struct hak_core {
    enum hak_mode mode;
    enum hak_free_route free_route;
    bool verify;
    bool fences; /* no barrier from outside: each refill has its own */
    struct hak_lane_group group[HAK_LANES];
    /* One in `sample_every` allocations goes to this box first; 0: none. */
    struct hak_loaded *sample_box;
    uint32_t sample_every;
    /*
     * Set at start by the folders below, for those above: what get_extension
     * of the host table answers, what hak_is_forking asks, and what a module's
     * host->age does.
     */
    const void *(*extension)(const char *id);
    bool (*fork_recover)(void);
    void (*age)(void);
};
extern struct hak_core hak_core;

/* As read at start; nothing is told through it afterwards. */
extern struct hak_conf hak_conf;

#pragma GCC visibility pop

#endif

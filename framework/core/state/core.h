/* SPDX-License-Identifier: MIT
 * core.h - mode and configuration of the process, and hooks between folders.
 *
 * The headers of core/state/ declare the data that the other folders of core/
 * share, and short inline functions that read it. state.c defines the data.
 */
#ifndef HAKMEM_STATE_CORE_H
#define HAKMEM_STATE_CORE_H

#include <base/sections.h>
#include <conf/conf.h>

#pragma GCC visibility push(hidden)

enum hak_mode {
    HAK_MODE_BOOT,  /* not started: the boot arena serves, then libc */
    HAK_MODE_LIBC,  /* no usable configuration: libc alone serves */
    HAK_MODE_BOXES, /* boxes serve */
};

/* The range of size indexes whose requests get slots of the same size from the
 * same chain. Their lanes share spans. */
struct hak_lane_group {
    _Alignas(2) uint8_t first; /* so that both are loaded at once */
    uint8_t last;
};

/* Bits of hak_core.sampling. */
enum {
    HAK_SAMPLE_FOR_BOX = 1, /* one in N, for hak_core.sample_box */
    HAK_SAMPLE_BYTES = 2,   /* by bytes, for a module */
    /* Samples by bytes have ended. Spans may still have the triggers that were
     * set for them. */
    HAK_SAMPLE_ENDED = 4,
};

struct hak_call_ops;
struct hak_changes;
struct hak_class;
struct hak_loaded;
struct hak_sample_ops;
struct hak_stats;

/* Sealed. */
struct hak_core {
    enum hak_mode mode;
    enum hak_free_route free_route;
    bool verify;
    bool blame; /* calls of boxes are noted: op_calls.h */
    /* hak_os_barrier does not work here, so each refill has a fence of its
     * own: alloc.c and routing.h. */
    bool fences;
    struct hak_lane_group group[HAK_LANES]; /* by size index; atomic */
    uint32_t sampling;                      /* HAK_SAMPLE_ bits; atomic */
    /* One in `sample_every` allocations goes to this box first. */
    uint32_t sample_every;
    struct hak_loaded *sample_box;
    /* host->sample_bytes. ops: not NULL once sampling has begun; atomic */
    const struct hak_sample_ops *sample_ops;
    uint64_t sample_bytes; /* mean distance; atomic */
    uint32_t sample_cost;  /* percent; 0: no limit */
    uint32_t sample_epoch; /* raised when these change; atomic */
    /* host->watch_calls: NULL while no call is watched; atomic. tap_module:
     * index of the module that watches. */
    const struct hak_call_ops *tap;
    uint32_t tap_module;
    /*
     * Hooks, set at start. They let a folder call a function of a folder that
     * it may not include: host->get_extension calls `extension`, hak_is_forking
     * calls `fork_recover`, and for modules host->age calls `age`, host->report
     * calls `report`, host->write_report calls `write_report`, host->box calls
     * `figures`, host->classes calls `classes`, and host->space calls
     * `libc_allocs`.
     */
    const void *(*extension)(const char *id);
    bool (*fork_recover)(void);
    void (*age)(void);
    /* hakmem/module.h; of start/change.c. */
    const struct hak_changes *changes;
    int64_t (*report)(char *out, size_t out_bytes, bool json);
    void (*figures)(struct hak_loaded *b, struct hak_stats *out);
    uint32_t (*classes)(struct hak_loaded *b, struct hak_class *out);
    uint64_t (*libc_allocs)(void);
    void (*write_report)(void);
};
extern struct hak_core hak_core;

/* The configuration as read at start. Its diag function is not called after
 * the start. */
extern struct hak_conf hak_conf;

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * fused.h - what a fused library has as constants.
 *
 * `make fused CONF=x.ini` builds the core and the boxes of an INI into one
 * library. Its boxes are called by name instead of through a pointer, and its
 * routes and [core] settings are constants, so link-time optimisation drops
 * what they leave no use for and can inline the boxes' operations.
 *
 * hakctl fuse makes two files of an INI:
 *
 *     fused_boxes.h   HAK_FUSED_BOXES, the boxes by index
 *     fused_conf.c    hak_fused and hak_fused_note
 */
#ifndef HAKMEM_STATE_FUSED_H
#define HAKMEM_STATE_FUSED_H

#include <core/state/boxes.h>
#include <core/state/chains.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

struct hak_fused_box {
    struct hak_conf_box conf;
    const struct hak_box_entry *entry;
    union hak_value *values;
    uint32_t nvalues;
};

struct hak_fused {
    const char *file, *profile; /* the INI; profile NULL = none */
    HAK_CORE_KEYS(HAK_CORE_MEMBER)
    const char *stats_at_exit, *stats_at_start;
    bool stats_json;
    uint32_t nboxes;
    struct hak_fused_box box[HAK_MAX_BOXES];     /* by priority */
    struct hak_chain chain[HAK_CONF_ROUTES + 1]; /* the last: no rule */
    uint8_t route[HAK_LANES + 1];                /* index -> chain */
    /* NULL-terminated */
    const struct hak_module_entry *modules[HAK_MODULES_MOST + 1];
};
extern const struct hak_fused hak_fused;
extern struct hak_fused_boxes {
    struct hak_loaded loaded[HAK_MAX_BOXES]; /* as hak_fused.box */
} hak_fused_boxes;

/* The section that hakctl version reads: a text, lines. */
#define HAK_NOTE_SECTION ".hakmem"
/* The lines by which hakctl run adds libhakmem-cxx.so or libhakmem-match.so. */
#define HAK_NOTE_SIZED_DELETE "  sized_delete = yes\n"
#define HAK_NOTE_MATCH_DELETE "  match_delete = yes\n"
extern const char hak_fused_note[];

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * fused.h - the configuration of a fused library, as constants.
 *
 * `make fused CONF=x.ini` builds the core and the boxes of an INI into one
 * library. It calls its boxes by name instead of through a pointer, and its
 * routes and [core] settings are constants. So link-time optimisation drops
 * code that these settings do not need, and can inline operations of boxes.
 *
 * hakctl fuse generates two files from an INI:
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
    const char *file, *profile; /* the INI and its profile; NULL = none */
    HAK_CORE_KEYS(HAK_CORE_MEMBER)
    const char *pressure_file;
    const char *stats_at_exit, *stats_at_start;
    bool stats_json, stats_on_term;
    int stats_on_signal;
    const char *timeline;
    uint32_t stats_every_ms;
    uint32_t nboxes;
    struct hak_fused_box box[HAK_MAX_BOXES]; /* by priority */
    /* The last one is for sizes without a rule. */
    struct hak_chain chain[HAK_CONF_ROUTES + 1];
    uint8_t route[HAK_LANES + 1]; /* size index -> position in chain */
    /* NULL-terminated */
    const struct hak_module_entry *modules[HAK_MODULES_MOST + 1];
};
extern const struct hak_fused hak_fused;
extern struct hak_fused_boxes {
    struct hak_loaded loaded[HAK_MAX_BOXES]; /* in the order of hak_fused.box */
} hak_fused_boxes;

/* The section that `hakctl version` prints. It holds lines of text. */
#define HAK_NOTE_SECTION ".hakmem"
/* With one of these lines in it, `hakctl run` preloads libhakmem-cxx.so or
 * libhakmem-match.so too. */
#define HAK_NOTE_SIZED_DELETE "  sized_delete = yes\n"
#define HAK_NOTE_MATCH_DELETE "  match_delete = yes\n"
extern const char hak_fused_note[];

#pragma GCC visibility pop

#endif

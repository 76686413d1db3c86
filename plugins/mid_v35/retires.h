/* SPDX-License-Identifier: MIT
 * retires.h - extension "hak.retires/1": what a learner sees of this box.
 *
 *     const struct hak_retires_1 *table =
 *         box->ops->get_extension(box, "hak.retires/1");
 *     struct hak_retires now = {.struct_bytes = sizeof now};
 *     table->snapshot(box, &now);
 *
 * One record is made when a page has become empty and goes back to its
 * segment. The table is constant; what it hands out are copies. Figures grow
 * only, so a learner takes the difference of two snapshots. A page that is
 * in use has not been counted yet.
 *
 * Ratios are in basis points, 10000 = all:
 *   free hit     frees by the page's owner / all frees; 0 without any
 *   utilisation  slots that were ever cut / capacity. Slots are cut when no
 *                free one is left, so it is about the most that were out.
 */
#ifndef MID_V35_RETIRES_H
#define MID_V35_RETIRES_H

#include <stddef.h>
#include <stdint.h>

struct hak_box;

enum {
    MID_V35_CLASSES_MAX = 64, /* every multiple of 16 up to 1024 */
    MID_V35_RECENT = 64,      /* records that are kept */
};

/* One retire. */
struct hak_retire {
    uint32_t class_number;
    uint32_t slot_bytes;
    uint64_t allocations, frees; /* equal, since the page was taken */
    uint32_t capacity, carved;   /* slots */
    uint32_t free_hit_bps;
};

/* Sums over the retires of one class. */
struct hak_retires_class {
    uint32_t slot_bytes;
    uint64_t retires;
    uint64_t allocations, frees, local_frees;
    uint64_t capacity, carved; /* slots, summed */
};

struct hak_retires {
    size_t
        struct_bytes; /* in: what the caller's struct has; grows at its end */
    uint32_t nclasses;
    uint64_t retires;
    uint32_t utilisation_bps;
    uint32_t free_hit_bps;
    struct hak_retires_class classes[MID_V35_CLASSES_MAX];
};

struct hak_retires_1 {
    size_t struct_bytes;
    /* Fill *out, of one moment. Returns 0, or -EINVAL: struct too short. */
    int (*snapshot)(struct hak_box *box, struct hak_retires *out);
    /* The latest records, at most n, the newest first. Returns how many. */
    uint32_t (*recent)(struct hak_box *box, struct hak_retire *out, uint32_t n);
};

#endif

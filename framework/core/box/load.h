/* SPDX-License-Identifier: MIT
 * load.h - loads the boxes of the configuration.
 */
#ifndef HAKMEM_BOX_LOAD_H
#define HAKMEM_BOX_LOAD_H

#include <conf/conf.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/*
 * hak_box_begin - start a box. It is in no list yet.
 * b        b->path and b->values are set
 * e        its entry, which was checked
 * index    its box->index
 * Returns  0; else the result of the box's init, or -errno; b->said has the
 *          error that the box logged, or "".
 */
int hak_box_begin(struct hak_loaded *b, const struct hak_conf_box *conf,
                  const struct hak_box_entry *e, uint32_t index);
/* Add a box that was started to hak_boxes. At start, or with the seal open. */
void hak_box_enter(struct hak_loaded *b);
/* Load one box of the configuration and start it, without adding it. Returns
 * NULL after the error was reported through c. */
struct hak_loaded *hak_box_load_at(struct hak_conf *c,
                                   const struct hak_conf_box *conf,
                                   uint32_t index);
/* b is not used after all, or another box has its place: its tables over the
 * window may go to others. */
void hak_box_abandon(struct hak_loaded *b);
/* As hak_box_load_at, and add it. At start. */
struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * load.h - loads the boxes of the configuration.
 */
#ifndef HAKMEM_BOX_LOAD_H
#define HAKMEM_BOX_LOAD_H

#include <conf/conf.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/*
 * hak_box_begin - start a box and add it to hak_boxes.
 * b        b->path and b->values are set
 * e        its entry, which was checked
 * Returns  0; else b was not added. The result is that of the box's init, or
 *          -errno; b->said has the error that the box logged, or "".
 */
int hak_box_begin(struct hak_loaded *b, const struct hak_conf_box *conf,
                  const struct hak_box_entry *e);
/* Load one box of the configuration, and start it. Returns NULL after the error
 * was reported through c: the box is left out. */
struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf);

#pragma GCC visibility pop

#endif

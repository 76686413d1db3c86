/* SPDX-License-Identifier: MIT
 * load.h - a box of the configuration becomes one that routes may lead to.
 */
#ifndef HAKMEM_BOX_LOAD_H
#define HAKMEM_BOX_LOAD_H

#include <conf/conf.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/*
 * Set up a box whose entry was checked, and let it in. b->path and b->values
 * are ready. 0, or what init returned: b is not in; b->said is what it said
 * then, or "".
 */
int hak_box_begin(struct hak_loaded *b, const struct hak_conf_box *conf,
                  const struct hak_box_entry *e);
/* Load one box of the configuration; told through c. NULL = left out. */
struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf);

#pragma GCC visibility pop

#endif

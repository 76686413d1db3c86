/* SPDX-License-Identifier: MIT
 * learner.h - functions that the files of module "learner" share.
 *
 *     learner.c   ties the engine to the core: takes records, sets routes, logs
 *     engine.c    computes figures and decisions, without calling the core
 *     report.c    the learner's lines in reports
 */
#ifndef HAKMEM_MODULES_LEARNER_H
#define HAKMEM_MODULES_LEARNER_H

#include <hakmem/hakmem.h>
#include <hakmem/module.h>
#include <modules/learner/engine.h>

int hak_learner_read(struct hak_learner_figures *out); /* 0, -ENODATA: off */
void hak_learner_report(const struct hak_report_part *to);

#endif

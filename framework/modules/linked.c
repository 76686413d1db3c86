/* SPDX-License-Identifier: MIT
 * linked.c - the list of all modules, for hakctl and tests, which have them
 * linked in.
 */
#include <modules/linked.h>

#include <conf/conf.h>
#include <core/state/modules.h>
#include <modules/foreign/foreign.h>
#include <start/start.h>

extern const struct hak_module_entry HAK_MODULE_ENTRY(background),
    HAK_MODULE_ENTRY(control), HAK_MODULE_ENTRY(foreign),
    HAK_MODULE_ENTRY(heap_profile), HAK_MODULE_ENTRY(learner),
    HAK_MODULE_ENTRY(pressure), HAK_MODULE_ENTRY(record),
    HAK_MODULE_ENTRY(signals), HAK_MODULE_ENTRY(stack),
    HAK_MODULE_ENTRY(timeline);

static const struct hak_module_entry *const all[] = {
    &HAK_MODULE_ENTRY(background),
    &HAK_MODULE_ENTRY(control),
    &HAK_MODULE_ENTRY(foreign),
    &HAK_MODULE_ENTRY(heap_profile),
    &HAK_MODULE_ENTRY(learner),
    &HAK_MODULE_ENTRY(pressure),
    &HAK_MODULE_ENTRY(record),
    &HAK_MODULE_ENTRY(signals),
    &HAK_MODULE_ENTRY(stack),
    &HAK_MODULE_ENTRY(timeline),
    NULL,
};

void hak_modules_link(void)
{
    hak_start_links();
    hak_modules.linked = all;
    hak_conf_parse_call = hak_call_parse;
}

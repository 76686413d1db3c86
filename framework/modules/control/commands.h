/* SPDX-License-Identifier: MIT
 * commands.h - one request while it is carried out, and the commands.
 *
 *     commands.c  the table of commands, help, parts of replies
 *     asking.c    info, stats, show
 *     changing.c  set, learner, route, load, swap, back, drain, trim
 *     profile.c   profile
 *     record.c    record
 */
#ifndef HAKMEM_CONTROL_COMMANDS_H
#define HAKMEM_CONTROL_COMMANDS_H

#include "control.h"

#pragma GCC visibility push(hidden)

struct hak_control_request {
    const struct hak_control_self *self;
    const struct hak_module_host *host;
    struct hak_control_reply *out;
    char **word; /* word[0] is the command */
    int nwords;
    uint64_t began_us;
    char why[512];
};

/* ---- parts of replies, commands.c ---- */

#define print(r, ...) hak_control_print((r)->out, __VA_ARGS__)

/* Add "key":"text"; text NULL: null. */
void hak_control_member(struct hak_control_request *r, const char *key,
                        const char *text);
/* Make an error of the core the reply: r->why, or what error means. */
void hak_control_refuse(struct hak_control_request *r, int error);
/* Begin a value of "ok" that is an object; end that of a change. */
void hak_control_begin(struct hak_control_request *r);
void hak_control_end_change(struct hak_control_request *r, const char *reached);
/* The reply, for a module that adds members as to a report in JSON. */
struct hak_report_part hak_control_part(struct hak_control_request *r);
/* Add the members of a box. */
void hak_control_box(struct hak_control_request *r,
                     const struct hak_box_now *box);

/* ---- commands ---- */

typedef void hak_control_command(struct hak_control_request *r);
hak_control_command hak_control_info, hak_control_stats, hak_control_show;
hak_control_command hak_control_set, hak_control_learner, hak_control_route,
    hak_control_load, hak_control_swap, hak_control_back, hak_control_drain,
    hak_control_trim, hak_control_profile, hak_control_record;

#pragma GCC visibility pop

#endif

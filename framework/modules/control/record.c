/* SPDX-License-Identifier: MIT
 * record.c - the request `record`, which the module record carries out. It is
 * opened when the first one comes.
 */
#include "commands.h"

#include <errno.h>
#include <string.h>

static const struct hak_record_1 *table_now(const struct hak_control_request *r)
{
    return r->host->extension(HAK_RECORD_1);
}

static void state(struct hak_control_request *r)
{
    const struct hak_record_1 *table = table_now(r);
    const struct hak_report_part to = hak_control_part(r);
    hak_control_begin(r);
    if (table != NULL)
        table->state(&to);
    else
        print(r, "\"recording\":false");
    print(r, "}}");
}

static void start(struct hak_control_request *r, const char *path)
{
    int error = r->host->changes->module("record", r->why, sizeof r->why);
    if (error == 0 && table_now(r) == NULL)
        error = -ENOSYS;
    if (error == 0)
        error = table_now(r)->start(path, r->why, sizeof r->why);
    if (error != 0) {
        hak_control_refuse(r, error);
        return;
    }
    hak_control_begin(r);
    hak_control_end_change(r, "every thread");
}

static void stop(struct hak_control_request *r)
{
    const struct hak_record_1 *table = table_now(r);
    if (table == NULL) {
        hak_control_error(r->out, "nothing is recorded");
        return;
    }
    int error = table->stop(r->why, sizeof r->why);
    if (error != 0) {
        hak_control_refuse(r, error);
        return;
    }
    hak_control_begin(r);
    hak_control_end_change(r, "every thread");
}

void hak_control_record(struct hak_control_request *r)
{
    const char *what = r->word[1];
    if (strcmp(what, "stop") == 0)
        stop(r);
    else if (strcmp(what, "state") == 0)
        state(r);
    else if (what[0] == '/')
        start(r, what);
    else
        hak_control_error(r->out, "record takes stop, state or the absolute "
                                  "path of the memory of hakctl record");
}

/* SPDX-License-Identifier: MIT
 * profile.c - the request `profile`, which the module heap_profile carries out.
 * It is opened when the first one comes.
 */
#include "commands.h"

#include <errno.h>
#include <string.h>

static const struct hak_heap_profile_1 *
table_now(const struct hak_control_request *r)
{
    return r->host->extension(HAK_HEAP_PROFILE_1);
}

static void state(struct hak_control_request *r)
{
    const struct hak_heap_profile_1 *table = table_now(r);
    const struct hak_report_part to = hak_control_part(r);
    hak_control_begin(r);
    if (table != NULL)
        table->state(&to);
    else
        print(r, "\"sampling\":false");
    print(r, "}}");
}

static void start(struct hak_control_request *r)
{
    uint64_t every = 0;
    if (r->nwords > 2 &&
        (r->host->changes->bytes(r->word[2], &every) != 0 || every == 0)) {
        hak_control_error(r->out,
                          "\"%s\" is no number of bytes between samples, as "
                          "512k",
                          r->word[2]);
        return;
    }
    int error = r->host->changes->module("heap_profile", r->why, sizeof r->why);
    if (error == 0 && table_now(r) == NULL)
        error = -ENOSYS;
    if (error == 0)
        error = table_now(r)->start(every, r->why, sizeof r->why);
    if (error != 0) {
        hak_control_refuse(r, error);
        return;
    }
    hak_control_begin(r);
    hak_control_end_change(r, "every thread, from its next slow path on");
}

static void stop(struct hak_control_request *r)
{
    const struct hak_heap_profile_1 *table = table_now(r);
    if (table == NULL) {
        hak_control_error(r->out, "nothing is sampled");
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

static void dump(struct hak_control_request *r)
{
    char why[PATH_MAX + 256] = "";
    const struct hak_heap_profile_1 *table = table_now(r);
    const char *file = r->nwords > 2 ? r->word[2] : NULL;
    if (table == NULL) {
        hak_control_error(r->out,
                          "there is no profile yet; profile start begins one");
        return;
    }
    int error = table->dump(file, why, sizeof why);
    if (error != 0) {
        hak_control_error(r->out, "%s",
                          why[0] != 0 ? why : strerrordesc_np(-error));
        return;
    }
    hak_control_begin(r);
    hak_control_member(r, "file", why);
    print(r, ",");
    hak_control_end_change(r, "the file");
}

void hak_control_profile(struct hak_control_request *r)
{
    const char *what = r->word[1];
    bool alone = r->nwords == 2;
    if (strcmp(what, "start") == 0)
        start(r);
    else if (strcmp(what, "stop") == 0 && alone)
        stop(r);
    else if (strcmp(what, "dump") == 0)
        dump(r);
    else if (strcmp(what, "state") == 0 && alone)
        state(r);
    else
        hak_control_error(r->out, "profile takes start [EVERY], stop, dump "
                                  "[FILE] or state");
}

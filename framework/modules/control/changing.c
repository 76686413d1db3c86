/* SPDX-License-Identifier: MIT
 * changing.c - the requests that change the process.
 *
 * The reply of a change says what it cost (took_us) and who goes by it
 * (reached).
 */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char next_call[] = "every thread, from its next call of malloc on";
static const char at_once[] = "every thread";

/* Begin the reply of a change. False: it was refused, and the reply says why.
 */
static bool begin_change(struct hak_control_request *r, int result)
{
    if (result < 0)
        hak_control_refuse(r, result);
    else
        hak_control_begin(r);
    return result >= 0;
}

/* ---- keys ---- */

/* Make one setting. Returns false after an error, which says that the settings
 * before it stay. */
static bool set_one(struct hak_control_request *r, int i)
{
    struct hak_control_setting s;
    const char *stay = i > 1 ? "; the settings before it are made" : "";
    int error = hak_control_setting(r->word[i], &s, r->why, sizeof r->why);
    if (error < 0) {
        hak_control_error(r->out, "%s%s", r->why, stay);
        return false;
    }
    error =
        r->host->changes->set(s.section, s.key, s.value, r->why, sizeof r->why);
    if (error < 0) {
        hak_control_error(r->out, "%s.%s: %s%s", s.section, s.key,
                          r->why[0] != 0 ? r->why : strerrordesc_np(-error),
                          stay);
        return false;
    }
    print(r, "%s{", i == 1 ? "" : ",");
    hak_control_member(r, "section", s.section);
    print(r, ",");
    hak_control_member(r, "key", s.key);
    print(r, ",");
    hak_control_member(r, "value", s.value);
    print(r, "}");
    return true;
}

/* The settings are made one by one, and the first that is refused ends the
 * request. */
void hak_control_set(struct hak_control_request *r)
{
    hak_control_begin(r);
    print(r, "\"set\":[");
    for (int i = 1; i < r->nwords; i++)
        if (!set_one(r, i))
            return;
    print(r, "],");
    hak_control_end_change(r, at_once);
}

void hak_control_learner(struct hak_control_request *r)
{
    static const char *const words[][2] = {{"on", "apply"},
                                           {"apply", "apply"},
                                           {"off", "off"},
                                           {"observe", "observe"}};
    const char *mode = NULL;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(r->word[1], words[i][0]) == 0)
            mode = words[i][1];
    if (mode == NULL) {
        hak_control_error(r->out, "\"%s\" is none of on, off, observe",
                          r->word[1]);
        return;
    }
    int error =
        r->host->changes->set("learner", "mode", mode, r->why, sizeof r->why);
    if (!begin_change(r, error))
        return;
    hak_control_member(r, "mode", mode);
    print(r, ",");
    hak_control_end_change(r, at_once);
}

/* ---- routes and boxes ---- */

void hak_control_route(struct hak_control_request *r)
{
    int error =
        r->host->changes->route(r->word[1], r->word[2], r->why, sizeof r->why);
    if (!begin_change(r, error))
        return;
    hak_control_member(r, "range", r->word[1]);
    print(r, ",");
    hak_control_member(r, "route", r->word[2]);
    print(r, ",");
    hak_control_end_change(r, next_call);
}

/* Add what is left in the box of that name. */
static void add_box(struct hak_control_request *r, const char *key,
                    const char *name)
{
    struct hak_box_now box;
    for (uint32_t i = 0; r->host->box(i, &box) == 0; i++) {
        if (strcmp(box.name, name) != 0)
            continue;
        print(r, "\"%s\":{", key);
        hak_control_box(r, &box);
        print(r, "},");
        return;
    }
}

/* The open descriptors of this thread, which has a table of its own. */
static int count_descriptors(void)
{
    enum { LOOKS = 1024 };
    int n = 0;
    for (int fd = 0; fd < LOOKS; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

void hak_control_load(struct hak_control_request *r)
{
    char *equal = strchr(r->word[1], '=');
    if (equal == NULL || equal == r->word[1] || equal[1] == 0) {
        hak_control_error(r->out,
                          "\"%s\" is not NAME=FILE, as in "
                          "mine=/path/mine.so",
                          r->word[1]);
        return;
    }
    *equal = 0;
    const struct hak_load what = {
        .name = r->word[1],
        .file = equal + 1,
        .keys = (const char *const *)(r->word + 2),
        .nkeys = (uint32_t)(r->nwords - 2),
    };
    int before = count_descriptors();
    int error = r->host->changes->load(&what, r->why, sizeof r->why);
    if (error < 0) {
        hak_control_refuse(r, error);
        return;
    }
    if (count_descriptors() > before) {
        r->host->changes->drain(what.name, r->why, sizeof r->why);
        hak_control_error(r->out,
                          "box %s keeps a descriptor open, which other threads "
                          "could not use; name it in the INI and start again. "
                          "It serves nothing",
                          what.name);
        return;
    }
    hak_control_begin(r);
    add_box(r, "box", what.name);
    hak_control_end_change(r, "every thread; no size is routed to it yet");
}

void hak_control_swap(struct hak_control_request *r)
{
    int error =
        r->host->changes->swap(r->word[1], r->word[2], r->why, sizeof r->why);
    if (!begin_change(r, error))
        return;
    add_box(r, "from", r->word[1]);
    add_box(r, "to", r->word[2]);
    if (r->why[0] != 0) {
        hak_control_member(r, "note", r->why);
        print(r, ",");
    }
    hak_control_end_change(r, next_call);
}

void hak_control_back(struct hak_control_request *r)
{
    int error = r->host->changes->back(r->word[1], r->why, sizeof r->why);
    if (!begin_change(r, error))
        return;
    add_box(r, "box", r->word[1]);
    hak_control_end_change(r, next_call);
}

void hak_control_drain(struct hak_control_request *r)
{
    int state = r->host->changes->drain(r->word[1], r->why, sizeof r->why);
    if (!begin_change(r, state))
        return;
    print(r, "\"empty\":%s,", state > 0 ? "true" : "false");
    add_box(r, "box", r->word[1]);
    hak_control_end_change(r, next_call);
}

void hak_control_trim(struct hak_control_request *r)
{
    size_t bytes = r->host->changes->trim();
    hak_control_begin(r);
    print(r, "\"released_bytes\":%zu,", bytes);
    hak_control_end_change(r, at_once);
}

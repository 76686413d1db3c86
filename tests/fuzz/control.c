/* SPDX-License-Identifier: MIT
 * control.c - any bytes as requests of the control socket: each line gets one
 * line of JSON, {"ok": ...} or {"error": "..."}.
 *
 * The host takes what it is asked to do with half of the texts, so that both
 * kinds of replies are made. It says odd bytes where the core says text.
 */
#include "fuzz.h"
#include <conf/conf.h>
#include <modules/control/control.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

FUZZ_SEEDS("tests/fuzz/seeds/control");
FUZZ_WORDS("help", "info", "stats", "stats text", "show", "set ", "route ",
           "load ", "swap ", "back ", "drain ", "trim", "learner ", "on",
           "observe", "core.purge_delay_ms=50", "box:ultra.warm=1", "\"", "\\",
           "\\\"", "=", ".", ":", "C0-C7", "\r\n", "\xff", "\xc3\xa9", );

#define CHECK(what) ((what) ? (void)0 : abort())

/* ---- a host ---------------------------------------------------------------
 */

static const char odd[] = "\x01\t\"\\\xff\xc3\xa9\n";

/* Even sums are refused, some of them without a reason. */
static int take(const char *a, const char *b, char *why, size_t n)
{
    unsigned sum = 0;
    for (; *a != 0; a++)
        sum += (unsigned char)*a;
    for (; b != NULL && *b != 0; b++)
        sum += (unsigned char)*b;
    if (sum % 4 == 0)
        snprintf(why, n, "refused %s", odd);
    return sum % 2 == 0 ? -EINVAL : sum % 3 == 0;
}

static int host_route(const char *range, const char *route, char *why, size_t n)
{
    return take(range, route, why, n);
}

static int host_one(const char *box, char *why, size_t n)
{
    return take(box, NULL, why, n);
}

static int host_load(const struct hak_load *what, char *why, size_t n)
{
    CHECK(what->name[0] != 0 && what->file[0] != 0);
    CHECK(what->nkeys < CONTROL_WORDS);
    for (uint32_t i = 0; i < what->nkeys; i++)
        CHECK(what->keys[i] != NULL);
    return take(what->name, what->file, why, n);
}

static int host_set(const char *section, const char *key, const char *value,
                    char *why, size_t n)
{
    CHECK(section[0] != 0 && key[0] != 0);
    return take(key, value, why, n);
}

static size_t host_trim(void)
{
    return 4096;
}

/* Modules that have no table, and the two that were asked for. */
static bool profile_open, record_open;

static int host_module(const char *name, char *why, size_t n)
{
    profile_open |= strcmp(name, "heap_profile") == 0;
    record_open |= strcmp(name, "record") == 0;
    return take(name, "", why, n);
}

static int profile_start(uint64_t every, char *why, size_t n)
{
    return take("", every == 0 ? odd : "", why, n);
}

static int profile_stop(char *why, size_t n)
{
    return take("", "", why, n);
}

static int profile_dump(const char *file, char *why, size_t n)
{
    return take(file != NULL ? file : "", "", why, n);
}

static void profile_state(const struct hak_report_part *to)
{
    to->add(to->report, "\"every\":%d", 1);
}

static int record_start(const char *path, char *why, size_t n)
{
    CHECK(path[0] == '/');
    return take(path, "", why, n);
}

static int record_stop(char *why, size_t n)
{
    return take("", "", why, n);
}

static int host_bytes(const char *text, uint64_t *out)
{
    *out = (uint64_t)*text;
    return *text >= '0' && *text <= '9' ? 0 : -EINVAL;
}

static const void *host_extension(const char *id)
{
    static const struct hak_heap_profile_1 table = {
        profile_start, profile_stop, profile_dump, profile_state};
    static const struct hak_record_1 record = {record_start, record_stop,
                                               profile_state};
    if (record_open && strcmp(id, HAK_RECORD_1) == 0)
        return &record;
    return profile_open && strcmp(id, HAK_HEAP_PROFILE_1) == 0 ? &table : NULL;
}

static void host_each_key(void (*each)(void *context,
                                       const struct hak_key *key),
                          void *context)
{
    struct hak_key key = {.section = "core",
                          .key = "verify",
                          .value = odd,
                          .layer = "built-in",
                          .bounds = ""};
    each(context, &key);
    key.file = odd;
    key.line = 3;
    key.settable = true;
    each(context, &key);
}

static int host_box(uint32_t n, struct hak_box_now *out)
{
    *out = (struct hak_box_now){.name = "ultra", .state = "active"};
    out->live_count = n;
    return n < 2 ? 0 : -ENOENT;
}

static int64_t host_report(char *out, size_t out_bytes, bool json)
{
    if (out_bytes < 100000)
        return -ENOSPC;
    return snprintf(out, out_bytes, "%s\n", json ? "{\"pid\":1}" : odd);
}

static struct hak_conf conf = {.file = odd};
static const struct hak_changes changes = {
    .route = host_route,
    .drain = host_one,
    .load = host_load,
    .swap = host_route,
    .back = host_one,
    .set = host_set,
    .trim = host_trim,
    .bytes = host_bytes,
    .module = host_module,
    .each_key = host_each_key,
};
static const struct hak_module_host host = {
    .extension = host_extension,
    .conf = &conf,
    .changes = &changes,
    .box = host_box,
    .report = host_report,
};

/* ---- requests -------------------------------------------------------------
 */

static void check_reply(const struct hak_control_reply *r)
{
    CHECK(r->bytes != NULL && r->used > 0);
    CHECK(memchr(r->bytes, '\n', r->used) == r->bytes + r->used - 1);
    json_t *reply = json_loadb(r->bytes, r->used, 0, NULL);
    CHECK(json_object_size(reply) == 1);
    const json_t *error = json_object_get(reply, "error");
    CHECK(error == NULL ? json_object_get(reply, "ok") != NULL
                        : json_string_length(error) > 0);
    json_decref(reply);
}

static int lent;

static void lend_stderr(bool lend)
{
    lent += lend ? 1 : -1;
}

static void ask(const uint8_t *line, size_t n)
{
    const struct hak_control_self self = {&host, "/run/hakmem/1.sock",
                                          lend_stderr};
    struct hak_control_reply reply = {0};
    char *copy = malloc(n + 2); /* no byte more than the server has */
    CHECK(copy != NULL);
    memcpy(copy, line, n);
    hak_control_answer(&self, copy, n, &reply);
    CHECK(lent == 0);
    check_reply(&reply);
    hak_control_free(&reply);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const uint8_t *newline = memchr(bytes, '\n', n);
        size_t line = newline != NULL ? (size_t)(newline - bytes) : n;
        size_t used = line < CONTROL_LINE_BYTES ? line : CONTROL_LINE_BYTES;
        ask(bytes, used);
        line += newline != NULL;
        bytes += line;
        n -= line;
    }
    return 0;
}

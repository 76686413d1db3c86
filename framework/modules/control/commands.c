/* SPDX-License-Identifier: MIT
 * commands.c - carries out one request of the control socket.
 *
 * A command checks its words, calls the core by the host table, and writes the
 * value of "ok". The reply of a change says what it cost (took_us) and who sees
 * it (reached).
 */
#include "control.h"

#include <base/os.h>
#include <base/text.h>
#include <conf/conf.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WHY_BYTES = 512 };

/* One request that is being carried out. */
struct request {
    const struct hak_control_self *self;
    const struct hak_module_host *host;
    struct hak_control_reply *out;
    char **word; /* word[0] is the command */
    int nwords;
    uint64_t began_us;
    char why[WHY_BYTES];
};

struct command {
    const char *name;
    int least, most; /* words behind the name */
    bool changes;    /* the process */
    void (*run)(struct request *r);
    const char *words, *does; /* for help */
};

/* ---- parts of replies ---- */

#define print(r, ...) hak_control_print((r)->out, __VA_ARGS__)

static void quote(struct request *r, const char *key, const char *text)
{
    print(r, "\"%s\":", key);
    if (text != NULL)
        hak_control_quote(r->out, text);
    else
        print(r, "null");
}

/* Make an error the reply. The host fills in why, but for a member that it does
 * not have. */
static void refuse(struct request *r, int error)
{
    hak_control_error(r->out, "%s",
                      r->why[0] != 0 ? r->why : strerrordesc_np(-error));
}

static bool host_has(struct request *r, bool has)
{
    if (!has)
        hak_control_error(r->out,
                          "this library cannot %s while the process runs; "
                          "start the process with another INI",
                          r->word[0]);
    return has;
}

static void begin(struct request *r)
{
    print(r, "{\"ok\":{");
}

/* End the reply of a change. */
static void end_change(struct request *r, const char *reached)
{
    print(r, "\"took_us\":%lu,",
          (unsigned long)(hak_os_now_us() - r->began_us));
    quote(r, "reached", reached);
    print(r, "}}");
}

static const char next_call[] = "every thread, from its next call of malloc on";
static const char at_once[] = "every thread";

/* ---- info ---- */

static size_t read_file(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, bytes - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* Figures of /proc/self/stat; the numbers of proc(5). */
enum { MINOR_FAULTS = 10, MAJOR_FAULTS = 12, START_TICKS = 22, RSS_PAGES = 24 };

/* Field n of /proc/self/stat. Field 2, the program's name in parentheses, may
 * have blanks in it, so fields are counted from behind it. 0: unknown. */
static uint64_t stat_field(const char *text, int n)
{
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < n; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

static uint64_t centiseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 100 + (uint64_t)t.tv_nsec / 10000000;
}

/* A fork's child has the memory of its parent and no start of its own in it, so
 * the time of the start comes from the kernel. It is printed as whole numbers,
 * since the program's locale may have another decimal point. */
static void info_process(struct request *r)
{
    char text[1024];
    uint64_t uptime = 0;
    long ticks = sysconf(_SC_CLK_TCK);
    if (read_file("/proc/self/stat", text, sizeof text) != 0 && ticks > 0)
        uptime = centiseconds(CLOCK_BOOTTIME) -
                 stat_field(text, START_TICKS) * 100 / (uint64_t)ticks;
    print(r, ",\"uptime_s\":%lu.%02lu,\"start_time\":%lu,", uptime / 100,
          uptime % 100, (centiseconds(CLOCK_REALTIME) - uptime) / 100);
    print(r, "\"rss_bytes\":%lu,\"minor_faults\":%lu,\"major_faults\":%lu",
          stat_field(text, RSS_PAGES) * hak_os_page_bytes(),
          stat_field(text, MINOR_FAULTS), stat_field(text, MAJOR_FAULTS));
}

static void print_box(struct request *r, const struct hak_box_now *box)
{
    quote(r, "name", box->name);
    print(r,
          ",\"state\":\"%s\",\"live\":%lu,\"live_bytes\":%lu,"
          "\"mapped_bytes\":%lu",
          box->state, box->live_count, box->live_bytes, box->mapped_bytes);
}

static void info_boxes(struct request *r)
{
    struct hak_box_now box;
    uint64_t live = 0, mapped = 0;
    print(r, ",\"boxes\":[");
    for (uint32_t i = 0; r->host->box(i, &box) == 0; i++) {
        print(r, "%s{", i == 0 ? "" : ",");
        print_box(r, &box);
        print(r, "}");
        live += box.live_bytes;
        mapped += box.mapped_bytes;
    }
    print(r, "],\"live_bytes\":%lu,\"mapped_bytes\":%lu", live, mapped);
}

static void info(struct request *r)
{
    begin(r);
    print(r, "\"pid\":%d,", (int)getpid());
    quote(r, "program", program_invocation_short_name);
    print(r, ",\"version\":\"" HAK_VERSION "\",\"build\":\"dlopened\",");
    quote(r, "conf", r->host->conf->file);
    print(r, ",");
    quote(r, "profile", r->host->conf->profile);
    print(r, ",");
    quote(r, "socket", r->self->socket);
    info_boxes(r);
    info_process(r);
    print(r, "}}");
}

/* ---- stats ---- */

/* The report's JSON is a line of its own, and is put into the reply as it is.
 * The text goes through a mapping of its own, since it is quoted. */
static void stats(struct request *r)
{
    struct hak_control_reply text = {0};
    bool json = r->nwords == 1;
    int64_t n = -ENOSPC;
    if (!json && strcmp(r->word[1], "text") != 0) {
        hak_control_error(
            r->out, "\"%s\" is no form of stats; the word text is", r->word[1]);
        return;
    }
    for (size_t room = 64 << 10; n == -ENOSPC; room *= 2) {
        char *at = hak_control_room(&text, room);
        n = at != NULL ? r->host->report(at, room, json) : -ENOMEM;
    }
    if (n < 0)
        refuse(r, (int)n);
    else if (json)
        print(r, "{\"ok\":%.*s}",
              (int)(n - (n > 0 && text.bytes[n - 1] == '\n')), text.bytes);
    else {
        print(r, "{\"ok\":");
        hak_control_quote(r->out, text.bytes);
        print(r, "}");
    }
    hak_control_free(&text);
}

/* ---- show, set ---- */

static void add_key(void *context, const struct hak_key *key)
{
    struct request *r = context;
    print(r, "%s{", r->out->bytes[r->out->used - 1] == '[' ? "" : ",");
    quote(r, "section", key->section);
    print(r, ",");
    quote(r, "key", key->key);
    print(r, ",");
    quote(r, "value", key->value);
    print(r, ",");
    quote(r, "layer", key->layer);
    print(r, ",");
    quote(r, "file", key->file);
    print(r, ",\"line\":%d,\"settable\":%s,", key->line,
          key->settable ? "true" : "false");
    quote(r, "bounds", key->bounds);
    print(r, "}");
}

static void show(struct request *r)
{
    if (!host_has(r, r->host->each_key != NULL))
        return;
    print(r, "{\"ok\":[");
    r->host->each_key(add_key, r);
    print(r, "]}");
}

/* Make one setting. Returns false after an error, which says that the settings
 * before it stay. */
static bool set_one(struct request *r, int i)
{
    struct hak_control_setting s;
    const char *stay = i > 1 ? "; the settings before it are made" : "";
    int error = hak_control_setting(r->word[i], &s, r->why, sizeof r->why);
    if (error < 0) {
        hak_control_error(r->out, "%s%s", r->why, stay);
        return false;
    }
    error = r->host->set(s.section, s.key, s.value, r->why, sizeof r->why);
    if (error < 0) {
        hak_control_error(r->out, "%s.%s: %s%s", s.section, s.key,
                          r->why[0] != 0 ? r->why : strerrordesc_np(-error),
                          stay);
        return false;
    }
    print(r, "%s{", i == 1 ? "" : ",");
    quote(r, "section", s.section);
    print(r, ",");
    quote(r, "key", s.key);
    print(r, ",");
    quote(r, "value", s.value);
    print(r, "}");
    return true;
}

/* The settings are made one by one, and the first that is refused ends the
 * request. */
static void set(struct request *r)
{
    if (!host_has(r, r->host->set != NULL))
        return;
    begin(r);
    print(r, "\"set\":[");
    for (int i = 1; i < r->nwords; i++)
        if (!set_one(r, i))
            return;
    print(r, "],");
    end_change(r, at_once);
}

static void learner(struct request *r)
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
    if (!host_has(r, r->host->set != NULL))
        return;
    int error = r->host->set("learner", "mode", mode, r->why, sizeof r->why);
    if (error < 0) {
        refuse(r, error);
        return;
    }
    begin(r);
    quote(r, "mode", mode);
    print(r, ",");
    end_change(r, at_once);
}

/* ---- routes and boxes ---- */

static void route(struct request *r)
{
    if (!host_has(r, r->host->route != NULL))
        return;
    int error = r->host->route(r->word[1], r->word[2], r->why, sizeof r->why);
    if (error < 0) {
        refuse(r, error);
        return;
    }
    begin(r);
    quote(r, "range", r->word[1]);
    print(r, ",");
    quote(r, "route", r->word[2]);
    print(r, ",");
    end_change(r, next_call);
}

/* Add what is left in the box of that name. */
static void add_box(struct request *r, const char *key, const char *name)
{
    struct hak_box_now box;
    for (uint32_t i = 0; r->host->box(i, &box) == 0; i++) {
        if (strcmp(box.name, name) != 0)
            continue;
        print(r, "\"%s\":{", key);
        print_box(r, &box);
        print(r, "},");
        return;
    }
}

static void load(struct request *r)
{
    char *equal = strchr(r->word[1], '=');
    if (equal == NULL || equal == r->word[1] || equal[1] == 0) {
        hak_control_error(r->out,
                          "\"%s\" is not NAME=FILE, as in "
                          "mine=/path/mine.so",
                          r->word[1]);
        return;
    }
    if (!host_has(r, r->host->load != NULL))
        return;
    *equal = 0;
    const struct hak_load what = {
        .name = r->word[1],
        .file = equal + 1,
        .keys = (const char *const *)(r->word + 2),
        .nkeys = (uint32_t)(r->nwords - 2),
    };
    int error = r->host->load(&what, r->why, sizeof r->why);
    if (error < 0) {
        refuse(r, error);
        return;
    }
    begin(r);
    add_box(r, "box", what.name);
    end_change(r, "every thread; no size is routed to it yet");
}

static void swap(struct request *r)
{
    if (!host_has(r, r->host->swap != NULL))
        return;
    int error = r->host->swap(r->word[1], r->word[2], r->why, sizeof r->why);
    if (error < 0) {
        refuse(r, error);
        return;
    }
    begin(r);
    add_box(r, "from", r->word[1]);
    add_box(r, "to", r->word[2]);
    end_change(r, next_call);
}

static void back(struct request *r)
{
    if (!host_has(r, r->host->back != NULL))
        return;
    int error = r->host->back(r->word[1], r->why, sizeof r->why);
    if (error < 0) {
        refuse(r, error);
        return;
    }
    begin(r);
    add_box(r, "box", r->word[1]);
    end_change(r, next_call);
}

static void drain(struct request *r)
{
    if (!host_has(r, r->host->drain != NULL))
        return;
    int state = r->host->drain(r->word[1], r->why, sizeof r->why);
    if (state < 0) {
        refuse(r, state);
        return;
    }
    begin(r);
    print(r, "\"empty\":%s,", state > 0 ? "true" : "false");
    add_box(r, "box", r->word[1]);
    end_change(r, next_call);
}

static void trim(struct request *r)
{
    if (!host_has(r, r->host->trim != NULL))
        return;
    size_t bytes = r->host->trim();
    begin(r);
    print(r, "\"released_bytes\":%zu,", bytes);
    end_change(r, at_once);
}

/* ---- the table ---- */

static void help(struct request *r);

static const struct command commands[] = {
    {"help", 0, 0, false, help, "", "this list"},
    {"info", 0, 0, false, info, "",
     "the process, its INI, its boxes, its memory"},
    {"stats", 0, 1, false, stats, "[text]", "the report, as JSON or as text"},
    {"show", 0, 0, false, show, "", "each key, its value, and who gave it"},
    {"set", 1, CONTROL_WORDS, true, set, "KEY=VALUE...",
     "new values; KEY is SECTION.KEY, as in core.purge_delay_ms or "
     "box:ultra.warm, or a key of [core]"},
    {"route", 2, 2, true, route, "RANGE ROUTE",
     "route sizes, as in C4-C7 or 257-1024, to a route or box"},
    {"load", 1, CONTROL_WORDS, true, load, "NAME=FILE [KEY=VALUE...]",
     "start a box, which gets no sizes yet"},
    {"swap", 2, 2, true, swap, "FROM TO",
     "put box TO wherever FROM is, and let FROM drain"},
    {"back", 1, 1, true, back, "BOX", "undo the swap or drain of BOX"},
    {"drain", 1, 1, true, drain, "BOX",
     "take BOX out of all routes; say what is left in it"},
    {"trim", 0, 0, true, trim, "", "give back free memory"},
    {"learner", 1, 1, true, learner, "on|off|observe", "the learner's mode"},
};
enum { NCOMMANDS = sizeof commands / sizeof commands[0] };

static void help(struct request *r)
{
    print(r, "{\"ok\":[");
    for (size_t i = 0; i < NCOMMANDS; i++) {
        print(r, "%s{", i == 0 ? "" : ",");
        quote(r, "request", commands[i].name);
        print(r, ",");
        quote(r, "words", commands[i].words);
        print(r, ",");
        quote(r, "does", commands[i].does);
        print(r, "}");
    }
    print(r, "]}");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void run(struct request *r, const struct command *c)
{
    if (c->changes)
        r->self->lend_stderr(true);
    c->run(r);
    if (c->changes)
        r->self->lend_stderr(false);
}

static void answer(struct request *r)
{
    const struct command *c = r->nwords > 0 ? find_command(r->word[0]) : NULL;
    int n = r->nwords - 1;
    if (r->nwords == 0)
        hak_control_error(r->out, "an empty request; help lists them");
    else if (c == NULL)
        hak_control_error(r->out, "unknown request \"%.64s\"; help lists them",
                          r->word[0]);
    else if (n < c->least || n > c->most)
        hak_control_error(r->out, "%s takes %s, not %d word%s", c->name,
                          c->words[0] != 0 ? c->words : "no words", n,
                          n == 1 ? "" : "s");
    else
        run(r, c);
}

void hak_control_answer(const struct hak_control_self *self, char *line,
                        size_t n, struct hak_control_reply *out)
{
    char *words[CONTROL_WORDS];
    struct request r = {.self = self,
                        .host = self->host,
                        .out = out,
                        .word = words,
                        .began_us = hak_os_now_us()};
    r.nwords = hak_control_split(line, n, words, r.why, sizeof r.why);
    if (r.nwords < 0)
        hak_control_error(out, "%s", r.why);
    else
        answer(&r);
    hak_control_end(out);
}

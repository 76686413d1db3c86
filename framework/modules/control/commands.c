/* SPDX-License-Identifier: MIT
 * commands.c - finds the command of a request, and what all commands share.
 */
#include "commands.h"

#include <base/os.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    int least, most; /* words behind the name */
    bool changes;    /* the process */
    hak_control_command *run;
    const char *words, *does; /* for help */
};

/* ---- parts of replies ---- */

void hak_control_member(struct hak_control_request *r, const char *key,
                        const char *text)
{
    print(r, "\"%s\":", key);
    if (text != NULL)
        hak_control_quote(r->out, text);
    else
        print(r, "null");
}

/* Make an error the reply. A change fills in why, a report does not. */
void hak_control_refuse(struct hak_control_request *r, int error)
{
    hak_control_error(r->out, "%s",
                      r->why[0] != 0 ? r->why : strerrordesc_np(-error));
}

void hak_control_begin(struct hak_control_request *r)
{
    print(r, "{\"ok\":{");
}

/* End the reply of a change. */
void hak_control_end_change(struct hak_control_request *r, const char *reached)
{
    print(r, "\"took_us\":%lu,",
          (unsigned long)(hak_os_now_us() - r->began_us));
    hak_control_member(r, "reached", reached);
    print(r, "}}");
}

/* The reply takes the place of a report. */
__attribute__((format(printf, 2, 3))) static void add(struct hak_text *report,
                                                      const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    hak_control_print((struct hak_control_reply *)(void *)report, "%s", text);
}

struct hak_report_part hak_control_part(struct hak_control_request *r)
{
    return (struct hak_report_part){
        .json = true, .add = add, .report = (struct hak_text *)(void *)r->out};
}

void hak_control_box(struct hak_control_request *r,
                     const struct hak_box_now *box)
{
    hak_control_member(r, "name", box->name);
    print(r,
          ",\"state\":\"%s\",\"live\":%lu,\"live_bytes\":%lu,"
          "\"mapped_bytes\":%lu",
          box->state, box->live_count, box->live_bytes, box->mapped_bytes);
}

/* ---- the table ---- */

static void help(struct hak_control_request *r);

static const struct command commands[] = {
    {"help", 0, 0, false, help, "", "this list"},
    {"info", 0, 0, false, hak_control_info, "",
     "the process, its INI, its boxes, its memory"},
    {"stats", 0, 1, false, hak_control_stats, "[text]",
     "the report, as JSON or as text"},
    {"show", 0, 0, false, hak_control_show, "",
     "each key, its value, and who gave it"},
    {"set", 1, CONTROL_WORDS, true, hak_control_set, "KEY=VALUE...",
     "new values; KEY is SECTION.KEY, as in core.purge_delay_ms or "
     "box:ultra.warm, or a key of [core]"},
    {"route", 2, 2, true, hak_control_route, "RANGE ROUTE",
     "route sizes, as in C4-C7 or 257-1024, to a route or box"},
    {"load", 1, CONTROL_WORDS, true, hak_control_load,
     "NAME=FILE [KEY=VALUE...]", "start a box, which gets no sizes yet"},
    {"swap", 2, 2, true, hak_control_swap, "FROM TO",
     "put box TO wherever FROM is, and let FROM drain"},
    {"back", 1, 1, true, hak_control_back, "BOX",
     "undo the swap or drain of BOX"},
    {"drain", 1, 1, true, hak_control_drain, "BOX",
     "take BOX out of all routes; say what is left in it"},
    {"trim", 0, 0, true, hak_control_trim, "", "give back free memory"},
    {"learner", 1, 1, true, hak_control_learner, "on|off|observe",
     "the learner's mode"},
    {"profile", 1, 2, true, hak_control_profile,
     "start [EVERY] | stop | dump [FILE] | state",
     "the heap profile: sample one allocation in EVERY bytes; write it"},
    {"record", 1, 1, true, hak_control_record, "PATH | stop | state",
     "record each call into the memory of hakctl record at PATH"},
};
enum { NCOMMANDS = sizeof commands / sizeof commands[0] };

static void help(struct hak_control_request *r)
{
    print(r, "{\"ok\":[");
    for (size_t i = 0; i < NCOMMANDS; i++) {
        print(r, "%s{", i == 0 ? "" : ",");
        hak_control_member(r, "request", commands[i].name);
        print(r, ",");
        hak_control_member(r, "words", commands[i].words);
        print(r, ",");
        hak_control_member(r, "does", commands[i].does);
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

static void run(struct hak_control_request *r, const struct command *c)
{
    if (c->changes)
        r->self->lend_stderr(true);
    c->run(r);
    if (c->changes)
        r->self->lend_stderr(false);
}

static void answer(struct hak_control_request *r)
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
    struct hak_control_request r = {.self = self,
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

/* SPDX-License-Identifier: MIT
 * trace_ctl.c - hakctl trace: what is in a trace, and parts of it.
 */
#include "trace_ctl.h"

#include "../hakctl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *trace_kind_name(enum trace_kind kind)
{
    static const char *const names[TRACE_KINDS] = {
        [TRACE_MALLOC] = "malloc",     [TRACE_CALLOC] = "calloc",
        [TRACE_ALIGNED] = "aligned",   [TRACE_REALLOC] = "realloc",
        [TRACE_FREE] = "free",         [TRACE_FREE_NULL] = "free-null",
        [TRACE_TOUCHED] = "touched",   [TRACE_RESIDENT] = "resident",
        [TRACE_ENDED] = "thread-ends",
    };
    return names[kind];
}

/* ---- files --------------------------------------------------------------- */

struct trace *trace_ctl_open(const struct trace_words *words)
{
    char why[512];
    struct trace *t = trace_open(words->file, &words->options, why, sizeof why);
    if (t == NULL)
        ctl_say("trace: %s %s", words->file, why);
    return t;
}

int trace_ctl_next(const struct trace_words *words, struct trace *t,
                   struct trace_op *op)
{
    char why[512];
    int got = trace_next(t, op, why, sizeof why);
    if (got < 0)
        ctl_say("trace: %s %s", words->file, why);
    return got;
}

/* Would writing the output destroy the input? */
static bool same_file(const struct trace_words *words)
{
    struct stat in, out;
    return stat(words->file, &in) == 0 && stat(words->output, &out) == 0 &&
           S_ISREG(in.st_mode) && in.st_dev == out.st_dev &&
           in.st_ino == out.st_ino;
}

struct trace_writer *trace_ctl_create(const struct trace_words *words,
                                      const char *about)
{
    char why[512];
    if (same_file(words)) {
        ctl_say("trace: %s is the file that is read; write to another",
                words->output);
        return NULL;
    }
    struct trace_writer *w =
        trace_create(words->output, about, why, sizeof why);
    if (w == NULL)
        ctl_say("trace: %s cannot be written: %s", words->output, why);
    return w;
}

int trace_ctl_unwritten(const struct trace_words *words, int error)
{
    ctl_say("trace: %s cannot be written to its end: %s; it can be read up to "
            "its last whole block",
            words->output, strerror(-error));
    return CTL_SOME;
}

void trace_ctl_tell_cut(const struct trace_words *words, const struct trace *t)
{
    if (trace_was_cut(t))
        ctl_say("trace: %s was cut before its end; what is there was read",
                words->file);
}

/* ---- the command line ---------------------------------------------------- */

static const struct verb {
    const char *name;
    int (*run)(const struct trace_words *words);
    bool writes, cuts, prints;
} verbs[] = {
    {"dump", trace_ctl_dump, false, false, false},
    {"import", trace_ctl_import, true, false, false},
    {"cut", trace_ctl_cut, true, true, false},
    {"", trace_ctl_summary, false, false, true},
};

static const struct verb *find_verb(const char *word)
{
    const struct verb *v = verbs;
    while (v->name[0] != 0 && (word == NULL || strcmp(v->name, word) != 0))
        v++;
    return v;
}

static bool take_pid(struct trace_words *words, const char *text)
{
    char *end;
    errno = 0;
    words->options.pid = strtoull(text, &end, 10);
    if (*end == 0 && errno == 0 && words->options.pid != 0)
        return true;
    ctl_say("trace: \"%s\" is no process id", text);
    return false;
}

static bool take_option(struct trace_words *words, int option)
{
    switch (option) {
    case 'o':
        words->output = optarg;
        return true;
    case 'f':
        words->from = optarg;
        return true;
    case 't':
        words->to = optarg;
        return true;
    case 'j':
        words->json = true;
        return true;
    case 'p':
        return take_pid(words, optarg);
    default:
        return false;
    }
}

/* What is wrong with the options for the verb; NULL: nothing. */
static const char *misfit(const struct verb *v, const struct trace_words *words)
{
    if (v->writes && words->output == NULL)
        return "-o OUT is missing";
    if (!v->writes && words->output != NULL)
        return "-o is not wanted here";
    if (!v->cuts && (words->from != NULL || words->to != NULL))
        return "--from and --to belong to hakctl trace cut";
    if (v->cuts && words->from == NULL && words->to == NULL)
        return "--from, --to or both are missing";
    if (!v->prints && words->json)
        return "--json belongs to the summary, hakctl trace FILE";
    return NULL;
}

int ctl_trace(int argc, char **argv)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 't'},
        {"pid", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    struct trace_words words = {0};
    int option;
    while ((option = ctl_option(argc, argv, ":o:p:jh", longs)) != -1)
        if (!take_option(&words, option))
            return CTL_BAD;
    const struct verb *v = find_verb(argv[optind]);
    optind += v->name[0] != 0;
    const char *wrong = argc - optind == 1 ? misfit(v, &words)
                        : argc == optind   ? "no file is given"
                                           : "one file is read at a time";
    if (wrong != NULL) {
        ctl_say("trace: %s; see hakctl help trace", wrong);
        return CTL_BAD;
    }
    words.file = argv[optind];
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too large is -EFBIG */
    return v->run(&words);
}

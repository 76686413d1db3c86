/* SPDX-License-Identifier: MIT
 * hakctl_compare.c - hakctl compare: which of some configurations and
 * allocators is better for a program, and is the difference real?
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- options ------------------------------------------------------------- */

enum { LIB = 256, LIBC, WARMUP, METRIC, LOAD, READY, INPUT, OUTPUT };
enum { SMALLER = 300, IGNORE, MARKDOWN, FROM };

static const struct option options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"lib", required_argument, NULL, LIB},
    {"libc", no_argument, NULL, LIBC},
    {"rounds", required_argument, NULL, 'n'},
    {"warmup", required_argument, NULL, WARMUP},
    {"metric", required_argument, NULL, METRIC},
    {"smaller-is-better", no_argument, NULL, SMALLER},
    {"load", required_argument, NULL, LOAD},
    {"ready", required_argument, NULL, READY},
    {"input", required_argument, NULL, INPUT},
    {"output", no_argument, NULL, OUTPUT},
    {"ignore-failure", no_argument, NULL, IGNORE},
    {"json", required_argument, NULL, 'j'},
    {"markdown", no_argument, NULL, MARKDOWN},
    {"from", required_argument, NULL, FROM},
    {CTL_HELP},
    {NULL, 0, NULL, 0}};

/* Keep a copy in place of the one before. */
static bool keep(char **copy, const char *text)
{
    free(*copy);
    *copy = strdup(text);
    if (*copy == NULL)
        ctl_die("no memory");
    return true;
}

/* Options with a value. */
static bool take_value(struct compare *c, int option)
{
    switch (option) {
    case 'c':
        return compare_add(c, COMPARE_INI, optarg);
    case LIB:
        return compare_add(c, COMPARE_LIBRARY, optarg);
    case 'n':
        return compare_take_count(c, "--rounds", optarg, 1, &c->rounds);
    case WARMUP:
        return compare_take_count(c, "--warmup", optarg, 0, &c->warmup);
    case METRIC:
        return keep(&c->metric, optarg);
    case LOAD:
        return keep(&c->load, optarg);
    case READY:
        c->ready = optarg;
        return true;
    case INPUT:
        c->input = optarg;
        return true;
    case 'j':
        c->json = optarg;
        return true;
    case FROM:
        c->from = optarg;
        return true;
    default:
        return false; /* ctl_option has said why */
    }
}

static bool take_options(struct compare *c, int argc, char **argv)
{
    int option;
    while ((option = ctl_option(argc, argv, "+:c:n:j:h", options)) != -1) {
        if (option == LIBC) {
            if (!compare_add(c, COMPARE_LIBC, NULL))
                return false;
        } else if (option == SMALLER)
            c->smaller_is_better = true;
        else if (option == OUTPUT)
            c->show_output = true;
        else if (option == IGNORE)
            c->ignore_failure = true;
        else if (option == MARKDOWN)
            c->markdown = true;
        else if (!take_value(c, option))
            return false;
    }
    c->program = argv + optind;
    return true;
}

/* ---- what options need of each other ------------------------------------- */

/* Why the options cannot be, as in "compare: ..."; NULL: they can. */
static const char *find_fault(const struct compare *c)
{
    bool program = c->program[0] != NULL;
    if (c->markdown && c->json != NULL && strcmp(c->json, "-") == 0)
        return "--json - and --markdown both want stdout; give --json a file";
    if (c->from != NULL)
        return c->n != 0 || program
                   ? "--from has its contenders and its program in the file"
                   : NULL;
    if (!program)
        return "no program given, as in hakctl compare -c my.ini --libc -- "
               "ls -l";
    if (c->n < 2)
        return "at least two contenders are needed: -c INI, --lib LIBRARY, "
               "--libc";
    if (c->ready != NULL && c->load == NULL)
        return "--ready is for a server under --load";
    if (c->smaller_is_better && c->metric == NULL)
        return "--smaller-is-better is about the figure of --metric";
    return NULL;
}

static bool check(struct compare *c)
{
    const char *fault = find_fault(c);
    if (fault != NULL) {
        ctl_say("compare: %s", fault);
        return false;
    }
    if (c->input != NULL && access(c->input, R_OK) != 0) {
        ctl_say("compare: --input %s: %s", c->input, strerror(errno));
        return false;
    }
    return (c->json == NULL || strcmp(c->json, "-") == 0 ||
            compare_json_can_write(c, c->json)) &&
           (c->from != NULL || c->metric == NULL || compare_metric_compile(c));
}

/* ---- what is done -------------------------------------------------------- */

/* Print a word as a shell reads it back, unless a quote is in it. */
static void print_word(FILE *out, const char *word)
{
    bool plain = word[0] != 0 && strpbrk(word, " \t\n;&|<>()$`\"*?") == NULL;
    const char *quote = plain || strchr(word, '\'') != NULL ? "" : "'";
    fprintf(out, "%s%s%s", quote, word, quote);
}

/* The words of the program with blanks between. */
static char *make_title(char **words)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    for (size_t i = 0; out != NULL && words[i] != NULL; i++) {
        fputs(i != 0 ? " " : "", out);
        print_word(out, words[i]);
    }
    if (out == NULL || fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

static int run(struct compare *c)
{
    c->title = make_title(c->program);
    compare_set_measures(c);
    return compare_rounds(c);
}

/* Is there something to print? A first run that fails has been told. */
static bool has_runs(const struct compare *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (compare_count(c, i, COMPARE_DONE) != 0 ||
            (c->ignore_failure && compare_count(c, i, COMPARE_FAILED) != 0))
            return true;
    return false;
}

/* Print what there is, also of a comparison that was ended early. */
static int tell(const struct compare *c, int status)
{
    if (!has_runs(c))
        return status;
    if (c->json == NULL || strcmp(c->json, "-") != 0)
        compare_print(stdout, c);
    if (c->json != NULL && !compare_json_write(c) && status == CTL_OK)
        status = CTL_BAD;
    for (size_t i = 0; i < c->n && status == CTL_OK; i++)
        if (compare_count(c, i, COMPARE_DONE) == 0)
            status = CTL_SOME;
    return status;
}

int ctl_compare(int argc, char **argv)
{
    struct compare c = {.command = "compare",
                        .run_once = compare_run_once,
                        .rounds = 10,
                        .warmup = 1};
    int status = CTL_BAD;
    if (take_options(&c, argc, argv) && check(&c)) {
        if (c.from == NULL)
            status = run(&c);
        else if (compare_json_read(&c))
            status = CTL_OK;
        c.ignore_failure |= c.from != NULL;
        if (status != CTL_BAD)
            status = tell(&c, status);
    }
    compare_forget(&c);
    return status;
}

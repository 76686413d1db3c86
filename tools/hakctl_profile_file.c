/* SPDX-License-Identifier: MIT
 * hakctl_profile_file.c - hakctl profile FILE: reads a heap profile and prints
 * one view of it.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ------------------------------------------------------------- */

enum format { DEFAULT, FLAT, TREE, COLLAPSED, TEXT, JSON };

struct request {
    struct pf_options o;
    enum format format;
    enum pf_by by;
    bool by_given, debuginfod;
};

enum option_code {
    OPTION_VIEW = 0x100,   /* + enum pf_view */
    OPTION_FORMAT = 0x200, /* + enum format */
    OPTION_OBJECTS = 0x300,
    OPTION_DIFF,
    OPTION_FOCUS,
    OPTION_TOP,
    OPTION_BY,
    OPTION_DEBUGINFOD,
    OPTION_NO_SYMBOLS,
    OPTION_WRAPPERS,
};

static bool take_focus(struct request *r, const char *text)
{
    char why[200];
    int error = regcomp(&r->o.focus, text, REG_EXTENDED | REG_NOSUB);
    if (error == 0) {
        r->o.focus_text = text;
        return true;
    }
    regerror(error, &r->o.focus, why, sizeof why);
    ctl_say("profile: --focus \"%s\" is no extended regular expression: %s",
            text, why);
    return false;
}

static bool take_top(struct request *r, const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || *end != 0 || text[0] < '0' || text[0] > '9') {
        ctl_say("profile: --top %s: not a number of lines; 0 is all of them",
                text);
        return false;
    }
    r->o.top = n != 0 ? n : SIZE_MAX;
    return true;
}

static bool take_by(struct request *r, const char *text)
{
    static const char *const names[] = {"stack", "function", "thread", "box",
                                        "library"};
    enum { N = sizeof names / sizeof names[0] };
    char mean[64];
    for (size_t i = 0; i < N; i++)
        if (strcmp(names[i], text) == 0) {
            r->by = (enum pf_by)i;
            r->by_given = true;
            return true;
        }
    ctl_did_you_mean(mean, sizeof mean, text, names, N);
    ctl_say("profile: --by %s: not one of stack, function, thread, box, "
            "library%s",
            text, mean);
    return false;
}

/* Take one option. Returns false, after a message: it is bad. */
static bool take_option(struct request *r, int option)
{
    switch (option) {
    case OPTION_OBJECTS:
        r->o.objects = true;
        return true;
    case OPTION_DIFF:
        r->o.other = optarg;
        return true;
    case OPTION_FOCUS:
        return take_focus(r, optarg);
    case OPTION_TOP:
        return take_top(r, optarg);
    case OPTION_BY:
        return take_by(r, optarg);
    case OPTION_DEBUGINFOD:
        r->debuginfod = true;
        return true;
    case OPTION_NO_SYMBOLS:
        r->o.symbols = false;
        return true;
    case OPTION_WRAPPERS:
        r->o.wrappers = true;
        return true;
    default:
        break;
    }
    if (option == 'j')
        option = OPTION_FORMAT + JSON;
    if (option >= OPTION_FORMAT && option < OPTION_OBJECTS) {
        r->format = (enum format)(option - OPTION_FORMAT);
        return true;
    }
    if (option >= OPTION_VIEW && option < OPTION_FORMAT) {
        r->o.view = (enum pf_view)(option - OPTION_VIEW);
        r->o.view_given = true;
        return true;
    }
    return false;
}

#define FLAG(text, code)              \
    {                                 \
        text, no_argument, NULL, code \
    }
#define VALUE(text, code)                   \
    {                                       \
        text, required_argument, NULL, code \
    }
static const struct option longs[] = {
    FLAG("in-use", OPTION_VIEW + PF_IN_USE),
    FLAG("peak", OPTION_VIEW + PF_PEAK),
    FLAG("leaks", OPTION_VIEW + PF_LEAKS),
    FLAG("allocated", OPTION_VIEW + PF_ALLOCATED),
    FLAG("overhead", OPTION_VIEW + PF_OVERHEAD),
    FLAG("lifetimes", OPTION_VIEW + PF_LIFETIMES),
    FLAG("flat", OPTION_FORMAT + FLAT),
    FLAG("tree", OPTION_FORMAT + TREE),
    FLAG("collapsed", OPTION_FORMAT + COLLAPSED),
    FLAG("text", OPTION_FORMAT + TEXT),
    FLAG("json", OPTION_FORMAT + JSON),
    FLAG("objects", OPTION_OBJECTS),
    FLAG("debuginfod", OPTION_DEBUGINFOD),
    FLAG("no-symbols", OPTION_NO_SYMBOLS),
    FLAG("wrappers", OPTION_WRAPPERS),
    VALUE("diff", OPTION_DIFF),
    VALUE("focus", OPTION_FOCUS),
    VALUE("top", OPTION_TOP),
    VALUE("by", OPTION_BY),
    {CTL_HELP},
    {NULL, 0, NULL, 0}};

static bool take_options(struct request *r, int argc, char **argv)
{
    int option;
    *r = (struct request){.o.symbols = true, .by = PF_FUNCTION};
    while ((option = ctl_option(argc, argv, ":jh", longs)) != -1)
        if (!take_option(r, option))
            return false;
    if (argc - optind != 1) {
        ctl_say("profile: %s; see hakctl help profile",
                optind == argc ? "no file given" : "more than one file given");
        return false;
    }
    r->o.file = argv[optind];
    if (r->format == COLLAPSED && r->o.other != NULL) {
        ctl_say("profile: --collapsed takes no --diff: a flame graph has no "
                "negative widths; make one of each file");
        return false;
    }
    return true;
}

/* ---- files --------------------------------------------------------------- */

/* Of a profile, unpacked. Module heap_profile writes less by its key `most`. */
static const size_t unpacked_most = (size_t)512 << 20;

/* Read a profile. Returns false, after a message. */
static bool read_profile(struct pf *p, const char *file)
{
    char why[PF_WHY_BYTES];
    size_t n;
    uint8_t *bytes = pf_unpack(file, unpacked_most, &n, why);
    *p = (struct pf){0};
    if (bytes == NULL) {
        ctl_say("%s", why);
        return false;
    }
    bool good = pf_parse(p, bytes, n, why);
    if (!good)
        ctl_say("%s: %s", file, why);
    free(bytes);
    return good;
}

/* What is in use while a program runs is no leak yet. */
static bool is_of_exit(const struct pf *p, const struct pf_options *o,
                       const char *file)
{
    const char *reason = pf_comment(p, "reason");
    if (o->view != PF_LEAKS || reason == NULL || strcmp(reason, "exit") == 0)
        return true;
    ctl_say("%s: was written while the program ran (reason=%s), so what is in "
            "use is not leaked; --leaks needs a profile of its exit. Two "
            "profiles of a running program are compared by --diff",
            file, reason);
    return false;
}

/* At exit most memory has been freed, so the moment of the peak tells more,
 * unless a view was asked for. */
static void choose_view(struct pf_options *o, const struct pf *p)
{
    const char *reason = pf_comment(p, "reason");
    if (!o->view_given && reason != NULL && strcmp(reason, "exit") == 0 &&
        pf_sum(p, "peak_space") > 0)
        o->view = PF_PEAK;
}

static bool add_file(struct pf_rows *rows, struct pf *p, const char *file,
                     int sign)
{
    struct pf_names names;
    if (!is_of_exit(p, rows->options, file))
        return false;
    pf_names(&names, p, rows->options->symbols);
    return pf_rows_add(rows, p, &names, file, sign);
}

/* libdw asks the servers of DEBUGINFOD_URLS whenever a file has no debug
 * information, which may take minutes. */
static void choose_servers(const struct request *r)
{
    const char *urls = getenv("DEBUGINFOD_URLS");
    if (!r->debuginfod)
        unsetenv("DEBUGINFOD_URLS");
    else if (urls == NULL || urls[0] == 0)
        ctl_say("warning: --debuginfod, but DEBUGINFOD_URLS names no server, "
                "as in DEBUGINFOD_URLS=https://debuginfod.debian.net");
}

/* ---- the command --------------------------------------------------------- */

enum { TOP_DEFAULT = 20, TREE_DEFAULT = 40 };

static void print(const struct request *r, const struct pf_rows *rows,
                  const struct pf *p, const struct pf_groups *g)
{
    const bool whole = r->format == TEXT || r->format == JSON;
    size_t top = r->o.top != 0 ? r->o.top : whole ? 0 : TOP_DEFAULT;
    if (top == SIZE_MAX)
        top = 0;
    if (r->format == JSON || r->format == COLLAPSED) {
        if (r->format == JSON)
            pf_print_json(rows, p, g, top);
        else
            pf_print_collapsed(rows);
        return;
    }
    pf_print_header(rows, p);
    if (rows->n == 0)
        return;
    if (r->format != TREE) {
        putchar('\n');
        if (g->by == PF_STACK)
            pf_print_stacks(rows, g, top);
        else
            pf_print_groups(rows, g, top);
    }
    const bool both =
        r->format == DEFAULT && !r->by_given && r->o.view != PF_LIFETIMES;
    if (r->format == TREE || both) {
        putchar('\n');
        pf_print_tree(rows, both && r->o.top == 0 ? TREE_DEFAULT : 0);
    }
}

int ctl_profile_file(int argc, char **argv)
{
    struct request r;
    struct pf p, other;
    if (!take_options(&r, argc, argv))
        return CTL_BAD;
    choose_servers(&r);
    struct pf_rows rows = {.options = &r.o};
    if (!read_profile(&p, r.o.file))
        return CTL_SOME;
    choose_view(&r.o, &p);
    if (!add_file(&rows, &p, r.o.file, 1))
        return CTL_SOME;
    rows.first = rows.total;
    if (r.o.other != NULL && (!read_profile(&other, r.o.other) ||
                              !add_file(&rows, &other, r.o.other, -1)))
        return CTL_SOME;
    struct pf_groups g;
    pf_group(&g, &rows, r.format == TEXT ? PF_STACK : r.by);
    print(&r, &rows, &p, &g);
    return CTL_OK;
}

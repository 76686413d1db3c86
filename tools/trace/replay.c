/* SPDX-License-Identifier: MIT
 * replay.c - hakctl replay: what would a program cost on another allocator? Its
 * recorded calls are made there.
 */
#include "replay_command.h"

#include "../hakctl.h"
#include "../hakctl_report.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ------------------------------------------------------------- */

enum { LIB = 256, LIBC, FROM, TO, CHECK, EXACT, FREE_RUN, SEED, REAL_TIME };
enum { MEMORY = 300, OUTPUT, IGNORE, MARKDOWN, PAGE };

static const struct option options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"lib", required_argument, NULL, LIB},
    {"libc", no_argument, NULL, LIBC},
    {"rounds", required_argument, NULL, 'n'},
    {"from", required_argument, NULL, FROM},
    {"to", required_argument, NULL, TO},
    {"check", no_argument, NULL, CHECK},
    {"exact", no_argument, NULL, EXACT},
    {"free-run", no_argument, NULL, FREE_RUN},
    {"seed", required_argument, NULL, SEED},
    {"real-time", no_argument, NULL, REAL_TIME},
    {"memory", required_argument, NULL, MEMORY},
    {"output", no_argument, NULL, OUTPUT},
    {"ignore-failure", no_argument, NULL, IGNORE},
    {"json", required_argument, NULL, 'j'},
    {"markdown", no_argument, NULL, MARKDOWN},
    {"page", required_argument, NULL, PAGE},
    {CTL_HELP},
    {NULL, 0, NULL, 0}};

static bool take_seed(struct replay *r, const char *text)
{
    char *end = NULL;
    errno = 0;
    r->options.seed = strtoull(text, &end, 0);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0)
        return true;
    ctl_say("replay: --seed \"%s\" is no number", text);
    return false;
}

static bool take_memory(struct replay *r, const char *text)
{
    if (hak_conf_bytes(text, &r->memory_bytes) == 0 && r->memory_bytes != 0)
        return true;
    ctl_say("replay: --memory \"%s\" is not a size (512m, 2g)", text);
    return false;
}

/* Options with a value. */
static bool take_value(struct replay *r, int option)
{
    struct compare *c = &r->compare;
    switch (option) {
    case 'c':
        return compare_add(c, COMPARE_INI, optarg);
    case LIB:
        return compare_add(c, COMPARE_LIBRARY, optarg);
    case 'n':
        return compare_take_count(c, "--rounds", optarg, 1, &c->rounds);
    case FROM:
        r->from = optarg;
        return true;
    case TO:
        r->to = optarg;
        return true;
    case SEED:
        return take_seed(r, optarg);
    case MEMORY:
        return take_memory(r, optarg);
    case 'j':
        c->json = optarg;
        return true;
    case PAGE:
        r->page = optarg;
        return true;
    default:
        return false; /* ctl_option has said why */
    }
}

/* Options without one. Returns false: it is none of them. */
static bool take_flag(struct replay *r, int option)
{
    const struct {
        int option;
        bool *flag;
    } flags[] = {
        {CHECK, &r->options.check},        {EXACT, &r->options.exact},
        {FREE_RUN, &r->options.free_run},  {REAL_TIME, &r->options.real_time},
        {OUTPUT, &r->options.show_output}, {IGNORE, &r->compare.ignore_failure},
        {MARKDOWN, &r->compare.markdown},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (flags[i].option == option) {
            *flags[i].flag = true;
            return true;
        }
    return false;
}

static bool take_options(struct replay *r, int argc, char **argv)
{
    int option;
    while ((option = ctl_option(argc, argv, ":c:n:j:h", options)) != -1) {
        if (option == LIBC) {
            if (!compare_add(&r->compare, COMPARE_LIBC, NULL))
                return false;
        } else if (!take_flag(r, option) && !take_value(r, option))
            return false;
    }
    if (optind == argc)
        ctl_say(
            "replay: no TRACE given, as in hakctl replay my.trace -c my.ini "
            "--libc");
    else if (optind + 1 != argc)
        ctl_say("replay: more than one TRACE: \"%s\" and \"%s\"", argv[optind],
                argv[optind + 1]);
    else
        r->file = argv[optind];
    return r->file != NULL;
}

/* ---- what options need of each other ------------------------------------- */

static const char *find_fault(const struct replay *r)
{
    const struct compare *c = &r->compare;
    bool to_stdout = c->json != NULL && strcmp(c->json, "-") == 0;
    if (c->markdown && to_stdout)
        return "--json - and --markdown both want stdout; give --json a file";
    if (r->options.exact && r->options.free_run)
        return "--exact and --free-run contradict each other";
    return NULL;
}

static bool check(struct replay *r)
{
    struct compare *c = &r->compare;
    const char *fault = find_fault(r);
    if (fault != NULL) {
        ctl_say("replay: %s", fault);
        return false;
    }
    c->ignore_failure |= r->options.check;
    if (c->rounds == 0)
        c->rounds = r->options.check ? 1 : COMPARE_LEAST_PAIRS;
    c->warmup = r->options.check || c->rounds == 1 ? 0 : 1;
    if (c->n == 0) {
        const char *conf = ctl_conf(NULL);
        if (conf == NULL || !compare_add(c, COMPARE_INI, conf))
            return false;
    }
    return (c->json == NULL || strcmp(c->json, "-") == 0 ||
            compare_json_can_write(c, c->json)) &&
           (r->page == NULL || report_can_write(r->page));
}

/* "0.5", "50%" or a number of calls, as a share of the trace. */
static bool take_share(const struct replay *r, const char *option,
                       const char *text, double *out)
{
    char *end = NULL;
    if (text == NULL)
        return true;
    double value = strtod(text, &end);
    if (strcmp(end, "%") == 0)
        value /= 100;
    else if (value > 1 && value == floor(value))
        value /= (double)replay_facts(r->plan)->ncalls;
    else if (*end != 0)
        value = -1;
    if (end != text && value >= 0 && value <= 1) {
        *out = value;
        return true;
    }
    ctl_say(
        "replay: %s \"%s\" is neither a share (0.5, 50%%) nor the number of "
        "one of the %llu calls",
        option, text, (unsigned long long)replay_facts(r->plan)->ncalls);
    return false;
}

static bool open_trace(struct replay *r)
{
    char why[512] = "";
    r->plan = replay_plan_open(r->file, r->memory_bytes, why, sizeof why);
    if (r->plan == NULL) {
        ctl_say("replay: %s: %s", r->file, why);
        return false;
    }
    if (!take_share(r, "--from", r->from, &r->options.from) ||
        !take_share(r, "--to", r->to, &r->options.to))
        return false;
    if (r->options.from < r->options.to)
        return true;
    ctl_say("replay: no calls are between --from and --to");
    return false;
}

/* ---- what is done -------------------------------------------------------- */

/* "my.trace: 412000 calls of 3 threads in 2.1 s". */
static void make_title(struct replay *r)
{
    const struct replay_facts *f = replay_facts(r->plan);
    const char *slash = strrchr(r->file, '/');
    char part[80] = "";
    if (r->options.from > 0 || r->options.to < 1)
        snprintf(part, sizeof part, ", measured from %.4g %% to %.4g %%",
                 100 * r->options.from, 100 * r->options.to);
    if (asprintf(&r->compare.title, "%s: %llu calls of %u thread%s in %.3g s%s",
                 slash != NULL ? slash + 1 : r->file,
                 (unsigned long long)f->ncalls, f->nthreads,
                 f->nthreads == 1 ? "" : "s", (double)f->time_ns / 1e9,
                 part) < 0)
        ctl_die("no memory");
}

/* Say what the trace lacks. */
static void warn_of(const struct replay *r)
{
    const struct replay_facts *f = replay_facts(r->plan);
    if (f->was_cut)
        ctl_say("replay: %s: its end is missing; what is there is played",
                r->file);
    if (f->lost != 0)
        ctl_say("replay: %s: %llu calls could not be recorded", r->file,
                (unsigned long long)f->lost);
    if (f->time_ns == 0 && !r->options.real_time)
        ctl_say("replay: %s has no times, so allocators see the real clock",
                r->file);
}

static int run(struct replay *r)
{
    char *player = replay_player();
    char *program[] = {player, NULL};
    if (player == NULL)
        return CTL_BAD;
    r->compare.program = program;
    make_title(r);
    warn_of(r);
    replay_set_measures(r);
    int status = compare_rounds(&r->compare);
    free(player);
    return status;
}

static bool is_run(const struct compare *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->at[i].runs != NULL && compare_count(c, i, COMPARE_DONE) != 0)
            return true;
    return false;
}

/* With --check, what counts is that nothing was found. */
static void tell_checked(const struct compare *c)
{
    for (size_t i = 0; i < c->n; i++) {
        size_t failed = compare_count(c, i, COMPARE_FAILED);
        size_t done = compare_count(c, i, COMPARE_DONE);
        if (failed + done != 0)
            printf("%s: %s\n", c->at[i].name, failed != 0 ? "FAILED" : "ok");
    }
}

/* Print what there is, also of a comparison that was ended early. */
static int tell(const struct replay *r, int status)
{
    const struct compare *c = &r->compare;
    for (size_t i = 0; i < c->n && status == CTL_OK; i++)
        if (compare_count(c, i, COMPARE_FAILED) != 0)
            status = CTL_SOME;
    if (!is_run(c))
        return status;
    if (c->json == NULL || strcmp(c->json, "-") != 0) {
        if (r->options.check)
            tell_checked(c);
        else
            compare_print(stdout, c);
    }
    json_t *all = replay_as_json(r);
    bool good = (c->json == NULL || compare_json_put(c, all)) &&
                (r->page == NULL || replay_write_page(all, r->page));
    json_decref(all);
    return good || status != CTL_OK ? status : CTL_BAD;
}

int ctl_replay(int argc, char **argv)
{
    struct replay r = {.options = REPLAY_OPTIONS,
                       .compare = {.command = "replay"}};
    int status = CTL_BAD;
    signal(SIGXFSZ, SIG_IGN); /* ftruncate then fails */
    if (take_options(&r, argc, argv) && check(&r) && open_trace(&r)) {
        status = run(&r);
        if (status != CTL_BAD)
            status = tell(&r, status);
    }
    compare_forget(&r.compare);
    for (size_t i = 0; i < r.compare.n; i++)
        free(r.curve[i].at);
    if (r.plan != NULL)
        replay_plan_close(r.plan);
    return status;
}

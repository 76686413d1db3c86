/* SPDX-License-Identifier: MIT
 * tune_options.c - the command line of hakctl tune.
 */
#include "tune.h"

#include "../hakctl.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { WEIGHT = 256, BUDGET, TRACE_WEIGHT, LOSS, SEED, RESUME };

static const struct option options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"output", required_argument, NULL, 'o'},
    {"json", required_argument, NULL, 'j'},
    {"weight", required_argument, NULL, WEIGHT},
    {"budget", required_argument, NULL, BUDGET},
    {"trace-weight", required_argument, NULL, TRACE_WEIGHT},
    {"loss", required_argument, NULL, LOSS},
    {"seed", required_argument, NULL, SEED},
    {"resume", no_argument, NULL, RESUME},
    {CTL_HELP},
    {NULL, 0, NULL, 0}};

/* Parse a number of 0 or more at the start of a text; NULL: there is none, else
 * what is behind it. */
static const char *take_number(const char *text, double *out)
{
    char *end = NULL;
    *out = strtod(text, &end);
    bool good = end != text && isfinite(*out) && *out >= 0 &&
                strchr("0123456789.", text[0]) != NULL && text[0] != 0;
    return good ? end : NULL;
}

/* "time=1,rss=0.5". What is not named counts nothing. */
static bool take_weights(struct tune_options *o, const char *text)
{
    static const char *const names[TUNE_MEASURES] = {"time", "rss"};
    const char *at = text;
    double sum = 0;
    for (size_t m = 0; m < TUNE_MEASURES; m++)
        o->weight[m] = 0;
    while (at != NULL && *at != 0) {
        size_t n = strcspn(at, "="), m = 0;
        while (m < TUNE_MEASURES &&
               (strlen(names[m]) != n || strncmp(at, names[m], n) != 0))
            m++;
        at = m < TUNE_MEASURES && at[n] == '='
                 ? take_number(at + n + 1, &o->weight[m])
                 : NULL;
        sum += at != NULL ? o->weight[m] : 0;
        if (at != NULL && *at == ',' && at[1] != 0)
            at++;
        else if (at != NULL && *at != 0)
            at = NULL;
    }
    if (at != NULL && sum > 0)
        return true;
    ctl_say("tune: --weight \"%s\" is no list of weights as in time=1,rss=0.5",
            text);
    return false;
}

/* "10m", "90s", "1h", "90". */
static bool take_budget(struct tune_options *o, const char *text)
{
    static const char units[] = "smh";
    static const double seconds[] = {1, 60, 3600};
    const char *rest = take_number(text, &o->budget_s);
    const char *unit =
        rest != NULL && *rest != 0 ? strchr(units, *rest) : units;
    if (rest != NULL && unit != NULL && (*rest == 0 || rest[1] == 0) &&
        o->budget_s * seconds[unit - units] >= 1) {
        o->budget_s *= seconds[unit - units];
        return true;
    }
    ctl_say("tune: --budget \"%s\" is no time of a second or more, as in 90s, "
            "10m, 1h",
            text);
    return false;
}

/* "2,1,1": by the order of the traces. Returns how many; 0: they are none. */
static size_t take_trace_weights(struct tune_options *o, const char *text)
{
    size_t n = 0;
    const char *at = text;
    while (at != NULL && n < TUNE_TRACES) {
        at = take_number(at, &o->trace_weight[n]);
        if (at == NULL || o->trace_weight[n++] <= 0)
            break;
        if (*at == 0)
            return n;
        at = *at == ',' ? at + 1 : NULL;
    }
    ctl_say("tune: --trace-weight \"%s\" is no list of numbers above 0, as in "
            "2,1,1",
            text);
    return 0;
}

static bool take_loss(struct tune_options *o, const char *text)
{
    const char *rest = take_number(text, &o->most_loss);
    if (rest != NULL && *rest == 0 && o->most_loss <= 1000) {
        o->most_loss /= 100;
        return true;
    }
    ctl_say("tune: --loss \"%s\" is no number of percent from 0 to 1000", text);
    return false;
}

static bool take_seed(struct tune_options *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    o->seed = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0)
        return true;
    ctl_say("tune: --seed \"%s\" is no number", text);
    return false;
}

static bool take_value(struct tune_options *o, int option, size_t *nweights)
{
    switch (option) {
    case 'c':
        o->conf = optarg;
        return true;
    case 'o':
        o->out = optarg;
        return true;
    case 'j':
        o->json = optarg;
        return true;
    case WEIGHT:
        return take_weights(o, optarg);
    case BUDGET:
        return take_budget(o, optarg);
    case TRACE_WEIGHT:
        *nweights = take_trace_weights(o, optarg);
        return *nweights != 0;
    case LOSS:
        return take_loss(o, optarg);
    case SEED:
        return take_seed(o, optarg);
    case RESUME:
        o->resume = true;
        return true;
    default:
        return false; /* ctl_option has said why */
    }
}

static void make_sum_one(double *weights, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += weights[i];
    for (size_t i = 0; i < n; i++)
        weights[i] /= sum;
}

bool tune_options_take(struct tune_options *o, int argc, char **argv)
{
    int option;
    size_t nweights = 0;
    *o = (struct tune_options){.out = "tuned.ini",
                               .weight = {1, 1},
                               .budget_s = 600,
                               .most_loss = 0.01,
                               .seed = 1};
    while ((option = ctl_option(argc, argv, ":c:o:j:h", options)) != -1)
        if (!take_value(o, option, &nweights))
            return false;
    o->traces = argv + optind;
    o->ntraces = (size_t)(argc - optind);
    if (o->ntraces == 0 || o->ntraces > TUNE_TRACES) {
        ctl_say("tune: it takes from one to %d traces, as in hakctl tune "
                "redis.trace; hakctl record makes them",
                TUNE_TRACES);
        return false;
    }
    if (nweights != 0 && nweights != o->ntraces) {
        ctl_say("tune: --trace-weight has %zu numbers, but there are %zu "
                "traces",
                nweights, o->ntraces);
        return false;
    }
    for (size_t i = 0; i < o->ntraces && nweights == 0; i++)
        o->trace_weight[i] = 1;
    make_sum_one(o->trace_weight, o->ntraces);
    make_sum_one(o->weight, TUNE_MEASURES);
    return true;
}

/* SPDX-License-Identifier: MIT
 * test_tune.c - the search of hakctl tune, on functions whose best choice is
 * known, with noise.
 */
#include "test.h"

#include <hakctl.h>
#include <trace/tune.h>

#include <math.h>

/* What tools/hakctl.c has. */
void ctl_say(const char *format, ...)
{
    (void)format;
}

void ctl_die(const char *format, ...)
{
    fprintf(stderr, "%s\n", format);
    exit(1);
}

/* ---- a world ------------------------------------------------------------- */

/* Made up instead of traces: figures are exp of the sum of what knobs do. */
struct world {
    struct tune t;
    double noise[TUNE_MEASURES];
    /* What the choice does to a measure of a trace; 0: as the base. */
    double (*effect)(const uint8_t *at, size_t trace, enum tune_measure m,
                     bool seen);
    double clock_s, run_s;
    uint64_t random; /* of the noise */
    size_t nruns, stop_after;
    size_t fails_at; /* knob that must not be turned to 1; SIZE_MAX: none */
    size_t ntold;    /* choices that were dropped */
};

/* About normal, with that deviation. */
static double noise(struct world *w, double deviation)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)(compare_random(&w->random) >> 11) * 0x1p-53;
    return (sum - 6) * deviation;
}

static int measure(void *context, const struct tune_choice *choice,
                   size_t trace, double from, double to,
                   struct tune_figures *out, char *why, size_t n)
{
    struct world *w = context;
    if (w->nruns == w->stop_after)
        return -EINTR;
    w->nruns++;
    w->clock_s += w->run_s * to;
    if (w->fails_at != SIZE_MAX && choice->at[w->fails_at] == 1) {
        snprintf(why, n, "it crashed");
        return -EIO;
    }
    for (enum tune_measure m = 0; m < TUNE_MEASURES; m++)
        out->value[m] = 1e6 * exp(w->effect(choice->at, trace, m, from == 0) +
                                  noise(w, w->noise[m]));
    return 0;
}

static double now_s(void *context)
{
    return ((struct world *)context)->clock_s;
}

static void dropped(const struct tune *t, const struct tune_dropped *d)
{
    EXPECT(strcmp(d->why, "it crashed") == 0);
    ((struct world *)t->context)->ntold++;
}

/* A key with values 0 to n - 1, of which 0 is the base's, and a move to each of
 * the others. */
static struct tune_knob *add_knob(struct tune_space *s, size_t n)
{
    char name[16], value[16];
    struct tune_knob *k = &s->knob[s->n];
    snprintf(name, sizeof name, "key%zu", s->n);
    *k = (struct tune_knob){.section = strdup("core"),
                            .key = strdup(name),
                            .n = (uint8_t)n,
                            .scale = true};
    for (size_t i = 0; i < n; i++) {
        snprintf(value, sizeof value, "%zu", i);
        k->value[i] = strdup(value);
        if (i != 0)
            tune_add_part(tune_add_move(s), s->n, i);
    }
    s->n++;
    return k;
}

static struct world *make_world(size_t nknobs, size_t nvalues, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    for (size_t i = 0; i < nknobs; i++)
        add_knob(&w->t.space, nvalues);
    w->t.ntraces = 1;
    w->t.trace_weight[0] = 1;
    w->t.weight[TUNE_TIME] = w->t.weight[TUNE_MEMORY] = 0.5;
    w->t.most_loss = 0.01;
    w->t.least_gain = 0.005;
    w->t.search_to = 0.6;
    w->t.confirm_to = 1;
    w->t.budget_s = 600;
    w->t.random = seed;
    w->t.measure = measure;
    w->t.now_s = now_s;
    w->t.drop = dropped;
    w->t.context = w;
    w->noise[TUNE_TIME] = 0.02;
    w->noise[TUNE_MEMORY] = 0.003;
    w->run_s = 0.3;
    w->random = seed * 977 + 1;
    w->stop_after = w->fails_at = SIZE_MAX;
    return w;
}

static bool tune(struct world *w, struct tune_verdict *v)
{
    struct tune_choice best;
    return tune_search(&w->t, &best) && tune_confirm(&w->t, &best, v);
}

static void expect_choice(const struct world *w, const struct tune_verdict *v,
                          const char *text)
{
    char *is = tune_choice_text(&w->t.space, &v->choice);
    if (strcmp(is, text) != 0)
        test_fail(__FILE__, __LINE__, "\"%s\" is not \"%s\"", is, text);
    free(is);
}

/* ---- what is found ------------------------------------------------------- */

/* key2: the best at 3 in time. key5: less memory at 1. key7: both worse. */
static double some_pay(const uint8_t *at, size_t trace, enum tune_measure m,
                       bool seen)
{
    static const double time[] = {0, -0.03, -0.06, -0.10, -0.05};
    (void)trace;
    (void)seen;
    if (m == TUNE_MEMORY)
        return (at[5] == 1 ? -0.04 : 0) + 0.1 * at[7];
    return time[at[2]] + 0.05 * at[7];
}

TEST(finds_what_pays_and_nothing_else)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct tune_verdict v;
        struct world *w = make_world(12, 5, seed);
        w->effect = some_pay;
        EXPECT(tune(w, &v));
        expect_choice(w, &v, "core.key2 = 3, core.key5 = 1");
        EXPECT(v.all.pays);
        EXPECT_EQ(v.nlines, 2);
        EXPECT(fabs(log(v.each[0].measure[TUNE_TIME].median) + 0.10) < 0.03);
        EXPECT(fabs(log(v.each[1].measure[TUNE_MEMORY].median) + 0.04) < 0.01);
        EXPECT(fabs(log(v.each[0].measure[TUNE_MEMORY].median)) < 0.01);
        EXPECT(w->clock_s < w->t.budget_s);
    }
}

static double flat(const uint8_t *at, size_t trace, enum tune_measure m,
                   bool seen)
{
    (void)at;
    (void)trace;
    (void)m;
    (void)seen;
    return 0;
}

TEST(of_a_hundred_flat_worlds_hardly_one_is_taken_for_another)
{
    size_t wrong = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct tune_verdict v;
        struct world *w = make_world(12, 5, seed);
        w->effect = flat;
        EXPECT(tune(w, &v));
        wrong += v.nlines != 0 && v.all.pays;
    }
    EXPECT(wrong <= 3);
}

/* key0 = 1 pays in the part that the search sees. */
static double pays_once(const uint8_t *at, size_t trace, enum tune_measure m,
                        bool seen)
{
    (void)trace;
    return seen && m == TUNE_TIME && at[0] == 1 ? -0.1 : 0;
}

TEST(what_pays_only_where_it_was_found_is_not_confirmed)
{
    struct tune_verdict v;
    struct world *w = make_world(6, 3, 1);
    w->effect = pays_once;
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "core.key0 = 1");
    EXPECT(!v.all.pays);
}

/* Either of key0 and key1 pays, and both pay no more. */
static double one_is_enough(const uint8_t *at, size_t trace,
                            enum tune_measure m, bool seen)
{
    (void)trace;
    (void)seen;
    return m == TUNE_TIME && (at[0] == 1 || at[1] == 1) ? -0.08 : 0;
}

TEST(of_two_changes_that_do_the_same_one_stays)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct tune_verdict v;
        struct world *w = make_world(6, 3, seed);
        w->effect = one_is_enough;
        EXPECT(tune(w, &v));
        EXPECT_EQ(v.nlines, 1);
        EXPECT(v.all.pays);
    }
}

/* key1 pays with key0 only, which costs by itself. */
static double together(const uint8_t *at, size_t trace, enum tune_measure m,
                       bool seen)
{
    (void)trace;
    (void)seen;
    if (m == TUNE_MEMORY)
        return 0;
    return at[0] == 1 && at[1] == 1 ? -0.1 : at[0] == 1 ? -0.02 : 0;
}

TEST(what_pays_only_with_another_change_is_found)
{
    struct tune_verdict v;
    struct world *w = make_world(4, 2, 1);
    w->effect = together;
    w->noise[TUNE_TIME] = 0.002;
    EXPECT(tune(w, &v));
    EXPECT(v.all.pays);
    EXPECT(v.choice.at[0] == 1);
}

/* ---- memory against time ------------------------------------------------- */

static double trade(const uint8_t *at, size_t trace, enum tune_measure m,
                    bool seen)
{
    (void)trace;
    (void)seen;
    return at[0] != 1 ? 0 : m == TUNE_TIME ? 0.05 : -0.2;
}

TEST(no_measure_that_counts_gets_much_worse)
{
    struct tune_verdict v;
    struct world *w = make_world(4, 3, 1);
    w->effect = trade;
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "the base");
    w = make_world(4, 3, 1);
    w->effect = trade;
    w->t.most_loss = 0.1;
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "core.key0 = 1");
    w = make_world(4, 3, 1);
    w->effect = trade;
    w->t.weight[TUNE_TIME] = 0;
    w->t.weight[TUNE_MEMORY] = 1;
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "core.key0 = 1");
}

/* ---- several traces ------------------------------------------------------ */

/* Good for the first, as bad for the second. */
static double divided(const uint8_t *at, size_t trace, enum tune_measure m,
                      bool seen)
{
    (void)seen;
    return at[0] != 1 || m != TUNE_TIME ? 0 : trace == 0 ? -0.1 : 0.1;
}

TEST(traces_count_by_their_weights)
{
    struct tune_verdict v;
    for (int even = 0; even < 2; even++) {
        struct world *w = make_world(4, 3, 1);
        w->effect = divided;
        w->t.ntraces = 2;
        w->t.trace_weight[0] = even ? 0.5 : 0.9;
        w->t.trace_weight[1] = even ? 0.5 : 0.1;
        EXPECT(tune(w, &v));
        expect_choice(w, &v, even ? "the base" : "core.key0 = 1");
    }
    EXPECT(v.trace[0][TUNE_TIME].pairs == v.rounds);
}

/* ---- routes -------------------------------------------------------------- */

/* Routes of two ranges may lead to box 2; key2 is of that box. */
static void add_routes(struct world *w)
{
    struct tune_space *s = &w->t.space;
    for (uint32_t i = 0; i < 2; i++) {
        struct tune_knob *k = add_knob(s, 2);
        k->route = true;
        k->first = i * 2 + 1;
        k->last = i * 2 + 2;
        k->leads_to[0] = 1;
        k->leads_to[1] = 2;
        free(k->value[1]);
        k->value[1] = strdup("other");
    }
    add_knob(s, 3)->of_box = 2;
}

static double on_the_way(const uint8_t *at, size_t trace, enum tune_measure m,
                         bool seen)
{
    (void)trace;
    (void)seen;
    if (m == TUNE_MEMORY)
        return 0;
    return -0.05 * at[0] - 0.05 * at[1] - (at[2] == 2 ? 0.08 : 0);
}

TEST(keys_of_a_box_count_once_a_route_leads_to_it)
{
    struct tune_verdict v;
    struct world *w = make_world(0, 0, 1);
    add_routes(w);
    w->effect = on_the_way;
    struct tune_choice base = tune_base(&w->t.space);
    struct tune_move key = {.n = 1, .part = {{2, 2}}};
    struct tune_choice same = tune_moved(&w->t.space, &base, &key);
    EXPECT(tune_same(&w->t.space, &same, &base));
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "1-64 = other, core.key2 = 2");
    EXPECT_EQ(v.nlines, 2);
}

TEST(ranges_are_named_as_in_an_INI)
{
    static const struct {
        uint32_t first, last;
        const char *text;
    } some[] = {
        {0, 1, "C0"},       {3, 16, "C2-C4"}, {33, 64, "C7"},
        {0, 2, "C0-C1"},    {2, 3, "17-48"},  {65, 128, "1025-256k"},
        {33, 72, "513-2k"}, {0, 0, "0-0"},    {129, 129, "262145-"},
    };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        char text[64], why[256];
        uint32_t first = 99, last = 99;
        tune_range_text(some[i].first, some[i].last, text, sizeof text);
        if (strcmp(text, some[i].text) != 0)
            test_fail(__FILE__, __LINE__, "%s, not %s", text, some[i].text);
        EXPECT_EQ(hak_conf_range(text, &first, &last, why, sizeof why), 0);
        EXPECT_EQ(first, some[i].first);
        EXPECT_EQ(last, some[i].last);
    }
}

/* ---- failures, time, interruption ---------------------------------------- */

TEST(what_crashes_is_dropped_and_told_once)
{
    struct tune_verdict v;
    struct world *w = make_world(12, 5, 1);
    w->effect = some_pay;
    w->fails_at = 5;
    EXPECT(tune(w, &v));
    expect_choice(w, &v, "core.key2 = 3");
    EXPECT_EQ(w->ntold, w->t.ndropped);
    EXPECT(w->ntold >= 1);
    for (size_t i = 0; i < w->t.ndropped; i++)
        for (size_t k = 0; k < i; k++)
            EXPECT(strcmp(w->t.dropped[i].choice, w->t.dropped[k].choice) != 0);
}

TEST(a_small_budget_is_kept)
{
    for (double budget_s = 10; budget_s < 100; budget_s *= 2) {
        struct tune_verdict v;
        struct world *w = make_world(20, 5, 1);
        w->effect = some_pay;
        w->t.budget_s = budget_s;
        EXPECT(tune(w, &v));
        if (w->clock_s > budget_s + w->run_s)
            test_fail(__FILE__, __LINE__, "%.1f of %.1f s", w->clock_s,
                      budget_s);
    }
}

/* Let a second search have the runs of a first one. */
static void hand_over(struct tune *to, const struct tune *from)
{
    for (size_t i = 0; i < from->nruns; i++) {
        struct tune_run *run = tune_add_run(to, from->run[i].choice);
        char *choice = run->choice;
        *run = from->run[i];
        run->choice = choice;
        run->used = false;
    }
    to->nkept = to->nruns;
}

TEST(an_interrupted_search_goes_on_where_it_was)
{
    struct tune_verdict whole, v;
    struct world *w = make_world(12, 5, 3);
    w->effect = some_pay;
    EXPECT(tune(w, &whole));
    size_t nruns = w->nruns;
    for (size_t stop = 0; stop <= nruns; stop += 1 + nruns / 23) {
        struct world *first = make_world(12, 5, 3);
        struct world *second = make_world(12, 5, 3);
        first->effect = second->effect = some_pay;
        first->stop_after = stop;
        EXPECT_EQ(tune(first, &v), stop >= nruns);
        EXPECT_EQ(first->t.nruns, stop < nruns ? stop : nruns);
        hand_over(&second->t, &first->t);
        second->random = first->random; /* the machine's noise goes on */
        second->clock_s = second->t.last_s = first->clock_s;
        EXPECT(tune(second, &v));
        EXPECT_EQ(second->nruns, nruns - first->nruns);
        EXPECT(tune_same(&w->t.space, &v.choice, &whole.choice));
        EXPECT(memcmp(&v.all.objective, &whole.all.objective,
                      sizeof v.all.objective) == 0);
    }
}

TEST(an_interrupted_confirmation_tells_what_it_has)
{
    for (size_t rounds = 2; rounds <= 10; rounds += 4) {
        struct tune_verdict v;
        struct world *w = make_world(12, 5, 1);
        w->effect = some_pay;
        struct tune_choice choice = tune_base(&w->t.space);
        choice.at[2] = 3;
        w->stop_after = rounds * 2 + 1; /* one run of a round more */
        EXPECT(!tune_confirm(&w->t, &choice, &v));
        EXPECT_EQ(v.rounds, rounds);
        EXPECT_EQ(v.all.pays, rounds >= TUNE_LEAST_ROUNDS);
    }
}

TEST_MAIN()

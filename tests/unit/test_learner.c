/* SPDX-License-Identifier: MIT
 * test_learner.c - the learner's engine: figures, rules, and how often it is
 * right on patterns whose best routes are known.
 *
 * `build/tests/unit/test_learner accuracy` prints the table of
 * docs/learner.md.
 */
#include "conf_reading.h"

#include <base/classes.h>
#include <conf/conf.h>
#include <modules/learner/engine.h>

/* ---- figures ----------------------------------------------------------- */

static struct hak_tally tally[HAK_CLASSES], before[HAK_CLASSES];
static struct hak_learner_interval interval;

/* A page of `slot` bytes, all used, so many slots handed out. */
static struct hak_retire record(uint32_t slot, uint64_t allocations,
                                uint64_t local)
{
    uint32_t capacity = HAK_GRANULE_BYTES / slot;
    return (struct hak_retire){
        .struct_bytes = sizeof(struct hak_retire),
        .slot_bytes = slot,
        .capacity = capacity,
        .used = capacity,
        .allocations = allocations,
        .frees = allocations,
        .local_frees = local,
    };
}

TEST(a_record_counts_for_the_class_of_its_slots)
{
    static const struct {
        uint32_t slot, class_number;
    } slots[] = {{16, 0},  {32, 1},  {48, 2},  {64, 2},  {128, 3},
                 {144, 4}, {256, 4}, {272, 5}, {384, 5}, {400, 6},
                 {512, 6}, {528, 7}, {1024, 7}};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        struct hak_tally *of = &tally[slots[i].class_number];
        uint64_t retires = of->retires, allocations = of->allocations;
        struct hak_retire r = record(slots[i].slot, 10, 4);
        EXPECT(hak_tally_add(tally, &r));
        EXPECT_EQ(of->retires, retires + 1);
        EXPECT_EQ(of->allocations, allocations + 10);
    }
    struct hak_retire large = record(1152, 10, 4);
    EXPECT(!hak_tally_add(tally, &large));
}

TEST(figures_of_an_interval)
{
    struct hak_retire r = record(512, 1000, 1000); /* before the interval */
    hak_tally_add(tally, &r);
    memcpy(before, tally, sizeof before);
    r = record(512, 600, 600);
    hak_tally_add(tally, &r);
    r = record(512, 100, 0);
    r.used = r.capacity / 2;
    hak_tally_add(tally, &r);
    r = record(1024, 300, 150);
    r.used = r.capacity / 4;
    hak_tally_add(tally, &r);
    hak_learner_look(before, tally, &interval);
    EXPECT_EQ(interval.retires, 3);
    EXPECT_EQ(interval.utilisation_bps, (10000 + 5000 + 2500) / 3);
    EXPECT_EQ(interval.free_hit_bps, 7500);
    const struct hak_learner_ratios *c6 = &interval.of[6],
                                    *c7 = &interval.of[7];
    EXPECT_EQ(c6->retires, 2);
    EXPECT_EQ(c6->allocations, 700);
    EXPECT_EQ(c6->bps[HAK_LEARN_SHARE], 7000);
    EXPECT_EQ(c6->bps[HAK_LEARN_RETIRE], 6666);
    EXPECT_EQ(c6->bps[HAK_LEARN_UTILISATION], 7500);
    EXPECT_EQ(c6->bps[HAK_LEARN_FREE_HIT], 8571);
    EXPECT_EQ(c7->bps[HAK_LEARN_SHARE], 3000);
    EXPECT_EQ(c7->bps[HAK_LEARN_FREE_HIT], 5000);
    for (uint32_t i = 0; i < HAK_LEARN_FIGURES; i++)
        EXPECT_EQ(interval.of[5].bps[i], 0);
}

TEST(sums_of_threads)
{
    struct hak_tally sum[HAK_CLASSES] = {{0}};
    struct hak_retire r = record(384, 7, 5);
    hak_tally_add(tally, &r);
    hak_tally_add(before, &r);
    hak_tally_add(before, &r);
    hak_tally_sum(sum, tally);
    hak_tally_sum(sum, before);
    EXPECT_EQ(sum[5].retires, 3);
    EXPECT_EQ(sum[5].allocations, 21);
    EXPECT_EQ(sum[5].frees, 21);
    EXPECT_EQ(sum[5].local_frees, 15);
    EXPECT_EQ(sum[5].utilisation_bps, 30000);
}

TEST(a_part_never_exceeds_the_whole)
{
    /* one word of a running thread read late */
    tally[3] = (struct hak_tally){1, 10, 10, 11, 10000};
    hak_learner_look(before, tally, &interval);
    EXPECT_EQ(interval.of[3].bps[HAK_LEARN_FREE_HIT], 10000);
    tally[3].retires = 0; /* its other words were seen, this one was not */
    hak_learner_look(before, tally, &interval);
    EXPECT_EQ(interval.of[3].bps[HAK_LEARN_SHARE], 0);
}

/* ---- rules ------------------------------------------------------------- */

static struct hak_learner_engine engine;

/* Rules "r0", "r1" ... for C6 by their conditions, NULL = always. */
static void rules(uint32_t settle, uint32_t margin, const char *const *when)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "[learner]\nsettle = %u\nmargin = %u\n",
                     settle, margin);
    for (int i = 0; when[i] != NULL; i++)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "[rule r%d]\nclasses = C6\nroute = %s\n%s%s\n", i,
                      i % 2 == 0 ? "midmt" : "large",
                      *when[i] != 0 ? "when = " : "", when[i]);
    EXPECT_EQ(read_env(text, NULL, NULL), 0);
    hak_learner_begin(&engine, &conf);
}
#define RULES(settle, margin, ...) \
    rules(settle, margin, (const char *const[]){__VA_ARGS__, NULL})

/* A interval in which C6 has these figures; returns the rule that stands. */
static int judge(uint32_t share, uint32_t retire, uint32_t utilisation,
                 uint32_t free_hit)
{
    interval.retires = 256;
    interval.of[6] = (struct hak_learner_ratios){
        256, 100000, {share, retire, utilisation, free_hit}};
    hak_learner_judge(&engine, &interval);
    return engine.of[6].rule;
}

TEST(each_comparison_at_its_edge)
{
    RULES(1, 0, "share < 30%");
    EXPECT_EQ(judge(3000, 0, 0, 0), -1);
    EXPECT_EQ(judge(2999, 0, 0, 0), 0);
    RULES(1, 0, "retire <= 30%");
    EXPECT_EQ(judge(0, 3001, 0, 0), -1);
    EXPECT_EQ(judge(0, 3000, 0, 0), 0);
    RULES(1, 0, "utilisation > 30%");
    EXPECT_EQ(judge(0, 0, 3000, 0), -1);
    EXPECT_EQ(judge(0, 0, 3001, 0), 0);
    RULES(1, 0, "free_hit >= 30%");
    EXPECT_EQ(judge(0, 0, 0, 2999), -1);
    EXPECT_EQ(judge(0, 0, 0, 3000), 0);
}

TEST(all_conditions_must_hold)
{
    RULES(1, 0, "share > 30%, retire < 50%, utilisation > 60%, free_hit > 80%");
    EXPECT_EQ(judge(3000, 4000, 7000, 9000), -1);
    EXPECT_EQ(judge(4000, 5000, 7000, 9000), -1);
    EXPECT_EQ(judge(4000, 4000, 6000, 9000), -1);
    EXPECT_EQ(judge(4000, 4000, 7000, 8000), -1);
    EXPECT_EQ(judge(4000, 4000, 7000, 9000), 0);
}

TEST(the_first_rule_that_holds_decides)
{
    RULES(1, 0, "share > 50%", "share > 30%", "");
    EXPECT_EQ(judge(6000, 0, 0, 0), 0);
    EXPECT_EQ(judge(4000, 0, 0, 0), 1);
    EXPECT_EQ(judge(2000, 0, 0, 0), 2);
    EXPECT_EQ(engine.decisions, 3);
    EXPECT_EQ(engine.evaluations, 3);
}

TEST(margin_favours_what_stands)
{
    RULES(1, 5, "share >= 30%, free_hit > 8000bps", "");
    EXPECT_EQ(judge(2999, 0, 0, 9000), 1); /* none in its favour yet */
    EXPECT_EQ(judge(3000, 0, 0, 9000), 0);
    EXPECT_EQ(judge(2500, 0, 0, 9000), 0);
    EXPECT_EQ(judge(2500, 0, 0, 7501), 0);
    EXPECT_EQ(judge(2500, 0, 0, 7500), 1);
    EXPECT_EQ(judge(3000, 0, 0, 9000), 0);
    EXPECT_EQ(judge(2499, 0, 0, 9000), 1);
    RULES(1, 5, "share < 30%");
    EXPECT_EQ(judge(2999, 0, 0, 0), 0);
    EXPECT_EQ(judge(3499, 0, 0, 0), 0);
    EXPECT_EQ(judge(3500, 0, 0, 0), -1);
    EXPECT_EQ(judge(3000, 0, 0, 0), -1);
}

TEST(settle_counts_evaluations_that_agree)
{
    RULES(3, 0, "share > 50%", "share > 30%");
    EXPECT_EQ(judge(6000, 0, 0, 0), -1);
    EXPECT_EQ(judge(6000, 0, 0, 0), -1);
    EXPECT_EQ(judge(4000, 0, 0, 0), -1); /* another one: from the start */
    EXPECT_EQ(judge(6000, 0, 0, 0), -1);
    EXPECT_EQ(judge(6000, 0, 0, 0), -1);
    EXPECT_EQ(judge(6000, 0, 0, 0), 0);
    EXPECT_EQ(judge(1000, 0, 0, 0), 0);
    EXPECT_EQ(judge(1000, 0, 0, 0), 0);
    EXPECT_EQ(judge(6000, 0, 0, 0), 0); /* back to what stands */
    EXPECT_EQ(judge(1000, 0, 0, 0), 0);
    EXPECT_EQ(judge(1000, 0, 0, 0), 0);
    EXPECT_EQ(judge(1000, 0, 0, 0), -1);
    EXPECT_EQ(engine.of[6].switches, 2);
}

TEST(a_class_without_retires_keeps_its_decision)
{
    RULES(2, 0, "share > 50%");
    judge(6000, 0, 0, 0);
    interval.of[6] = (struct hak_learner_ratios){0};
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(hak_learner_judge(&engine, &interval), 0);
    EXPECT_EQ(judge(6000, 0, 0, 0), 0); /* the second that says so */
    interval.of[6] = (struct hak_learner_ratios){0};
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(hak_learner_judge(&engine, &interval), 0);
    EXPECT_EQ(engine.of[6].rule, 0);
}

TEST(a_rule_with_the_same_route_is_no_decision)
{
    RULES(1, 0, "share > 30%", "share > 20%", "share > 10%");
    EXPECT_EQ(judge(1500, 0, 0, 0), 2);
    EXPECT_EQ(engine.decisions, 1);
    EXPECT_EQ(judge(3500, 0, 0, 0), 0); /* midmt, too */
    EXPECT_EQ(engine.decisions, 1);
    EXPECT_EQ(judge(2500, 0, 0, 0), 1);
    EXPECT_EQ(engine.of[6].switches, 2);
    EXPECT_EQ(read_env("[rule r]\nclasses = C6\nroute = ultra\n", NULL, NULL),
              0);
    hak_learner_begin(&engine, &conf);
    conf.learner.settle = 1;
    EXPECT_EQ(judge(1500, 0, 0, 0), 0); /* where [policy] has it */
    EXPECT_EQ(engine.decisions, 0);
    EXPECT_EQ(read_text(BOXES "[policy]\nC0-C5 = ultra\n385-448 = midmt\n"
                              "449-32k = ultra\n32769- = large\n"
                              "[learner]\nsettle = 1\n"
                              "[rule r]\nclasses = C6\nroute = ultra\n"),
              0);
    hak_learner_begin(&engine, &conf);
    EXPECT_EQ(judge(1500, 0, 0, 0), 0); /* a part of the class changes */
    EXPECT_EQ(engine.decisions, 1);
}

TEST(other_classes_are_left_alone)
{
    RULES(1, 0, "");
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        interval.of[c] = (struct hak_learner_ratios){1, 1, {10000}};
    EXPECT_EQ(hak_learner_judge(&engine, &interval), 1u << 6);
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        EXPECT_EQ(engine.of[c].rule, c == 6 ? 0 : -1);
}

TEST(a_rule_that_cannot_be_used_is_passed_over)
{
    RULES(1, 0, "share > 30%", "share > 20%");
    EXPECT_EQ(judge(4000, 0, 0, 0), 0);
    engine.unusable = 1;
    EXPECT_EQ(judge(4000, 0, 0, 0), 1);
    engine.unusable = 3;
    EXPECT_EQ(judge(4000, 0, 0, 0), -1);
    engine.unusable = 0;
    EXPECT_EQ(judge(4000, 0, 0, 0), 0);
    RULES(3, 0, "share > 30%");
    for (int i = 0; i < 3; i++)
        judge(4000, 0, 0, 0);
    EXPECT_EQ(engine.of[6].rule, 0);
    engine.unusable = 1;
    interval.of[6] = (struct hak_learner_ratios){0}; /* its sizes go to libc */
    EXPECT_EQ(hak_learner_judge(&engine, &interval), 1u << 6);
    EXPECT_EQ(engine.of[6].rule, -1);
    EXPECT_EQ(hak_learner_judge(&engine, &interval), 0);
}

/* ---- patterns ---------------------------------------------------------- */

/*
 * A pattern makes records as boxes with 64 KiB pages would: how often a page
 * of a class retires follows from its share of the allocations and from how
 * many a page of it sees. Allocations, local frees and slots used of each
 * page are spread at random about what the pattern says.
 */
static uint64_t noise;

/* 0 .. 1 */
static double chance(void)
{
    noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
    return (double)(noise >> 11) * 0x1p-53;
}

struct phase {
    double share[HAK_CLASSES]; /* in percent; need not add up */
    double free_hit;           /* 0 .. 1 */
    const char *best[3];       /* routes of C5, C6, C7; NULL: not used */
    int evaluations;           /* 0: to the end */
};

struct pattern {
    const char *name;
    int burst; /* retires of one class in a row, mean */
    struct phase phase[2];
};

enum { EVALUATIONS = 80, SEEDS = 25 };
/* evaluations after a start or a change of phase; scored from SETTLED on */
enum { SETTLED = 6, SETTLED_IN_BURSTS = 16 };

/* tests/lib/learner.ini: what is light, or freed by others, to mid_v35. */
#define HOT "ultra"
#define COLD "mid_v35"
#define C6_HEAVY                                            \
    .share = {1, 1, 2, 3, 3, 10, 70, 10}, .free_hit = 0.97, \
    .best = {COLD, HOT, COLD}, .evaluations = 20
#define C7_HEAVY                                            \
    .share = {1, 1, 2, 3, 3, 10, 10, 70}, .free_hit = 0.97, \
    .best = {COLD, COLD, HOT}, .evaluations = 20

static const struct pattern patterns[] = {
    {"C6-heavy", 1, {{C6_HEAVY}}},
    {"C7-heavy", 1, {{C7_HEAVY}}},
    {"257..512 bytes",
     1,
     {{{0, 0, 0, 0, 0, 50, 50, 0}, 0.95, {HOT, HOT, NULL}, 0}}},
    {"16..1024 bytes",
     1,
     {{{.1, 1.6, 3.2, 6.3, 12.7, 12.7, 12.7, 50.7},
       0.95,
       {COLD, COLD, HOT},
       0}}},
    {"small blocks",
     1,
     {{{20, 20, 20, 20, 10, 4, 3, 3}, 0.95, {COLD, COLD, COLD}, 0}}},
    {"a third and a fifth",
     1,
     {{{2, 2, 3, 5, 5, 20, 40, 23}, 0.9, {COLD, HOT, COLD}, 0}}},
    {"handed to others",
     1,
     {{{1, 1, 2, 3, 3, 10, 70, 10}, 0.2, {COLD, COLD, COLD}, 0}}},
    {"phases C6, C7", 1, {{C6_HEAVY}, {C7_HEAVY}}},
    {"phases own, handed",
     1,
     {{{1, 1, 2, 3, 3, 10, 10, 70}, 0.95, {COLD, COLD, HOT}, 20},
      {{1, 1, 2, 3, 3, 10, 10, 70}, 0.1, {COLD, COLD, COLD}, 20}}},
    {"bursts of C6",
     12,
     {{{1, 1, 2, 3, 3, 10, 65, 15}, 0.95, {COLD, HOT, COLD}, 0}}},
    {"bursts of C7",
     12,
     {{{1, 1, 2, 3, 3, 15, 10, 65}, 0.95, {COLD, COLD, HOT}, 0}}},
};

static uint32_t class_capacity(uint32_t c)
{
    return (uint32_t)(HAK_GRANULE_BYTES / hak_class_bytes(c));
}

static uint32_t pick_class(const double *share)
{
    double rate[HAK_CLASSES], sum = 0;
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        sum += rate[c] = share[c] / class_capacity(c);
    double at = chance() * sum;
    uint32_t c = 0;
    while (c < HAK_CLASSES - 1 && (at -= rate[c]) >= 0)
        c++;
    return c;
}

static void add_page(uint32_t c, double free_hit)
{
    uint32_t capacity = class_capacity(c);
    double turns = 0.6 + 0.8 * chance(); /* how often each slot was used */
    double hit = free_hit + (chance() - 0.5) * 0.3;
    hit = hit > 1 ? 1 : hit < 0 ? 0 : hit;
    struct hak_retire r = record((uint32_t)hak_class_bytes(c), 0, 0);
    r.used = (uint32_t)(capacity * (0.5 + chance() / 2));
    r.allocations = r.frees = (uint64_t)(capacity * turns);
    r.local_frees = (uint64_t)((double)r.frees * hit);
    EXPECT(hak_tally_add(tally, &r));
}

static void add_interval(const double *share, double free_hit, int burst)
{
    memcpy(before, tally, sizeof before);
    uint32_t c = pick_class(share);
    for (uint32_t i = 0; i < conf.learner.every; i++) {
        if (chance() * burst < 1)
            c = pick_class(share);
        add_page(c, free_hit);
    }
    hak_learner_look(before, tally, &interval);
    hak_learner_judge(&engine, &interval);
}

static const char *route_of(uint32_t c)
{
    int rule = engine.of[c].rule;
    return rule < 0 ? route_at(hak_class_bytes(c))
                    : conf.route[conf.learn_rule[rule].route].name;
}

struct score {
    long right, all;
    long unlearned; /* right if [policy] were left as it is */
    int settled;    /* most evaluations until all three classes were right */
    uint64_t switches;
};

/* One pattern with one seed. */
static void run(const struct pattern *p, uint64_t s, struct score *score)
{
    const struct phase *phase = p->phase;
    int since = 0;
    bool settled = false;
    noise = s * 0x9e3779b97f4a7c15ull;
    memset(tally, 0, sizeof tally);
    hak_learner_begin(&engine, &conf);
    for (int i = 0; i < EVALUATIONS; i++, since++) {
        if (p->phase[1].evaluations != 0 && since == phase->evaluations) {
            phase = phase == p->phase ? p->phase + 1 : p->phase;
            since = 0;
            settled = false;
        }
        add_interval(phase->share, phase->free_hit, p->burst);
        long right = 0, unlearned = 0, all = 0;
        for (uint32_t c = 5; c < 8; c++) {
            const char *best = phase->best[c - 5];
            if (best == NULL)
                continue;
            all++;
            right += strcmp(route_of(c), best) == 0;
            unlearned += strcmp(route_at(hak_class_bytes(c)), best) == 0;
        }
        settled |= right == all;
        if (!settled && since + 1 >= score->settled)
            score->settled = since + 2;
        if (since < SETTLED)
            continue;
        score->right += right;
        score->unlearned += unlearned;
        score->all += all;
    }
    for (uint32_t c = 5; c < 8; c++)
        score->switches += engine.of[c].switches;
}

TEST(accuracy)
{
    struct score sum = {.all = 0};
    EXPECT_EQ(read_file(TEST_TOP "/tests/lib/learner.ini", NULL, NULL), 0);
    printf("# %-20s %9s %9s %8s %9s\n", "pattern", "right", "[policy]",
           "settled", "switches");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct score score = {.settled = 1};
        for (uint64_t s = 1; s <= SEEDS; s++)
            run(&patterns[i], s, &score);
        double percent = 100 * (double)score.right / (double)score.all;
        printf("# %-20s %7.2f %% %7.2f %% %8d %9.1f\n", patterns[i].name,
               percent, 100 * (double)score.unlearned / (double)score.all,
               score.settled, (double)score.switches / SEEDS);
        fflush(stdout);
        EXPECT_GT(percent, 90);
        EXPECT_LE(score.settled,
                  patterns[i].burst == 1 ? SETTLED : SETTLED_IN_BURSTS);
        sum.right += score.right;
        sum.all += score.all;
        sum.unlearned += score.unlearned;
    }
    printf("# %-20s %7.2f %% %7.2f %%\n", "all",
           100 * (double)sum.right / (double)sum.all,
           100 * (double)sum.unlearned / (double)sum.all);
    fflush(stdout);
    EXPECT_GT(sum.right * 100, sum.all * 90);
}

/* ---- about a threshold ------------------------------------------------- */

/*
 * Switches of C6 over all seeds, a run: its share goes between low and high,
 * four windows each, about the 30 % where a rule begins to hold.
 */
static double swing(uint32_t settle, uint32_t margin, double low, double high)
{
    uint64_t switches = 0;
    EXPECT_EQ(read_file(TEST_TOP "/tests/lib/learner.ini", NULL, NULL), 0);
    conf.learner.settle = settle;
    conf.learner.margin_bps = margin * 100;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        noise = s * 0x9e3779b97f4a7c15ull;
        memset(tally, 0, sizeof tally);
        hak_learner_begin(&engine, &conf);
        for (int i = 0; i < EVALUATIONS; i++) {
            double c6 = i / 4 % 2 ? low : high;
            double share[HAK_CLASSES] = {[6] = c6, [7] = 100 - c6};
            add_interval(share, 0.97, 1);
        }
        switches += engine.of[6].switches;
    }
    double a_run = (double)switches / SEEDS;
    printf("# settle %u, margin %u, share %2.0f .. %.0f %%: %5.1f switches\n",
           settle, margin, low, high, a_run);
    fflush(stdout);
    return a_run;
}

TEST(flapping)
{
    EXPECT_GT(swing(1, 0, 28, 32), 20);
    EXPECT_GT(swing(1, 5, 28, 32), 10);
    EXPECT_GT(swing(3, 0, 28, 32), 5);
    EXPECT_LE(swing(3, 5, 28, 32) * 10, 20); /* as the file says */
    EXPECT_GT(swing(3, 5, 15, 45), 15);      /* no noise: it follows */
    EXPECT_LE(swing(5, 5, 15, 45) * 10, 10); /* longer than it lasts */
}

/* ---- the rules of conf/learner.ini -------------------------------------- */

/* Decisions in a run of 80 evaluations of traffic with these shares. */
static uint64_t decisions(const double share[HAK_CLASSES], double free_hit,
                          uint64_t seed)
{
    noise = seed * 0x9e3779b97f4a7c15ull;
    memset(tally, 0, sizeof tally);
    hak_learner_begin(&engine, &conf);
    for (int i = 0; i < EVALUATIONS; i++)
        add_interval(share, free_hit, 1);
    return engine.decisions;
}

TEST(rules_for_users_move_what_has_many_pages_and_little_traffic)
{
    static const double c7_light[] = {10, 30, 30, 15, 5, 0, 0, 10},
                        uniform[] = {.1, 1.6, 3.2, 6.3, 12.7, 12.7, 12.7, 50.7},
                        c5_c6[HAK_CLASSES] = {[5] = 50, [6] = 50};
    EXPECT_EQ(read_file(TEST_TOP "/conf/learner.ini", NULL, NULL), 0);
    for (uint64_t s = 1; s <= SEEDS; s++) {
        EXPECT_EQ(decisions(uniform, 0.97, s), 0);
        EXPECT_EQ(decisions(c5_c6, 0.97, s), 0);
        EXPECT_EQ(decisions(c7_light, 0.97, s), 1);
        EXPECT_STR(route_of(7), "mid_v35");
        EXPECT_EQ(decisions(c7_light, 0.65, s), 0);
    }
}

/* Figures of C6 as judge() has them. */
TEST(rules_for_users_move_a_class_back_only_when_most_traffic_is_of_it)
{
    EXPECT_EQ(read_file(TEST_TOP "/conf/learner.ini", NULL, NULL), 0);
    hak_learner_begin(&engine, &conf);
    EXPECT_EQ(judge(2500, 9000, 10000, 10000), -1);
    EXPECT_EQ(judge(2499, 3000, 10000, 10000), -1);
    EXPECT_EQ(judge(2499, 3001, 10000, 9000), -1);
    EXPECT_EQ(judge(2499, 3001, 10000, 10000), 0);
    EXPECT_STR(route_of(6), "mid_v35");
    EXPECT_EQ(judge(7000, 10, 10000, 10000), 0);
    EXPECT_EQ(judge(7500, 9000, 10000, 10000), -1);
    EXPECT_STR(route_of(6), "ultra");
}

TEST_MAIN()

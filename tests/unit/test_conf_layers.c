/* SPDX-License-Identifier: MIT
 * test_conf_layers.c - values, routes and rules; file, profile, environment.
 */
#include "conf_reading.h"

/* ---- values and their origins -------------------------------------------- */

TEST(built_in_values)
{
    EXPECT_EQ(read_text(BOXES POLICY), 0);
    EXPECT_EQ(conf.fallback, HAK_FALLBACK_LIBC);
    EXPECT_EQ(conf.free_route, HAK_FREE_DIRECTORY);
    EXPECT(!conf.verify && !conf.strict && !conf.stats_json);
    EXPECT(!conf.sized_delete && !conf.match_delete);
    EXPECT_EQ(conf.purge_delay_ms, 100);
    EXPECT_EQ(conf.sample, -1);
    EXPECT_EQ(conf.sample_every, 5000);
    EXPECT_STR(conf.stats_at_exit, "none");
    EXPECT(conf.profile == NULL && conf.box[0].path == NULL);
    EXPECT(conf.box[0].lanes);
    expect_origin(conf.fallback_origin, "built-in", 0);
    expect_origin(conf.box[1].path_origin, "built-in", 0);
    expect_origin(conf.box[1].origin, "t.ini", 2);
    expect_origin(hak_conf_origin(&conf, "core", "strict"), "built-in", 0);
}

TEST(values_of_the_file)
{
    EXPECT_EQ(read_env("[core]\nfallback = none\nfree_route = owns\n"
                       "verify = on\nstrict = true\npurge_delay_ms = 0\n"
                       "sized_delete = yes\n"
                       "match_delete = yes\n"
                       "[stats]\nat_exit = /tmp/a b\nformat = json\n",
                       NULL, NULL),
              0);
    EXPECT_EQ(conf.fallback, HAK_FALLBACK_NONE);
    EXPECT_EQ(conf.free_route, HAK_FREE_OWNS);
    EXPECT(conf.verify && conf.strict && conf.stats_json);
    EXPECT(conf.sized_delete && conf.match_delete);
    EXPECT_EQ(conf.purge_delay_ms, 0);
    EXPECT_STR(conf.stats_at_exit, "/tmp/a b");
    expect_origin(conf.fallback_origin, "t.ini", 9);
    expect_origin(conf.free_route_origin, "t.ini", 10);
    expect_origin(hak_conf_origin(&conf, "stats", "format"), "t.ini", 18);
}

/* Found after sorting; used and not warned about, though no rule names it. */
TEST(sampling_box)
{
    EXPECT_EQ(read_env("[core]\nsample = probe\nsample_every = 7\n"
                       "[box probe]\n[box off]\n[route r]\nbox = off\n"
                       "enabled = no\n",
                       (char *[]){"HAKMEM_BOX_PROBE_PRIORITY=5", NULL}, NULL),
              0);
    EXPECT_EQ(conf.sample, 1);
    EXPECT_STR(conf.box[1].name, "probe");
    EXPECT(conf.box[1].used);
    EXPECT_EQ(conf.sample_every, 7);
    EXPECT_EQ(conf.nwarnings, 0);
}

TEST(boxes_are_sorted_by_priority)
{
    EXPECT_EQ(read_text("[box a]\npriority = 15\n[box b]\n[box c]\n"
                        "priority = -1\n[box d]\n[policy]\n0-1k = a\n"
                        "1025-2k = b\n2049-4k = c\n4097- = d\n"),
              0);
    EXPECT_STR(conf.box[0].name, "c");
    EXPECT_STR(conf.box[1].name, "b");
    EXPECT_STR(conf.box[2].name, "a");
    EXPECT_STR(conf.box[3].name, "d");
    EXPECT_EQ(conf.box[1].priority, 10);
    EXPECT_EQ(conf.box[3].priority, 30);
    EXPECT_STR(route_at(100), "a"); /* positions were followed */
    EXPECT_STR(chain_of("c"), "c > libc");
}

/* ---- routes -------------------------------------------------------------- */

TEST(chain_follows_routes_and_boxes)
{
    EXPECT_EQ(read_text("[core]\nfallback = none\n" BOXES
                        "[route a]\nbox = ultra\nfallback = b\n"
                        "[route b]\nbox = midmt\nfallback = large\n"
                        "[route c]\nbox = large\nfallback = libc\n"
                        "[policy]\nC0-C7 = a\n1025-32k = b\n32769- = c\n"),
              0);
    EXPECT_STR(chain_of("a"), "ultra midmt large > none");
    EXPECT_STR(chain_of("b"), "midmt large > none");
    EXPECT_STR(chain_of("c"), "large > libc");
    expect_origin(conf.route[0].origin, "t.ini", 7);
}

TEST(none_ends_a_chain)
{
    EXPECT_EQ(read_text(BOXES "[route a]\nbox = ultra\nfallback = b\n"
                              "[route b]\nbox = midmt\nfallback = none\n"
                              "[policy]\n0-32k = a\n32769- = large\n"),
              0);
    EXPECT_STR(chain_of("a"), "ultra midmt > none");
    EXPECT_STR(chain_of("large"), "large > libc");
    EXPECT_EQ(read_env("[core]\nfallback = none\n", NULL, NULL), 0);
    EXPECT_STR(chain_of("large"), "large > none");
}

TEST(chain_of_eight_is_the_longest)
{
    char text[2048] = "";
    for (int i = 0; i < 8; i++)
        sprintf(text + strlen(text), "[box b%d]\n[route r%d]\nbox = b%d\n", i,
                i, i);
    strcat(text, "[policy]\n0- = r0\n[profile all]\n");
    for (int i = 0; i < 7; i++)
        sprintf(text + strlen(text), "route r%d.fallback = r%d\n", i, i + 1);
    EXPECT_EQ(read_bytes(text, strlen(text), NULL, "all"), 0);
    EXPECT_STR(told, "");
    EXPECT_STR(chain_of("r0"), "b0 b1 b2 b3 b4 b5 b6 b7 > libc");
}

TEST(comma_list_gives_a_rule_an_item)
{
    EXPECT_EQ(read_text(BOXES "[policy]\nC0 , C2-C3,1025-1k = ultra\n"),
              -EINVAL);
    EXPECT_STR(told, "error 5: in [policy]: \"1025-1k\" is upside down: 1025 "
                     "is above 1k\n");
    EXPECT_EQ(read_text(BOXES "[policy]\nC0 , C2 - C3,1025-2k = ultra\n"
                              "C1,C4-C7 = midmt\n2049- = large\n"),
              0);
    EXPECT_EQ(conf.nrules, 6);
    EXPECT_STR(route_at(16), "ultra");
    EXPECT_STR(route_at(17), "midmt");
    EXPECT_STR(route_at(33), "ultra");
    EXPECT_STR(route_at(129), "midmt");
    EXPECT_STR(route_at(2048), "ultra");
    EXPECT_STR(conf.rule[1].text, "C0 , C2 - C3,1025-2k");
}

/* ---- learner ------------------------------------------------------------- */

#define RULES                                                                 \
    "[rule hot]\nclasses = C5, C7\nroute = midmt\n"                           \
    "when = share>=30%, retire <50 %, utilisation > 6000bps,free_hit<=0bps\n" \
    "[route mid]\nbox = midmt\nfallback = large\n"                            \
    "[rule cold]\nroute = mid\nclasses = C0-C2,C5-C6\n"

TEST(learner_built_in)
{
    EXPECT_EQ(read_text(BOXES POLICY), 0);
    EXPECT_EQ(conf.learner.mode, HAK_LEARN_OFF);
    EXPECT_EQ(conf.learner.every, 256);
    EXPECT_EQ(conf.learner.settle, 3);
    EXPECT_EQ(conf.learner.margin_bps, 500);
    EXPECT_STR(conf.learner.log, "none");
    EXPECT_EQ(conf.learner.nrules, 0);
}

static void expect_condition(const struct hak_conf_condition *when, int figure,
                             int compare, int bps)
{
    EXPECT_EQ(when->figure, figure);
    EXPECT_EQ(when->compare, compare);
    EXPECT_EQ(when->bps, bps);
}

TEST(learner_rules_in_the_order_of_the_file)
{
    EXPECT_EQ(read_env("[learner]\nmode = apply\nevery = 64\nsettle = 2\n"
                       "margin = 7\nlog = /tmp/a b\n" RULES,
                       NULL, NULL),
              0);
    EXPECT_STR(told, "");
    EXPECT_EQ(conf.learner.mode, HAK_LEARN_APPLY);
    EXPECT_EQ(conf.learner.every, 64);
    EXPECT_EQ(conf.learner.settle, 2);
    EXPECT_EQ(conf.learner.margin_bps, 700);
    EXPECT_STR(conf.learner.log, "/tmp/a b");
    EXPECT_EQ(conf.learner.nrules, 2);
    const struct hak_conf_learn_rule *r = conf.learn_rule;
    EXPECT_STR(r[0].name, "hot");
    EXPECT_EQ(r[0].classes, 0xa0);
    EXPECT_EQ(r[0].nwhen, 4);
    expect_condition(&r[0].when[0], HAK_LEARN_SHARE, HAK_LEARN_AT_LEAST, 3000);
    expect_condition(&r[0].when[1], HAK_LEARN_RETIRE, HAK_LEARN_BELOW, 5000);
    expect_condition(&r[0].when[2], HAK_LEARN_UTILISATION, HAK_LEARN_ABOVE,
                     6000);
    expect_condition(&r[0].when[3], HAK_LEARN_FREE_HIT, HAK_LEARN_AT_MOST, 0);
    EXPECT_STR(conf.route[r[0].route].name, "midmt");
    EXPECT_STR(r[1].name, "cold");
    EXPECT_EQ(r[1].classes, 0x67);
    EXPECT_EQ(r[1].nwhen, 0);
    EXPECT_STR(conf.route[r[1].route].name, "mid");
    EXPECT_EQ(conf.nroutes, 4); /* mid, and one for each box of [policy] */
}

TEST(learner_by_profile_and_environment)
{
    EXPECT_EQ(
        read_env(RULES "[profile fast]\nlearner.mode = observe\n"
                       "rule hot.when = share > 1%\n",
                 ENV("HAKMEM_LEARNER_MODE=apply", "HAKMEM_LEARNER_EVERY=16",
                     "HAKMEM_RULE_COLD_ROUTE=large"),
                 "fast"),
        0);
    EXPECT_STR(told, "");
    EXPECT_EQ(conf.learner.mode, HAK_LEARN_APPLY);
    EXPECT_EQ(conf.learner.every, 16);
    EXPECT_EQ(conf.learn_rule[0].nwhen, 1);
    expect_condition(&conf.learn_rule[0].when[0], HAK_LEARN_SHARE,
                     HAK_LEARN_ABOVE, 100);
    EXPECT_STR(conf.route[conf.learn_rule[1].route].name, "large");
    read_env("", ENV("HAKMEM_LEARNER_MOD=off", "HAKMEM_LEARNER_MODE=no"), NULL);
    EXPECT_STR(told,
               "warning environment HAKMEM_LEARNER_MOD: unknown variable; did "
               "you mean \"HAKMEM_LEARNER_MODE\"?\n"
               "error environment HAKMEM_LEARNER_MODE: \"mode\" in [learner]: "
               "\"no\" is none of off, observe, apply\n");
}

TEST(a_rule_of_the_learner_reaches_its_boxes)
{
    EXPECT_EQ(
        read_text(BOXES "[policy]\n0-32k = ultra\n32769- = large\n" RULES), 0);
    EXPECT_STR(told, "");
}

/* ---- profiles ------------------------------------------------------------ */

#define PROFILES                                                 \
    "[core]\nverify = no\nstrict = yes\n"                        \
    "[profile fast]\ncore.verify = yes\nbox ultra.lanes = off\n" \
    "policy.C4-C7 = midmt\nbox large.keep = 3\n"                 \
    "[profile slow]\ncore.strict = no\n"

TEST(profile_overrides_the_file)
{
    EXPECT_EQ(read_env(PROFILES, NULL, "fast"), 0);
    EXPECT_STR(told, "");
    EXPECT_STR(conf.profile, "fast");
    EXPECT(conf.verify && conf.strict && !conf.box[0].lanes);
    expect_origin(hak_conf_origin(&conf, "core", "verify"), "t.ini", 12);
    expect_origin(hak_conf_origin(&conf, "box large", "keep"), "t.ini", 15);
    EXPECT_STR(route_at(128), "ultra");
    EXPECT_STR(route_at(129), "midmt");
    EXPECT_STR(route_at(1024), "midmt");
    expect_origin(conf.rule[conf.index_rule[64]].origin, "t.ini", 14);
}

TEST(profile_not_chosen_changes_nothing)
{
    EXPECT_EQ(read_env(PROFILES, NULL, NULL), 0);
    EXPECT(conf.profile == NULL);
    EXPECT(!conf.verify && conf.strict && conf.box[0].lanes);
    EXPECT_STR(route_at(1024), "ultra");
}

TEST(profile_above_what_it_overrides)
{
    /* Stands first in the file, and what it hides is judged all the same. */
    static const char text[] = "[profile p]\ncore.verify = yes\n[core]\n"
                               "verify = perhaps\n" BOXES POLICY;
    EXPECT_EQ(read_bytes(text, strlen(text), NULL, "p"), -EINVAL);
    EXPECT_STR(told, "error 4: \"verify\" in [core]: \"perhaps\" " BOOLS "\n");
    EXPECT(conf.verify);
}

TEST(profile_from_the_environment)
{
    EXPECT_EQ(read_env(PROFILES, ENV("HAKMEM_PROFILE=slow"), NULL), 0);
    EXPECT_STR(conf.profile, "slow");
    EXPECT(!conf.strict);
    EXPECT_EQ(read_env(PROFILES, ENV("HAKMEM_PROFILE=slow"), "fast"), 0);
    EXPECT_STR(conf.profile, "fast");
    EXPECT_EQ(read_env(PROFILES, ENV("HAKMEM_PROFILE="), NULL), 0);
    EXPECT(conf.profile == NULL);
}

TEST(profile_that_is_not_there)
{
    EXPECT_EQ(read_env(PROFILES, NULL, "quick"), -EINVAL);
    EXPECT_STR(told,
               "error 0: no [profile quick] in t.ini; known: fast, slow\n");
    EXPECT_EQ(read_env("", ENV("HAKMEM_PROFILE=quick"), NULL), -EINVAL);
    EXPECT_STR(told, "error environment HAKMEM_PROFILE: no [profile quick] in "
                     "t.ini; it has no profile\n");
}

TEST(key_twice_in_the_chosen_profile)
{
    static const char text[] = "[profile p]\nbox ultra.lanes = off\n"
                               "box  ultra.lanes = on\n";
    EXPECT_EQ(read_env(text, NULL, NULL), 0);
    EXPECT_EQ(read_env(text, NULL, "p"), -EINVAL);
    EXPECT_STR(told, "error 10: \"lanes\" given twice in [box ultra]; first in "
                     "line 9\n");
}

TEST(overlap_within_the_chosen_profile)
{
    EXPECT_EQ(read_env("[profile p]\npolicy.C4-C7 = large\npolicy.C7 = midmt\n",
                       NULL, "p"),
              -EINVAL);
    EXPECT_STR(told, "error 10: \"C7\" and \"C4-C7\" of line 9 both cover "
                     "513-1024\n");
}

/* ---- environment --------------------------------------------------------- */

TEST(environment_overrides_file_and_profile)
{
    EXPECT_EQ(
        read_env(PROFILES,
                 ENV("HAKMEM_CORE_VERIFY=off", "HAKMEM_STATS_AT_EXIT=x",
                     "HAKMEM_BOX_ULTRA_LANES=yes", "PATH=/bin",
                     "HAKMEM_BOX_MIDMT_PATH=/m.so", "HAKMEM_BOX_LARGE_KEEP=4",
                     "HAKMEM_CONF=x", "HAKMEM_BENCH_MIN_SIZE=16"),
                 "fast"),
        0);
    EXPECT_STR(told, "");
    EXPECT(!conf.verify && conf.box[0].lanes);
    EXPECT_STR(conf.stats_at_exit, "x");
    EXPECT_STR(conf.box[1].path, "/m.so");
    EXPECT_STR(hak_conf_find(&conf, "box large", "keep")->value, "4");
    expect_origin(conf.box[1].path_origin, "environment HAKMEM_BOX_MIDMT_PATH",
                  0);
    expect_origin(hak_conf_origin(&conf, "core", "verify"),
                  "environment HAKMEM_CORE_VERIFY", 0);
}

TEST(environment_gives_policy)
{
    EXPECT_EQ(
        read_env("",
                 ENV("HAKMEM_POLICY_C4_C5=midmt", "HAKMEM_POLICY_32769_=midmt",
                     "HAKMEM_POLICY_4097_8K=large"),
                 NULL),
        0);
    EXPECT_STR(told, "");
    EXPECT_STR(route_at(128), "ultra");
    EXPECT_STR(route_at(384), "midmt");
    EXPECT_STR(route_at(385), "ultra");
    EXPECT_STR(route_at(8192), "large");
    EXPECT_STR(route_at(8193), "midmt");
    EXPECT_STR(route_at(40000), "midmt");
    expect_origin(conf.rule[conf.index_rule[20]].origin,
                  "environment HAKMEM_POLICY_C4_C5", 0);
}

TEST(environment_overlaps_itself)
{
    EXPECT_EQ(
        read_env("",
                 ENV("HAKMEM_POLICY_C4_C5=midmt", "HAKMEM_POLICY_C5_C6=large"),
                 NULL),
        -EINVAL);
    EXPECT_STR(told, "error environment HAKMEM_POLICY_C5_C6: \"C5-C6\" and "
                     "\"C4-C5\" of environment HAKMEM_POLICY_C4_C5 both cover "
                     "257-384\n");
}

TEST(environment_names_sections_by_the_longest)
{
    EXPECT_EQ(read_text("[box mid]\n[box mid_v35]\n[policy]\n0-1k = mid\n"
                        "1025- = mid_v35\n"),
              0);
    static const char text[] =
        "[box mid]\n[box mid-v35]\n[route r]\nbox = mid\n[policy]\n0-1k = mid\n"
        "1025- = mid-v35\n";
    EXPECT_EQ(
        read_bytes(text, strlen(text),
                   ENV("HAKMEM_BOX_MID_V35_LANES=no", "HAKMEM_BOX_MID_V36_X=1",
                       "HAKMEM_ROUTE_R_FALLBACK=mid-v35"),
                   NULL),
        0);
    EXPECT_STR(told, "");
    EXPECT(conf.box[0].lanes && !conf.box[1].lanes);
    EXPECT_STR(hak_conf_find(&conf, "box mid", "v36_x")->value, "1");
    EXPECT_STR(chain_of("r"), "mid mid-v35 > libc");
}

TEST(environment_with_bad_values)
{
    EXPECT_EQ(read_env("",
                       ENV("HAKMEM_CORE_VERIFY=2", "HAKMEM_POLICY_C9=ultra",
                           "HAKMEM_POLICY_C4=utlra", "HAKMEM_CORE_STRICT="),
                       NULL),
              -EINVAL);
    EXPECT_STR(told,
               "error environment HAKMEM_CORE_VERIFY: \"verify\" in [core]: "
               "\"2\" " BOOLS "\n"
               "error environment HAKMEM_POLICY_C9: in [policy]: \"C9\": the "
               "classes are C0 to C7\n"
               "error environment HAKMEM_POLICY_C4: \"C4\" in [policy]: there "
               "is no box or route \"utlra\"; did you mean \"ultra\"?\n"
               "error environment HAKMEM_CORE_STRICT: empty value for "
               "\"strict\" in [core]\n");
}

TEST(environment_with_unknown_names)
{
    EXPECT_EQ(read_env("",
                       ENV("HAKMEM_CORE_VERFIY=1", "HAKMEM_CNF=x",
                           "HAKMEM_BOX_ULTRO_LANES=1", "HAKMEM_=",
                           "HAKMEM_OTHER=1", "HAKMEM_POLICY_=ultra"),
                       NULL),
              0);
    EXPECT_STR(told,
               "warning environment HAKMEM_CORE_VERFIY: unknown variable; did "
               "you mean \"HAKMEM_CORE_VERIFY\"?\n"
               "warning environment HAKMEM_CNF: unknown variable; did you mean "
               "\"HAKMEM_CONF\"?\n"
               "warning environment HAKMEM_BOX_ULTRO_LANES: unknown variable; "
               "did you mean \"HAKMEM_BOX_ULTRA_LANES\"?\n"
               "warning environment HAKMEM_: unknown variable\n"
               "warning environment HAKMEM_OTHER: unknown variable\n"
               "warning environment HAKMEM_POLICY_: unknown variable\n");
    EXPECT_EQ(conf.nwarnings, 6);
}

TEST(environment_with_a_name_twice)
{
    EXPECT_EQ(
        read_env("", ENV("HAKMEM_CORE_VERIFY=1", "HAKMEM_CORE_VERIFY=0"), NULL),
        0);
    EXPECT_STR(told, "");
    EXPECT(conf.verify); /* as getenv has it */
}

TEST(environment_may_go_away)
{
    char variable[] = "HAKMEM_STATS_AT_EXIT=stderr";
    EXPECT_EQ(read_env("", ENV(variable), NULL), 0);
    memset(variable, 'x', sizeof variable - 1);
    EXPECT_STR(conf.stats_at_exit, "stderr");
    expect_origin(hak_conf_origin(&conf, "stats", "at_exit"),
                  "environment HAKMEM_STATS_AT_EXIT", 0);
}

/* ---- parameters of a box ------------------------------------------------- */

enum { P_FLAG, P_COUNT, P_BYTES, P_AGE, P_KIND, P_NOTE, NPARAMS };
static const struct hak_param params[NPARAMS] = {
    [P_FLAG] = {.name = "flag", .type = HAK_PARAM_BOOL, .def = 1},
    [P_COUNT] = {.name = "count", .type = HAK_PARAM_INT, .min = -5, .max = 9},
    [P_BYTES] = {.name = "page_bytes",
                 .type = HAK_PARAM_SIZE,
                 .min = 4096,
                 .max = 1 << 20,
                 .def = 65536},
    [P_AGE] = {.name = "age_ms", .type = HAK_PARAM_MS, .max = 1000},
    [P_KIND] = {.name = "kind",
                .type = HAK_PARAM_ENUM,
                .choices = "lifo|fifo|random",
                .def = 1},
    [P_NOTE] = {.name = "note", .type = HAK_PARAM_TEXT, .def_text = "none yet"},
};

static int read_params(const char *keys, union hak_value *values)
{
    char text[1024];
    snprintf(text, sizeof text, "[box a]\n%s[policy]\n0- = a\n", keys);
    EXPECT_EQ(read_text(text), 0);
    return hak_conf_params(&conf, &conf.box[0], params, NPARAMS, values);
}

TEST(params_default)
{
    union hak_value v[NPARAMS];
    EXPECT_EQ(read_params("lanes = off\n", v), 0);
    EXPECT_EQ(v[P_FLAG].i, 1);
    EXPECT_EQ(v[P_COUNT].i, 0);
    EXPECT_EQ(v[P_BYTES].i, 65536);
    EXPECT_EQ(v[P_KIND].i, 1);
    EXPECT_STR(v[P_NOTE].text, "none yet");
}

TEST(params_given)
{
    union hak_value v[NPARAMS];
    EXPECT_EQ(read_params("path = x\nflag = no\ncount = -0x5\n"
                          "page_bytes = 8KiB\nage_ms = 1000\nkind = random\n"
                          "note = f(a, b) -> c\n",
                          v),
              0);
    EXPECT_STR(told, "");
    EXPECT_EQ(v[P_FLAG].i, 0);
    EXPECT_EQ(v[P_COUNT].i, -5);
    EXPECT_EQ(v[P_BYTES].i, 8192);
    EXPECT_EQ(v[P_AGE].i, 1000);
    EXPECT_EQ(v[P_KIND].i, 2);
    EXPECT_STR(v[P_NOTE].text, "f(a, b) -> c");
}

TEST(params_bad)
{
    union hak_value v[NPARAMS];
    EXPECT_EQ(read_params("cuont = 1\npriorty = 1\ncount = 10\n"
                          "page_bytes = 2M\nage_ms = -1\nkind = lif\n"
                          "flag = 1\nvery_far_off = 1\n",
                          v),
              -EINVAL);
    EXPECT_STR(told,
               "error 2: unknown key \"cuont\" in [box a]; did you mean "
               "\"count\"?\n"
               "error 3: unknown key \"priorty\" in [box a]; did you mean "
               "\"priority\"?\n"
               "error 4: \"count\" in [box a]: 10 is out of bounds: -5 to 9\n"
               "error 5: \"page_bytes\" in [box a]: 2M is out of bounds: 4096 "
               "to 1048576\n"
               "error 6: \"age_ms\" in [box a]: -1 is out of bounds: 0 to "
               "1000\n"
               "error 7: \"kind\" in [box a]: \"lif\" is none of lifo, fifo, "
               "random\n"
               "error 9: unknown key \"very_far_off\" in [box a]\n");
    EXPECT_EQ(v[P_COUNT].i, 0); /* defaults where the text was bad */
    EXPECT_EQ(v[P_BYTES].i, 65536);
}

TEST(param_keeps_out_on_failure)
{
    union hak_value v = {.i = 42};
    char why[16];
    EXPECT_EQ(hak_conf_param(&params[P_COUNT], "1x", &v, NULL, 0), -EINVAL);
    EXPECT_EQ(hak_conf_param(&params[P_COUNT], "", &v, NULL, 0), -EINVAL);
    EXPECT_EQ(hak_conf_param(&params[P_COUNT], "99999999999999999999", &v, why,
                             sizeof why),
              -EINVAL);
    EXPECT_STR(why, "999999999999999"); /* cut, and ended */
    EXPECT_EQ(hak_conf_param(&params[P_KIND], "", &v, why, sizeof why),
              -EINVAL);
    EXPECT_EQ(v.i, 42);
}

TEST_MAIN()

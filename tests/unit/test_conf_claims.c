/* SPDX-License-Identifier: MIT
 * test_conf_claims.c - routes that claim classes, kinds in order, gates. */
#include "conf_reading.h"

#define KIND(name, rest) \
    "[box b_" name "]\n[route " name "]\nbox = b_" name "\n" rest "\n"
#define OFF "enabled = no"

static const struct hak_conf_box *box_of(const char *name)
{
    for (uint32_t i = 0; i < conf.nboxes; i++)
        if (strcmp(conf.box[i].name, name) == 0)
            return &conf.box[i];
    test_fail(__FILE__, __LINE__, "no box %s", name);
}

/* ---- classes ------------------------------------------------------------- */

TEST(classes_are_a_list_or_a_mask)
{
    static const struct {
        const char *text;
        uint8_t mask;
    } good[] = {{"C0", 0x01},   {"C5,C6", 0x60},   {"C4-C7", 0xf0},
                {"0x60", 0x60}, {"C0 - C2", 0x07}, {"c1, C3-c4", 0x1a},
                {"255", 0xff},  {"0", 0},          {"C7", 0x80}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint8_t mask = 0xee;
        EXPECT_EQ(hak_conf_classes(good[i].text, &mask, NULL, 0), 0);
        EXPECT_EQ(mask, good[i].mask);
    }
}

TEST(classes_that_are_none)
{
    static const char *const bad[] = {"C8",    "256",     "0x100",   "C7-C4",
                                      "ultra", "C4-1024", "257-512", "C5,",
                                      "",      "5x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char why[256] = "";
        uint8_t mask = 0x5a;
        EXPECT(hak_conf_classes(bad[i], &mask, why, sizeof why) < 0);
        EXPECT_EQ(mask, 0x5a);
        EXPECT(strlen(why) > 10);
    }
}

TEST(classes_are_judged_at_their_line)
{
    EXPECT(read_text(BOXES POLICY "[route V7]\nbox = ultra\n"
                                  "classes = C5,C9\n") != 0);
    EXPECT_STR(told, "error 10: \"classes\" in [route V7]: \"C9\": the "
                     "classes are C0 to C7\n");
}

TEST(enabled_is_a_boolean)
{
    EXPECT(read_text(BOXES POLICY "[route V7]\nbox = ultra\n"
                                  "enabled = 2\n") != 0);
    EXPECT_STR(told, "error 10: \"enabled\" in [route V7]: \"2\" " BOOLS "\n");
}

/* ---- claims -------------------------------------------------------------- */

TEST(claim_goes_before_policy)
{
    EXPECT_EQ(read_env(KIND("V7", "classes = C5,C7"), NULL, NULL), 0);
    EXPECT_STR(told, "");
    EXPECT_STR(route_at(256), "ultra");
    EXPECT_STR(route_at(257), "V7");
    EXPECT_STR(route_at(384), "V7");
    EXPECT_STR(route_at(385), "ultra");
    EXPECT_STR(route_at(513), "V7");
    EXPECT_STR(route_at(1024), "V7");
    EXPECT_STR(route_at(1025), "midmt");
    const struct hak_conf_rule *rule =
        &conf.rule[conf.index_rule[hak_index_of(300)]];
    EXPECT(rule->claim);
    EXPECT_STR(rule->text, "C5,C7");
}

TEST(class_0_is_claimed_with_requests_of_0_bytes)
{
    EXPECT_EQ(read_env(KIND("V7", "classes = C0"), NULL, NULL), 0);
    EXPECT_STR(route_at(0), "V7");
    EXPECT_STR(route_at(16), "V7");
    EXPECT_STR(route_at(17), "ultra");
}

/* Each kind claims one class less than the one before it. */
TEST(kinds_have_an_order)
{
    EXPECT_EQ(read_env(KIND("LEGACY", "classes = 0x3f")
                           KIND("other", "classes = 0x1f")
                               KIND("MID_V3", "classes = 0x0f")
                                   KIND("V7", "classes = 0x07")
                                       KIND("MID_V35", "classes = 0x03")
                                           KIND("ULTRA", "classes = 1"),
                       NULL, NULL),
              0);
    static const char *const by_class[] = {"ULTRA",  "MID_V35", "V7",
                                           "MID_V3", "other",   "LEGACY",
                                           "ultra",  "ultra"};
    for (uint32_t k = 0; k < 8; k++)
        EXPECT_STR(route_at(hak_class_bytes(k)), by_class[k]);
}

TEST(other_names_claim_in_the_order_of_the_file)
{
    EXPECT_EQ(read_env(KIND("second", "classes = C5")
                           KIND("a_first", "classes = C5,C6"),
                       NULL, NULL),
              0);
    EXPECT_STR(route_at(300), "second");
    EXPECT_STR(route_at(500), "a_first");
}

TEST(example_of_the_notes)
{
    EXPECT_EQ(read_text(KIND("ULTRA", "classes = C4,C7")
                            KIND("MID_V35", "classes = 0x60")
                                KIND("LEGACY", "classes = C0-C3") BOXES POLICY),
              0);
    static const char *const by_class[] = {"LEGACY",  "LEGACY", "LEGACY",
                                           "LEGACY",  "ULTRA",  "MID_V35",
                                           "MID_V35", "ULTRA"};
    for (uint32_t k = 0; k < 8; k++)
        EXPECT_STR(route_at(hak_class_bytes(k)), by_class[k]);
}

/* ---- enabled ------------------------------------------------------------- */

TEST(route_that_is_not_enabled_claims_nothing)
{
    EXPECT_EQ(read_env(KIND("V7", "classes = C5\n" OFF), NULL, NULL), 0);
    EXPECT_STR(told, "");
    EXPECT_STR(route_at(300), "ultra");
    EXPECT(!box_of("b_V7")->used);
    EXPECT(box_of("ultra")->used);
}

TEST(box_of_a_route_that_is_not_enabled_is_passed_over)
{
    EXPECT_EQ(read_text(KIND("V7", OFF "\nfallback = ultra") BOXES
                        "[policy]\nC0-C7 = V7\n1025-32k = midmt\n"
                        "32769- = large\n"),
              0);
    EXPECT_STR(chain_of("V7"), "ultra > libc");
    EXPECT(!box_of("b_V7")->used);
}

TEST(box_that_another_route_uses_is_used)
{
    EXPECT_EQ(read_env("[box b]\n[route V7]\nbox = b\n" OFF
                       "\n[route x]\nbox = ultra\nfallback = b\nclasses = C1\n",
                       NULL, NULL),
              0);
    EXPECT(box_of("b")->used);
}

TEST(box_that_a_policy_line_names_is_used)
{
    EXPECT_EQ(read_text("[box b]\n[route V7]\nbox = b\n" OFF "\n[policy]\n"
                        "C0-C7,1025- = b\n"),
              0);
    EXPECT(box_of("b")->used);
    EXPECT_STR(chain_of("b"), "b > libc");
}

/* ---- layers -------------------------------------------------------------- */

TEST(environment_enables_and_sets_classes)
{
    EXPECT_EQ(read_env(KIND("V7", "classes = C5\n" OFF),
                       ENV("HAKMEM_ROUTE_V7_ENABLED=yes",
                           "HAKMEM_ROUTE_V7_CLASSES=0x40"),
                       NULL),
              0);
    EXPECT_STR(route_at(300), "ultra");
    EXPECT_STR(route_at(500), "V7");
}

TEST(policy_of_a_higher_layer_goes_before_a_claim)
{
    EXPECT_EQ(read_env(KIND("V7", "classes = C5-C7"),
                       ENV("HAKMEM_POLICY_C6=large"), NULL),
              0);
    EXPECT_STR(route_at(300), "V7");
    EXPECT_STR(route_at(500), "large");
    EXPECT_STR(route_at(600), "V7");
}

TEST(claim_of_a_layer_goes_before_its_policy)
{
    EXPECT_EQ(
        read_env(KIND("V7", "classes = C5,C6\n" OFF),
                 ENV("HAKMEM_POLICY_C6=large", "HAKMEM_ROUTE_V7_ENABLED=yes"),
                 NULL),
        0);
    EXPECT_STR(route_at(500), "V7");
}

TEST(lower_kind_of_a_higher_layer_does_not_take_a_claim)
{
    EXPECT_EQ(read_env(KIND("ULTRA", "classes = C5")
                           KIND("V7", "classes = C5,C6\n" OFF),
                       ENV("HAKMEM_ROUTE_V7_ENABLED=1"), NULL),
              0);
    EXPECT_STR(route_at(300), "ULTRA");
    EXPECT_STR(route_at(500), "V7");
}

TEST(profile_enables)
{
    const char *text =
        KIND("V7", "classes = C5\n" OFF) "[profile p]\n"
                                         "route V7.enabled = yes\n";
    EXPECT_EQ(read_env(text, NULL, NULL), 0);
    EXPECT_STR(route_at(300), "ultra");
    EXPECT_EQ(read_env(text, NULL, "p"), 0);
    EXPECT_STR(route_at(300), "V7");
    EXPECT(box_of("b_V7")->used);
}

/* ---- gates --------------------------------------------------------------- */

#define MID KIND("MID_V35", "classes = C5,C6\n" OFF)

TEST(gate_of_mid_v35)
{
    EXPECT_EQ(read_env(MID, ENV("HAKMEM_MID_V35_ENABLED=1"), NULL), 0);
    EXPECT_STR(told, "");
    EXPECT_STR(route_at(300), "MID_V35");
    EXPECT_STR(route_at(500), "MID_V35");
    EXPECT_STR(route_at(600), "ultra");
    expect_origin(hak_conf_origin(&conf, "route MID_V35", "enabled"),
                  "environment HAKMEM_MID_V35_ENABLED", 0);
}

TEST(gate_of_mid_v35_classes)
{
    EXPECT_EQ(
        read_env(MID,
                 ENV("HAKMEM_MID_V35_ENABLED=1", "HAKMEM_MID_V35_CLASSES=0x20"),
                 NULL),
        0);
    EXPECT_STR(route_at(300), "MID_V35");
    EXPECT_STR(route_at(500), "ultra");
    EXPECT_EQ(read_env(MID, ENV("HAKMEM_MID_V35_CLASSES=0x20"), NULL), 0);
    EXPECT_STR(route_at(300), "ultra");
}

TEST(gate_may_turn_off)
{
    EXPECT_EQ(read_env(KIND("MID_V35", "classes = C5"),
                       ENV("HAKMEM_MID_V35_ENABLED=0"), NULL),
              0);
    EXPECT_STR(route_at(300), "ultra");
}

TEST(gate_of_smallmid)
{
    EXPECT_EQ(read_env(KIND("SMALLMID", "classes = C5-C7\n" OFF),
                       ENV("HAKMEM_SMALLMID_ENABLE=1"), NULL),
              0);
    EXPECT_STR(route_at(700), "SMALLMID");
}

#define TINY "[box tiny]\n[route TINY]\nbox = tiny\nclasses = C0-C3\n" OFF "\n"

static const char *value_of(const char *section, const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(&conf, section, key);
    return e == NULL ? "" : e->value;
}

TEST(gate_of_tiny_heap_v2)
{
    EXPECT_EQ(read_env(TINY,
                       ENV("HAKMEM_TINY_HEAP_V2=1",
                           "HAKMEM_TINY_HEAP_V2_CLASS_MASK=0x3",
                           "HAKMEM_TINY_HEAP_V2_STATS=1"),
                       NULL),
              0);
    EXPECT_STR(told, "");
    EXPECT_STR(route_at(100), "TINY");
    EXPECT(!box_of("tiny")->lanes);
    EXPECT_STR(value_of("box tiny", "magazine"), "1");
    EXPECT_STR(value_of("box tiny", "magazine_classes"), "0x3");
    EXPECT_STR(conf.stats_at_exit, "stderr");
}

TEST(gate_of_tiny_heap_v2_off_leaves_the_rest)
{
    EXPECT_EQ(
        read_env(TINY,
                 ENV("HAKMEM_TINY_HEAP_V2=0", "HAKMEM_TINY_HEAP_V2_STATS=0"),
                 NULL),
        0);
    EXPECT_STR(route_at(100), "ultra");
    EXPECT(box_of("tiny")->lanes);
    EXPECT_STR(value_of("box tiny", "magazine"), "0");
    EXPECT_STR(conf.stats_at_exit, "none");
}

TEST(gate_without_its_section)
{
    EXPECT_EQ(read_env("", ENV("HAKMEM_MID_V35_ENABLED=1"), NULL), 0);
    EXPECT_STR(told, "warning environment HAKMEM_MID_V35_ENABLED: nothing to "
                     "set: t.ini has no [route MID_V35]\n");
}

TEST(gate_with_a_bad_value)
{
    EXPECT(read_env(MID, ENV("HAKMEM_MID_V35_ENABLED=maybe"), NULL) != 0);
    EXPECT_STR(told, "error environment HAKMEM_MID_V35_ENABLED: \"enabled\" in "
                     "[route MID_V35]: \"maybe\" " BOOLS "\n");
}

TEST(gate_spelt_wrong)
{
    EXPECT_EQ(read_env(MID, ENV("HAKMEM_MID_V35_ENABLE=1"), NULL), 0);
    EXPECT_STR(told, "warning environment HAKMEM_MID_V35_ENABLE: unknown "
                     "variable; did you mean \"HAKMEM_MID_V35_ENABLED\"?\n");
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_conf.c - the INI reader: each fault's message, files and lines.
 *
 * tests/conf/NAME.ini holds one fault each; FAULT() says what must be told of
 * it, all of it, in order.
 */
#include "conf_reading.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/stat.h>

/* ---- one fault a file ---------------------------------------------------- */

static const char *faults[TEST_MAX];
static int nfaults;

static void check_fault(const char *name, const char *expected)
{
    char path[256];
    snprintf(path, sizeof path, TEST_TOP "/tests/conf/%s.ini", name);
    int rc = read_file(path, NULL, NULL);
    EXPECT_STR(told, expected);
    EXPECT_EQ(rc, conf.nerrors > 0 ? -EINVAL : 0);
}

#define FAULT(id, name, expected)                            \
    __attribute__((constructor)) static void list_##id(void) \
    {                                                        \
        faults[nfaults++] = name;                            \
    }                                                        \
    TEST(fault_##id)                                         \
    {                                                        \
        check_fault(name, expected "\n");                    \
    }

FAULT(bool, "bool", "error 3: \"verify\" in [core]: \"maybe\" " BOOLS)
FAULT(bounds, "bounds",
      "error 3: \"purge_delay_ms\" in [core]: 3600001 is out of bounds: 0 to "
      "3600000")
FAULT(box_and_route, "box-and-route",
      "error 5: route \"midmt\" has the name of the box in line 3")
FAULT(box_twice, "box-twice",
      "error 5: [box ultra] given twice; first in line 2")
FAULT(chain_long, "chain-long",
      "error 12: route \"r0\" comes to 9 boxes; at most 8")
FAULT(chain_twice, "chain-twice",
      "warning 6: route \"mid\" comes to box \"midmt\" twice; it is asked once")
FAULT(choice, "choice",
      "error 3: \"free_route\" in [core]: \"owner\" is none of directory, owns")
FAULT(circle_self, "circle-self", "error 7: route fallbacks go round: a -> a")
FAULT(circle, "circle", "error 10: route fallbacks go round: a -> b -> c -> a")
FAULT(class, "class", "error 6: in [policy]: \"C8\": the classes are C0 to C7")
FAULT(colon, "colon",
      "error 3: \":\" in \"verify: yes\"; keys and values are parted by \"=\"")
FAULT(comma, "comma",
      "error 6: nothing at a comma of \"C0-C6, C7,\" in [policy]")
FAULT(empty_key, "empty-key", "error 3: no key before the \"=\"")
FAULT(empty_value, "empty-value",
      "error 3: empty value for \"verify\" in [core]")
FAULT(key_before_section, "key-before-section",
      "error 2: \"verify\" stands before any [section]")
FAULT(key_twice, "key-twice",
      "error 5: \"verify\" given twice in [core]; first in line 3")
FAULT(learner_classes, "learner-classes",
      "error 4: \"classes\" in [rule a]: \"C8\": the classes are C0 to C7\n"
      "error 7: \"classes\" in [rule b]: \"257-512\" is no mask of classes, 0 "
      "to 0xff")
FAULT(learner_comma, "learner-comma",
      "error 5: \"when\" in [rule r]: nothing at a comma")
FAULT(learner_comparison, "learner-comparison",
      "error 5: \"when\" in [rule r]: \"==\"; a comparison is <, <=, > or >=\n"
      "error 5: \"when\" in [rule r]: no comparison at \"5%\"; a comparison is "
      "<, <=, > or >=\n"
      "error 5: \"when\" in [rule r]: \"=\"; a comparison is <, <=, > or >=")
FAULT(learner_conditions, "learner-conditions",
      "error 5: \"when\" in [rule r]: too many conditions; at most 8")
FAULT(learner_empty, "learner-empty",
      "error 2: [rule r] has no \"classes =\"\n"
      "error 2: [rule r] has no \"route =\"")
FAULT(learner_every, "learner-every",
      "error 3: \"every\" in [learner]: 3 is out of bounds: 16 to 1000000")
FAULT(learner_figure, "learner-figure",
      "error 5: \"when\" in [rule r]: unknown figure \"shar\"; did you mean "
      "\"share\"?\n"
      "error 5: \"when\" in [rule r]: unknown figure \"speed\"; there are "
      "share, retire, utilisation, free_hit")
FAULT(learner_key, "learner-key",
      "error 3: unknown key \"setle\" in [learner]; did you mean \"settle\"?")
FAULT(learner_limit, "learner-limit",
      "error 5: \"when\" in [rule r]: \"30\" is no limit; 30% and 3000bps "
      "are\n"
      "error 5: \"when\" in [rule r]: 101% is out of bounds: 0 to 100%\n"
      "error 5: \"when\" in [rule r]: 10001bps is out of bounds: 0 to "
      "10000bps\n"
      "error 5: \"when\" in [rule r]: \"x\" is no limit; 30% and 3000bps are")
FAULT(learner_margin, "learner-margin",
      "error 3: \"margin\" in [learner]: \"51%\" is not a whole number")
FAULT(learner_mode, "learner-mode",
      "error 3: \"mode\" in [learner]: \"on\" is none of off, observe, apply")
FAULT(learner_no_rule, "learner-no-rule",
      "warning 3: mode = apply without a [rule NAME]: no route changes")
FAULT(learner_route, "learner-route",
      "error 4: \"route\" in [rule r]: there is no box or route \"midmd\"; did "
      "you mean \"midmt\"?")
FAULT(learner_rule_key, "learner-rule-key",
      "error 5: unknown key \"class\" in [rule r]; did you mean \"classes\"?")
FAULT(learner_rules, "learner-rules",
      "error 98: too many learner rules; at most 32")
FAULT(learner_settle, "learner-settle",
      "error 3: \"settle\" in [learner]: 0 is out of bounds: 1 to 100")
FAULT(line_long, "line-long",
      "error 3: line of 221 bytes, comment not counted; at most 198")
FAULT(many_boxes, "many-boxes",
      "error 18: too many boxes; at most 16, for which each thread has room; "
      "leave out those that no route leads to")
FAULT(many_faults, "many-faults",
      "error 5: no \"=\" in \"strict\"\n"
      "error 3: unknown key \"fallbak\" in [core]; did you mean \"fallback\"?\n"
      "error 4: \"verify\" in [core]: \"perhaps\" " BOOLS "\n"
      "error 7: \"lanes\" in [box ultra]: \"sometimes\" " BOOLS "\n"
      "error 8: \"priority\" in [box ultra]: \"high\" is not a whole number\n"
      "error 10: in [policy]: \"C8\": the classes are C0 to C7\n"
      "error 11: \"1025-\" in [policy]: there is no box or route \"midmt\"")
FAULT(many_keys, "many-keys", "error 519: too many keys; at most 512")
FAULT(many_routes, "many-routes", "error 69: too many routes; at most 32")
FAULT(many_rules, "many-rules", "error 68: too many policy ranges; at most 64")
FAULT(many_sections, "many-sections",
      "error 101: too many sections; at most 96")
FAULT(no_equal, "no-equal", "error 3: no \"=\" in \"verify yes\"")
FAULT(no_policy, "no-policy",
      "error 0: no [policy]: no size would come to any box; add the lines "
      "\"[policy]\" and \"0- = NAME\", where [box NAME] is a box")
FAULT(number, "number",
      "error 3: \"purge_delay_ms\" in [core]: \"1s\" is not a number of "
      "milliseconds")
FAULT(overlap, "overlap",
      "error 7: \"513-32k\" and \"C0-C7\" of line 6 both cover 513-1024")
FAULT(policy_no_box, "policy-no-box",
      "error 6: \"C0-C7\" in [policy]: there is no box or route \"ulta\"; did "
      "you mean \"ultra\"?")
FAULT(priority, "priority",
      "error 3: boxes \"ultra\" and \"midmt\" have one priority, 10")
FAULT(profile_no_dot, "profile-no-dot",
      "error 10: \"verify\" in [profile fast] is not SECTION.KEY, like "
      "core.verify")
FAULT(profile_no_section, "profile-no-section",
      "error 10: \"box utlra.lanes\" in [profile fast]: there is no [box "
      "utlra]; did you mean \"box ultra\"?")
FAULT(
    profile_value, "profile-value",
    "error 10: \"verify\" in [core]: \"2\" " BOOLS "\n"
    "error 11: unknown key \"fallbac\" in [core]; did you mean \"fallback\"?\n"
    "error 12: in [policy]: \"C9\": the classes are C0 to C7")
FAULT(range_end, "range-end",
      "error 6: in [policy]: \"1-1000\": no size index ends at 1000; the "
      "nearest end at 992 and 1008")
FAULT(range_large, "range-large",
      "error 8: in [policy]: \"262145-1M\": sizes above 262144 go together; "
      "write 262145-")
FAULT(range_start, "range-start",
      "error 7: in [policy]: \"1024-32k\": no size index starts at 1024; the "
      "nearest start at 1009 and 1025")
FAULT(range_upside_down, "range-upside-down",
      "error 6: in [policy]: \"1024-1\" is upside down: 1024 is above 1")
FAULT(route_empty, "route-empty", "error 5: [route mid] has no \"box =\"")
FAULT(route_no_box, "route-no-box",
      "error 6: \"box\" in [route mid]: there is no box \"mitmd\"; did you "
      "mean \"midmt\"?")
FAULT(route_no_fallback, "route-no-fallback",
      "error 7: \"fallback\" in [route mid]: there is no box or route \"lib\"; "
      "did you mean \"libc\"?")
FAULT(route_to_route, "route-to-route",
      "error 8: \"box\" in [route other]: \"mid\" is a route")
FAULT(section_long, "section-long",
      "error 2: section name of 64 bytes; at most 49")
FAULT(section_name_bad, "section-name-bad",
      "error 2: \"my.box\" is not a name: a-z A-Z 0-9 _ -")
FAULT(section_name_taken, "section-name-taken",
      "error 2: \"libc\" is taken: a fallback may say it")
FAULT(section_named, "section-named", "error 2: [core] takes no name")
FAULT(section_trailing, "section-trailing",
      "error 2: text after the \"]\" in \"[core] verify = yes\"")
FAULT(section_twice, "section-twice",
      "error 11: [core] given twice; first in line 2\n"
      "error 12: \"strict\" in [core]: \"maybe\" " BOOLS)
FAULT(section_unclosed, "section-unclosed", "error 2: no \"]\" in \"[core\"")
FAULT(section_unnamed, "section-unnamed",
      "error 2: [box] needs a name: [box NAME]")
FAULT(size, "size",
      "error 7: in [policy]: \"32q\" is neither a size (64, 4k, 4KiB) nor a "
      "class (C0 to C7)")
FAULT(uncovered_none, "uncovered-none",
      "warning 5: no rule covers 1025-: these sizes fail, as fallback = none")
FAULT(uncovered, "uncovered",
      "warning 4: no rule covers 0-128, 1025-32768: libc serves these sizes")
FAULT(unknown_key, "unknown-key",
      "error 7: unknown key \"fallbak\" in [route mid]; did you mean "
      "\"fallback\"?")
FAULT(unknown_section, "unknown-section",
      "error 2: unknown section [cor]; did you mean [core]?")
FAULT(
    sample, "sample",
    "error 3: \"sample\" in [core]: there is no box \"gaurd\"; did you mean "
    "\"guard\"?\n"
    "error 4: \"sample_every\" in [core]: 0 is out of bounds: 1 to 1000000000")
FAULT(unreached, "unreached",
      "warning 5: no rule of [policy] reaches box \"tiny\"")

TEST(every_fault_file_is_tested)
{
    DIR *dir = opendir(TEST_TOP "/tests/conf");
    EXPECT(dir != NULL);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length < 4 || strcmp(e->d_name + length - 4, ".ini") != 0)
            continue;
        bool found = false;
        for (int i = 0; i < nfaults; i++)
            found |= strlen(faults[i]) == length - 4 &&
                     strncmp(faults[i], e->d_name, length - 4) == 0;
        if (!found)
            test_fail(__FILE__, __LINE__, "no FAULT for %s", e->d_name);
        n++;
    }
    closedir(dir);
    EXPECT_EQ(n, nfaults);
}

/* ---- what is shipped ----------------------------------------------------- */

TEST(shipped_files_have_no_findings)
{
    DIR *dir = opendir(TEST_TOP "/conf");
    EXPECT(dir != NULL);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[300];
        if (strstr(e->d_name, ".ini") == NULL)
            continue;
        snprintf(path, sizeof path, TEST_TOP "/conf/%s", e->d_name);
        int rc = read_file(path, NULL, NULL);
        if (rc != 0 || told[0] != 0)
            test_fail(__FILE__, __LINE__, "%s: %d, %s", path, rc, told);
        n++;
    }
    closedir(dir);
    EXPECT_GE(n, 7);
}

TEST(default_file_serves_every_size)
{
    EXPECT_EQ(read_file(TEST_TOP "/conf/default.ini", NULL, NULL), 0);
    EXPECT_EQ(conf.nboxes, 6);
    EXPECT_EQ(conf.nrules, 3);
    for (uint32_t i = 0; i < conf.nboxes; i++)
        EXPECT_EQ(conf.box[i].used, i < 3); /* the others wait for a gate */
    EXPECT_STR(route_at(0), "ultra");
    EXPECT_STR(route_at(1024), "ultra");
    EXPECT_STR(route_at(1025), "midmt");
    EXPECT_STR(route_at(262144), "midmt");
    EXPECT_STR(route_at(262145), "large");
    EXPECT_STR(route_at(SIZE_MAX), "large");
    EXPECT_STR(chain_of("ultra"), "ultra > libc");
    EXPECT_STR(conf.file, TEST_TOP "/conf/default.ini");
}

TEST(each_shipped_profile_can_be_chosen)
{
    static const char *const names[] = {"careful", "calls", "split"};
    for (size_t i = 0; i < 3; i++) {
        EXPECT_EQ(read_file(TEST_TOP "/conf/profiles.ini", NULL, names[i]), 0);
        EXPECT_STR(told, "");
        EXPECT_STR(conf.profile, names[i]);
    }
    EXPECT_STR(route_at(1024), "midmt");
    EXPECT_STR(route_at(512), "ultra");
}

/* ---- files --------------------------------------------------------------- */

TEST(missing_file)
{
    EXPECT_EQ(read_file("/nowhere/x.ini", NULL, NULL), -ENOENT);
    EXPECT_STR(told, "error 0: cannot open: No such file or directory\n");
    EXPECT_STR(conf.file, "/nowhere/x.ini");
}

TEST(directory)
{
    EXPECT_EQ(read_file("/", NULL, NULL), -EISDIR);
    EXPECT_STR(told, "error 0: is a directory, not a file\n");
}

TEST(file_that_may_not_be_read)
{
    char path[] = "/tmp/test-conf-XXXXXX";
    int fd = mkstemp(path);
    EXPECT(fd >= 0);
    EXPECT_EQ(fchmod(fd, 0), 0);
    close(fd);
    if (geteuid() == 0 && seteuid(65534) != 0)
        SKIP("cannot give up root");
    int rc = read_file(path, NULL, NULL);
    if (getuid() == 0)
        EXPECT_EQ(seteuid(0), 0);
    unlink(path);
    EXPECT_EQ(rc, -EACCES);
    EXPECT_STR(told, "error 0: cannot open: Permission denied\n");
}

TEST(descriptor_that_cannot_be_read)
{
    told[0] = 0;
    int fd = open("/dev/null", O_WRONLY);
    EXPECT_EQ(hak_conf_read(&conf, "t.ini", fd, NULL, NULL, take, &conf),
              -EBADF);
    EXPECT_STR(told, "error 0: cannot read: Bad file descriptor\n");
}

static char big[HAK_CONF_FILE_BYTES + 2];

TEST(file_of_64_kib_is_the_largest)
{
    memset(big, '\n', sizeof big);
    memcpy(big, BOXES POLICY, strlen(BOXES POLICY));
    EXPECT_EQ(read_bytes(big, HAK_CONF_FILE_BYTES, NULL, NULL), 0);
    EXPECT_EQ(read_bytes(big, HAK_CONF_FILE_BYTES + 1, NULL, NULL), -EFBIG);
    EXPECT_STR(told, "error 0: is larger than 65536 bytes\n");
}

TEST(full_file_has_room_for_its_texts)
{
    int n = snprintf(big, sizeof big, "%s", BOXES POLICY "[box last]\n");
    for (int i = 0; n + 199 < HAK_CONF_FILE_BYTES; i++)
        n += snprintf(big + n, sizeof big - (size_t)n, "k%d=%0*d\n", i,
                      i < 10    ? 195
                      : i < 100 ? 194
                                : 193,
                      i);
    EXPECT_EQ(read_bytes(big, (size_t)n, NULL, NULL), 0);
    EXPECT_GT(conf.nentries, 320);
    EXPECT_STR(told, "warning 8: no rule of [policy] reaches box \"last\"\n");
}

TEST(nul_byte_ends_the_reading)
{
    static const char text[] =
        BOXES POLICY "[core]\nver\0ify = 2\nstrict = 2\n";
    EXPECT_EQ(read_bytes(text, sizeof text - 1, NULL, NULL), -EINVAL);
    EXPECT_STR(told,
               "error 9: NUL byte, so no text file; the rest was not read\n");
}

TEST(empty_file)
{
    EXPECT_EQ(read_text(""), -EINVAL);
    EXPECT_CONTAINS(told,
                    "error 0: no [policy]: no size would come to any box");
}

TEST(crlf_bom_and_no_last_newline)
{
    EXPECT_EQ(read_text("\xef\xbb\xbf[core]\r\nverify = yes\r\n\r\n[box a]\r\n"
                        "path = /x y.so\r\n[policy]\r\n0- = a"),
              0);
    EXPECT_STR(told, "");
    EXPECT(conf.verify);
    EXPECT_STR(conf.box[0].path, "/x y.so");
    EXPECT_STR(route_at(5), "a");
    expect_origin(conf.rule[0].origin, "t.ini", 7);
}

/* ---- lines --------------------------------------------------------------- */

TEST(comments_and_blanks)
{
    EXPECT_EQ(read_text("; one\n  # two\n[box  a ] # three\n"
                        "path = /a;b#c ;four\n\tlanes\t=\toff\t# five\n"
                        "  priority = 7\n[policy];six\n"),
              -EINVAL); /* no blank, no comment */
    EXPECT_STR(told, "error 7: text after the \"]\" in \"[policy];six\"\n");
    EXPECT_STR(conf.box[0].path, "/a;b#c");
    EXPECT(!conf.box[0].lanes);
    EXPECT_EQ(conf.box[0].priority, 7);
    EXPECT_STR(conf.section[0].name, "box a");
}

TEST(indented_line_is_a_line)
{
    /* inih alone would give "priority = 3" to path. */
    EXPECT_EQ(
        read_text("[box a]\npath = x\n  priority = 3\n[policy]\n0- = a\n"), 0);
    EXPECT_STR(conf.box[0].path, "x");
    EXPECT_EQ(conf.box[0].priority, 3);
}

TEST(line_of_198_bytes_is_the_longest)
{
    char text[512], key[256];
    memset(key, 'k', sizeof key);
    snprintf(text, sizeof text,
             "[box a]\n%.196s=v  ; and a comment\n[policy]\n0- = a\n", key);
    EXPECT_EQ(read_text(text), 0);
    EXPECT_EQ(strlen(conf.entry[0].key), 196);
    EXPECT_STR(route_at(5), "a"); /* the lines behind it are there */
    snprintf(text, sizeof text, "[box a]\n%.197s=v\n[policy]\n0- = a\n", key);
    EXPECT_EQ(read_text(text), -EINVAL);
    EXPECT_STR(told, "error 2: line of 199 bytes, comment not counted; at most "
                     "198\n");
}

TEST(section_name_of_49_bytes_is_the_longest)
{
    char text[512], name[64];
    memset(name, 'n', sizeof name);
    snprintf(text, sizeof text, "[box %.45s]\n[policy]\n0- = %.45s\n", name,
             name);
    EXPECT_EQ(read_text(text), 0);
    EXPECT_EQ(strlen(conf.box[0].name), 45);
    snprintf(text, sizeof text, "[box a]\n[box %.46s]\n[policy]\n0- = a\n",
             name);
    EXPECT_EQ(read_text(text), -EINVAL);
    EXPECT_STR(told, "error 2: section name of 50 bytes; at most 49\n");
}

TEST(control_characters_are_not_told)
{
    EXPECT_EQ(read_text(BOXES POLICY "[core]\n\033[2Jx\177 = yes\n"), -EINVAL);
    EXPECT_STR(told, "error 9: unknown key \"?[2Jx?\" in [core]\n");
}

TEST(no_allocation)
{
    struct mallinfo2 before = mallinfo2();
    EXPECT_EQ(read_file(TEST_TOP "/conf/profiles.ini", NULL, "careful"), 0);
    struct mallinfo2 after = mallinfo2();
    EXPECT_EQ(before.uordblks, after.uordblks);
    EXPECT_EQ(before.arena, after.arena);
}

TEST(tell_without_a_listener)
{
    EXPECT_EQ(hak_conf_read(&conf, "/nowhere", -1, NULL, NULL, NULL, NULL),
              -ENOENT);
    EXPECT_EQ(conf.nerrors, 1);
}

TEST_MAIN()

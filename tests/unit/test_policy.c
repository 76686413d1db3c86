/* SPDX-License-Identifier: MIT
 * test_policy.c - size index -> chain of boxes: built, replaced, cut.
 *
 * tests/loader/policy.ini names boxes a, b, c; the test makes them up.
 */
#include "test.h"

#include <conf/conf.h>
#include <core/route/policy.h>
#include <core/state/boxes.h>
#include <core/state/build.h>
#include <core/state/chains.h>
#include <core/state/core.h>
#include <pthread.h>

static struct hak_conf conf;
static struct hak_loaded boxes[HAK_MAX_BOXES]; /* by position in conf.box */

static void tell(void *context, enum hak_diag_level level, const char *file,
                 int line, const char *text)
{
    (void)context;
    if (level == HAK_DIAG_ERROR)
        test_fail(__FILE__, __LINE__, "%s:%d: %s", file, line, text);
}

/* Build the policy without the box `left_out`, or with all of them. */
static void build(const char *left_out)
{
    struct hak_loaded *loaded[HAK_MAX_BOXES] = {NULL};
    EXPECT_EQ(hak_conf_read(&conf, "tests/loader/policy.ini", -1, NULL, NULL,
                            tell, NULL),
              0);
    EXPECT_EQ(conf.nboxes, 3);
    for (uint32_t i = 0; i < conf.nboxes; i++) {
        boxes[i].box.name = conf.box[i].name;
        boxes[i].box.state_now = HAK_BOX_ACTIVE;
        if (left_out == NULL || strcmp(left_out, conf.box[i].name) != 0)
            loaded[i] = &boxes[i];
    }
    hak_policy_build(&conf, loaded);
}

static struct hak_loaded *box(const char *name)
{
    for (uint32_t i = 0; i < conf.nboxes; i++)
        if (strcmp(boxes[i].box.name, name) == 0)
            return &boxes[i];
    return NULL;
}

/* "mixed: a b c > none": the chain that serves a size. */
static const char *chain_at(size_t size_bytes)
{
    static char text[256];
    const struct hak_chain *chain = hak_chain_of(hak_index_of(size_bytes));
    strcpy(text, chain->route);
    strcat(text, ":");
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        strcat(strcat(text, " "), chain->box[i]->box.name);
    return strcat(text,
                  chain->last == HAK_FALLBACK_LIBC ? " > libc" : " > none");
}

static uint64_t epoch(void)
{
    return __atomic_load_n(&hak_policy.epoch, __ATOMIC_ACQUIRE);
}

/* ---- build ----------------------------------------------------------- */

TEST(every_size_has_the_chain_of_its_rule)
{
    build(NULL);
    EXPECT_EQ(epoch(), 1);
    for (size_t bytes = 0; bytes < 40000; bytes++) {
        const char *want = bytes <= 128     ? "mixed: a b c > none"
                           : bytes <= 256   ? "lenient: b > libc"
                           : bytes <= 384   ? "c: c > none"
                           : bytes <= 512   ? "none: > none"
                           : bytes <= 1024  ? "tail: b c > none"
                           : bytes <= 32768 ? "none: > none"
                                            : "a: a > none";
        EXPECT_STR(chain_at(bytes), want);
    }
    EXPECT_STR(chain_at(SIZE_MAX), "a: a > none");
}

TEST(a_box_left_out_leaves_its_chains)
{
    build("b");
    EXPECT_STR(chain_at(100), "mixed: a c > none");
    EXPECT_STR(chain_at(200), "lenient: > libc");
    EXPECT_STR(chain_at(1000), "tail: c > none");
    EXPECT_STR(chain_at(300), "c: c > none");
}

TEST(sizes_without_a_rule_follow_core_fallback)
{
    build(NULL);
    EXPECT_STR(chain_at(2000), "none: > none");
    conf.fallback = HAK_FALLBACK_LIBC;
    struct hak_loaded *none[HAK_MAX_BOXES] = {NULL};
    hak_policy_build(&conf, none);
    EXPECT_STR(chain_at(2000), "libc: > libc");
}

/* ---- set ------------------------------------------------------------- */

TEST(set_points_indexes_at_a_route)
{
    build(NULL);
    EXPECT_EQ(hak_policy_set(hak_index_of(16), hak_index_of(64), "tail"), 0);
    EXPECT_EQ(epoch(), 2);
    EXPECT_STR(chain_at(0), "mixed: a b c > none"); /* index 0 stays */
    EXPECT_STR(chain_at(1), "tail: b c > none");
    EXPECT_STR(chain_at(64), "tail: b c > none");
    EXPECT_STR(chain_at(65), "mixed: a b c > none");
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE, "a"), 0);
    EXPECT_EQ(epoch(), 3);
    EXPECT_STR(chain_at(0), "a: a > none");
    EXPECT_STR(chain_at(SIZE_MAX), "a: a > none");
    EXPECT_EQ(hak_policy_set(HAK_INDEX_LARGE, HAK_INDEX_LARGE, "mixed"), 0);
    EXPECT_STR(chain_at(262144), "a: a > none");
    EXPECT_STR(chain_at(262145), "mixed: a b c > none");
}

TEST(set_refuses_and_changes_nothing)
{
    build(NULL);
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE, "nowhere"), -ENOENT);
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE, ""), -ENOENT);
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE, "b"), -ENOENT); /* no route */
    EXPECT_EQ(hak_policy_set(5, 4, "tail"), -EINVAL);
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE + 1, "tail"), -EINVAL);
    EXPECT_EQ(epoch(), 1);
    EXPECT_STR(chain_at(100), "mixed: a b c > none");
    EXPECT_STR(chain_at(40000), "a: a > none");
}

TEST(reset_goes_back_to_what_the_file_said)
{
    build(NULL);
    EXPECT_EQ(hak_policy_set(0, HAK_INDEX_LARGE, "tail"), 0);
    EXPECT_EQ(hak_policy_reset(hak_index_of(65), hak_index_of(600)), 0);
    EXPECT_EQ(epoch(), 3);
    EXPECT_STR(chain_at(64), "tail: b c > none");
    EXPECT_STR(chain_at(65), "mixed: a b c > none");
    EXPECT_STR(chain_at(200), "lenient: b > libc");
    EXPECT_STR(chain_at(300), "c: c > none");
    EXPECT_STR(chain_at(500), "none: > none"); /* no rule of [policy] */
    EXPECT_STR(chain_at(2000), "tail: b c > none");
    EXPECT_EQ(hak_policy_drain(box("b"), NULL), 0);
    EXPECT_EQ(hak_policy_reset(0, HAK_INDEX_LARGE), 0);
    EXPECT_STR(chain_at(100), "mixed: a c > none"); /* dropped is dropped */
    EXPECT_EQ(hak_policy_reset(5, 4), -EINVAL);
    EXPECT_EQ(hak_policy_reset(0, HAK_INDEX_LARGE + 1), -EINVAL);
}

TEST(leads_to_box_as_long_as_there_is_one)
{
    build("a");
    EXPECT(!hak_policy_leads_to_box("a"));
    EXPECT(!hak_policy_leads_to_box("nowhere"));
    EXPECT(hak_policy_leads_to_box("tail"));
    EXPECT_EQ(hak_policy_drain(box("b"), NULL), 0);
    EXPECT(hak_policy_leads_to_box("tail"));
    EXPECT_EQ(hak_policy_drain(box("c"), NULL), 0);
    EXPECT(!hak_policy_leads_to_box("tail"));
}

/* ---- drop ------------------------------------------------------------ */

TEST(drop_takes_a_box_out_of_every_chain)
{
    build(NULL);
    const struct hak_chain *seen = hak_chain_of(hak_index_of(100));
    EXPECT_EQ(hak_policy_drain(box("b"), NULL), 0);
    EXPECT_EQ(epoch(), 2);
    EXPECT_STR(chain_at(100), "mixed: a c > none");
    EXPECT_STR(chain_at(200), "lenient: > libc");
    EXPECT_STR(chain_at(1000), "tail: c > none");
    EXPECT_STR(chain_at(300), "c: c > none");
    EXPECT_STR(chain_at(40000), "a: a > none");
    EXPECT(seen->box[1] == box("b")); /* a reader may still be on its way */
    EXPECT_EQ(hak_policy_drain(box("c"), NULL), 0);
    EXPECT_STR(chain_at(100), "mixed: a > none");
    EXPECT_STR(chain_at(1000), "tail: > none");
}

TEST(set_after_drop_gets_the_cut_route)
{
    build(NULL);
    EXPECT_EQ(hak_policy_set(hak_index_of(300), hak_index_of(300), "tail"), 0);
    EXPECT_EQ(hak_policy_drain(box("b"), NULL), 0);
    EXPECT_STR(chain_at(300), "tail: c > none");
    EXPECT_EQ(hak_policy_set(hak_index_of(40000), hak_index_of(40000), "mixed"),
              0);
    EXPECT_STR(chain_at(40000), "mixed: a c > none");
}

TEST(drop_of_a_box_in_no_chain)
{
    static struct hak_loaded stranger;
    build("b");
    EXPECT_EQ(hak_policy_drain(&stranger, NULL), 0);
    EXPECT_EQ(hak_policy_drain(box("b"), NULL), 0);
    EXPECT_STR(chain_at(100), "mixed: a c > none");
}

/* ---- readers meanwhile ----------------------------------------------- */

static bool stop;

static void *keep_reading(void *unused)
{
    uint64_t last = 0;
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        EXPECT_GE(epoch(), last);
        last = epoch();
        const struct hak_chain *chain = hak_chain_of(hak_index_of(100));
        const char *want = chain->box[0] == box("b") ? "tail" : "mixed";
        EXPECT_STR(chain->route, want);
        EXPECT(chain->box[1] == box(chain->box[0] == box("b") ? "c" : "b"));
    }
    return NULL;
}

TEST(readers_see_whole_chains)
{
    pthread_t thread;
    build(NULL);
    EXPECT_EQ(pthread_create(&thread, NULL, keep_reading, NULL), 0);
    for (int i = 0; i < 20000; i++)
        EXPECT_EQ(hak_policy_set(0, 64, i % 2 ? "tail" : "mixed"), 0);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    EXPECT_EQ(epoch(), 20001);
}

TEST_MAIN()

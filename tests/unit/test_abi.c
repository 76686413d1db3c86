/* SPDX-License-Identifier: MIT
 * test_abi.c - how the core reads structs that another version of box.h laid
 * out: framework/abi.h.
 */
#include "test.h"

#include <core/box/abi.h>

static void *give_nothing(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    (void)size_bytes;
    return NULL;
}

static void take(struct hak_box *box, void *p)
{
    (void)box;
    (void)p;
}

static bool own_nothing(struct hak_box *box, const void *p)
{
    (void)box;
    (void)p;
    return false;
}

#define OPS .alloc = give_nothing, .free = take, .owns = own_nothing

/* As a later header may have them: a member more wherever one may come. */
struct later_entry {
    struct hak_box_entry known; /* but for its ops */
    uint64_t later;
    struct hak_box_ops ops;
    void (*later_op)(void);
};

struct later_param {
    struct hak_param known;
    uint64_t later[3];
};

static const struct later_param later_params[] = {
    {.known = {.name = "first", .help = "of two"}, .later = {1, 2, 3}},
    {.known = {.name = "second", .help = "of two"}, .later = {1, 2, 3}}};

static struct later_entry later = {.known = {HAK_BOX_HEADER("later", "1.0"),
                                             .nparams = 2,
                                             .params = &later_params[0].known},
                                   .later = 42,
                                   .ops = {OPS}};

static void make_later(void)
{
    later.known.struct_size = sizeof later;
    later.known.ops_at = offsetof(struct later_entry, ops);
    later.known.param_bytes = sizeof(struct later_param);
}

TEST(a_longer_entry_is_read_as_far_as_it_is_known)
{
    struct hak_box_entry e;
    make_later();
    EXPECT(hak_abi_is_entry(&later.known));
    EXPECT(hak_abi_has_params(&later.known));
    hak_abi_entry(&e, &later.known);
    EXPECT(e.ops.alloc == give_nothing && e.ops.owns == own_nothing);
    EXPECT(e.ops.init == NULL && e.ops.alloc_none == NULL);
    EXPECT_STR(e.id, "later");
    EXPECT_EQ(e.granule_bytes, HAK_GRANULE_BYTES);
}

TEST(longer_parameters_are_read_one_by_one)
{
    make_later();
    EXPECT_STR(hak_abi_param(&later.known, 0).name, "first");
    EXPECT_STR(hak_abi_param(&later.known, 1).name, "second");
}

/* As long as the least of this major version: what came later is zero. */
TEST(shorter_parameters_have_zeros_behind)
{
    struct shorter {
        const char *name;
        uint32_t type, flags;
        int64_t min, max, def;
        const char *choices, *def_text;
    };
    static const struct shorter params[] = {{.name = "first"},
                                            {.name = "second"}};
    struct hak_box_entry e = {
        .nparams = 2,
        .params = (const struct hak_param *)(const void *)params,
        .param_bytes = sizeof(struct shorter)};
    EXPECT(hak_abi_has_params(&e));
    EXPECT_STR(hak_abi_param(&e, 1).name, "second");
    EXPECT(hak_abi_param(&e, 0).help == NULL);
    e.param_bytes = HAK_ABI_PARAM_LEAST - 8;
    EXPECT(!hak_abi_has_params(&e));
}

TEST(an_entry_before_minor_6_has_its_ops_elsewhere)
{
    struct {
        char head[HAK_ABI_OPS_BEFORE_6];
        struct hak_box_ops ops;
    } before = {.ops = {OPS}};
    struct hak_box_entry head = {HAK_BOX_HEADER("before", "1.0")}, e;
    head.abi_minor = 5;
    head.struct_size = sizeof before;
    memcpy(before.head, &head, sizeof before.head);
    const struct hak_box_entry *theirs = (const void *)&before;
    EXPECT(hak_abi_is_entry(theirs));
    hak_abi_entry(&e, theirs);
    EXPECT(e.ops.alloc == give_nothing && e.ops.owns == own_nothing);
    EXPECT_EQ(e.kit_version, 0);
    EXPECT_EQ(e.granule_bytes, HAK_GRANULE_BYTES);
    EXPECT_EQ(e.lanes, HAK_LANES);
}

TEST(layouts_that_cannot_be)
{
    make_later();
    struct hak_box_entry *e = &later.known;
    e->struct_size = later.known.ops_at + sizeof(void *);
    EXPECT(!hak_abi_is_entry(e)); /* no room for free and owns */
    make_later();
    e->ops_at += 4;
    EXPECT(!hak_abi_is_entry(e));
    e->ops_at = 0; /* filled in by hand */
    EXPECT(!hak_abi_is_entry(e));
    e->ops_at = 65528;
    EXPECT(!hak_abi_is_entry(e));
    make_later();
    e->struct_size = 0;
    EXPECT(!hak_abi_is_entry(e));
}

/* What third parties copy: the whole struct, as long as it is to them. */
static void assign_all(struct hak_box *box, struct hak_box_stats *out)
{
    struct longer_stats {
        struct hak_box_stats known;
        uint64_t later[16];
    };
    (void)box;
    *(struct longer_stats *)(void *)out =
        (struct longer_stats){.known = {.live_count = 7}, .later = {1, 2, 3}};
}

TEST(longer_statistics_have_room)
{
    struct hak_box_ops ops = {OPS, .stats = assign_all};
    struct hak_box box = {.ops = &ops};
    EXPECT_EQ(hak_abi_stats(&box).live_count, 7);
}

TEST(records_of_any_length)
{
    struct {
        struct hak_retire known;
        uint64_t later;
    } longer = {.known = {.struct_bytes = sizeof longer, .capacity = 5}};
    struct hak_retire out;
    EXPECT(hak_abi_retire(&out, &longer.known));
    EXPECT_EQ(out.capacity, 5);
    longer.known.struct_bytes = HAK_ABI_RETIRE_LEAST - 1;
    EXPECT(!hak_abi_retire(&out, &longer.known));
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * build.c - does the library say truly whether its boxes are dlopened or
 * fused? HAK_TEST_MODE fused/NAME tells what it should be.
 */
#include "calls.h"

static bool is_fused(void)
{
    const char *mode = getenv("HAK_TEST_MODE");
    return mode != NULL && strncmp(mode, "fused/", 6) == 0;
}

TEST(boxes_are_mapped_or_built_in)
{
    NEED_BOXES();
    const char *maps = text_of(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    EXPECT_CONTAINS(maps, "libhakmem.so");
    EXPECT_EQ(strstr(maps, "/boxes/") == NULL, is_fused());
    EXPECT_EQ(strstr(maps, "/build/fused/") != NULL, is_fused());
}

TEST(report_says_which)
{
    NEED_BOXES();
    int fd = memfd_create("report", MFD_CLOEXEC);
    EXPECT_EQ(hak.report(fd, true), 0);
    const char *json = text_of(fd);
    EXPECT_CONTAINS(json, is_fused() ? "\"build\":\"fused\""
                                     : "\"build\":\"dlopened\"");
    EXPECT_CONTAINS(json, ".ini\"");
    EXPECT_CONTAINS(json, "\"profile\":");
    fd = memfd_create("report", MFD_CLOEXEC);
    EXPECT_EQ(hak.report(fd, false), 0);
    EXPECT_CONTAINS(text_of(fd),
                    is_fused() ? ", fused boxes," : ", dlopened boxes,");
}

TEST(fused_routes_are_fixed)
{
    NEED_BOXES();
    if (!is_fused())
        SKIP("routes.c tests those that may change");
    const char *box = box_for(600);
    EXPECT_EQ(hak.route("C0-C7", box), -ENOTSUP);
    EXPECT_EQ(hak.drain(box), -ENOTSUP);
    EXPECT_EQ(hak.drain("no-such-box"), -ENOTSUP);
    EXPECT_STR(box_for(600), box);
}

TEST_MAIN()

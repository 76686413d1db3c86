/* SPDX-License-Identifier: MIT
 * api.c - hakmem.h: figures, owners, reports. Skipped without hakmem. */
#include "calls.h"
#include "json.h"

#include <pthread.h>

/* ---- figures ------------------------------------------------------------ */

TEST(version)
{
    int major, minor, patch;
    NEED_BOXES();
    EXPECT_EQ(sscanf(hak.version(), "%d.%d.%d", &major, &minor, &patch), 3);
}

static void check_stats(size_t n)
{
    enum { BLOCKS = 1000 };
    static void *p[BLOCKS];
    const char *box = box_for(n);
    size_t blocks = n > MIB ? 10 : n > 32768 ? 100 : BLOCKS, usable = 0;
    struct hak_stats before = stats_of(box);
    for (size_t i = 0; i < blocks; i++) {
        p[i] = malloc(n);
        usable += malloc_usable_size(p[i]);
        EXPECT_STR(hak.owner(p[i]), box);
    }
    struct hak_stats full = stats_of(box);
    EXPECT_EQ(full.live_count - before.live_count, blocks);
    EXPECT_EQ(full.live_bytes - before.live_bytes, usable);
    EXPECT_GE(full.allocs - before.allocs, blocks);
    EXPECT_GE(full.mapped_bytes, full.live_bytes);
    EXPECT_GE(full.mapped_peak_bytes, full.mapped_bytes);
    EXPECT_GE(full.peak_bytes, full.live_bytes);
    for (size_t i = 0; i < blocks; i++)
        free(p[i]);
    struct hak_stats after = stats_of(box);
    EXPECT_EQ(after.live_count, before.live_count);
    EXPECT_EQ(after.live_bytes, before.live_bytes);
    EXPECT_GE(after.frees - before.frees, blocks);
}

TEST(stats_add_up)
{
    NEED_BOXES();
    for (int i = 0; i < SIZES; i++)
        check_stats(sizes[i]);
    struct hak_stats s = {.allocs = 77};
    EXPECT_EQ(hak.stats("no-such-box", &s), -ENOENT);
    EXPECT_EQ(s.allocs, 77);
}

static void *take_and_free(void *unused)
{
    static __thread void *p[2000];
    for (int i = 0; i < 2000; i++)
        p[i] = malloc(1 + (size_t)i % 900);
    for (int i = 0; i < 2000; i++)
        free(p[i]);
    return unused;
}

TEST(stats_of_ended_threads_add_up)
{
    NEED_BOXES();
    const char *box = box_for(600);
    uint64_t live = stats_of(box).live_count;
    for (int round = 0; round < 5; round++) {
        pthread_t thread[4];
        for (int i = 0; i < 4; i++)
            EXPECT_EQ(pthread_create(&thread[i], NULL, take_and_free, NULL), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(thread[i], NULL);
    }
    /* a thread's descriptor and the like may stay */
    EXPECT_LE(stats_of(box).live_count, live + 20);
}

TEST(owner_of_odd_pointers)
{
    int on_stack = 0;
    NEED_BOXES();
    EXPECT(hak.owner(NULL) == NULL);
    EXPECT(hak.owner((void *)1) == NULL);
    EXPECT(hak.owner(&on_stack) == NULL);
    EXPECT(hak.owner(&hak) == NULL);
    EXPECT(hak.owner((void *)UINTPTR_MAX) == NULL);
    EXPECT(hak.owner((void *)((uintptr_t)1 << 63)) == NULL);
    for (int i = 0; i < SIZES; i++) {
        char *p = malloc(sizes[i]);
        EXPECT_STR(hak.owner(p + sizes[i] - 1), box_for(sizes[i]));
        free(p);
    }
}

TEST(trim_says_how_much)
{
    enum { BLOCKS = 100000 };
    static void *p[BLOCKS];
    NEED_BOXES();
    for (int i = 0; i < BLOCKS; i++)
        p[i] = memset(malloc(300), 1, 300);
    for (int i = 0; i < BLOCKS; i++)
        free(p[i]);
    size_t before = rss_bytes(), trimmed = hak.trim();
    EXPECT_GT(trimmed, 0);
    EXPECT_LT(rss_bytes(), 16 * MIB);
    EXPECT_LE(before - rss_bytes(), trimmed + MIB);
}

/* ---- reports ------------------------------------------------------------ */

static char report[65536];

static const char *read_report(bool json)
{
    int fd = memfd_create("report", MFD_CLOEXEC);
    EXPECT_EQ(hak.report(fd, json), 0);
    ssize_t n = pread(fd, report, sizeof report - 1, 0);
    EXPECT_GT(n, 0);
    EXPECT_EQ(report[n - 1], '\n');
    report[n] = 0;
    close(fd);
    return report;
}

TEST(report_as_text)
{
    NEED_BOXES();
    const char *text = read_report(false);
    EXPECT_EQ(strncmp(text, "hakmem ", 7), 0);
    EXPECT_CONTAINS(text, "libc");
    EXPECT_CONTAINS(text, "route");
    for (int i = 0; i < SIZES; i++)
        EXPECT_CONTAINS(text, box_for(sizes[i]));
}

TEST(report_as_json)
{
    NEED_BOXES();
    const char *json = read_report(true);
    EXPECT_STR(json_end(json), "\n");
    EXPECT(strchr(json, '\n')[1] == 0); /* one line */
    for (int i = 0; i < SIZES; i++) {
        char name[80];
        snprintf(name, sizeof name, "\"name\":\"%s\"", box_for(sizes[i]));
        EXPECT_CONTAINS(json, name);
    }
    EXPECT_CONTAINS(json, "\"libc_allocs\":");
    EXPECT_CONTAINS(json, "\"boxes\":[");
    EXPECT_CONTAINS(json, "\"routes\":[");
}

TEST(report_tells_of_write_errors)
{
    NEED_BOXES();
    EXPECT_EQ(hak.report(-1, false), -EBADF);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full >= 0)
        EXPECT_EQ(hak.report(full, true), -ENOSPC);
}

TEST_MAIN()

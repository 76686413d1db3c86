/* SPDX-License-Identifier: MIT
 * figures.c - what the malloc family says of itself: mallinfo2 and kin. */
#include "common.h"

#include <malloc.h>

enum { BLOCKS = 20000, BLOCK_BYTES = 512 };
static void *block[BLOCKS];

static void take(void)
{
    for (int i = 0; i < BLOCKS; i++)
        block[i] = memset(malloc(BLOCK_BYTES), 1, BLOCK_BYTES);
}

static void give(void)
{
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

/* A second of `margin`: what other blocks and free lists may account for. */
static void expect_near(size_t value, size_t wanted, size_t margin)
{
    EXPECT_GE(value + margin, wanted);
    EXPECT_LE(value, wanted + margin);
}

/* For those that tell of bytes: of a foreign box calls alone are counted. */
static void need_bytes(void)
{
    if (is_foreign())
        SKIP("the bytes of a foreign box are its own affair");
}

TEST(mallinfo2_follows)
{
    need_bytes();
    size_t bytes = (size_t)BLOCKS * BLOCK_BYTES;
    struct mallinfo2 before = mallinfo2();
    EXPECT_EQ(before.arena, before.uordblks + before.fordblks);
    take();
    struct mallinfo2 full = mallinfo2();
    expect_near(full.uordblks - before.uordblks, bytes, bytes / 10);
    EXPECT_GE(full.arena, bytes);
    EXPECT_EQ(full.arena, full.uordblks + full.fordblks);
    give();
    struct mallinfo2 after = mallinfo2();
    expect_near(after.uordblks, before.uordblks, bytes / 10);
}

TEST(mallinfo_follows)
{
    need_bytes();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    size_t bytes = (size_t)BLOCKS * BLOCK_BYTES;
    struct mallinfo before = mallinfo();
    take();
    struct mallinfo full = mallinfo();
    expect_near((size_t)(full.uordblks - before.uordblks), bytes, bytes / 10);
    give();
#pragma GCC diagnostic pop
}

static char text[65536];

/* What malloc_info says, into text. */
static size_t read_info(void)
{
    int fd = memfd_create("info", MFD_CLOEXEC);
    FILE *f = fdopen(dup(fd), "w");
    EXPECT(f != NULL);
    EXPECT_EQ(malloc_info(0, f), 0);
    EXPECT_NE(malloc_info(1, f), 0);
    EXPECT_EQ(fclose(f), 0);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    EXPECT_GT(n, 0);
    close(fd);
    text[n] = 0;
    return (size_t)n;
}

TEST(malloc_info_is_xml)
{
    size_t n = read_info();
    EXPECT_EQ(strncmp(text, "<malloc version=\"", 17), 0);
    EXPECT_STR(text + n - 10, "</malloc>\n");
    long opened = 0; /* elements: each is closed by its like or by "/>" */
    for (const char *at = text; *at != 0; at++) {
        if (at[0] == '<')
            opened += at[1] == '/' ? -1 : 1;
        if (at[0] == '/' && at[1] == '>')
            opened--;
        EXPECT_GE(opened, 0);
    }
    EXPECT_EQ(opened, 0);
}

/* The sum of the numbers that follow `name` in text; *last: the last of them.
 */
static size_t sum_of(const char *name, size_t *last)
{
    size_t sum = 0;
    *last = 0;
    for (const char *at = text; (at = strstr(at, name)) != NULL; sum += *last) {
        at += strlen(name);
        *last = strtoull(at, NULL, 10);
    }
    return sum;
}

TEST(malloc_info_follows)
{
    need_bytes();
    size_t bytes = (size_t)BLOCKS * BLOCK_BYTES, system;
    read_info();
    size_t before = sum_of(" live_bytes=\"", &system);
    take();
    read_info();
    if (under_hakmem())
        expect_near(sum_of(" live_bytes=\"", &system) - before, bytes,
                    bytes / 10);
    sum_of("<system type=\"current\" size=\"", &system); /* the whole's */
    EXPECT_GE(system, bytes);
    give();
}

/* What malloc_stats writes to stderr, into text. */
static void read_stats(void)
{
    int fd = memfd_create("stats", MFD_CLOEXEC), kept = dup(2);
    dup2(fd, 2);
    malloc_stats();
    dup2(kept, 2);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    EXPECT_GT(n, 40);
    EXPECT_EQ(text[n - 1], '\n');
    text[n] = 0;
    close(fd);
    close(kept);
}

/* Live blocks of all boxes, of a table whose rows begin: name, allocations,
 * frees, live; glibc: what is in use as so many blocks. */
static size_t stats_live(void)
{
    size_t live = 0, allocs, frees, count;
    read_stats();
    if (!under_hakmem()) {
        sum_of("in use bytes     =", &live);
        return live / BLOCK_BYTES;
    }
    for (const char *line = strstr(text, "\nbox "); line != NULL;
         line = strchr(line + 1, '\n'))
        if (sscanf(line, " %*s %zu %zu %zu", &allocs, &frees, &count) == 3) {
            EXPECT_EQ(allocs - frees, count);
            live += count;
        }
    return live;
}

TEST(malloc_stats_follows)
{
    size_t before = stats_live();
    EXPECT_CONTAINS(text, under_hakmem() ? "hakmem" : "Arena 0:");
    take();
    expect_near(stats_live() - before, BLOCKS, BLOCKS / 10);
    give();
    expect_near(stats_live(), before, BLOCKS / 10);
}

TEST(malloc_trim_gives_back)
{
    enum { MANY = 300000 };
    static char *p[MANY];
    size_t base = rss_bytes();
    for (int i = 0; i < MANY; i++)
        p[i] = memset(malloc(300), 1, 300);
    size_t peak = rss_bytes();
    EXPECT_GT(peak - base, 80 * MIB);
    for (int i = 0; i < MANY; i++)
        free(p[i]);
    int done = malloc_trim(0);
    OWN_BOUND(EXPECT_EQ(done, 1));
    OWN_BOUND(EXPECT_LT(rss_bytes(), base + (peak - base) / 5));
    EXPECT_GE(malloc_trim(0), 0);
}

TEST(mallopt_agrees)
{
    EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, 256 * KIB), 1);
    EXPECT_EQ(mallopt(M_ARENA_MAX, 2), 1);
    void *p = malloc(300 * KIB);
    EXPECT(p != NULL);
    free(p);
}

TEST_MAIN()

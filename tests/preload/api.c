/* SPDX-License-Identifier: MIT
 * api.c - hakmem.h's calls, found with dlsym as a program would that runs
 * with and without the library. Skipped where there is none of it.
 */
#include "common.h"
#include "json.h"

#include <hakmem/hakmem.h>
#include <malloc.h>
#include <pthread.h>

static struct {
    const char *(*version)(void);
    int (*report)(int fd, bool json);
    int (*stats)(const char *box, struct hak_stats *out);
    int (*route)(const char *range, const char *route);
    int (*drain)(const char *box);
    const char *(*owner)(const void *p);
    size_t (*trim)(void);
} hak;

static void *symbol(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    EXPECT(p != NULL && name);
    return p;
}

/* Skips what cannot be tested here: no hakmem, or no box for a size. */
#define NEED_BOXES()                  \
    do {                              \
        if (!under_hakmem())          \
            SKIP("not under hakmem"); \
        find_calls();                 \
    } while (0)

static void find_calls(void)
{
    *(void **)&hak.version = symbol("hak_version");
    *(void **)&hak.report = symbol("hak_report");
    *(void **)&hak.stats = symbol("hak_stats");
    *(void **)&hak.route = symbol("hak_route");
    *(void **)&hak.drain = symbol("hak_drain");
    *(void **)&hak.owner = symbol("hak_owner");
    *(void **)&hak.trim = symbol("hak_trim");
}

/* The box that serves a size now; libc's blocks have none. */
static const char *box_for(size_t n)
{
    void *p = malloc(n);
    const char *box = hak.owner(p);
    free(p);
    return box != NULL && strcmp(box, "libc") != 0 ? box : NULL;
}

static struct hak_stats stats_of(const char *box)
{
    struct hak_stats s;
    EXPECT_EQ(hak.stats(box, &s), 0);
    EXPECT_EQ(s.allocs - s.frees, s.live_count);
    return s;
}

static const size_t sizes[] = {1,    16,    100,   600,    1024,   1025,
                               5000, 32768, 32769, 200000, 3 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

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
    if (box == NULL)
        return;
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
    if (box == NULL)
        SKIP("no box for 600 bytes");
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
        const char *box = box_for(sizes[i]);
        char *p = malloc(sizes[i]);
        if (box != NULL)
            EXPECT_STR(hak.owner(p + sizes[i] - 1), box);
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
        if (box_for(sizes[i]) != NULL)
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
        const char *box = box_for(sizes[i]);
        if (box == NULL)
            continue;
        snprintf(name, sizeof name, "\"name\":\"%s\"", box);
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

/* ---- routes ------------------------------------------------------------- */

enum { ROUTED_BYTES = 600, ROUTED_THREADS = 3, ROUTED_BLOCKS = 500 };
static struct {
    const char *want; /* box that every thread waits to see */
    int seen, stop;
} routed;

/* Keeps so many blocks: with one, a list of free slots never runs dry. */
static void *watch_route(void *blocks)
{
    void *p[ROUTED_BLOCKS] = {NULL};
    const char *reported = NULL;
    for (size_t i = 0; !__atomic_load_n(&routed.stop, __ATOMIC_ACQUIRE); i++) {
        size_t at = i % (uintptr_t)blocks;
        if (p[at] != NULL)
            EXPECT_PATTERN(p[at], ROUTED_BYTES, at);
        free(p[at]);
        p[at] = malloc(ROUTED_BYTES);
        fill(p[at], ROUTED_BYTES, at);
        const char *want = __atomic_load_n(&routed.want, __ATOMIC_ACQUIRE);
        if (want != reported && strcmp(hak.owner(p[at]), want) == 0) {
            reported = want;
            __atomic_add_fetch(&routed.seen, 1, __ATOMIC_RELEASE);
        }
    }
    for (int i = 0; i < ROUTED_BLOCKS; i++)
        free(p[i]);
    return NULL;
}

/* All threads see new blocks come from `box` before 10 s are over. */
static void await_route(const char *box)
{
    double until = seconds() + 10;
    __atomic_store_n(&routed.seen, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&routed.want, box, __ATOMIC_RELEASE);
    while (__atomic_load_n(&routed.seen, __ATOMIC_ACQUIRE) < ROUTED_THREADS) {
        EXPECT_LT(seconds(), until);
        usleep(100);
    }
}

/* A thread may use up what its lane holds, a 64 KiB page at most. */
static int blocks_until(const char *box)
{
    static void *p[5000];
    int n = 0;
    while (n < 5000) {
        const char *owner = hak.owner(p[n++] = malloc(ROUTED_BYTES));
        if (owner != NULL && strcmp(owner, box) == 0)
            break;
    }
    for (int i = 0; i < n; i++)
        free(p[i]);
    return n;
}

TEST(route_moves_a_range)
{
    enum { OLD = 300 };
    static void *old[OLD];
    void *const keep[] = {(void *)1, (void *)20, (void *)ROUTED_BLOCKS};
    NEED_BOXES();
    const char *from = box_for(ROUTED_BYTES), *to = box_for(5000);
    pthread_t thread[ROUTED_THREADS];
    if (from == NULL || to == NULL || strcmp(from, to) == 0)
        SKIP("two boxes are needed");
    uint64_t live = stats_of(from).live_count;
    for (size_t i = 0; i < OLD; i++)
        fill(old[i] = malloc(ROUTED_BYTES), ROUTED_BYTES, i);
    routed.want = from;
    for (int i = 0; i < ROUTED_THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, watch_route, keep[i]), 0);
    for (int turn = 0; turn < 20; turn++) {
        EXPECT_EQ(hak.route("513-1024", turn % 2 == 0 ? to : from), 0);
        await_route(turn % 2 == 0 ? to : from);
    }
    EXPECT_EQ(hak.route("C7", to), 0);
    await_route(to);
    __atomic_store_n(&routed.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < ROUTED_THREADS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_LT(blocks_until(to), 65536 / ROUTED_BYTES + 1);
    EXPECT_STR(box_for(100), box_for(500)); /* the range, no more */
    for (size_t i = 0; i < OLD; i++) {
        EXPECT_STR(hak.owner(old[i]), from);
        EXPECT_PATTERN(old[i], ROUTED_BYTES, i);
        free(old[i]);
    }
    EXPECT_LE(stats_of(from).live_count, live + 20);
}

TEST(route_refuses)
{
    NEED_BOXES();
    const char *box = box_for(600);
    if (box == NULL)
        SKIP("no box for 600 bytes");
    EXPECT_EQ(hak.route("C4", "no-such-route"), -ENOENT);
    EXPECT_EQ(hak.route("C9", box), -EINVAL);
    EXPECT_EQ(hak.route("", box), -EINVAL);
    EXPECT_EQ(hak.route("600-500", box), -EINVAL);
    EXPECT_EQ(hak.route("12x", box), -EINVAL);
    EXPECT_STR(box_for(600), box);
}

/* ---- draining ----------------------------------------------------------- */

/* In a process of its own: what is drained stays so. */
static void check_drain(size_t n)
{
    const char *box = box_for(n);
    if (box == NULL)
        return;
    uint64_t others = stats_of(box).live_count;
    char *p = malloc(n), *q = malloc(n);
    fill(p, n, 3);
    EXPECT_EQ(hak.drain(box), 0);
    char *elsewhere = malloc(n);
    EXPECT(elsewhere != NULL);
    EXPECT(hak.owner(elsewhere) == NULL || strcmp(hak.owner(elsewhere), box));
    EXPECT_STR(hak.owner(p), box);
    EXPECT_PATTERN(p, n, 3);
    free(p);
    EXPECT_EQ(hak.drain(box), 0);
    q = realloc(q, n + 1); /* away from the box, if it has to move */
    EXPECT(q != NULL);
    free(q);
    free(elsewhere);
    EXPECT_EQ(stats_of(box).live_count, others);
    if (others == 0) {
        EXPECT_EQ(hak.drain(box), 1);
        EXPECT_EQ(hak.drain(box), 1);
    }
    for (size_t k = 1; k < 300000; k = k * 5 / 3 + 1)
        free(memset(malloc(k), 1, k));
}

TEST(drain_then_retired)
{
    bool retired = false;
    NEED_BOXES();
    for (int i = 0; i < SIZES; i++) {
        const char *box = box_for(sizes[i]);
        retired |= box != NULL && stats_of(box).live_count == 0;
        pid_t pid = fork();
        if (pid == 0) {
            check_drain(sizes[i]);
            _exit(0);
        }
        expect_child_ok(pid, 20);
    }
    EXPECT(retired); /* at least one box had no block of somebody else's */
    EXPECT_EQ(hak.drain("no-such-box"), -ENOENT);
}

static void *work(void *unused)
{
    uint64_t random = 1;
    for (int i = 0; i < 200000; i++) {
        size_t n = random_size(&random, 0, 11);
        free(memset(malloc(n), 1, n));
    }
    return unused;
}

TEST(drain_beside_running_threads)
{
    pthread_t thread[3];
    NEED_BOXES();
    const char *box = box_for(600);
    if (box == NULL)
        SKIP("no box for 600 bytes");
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, work, NULL), 0);
    usleep(1000);
    EXPECT_GE(hak.drain(box), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    EXPECT_GE(hak.drain(box), 0);
    EXPECT(box_for(600) == NULL || strcmp(box_for(600), box) != 0);
}

TEST_MAIN()

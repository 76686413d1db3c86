/* SPDX-License-Identifier: MIT
 * test_space_limits.c - the window: other people's mappings, reserved granules,
 * locked memory, limits on address space and on mappings.
 */
#include "space.h"

#include <sys/resource.h>

/* ---- other people's mappings ----------------------------------------- */

static char *theirs(char *at)
{
    char *p = mmap(at, OS_PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    EXPECT(p == at);
    memset(p, 0x77, OS_PAGE);
    return p;
}

static void expect_theirs(const char *p)
{
    for (size_t i = 0; i < OS_PAGE; i++)
        EXPECT_EQ(p[i], 0x77);
}

static bool apart(const char *p, size_t granules, const char *other)
{
    return other + OS_PAGE <= p || p + granules * G <= other;
}

TEST(a_mapping_at_the_frontier)
{
    start(NEVER_MS);
    char *p = take(1, 0, 0);
    char *page = theirs(p + 20 * G + 5 * OS_PAGE), *more = theirs(p + 300 * G);
    for (size_t total = 0, n = 0; total < 600; total += n) {
        n = 1 + rnd(30);
        char *q = take(n, 0, HAK_MAP_ZERO);
        EXPECT(q != NULL && apart(q, n, page) && apart(q, n, more));
        expect_all(q, n * G, 0);
        write_to(q, n * G, 1);
    }
    expect_theirs(page);
    expect_theirs(more);
    expect_all(p, G, 0);
}

TEST(a_mapping_in_a_hole)
{
    start(NEVER_MS);
    char *p = take(100, 0, 0), *kept = take(1, 0, 0);
    hak_space_give(p, 100 * G);
    EXPECT_EQ(hak_space_trim(), 100 * G);
    char *page = theirs(p + 50 * G);
    char *q = take(100, 0, HAK_MAP_ZERO);
    EXPECT(q != NULL && apart(q, 100, page) && q > kept);
    char *low = take(50, 0, HAK_MAP_ZERO), *high = take(49, 0, HAK_MAP_ZERO);
    EXPECT(low == p && high == p + 51 * G); /* what is left of the hole */
    write_to(low, 50 * G, 1);
    write_to(high, 49 * G, 1);
    expect_theirs(page);
    EXPECT_EQ(figures().used_bytes, 200 * G);
}

TEST(a_mapping_stops_growth_in_place)
{
    start(NEVER_MS);
    char *p = take(16, 0, 0); /* all that is mapped */
    write_to(p, 16 * G, 1);
    char *page = theirs(p + 16 * G);
    char *q = hak_space_move(p, 16 * G, 20 * G);
    EXPECT(q != NULL && q != p && apart(q, 20, page));
    expect_all(q, 16 * G, 1);
    expect_all(q + 16 * G, 4 * G, 0);
    expect_theirs(page);
}

/* ---- reserved granules ----------------------------------------------- */

static char *reserve(size_t granules)
{
    char *p = hak_space_reserve(granules * G, 0);
    EXPECT(p != NULL && (uintptr_t)p % G == 0);
    return p;
}

TEST(reserved_granules_are_not_mapped)
{
    start(NEVER_MS);
    char *taken = take(1, 0, 0), *p = reserve(100), *more = take(40, 0, 0);
    EXPECT(apart(p, 100, taken) && (more + 40 * G <= p || more >= p + 100 * G));
    for (size_t at = 0; at < 100 * G; at += OS_PAGE)
        EXPECT_EQ(resident(p + at, OS_PAGE), -1);
    EXPECT_EQ(figures().used_bytes, 41 * G);
    EXPECT_EQ(hak_space_open(p + G, 2 * OS_PAGE, false), 0);
    EXPECT_EQ(hak_space_open(p + 50 * G, G, true), 0);
    EXPECT_EQ(resident(p + G, 2 * OS_PAGE), 0);
    EXPECT_EQ(resident(p + 50 * G, G), G / OS_PAGE); /* now */
    EXPECT_EQ(figures().used_bytes, 42 * G + 2 * OS_PAGE);
    for (int round = 0; round < 2; round++) { /* what was there is gone */
        expect_all(p + G, 2 * OS_PAGE, 0);
        write_to(p + G, 2 * OS_PAGE, 1);
        EXPECT(hak_space_close(p + G, 2 * OS_PAGE));
        EXPECT_EQ(resident(p + G, OS_PAGE), -1);
        EXPECT_EQ(figures().used_bytes, 42 * G);
        EXPECT_EQ(hak_space_open(p + G, 2 * OS_PAGE, round == 0), 0);
    }
}

/* Both kinds of ranges, of boxes that come and go: each keeps its content. */
TEST(reserved_and_mapped_ranges_do_not_meet)
{
    static struct block b[LIVE], r[LIVE];
    start(1);
    for (int i = 0; i < STEPS; i++) {
        struct block *at = &r[rnd(LIVE)];
        random_steps(b, LIVE, 1);
        if (at->p != NULL) {
            expect_all(at->p + G, at->n * G, at->mark);
            EXPECT(hak_space_close(at->p + G, at->n * G));
            hak_space_unreserve(at->p, (at->n + 2) * G);
            at->p = NULL;
            continue;
        }
        at->n = 1 + rnd(rnd(10) == 0 ? 70 : 10);
        at->p = reserve(at->n + 2); /* closed on both sides */
        EXPECT_EQ(hak_space_open(at->p + G, at->n * G, rnd(2) == 0), 0);
        expect_all(at->p + G, at->n * G, 0);
        at->mark = (unsigned char)(1 + rnd(255));
        write_to(at->p + G, at->n * G, at->mark);
        EXPECT_EQ(resident(at->p, G), -1);
        EXPECT_EQ(resident(at->p + (at->n + 1) * G, G), -1);
    }
}

TEST(what_others_have_mapped_is_not_opened)
{
    start(NEVER_MS);
    char *p = reserve(10), *page = theirs(p + 3 * G);
    EXPECT_EQ(hak_space_open(p, 10 * G, false), -EEXIST);
    EXPECT_EQ(hak_space_open(page, OS_PAGE, true), -EEXIST);
    expect_theirs(page);
    EXPECT_EQ(hak_space_open(p, 3 * G, false), 0);
    EXPECT_EQ(hak_space_open(page + OS_PAGE, G, false), 0);
    EXPECT_EQ(figures().used_bytes, 4 * G);
}

TEST(the_whole_window_can_be_reserved)
{
    start(NEVER_MS);
    size_t window = hak_directory.limit_real;
    char *p = take(4, 0, 0);
    hak_space_give(p, 4 * G); /* mapped and free: in the way */
    EXPECT(hak_space_reserve((window + 1) * G, 0) == NULL);
    p = reserve(window);
    EXPECT(hak_space_reserve(G, 0) == NULL);
    EXPECT(hak_space_take(G, 0, 0) == NULL);
    hak_space_unreserve(p + 5 * G, G);
    EXPECT(take(1, 0, 0) == p + 5 * G);
}

/* ---- a program that locks its memory --------------------------------- */

static size_t rss_bytes(void)
{
    char text[64] = "", *resident = text;
    int fd = open("/proc/self/statm", O_RDONLY);
    EXPECT(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    strtoul(text, &resident, 10);
    return strtoul(resident, NULL, 10) * OS_PAGE;
}

static void lock_memory(void)
{
    SKIP_TSAN("its own memory is too much");
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        SKIP("memory may not be locked");
}

/* A thousand times the window is no more memory. */
TEST(a_large_window_is_no_memory_when_it_is_locked)
{
    static const size_t window_bytes[] = {(size_t)4 << 30, (size_t)4 << 40};
    lock_memory();
    const char *zeros = hak_os_map((size_t)64 << 20, PROT_READ);
    if (zeros == NULL || rss_bytes() > (size_t)64 << 20)
        SKIP("this kernel has no page of zeros for what is only read");
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            lock_memory(); /* a child inherits no locks */
            size_t before = rss_bytes();
            EXPECT_EQ(hak_space_start(window_bytes[i], NEVER_MS), 0);
            EXPECT(take(1, 0, 0) != NULL);
            EXPECT_LE(rss_bytes() - before, (size_t)1 << 20);
            _exit(0);
        }
        int status = -1;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
}

TEST(nothing_is_mapped_ahead_when_it_is_locked)
{
    start(NEVER_MS);
    lock_memory();
    for (size_t i = 1; i < 100; i++) {
        EXPECT(take(1, 0, 0) != NULL);
        EXPECT_EQ(figures().free_bytes, 0);
    }
    EXPECT_EQ(munlockall(), 0);
    EXPECT(take(1, 0, 0) != NULL && take(1, 0, 0) != NULL);
    EXPECT_GT(figures().free_bytes, 0);
}

TEST(locked_memory_goes_back)
{
    start(NEVER_MS);
    lock_memory();
    char *p = take(3, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 3 * G, 1);
    write_to(kept, G, 2);
    hak_space_give(p, 3 * G);
    EXPECT_EQ(hak_space_trim(), 3 * G);
    EXPECT_EQ(resident(p, G), -1);
    EXPECT(take(3, 0, HAK_MAP_ZERO) == p);
    expect_all(p, 3 * G, 0);
    expect_all(kept, G, 2);
}

/* ---- limits ---------------------------------------------------------- */

static void limit_address_space(size_t more_bytes)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    EXPECT(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    size_t now = strtoul(text, NULL, 10) * OS_PAGE;
    struct rlimit limit = {now + more_bytes, RLIM_INFINITY};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Take pieces until none is left; returns how many there were. */
static size_t take_all(char **piece, size_t most, size_t granules)
{
    size_t n = 0;
    while (n < most && (piece[n] = take(granules, 0, 0)) != NULL)
        write_to(piece[n++], granules * G, 1);
    return n;
}

TEST(exhaustion_and_after)
{
    enum { MIB = 16, LIMIT_MIB = 64 };
    static char *piece[LIMIT_MIB * 2];
    errno = 0;
    start(NEVER_MS);
    limit_address_space((size_t)LIMIT_MIB << 20);
    size_t n = take_all(piece, LIMIT_MIB * 2, MIB);
    EXPECT(n >= LIMIT_MIB - 1 && n <= LIMIT_MIB);
    EXPECT_EQ(figures().used_bytes, n * MIB * G);
    EXPECT(take(MIB, 0, HAK_MAP_ZERO) == NULL);
    EXPECT_EQ(figures().free_bytes, 0); /* all that was free was tried */
    EXPECT(hak_space_move(piece[0], MIB * G, 2 * MIB * G) == NULL);
    for (size_t i = 0; i < n; i++)
        expect_all(piece[i], MIB * G, 1);
    for (size_t i = 0; i < n; i++)
        hak_space_give(piece[i], MIB * G);
    EXPECT_EQ(take_all(piece, LIMIT_MIB * 2, MIB), n);
    for (size_t i = 0; i < n; i += 2)
        hak_space_give(piece[i], MIB * G);
    char *big = take(8 * MIB, 0, HAK_MAP_ZERO); /* from many small holes */
    EXPECT(big != NULL);
    expect_all(big, 8 * MIB * G, 0);
    EXPECT_EQ(errno, 0);
}

TEST(reserved_granules_count_when_they_are_open)
{
    enum { MIB = 16 };
    errno = 0;
    start(NEVER_MS);
    char *ahead = take(1, 0, 0), *p = reserve(4096 * MIB);
    EXPECT(figures().free_bytes != 0); /* it is mapped, and nobody's */
    limit_address_space((size_t)8 * MIB * G);
    EXPECT_EQ(hak_space_open(p, 7 * MIB * G, false), 0);
    EXPECT_EQ(hak_space_open(p + 9 * MIB * G, 2 * MIB * G, true), -ENOMEM);
    EXPECT_EQ(figures().free_bytes, 0); /* it was tried */
    write_to(ahead, G, 1);
    EXPECT(hak_space_close(p, 7 * MIB * G));
    EXPECT_EQ(hak_space_open(p + 9 * MIB * G, 2 * MIB * G, true), 0);
    EXPECT_EQ(errno, 0);
}

/* Pages of the program's, each a mapping of its own, until there are no more.
 */
static void use_up_mappings(void)
{
    enum { PAGES = 1 << 20 };
    char *p = mmap(NULL, (size_t)PAGES * OS_PAGE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(p != MAP_FAILED);
    size_t i = 0;
    while (i < PAGES && mprotect(p + i * OS_PAGE, OS_PAGE, PROT_READ) == 0)
        i += 2;
    if (i == PAGES)
        SKIP("more mappings than can be used up");
    while (mmap(NULL, OS_PAGE, i++ % 2 ? PROT_READ : PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        ;
}

/* To close what is between closed pages takes none; one must be left to cut
 * what is open in two. */
TEST(no_mapping_is_left)
{
    SKIP_TSAN("its own mappings need more");
    start(NEVER_MS);
    char *p = reserve(10), *other = reserve(10);
    EXPECT_EQ(hak_space_open(p + G, G, true), 0);
    EXPECT_EQ(hak_space_open(other + G, 3 * G, true), 0);
    write_to(other + G, 3 * G, 1);
    use_up_mappings();
    EXPECT_EQ(hak_space_open(p + 4 * G, G, true), -ENOMEM);
    EXPECT(!hak_space_close(other + 2 * G, G));
    expect_all(other + 2 * G, G, 0); /* purged, and open */
    EXPECT_EQ(figures().used_bytes, 4 * G);
    EXPECT(hak_space_close(p + G, G));
    EXPECT(hak_space_close(other + 3 * G, G));
    EXPECT_EQ(hak_space_open(p + 4 * G, G, true), 0); /* one is back */
    EXPECT(hak_space_close(other + G, 2 * G));
    EXPECT_EQ(figures().used_bytes, G);
}

TEST(start_with_little_address_space)
{
    if (TEST_TSAN || TEST_ASAN)
        SKIP("a sanitizer's own address space is above any limit");
    limit_address_space((size_t)256 << 20);
    start(NEVER_MS);
    EXPECT_LE(hak_directory.limit_real * G, (size_t)4 << 30);
    char *p = take(1024, 0, HAK_MAP_ZERO);
    EXPECT(p != NULL);
    expect_all(p, 1024 * G, 0);
}

TEST_MAIN()

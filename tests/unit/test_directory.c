/* SPDX-License-Identifier: MIT
 * test_directory.c - granule -> span: entries, what is writable, any pointer.
 */
#include "test.h"

#include <base/os.h>
#include <core/memory/directory.h>
#include <core/state/directory.h>
#include <core/state/thread.h>
#include <sys/resource.h>

/* The directory never touches the window itself: it need not be mapped. */
static const uintptr_t base = (uintptr_t)20 << 40;
static const size_t window_bytes = (size_t)4 << 30;
static const size_t ready_bytes = (size_t)512 << 20; /* writable at a time */

static struct hak_span one, two;

static void *at(size_t granule)
{
    return (void *)(base + granule * HAK_GRANULE_BYTES);
}

static void start(void)
{
    EXPECT_EQ(hak_directory_start(base, window_bytes), 0);
    EXPECT_EQ(hak_directory.base, base);
    EXPECT_EQ(hak_directory.limit_real, window_bytes / HAK_GRANULE_BYTES);
    EXPECT_EQ(hak_directory.limit, 0); /* frees take the slow path until then */
}

TEST(entries_hold_exactly_their_range)
{
    start();
    EXPECT(hak_directory_ready(at(0), window_bytes));
    hak_directory_set(&one, at(10), 5 * HAK_GRANULE_BYTES);
    hak_directory_set(&two, at(12), HAK_GRANULE_BYTES);
    for (size_t g = 0; g < 100; g++) {
        struct hak_span *span = g < 10 || g > 14 ? NULL : g == 12 ? &two : &one;
        EXPECT(hak_directory_get(at(g)) == span);
        EXPECT(hak_directory_get((char *)at(g) + 1) == span);
        EXPECT(hak_directory_get((char *)at(g + 1) - 1) == span);
    }
    hak_directory_set(NULL, at(11), 2 * HAK_GRANULE_BYTES);
    EXPECT(hak_directory_get(at(10)) == &one);
    EXPECT(hak_directory_get(at(11)) == NULL);
    EXPECT(hak_directory_get(at(12)) == NULL);
    EXPECT(hak_directory_get(at(13)) == &one);
}

TEST(the_last_granule)
{
    start();
    size_t n = window_bytes / HAK_GRANULE_BYTES;
    EXPECT(hak_directory_ready(at(n - 1), HAK_GRANULE_BYTES));
    hak_directory_set(&one, at(n - 1), HAK_GRANULE_BYTES);
    EXPECT(hak_directory_get((char *)at(n) - 1) == &one);
    EXPECT(hak_directory_get(at(n)) == NULL);
}

TEST_DIES(beyond_the_last_granule, SIGABRT, "end <= hak_directory.limit_real")
{
    start();
    EXPECT(hak_directory_ready(at(0), window_bytes));
    hak_directory_set(&one, at(window_bytes / HAK_GRANULE_BYTES - 1),
                      2 * HAK_GRANULE_BYTES);
}

TEST(any_pointer_may_be_asked_about)
{
    const uintptr_t asked[] = {0,
                               1,
                               4096,
                               base - 1,
                               base - HAK_GRANULE_BYTES,
                               base,
                               base + window_bytes / 2,
                               base + window_bytes - 1,
                               base + window_bytes,
                               base + window_bytes + HAK_GRANULE_BYTES,
                               base + ((uintptr_t)1 << 63),
                               (uintptr_t)1 << 47,
                               ((uintptr_t)1 << 47) - 1,
                               (uintptr_t)1 << 63,
                               0xdeadbeefdeadbeef,
                               (uintptr_t)&one,
                               UINTPTR_MAX};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        EXPECT(hak_directory_get((void *)asked[i]) == NULL); /* not started */
    start();
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        EXPECT(hak_directory_get((void *)asked[i]) == NULL);
    EXPECT(hak_directory_ready(at(0), window_bytes));
    hak_directory_set(&one, at(0), window_bytes);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        EXPECT_EQ(hak_directory_get((void *)asked[i]) == &one,
                  asked[i] - base < window_bytes);
}

/* ---- what is writable ------------------------------------------------ */

static size_t ready_entries(void)
{
    return ready_bytes / HAK_GRANULE_BYTES;
}

TEST(ready_makes_a_range_writable)
{
    start();
    size_t n = ready_entries();
    EXPECT(hak_directory_ready(at(n - 1), HAK_GRANULE_BYTES));
    hak_directory_set(&one, at(0), ready_bytes);
    EXPECT(hak_directory_ready(at(3 * n - 1), 2 * HAK_GRANULE_BYTES));
    hak_directory_set(&two, at(2 * n), 2 * ready_bytes);
    EXPECT(hak_directory_ready(at(0), window_bytes));
    EXPECT(hak_directory_get(at(n - 1)) == &one); /* ready again: kept */
    EXPECT(hak_directory_get(at(n)) == NULL);
    EXPECT(hak_directory_get(at(4 * n - 1)) == &two);
}

TEST_DIES(the_part_before_stays_read_only, SIGSEGV, NULL)
{
    start();
    EXPECT(hak_directory_ready(at(ready_entries()), HAK_GRANULE_BYTES));
    hak_directory_set(&one, at(ready_entries()), ready_bytes);
    hak_directory_set(&one, at(ready_entries() - 1), HAK_GRANULE_BYTES);
}

TEST_DIES(the_part_behind_stays_read_only, SIGSEGV, NULL)
{
    start();
    EXPECT(hak_directory_ready(at(ready_entries() - 1), HAK_GRANULE_BYTES));
    hak_directory_set(&one, at(ready_entries()), HAK_GRANULE_BYTES);
}

/* Linux counts private writable memory against RLIMIT_DATA. */
TEST(ready_without_memory_fails_and_works_later)
{
    start();
    struct rlimit had, none;
    EXPECT_EQ(getrlimit(RLIMIT_DATA, &had), 0);
    none = had;
    none.rlim_cur = 4096; /* 0 is a special case for valgrind's sake */
    EXPECT_EQ(setrlimit(RLIMIT_DATA, &none), 0);
    bool done = hak_directory_ready(at(0), HAK_GRANULE_BYTES);
    EXPECT_EQ(setrlimit(RLIMIT_DATA, &had), 0);
    EXPECT(!done);
    EXPECT(hak_directory_get(at(0)) == NULL);
    EXPECT(hak_directory_ready(at(0), HAK_GRANULE_BYTES));
    hak_directory_set(&one, at(0), HAK_GRANULE_BYTES);
    EXPECT(hak_directory_get(at(0)) == &one);
}

/* ---- tables of boxes ------------------------------------------------- */

static const uint32_t widths[] = {1, 8, 64};

TEST(tables_are_writable_where_the_window_is_in_use)
{
    uint64_t *table[3];
    size_t n = window_bytes / HAK_GRANULE_BYTES, last = n - 1;
    start();
    EXPECT(hak_directory_ready(at(0), 2 * ready_bytes)); /* before them */
    for (int i = 0; i < 3; i++)
        EXPECT((table[i] = hak_directory_table(widths[i], NULL)) != NULL);
    EXPECT(hak_directory_ready(at(last), HAK_GRANULE_BYTES));
    for (int i = 0; i < 3; i++) {
        size_t nwords = n * widths[i] / 64;
        for (size_t w = 0; w < nwords; w++)
            EXPECT_EQ(table[i][w], 0);
        table[i][0] = 1; /* a fault otherwise */
        table[i][nwords / 4 - 1] = 2;
        table[i][nwords - 1] = 3;
    }
    EXPECT(hak_directory_ready(at(0), window_bytes));
    for (int i = 0; i < 3; i++)
        EXPECT(table[i][0] == 1 && table[i][n * widths[i] / 64 - 1] == 3);
}

/* A chunk has the bits of 32 GiB. */
TEST(a_table_of_bits_covers_a_large_window)
{
    const size_t bytes = (size_t)80 << 30, n = bytes / HAK_GRANULE_BYTES;
    EXPECT_EQ(hak_directory_start(base, bytes), 0);
    uint64_t *table[3];
    for (int i = 0; i < 3; i++)
        EXPECT((table[i] = hak_directory_table(1, NULL)) != NULL);
    EXPECT(hak_directory_ready(at(0), bytes));
    for (uint64_t i = 0; i < 3; i++)
        for (size_t w = 0; w < n / 64; w++)
            table[i][w] = i + 1;
    for (uint64_t i = 0; i < 3; i++) /* none lies over another one */
        for (size_t w = 0; w < n / 64; w++)
            EXPECT_EQ(table[i][w], i + 1);
}

TEST_DIES(a_table_is_read_only_elsewhere, SIGSEGV, NULL)
{
    start();
    uint64_t *table = hak_directory_table(64, NULL);
    EXPECT(hak_directory_ready(at(0), HAK_GRANULE_BYTES));
    table[0] = 1;
    table[ready_entries()] = 1;
}

TEST(tables_of_no_width)
{
    start();
    EXPECT(hak_directory_table(0, NULL) == NULL);
    EXPECT(hak_directory_table(3, NULL) == NULL);
    EXPECT(hak_directory_table(128, NULL) == NULL);
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Does a page that is only read cost memory? Linux maps one zero page for all
 * of them, but some builds of it do not. */
static bool reads_cost_memory(void)
{
    const size_t bytes = (size_t)32 << 20;
    long before = peak_kib();
    const volatile char *p = hak_os_map(bytes, PROT_READ);
    for (size_t at = 0; at < bytes; at += 4096)
        (void)p[at];
    return peak_kib() - before > 16 * 1024;
}

/* 16 TiB of window are 2 GiB of table: address space, no memory. */
TEST(a_large_window_costs_no_memory)
{
    SKIP_TSAN("ThreadSanitizer keeps a record of what is read");
    if (reads_cost_memory())
        SKIP("this kernel has no page of zeros for what is only read");
    long before = peak_kib();
    EXPECT_EQ(hak_directory_start(base, (size_t)16 << 40), 0);
    EXPECT(hak_directory_ready(at(0), ready_bytes));
    for (size_t g = 0; g < hak_directory.limit_real; g += 4096)
        EXPECT(hak_directory_get(at(g)) == NULL);
    EXPECT_LT(peak_kib() - before, 8 * 1024);
}

TEST_MAIN()

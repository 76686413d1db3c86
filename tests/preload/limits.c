/* SPDX-License-Identifier: MIT
 * limits.c - little address space, no memory left, and memory given back. */
#include "common.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/sysinfo.h>

enum { LIMIT_BYTES = 256 * MIB };

/* Blocks of any size are copied there. */
static bool is_hardened(void)
{
    return is_mode("conf/hardened.ini");
}

/* ---- life under `ulimit -v 262144` ------------------------------------- */

/*
 * A limit must be there before the allocator starts, so the program runs
 * itself anew for the one case.
 */
static void limit_from_the_start(__rlimit_resource_t which, rlim_t bytes,
                                 const char *test)
{
    struct rlimit limit = {bytes, bytes};
    if (getenv("HAK_TEST_LIMITED") != NULL)
        return;
    setenv("HAK_TEST_LIMITED", "yes", 1);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDOUT_FILENO); /* the inner TAP goes nowhere, the exit */
    EXPECT_EQ(setrlimit(which, &limit), 0); /* code says it all */
    execl("/proc/self/exe", "limits", test, (char *)NULL);
    _exit(1);
}

struct link {
    struct link *next;
    size_t size_bytes;
};

static void *take(size_t n, int kind)
{
    switch (kind % 3) {
    case 0:
        return calloc(1, n);
    case 1:
        return n > 64 ? memalign(64, n) : malloc(n);
    default:
        return malloc(n);
    }
}

/* Takes blocks until there are no more, or `enough`; returns the bytes. */
static size_t take_all(struct link **list, size_t n, size_t enough)
{
    size_t bytes = 0;
    for (int i = 0; bytes < enough; i++) {
        errno = 0;
        struct link *l = take(n, i);
        if (l == NULL) {
            EXPECT_EQ(errno, ENOMEM);
            return bytes;
        }
        *l = (struct link){*list, n};
        *list = l;
        bytes += n;
    }
    return bytes;
}

static void free_all(struct link **list, size_t n)
{
    while (*list != NULL) {
        struct link *l = *list;
        EXPECT_EQ(l->size_bytes, n);
        *list = l->next;
        free(l);
    }
}

/* Out of memory and back, twice; then the other sizes have it, too. */
static void run_out_of(size_t n)
{
    struct link *list = NULL;
    size_t first = take_all(&list, n, SIZE_MAX);
    EXPECT_GT(first, LIMIT_BYTES / 2);
    EXPECT_LT(first, LIMIT_BYTES);
    EXPECT(realloc(list, (size_t)LIMIT_BYTES) == NULL);
    EXPECT_EQ(list->size_bytes, n);
    free_all(&list, n);
    size_t second = take_all(&list, n, SIZE_MAX);
    OWN_BOUND(EXPECT_GT(second, first / 10 * 9));
    free_all(&list, n);
    malloc_trim(0);
    size_t other = take_all(&list, 300 * KIB, SIZE_MAX);
    OWN_BOUND(EXPECT_GT(other, LIMIT_BYTES / 2));
    free_all(&list, 300 * KIB);
}

TEST(runs_out_of_small_blocks)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "runs_out_of_small_blocks");
    run_out_of(100);
}

TEST(runs_out_of_kilobytes)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "runs_out_of_kilobytes");
    run_out_of(1000);
}

TEST(runs_out_of_middle_blocks)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "runs_out_of_middle_blocks");
    run_out_of(20000);
}

TEST(runs_out_of_large_blocks)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "runs_out_of_large_blocks");
    run_out_of(200 * KIB);
}

TEST(runs_out_of_huge_blocks)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "runs_out_of_huge_blocks");
    run_out_of(10 * MIB);
}

TEST(runs_out_of_data)
{
    limit_from_the_start(RLIMIT_DATA, LIMIT_BYTES, "runs_out_of_data");
    run_out_of(20000);
}

/* Tables that can be written to count, however little is in them. */
TEST(little_data)
{
    limit_from_the_start(RLIMIT_DATA, 64 * MIB, "little_data");
    struct link *list = NULL;
    size_t taken = take_all(&list, MIB, SIZE_MAX);
    OWN_BOUND(EXPECT_GT(taken, 40 * MIB));
}

/* With nothing left, little requests and frees still work or fail cleanly. */
TEST(works_when_full)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "works_when_full");
    struct link *large = NULL, *small = NULL;
    take_all(&large, MIB, SIZE_MAX);
    take_all(&small, 16, SIZE_MAX);
    for (size_t n = 1; n < 300000; n = n * 3 / 2 + 1) {
        char *p = malloc(n);
        if (p == NULL)
            continue;
        memset(p, 1, n);
        char *q = realloc(p, n * 4);
        free(q != NULL ? q : p);
    }
    free_all(&small, 16);
    free_all(&large, MIB);
    size_t again = take_all(&large, MIB, SIZE_MAX);
    OWN_BOUND(EXPECT_GT(again, LIMIT_BYTES / 2));
    free_all(&large, MIB);
}

/* Threads start together: one alone leaves no room for another's stack. */
static pthread_barrier_t all_started;

static void *thread_takes(void *unused)
{
    struct link *list = NULL;
    pthread_barrier_wait(&all_started);
    for (int i = 0; i < 3; i++) {
        take_all(&list, 50000, SIZE_MAX);
        free_all(&list, 50000);
    }
    return unused;
}

TEST(threads_run_out_together)
{
    limit_from_the_start(RLIMIT_AS, LIMIT_BYTES, "threads_run_out_together");
    pthread_t thread[3];
    pthread_attr_t attr;
    struct link *list = NULL;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * KIB);
    pthread_barrier_init(&all_started, NULL, 3);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], &attr, thread_takes, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    malloc_trim(0);
    size_t taken = take_all(&list, 3000, SIZE_MAX);
    OWN_BOUND(EXPECT_GT(taken, LIMIT_BYTES / 3));
}

/* ---- a limit that comes later ------------------------------------------- */

static void set_limit(size_t bytes)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

static void limited_later(size_t n)
{
    /* A region of 1 GiB is not to be used up: it gets slow before. */
    size_t all = (size_t)(is_foreign() ? 128 : 300) * MIB;
    struct link *before = NULL, *list = NULL;
    take_all(&before, n, 50 * MIB);
    set_limit(statm_bytes(0) + 64 * MIB);
    size_t limited = take_all(&list, n, all);
    OWN_BOUND(EXPECT_LT(limited, 256 * MIB)); /* a region is there already */
    EXPECT_GT(limited, 16 * MIB);
    free_all(&list, n);
    size_t again = take_all(&list, n, all);
    OWN_BOUND(EXPECT_GT(again, limited / 10 * 8));
    set_limit(SIZE_MAX);
    EXPECT_GE(take_all(&list, n, all), all);
    free_all(&list, n);
    free_all(&before, n);
}

TEST(limit_set_later)
{
    static const size_t sizes[] = {64, 700, 9000, 100000, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            limited_later(sizes[i]);
            _exit(0);
        }
        expect_child_ok(pid, 40);
    }
}

void free_sized(void *p, size_t size) __attribute__((weak));

/* A block that cannot move to a smaller place stays, and that is a success. */
TEST(shrinks_without_memory)
{
    static const size_t fillers[] = {3 * MIB, 60000, 3000, 200000, 100};
    struct link *list[5] = {NULL};
    char *p = malloc(3 * MIB);
    fill(p, 200000, 5);
    set_limit(statm_bytes(0) + 8 * MIB);
    for (size_t i = 0; i < 5; i++)
        take_all(&list[i], fillers[i], SIZE_MAX);
    errno = 0;
    char *q = realloc(p, 200000);
    EXPECT(q != NULL);
    EXPECT_EQ(errno, 0);
    EXPECT_PATTERN(q, 200000, 5);
    if (free_sized != NULL)
        free_sized(q, 200000);
    else
        free(q);
    for (size_t i = 0; i < 5; i++)
        free_all(&list[i], fillers[i]);
}

/* As `ulimit -v 262144` in a shell, which goes on. */
TEST(a_program_limits_itself)
{
    struct sysinfo info;
    struct link *list = NULL;
    if (sysinfo(&info) != 0 || info.totalram > (size_t)64 << 30)
        SKIP("tables grow with the machine's memory");
    if (is_foreign())
        SKIP("some reserve more than that");
    set_limit((size_t)256 * MIB);
    for (size_t n = 16; n < MIB; n = n * 3 / 2)
        EXPECT_GE(take_all(&list, n, MIB), MIB);
}

/* Sizes that nobody has asked for before, with a MiB left for all of them. */
TEST(new_sizes_with_little_address_space)
{
    enum { SIZES = 20, STEP = 500 };
    free(malloc(50));
    set_limit(statm_bytes(0) + MIB);
    for (size_t i = 0; i < SIZES; i++) {
        char *p = malloc(opaque(100 + i * STEP));
        OWN_BOUND(EXPECT(p != NULL));
    }
}

/* ---- as many mappings as the kernel allows --------------------------------
 */

enum { BLOCKS_MOST = 40000, BLOCK_BYTES = 140000 };
static char *blocks[BLOCKS_MOST];

/* More blocks than a mapping or two each would give. Returns how many. */
static size_t take_blocks(size_t most)
{
    size_t n = 0;
    while (n < most && (blocks[n] = malloc(opaque(BLOCK_BYTES))) != NULL)
        n++;
    return n;
}

/* vm.max_map_count is 65530 by default. */
TEST(blocks_beyond_what_the_kernel_maps)
{
    if (is_foreign())
        SKIP("some keep a mapping a block");
    EXPECT_EQ(take_blocks(BLOCKS_MOST), BLOCKS_MOST);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < BLOCKS_MOST; i++)
            free(blocks[i]);
        if (round == 1)
            malloc_trim(0);
        EXPECT_EQ(take_blocks(BLOCKS_MOST), BLOCKS_MOST);
    }
    char *thread_stack =
        mmap(NULL, 8 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(thread_stack != MAP_FAILED); /* the program's share is left */
    EXPECT_EQ(mprotect(thread_stack + MIB, MIB, PROT_READ), 0);
}

enum { THEIRS = 1 << 20, PAGE = 4096 };

/* Pages of the program's, each a mapping of its own, until there are no more.
 * NULL: there are too many. */
static char *use_up_mappings(void)
{
    char *p = mmap(NULL, (size_t)THEIRS * PAGE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(p != MAP_FAILED);
    size_t i = 0;
    while (i < THEIRS && mprotect(p + i * PAGE, PAGE, PROT_READ) == 0)
        i += 2;
    if (i == THEIRS)
        return NULL;
    while (mmap(NULL, PAGE, i++ % 2 ? PROT_READ : PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        ;
    return p;
}

enum { SOME = 5000 };

static size_t bytes_of_some(size_t i)
{
    return 16 + random_mix(i) % (i % 16 == 0  ? 300000
                                 : i % 4 == 0 ? 20000
                                              : 1000);
}

/* Returns how many could be had. */
static size_t take_some(void)
{
    size_t n = 0;
    for (size_t i = 0; i < SOME; i++) {
        blocks[i] = malloc(bytes_of_some(i));
        if (blocks[i] == NULL)
            continue;
        fill(blocks[i], bytes_of_some(i), i);
        n++;
    }
    return n;
}

static void free_some(void)
{
    for (size_t i = 0; i < SOME; i++) {
        if (blocks[i] != NULL)
            EXPECT_PATTERN(blocks[i], bytes_of_some(i), i);
        free(blocks[i]);
    }
}

/*
 * All can be freed when no mapping is left, and had again, but for a few where
 * each span of pages is a mapping and slots are at random places.
 */
TEST(no_mapping_is_left)
{
    size_t least = is_hardened() ? SOME / 10 * 9 : SOME;
    if (is_foreign())
        SKIP("theirs is another affair");
    EXPECT_EQ(take_some(), SOME);
    char *theirs = use_up_mappings();
    if (theirs == NULL)
        SKIP("more mappings than can be used up");
    for (int round = 0; round < 3; round++) {
        free_some();
        EXPECT_GE(take_some(), least);
    }
    EXPECT_EQ(munmap(theirs, (size_t)THEIRS * PAGE), 0);
    for (int round = 0; round < 3; round++) {
        free_some();
        EXPECT_EQ(take_some(), SOME);
    }
}

/* ---- too much at once --------------------------------------------------- */

TEST(absurd_requests)
{
    for (unsigned log2 = 47; log2 < 63; log2++) {
        size_t n = opaque((size_t)1 << log2);
        char *p = malloc(100);
        errno = 0;
        EXPECT(malloc(n) == NULL);
        EXPECT_EQ(errno, ENOMEM);
        EXPECT(calloc(n / 64, 64) == NULL);
        EXPECT(memalign(4096, n) == NULL);
        EXPECT(memalign(n, 100) == NULL);
        EXPECT(realloc(p, n) == NULL);
        free(p);
    }
}

/* Either there is no room, or the room is real and comes back. */
TEST(huge_requests)
{
    size_t base = statm_bytes(0);
    if (is_foreign())
        SKIP("tcmalloc writes to all of what calloc gives");
    for (unsigned log2 = 28; log2 < 47; log2++) {
        size_t n = (size_t)1 << log2;
        for (int i = 0; i < 3; i++) {
            errno = 0;
            char *p = i == 1 ? calloc(1, n) : malloc(n + (size_t)i * 100);
            if (p == NULL) {
                EXPECT_EQ(errno, ENOMEM);
                EXPECT_GT(log2, 30); /* 1 GiB is no absurd wish */
                continue;
            }
            p[0] = p[n - 1] = p[n / 2] = 1;
            free(p);
        }
    }
    malloc_trim(0);
    EXPECT_LT(statm_bytes(0), base + (size_t)256 * MIB);
}

/* Blocks of which two pages are touched: much more than there is memory. */
TEST(sparse_blocks)
{
    enum { SPARSE = 30 };
    const size_t n = opaque((size_t)8 << 30);
    char mode = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (read(fd, &mode, 1) == 1 && mode == '2')
        SKIP("without overcommit there is memory, and no more");
    if (is_foreign())
        SKIP("some are given a region");
    for (int i = 0; i < SPARSE; i++) {
        char *p = malloc(n);
        EXPECT(p != NULL);
        p[0] = p[n - 1] = 1;
    }
}

TEST(huge_calloc_touches_nothing)
{
    if (is_foreign())
        SKIP("some do");
    size_t base = rss_bytes();
    char *p = calloc(1, (size_t)1024 * MIB);
    EXPECT(p != NULL);
    EXPECT_LT(rss_bytes(), base + 32 * MIB);
    EXPECT_EQ(p[0] | p[512 * MIB] | p[1024 * MIB - 1], 0);
    free(p);
}

TEST(huge_realloc_moves_pages)
{
    size_t n = (size_t)256 * MIB;
    if (is_hardened())
        SKIP("they are copied");
    char *p = malloc(n);
    EXPECT(p != NULL);
    for (size_t i = 0; i < n; i += 4096)
        p[i] = (char)(i >> 12);
    for (int k = 2; k <= 4; k++) {
        p = realloc(p, n * (size_t)k);
        EXPECT(p != NULL);
        for (size_t i = 0; i < n; i += 4096)
            EXPECT_EQ(p[i], (char)(i >> 12));
        OWN_BOUND(EXPECT_LT(rss_bytes(), 2 * n));
    }
    p = realloc(p, MIB);
    EXPECT(p != NULL);
    EXPECT_EQ(p[40960], 10);
    free(p);
}

/* ---- memory goes back --------------------------------------------------- */

enum { MANY = 1000000 };
static void *many[MANY];

static size_t many_bytes(size_t i)
{
    return 16 + random_mix(i) % 256;
}

static size_t take_many(void)
{
    size_t base = rss_bytes();
    for (size_t i = 0; i < MANY; i++) {
        many[i] = malloc(many_bytes(i));
        EXPECT(many[i] != NULL);
        memset(many[i], 1, many_bytes(i));
    }
    EXPECT_GT(rss_bytes(), base + 120 * MIB);
    return base;
}

TEST(trim_returns_a_million_blocks)
{
    size_t base = take_many();
    for (size_t i = 0; i < MANY; i++)
        free(many[i]);
    int done = malloc_trim(0);
    OWN_BOUND(EXPECT_EQ(done, 1));
    OWN_BOUND(EXPECT_LT(rss_bytes(), base + 24 * MIB));
}

TEST(trim_returns_blocks_freed_by_a_stride)
{
    enum { STRIDE = 7919 };
    size_t base = take_many();
    for (size_t i = 0, at = 0; i < MANY; i++) {
        free(many[at]);
        at = (at + STRIDE) % MANY;
    }
    malloc_trim(0);
    size_t more = (is_hardened() ? 64 : 24) * MIB; /* what waits, by chance */
    OWN_BOUND(EXPECT_LT(rss_bytes(), base + more));
}

static void *take_many_in_thread(void *base)
{
    *(size_t *)base = take_many();
    return NULL;
}

/* The thread that took them is gone; others free. */
TEST(trim_returns_an_ended_threads_blocks)
{
    pthread_t thread;
    size_t base = 0;
    EXPECT_EQ(pthread_create(&thread, NULL, take_many_in_thread, &base), 0);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < MANY; i++)
        free(many[i]);
    malloc_trim(0);
    OWN_BOUND(EXPECT_LT(rss_bytes(), base + 32 * MIB));
}

/* Without a call, after the purge delay, while the program goes on. */
TEST(memory_goes_back_by_itself)
{
    if (!under_hakmem())
        SKIP("glibc keeps its arenas");
    if (is_foreign())
        SKIP("a foreign allocator keeps what it likes");
    size_t base = take_many();
    for (size_t i = 0; i < MANY; i++)
        free(many[i]);
    double until = seconds() + 10;
    while (rss_bytes() > base + 40 * MIB && seconds() < until) {
        for (int i = 0; i < 20000; i++)
            many[i] = malloc(100);
        for (int i = 0; i < 20000; i++)
            free(many[i]);
        usleep(5000);
    }
    EXPECT_LE(rss_bytes(), base + 40 * MIB);
}

TEST_MAIN()

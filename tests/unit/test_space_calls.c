/* SPDX-License-Identifier: MIT
 * test_space_calls.c - the window while the kernel is at work: what other
 * threads may do meanwhile, and a fork.
 *
 * Each system call of the main thread that maps, unmaps, purges or moves stops
 * in a hook until another thread has done what it is to do at that moment.
 */
#include "test.h"

#include "../preload/refuse.h"
#include <base/meta.h>
#include <core/memory/space.h>
#include <pthread.h>
#include <sys/resource.h>

enum { NEVER_MS = 3600000, PATIENCE_MS = 20000 };
#define G HAK_GRANULE_BYTES

static void start(void)
{
    EXPECT_EQ(hak_space_start((size_t)16 << 30, NEVER_MS), 0);
}

static char *take(size_t granules, uint32_t flags)
{
    char *p = hak_space_take(granules * G, 0, flags);
    EXPECT(p != NULL);
    return p;
}

static struct hak_space_figures figures(void)
{
    struct hak_space_figures f;
    hak_space_read(&f);
    return f;
}

/* ---- the other thread ------------------------------------------------- */

static struct {
    void (*act)(void);
    uint32_t asked, answered; /* atomic */
} other;

/* The filter is not its own: it is there before. */
static void *serve(void *unused)
{
    (void)unused;
    for (uint32_t done = 0;; usleep(100)) {
        if (__atomic_load_n(&other.asked, __ATOMIC_ACQUIRE) == done)
            continue;
        other.act();
        __atomic_store_n(&other.answered, ++done, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void start_other(void (*act)(void))
{
    pthread_t thread;
    other.act = act;
    EXPECT_EQ(pthread_create(&thread, NULL, serve, NULL), 0);
    if (!refuse_start())
        SKIP("no seccomp");
    refuse_stop();
}

static uint32_t ask(void)
{
    return __atomic_add_fetch(&other.asked, 1, __ATOMIC_RELEASE);
}

static bool has_answered(uint32_t request, int patience_ms)
{
    for (int i = 0; i < patience_ms; i++) {
        if (__atomic_load_n(&other.answered, __ATOMIC_ACQUIRE) == request)
            return true;
        usleep(1000);
    }
    return false;
}

/* ---- what needs no system call waits for none ------------------------- */

static char *own; /* a granule of the other thread's */
static uint32_t nseen[512];
static long waited_for = -1;

static void give_and_take(void)
{
    hak_space_give(own, G);
    own = hak_space_take(G, 0, 0);
    figures();
    if (hak_meta(64) == NULL)
        abort();
}

static void expect_the_other_goes_on(long number)
{
    nseen[number]++;
    if (waited_for < 0 && !has_answered(ask(), PATIENCE_MS))
        waited_for = number;
}

static void take_give_and_move(void)
{
    char *p = take(300, 0); /* mapped afresh */
    memset(p, 1, 300 * G);
    hak_space_give(p, 300 * G);
    p = take(300, HAK_MAP_ZERO); /* purged */
    char *moved = hak_space_move(p, 300 * G, 400 * G);
    EXPECT_EQ(moved[399 * G], 0);
    char *wall = take(1, 0);
    EXPECT(hak_space_move(moved, 400 * G, 3000 * G) != NULL);
    EXPECT(wall != NULL);
    EXPECT_EQ(hak_space_purge(wall, G), 0);
    hak_space_trim(); /* the own granule of the other too */
}

static void reserve_open_and_close(void)
{
    char *p = hak_space_reserve(20000 * G, 0);
    EXPECT(p != NULL);
    EXPECT_EQ(hak_space_open(p + G, 300 * G, false), 0);
    EXPECT(hak_space_close(p + G, 300 * G));
    hak_space_unreserve(p, 20000 * G);
}

static void use_up_metadata(void)
{
    for (int i = 0; i < 10; i++) /* more than one chunk */
        EXPECT(hak_meta(60000) != NULL);
}

static void take_where_others_have_mapped(void)
{
    char *p = take(64, 0);
    while (mmap(p, 4096, PROT_READ, /* behind all that is mapped */
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != p)
        p += G;
    take(2000, 0);
}

static void take_when_there_is_no_more(void)
{
    char *p = take(500, 0);
    hak_space_give(p, 500 * G);
    struct rlimit none = {1 << 20, RLIM_INFINITY};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &none), 0);
    EXPECT(hak_space_take(4000 * G, 0, 0) == NULL);
}

TEST(what_needs_no_system_call_waits_for_none)
{
    SKIP_TSAN("its own calls are stopped too");
    start();
    own = take(1, 0);
    start_other(give_and_take);
    refusal.before = expect_the_other_goes_on;
    take_give_and_move();
    reserve_open_and_close();
    use_up_metadata();
    take_where_others_have_mapped();
    take_when_there_is_no_more();
    refusal.before = NULL;
    if (waited_for >= 0)
        test_fail(__FILE__, __LINE__, "another thread waited for call %ld",
                  waited_for);
    EXPECT_GE(nseen[SYS_mmap], 4);
    EXPECT_GE(nseen[SYS_munmap], 2);
    EXPECT_GE(nseen[SYS_madvise], 2);
    EXPECT_GE(nseen[SYS_mremap], 1);
}

/* ---- who maps does not wait for who gives back ------------------------ */

static void take_afresh(void)
{
    if (hak_space_take(2000 * G, 0, 0) == NULL)
        abort();
}

TEST(who_maps_does_not_wait_for_who_gives_back)
{
    SKIP_TSAN("its own calls are stopped too");
    start();
    char *p = take(1000, 0);
    take(1, 0);
    memset(p, 1, 1000 * G);
    hak_space_give(p, 1000 * G);
    start_other(take_afresh);
    refusal.before = expect_the_other_goes_on;
    EXPECT_EQ(hak_space_trim(), 1000 * G);
    refusal.before = NULL;
    EXPECT_EQ(waited_for, -1);
    EXPECT_GE(nseen[SYS_munmap], 4); /* in pieces */
}

/* ---- forks ------------------------------------------------------------ */

enum { BLOCK = 300 };
static char *block; /* of so many granules */
static int status_of_child = -1;

/* The block is in somebody's hands, or free. */
static void expect_nothing_is_lost(void)
{
    bool free = figures().used_bytes == G;
    EXPECT_EQ(figures().used_bytes, free ? G : (BLOCK + 1) * G);
    EXPECT_EQ(take(BLOCK, 0) == block, free);
    memset(block, 1, BLOCK * G);
}

static void fork_and_look(void)
{
    hak_space_lock(HAK_FORK_PREPARE);
    pid_t pid = fork();
    hak_space_lock(pid == 0 ? HAK_FORK_CHILD : HAK_FORK_PARENT);
    if (pid == 0) {
        refusal.before = NULL;
        expect_nothing_is_lost();
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status_of_child, 0) != pid)
        abort();
}

/* The call goes on when the fork has surely begun: it waits for it. */
static void let_the_other_fork(long number)
{
    (void)number;
    refusal.before = NULL;
    has_answered(ask(), 50);
}

static void start_with_block(void)
{
    start();
    block = take(BLOCK, 0);
    take(1, 0);
    hak_space_give(block, BLOCK * G);
}

TEST(a_child_loses_nothing_that_another_thread_just_gave_back)
{
    SKIP_TSAN("its own calls are stopped too");
    start_with_block();
    start_other(fork_and_look);
    refusal.before = let_the_other_fork;
    EXPECT_EQ(hak_space_trim(), BLOCK * G);
    EXPECT(has_answered(1, PATIENCE_MS));
    EXPECT_EQ(status_of_child, 0);
    expect_nothing_is_lost();
}

TEST(a_child_loses_nothing_that_another_thread_just_mapped)
{
    SKIP_TSAN("its own calls are stopped too");
    start_with_block();
    hak_space_trim(); /* it is a hole now */
    start_other(fork_and_look);
    refusal.before = let_the_other_fork;
    EXPECT(take(BLOCK, 0) == block);
    EXPECT(has_answered(1, PATIENCE_MS));
    EXPECT_EQ(status_of_child, 0);
}

static pid_t forked = -1;

static void fork_here(long number)
{
    (void)number;
    refusal.before = NULL;
    errno = 0;
    hak_space_lock(HAK_FORK_PREPARE);
    EXPECT_EQ(errno, EDEADLK); /* the call below is not over */
    forked = fork();
    hak_space_lock(forked == 0 ? HAK_FORK_CHILD : HAK_FORK_PARENT);
}

/* As by a signal handler: both processes go on with the call. */
TEST(a_fork_of_the_thread_that_just_gives_back)
{
    int status = -1;
    SKIP_TSAN("its own calls are stopped too");
    start_with_block();
    start_other(fork_and_look);
    refusal.before = fork_here;
    EXPECT_EQ(hak_space_trim(), BLOCK * G);
    expect_nothing_is_lost();
    hak_space_give(block, BLOCK * G);
    EXPECT_EQ(hak_space_trim(), BLOCK * G);
    if (forked == 0)
        _exit(0);
    EXPECT_EQ(waitpid(forked, &status, 0), forked);
    EXPECT_EQ(status, 0);
}

TEST_MAIN()

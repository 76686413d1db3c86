/* SPDX-License-Identifier: MIT
 * routes.c - hakmem.h: routes that move, boxes that are drained, in a program
 * that runs. Skipped without hakmem, and where routes are constants.
 */
#include "calls.h"

#include <fcntl.h>
#include <pthread.h>

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
    NEED_ROUTES();
    const char *from = box_for(ROUTED_BYTES), *to = box_for(5000);
    const char *below = box_for(512);
    pthread_t thread[ROUTED_THREADS];
    EXPECT_NE(strcmp(from, to), 0);
    uint64_t live = stats_of(from).live_count;
    for (size_t i = 0; i < OLD; i++)
        fill(old[i] = malloc(ROUTED_BYTES), ROUTED_BYTES, i);
    routed.want = from;
    for (int i = 0; i < ROUTED_THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, watch_route, keep[i]), 0);
    for (int turn = 0; turn < 100; turn++) {
        EXPECT_EQ(hak.route("513-1024", turn % 2 == 0 ? to : from), 0);
        await_route(turn % 2 == 0 ? to : from);
    }
    EXPECT_EQ(hak.route("C7", to), 0);
    await_route(to);
    __atomic_store_n(&routed.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < ROUTED_THREADS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_LT(blocks_until(to), 65536 / ROUTED_BYTES + 1);
    EXPECT_STR(box_for(512), below); /* the range, no more */
    for (size_t i = 0; i < OLD; i++) {
        EXPECT_STR(hak.owner(old[i]), from);
        EXPECT_PATTERN(old[i], ROUTED_BYTES, i);
        free(old[i]);
    }
    EXPECT_LE(stats_of(from).live_count, live + 20);
}

TEST(route_refuses)
{
    NEED_ROUTES();
    const char *box = box_for(600);
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
    uint64_t others = stats_of(box).live_count;
    char *p = malloc(n), *q = malloc(n);
    fill(p, n, 3);
    EXPECT_EQ(hak.drain(box), 0);
    char *elsewhere = malloc(n);
    EXPECT(elsewhere != NULL);
    EXPECT_NE(strcmp(box_for(n), box), 0);
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

TEST(drain_then_closed)
{
    bool closed = false;
    NEED_ROUTES();
    for (int i = 0; i < SIZES; i++) {
        const char *box = box_for(sizes[i]);
        closed |= stats_of(box).live_count == 0;
        pid_t pid = fork();
        if (pid == 0) {
            check_drain(sizes[i]);
            _exit(0);
        }
        expect_child_ok(pid, 20);
    }
    EXPECT(closed); /* at least one box had no block of somebody else's */
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
    NEED_ROUTES();
    const char *box = box_for(600);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, work, NULL), 0);
    usleep(1000);
    EXPECT_GE(hak.drain(box), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    EXPECT_GE(hak.drain(box), 0);
    EXPECT_NE(strcmp(box_for(600), box), 0);
}

/* ---- a request that is on its way while its box is drained ---- */

static bool arrived;

static void *ask_slowly(void *unused)
{
    void *p = malloc(900);
    __atomic_store_n(&arrived, true, __ATOMIC_RELEASE);
    EXPECT_STR(hak.owner(p), "slow");
    usleep(100000); /* live: so it is not closed yet */
    free(p);
    return unused;
}

TEST(a_box_is_closed_when_nobody_is_on_the_way_to_it)
{
    NEED_ROUTES();
    if (getenv("HAK_TEST_SLOW") == NULL) {
        const char *name = "a_box_is_closed_when_nobody_is_on_the_way_to_it";
        setenv("HAK_TEST_SLOW", "yes", 1);
        setenv("HAKMEM_CONF", "tests/loader/slow.ini", 1);
        unsetenv("HAKMEM_BOX_MIDMT_LANES"); /* of the mode lanes-off */
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        execl("/proc/self/exe", "routes", name, (char *)NULL);
        _exit(1);
    }
    pthread_t thread;
    int closed;
    EXPECT_EQ(pthread_create(&thread, NULL, ask_slowly, NULL), 0);
    usleep(100000);
    while ((closed = hak.drain("slow")) == 0)
        usleep(1000);
    EXPECT_EQ(closed, 1);
    EXPECT(__atomic_load_n(&arrived, __ATOMIC_ACQUIRE));
    pthread_join(thread, NULL);
    EXPECT(strcmp(box_for(900), "slow") != 0);
}

/*
 * glibc's malloc sets itself up at its first use, without a lock:
 * pthread_create is supposed to have used it before there are threads. Here it
 * has not.
 */
static pthread_barrier_t first_use;

static void *use_libc(void *unused)
{
    pthread_barrier_wait(&first_use);
    for (int i = 0; i < 50; i++)
        free(malloc(5000));
    return unused;
}

TEST(threads_that_need_libc_first)
{
    enum { THREADS = 4, ROUNDS = 400 }; /* one in 50 used to die */
    NEED_ROUTES();
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread[THREADS];
            EXPECT_GE(hak.drain(box_for(5000)), 0);
            pthread_barrier_init(&first_use, NULL, THREADS);
            for (int k = 0; k < THREADS; k++)
                pthread_create(&thread[k], NULL, use_libc, NULL);
            for (int k = 0; k < THREADS; k++)
                pthread_join(thread[k], NULL);
            _exit(0);
        }
        expect_child_ok(pid, 20);
    }
}

TEST_MAIN()

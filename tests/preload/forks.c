/* SPDX-License-Identifier: MIT
 * forks.c - fork, vfork, exec and posix_spawn beside threads that allocate. */
#include "forked.h"

#include <hakmem/hakmem.h>
#include <malloc.h>
#include <spawn.h>

extern char **environ;

/* ---- a busy parent ------------------------------------------------------ */

enum { BUSY = 3, EACH = 200 };

/* Blocks of all sizes that the busy threads took and no longer touch. */
static struct block heirloom[BUSY][EACH];

static struct {
    pthread_t thread[BUSY];
    int ready, stop;
} busy;

static void *be_busy(void *which)
{
    enum { SLOTS = 300 };
    static __thread void *slot[SLOTS];
    uintptr_t row = (uintptr_t)which;
    uint64_t random = row;
    for (size_t i = 0; i < EACH; i++) {
        struct block *h = &heirloom[row][i];
        h->n = random_size(&random, 4, i % 40 == 0 ? 18 : 12);
        h->p = malloc(h->n);
        EXPECT(h->p != NULL);
        fill(h->p, h->n, row + i);
    }
    __atomic_add_fetch(&busy.ready, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&busy.stop, __ATOMIC_ACQUIRE)) {
        size_t at = random_below(&random, SLOTS);
        free(slot[at]);
        slot[at] = malloc(random_size(&random, 4, at == 0 ? 18 : 12));
        EXPECT(slot[at] != NULL);
        *(char *)slot[at] = 1;
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    return NULL;
}

static void start_busy(void)
{
    for (uintptr_t i = 0; i < BUSY; i++)
        EXPECT_EQ(pthread_create(&busy.thread[i], NULL, be_busy, (void *)i), 0);
    while (__atomic_load_n(&busy.ready, __ATOMIC_ACQUIRE) < BUSY)
        usleep(100);
}

static void stop_busy(void)
{
    __atomic_store_n(&busy.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < BUSY; i++)
        pthread_join(busy.thread[i], NULL);
}

/* ---- what a child does -------------------------------------------------- */

/* Every `step`th of what the parent's threads left, from `first` on. */
static void free_heirlooms(size_t first, size_t step)
{
    for (size_t row = 0; row < BUSY; row++) {
        for (size_t i = first; i < EACH; i += step) {
            struct block *h = &heirloom[row][i];
            EXPECT_PATTERN(h->p, h->n, row + i);
            if (i % 5 == 0) {
                h->p = realloc(h->p, h->n + 100);
                EXPECT(h->p != NULL);
                EXPECT_PATTERN(h->p, h->n, row + i);
            }
            free(h->p);
            h->p = NULL;
            h->n = 0;
        }
    }
}

static void run_target(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDOUT_FILENO); /* its TAP is not ours */
    execl("/proc/self/exe", "forks", "exec_target", (char *)NULL);
    _exit(9);
}

static void as_child(unsigned i)
{
    if (i % 2 == 0)
        own_work(i);
    if (i % 3 != 0)
        malloc_trim(0); /* looks through what the busy threads left */
    free_heirlooms(0, 2);
    own_work(i + 1);
    pid_t pid = fork_or_die(); /* a grandchild frees the rest */
    if (pid == 0) {
        free_heirlooms(1, 2);
        own_work(i + 2);
        _exit(0);
    }
    if (i % 4 == 0)
        child_threads();
    expect_child_ok(pid, CHILD_SECONDS);
    if (i % 20 == 0)
        run_target();
    _exit(0);
}

/* What run_target() executes: this program, one small case. */
TEST(exec_target)
{
    own_work(1);
}

TEST(forks_beside_busy_threads)
{
    start_busy();
    for (unsigned i = 0; i < 40; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0)
            as_child(i);
        if (i % 3 == 0)
            own_work(i);
        expect_child_ok(pid, CHILD_SECONDS);
    }
    stop_busy();
    free_heirlooms(0, 1); /* still the parent's own */
}

/* The forking threads are several, and each has a child at work. */
static void *fork_on(void *which)
{
    for (unsigned i = 0; i < 30; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0) {
            own_work((uintptr_t)which + i);
            _exit(0);
        }
        free(malloc(1000 + i));
        expect_child_ok(pid, CHILD_SECONDS);
    }
    return NULL;
}

TEST(forks_in_several_threads)
{
    pthread_t thread[3];
    start_busy();
    for (uintptr_t i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, fork_on, (void *)i), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    stop_busy();
}

/* Each generation takes blocks that the next one frees. */
static void descend(int depth, char *p)
{
    EXPECT_PATTERN(p, 3000, (uint64_t)depth);
    free(p);
    own_work((uint64_t)depth);
    if (depth == 0)
        return;
    char *next = malloc(3000);
    fill(next, 3000, (uint64_t)depth - 1);
    pid_t pid = fork_or_die();
    if (pid == 0) {
        descend(depth - 1, next);
        _exit(0);
    }
    free(next);
    expect_child_ok(pid, CHILD_SECONDS);
}

TEST(forks_of_forks)
{
    char *p = malloc(3000);
    fill(p, 3000, 12);
    descend(12, p);
}

/* A parent's page must not be changed by what its child does. */
TEST(parent_keeps_its_blocks)
{
    start_busy();
    stop_busy();
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0) {
            for (size_t row = 0; row < BUSY; row++)
                for (size_t k = 0; k < EACH; k++)
                    memset(heirloom[row][k].p, i, heirloom[row][k].n);
            own_work(5);
            _exit(0);
        }
        expect_child_ok(pid, CHILD_SECONDS);
    }
    free_heirlooms(0, 1);
}

/* ---- what other threads had free ----------------------------------------- */

enum { LEFT_BYTES = 100, LEFT_BLOCKS = 60000 };

extern __typeof__(hak_stats) hak_stats __attribute__((weak));

static void *leave_most_free(void *unused)
{
    void **p = malloc(LEFT_BLOCKS * sizeof *p);
    (void)unused;
    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        EXPECT((p[i] = malloc(LEFT_BYTES)) != NULL);
    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        if (i % 16 != 0)
            free(p[i]);
    __atomic_add_fetch(&busy.ready, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&busy.stop, __ATOMIC_ACQUIRE))
        usleep(1000);
    return p;
}

static uint64_t mapped_by_ultra(void)
{
    struct hak_stats s;
    EXPECT_EQ(hak_stats("ultra", &s), 0);
    return s.mapped_bytes;
}

/* A server's child that lives on: threads of the parent are not in it, but
 * their free slots are. */
static void use_what_they_left(void)
{
    enum { LIFE_MS = 1200, LOOKS = 2000 };
    usleep(LIFE_MS * 1000);
    for (size_t i = 0; i < LOOKS; i++) { /* slow paths look, now and then */
        EXPECT(malloc(700) != NULL);
        EXPECT(malloc(100000) != NULL);
    }
    uint64_t before = mapped_by_ultra();
    for (size_t i = 0; i < BUSY * LEFT_BLOCKS / 2; i++) {
        char *p = malloc(LEFT_BYTES);
        EXPECT(p != NULL);
        memset(p, 1, LEFT_BYTES);
    }
    EXPECT_LT(mapped_by_ultra() - before, (uint64_t)BUSY * LEFT_BLOCKS * 20);
}

TEST(a_child_uses_what_other_threads_had_free)
{
    const char *mode = getenv("HAK_TEST_MODE");
    if (hak_stats == NULL || mode == NULL || strcmp(mode, "default") != 0)
        SKIP("a matter of conf/default.ini");
    for (int i = 0; i < BUSY; i++)
        EXPECT_EQ(pthread_create(&busy.thread[i], NULL, leave_most_free, NULL),
                  0);
    while (__atomic_load_n(&busy.ready, __ATOMIC_ACQUIRE) < BUSY)
        usleep(100);
    pid_t pid = fork_or_die();
    if (pid == 0) {
        use_what_they_left();
        _exit(0);
    }
    expect_child_ok(pid, CHILD_SECONDS);
    stop_busy();
}

/* ---- wherever a program may fork ---------------------------------------- */

static void fork_here(void)
{
    char *p = malloc(3000);
    EXPECT(p != NULL);
    fill(p, 3000, 9);
    pid_t pid = fork_or_die();
    if (pid == 0) {
        EXPECT_PATTERN(p, 3000, 9);
        free(p);
        own_work(4);
        child_threads();
        _exit(0);
    }
    expect_child_ok(pid, CHILD_SECONDS);
    EXPECT_PATTERN(p, 3000, 9);
    free(p);
}

/* Nothing of this thread's was allocated before. */
static void *fork_at_once(void *unused)
{
    fork_here();
    return unused;
}

TEST(forks_first_thing_in_a_thread)
{
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pthread_create(&thread, NULL, fork_at_once, NULL), 0);
        pthread_join(thread, NULL);
    }
}

static pthread_key_t key;

/* In each round of destructors, the last one too. */
static void fork_in_destructor(void *round)
{
    EXPECT_EQ(pthread_setspecific(key, round), 0);
    fork_here();
}

static void *end_by_forking(void *unused)
{
    free(malloc(100));
    EXPECT_EQ(pthread_setspecific(key, &key), 0);
    return unused;
}

TEST(forks_in_destructors)
{
    pthread_t thread;
    EXPECT_EQ(pthread_key_create(&key, fork_in_destructor), 0);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pthread_create(&thread, NULL, end_by_forking, NULL), 0);
        pthread_join(thread, NULL);
    }
    own_work(6);
}

TEST(forks_in_exit_handlers)
{
    pid_t pid = fork_or_die();
    if (pid == 0) {
        start_busy();
        EXPECT_EQ(atexit(fork_here), 0);
        exit(0);
    }
    expect_child_ok(pid, CHILD_SECONDS);
}

/* Before the allocator's constructor, then after it but before main. */
static bool is_forking_early(char **environment)
{
    for (; *environment != NULL; environment++)
        if (strcmp(*environment, "HAK_TEST_FORK=early") == 0)
            return true;
    return false;
}

static void fork_before_constructors(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    if (is_forking_early(environment))
        fork_here();
}

__attribute__((section(".preinit_array"), used)) static void (*at_preinit)(
    int, char **, char **) = fork_before_constructors;

__attribute__((constructor)) static void fork_in_a_constructor(void)
{
    if (is_forking_early(environ))
        fork_here();
}

TEST(forks_before_main)
{
    EXPECT_EQ(setenv("HAK_TEST_FORK", "early", 1), 0);
    pid_t pid = fork_or_die();
    if (pid == 0)
        run_target();
    expect_child_ok(pid, CHILD_SECONDS);
}

/* ---- a box that maps memory while it holds a lock ------------------------ */

static void *grow(void *unused)
{
    enum { GRANULE = 64 << 10, BLOCKS = 1000 };
    static char *p[BLOCKS];
    while (!__atomic_load_n(&busy.stop, __ATOMIC_ACQUIRE)) {
        for (size_t i = 0; i < BLOCKS; i++)
            EXPECT((p[i] = malloc(GRANULE)) != NULL);
        for (size_t i = 0; i < BLOCKS; i++)
            free(p[i]);
    }
    return unused;
}

/* The thread holds one box's lock and asks another to shrink, which needs that
 * one's lock. The fork needs both, in the other order. */
TEST(forks_while_a_box_maps_under_its_lock)
{
    const char *name = "forks_while_a_box_maps_under_its_lock";
    const char *conf = "tests/loader/map_under_lock.ini";
    const char *given = getenv("HAKMEM_CONF");
    if (hak_stats == NULL || given == NULL)
        SKIP("no INI names the boxes");
    if (strcmp(given, conf) != 0) {
        EXPECT_EQ(setenv("HAKMEM_CONF", conf, 1), 0);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        execl("/proc/self/exe", "forks", name, (char *)NULL);
        _exit(1);
    }
    EXPECT_EQ(pthread_create(&busy.thread[0], NULL, grow, NULL), 0);
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0)
            _exit(0);
        expect_child_ok(pid, CHILD_SECONDS);
    }
    __atomic_store_n(&busy.stop, 1, __ATOMIC_RELEASE);
    pthread_join(busy.thread[0], NULL);
}

/* ---- vfork, exec, spawn ------------------------------------------------- */

TEST(vforks)
{
    start_busy();
    for (int i = 0; i < 60; i++) {
        char *volatile p = malloc(500);
        pid_t pid = vfork();
        if (pid == 0)
            run_target();
        expect_child_ok(pid, CHILD_SECONDS);
        memset(p, 1, 500);
        free(p);
    }
    stop_busy();
}

TEST(spawns)
{
    char *const argv[] = {(char[]){"forks"}, (char[]){"exec_target"}, NULL};
    start_busy();
    for (int i = 0; i < 60; i++) {
        posix_spawn_file_actions_t actions; /* grows by realloc */
        pid_t pid;
        posix_spawn_file_actions_init(&actions);
        for (int fd = 20; fd > 0; fd -= fd == 3 ? 2 : 1)
            posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR,
                                             0);
        EXPECT_EQ(
            posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ),
            0);
        posix_spawn_file_actions_destroy(&actions);
        expect_child_ok(pid, CHILD_SECONDS);
    }
    stop_busy();
}

TEST(system_and_popen)
{
    char line[64];
    start_busy();
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(system("exit 0"), 0);
        FILE *f = popen("echo forked", "r");
        EXPECT(f != NULL && fgets(line, sizeof line, f) != NULL);
        EXPECT_STR(line, "forked\n");
        EXPECT_EQ(pclose(f), 0);
    }
    stop_busy();
}

TEST_MAIN()

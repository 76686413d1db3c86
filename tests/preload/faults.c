/* SPDX-License-Identifier: MIT
 * faults.c - the nth mmap, munmap, mprotect, madvise, mremap or brk fails, for
 * every n of a scripted program and of the start: NULL with ENOMEM or the
 * fallback, no byte of a live block changes, nothing is lost, and all works
 * again when memory is back.
 */
#include "refuse.h"

#include <malloc.h>
#include <pthread.h>

enum { NO_FAULT = 10 }; /* exit code: fewer calls than that */

/* ---- the scripted program ------------------------------------------------ */

static const size_t script_sizes[] = {
    16,   24,   100,   256,   300,   500,   1000,   1024,    1500,   3000,
    9000, 9000, 20000, 32768, 40000, 70000, 200000, 3 * MIB, 9 * MIB};
enum {
    KINDS = sizeof script_sizes / sizeof script_sizes[0],
    EACH = 6,
    BLOCKS = KINDS * EACH,
};

static struct {
    struct block {
        char *p;
        size_t n;
    } block[BLOCKS];
    bool may_fail;
    long failed;
} script;

/* A NULL is told by ENOMEM, and is no surprise. */
static bool got(const void *p)
{
    if (p != NULL)
        return true;
    EXPECT_EQ(errno, ENOMEM);
    EXPECT(script.may_fail);
    script.failed++;
    return false;
}

/* Of a large block, both ends: their pages are what goes and comes. */
static size_t ends(size_t n)
{
    return n > 10000 ? 4096 : n;
}

static void sign(struct block *b, char *p, size_t n)
{
    *b = (struct block){p, n};
    fill(p, ends(n), (uintptr_t)b);
    fill(p + n - ends(n), ends(n), (uintptr_t)b + 1);
}

static void check(const struct block *b)
{
    if (b->p == NULL)
        return;
    if (ends(b->n) == b->n) { /* the second pattern is over the first */
        EXPECT_PATTERN(b->p, b->n, (uintptr_t)b + 1);
        return;
    }
    EXPECT_PATTERN(b->p, ends(b->n), (uintptr_t)b);
    EXPECT_PATTERN(b->p + b->n - ends(b->n), ends(b->n), (uintptr_t)b + 1);
}

static void take(size_t i)
{
    size_t n = script_sizes[i % KINDS];
    if (n > MIB && i >= KINDS)
        n /= 100; /* a few of those are enough */
    errno = 0;
    char *p = i % 5 == 1   ? calloc(1, n)
              : i % 5 == 2 ? memalign(256, n)
                           : malloc(n);
    if (!got(p))
        return;
    EXPECT_ALIGNED(p, i % 5 == 2 ? 256 : 16);
    EXPECT_GE(malloc_usable_size(p), n);
    if (i % 5 == 1) {
        EXPECT_EQ(first_nonzero(p, ends(n)), ends(n));
        EXPECT_EQ(first_nonzero(p + n - ends(n), ends(n)), ends(n));
    }
    sign(&script.block[i], p, n);
}

static void drop(size_t i)
{
    check(&script.block[i]);
    errno = EXDEV;
    free(script.block[i].p);
    EXPECT_EQ(errno, EXDEV);
    script.block[i].p = NULL;
}

/* What a refused realloc leaves is the block as it was. */
static void resize(size_t i)
{
    struct block *b = &script.block[i];
    size_t n = i % 2 == 0 ? b->n * 3 : b->n / 2 + 1;
    if (b->p == NULL)
        return;
    errno = 0;
    char *p = realloc(b->p, n);
    if (!got(p)) {
        check(b);
        return;
    }
    bool whole = ends(b->n) == b->n;
    EXPECT_PATTERN(p, n < ends(b->n) ? n : ends(b->n), (uintptr_t)b + whole);
    sign(b, p, n);
}

/* Frees the other thread's blocks, leaves some of its own to it. */
static void *elsewhere(void *unused)
{
    for (size_t i = 0; i < BLOCKS; i += 2)
        drop(i);
    for (size_t i = 0; i < BLOCKS; i += 2)
        take(i);
    return unused;
}

static void in_thread(void)
{
    static _Alignas(4096) char stack[256 * KIB];
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setstack(&attr, stack, sizeof stack), 0);
    int error = pthread_create(&thread, &attr, elsewhere, NULL);
    if (error != 0) { /* its TLS comes from malloc */
        EXPECT(script.may_fail);
        elsewhere(NULL);
    } else {
        EXPECT_EQ(pthread_join(thread, NULL), 0);
    }
    pthread_attr_destroy(&attr);
}

static void run_script(bool may_fail)
{
    script.may_fail = may_fail;
    for (size_t i = 0; i < BLOCKS; i++)
        take(i);
    for (size_t i = 0; i < BLOCKS; i += 3)
        resize(i);
    in_thread();
    malloc_trim(0);
    for (size_t i = 0; i < BLOCKS; i += 3)
        drop(i);
    for (size_t i = 0; i < BLOCKS; i += 3)
        take(i);
    for (size_t i = 0; i < BLOCKS; i++)
        drop(i);
    malloc_trim(0);
}

/* ---- refused while it runs ----------------------------------------------- */

static bool falls_back(void)
{
    const char *mode = getenv("HAK_TEST_MODE");
    return mode == NULL || (strstr(mode, "no-fallback") == NULL &&
                            strstr(mode, "hardened") == NULL);
}

/*
 * In a child. Rounds fill caches that stay, and in some configurations chance
 * decides how full; what grows in each of many rounds was lost by a call that
 * failed.
 */
static void fail_at(long nth, long times)
{
    enum { ROUNDS = 12 };
    size_t held = 0, resident = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t held_before = held, resident_before = resident;
        refuse(nth, times);
        run_script(true);
        if (refuse_stop() == 0 && round == 0)
            _exit(NO_FAULT);
        if (times == 1 && falls_back() && under_hakmem())
            EXPECT_EQ(script.failed, 0); /* libc had some */
        run_script(false);
        held = mallinfo2().arena;
        resident = rss_bytes();
        if (round > 0 && held <= held_before + 64 * KIB &&
            resident <= resident_before + MIB)
            _exit(0);
        if (round > 0 && !under_hakmem()) /* its thresholds move */
            _exit(0);
    }
    test_fail(__FILE__, __LINE__,
              "each round leaves more: %zu held, %zu "
              "resident",
              held, resident);
}

/* Returns the exit code of a child that failed at the nth call. */
static int child_failing_at(long nth, long times)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        fail_at(nth, times);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != NO_FAULT))
        test_fail(__FILE__, __LINE__, "call %ld refused: status 0x%x", nth,
                  (unsigned)status);
    return WEXITSTATUS(status);
}

static void every_call(long times)
{
    long n = 1, step = is_mode("conf/hardened.ini") ? 23 : 1; /* of ~ 700 */
    if (!refuse_start())
        SKIP("no seccomp");
    refuse_stop();
    while (child_failing_at(n, times) != NO_FAULT)
        n += step;
    EXPECT_GT(n, 10);
}

TEST(one_call_fails)
{
    every_call(1);
}

TEST(all_calls_fail_from_one_on)
{
    every_call(LONG_MAX);
}

/* ---- refused while the library starts ------------------------------------ */

/* Before the constructors of libraries, hence before ours. */
static void refuse_at_start(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, "HAK_TEST_REFUSE=", 16) != 0)
            continue;
        refuse(strtol(*environment + 16, NULL, 10), 1);
        if (!refuse_start())
            _exit(NO_FAULT);
    }
}

__attribute__((section(".preinit_array"),
               used)) static void (*at_start)(int, char **,
                                              char **) = refuse_at_start;

/* After them: the program proper. */
__attribute__((constructor(65535))) static void run_what_started(void)
{
    if (getenv("HAK_TEST_REFUSE") == NULL)
        return;
    bool refused = refuse_stop() != 0;
    run_script(refused && !falls_back());
    _exit(refused ? 0 : NO_FAULT);
}

static int start_refusing(long nth)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        char text[24];
        snprintf(text, sizeof text, "%ld", nth);
        setenv("HAK_TEST_REFUSE", text, 1);
        execl("/proc/self/exe", "faults", (char *)NULL);
        _exit(1);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != NO_FAULT))
        test_fail(__FILE__, __LINE__, "call %ld refused: status 0x%x", nth,
                  (unsigned)status);
    return WEXITSTATUS(status);
}

TEST(any_call_fails_at_start)
{
    long n = 1;
    while (start_refusing(n) != NO_FAULT)
        n++;
    EXPECT_GT(n, under_hakmem() ? 5 : 1);
}

TEST_MAIN()

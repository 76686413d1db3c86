/* SPDX-License-Identifier: MIT
 * test.h - the harness: a process per test, an alarm, TAP on stdout.
 *
 *     TEST(adds_up) { EXPECT_EQ(1 + 1, 2); }
 *     TEST_DIES(bad_free, SIGABRT, "not a live slot") { free((void *)1); }
 *     TEST_MAIN()
 *
 * A test passes when its process ends with 0 (or, for TEST_DIES, by that
 * signal with that text on stderr) within test_seconds; what it leaves running
 * is killed. SKIP("why") ends it as skipped. A failed one says why in its line:
 *
 *     not ok 7 - adds_up: tests/unit/sum.c:12: 1 + 1 == 2: 3 (0x3), 2 (0x2)
 *     not ok 8 - ends: timed out after 60 s
 *     not ok 9 - stays_inside: SIGSEGV
 *
 * Nothing here allocates, so it works beside a broken allocator. `prove` runs
 * it: `PROGRAM` runs all, `PROGRAM NAME...` those named.
 */
#ifndef HAK_TESTS_TEST_H
#define HAK_TESTS_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
enum { TEST_TSAN = 1 };
#else
enum { TEST_TSAN = 0 };
#endif
#ifdef __SANITIZE_ADDRESS__
enum { TEST_ASAN = 1 };
#else
enum { TEST_ASAN = 0 };
#endif
enum { TEST_SECONDS = TEST_TSAN || TEST_ASAN ? 300 : 180 };
enum { TEST_MAX = 200, TEST_SKIPPED = 77 };

struct test_case {
    const char *name;
    void (*run)(void);
    int signal;          /* 0: must exit 0 */
    const char *message; /* must stand on stderr, or NULL */
    const char *about;   /* one line, or NULL */
};

extern struct test_case test_cases[TEST_MAX];
extern int test_ncases;
extern unsigned test_seconds;
/* Says more, when a test fails; NULL: nothing. One for all files of a program.
 */
__attribute__((weak)) void (*test_on_failure)(void);

#define TEST_CASE(fn, sig, msg, line)                            \
    static void fn(void);                                        \
    __attribute__((constructor)) static void register_##fn(void) \
    {                                                            \
        test_cases[test_ncases++] =                              \
            (struct test_case){#fn, fn, sig, msg, line};         \
    }                                                            \
    static void fn(void)
#define TEST(fn) TEST_CASE(fn, 0, NULL, NULL)
#define TEST_DIES(fn, sig, msg) TEST_CASE(fn, sig, msg, NULL)

__attribute__((noreturn, format(printf, 3, 4))) static inline void
test_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "# %s:%d: ", file, line);
    va_list ap;
    va_start(ap, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n, format, ap);
    va_end(ap);
    n = n > (int)sizeof text - 2 ? (int)sizeof text - 2 : n;
    text[n++] = '\n';
    (void)!write(2, text, (size_t)n);
    if (test_on_failure != NULL)
        test_on_failure();
    _exit(1);
}

#define SKIP(why)                                                              \
    do {                                                                       \
        (void)!write(2, "# skip: " why "\n", sizeof("# skip: " why "\n") - 1); \
        _exit(TEST_SKIPPED);                                                   \
    } while (0)
/* Turns of a long loop: a 16th of them under ThreadSanitizer, which is as much
 * slower where threads start or memory comes and goes; it needs no luck to
 * see a race. */
#define TEST_TURNS(n) (TEST_TSAN ? ((n) + 15) / 16 : (n))
/* For what ThreadSanitizer cannot follow. */
#define SKIP_TSAN(why) \
    do {               \
        if (TEST_TSAN) \
            SKIP(why); \
    } while (0)
#define EXPECT(condition)  \
    ((condition) ? (void)0 \
                 : test_fail(__FILE__, __LINE__, "false: %s", #condition))
#define TEST_COMPARE(a, op, b)                                                 \
    do {                                                                       \
        long long test_a = (long long)(a), test_b = (long long)(b);            \
        if (!(test_a op test_b))                                               \
            test_fail(__FILE__, __LINE__,                                      \
                      "%s %s %s: %lld (0x%llx), %lld "                         \
                      "(0x%llx)",                                              \
                      #a, #op, #b, test_a, (unsigned long long)test_a, test_b, \
                      (unsigned long long)test_b);                             \
    } while (0)
#define EXPECT_EQ(a, b) TEST_COMPARE(a, ==, b)
#define EXPECT_NE(a, b) TEST_COMPARE(a, !=, b)
#define EXPECT_LE(a, b) TEST_COMPARE(a, <=, b)
#define EXPECT_LT(a, b) TEST_COMPARE(a, <, b)
#define EXPECT_GE(a, b) TEST_COMPARE(a, >=, b)
#define EXPECT_GT(a, b) TEST_COMPARE(a, >, b)
#define EXPECT_STR(a, b)                                                  \
    do {                                                                  \
        const char *test_a = (a), *test_b = (b);                          \
        if (strcmp(test_a, test_b) != 0)                                  \
            test_fail(__FILE__, __LINE__, "%s: \"%s\" is not \"%s\"", #a, \
                      test_a, test_b);                                    \
    } while (0)
#define EXPECT_CONTAINS(text, part)                                       \
    do {                                                                  \
        const char *test_a = (text), *test_b = (part);                    \
        if (strstr(test_a, test_b) == NULL)                               \
            test_fail(__FILE__, __LINE__, "\"%s\" not in \"%s\"", test_b, \
                      test_a);                                            \
    } while (0)

/* In the child: a process group of its own, that ends with its parent. */
__attribute__((noreturn)) static inline void
test_child(const struct test_case *c, int fd)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, 2);
    alarm(test_seconds);
    c->run();
    _exit(0);
}

/* The alarm is for the child to die of. One that blocks it, as a sanitizer does
 * in a signal handler, is killed a little later. */
static inline void test_wait(pid_t pid)
{
    siginfo_t ended;
    struct pollfd child = {.fd = (int)syscall(SYS_pidfd_open, pid, 0),
                           .events = POLLIN};
    if (child.fd >= 0 && poll(&child, 1, ((int)test_seconds + 5) * 1000) == 0)
        kill(-pid, SIGKILL);
    close(child.fd);
    while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        ;
}

/* Runs one case; leaves its wait status and what it said on stderr. */
static inline int test_process(const struct test_case *c, char *said, size_t n)
{
    int fd = memfd_create("test-stderr", 0), status = 0;
    pid_t pid = fork();
    if (pid < 0)
        test_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
    if (pid == 0)
        test_child(c, fd);
    test_wait(pid);
    kill(-pid, SIGKILL); /* what it left; it is not reaped yet itself */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    ssize_t length = pread(fd, said, n - 1, 0);
    said[length < 0 ? 0 : length] = 0;
    close(fd);
    return status;
}

/* The line of stderr that says it: the first of ours, else the last. */
static inline const char *test_reason(const char *said, int *length)
{
    const char *best = "";
    *length = 0;
    for (const char *line = said; *line; line += strcspn(line, "\n")) {
        line += strspn(line, "\n");
        bool ours = strncmp(line, "# ", 2) == 0;
        best = *line ? line + (ours ? 2 : 0) : best;
        *length = (int)strcspn(best, "\n");
        if (ours || strncmp(line, "testhost: ", 10) == 0)
            break;
    }
    return best;
}

static inline void test_print_failure(const struct test_case *c, int status,
                                      bool told, const char *said)
{
    int length;
    const char *reason = test_reason(said, &length);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("timed out after %u s", test_seconds);
    else if (WIFSIGNALED(status))
        printf("SIG%s%s%.*s", sigabbrev_np(WTERMSIG(status)),
               length ? ": " : "", length, reason);
    else if (length)
        printf("%.*s", length, reason);
    else
        printf("exit status %d", WEXITSTATUS(status));
    if (!told)
        printf(", without the message: %s", c->message);
    while (*said) {
        length = (int)strcspn(said, "\n");
        printf("\n#   %.*s", length, said);
        said += length + (said[length] == '\n');
    }
}

/* Runs one case and prints its line as number n; false = it failed. */
static inline bool test_run(const struct test_case *c, int n)
{
    static char said[65536];
    fflush(stdout);
    int status = test_process(c, said, sizeof said);
    bool ended = c->signal
                     ? WIFSIGNALED(status) && WTERMSIG(status) == c->signal
                     : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool told = c->message == NULL || strstr(said, c->message) != NULL;
    bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED;
    bool good = skipped || (ended && told);
    printf("%sok %d - %s", good ? "" : "not ", n, c->name);
    const char *why = strstr(said, "# skip: ");
    if (skipped)
        printf(" # SKIP %.*s", why ? (int)strcspn(why + 8, "\n") : 0,
               why ? why + 8 : "");
    else if (!good)
        printf(": "), test_print_failure(c, status, told, said);
    printf("\n");
    return good;
}

static inline int test_main(int argc, char **argv)
{
    int failed = 0, n = 0;
    for (int i = 0; i < test_ncases; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], test_cases[i].name) == 0;
        if (!wanted)
            continue;
        failed += !test_run(&test_cases[i], ++n);
    }
    printf("1..%d\n", n);
    return failed != 0 || n == 0;
}

#define TEST_STATE()                       \
    struct test_case test_cases[TEST_MAX]; \
    int test_ncases;                       \
    unsigned test_seconds = TEST_SECONDS

#define TEST_MAIN()                   \
    TEST_STATE();                     \
    int main(int argc, char **argv)   \
    {                                 \
        return test_main(argc, argv); \
    }

#endif

/* SPDX-License-Identifier: MIT
 * test.h - the harness: a process per test, an alarm, TAP on stdout.
 *
 *     TEST(adds_up) { EXPECT_EQ(1 + 1, 2); }
 *     TEST_DIES(bad_free, SIGABRT, "not a live slot") { free((void *)1); }
 *     TEST_MAIN()
 *
 * A test passes when its process ends with 0 (or, for TEST_DIES, by that
 * signal with that text on stderr). SKIP("why") ends it as skipped. Nothing
 * here allocates, so it works beside a broken allocator. `prove` runs it:
 * `PROGRAM` runs all, `PROGRAM NAME...` those named.
 */
#ifndef HAK_TESTS_TEST_H
#define HAK_TESTS_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_SECONDS = 60, TEST_MAX = 200, TEST_SKIPPED = 77 };

struct test_case {
    const char *name;
    void (*run)(void);
    int signal;          /* 0: must exit 0 */
    const char *message; /* must stand on stderr, or NULL */
};

extern struct test_case test_cases[TEST_MAX];
extern int test_ncases;

#define TEST_CASE(fn, sig, msg)                                            \
    static void fn(void);                                                  \
    __attribute__((constructor)) static void register_##fn(void)           \
    {                                                                      \
        test_cases[test_ncases++] = (struct test_case){#fn, fn, sig, msg}; \
    }                                                                      \
    static void fn(void)
#define TEST(fn) TEST_CASE(fn, 0, NULL)
#define TEST_DIES(fn, sig, msg) TEST_CASE(fn, sig, msg)

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
    _exit(1);
}

#define SKIP(why)                                                              \
    do {                                                                       \
        (void)!write(2, "# skip: " why "\n", sizeof("# skip: " why "\n") - 1); \
        _exit(TEST_SKIPPED);                                                   \
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

/* Runs one case in a child; returns 1 passed, 0 failed, -1 skipped, why in
 * said. */
static inline int test_run(const struct test_case *c, char said[65536])
{
    int fd = memfd_create("test-stderr", 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, 2);
        alarm(TEST_SECONDS);
        c->run();
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    ssize_t n = pread(fd, said, 65535, 0);
    said[n < 0 ? 0 : n] = 0;
    close(fd);
    bool ended = c->signal
                     ? WIFSIGNALED(status) && WTERMSIG(status) == c->signal
                     : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool told = c->message == NULL || strstr(said, c->message) != NULL;
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
        return -1;
    if (ended && told)
        return 1;
    printf("# %s: status 0x%x%s%s\n# stderr: %s\n", c->name, (unsigned)status,
           told ? "" : ", without the message: ", told ? "" : c->message, said);
    return 0;
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
        fflush(stdout);
        static char said[65536];
        int result = test_run(&test_cases[i], said);
        const char *why = result < 0 ? strstr(said, "# skip: ") : NULL;
        printf("%sok %d - %s%s%s", result ? "" : "not ", ++n,
               test_cases[i].name, result < 0 ? " # SKIP " : "",
               why != NULL ? why + 8 : "\n");
        failed += result == 0;
    }
    printf("1..%d\n", n);
    return failed != 0 || n == 0;
}

#define TEST_MAIN()                        \
    struct test_case test_cases[TEST_MAX]; \
    int test_ncases;                       \
    int main(int argc, char **argv)        \
    {                                      \
        return test_main(argc, argv);      \
    }

#endif

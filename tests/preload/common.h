/* SPDX-License-Identifier: MIT
 * common.h - what the preload tests share: patterns, numbers, RSS.
 *
 * The programs test glibc's contracts, so each runs twice: on plain glibc,
 * which is the reference, and under the preload. What only hakmem promises
 * starts with a question to under_hakmem().
 */
#ifndef HAK_TESTS_PRELOAD_COMMON_H
#define HAK_TESTS_PRELOAD_COMMON_H

#include <dlfcn.h>
#include <random.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <test.h>
#include <time.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static inline bool under_hakmem(void)
{
    return dlsym(RTLD_DEFAULT, "hak_version") != NULL;
}

/*
 * run.sh says which allocator it means to test: a preload that ld.so did not
 * find must not pass as a good one.
 */
__attribute__((constructor)) static void expect_allocator(void)
{
    const char *mode = getenv("HAK_TEST_MODE");
    if (mode != NULL && under_hakmem() != (strcmp(mode, "plain") != 0))
        test_fail(__FILE__, __LINE__, "mode %s, but hakmem is %s", mode,
                  under_hakmem() ? "there" : "not there");
}

/* Limit the size of files of this process and its children, as ulimit -f. The
 * signal that comes with the limit ends a program by default. */
__attribute__((unused)) static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    EXPECT(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/*
 * Under an INI of conf/foreign/: what that allocator keeps, touches and uses
 * again is its own affair. Preloaded by itself it exceeds the same bounds.
 */
static inline bool is_foreign(void)
{
    const char *mode = getenv("HAK_TEST_MODE");
    return mode != NULL && strncmp(mode, "conf/foreign/", 13) == 0;
}

static inline bool is_mode(const char *name)
{
    const char *mode = getenv("HAK_TEST_MODE");
    return mode != NULL && strcmp(mode, name) == 0;
}
#define OWN_BOUND(expectation) \
    do {                       \
        if (!is_foreign())     \
            expectation;       \
    } while (0)

/* n, as the compiler cannot know it: it objects to absurd requests. */
static inline size_t opaque(size_t n)
{
    __asm__("" : "+r"(n));
    return n;
}

/* ---- random numbers ----------------------------------------------------- */

/* 1 << low_log2 .. 1 << high_log2, each doubling as likely as the next. */
static inline size_t random_size(uint64_t *state, unsigned low_log2,
                                 unsigned high_log2)
{
    unsigned log2 =
        low_log2 + (unsigned)random_below(state, high_log2 - low_log2);
    size_t base = (size_t)1 << log2;
    return base + random_below(state, base + 1);
}

/* ---- patterns: the byte at an offset depends on the seed ---------------- */

static inline void fill(void *p, size_t n, uint64_t seed)
{
    char *to = p;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = random_mix(seed + i);
        memcpy(to + i, &word, n - i < 8 ? n - i : 8);
    }
}

/* Offset of the first wrong word, or n. */
static inline size_t first_wrong(const void *p, size_t n, uint64_t seed)
{
    const char *from = p;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = random_mix(seed + i);
        if (memcmp(from + i, &word, n - i < 8 ? n - i : 8) != 0)
            return i;
    }
    return n;
}

static inline size_t first_nonzero(const void *p, size_t n)
{
    const char *from = p;
    for (size_t i = 0; i < n; i++)
        if (from[i] != 0)
            return i;
    return n;
}

#define EXPECT_PATTERN(p, n, seed) EXPECT_EQ(first_wrong(p, n, seed), n)
#define EXPECT_ALIGNED(p, align) EXPECT_EQ((uintptr_t)(p) % (align), 0)

/* ---- the process and the clock ------------------------------------------ */

/* A field of /proc/self/statm in bytes; 0: address space, 1: resident. */
static inline size_t statm_bytes(int field)
{
    char text[256];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    char *at = text;
    unsigned long pages = strtoul(at, &at, 10);
    for (; field > 0; field--)
        pages = strtoul(at, &at, 10);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static inline size_t rss_bytes(void)
{
    return statm_bytes(1);
}

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A whole file or report, which is closed, in a static buffer. */
__attribute__((unused)) static const char *text_of(int fd)
{
    static char text[MIB];
    size_t used = 0;
    ssize_t n;
    EXPECT_GE(fd, 0);
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    EXPECT_LT(used, sizeof text - 1);
    text[used] = 0;
    close(fd);
    return text;
}

/* Waits for a child that must end with 0 before `limit_seconds` are over. */
static inline void expect_child_ok(pid_t pid, int limit_seconds)
{
    int status = 0;
    double until = seconds() + limit_seconds;
    EXPECT_GT(pid, 0);
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            break;
        if (ended < 0 && errno != EINTR)
            test_fail(__FILE__, __LINE__, "waitpid: %s", strerror(errno));
        if (seconds() > until) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            test_fail(__FILE__, __LINE__, "child %d hung", (int)pid);
        }
        usleep(200);
    }
    EXPECT_EQ(status, 0);
}

#endif

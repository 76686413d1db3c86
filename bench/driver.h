/* SPDX-License-Identifier: MIT
 * driver.h - one bench, several allocators, side by side.
 *
 *     BENCH ARGS...                  run on what is preloaded, print op/s
 *     BENCH --vs LIST ARGS...        run on hakmem and on each of LIST in turn,
 *                                    ROUNDS times (default 5), print medians
 *                                    and ratios to hakmem
 *
 * LIST: names (glibc mimalloc jemalloc tcmalloc tbbmalloc) or paths of
 * libraries, with commas. --rounds N. hakmem is build/libhakmem.so with the
 * environment as it is, so HAKMEM_CONF and the like choose its configuration.
 *
 * A bench defines bench_usage and bench_run: it parses argv (without the
 * driver's options), runs, and returns operations per second.
 */
#ifndef HAK_BENCH_DRIVER_H
#define HAK_BENCH_DRIVER_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const bench_usage;
static double bench_run(int argc, char **argv);

enum { DRIVER_MOST = 12, DRIVER_ROUNDS_MOST = 99 };

static inline double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Marsaglia, "Xorshift RNGs", 2003 */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline size_t bench_number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 0);
    if (errno != 0 || *end != 0 || *text == 0) {
        fprintf(stderr, "bench: \"%s\" is no number\n%s\n", text, bench_usage);
        exit(2);
    }
    return (size_t)n;
}

/* Size bounds: HAKMEM_BENCH_MIN_SIZE and _MAX_SIZE over the bench's own. */
static inline void bench_sizes(size_t *least, size_t *most)
{
    const char *a = getenv("HAKMEM_BENCH_MIN_SIZE");
    const char *b = getenv("HAKMEM_BENCH_MAX_SIZE");
    if (a != NULL)
        *least = bench_number(a);
    if (b != NULL)
        *most = bench_number(b);
    if (*least > *most) {
        fputs("bench: HAKMEM_BENCH_MIN_SIZE is above _MAX_SIZE\n", stderr);
        exit(2);
    }
}

/* Touch both ends of a block, as its user would. */
static inline void bench_touch(void *p, size_t size)
{
    if (p == NULL) {
        fputs("bench: out of memory\n", stderr);
        exit(1);
    }
    ((volatile char *)p)[0] = 1;
    ((volatile char *)p)[size - (size != 0)] = 1;
}

/* Random replacement in a working set of one's own, what most benches do. */
struct bench_plan {
    size_t iter, ws, least, most;
    uint64_t seed;
    size_t (*pick)(const struct bench_plan *plan, uint64_t random);
};

static inline size_t bench_uniform(const struct bench_plan *plan,
                                   uint64_t random)
{
    return plan->least +
           (size_t)(random >> 40) % (plan->most - plan->least + 1);
}

static inline void bench_replace(const struct bench_plan *plan, uint64_t who)
{
    size_t ws = plan->ws == 0 ? 1 : plan->ws;
    void **block = calloc(ws, sizeof *block);
    uint64_t state = (plan->seed + who) * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < plan->iter; i++) {
        uint64_t x = bench_random(&state);
        size_t k = (size_t)(x >> 20) % ws, size = plan->pick(plan, x);
        free(block[k]);
        block[k] = malloc(size);
        bench_touch(block[k], size);
    }
    for (size_t k = 0; k < ws; k++)
        free(block[k]);
    free(block);
}

struct bench_worker {
    pthread_t thread;
    const struct bench_plan *plan;
    uint64_t who;
};

static inline void *bench_work(void *arg)
{
    struct bench_worker *w = arg;
    bench_replace(w->plan, w->who);
    return NULL;
}

/* The plan in n threads at once; operations per second of all together. */
static inline double bench_in_threads(const struct bench_plan *plan, size_t n)
{
    enum { THREADS_MOST = 256 };
    static struct bench_worker worker[THREADS_MOST];
    n = n == 0 ? 1 : n > THREADS_MOST ? THREADS_MOST : n;
    double start = bench_seconds();
    for (size_t i = 0; i < n; i++) {
        worker[i].plan = plan;
        worker[i].who = i;
        pthread_create(&worker[i].thread, NULL, bench_work, &worker[i]);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(worker[i].thread, NULL);
    return (double)(plan->iter * n) / (bench_seconds() - start);
}

static inline const char *driver_library(const char *name)
{
    static const char *const known[][2] = {
        {"glibc", ""},
        {"mimalloc", "libmimalloc.so.2.0"},
        {"jemalloc", "libjemalloc.so.2"},
        {"tcmalloc", "libtcmalloc_minimal.so.4"},
        {"tbbmalloc", "libtbbmalloc_proxy.so.2"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i][0]) == 0)
            return known[i][1];
    return name;
}

/* One run in a process of its own; returns op/s. */
static inline double driver_child(const char *library, char **argv)
{
    int pipe_fd[2];
    char text[64] = "";
    if (pipe(pipe_fd) != 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fd[1], STDOUT_FILENO);
        if (*library != 0)
            setenv("LD_PRELOAD", library, 1);
        else
            unsetenv("LD_PRELOAD");
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], text, sizeof text - 1);
    close(pipe_fd[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    if (n <= 0 || status != 0) {
        fprintf(stderr, "bench: run on \"%s\" failed\n", library);
        exit(1);
    }
    return strtod(text, NULL);
}

static inline int driver_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline int driver_versus(char *list, size_t rounds, char **argv)
{
    static double ops[DRIVER_MOST][DRIVER_ROUNDS_MOST];
    static char hakmem[4096];
    const char *name[DRIVER_MOST] = {"hakmem"};
    size_t n = 1;
    ssize_t length = readlink("/proc/self/exe", hakmem, sizeof hakmem - 64);
    char *slash = length > 0 ? strstr(hakmem, "/bench/") : NULL;
    strcpy(slash != NULL ? slash : hakmem, "/libhakmem.so");
    for (char *w = strtok(list, ","); w && n < DRIVER_MOST;
         w = strtok(NULL, ","))
        name[n++] = w;
    for (size_t r = 0; r < rounds; r++)
        for (size_t i = 0; i < n; i++)
            ops[i][r] =
                driver_child(i == 0 ? hakmem : driver_library(name[i]), argv);
    for (size_t i = 0; i < n; i++) {
        qsort(ops[i], rounds, sizeof ops[i][0], driver_compare);
        double median = ops[i][rounds / 2];
        printf("%-12s %10.2f Mop/s  x%.2f  (%.2f .. %.2f)\n", name[i],
               median * 1e-6, median / ops[0][rounds / 2], ops[i][0] * 1e-6,
               ops[i][rounds - 1] * 1e-6);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *list = NULL;
    size_t rounds = 5;
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--vs") == 0 && i + 1 < argc)
            list = argv[++i];
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = bench_number(argv[++i]);
        else if (strcmp(argv[i], "--help") == 0)
            return puts(bench_usage) < 0;
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    if (rounds == 0 || rounds > DRIVER_ROUNDS_MOST)
        rounds = 5;
    if (list != NULL)
        return driver_versus(list, rounds, argv);
    double ops = bench_run(n, argv);
    if (isatty(STDOUT_FILENO))
        printf("%.2f Mop/s\n", ops * 1e-6);
    else
        printf("%.0f\n", ops);
    return 0;
}

#endif

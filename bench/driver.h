/* SPDX-License-Identifier: MIT
 * driver.h - code that the bench programs share: time, random numbers, main.
 *
 *     BENCH ARGS...                     run on the preloaded allocator and
 *                                       print op/s
 *     BENCH --vs LIST [--rounds N] ...  run beside the allocators of LIST, by
 *                                       bench.py, and print ratios
 *     BENCH --help                      print what ARGS are
 *
 * A bench defines bench_usage and bench_run. bench_run parses argv, runs, and
 * returns operations per second; or ns, if it sets bench_is_ns. A bench that
 * measures the memory that stays sets bench_after_bytes, which is printed after
 * the first figure. bench.py runs any bench beside other allocators.
 */
#ifndef HAK_BENCH_DRIVER_H
#define HAK_BENCH_DRIVER_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const char *const bench_usage;
static double bench_run(int argc, char **argv);

static size_t bench_after_bytes;
static bool bench_is_ns;

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

/* Set the size bounds to HAKMEM_BENCH_MIN_SIZE and HAKMEM_BENCH_MAX_SIZE, if
 * they are set. */
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

/* A plan for random replacement: each thread replaces random blocks of its own
 * working set. Most benches do this. */
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

/* Run the plan in n threads at once. Returns the operations per second of all
 * threads together. */
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

/* Resident bytes of this process now. */
static inline size_t bench_rss_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    char *second = n > 0 ? strchr(text, ' ') : NULL;
    return second == NULL ? 0 : strtoul(second, NULL, 10) * 4096;
}

/* Use little memory for a second, as a server does at night: every 10 ms a
 * request of 100 blocks of 16..8192 bytes. Then set bench_after_bytes to the
 * RSS. */
static inline void bench_look_after_a_second(void)
{
    enum { REQUESTS = 100, BLOCKS = 100 };
    void *block[BLOCKS];
    uint64_t state = 42;
    for (int i = 0; i < REQUESTS; i++) {
        usleep(10000);
        for (size_t k = 0; k < BLOCKS; k++) {
            size_t size = 16 + (size_t)(bench_random(&state) >> 20) % 8177;
            block[k] = malloc(size);
            bench_touch(block[k], size);
        }
        for (size_t k = 0; k < BLOCKS; k++)
            free(block[k]);
    }
    bench_after_bytes = bench_rss_bytes();
}

/* Memory for the bench's own tables, from mmap and not from the allocator. */
static inline void *bench_table(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fputs("bench: no memory for a table\n", stderr);
        exit(1);
    }
    return p;
}

/* One mode of a bench that has several: MODE [N [ITER [SEED]]], with the
 * defaults of the mode. */
struct bench_mode {
    const char *name;
    size_t n, iter;
    double (*run)(size_t n, size_t iter, uint64_t seed);
};

static inline double bench_run_mode(const struct bench_mode *mode, int argc,
                                    char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    while (mode->name != NULL && strcmp(mode->name, name) != 0)
        mode++;
    if (mode->name == NULL) {
        fprintf(stderr, "bench: no mode \"%s\"\n%s\n", name, bench_usage);
        exit(2);
    }
    size_t n = argc > 2 ? bench_number(argv[2]) : mode->n;
    size_t iter = argc > 3 ? bench_number(argv[3]) : mode->iter;
    uint64_t seed = argc > 4 ? bench_number(argv[4]) : 42;
    return mode->run(n == 0 ? 1 : n, iter == 0 ? 1 : iter, seed);
}

/* Execute TOP/bench/bench.py; this program is TOP/build/bench/NAME. Does not
 * return. */
__attribute__((noreturn)) static inline void
driver_versus(const char *list, const char *rounds, char **argv)
{
    enum { MOST = 64 };
    static char script[4096], peers[] = "--peers", times[] = "--rounds",
                              end_of_options[] = "--";
    char *args[MOST] = {script,
                        peers,
                        (char *)(uintptr_t)list,
                        times,
                        (char *)(uintptr_t)rounds,
                        end_of_options};
    ssize_t length = readlink("/proc/self/exe", script, sizeof script - 64);
    char *end = length > 0 ? strstr(script, "/build/bench/") : NULL;
    char *name = length > 0 ? strrchr(script, '/') : NULL;
    if (end == NULL) {
        fputs("bench: --vs needs bench/bench.py, beside build/bench/\n",
              stderr);
        exit(2);
    }
    size_t n = 6;
    args[n++] = strdup(name + 1);
    for (char **at = argv + 1; *at != NULL && n < MOST - 1; at++)
        args[n++] = *at;
    strcpy(end, "/bench/bench.py");
    execv(script, args);
    fprintf(stderr, "bench: %s: %s\n", script, strerror(errno));
    exit(127);
}

int main(int argc, char **argv)
{
    const char *list = NULL, *rounds = "5";
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return puts(bench_usage) < 0;
        if (strcmp(argv[i], "--vs") == 0 && i + 1 < argc)
            list = argv[++i];
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = argv[++i];
        else
            argv[n++] = argv[i];
    }
    argv[argc = n] = NULL;
    if (list != NULL)
        driver_versus(list, rounds, argv);
    double ops = bench_run(argc, argv);
    if (isatty(STDOUT_FILENO))
        printf(bench_is_ns ? "%.0f ns" : "%.2f Mop/s",
               bench_is_ns ? ops : ops * 1e-6);
    else
        printf("%.0f", ops);
    if (bench_after_bytes != 0)
        printf(" %zu", bench_after_bytes);
    puts("");
    return 0;
}

#endif

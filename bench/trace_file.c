/* SPDX-License-Identifier: MIT
 * trace_file.c - what it costs to write and to read traces.
 *
 *     trace_file FILE...     traces of any format, of at most 8 million
 *                            operations, the rest is left out
 *
 * For each one: bytes and ns of CPU time an operation; the least of five runs,
 * in which writing and reading take turns. Files are written to /dev/shm.
 */
#include <trace/trace.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8000000, RUNS = 5 };

static struct trace_op *ops;
static size_t nops;
static char why[512];
static const char path[] = "/dev/shm/hakmem-bench.trace";

static void fail(const char *file, const char *reason)
{
    fprintf(stderr, "trace_file: %s %s\n", file, reason);
    unlink(path);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void load(const char *file)
{
    struct trace *t = trace_open(file, NULL, why, sizeof why);
    int got = 1;
    if (t == NULL)
        fail(file, why);
    nops = 0;
    while (nops < MOST &&
           (got = trace_next(t, &ops[nops], why, sizeof why)) == 1)
        nops++;
    if (got < 0)
        fail(file, why);
    if (nops == 0)
        fail(file, "has no operations");
    trace_close(t);
}

static double write_ns(void)
{
    double begun = cpu_ns();
    struct trace_writer *w = trace_create(path, "{}", why, sizeof why);
    if (w == NULL)
        fail(path, why);
    int error = 0;
    for (size_t i = 0; i < nops && error == 0; i++)
        error = trace_put(w, &ops[i]);
    int finish = trace_finish(w, 0);
    if (error != 0 || finish != 0)
        fail(path, strerror(error != 0 ? -error : -finish));
    return (cpu_ns() - begun) / (double)nops;
}

static double read_ns(void)
{
    struct trace_op op;
    double begun = cpu_ns();
    struct trace *t = trace_open(path, NULL, why, sizeof why);
    if (t == NULL)
        fail(path, why);
    while (trace_next(t, &op, why, sizeof why) == 1)
        ;
    trace_close(t);
    return (cpu_ns() - begun) / (double)nops;
}

static void measure(const char *file)
{
    double written = 0, read = 0;
    struct stat s;
    load(file);
    for (int i = 0; i < RUNS; i++) {
        double w = write_ns(), r = read_ns();
        written = i == 0 || w < written ? w : written;
        read = i == 0 || r < read ? r : read;
    }
    if (stat(path, &s) != 0)
        fail(path, "is gone");
    printf("%-24s %10zu %8.2f %8.1f %8.1f\n", file, nops,
           (double)s.st_size / (double)nops, written, read);
}

int main(int argc, char **argv)
{
    ops = malloc(MOST * sizeof *ops);
    if (ops == NULL)
        fail("memory", "is short");
    printf("%-24s %10s %8s %8s %8s\n", "TRACE", "OPS", "BYTES", "WRITE NS",
           "READ NS");
    for (int i = 1; i < argc; i++)
        measure(argv[i]);
    unlink(path);
    free(ops);
    return 0;
}

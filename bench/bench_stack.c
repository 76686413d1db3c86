/* SPDX-License-Identifier: MIT
 * bench_stack.c - what it costs to take a stack, by module stack and by the
 * unwinder of libgcc (glibc's backtrace), in turn.
 *
 * usage: bench_stack [DEPTH...]    default: 8 and 32 frames
 *
 * Prints the medians of ns for a stack and a frame.
 */
#include <hakmem/module.h>
#include <hakmem/stack.h>

#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 101, STACKS = 100, MOST = 256 };

static const struct hak_stack_1 *ours;
static uintptr_t out[MOST];
static void *libgccs[MOST];
static double took[2][ROUNDS];
static uint32_t nframes;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (int i = 0; i < STACKS; i++)
            nframes = ours->take(out, MOST);
        double between = now_ns();
        for (int i = 0; i < STACKS; i++)
            backtrace(libgccs, MOST);
        took[0][round] = (between - began) / STACKS;
        took[1][round] = (now_ns() - between) / STACKS;
    }
}

static volatile int sink;

__attribute__((noinline)) static void at_depth(int depth)
{
    if (depth > 0)
        at_depth(depth - 1);
    else
        measure();
    sink++;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static void report(int depth)
{
    at_depth(depth);
    double a = median(took[0]), b = median(took[1]);
    printf("%3u frames  module stack %6.0f ns, %5.1f a frame   libgcc %6.0f "
           "ns, %5.1f a frame   %.1f times\n",
           nframes, a, a / nframes, b, b / nframes, b / a);
}

int main(int argc, char **argv)
{
    const char *name = "build/modules/stack.so";
    void *library = dlopen(name, RTLD_NOW);
    const struct hak_module_entry *entry =
        library != NULL ? dlsym(library, HAK_MODULE_PREFIX "stack") : NULL;
    if (entry == NULL) {
        fprintf(stderr, "bench_stack: %s: %s; run it where build/ is\n", name,
                dlerror());
        return 1;
    }
    ours = entry->extension(HAK_STACK_1);
    for (int i = 1; i < argc; i++)
        report(atoi(argv[i]));
    if (argc == 1) {
        report(8);
        report(32);
    }
    return 0;
}

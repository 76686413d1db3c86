/* SPDX-License-Identifier: MIT
 * pair.c - nanoseconds of a malloc/free pair: allocate BATCH blocks of one
 * size, free them in the order of their allocation, and repeat.
 *
 *     pair SIZE [BATCH [PAIRS]]     measures the preloaded allocator
 *     pair --floor SIZE ...         measures a LIFO list that is inlined in the
 *                                   loop: the lower bound for any allocator
 *                                   behind a call
 * Prints the time of one pair: the best of 5 parts of PAIRS / 5 pairs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STRETCHES = 5, MOST = 100000 };
static void *volatile block[MOST];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void round_of_malloc(size_t size, size_t batch)
{
    for (size_t i = 0; i < batch; i++)
        block[i] = malloc(size);
    for (size_t i = 0; i < batch; i++)
        free(block[i]);
}

static void *floor_head;

static void round_of_floor(size_t size, size_t batch)
{
    for (size_t i = 0; i < batch; i++) {
        void *p = floor_head;
        if (p == NULL)
            p = malloc(size < 16 ? 16 : size);
        else
            floor_head = *(void **)p;
        block[i] = p;
    }
    for (size_t i = 0; i < batch; i++) {
        void *p = block[i];
        *(void **)p = floor_head;
        floor_head = p;
    }
}

static double stretch(void (*round)(size_t, size_t), size_t size, size_t batch,
                      size_t rounds)
{
    double start = now_ns();
    for (size_t i = 0; i < rounds; i++)
        round(size, batch);
    return (now_ns() - start) / (double)(rounds * batch);
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: pair [--floor] SIZE [BATCH [PAIRS]]";
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return puts(usage) < 0;
    int a = 1;
    int is_floor = argc > 1 && strcmp(argv[1], "--floor") == 0;
    a += is_floor;
    if (a >= argc) {
        fprintf(stderr, "%s\n", usage);
        return 2;
    }
    size_t size = strtoul(argv[a], NULL, 10);
    size_t batch = a + 1 < argc ? strtoul(argv[a + 1], NULL, 10) : 100;
    size_t pairs = a + 2 < argc ? strtoul(argv[a + 2], NULL, 10) : 10000000;
    if (batch == 0 || batch > MOST)
        return 2;
    size_t rounds = pairs / batch / STRETCHES + 1;
    double best = 1e30;
    for (int i = 0; i < STRETCHES; i++) {
        double ns = stretch(is_floor ? round_of_floor : round_of_malloc, size,
                            batch, rounds);
        best = ns < best ? ns : best;
    }
    printf("%.3f\n", best);
    return 0;
}

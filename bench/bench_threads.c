/* SPDX-License-Identifier: MIT
 * bench_threads.c - threads that share memory, hand it over or compete for it.
 */
#include "driver.h"
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static const char *const bench_usage =
    "usage: bench_threads [--vs LIST] MODE [THREADS [ITER [SEED]]]\n"
    "server    each thread replaces ITER blocks of 16..1024 B in 1000, in 20\n"
    "          lives: a life ends by a new thread, which gets the blocks\n"
    "          (the idea of Larson and Krishnan's server simulation)\n"
    "producer  half of the threads allocate ITER blocks each of 16..512 B,\n"
    "          the other half frees them\n"
    "swap      each thread replaces ITER blocks of 16..512 B, half of them of "
    "its\n"
    "          own 8192, half of 65536 that all threads have: those were\n"
    "          allocated by any of them\n"
    "barrier   ITER times: each thread allocates 10000 blocks of 16..256 B;\n"
    "          when all have, each frees as many of anybody's, at random\n"
    "active    each thread: ITER times malloc(8), 100 writes to it, free;\n"
    "          slow when threads get blocks of one cache line\n"
    "passive   the same, after a free of a block that the first thread got\n"
    "          beside those of the others (both: Berger's Hoard benches)\n"
    "storm     ITER threads, THREADS at a time: start, 100 blocks, free, end\n"
    "Prints op/s of all together; an operation is a malloc and a free, in\n"
    "storm a thread";

enum { THREADS_MOST = 256 };

struct worker {
    pthread_t thread;
    size_t who, n, iter;
    uint64_t state;
    void **block;
    void *given;
    struct ring *ring;
    size_t lives;
};
static struct worker worker[THREADS_MOST];
static pthread_barrier_t barrier;

static void start(pthread_t *thread, void *(*work)(void *), void *arg)
{
    if (pthread_create(thread, NULL, work, arg) != 0) {
        fputs("bench: no thread\n", stderr);
        exit(1);
    }
}

/* Run n workers at once. Returns the seconds that they took. */
static double all(void *(*work)(void *), size_t n, size_t iter, uint64_t seed)
{
    double from = bench_seconds();
    for (size_t i = 0; i < n; i++) {
        struct worker *w = &worker[i];
        w->who = i;
        w->n = n;
        w->iter = iter;
        w->state = (seed + i) * 0x9e3779b97f4a7c15ull + 1;
        start(&w->thread, work, w);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(worker[i].thread, NULL);
    return bench_seconds() - from;
}

static void *fresh(uint64_t random, size_t most)
{
    size_t size = 16 + (size_t)(random >> 40) % (most - 15);
    void *p = malloc(size);
    bench_touch(p, size);
    return p;
}

/* ---- server -------------------------------------------------------------- */

enum { SERVED = 1000, LIVES = 20 };
static sem_t served;

static void *serve(void *arg)
{
    struct worker *w = arg;
    for (size_t i = 0; i < w->iter / LIVES; i++) {
        uint64_t x = bench_random(&w->state);
        size_t k = (size_t)(x >> 20) % SERVED;
        free(w->block[k]);
        w->block[k] = fresh(x, 1024);
    }
    if (++w->lives == LIVES) {
        sem_post(&served);
        return NULL;
    }
    start(&w->thread, serve, w);
    pthread_detach(pthread_self());
    return NULL;
}

static double server(size_t n, size_t iter, uint64_t seed)
{
    sem_init(&served, 0, 0);
    for (size_t i = 0; i < n; i++)
        worker[i].block = calloc(SERVED, sizeof(void *));
    double from = bench_seconds();
    for (size_t i = 0; i < n; i++) {
        worker[i].iter = iter;
        worker[i].state = (seed + i) * 0x9e3779b97f4a7c15ull + 1;
        start(&worker[i].thread, serve, &worker[i]);
    }
    for (size_t i = 0; i < n; i++)
        sem_wait(&served);
    return (double)(n * (iter / LIVES) * LIVES) / (bench_seconds() - from);
}

/* ---- swap ---------------------------------------------------------------- */

enum { OWN = 8192, SHARED = 65536 };
static _Atomic(void *) shared[SHARED];

static void *swap(void *arg)
{
    struct worker *w = arg;
    void **own = calloc(OWN, sizeof *own);
    for (size_t i = 0; i < w->iter; i++) {
        uint64_t x = bench_random(&w->state);
        void *p = fresh(x, 512);
        if (x & 1) {
            p = atomic_exchange_explicit(&shared[(x >> 20) % SHARED], p,
                                         memory_order_acq_rel);
        } else {
            void **at = &own[(x >> 20) % OWN];
            void *old = *at;
            *at = p;
            p = old;
        }
        free(p);
    }
    return NULL;
}

static double swapping(size_t n, size_t iter, uint64_t seed)
{
    return (double)(n * iter) / all(swap, n, iter, seed);
}

/* ---- producer ------------------------------------------------------------ */

/* A ring between one producer and one consumer. The producer stores `made` with
 * release and the consumer loads it with acquire; for `eaten` it is the other
 * way round. */
enum { RING = 1024, PUBLISH = 32 };
struct ring {
    _Alignas(64) atomic_size_t made;
    _Alignas(64) atomic_size_t eaten;
    void *slot[RING];
};
static struct ring rings[THREADS_MOST / 2];

static void produce(struct worker *w)
{
    struct ring *r = w->ring;
    for (size_t i = 0; i < w->iter; i++) {
        while (i - atomic_load_explicit(&r->eaten, memory_order_acquire) ==
               RING)
            sched_yield();
        r->slot[i % RING] = fresh(bench_random(&w->state), 512);
        if (i % PUBLISH == PUBLISH - 1 || i + 1 == w->iter)
            atomic_store_explicit(&r->made, i + 1, memory_order_release);
    }
}

static void consume(struct worker *w)
{
    struct ring *r = w->ring;
    for (size_t i = 0, made = 0; i < w->iter; i++) {
        while (i == made) {
            made = atomic_load_explicit(&r->made, memory_order_acquire);
            if (i == made)
                sched_yield();
        }
        free(r->slot[i % RING]);
        if (i % PUBLISH == PUBLISH - 1)
            atomic_store_explicit(&r->eaten, i + 1, memory_order_release);
    }
}

static void *half(void *arg)
{
    struct worker *w = arg;
    w->ring = &rings[w->who / 2];
    if (w->who % 2 == 0)
        produce(w);
    else
        consume(w);
    return NULL;
}

static double producer(size_t n, size_t iter, uint64_t seed)
{
    n = n < 2 ? 2 : n & ~(size_t)1;
    return (double)(n / 2 * iter) / all(half, n, iter, seed);
}

/* ---- barrier ------------------------------------------------------------- */

enum { HELD = 10000 };
static void **held;
static size_t *order;

static void *meet(void *arg)
{
    struct worker *w = arg;
    for (size_t i = 0; i < w->iter; i++) {
        for (size_t k = w->who * HELD; k < (w->who + 1) * HELD; k++)
            held[k] = fresh(bench_random(&w->state), 256);
        pthread_barrier_wait(&barrier);
        for (size_t k = w->who * HELD; k < (w->who + 1) * HELD; k++)
            free(held[order[k]]);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static double meeting(size_t n, size_t iter, uint64_t seed)
{
    size_t count = n * HELD;
    uint64_t state = seed + 1;
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    held = bench_table(count * sizeof *held);
    order = bench_table(count * sizeof *order);
    for (size_t i = 0; i < count; i++) {
        size_t k = (size_t)(bench_random(&state) >> 20) % (i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    return (double)(count * iter) / all(meet, n, iter, seed);
}

/* ---- active, passive ----------------------------------------------------- */

enum { WRITES = 100 };

static void *ping(void *arg)
{
    struct worker *w = arg;
    free(w->given);
    for (size_t i = 0; i < w->iter; i++) {
        volatile char *p = malloc(8);
        for (int k = 0; k < WRITES; k++)
            p[k % 8] = (char)(p[k % 8] + 1);
        free((void *)(uintptr_t)p);
    }
    return NULL;
}

static double active(size_t n, size_t iter, uint64_t seed)
{
    return (double)(n * iter) / all(ping, n, iter, seed);
}

static double passive(size_t n, size_t iter, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        worker[i].given = malloc(8);
    return active(n, iter, seed);
}

/* ---- storm --------------------------------------------------------------- */

static void *visit(void *arg)
{
    struct worker *w = arg;
    void *block[100];
    for (size_t i = 0; i < 100; i++)
        block[i] = fresh(bench_random(&w->state), 1024);
    for (size_t i = 0; i < 100; i++)
        free(block[i]);
    return NULL;
}

static double storm(size_t n, size_t iter, uint64_t seed)
{
    double seconds = 0;
    size_t waves = iter / n + 1;
    for (size_t i = 0; i < waves; i++)
        seconds += all(visit, n, 1, seed + i);
    return (double)(waves * n) / seconds;
}

static double bench_run(int argc, char **argv)
{
    static const struct bench_mode modes[] = {
        {"server", 2, 1000000, server},     {"swap", 2, 1000000, swapping},
        {"producer", 2, 1000000, producer}, {"barrier", 2, 50, meeting},
        {"active", 2, 1000000, active},     {"passive", 2, 1000000, passive},
        {"storm", 2, 4000, storm},          {NULL, 0, 0, NULL},
    };
    if (argc > 2 && bench_number(argv[2]) > THREADS_MOST) {
        fprintf(stderr, "bench: at most %d threads\n", THREADS_MOST);
        exit(2);
    }
    return bench_run_mode(modes, argc, argv);
}

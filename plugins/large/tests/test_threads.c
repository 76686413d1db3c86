/* SPDX-License-Identifier: MIT
 * test_threads.c - threads, frees by other threads, fork.
 *
 * `build/tests/large/test_threads cost` is not a test: it prints what an
 * alloc/free pair of a kept block costs in this box alone, by number of threads
 * and shards. */
#include "large.h"

#include <time.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { THREADS = 4, PLACES = 64, KIB = 1024 };

static struct hak_box *box;
static void *place[PLACES];
static int stop;

static void start(const char *const *params)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", params, 0, &box), 0);
}

/* Allocate a block that carries its own address and size at its ends. */
static void *make(uint64_t *seed, size_t least)
{
    size_t n = (least + random_below(seed, least * 20)) & ~(size_t)15;
    uintptr_t *p =
        random_below(seed, 8) == 0 ? th_zalloc(box, n) : th_malloc(box, n);
    EXPECT(p != NULL);
    p[0] = (uintptr_t)p ^ n;
    p[1] = n;
    p[n / sizeof *p - 1] = (uintptr_t)p;
    return p;
}

static void unmake(void *block)
{
    uintptr_t *p = block;
    EXPECT_EQ(p[0], (uintptr_t)p ^ p[1]);
    EXPECT_EQ(p[p[1] / sizeof *p - 1], (uintptr_t)p);
    EXPECT(box->ops->owns(box, (char *)p + p[1] - 1));
    th_free(p);
}

/* All threads share the places, so blocks are freed by other threads. */
static void *churn(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    for (int i = 0; i < TEST_TURNS(4000); i++) {
        void *p = random_below(&seed, 3) ? make(&seed, 20 * KIB) : NULL;
        void **at = &place[random_below(&seed, PLACES)];
        p = __atomic_exchange_n(at, p, __ATOMIC_ACQ_REL);
        if (p != NULL && random_below(&seed, 4) == 0)
            p = th_realloc(box, p, ((uintptr_t *)p)[1] * 2);
        if (p != NULL && th_usable(p) >= ((uintptr_t *)p)[1] * 2) {
            th_free(p); /* realloc moved it: its content has the old address */
            continue;
        }
        if (p != NULL)
            unmake(p);
        if (i % 100 == 0)
            th_clock_add(20);
        if (i % 1000 == 0)
            box->ops->trim(box);
    }
    return NULL;
}

static void churn_all(const char *const *params)
{
    pthread_t thread[THREADS];
    start(params);
    for (uintptr_t i = 0; i < THREADS; i++)
        thread[i] = th_spawn(churn, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        th_join(thread[i]);
    for (int i = 0; i < PLACES; i++)
        th_free(place[i]);
    large_check(large_of(box));
    struct hak_box_stats s;
    box->ops->stats(box, &s);
    EXPECT_EQ(s.live_count, 0);
    EXPECT_EQ(s.live_bytes, 0);
    EXPECT_EQ(th_mapped(box), s.cached_bytes);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    large_check(large_of(box));
}

TEST(what_one_allocates_another_frees)
{
    churn_all(NULL);
}

TEST(many_shards_little_room)
{
    churn_all((const char *[]){"shards=16", "cache_bytes=2M", "cache_age_ms=30",
                               "remap_bytes=64k", NULL});
}

TEST(one_shard)
{
    churn_all((const char *[]){"shards=1", "direct_bytes=256k", NULL});
}

static void *free_it(void *p)
{
    box->ops->free(box, p);
    return NULL;
}

/* Of two frees of a block at the same time one is reported, whichever shards
 * the threads use. */
TEST_DIES(freed_twice_at_once, SIGABRT, "not a live slot")
{
    start((const char *[]){"shards=16", NULL});
    void *p = box->ops->alloc(box, 100 * KIB);
    pthread_t a = th_spawn(free_it, p), b = th_spawn(free_it, p);
    th_join(a);
    th_join(b);
}

/* ---- fork --------------------------------------------------------------- */

static void *churn_until_told(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p =
            box->ops->alloc(box, 40 * KIB + random_below(&seed, 4u << 20));
        p = box->ops->resize(box, p, 2u << 20) ?: p;
        box->ops->free(box, p);
    }
    return NULL;
}

static void *one_pair(void *done)
{
    box->ops->free(box, box->ops->alloc(box, 64 * KIB));
    __atomic_store_n((int *)done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Between PREPARE and PARENT no other thread changes what the child will see.
 */
TEST(prepare_holds_the_others)
{
    int done = 0;
    start(NULL);
    box->ops->free(box, box->ops->alloc(box, 64 * KIB));
    box->ops->fork(box, HAK_FORK_PREPARE);
    pthread_t thread = th_spawn(one_pair, &done);
    usleep(50000);
    EXPECT(!__atomic_load_n(&done, __ATOMIC_ACQUIRE));
    box->ops->fork(box, HAK_FORK_PARENT);
    th_join(thread);
    EXPECT(done);
}

/* The child can use the box at once, whatever the parent's threads were doing.
 */
static void in_the_child(void *mine)
{
    unmake(mine);
    for (size_t i = 1; i < 40; i++) {
        void *p = box->ops->alloc(box, i * 40 * KIB);
        EXPECT(p != NULL);
        box->ops->free(box, p);
    }
    box->ops->trim(box);
    _exit(0);
}

TEST(fork_among_threads)
{
    uint64_t seed = 1;
    start(NULL);
    pthread_t a = th_spawn(churn_until_told, (void *)1),
              b = th_spawn(churn_until_told, (void *)2);
    for (int i = 0; i < 15; i++) {
        void *mine = make(&seed, 64 * KIB);
        int status = -1;
        pid_t pid = th_fork();
        if (pid == 0)
            in_the_child(mine);
        waitpid(pid, &status, 0);
        EXPECT_EQ(status, 0);
        unmake(mine);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    th_join(a);
    th_join(b);
    large_check(large_of(box));
}

/* ---- cost ---------------------------------------------------------------- */

enum { PAIRS = 2000000 };

static void *pairs(void *argument)
{
    size_t size = *(size_t *)argument;
    for (int i = 0; i < PAIRS; i++)
        box->ops->free(box, box->ops->alloc(box, size));
    return NULL;
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void print_cost(const char *shards, int nthreads)
{
    static size_t size = 64 * KIB;
    pthread_t thread[THREADS];
    start((const char *[]){shards, NULL});
    double begin = now_ns();
    for (int i = 0; i < nthreads; i++)
        thread[i] = th_spawn(pairs, &size);
    for (int i = 0; i < nthreads; i++)
        th_join(thread[i]);
    printf("%d threads, %s: %.1f ns a pair\n", nthreads, shards,
           (now_ns() - begin) / PAIRS);
}

TEST_STATE();

int main(int argc, char **argv)
{
    if (argc != 2 || strcmp(argv[1], "cost") != 0)
        return test_main(argc, argv);
    for (int nthreads = 1; nthreads <= 2; nthreads++) {
        print_cost("shards=1", nthreads);
        print_cost("shards=0", nthreads);
    }
    return 0;
}

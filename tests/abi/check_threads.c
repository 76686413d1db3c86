/* SPDX-License-Identifier: MIT
 * check_threads.c - heaps, remote frees, ended threads, fork.
 */
#include <semaphore.h>

#include "check.h"

enum { HEAP_THREADS = 3, PER_THREAD = 400 };

/* ---- heaps open and close in any order --------------------------------- */

struct worker {
    sem_t go, ready;
    struct block *b;
    size_t n;
    pthread_t thread;
};

static void *hold_until_told(void *argument)
{
    struct worker *w = argument;
    ck_seed((uintptr_t)w >> 4);
    w->n = ck_fill(w->b, PER_THREAD, ck.max_bytes, CK_MIB);
    sem_post(&w->ready);
    while (sem_wait(&w->go))
        ;
    for (size_t i = 0; i < w->n; i += 2)
        ck_free(&w->b[i]);
    return NULL;
}

static void open_and_close(const int *order, bool newest_first)
{
    static struct worker w[HEAP_THREADS];
    for (int i = 0; i < HEAP_THREADS; i++) {
        sem_init(&w[i].go, 0, 0);
        sem_init(&w[i].ready, 0, 0);
        w[i].b = w[i].b ? w[i].b : ck_blocks(PER_THREAD);
        w[i].thread = th_spawn(hold_until_told, &w[i]);
        while (sem_wait(&w[i].ready))
            ;
    }
    for (int i = 0; i < HEAP_THREADS; i++) {
        sem_post(&w[order[i]].go);
        pthread_join(w[order[i]].thread, NULL);
        if (!newest_first)
            th_reap();
    }
    th_reap_newest();
    for (int i = 0; i < HEAP_THREADS; i++)
        ck_free_all(w[i].b, w[i].n);
}

PROPERTY(heaps_in_any_order, "heaps open and close in any order")
{
    static const int orders[][HEAP_THREADS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                               {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 12; i++)
        open_and_close(orders[i % 6], i >= 6);
}

/* ---- remote frees ------------------------------------------------------ */

enum {
    BATCH = 500,
    BATCH_BYTES = CK_MIB / 2,
    ROUNDS = 120,
    WARM = 20,
    PAIR = 2
};

struct exchange {
    struct block *b[PAIR][2];
    size_t n[PAIR][2];
    pthread_barrier_t barrier;
    bool one_way; /* the second only frees */
    size_t warm;
};

/*
 * In round r each fills its batch r % 2 and meanwhile frees, block by block,
 * what the other filled in the round before.
 */
static void trade(struct exchange *x, int me, int round)
{
    struct block *out = x->b[me][round & 1], *in = x->b[!me][!(round & 1)];
    size_t nin = x->n[!me][!(round & 1)], n = 0, bytes = 0;
    size_t most = x->one_way && me ? 0 : BATCH;
    for (size_t i = 0; i < BATCH; i++) {
        if (i < most && bytes < BATCH_BYTES && round < ROUNDS) {
            if (ck_new(&out[n], ck_size(ck.max_bytes)))
                bytes += out[n].bytes;
            n++;
        }
        if (i < nin)
            ck_free(&in[i]);
    }
    x->n[me][round & 1] = n;
}

static void traders(struct exchange *x, int me)
{
    ck_seed((uint64_t)me + 1);
    for (int round = 0; round <= ROUNDS; round++) {
        trade(x, me, round);
        pthread_barrier_wait(&x->barrier);
        if (me == 0 && round == WARM)
            x->warm = th_mapped(ck.box);
        pthread_barrier_wait(&x->barrier);
    }
}

static void *second_trader(void *x)
{
    traders(x, 1);
    return NULL;
}

static void remote_frees(bool one_way)
{
    struct exchange x = {.one_way = one_way};
    for (int i = 0; i < PAIR * 2; i++)
        x.b[i / 2][i % 2] = ck_blocks(BATCH);
    pthread_barrier_init(&x.barrier, NULL, PAIR);
    pthread_t other = th_spawn(second_trader, &x);
    traders(&x, 0);
    EXPECT_MAPPED(x.warm * 2 + 8 * CK_MIB);
    th_join(other);
}

PROPERTY(remote_frees_both_ways,
         "what threads free of each other comes back and is used again")
{
    remote_frees(false);
}

PROPERTY(remote_frees_one_way,
         "the same when one thread only allocates, the other only frees")
{
    remote_frees(true);
}

/* ---- threads that end -------------------------------------------------- */

static void *fill_and_end(void *argument)
{
    struct worker *w = argument;
    w->n = ck_fill(w->b, PER_THREAD, ck.max_bytes, CK_MIB);
    return NULL;
}

static void *free_all_of(void *argument)
{
    struct worker *w = argument;
    ck_free_all(w->b, w->n);
    return NULL;
}

/* Blocks outlive their thread; freed before its heap is closed, and after. */
PROPERTY(blocks_outlive_their_thread,
         "blocks of an ended thread stay, are freed, are used again")
{
    struct worker w = {.b = ck_blocks(PER_THREAD)};
    size_t warm = 0;
    for (int round = 0; round < 60; round++) {
        pthread_t maker = th_spawn(fill_and_end, &w);
        pthread_join(maker, NULL);
        if (round & 1)
            th_reap();
        for (size_t i = 0; i < w.n / 2; i++)
            ck_free(&w.b[i]);
        th_reap();
        if (round & 2)
            th_join(th_spawn(free_all_of, &w));
        ck_free_all(w.b, w.n);
        if (round == 10)
            warm = th_mapped(ck.box);
    }
    EXPECT_MAPPED(warm * 2 + 8 * CK_MIB);
}

enum { MANY = 1000, LEFT = 32, FEW = 50, SEVERAL = 512, MANY_MOST = 8192 };

struct left {
    struct block *kept; /* one of each thread stays */
    size_t n;
    bool keep;
};

static void *brief_life(void *argument)
{
    struct left *l = argument;
    static struct block b[LEFT]; /* one such thread at a time */
    ck_seed(l->n);
    size_t n = ck_fill(b, LEFT, MANY_MOST, 128 * 1024);
    if (l->keep && n > 0) {
        size_t i = (size_t)(ck_random() % n);
        l->kept[l->n] = b[i];
        b[i].p = NULL;
    }
    ck_free_all(b, n);
    return NULL;
}

/* What a block costs when many are out; boxes with a page each need much. */
static size_t cost_of_one(void)
{
    struct block *b = ck_blocks(SEVERAL);
    size_t before = th_mapped(ck.box);
    size_t n = ck_fill(b, SEVERAL, MANY_MOST, SIZE_MAX);
    size_t cost = (th_mapped(ck.box) - before) / n;
    ck_free_all(b, n);
    return cost;
}

static void many_threads(bool keep)
{
    struct left l = {.kept = ck_blocks(MANY), .keep = keep};
    size_t each = keep ? cost_of_one() : 0, warm = 0;
    for (; l.n < MANY; l.n++) {
        th_join(th_spawn(brief_life, &l));
        if (l.n == FEW)
            warm = th_mapped(ck.box);
    }
    EXPECT_MAPPED(warm * 2 + 16 * CK_MIB + 2 * MANY * each);
    ck_free_all(l.kept, MANY);
}

PROPERTY(thousand_threads_in_turn,
         "threads that come and go leave no memory behind")
{
    many_threads(false);
}

/* Heaps of ended threads must be adopted, or each leaves its pages behind. */
PROPERTY(thousand_threads_leave_a_block,
         "what is free of an ended thread is used, a block left or not")
{
    many_threads(true);
}

static void *park_after(void *argument)
{
    struct worker *w = argument;
    for (size_t i = 0; i < w->n; i += 2) /* the last one's, its heap is ours */
        ck_free(&w->b[i]);
    ck_free_all(w->b, w->n);
    w->n = ck_fill(w->b, PER_THREAD, ck.max_bytes, CK_MIB);
    th_park();
    return NULL;
}

/* A heap goes on in another system thread, as the core's parked ones do. */
PROPERTY(heaps_change_threads, "a heap goes on in another system thread")
{
    struct worker w = {.b = ck_blocks(PER_THREAD)};
    for (int round = 0; round < 40; round++) {
        pthread_t thread = th_spawn(park_after, &w);
        pthread_join(thread, NULL);
    }
    th_attach(); /* takes the parked one over */
    ck_free_all(w.b, w.n);
}

/* ---- all at once ------------------------------------------------------- */

enum { STRESS_THREADS = 4, SHARED = 512, STEPS = 30000 };

static struct shared_slot {
    pthread_mutex_t lock;
    struct block b;
} shared[SHARED];

static void *stress(void *argument)
{
    ck_seed((uintptr_t)argument);
    for (int i = 0; i < STEPS; i++) {
        struct shared_slot *s = &shared[ck_random() % SHARED];
        struct block fresh = {0}, old;
        if (i % 8 != 0)
            ck_new(&fresh, ck_size(16384));
        pthread_mutex_lock(&s->lock);
        old = s->b;
        s->b = fresh;
        pthread_mutex_unlock(&s->lock);
        if (old.p)
            EXPECT(th_owner(old.p) == ck.box);
        ck_free(&old);
        th_owner((void *)(uintptr_t)ck_random());
        if (i % 4096 == 0 && ck.box->ops->trim)
            ck.box->ops->trim(ck.box);
        if (i % 2048 == 1 && ck.box->ops->stats)
            th_stats(ck.box);
    }
    return NULL;
}

PROPERTY(threads_at_once, "threads at once, with trim and stats in between")
{
    pthread_t t[STRESS_THREADS];
    for (int i = 0; i < SHARED; i++)
        pthread_mutex_init(&shared[i].lock, NULL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < STRESS_THREADS; i++)
            t[i] = th_spawn(stress, (void *)(i + 1));
        for (int i = 0; i < STRESS_THREADS; i++)
            th_join(t[i]);
    }
    for (int i = 0; i < SHARED; i++)
        ck_free(&shared[i].b);
}

/* ---- fork -------------------------------------------------------------- */

static bool stop;

static void *busy(void *argument)
{
    struct block b[16] = {0};
    ck_seed((uintptr_t)argument);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        struct block *at = &b[ck_random() % 16];
        if (at->p)
            ck_free(at);
        else
            ck_new(at, ck_size(4096));
    }
    ck_free_all(b, 16);
    return NULL;
}

static void *in_childs_thread(void *argument)
{
    static struct block b[PER_THREAD];
    (void)argument;
    size_t n = ck_fill(b, PER_THREAD, ck.max_bytes, CK_MIB);
    ck_free_all(b, n);
    return NULL;
}

/* The child has the parent's blocks and may do all that the parent may. */
static void live_as_child(struct worker *mine, struct worker *theirs)
{
    alarm(test_seconds);
    struct block *b = ck_blocks(PER_THREAD);
    size_t n = ck_fill(b, PER_THREAD, ck.max_bytes, CK_MIB);
    ck_free_all(mine->b, mine->n);
    ck_free_all(theirs->b, theirs->n);
    ck_free_all(b, n);
    th_join(th_spawn(in_childs_thread, NULL));
    if (ck.box->ops->trim)
        ck.box->ops->trim(ck.box);
    n = ck_fill(b, PER_THREAD, ck.max_bytes, CK_MIB);
    ck_free_all(b, n);
    _exit(ck.declined && !ck.may_decline ? 1 : 0);
}

PROPERTY(fork_with_threads, "a child may do all; no lock is held in it")
{
    struct worker mine = {.b = ck_blocks(PER_THREAD)};
    struct worker theirs = {.b = ck_blocks(PER_THREAD)};
    mine.n = ck_fill(mine.b, PER_THREAD, ck.max_bytes, CK_MIB);
    th_join(th_spawn(fill_and_end, &theirs));
    pthread_t other = th_spawn(busy, (void *)7);
    for (int i = 0; i < 20; i++) {
        pid_t pid = th_fork();
        if (pid == 0)
            live_as_child(&mine, &theirs);
        ck_wait(pid, "a child");
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(other);
    ck_free_all(mine.b, mine.n);
    ck_free_all(theirs.b, theirs.n);
}

/* SPDX-License-Identifier: MIT
 * atfork.c - fork handlers: what they may do, and whom they wait for. */
#include "forked.h"

#include <malloc.h>
#include <semaphore.h>

/* ---- handlers that allocate and ask -------------------------------------- */

enum { WAITING = 2000 };

/*
 * Three sets, by when they were registered: before the allocator's own, which
 * takes a way past it; before its constructor; in main. The oldest run while
 * the allocator holds its locks.
 */
static struct handler {
    bool on, asks;
    int calls[3];
    char *kept;
    void *freed[WAITING]; /* by prepare */
} oldest, early, late;

static void ask_hakmem(void *p)
{
    int (*report)(int, bool), (*stats)(const char *, void *),
        (*learner)(void *);
    int (*route)(const char *, const char *), (*drain)(const char *);
    const char *(*owner)(const void *);
    size_t (*trim)(void);
    static char figures[4096];
    struct {
        const char *name;
        void *function;
    } calls[] = {
        {"hak_report", &report},   {"hak_stats", &stats}, {"hak_route", &route},
        {"hak_learner", &learner}, {"hak_drain", &drain}, {"hak_owner", &owner},
        {"hak_trim", &trim},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        void *symbol = dlsym(RTLD_DEFAULT, calls[i].name);
        EXPECT(symbol != NULL);
        memcpy(calls[i].function, &symbol, sizeof symbol);
    }
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    report(null, true);
    close(null);
    stats("large", figures);
    learner(figures);
    route("C0", "large");
    drain("no box");
    owner(p);
    trim();
}

static void ask(void)
{
    char *p = malloc(100);
    EXPECT_GE(malloc_usable_size(p), 100);
    fill(p, 100, 3);
    p = realloc(p, 100000);
    EXPECT_PATTERN(p, 100, 3);
    FILE *f = fopen("/dev/null", "w");
    EXPECT(f != NULL);
    mallinfo2();
    malloc_trim(0);
    malloc_stats();
    malloc_info(0, f);
    mallopt(M_MXFAST, 64);
    if (under_hakmem())
        ask_hakmem(p);
    fclose(f);
    free(p);
}

static void handle(struct handler *h, int phase)
{
    if (!h->on)
        return;
    if (phase == 2)
        alarm(CHILD_SECONDS); /* fork_or_die() could come too late */
    h->calls[phase]++;
    own_work((uint64_t)phase);
    free(h->kept);
    h->kept = malloc(20000);
    EXPECT(h->kept != NULL);
    memset(h->kept, phase, 20000);
    for (int i = 0; i < WAITING && phase == 0; i++) {
        free(h->freed[i]);
        h->freed[i] = NULL;
    }
    if (h->asks)
        ask();
}

#define HANDLERS(set)               \
    static void set##_prepare(void) \
    {                               \
        handle(&set, 0);            \
    }                               \
    static void set##_parent(void)  \
    {                               \
        handle(&set, 1);            \
    }                               \
    static void set##_child(void)   \
    {                               \
        handle(&set, 2);            \
    }
HANDLERS(oldest)
HANDLERS(early)
HANDLERS(late)

static pthread_mutex_t guarded = PTHREAD_MUTEX_INITIALIZER;
static bool guards; /* only where it is asked for */

static void guard_prepare(void)
{
    if (guards)
        pthread_mutex_lock(&guarded);
}

static void guard_end(void)
{
    if (guards)
        pthread_mutex_unlock(&guarded);
}

static void register_early(void)
{
    register_older(oldest_prepare, oldest_parent, oldest_child);
    pthread_atfork(guard_prepare, guard_end, guard_end);
    pthread_atfork(early_prepare, early_parent, early_child);
}

__attribute__((section(".preinit_array"),
               used)) static void (*at_start)(void) = register_early;

static void *be_busy(void *stop)
{
    for (uint64_t i = 0; !__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE); i++)
        own_work(i);
    return NULL;
}

/* Each fork's handlers run once on either side. */
static void check_handlers(struct handler *h, int nforks, size_t nthreads)
{
    static bool stop;
    pthread_t busy[3];
    alarm(60);
    h->on = true;
    for (size_t i = 0; i < nthreads; i++)
        EXPECT_EQ(pthread_create(&busy[i], NULL, be_busy, &stop), 0);
    for (int i = 1; i <= nforks; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0) {
            EXPECT_EQ(h->calls[2], 1);
            own_work(3);
            _exit(0);
        }
        expect_child_ok(pid, CHILD_SECONDS);
        EXPECT_EQ(h->calls[0], i);
        EXPECT_EQ(h->calls[1], i);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < nthreads; i++)
        pthread_join(busy[i], NULL);
    h->on = false;
    own_work(4);
}

TEST(handlers_that_allocate)
{
    EXPECT_EQ(pthread_atfork(late_prepare, late_parent, late_child), 0);
    check_handlers(&late, 40, 3);
}

TEST(handlers_from_before_the_constructor)
{
    check_handlers(&early, 40, 3);
}

TEST(handlers_older_than_the_allocators)
{
    check_handlers(&oldest, 40, 3);
}

TEST(handlers_that_ask)
{
    early.asks = true;
    check_handlers(&early, 5, 0);
    early.calls[0] = early.calls[1] = 0;
    check_handlers(&early, 10, 3);
}

TEST(handlers_that_ask_while_all_is_locked)
{
    oldest.asks = true;
    check_handlers(&oldest, 5, 0);
    oldest.calls[0] = oldest.calls[1] = 0;
    check_handlers(&oldest, 10, 3);
}

/* Of no bytes, of any, and more than a page of addresses. */
TEST(what_handlers_free_is_free)
{
    oldest.on = true;
    for (int round = 0; round < 3; round++) {
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < WAITING; i++) {
            size_t n = i % 3 == 0 ? 0 : (size_t)i % 3000;
            oldest.freed[i] = malloc(n);
            EXPECT(oldest.freed[i] != NULL);
            memset(oldest.freed[i], 1, n);
        }
        pid_t pid = fork_or_die();
        if (pid == 0)
            _exit(0);
        expect_child_ok(pid, CHILD_SECONDS);
        EXPECT(oldest.freed[0] == NULL);
        if (under_hakmem())
            OWN_BOUND(EXPECT_LE(mallinfo2().uordblks, before + 64 * KIB));
    }
}

/* ---- who waits for whom ---------------------------------------------------
 */

static sem_t is_there, may_allocate;

static void allocate_much(void)
{
    for (size_t n = 16; n <= 8 * MIB; n *= 2) {
        void *p[8];
        for (int i = 0; i < 8; i++)
            EXPECT((p[i] = malloc(n)) != NULL);
        for (int i = 0; i < 8; i++)
            free(p[i]);
    }
}

static void *fork_once(void *unused)
{
    pid_t pid = fork_or_die();
    if (pid == 0) {
        own_work(1);
        _exit(0);
    }
    expect_child_ok(pid, CHILD_SECONDS);
    return unused;
}

static void *hold_and_allocate(void *stream)
{
    if (stream != NULL)
        flockfile(stream);
    else
        pthread_mutex_lock(&guarded);
    sem_post(&is_there);
    sem_wait(&may_allocate);
    allocate_much();
    if (stream != NULL)
        funlockfile(stream);
    else
        pthread_mutex_unlock(&guarded);
    return NULL;
}

static void *flush_all(void *unused)
{
    fflush(NULL);
    return unused;
}

static void settle(void)
{
    usleep(100000); /* threads come to where they wait */
}

/*
 * One thread has a stream, the next has the list of streams and waits for the
 * stream, the third forks, and waits for the list. The first allocates.
 */
TEST(fork_waits_for_streams_without_a_lock)
{
    pthread_t holder, flusher, forker;
    FILE *f = tmpfile();
    alarm(30);
    for (int i = 0; i < 3; i++) {
        fprintf(f, "something to flush");
        EXPECT_EQ(pthread_create(&holder, NULL, hold_and_allocate, f), 0);
        sem_wait(&is_there);
        EXPECT_EQ(pthread_create(&flusher, NULL, flush_all, NULL), 0);
        settle();
        EXPECT_EQ(pthread_create(&forker, NULL, fork_once, NULL), 0);
        settle();
        sem_post(&may_allocate);
        pthread_join(holder, NULL);
        pthread_join(flusher, NULL);
        pthread_join(forker, NULL);
    }
    fclose(f);
}

/* A library's handler waits for the library's lock, whose holder allocates. */
TEST(a_handler_that_waits_for_a_lock)
{
    pthread_t holder, forker;
    alarm(30);
    guards = true;
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(pthread_create(&holder, NULL, hold_and_allocate, NULL), 0);
        sem_wait(&is_there);
        EXPECT_EQ(pthread_create(&forker, NULL, fork_once, NULL), 0);
        settle();
        sem_post(&may_allocate);
        pthread_join(holder, NULL);
        pthread_join(forker, NULL);
    }
}

/* Streams are as free as they were, in parent and child. */
TEST(streams_after_a_fork)
{
    pthread_t thread;
    alarm(30);
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork_or_die();
        if (pid == 0) {
            EXPECT_EQ(pthread_create(&thread, NULL, flush_all, NULL), 0);
            pthread_join(thread, NULL);
            fclose(tmpfile());
            _exit(0);
        }
        expect_child_ok(pid, CHILD_SECONDS);
        /* the second time it is a process that has had threads */
        EXPECT_EQ(pthread_create(&thread, NULL, flush_all, NULL), 0);
        pthread_join(thread, NULL);
        fclose(tmpfile());
    }
}

TEST_MAIN()

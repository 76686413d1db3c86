/* SPDX-License-Identifier: MIT
 * life.c - requests at odd times: before main, after it, around dlopen, and
 * between signals. */
#include "common.h"

#include <malloc.h>
#include <pthread.h>

/* ---- before main -------------------------------------------------------- */

/*
 * .preinit_array runs before the constructors of all libraries, the
 * allocator's too; this program's own constructors run after it.
 */
enum { EARLY = 400 };
static struct early {
    char *p;
    size_t n;
    bool aligned;
} early[2][EARLY];

static size_t early_bytes(size_t i)
{
    return i % 40 == 39 ? 3000 * i : 1 + i * 5;
}

static void take_early(struct early *set, uint64_t seed)
{
    for (size_t i = 0; i < EARLY; i++) {
        struct early *e = &set[i];
        e->n = early_bytes(i);
        e->aligned = i % 7 == 0;
        e->p = e->aligned   ? memalign(256, e->n)
               : i % 3 == 0 ? calloc(1, e->n)
                            : malloc(e->n);
        if (e->p == NULL ||
            (i % 3 == 0 && !e->aligned && first_nonzero(e->p, e->n) != e->n))
            _exit(99);
        fill(e->p, e->n, seed + i);
    }
    for (size_t i = 1; i < EARLY; i += 4) { /* some go before main, too */
        struct early *e = &set[i];
        e->p = realloc(e->p, e->n * 2);
        e->aligned = false;
        if (e->p == NULL || first_wrong(e->p, e->n, seed + i) != e->n)
            _exit(98);
        free(set[i + 1].p);
        set[i + 1] = (struct early){NULL, 0, false};
    }
}

static void take_before_constructors(void)
{
    take_early(early[0], 100);
}

__attribute__((section(".preinit_array"),
               used)) static void (*at_start)(void) = take_before_constructors;

__attribute__((constructor(101))) static void take_in_constructor(void)
{
    take_early(early[1], 2000);
}

static void check_early(struct early *set, uint64_t seed)
{
    for (size_t i = 0; i < EARLY; i++) {
        struct early *e = &set[i];
        EXPECT_PATTERN(e->p, e->n, seed + i);
        if (e->p == NULL)
            continue;
        EXPECT_ALIGNED(e->p, e->aligned ? 256 : 16);
        EXPECT_GE(malloc_usable_size(e->p), e->n);
        if (i % 2 == 0) {
            e->p = realloc(e->p, e->n * 3);
            EXPECT(e->p != NULL);
            EXPECT_PATTERN(e->p, e->n, seed + i);
        }
        free(e->p);
    }
}

TEST(blocks_from_before_the_constructors)
{
    check_early(early[0], 100);
}

TEST(blocks_from_a_constructor)
{
    check_early(early[1], 2000);
}

static void *free_early(void *unused)
{
    check_early(early[0], 100);
    check_early(early[1], 2000);
    return unused;
}

TEST(early_blocks_freed_in_a_thread)
{
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, free_early, NULL), 0);
    pthread_join(thread, NULL);
}

/* ---- after main --------------------------------------------------------- */

static struct {
    bool on;
    int stage;
    char *p[50];
} late;

static void late_work(int stage)
{
    EXPECT_EQ(late.stage, stage - 1);
    late.stage = stage;
    for (size_t i = 0; i < 50; i++) {
        size_t n = 100 + i * i * 30;
        EXPECT_PATTERN(late.p[i], stage == 1 ? 0 : n, i);
        late.p[i] = i % 2 == 0 ? realloc(late.p[i], n * (i % 3 + 1))
                               : (free(late.p[i]), calloc(1, n));
        EXPECT(late.p[i] != NULL);
        fill(late.p[i], n, i);
    }
}

static void *late_thread(void *unused)
{
    late_work(3);
    return unused;
}

/* Handlers run last registered first; a thread may still be started. */
static void last_handler(void)
{
    pthread_t thread;
    late_work(2);
    EXPECT_EQ(pthread_create(&thread, NULL, late_thread, NULL), 0);
    pthread_join(thread, NULL);
}

static void first_handler(void)
{
    late_work(1);
}

/* Runs after the handlers of atexit; the exit code says that it did. */
__attribute__((destructor(101))) static void in_destructor(void)
{
    if (!late.on)
        return;
    late_work(4);
    for (int i = 0; i < 50; i++)
        free(late.p[i]);
    free_early(NULL);
    _exit(0);
}

TEST(exit_handlers_and_destructors)
{
    late.on = true;
    atexit(last_handler);
    atexit(first_handler);
    exit(3); /* in_destructor makes it 0 */
}

static void *allocate_forever(void *unused)
{
    for (uint64_t random = 1;;) {
        size_t n = random_size(&random, 4, 14);
        free(memset(malloc(n), 1, n));
    }
    return unused;
}

/* Other threads still run while the process exits. */
TEST(exit_while_threads_allocate)
{
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            for (int k = 0; k < 3; k++)
                pthread_create(&thread, NULL, allocate_forever, NULL);
            usleep(2000);
            exit(0);
        }
        expect_child_ok(pid, 20);
    }
}

/* ---- dlopen ------------------------------------------------------------- */

/* Whatever of these the system has; each brings constructors of its own. */
static const char *const libraries[] = {
    "libm.so.6",       "libz.so.1",        "liblzma.so.5",     "libstdc++.so.6",
    "libbz2.so.1.0",   "libexpat.so.1",    "libcrypto.so.3",   "libssl.so.3",
    "libsqlite3.so.0", "libncursesw.so.6", "libpcre2-8.so.0",  "libresolv.so.2",
    "libgcc_s.so.1",   "libselinux.so.1",  "libgmp.so.10",     "libffi.so.8",
    "libuuid.so.1",    "libzstd.so.1",     "libthread_db.so.1"};
enum { LIBRARIES = sizeof libraries / sizeof libraries[0] };

static int open_and_close(int rounds)
{
    int opened = 0;
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < LIBRARIES; k++) {
            void *handle = dlopen(libraries[k], RTLD_NOW | RTLD_LOCAL);
            if (handle == NULL)
                EXPECT(dlerror() != NULL); /* its text is from malloc */
            opened += handle != NULL;
            char *p = malloc(100 + (size_t)k * 1000);
            EXPECT(p != NULL);
            if (handle != NULL)
                EXPECT_EQ(dlclose(handle), 0);
            free(p);
        }
    }
    return opened;
}

TEST(dlopen_a_hundred_times)
{
    size_t warm = 0;
    for (int i = 0; i < 100; i++) {
        EXPECT_GE(open_and_close(1), 3); /* libc's own are always there */
        if (i == 20)
            warm = rss_bytes();
    }
    EXPECT_LT(rss_bytes(), warm + 8 * MIB);
}

static void *open_in_thread(void *unused)
{
    EXPECT_GE(open_and_close(10), 30);
    EXPECT(dlopen("/nonexistent/library.so", RTLD_NOW) == NULL);
    return unused; /* the text of the error is freed at the thread's end */
}

TEST(dlopen_in_threads)
{
    for (int round = 0; round < 4; round++) {
        pthread_t thread[3];
        for (int i = 0; i < 3; i++)
            EXPECT_EQ(pthread_create(&thread[i], NULL, open_in_thread, NULL),
                      0);
        open_and_close(5);
        for (int i = 0; i < 3; i++)
            pthread_join(thread[i], NULL);
    }
}

/* zlib keeps 270 KB in several blocks while it works. */
TEST(library_that_allocates)
{
    int (*compress)(void *, unsigned long *, const void *, unsigned long);
    int (*uncompress)(void *, unsigned long *, const void *, unsigned long);
    enum { BYTES = 300000 };
    for (int i = 0; i < 30; i++) {
        void *handle = dlopen("libz.so.1", RTLD_NOW);
        if (handle == NULL)
            SKIP("no libz.so.1");
        *(void **)&compress = dlsym(handle, "compress");
        *(void **)&uncompress = dlsym(handle, "uncompress");
        unsigned long packed_bytes = BYTES + BYTES / 10, bytes = BYTES;
        char *plain = malloc(BYTES), *packed = malloc(packed_bytes);
        fill(plain, BYTES, 5);
        memset(plain + 1000, 'x', BYTES / 2);
        char *back = calloc(1, BYTES);
        EXPECT_EQ(compress(packed, &packed_bytes, plain, BYTES), 0);
        EXPECT_EQ(uncompress(back, &bytes, packed, packed_bytes), 0);
        EXPECT_EQ(bytes, BYTES);
        EXPECT_EQ(memcmp(plain, back, BYTES), 0);
        free(plain);
        free(packed);
        free(back);
        dlclose(handle);
    }
}

/* libcrypto allocates at first use and frees all of it in an exit handler. */
TEST(library_that_frees_at_exit)
{
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            unsigned char digest[64];
            void *handle = dlopen("libcrypto.so.3", RTLD_NOW);
            unsigned char *(*sha256)(const void *, size_t, unsigned char *);
            if (handle == NULL)
                exit(0);
            *(void **)&sha256 = dlsym(handle, "SHA256");
            EXPECT(sha256 != NULL && sha256("", 0, digest) == digest);
            EXPECT_EQ(digest[0], 0xe3); /* of e3b0c442... */
            exit(0);
        }
        expect_child_ok(pid, 20);
    }
}

/* ---- signals ------------------------------------------------------------ */

static volatile sig_atomic_t alarms;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    alarms++;
}

static void start_alarms(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval every = {{0, 200}, {0, 200}};
    EXPECT_EQ(sigaction(SIGALRM, &action, NULL), 0);
    EXPECT_EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static void storm(double run_seconds, uint64_t random)
{
    enum { SLOTS = 200 };
    struct early *slot = calloc(SLOTS, sizeof *slot);
    double until = seconds() + run_seconds;
    for (int i = 0; i % 64 != 0 || seconds() < until; i++) {
        struct early *s = &slot[random_below(&random, SLOTS)];
        EXPECT_PATTERN(s->p, s->n, 6);
        free(s->p);
        s->n = random_size(&random, 0, i % 50 == 0 ? 20 : 12);
        s->p = malloc(s->n);
        EXPECT(s->p != NULL);
        fill(s->p, s->n, 6);
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i].p);
    free(slot);
}

static void *storm_in_thread(void *seed)
{
    storm(0.8, (uintptr_t)seed);
    return NULL;
}

TEST(alarms_interrupt_everything)
{
    pthread_t thread[2];
    start_alarms();
    for (uintptr_t i = 0; i < 2; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, storm_in_thread, (void *)i),
                  0);
    storm(0.8, 9);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    EXPECT_GT(alarms, 200);
}

/* A handler that never returns to what it interrupted must find no lock. */
static void on_alarm_exit(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

TEST(exit_from_a_handler)
{
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct itimerval once = {{0, 0}, {0, 300 + i * 17}};
            signal(SIGALRM, on_alarm_exit);
            setitimer(ITIMER_REAL, &once, NULL);
            storm(20, (uint64_t)i);
            _exit(5);
        }
        expect_child_ok(pid, 20);
    }
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * threads.c - threads that come and go, with data of their own, with little
 * stack, cancelled.
 */
#include "thread_tools.h"

#include <limits.h>
#include <malloc.h>
#include <semaphore.h>
#include <threads.h>

/* ---- coming and going --------------------------------------------------- */

TEST(ten_thousand_in_turn)
{
    size_t warm = 0, n = many(10000);
    for (uintptr_t i = 0; i < n; i++) {
        run_one(churn, (void *)(i % 1000));
        if (i == n / 10)
            warm = rss_bytes();
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 4 * MIB));
}

static pthread_barrier_t all_there;

static void *churn_and_wait(void *seed)
{
    churn(seed);
    pthread_barrier_wait(&all_there);
    return NULL;
}

/* How many are at work together differs by round. In half of them none ends
 * before all have worked, which is the most that the other half may take. */
TEST(storms_of_64)
{
    enum { THREADS = 64, ROUNDS = 40 };
    size_t warm = 0;
    EXPECT_EQ(pthread_barrier_init(&all_there, NULL, THREADS), 0);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[THREADS];
        bool together = round < ROUNDS / 2;
        for (uintptr_t i = 0; i < THREADS; i++)
            thread[i] = start(together ? churn_and_wait : churn, (void *)i);
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        size_t now = rss_bytes();
        if (together && now > warm)
            warm = now;
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 16 * MIB));
}

static void *detached_done(void *counter)
{
    churn(counter);
    __atomic_add_fetch((int *)counter, 1, __ATOMIC_RELEASE);
    return NULL;
}

TEST(detached_threads)
{
    enum { THREADS = 500, AT_ONCE = 16 };
    static int done;
    for (int i = 0; i < THREADS; i++) {
        pthread_detach(start(detached_done, &done));
        while (i - __atomic_load_n(&done, __ATOMIC_ACQUIRE) > AT_ONCE)
            usleep(50);
    }
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < THREADS)
        usleep(1000);
}

/* ---- thread-specific data ----------------------------------------------- */

static pthread_key_t key;
static tss_t tss;
static int destroyed;

/* Asks to be called again until the system stops asking. */
static void destroy_again(void *p)
{
    char *next = malloc(100);
    EXPECT(next != NULL);
    fill(next, 100, 1);
    EXPECT_PATTERN(p, 100, 1);
    free(p);
    churn((void *)7);
    if (__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED) %
            PTHREAD_DESTRUCTOR_ITERATIONS !=
        0)
        pthread_setspecific(key, next);
    else
        free(next);
}

static void destroy_once(void *p)
{
    EXPECT_PATTERN(p, 5000, 2);
    free(p);
    free(malloc(64));
    free(malloc(20000));
}

static void *with_specific_data(void *unused)
{
    char *first = malloc(100), *second = malloc(5000);
    (void)unused;
    fill(first, 100, 1);
    fill(second, 5000, 2);
    pthread_setspecific(key, first);
    tss_set(tss, second);
    return churn((void *)3);
}

TEST(destructors_allocate_in_every_round)
{
    size_t warm = 0, n = many(1500);
    EXPECT_EQ(pthread_key_create(&key, destroy_again), 0);
    EXPECT_EQ(tss_create(&tss, destroy_once), thrd_success);
    for (size_t i = 0; i < n; i++) {
        run_one(with_specific_data, NULL);
        EXPECT_EQ(destroyed, PTHREAD_DESTRUCTOR_ITERATIONS * (i + 1));
        if (i == n / 3)
            warm = rss_bytes();
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 8 * MIB));
}

/* Before the constructors of libraries: with so many, a key of the
 * allocator's own is one for which pthread_setspecific allocates. */
static void take_keys(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    for (; *environment != NULL; environment++)
        for (int i = 0; strcmp(*environment, "HAK_TEST_KEYS=many") == 0; i++)
            if (i == 100 || pthread_key_create(&key, free) != 0)
                break;
}

__attribute__((section(".preinit_array"),
               used)) static void (*at_start)(int, char **,
                                              char **) = take_keys;

TEST(keys_from_before_the_allocator)
{
    if (is_mode("conf/foreign/jemalloc.ini") ||
        is_mode("conf/foreign/jemalloc-region.ini"))
        SKIP("jemalloc's own key allocates then: preloaded it hangs, too");
    EXPECT_EQ(setenv("HAK_TEST_KEYS", "many", 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO); /* the inner TAP goes nowhere */
        execl("/proc/self/exe", "threads",
              "destructors_allocate_in_every_round", "detached_threads",
              (char *)NULL);
        _exit(1);
    }
    expect_child_ok(pid, 120);
}

static int run_tss_thread(void *unused)
{
    with_specific_data(unused);
    return 5;
}

TEST(c11_threads)
{
    enum { THREADS = 300 };
    EXPECT_EQ(pthread_key_create(&key, destroy_once), 0);
    EXPECT_EQ(tss_create(&tss, destroy_once), thrd_success);
    pthread_key_delete(key); /* its number is another's now */
    EXPECT_EQ(pthread_key_create(&key, free), 0);
    for (int i = 0; i < THREADS; i++) {
        thrd_t thread;
        int result = 0;
        EXPECT_EQ(thrd_create(&thread, run_tss_thread, NULL), thrd_success);
        EXPECT_EQ(thrd_join(thread, &result), thrd_success);
        EXPECT_EQ(result, 5);
    }
}

/* A thread whose first request comes from its last destructor. */
static void allocate_late(void *unused)
{
    (void)unused;
    churn((void *)11);
}

static void *only_sets_a_key(void *unused)
{
    pthread_setspecific(key, &key);
    return unused;
}

TEST(first_request_in_a_destructor)
{
    size_t warm = 0;
    EXPECT_EQ(pthread_key_create(&key, allocate_late), 0);
    for (int i = 0; i < 1500; i++) {
        run_one(only_sets_a_key, NULL);
        if (i == 500)
            warm = rss_bytes();
    }
    OWN_BOUND(EXPECT_LT(rss_bytes(), warm + 8 * MIB));
}

static sem_t in_destructor, go_on;

/* Blocks of one byte's value: nobody else writes to them. */
static void hammer(int value)
{
    enum { BLOCKS = 400, BYTES = 64, ROUNDS = 300 };
    char *block[BLOCKS], like[BYTES];
    memset(like, value, BYTES);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            block[i] = malloc(BYTES);
            memset(block[i], value, BYTES);
        }
        for (int i = 0; i < BLOCKS; i++) {
            EXPECT_EQ(memcmp(block[i], like, BYTES), 0);
            free(block[i]);
        }
    }
}

static void stay_in_second_round(void *value)
{
    static bool again;
    if (!again) {
        again = true;
        EXPECT_EQ(pthread_setspecific(key, value), 0);
        return;
    }
    sem_post(&in_destructor);
    sem_wait(&go_on);
    hammer('E');
}

static void *end_slowly(void *unused)
{
    free(malloc(64));
    EXPECT_EQ(pthread_setspecific(key, &key), 0);
    return unused;
}

static void *hammer_beside(void *unused)
{
    free(malloc(64));
    sem_post(&go_on);
    hammer('N');
    return unused;
}

/*
 * The child is another process on the same memory: what it asks the kernel of
 * threads is not true of ours. The thread that is ending keeps what it has.
 */
TEST(a_vfork_child_allocates_beside_an_ending_thread)
{
    enum { BLOCKS = 20000 };
    static void *block[BLOCKS];
    EXPECT_EQ(pthread_key_create(&key, stay_in_second_round), 0);
    pthread_t ending = start(end_slowly, NULL);
    sem_wait(&in_destructor);
    pid_t pid = vfork();
    if (pid == 0) {
        for (int i = 0; i < BLOCKS; i++)
            block[i] = malloc(200);
        _exit(0);
    }
    expect_child_ok(pid, 20);
    run_one(hammer_beside, NULL);
    pthread_join(ending, NULL);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

/* ---- odd threads -------------------------------------------------------- */

static void *small_work(void *unused)
{
    for (int i = 0; i < 3000; i++) {
        size_t n = 1 + (size_t)i * 13 % 40000;
        char *p = calloc(1, n);
        p = realloc(p, n * 2);
        free(malloc(n));
        free(memalign(128, n));
        free(p);
    }
    return unused;
}

static void *nothing(void *unused)
{
    return unused;
}

static void check_stack_of(size_t bytes)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setstacksize(&attr, bytes), 0);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(pthread_create(&thread, &attr, small_work, NULL), 0);
        pthread_join(thread, NULL);
    }
    pthread_attr_destroy(&attr);
}

/* PTHREAD_STACK_MIN, and what room for libraries' thread-local variables
 * (glibc.rtld.optional_static_tls) takes away from it. */
static size_t least_stack(void)
{
    size_t bytes = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_t attr;
    pthread_t thread;
    int error;
    pthread_attr_init(&attr);
    do {
        EXPECT_EQ(pthread_attr_setstacksize(&attr, bytes), 0);
        error = pthread_create(&thread, &attr, nothing, NULL);
    } while (error == EINVAL && (bytes += 4 * KIB) < 64 * KIB);
    EXPECT_EQ(error, 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    return bytes;
}

TEST(small_stacks)
{
    check_stack_of(64 * KIB);
    check_stack_of(least_stack());
}

static int reached;

static void *be_cancelled(void *unused)
{
    while (__atomic_load_n(&reached, __ATOMIC_ACQUIRE) == 0)
        ;
    small_work(NULL); /* no call here may act on the request */
    __atomic_store_n(&reached, 2, __ATOMIC_RELEASE);
    pthread_testcancel();
    __atomic_store_n(&reached, 3, __ATOMIC_RELEASE);
    return unused;
}

TEST(malloc_is_no_cancellation_point)
{
    void *result;
    small_work(NULL); /* glibc's own first malloc calls getrandom, which is */
    for (int i = 0; i < 20; i++) {
        reached = 0;
        pthread_t thread = start(be_cancelled, NULL);
        EXPECT_EQ(pthread_cancel(thread), 0);
        __atomic_store_n(&reached, 1, __ATOMIC_RELEASE);
        pthread_join(thread, &result);
        EXPECT(result == PTHREAD_CANCELED);
        EXPECT_EQ(reached, 2);
    }
}

TEST_MAIN()

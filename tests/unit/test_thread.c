/* SPDX-License-Identifier: MIT
 * test_thread.c - threads of the core: attach, park, take over, end, and what
 * happens without memory.
 */
#include "core_threads.h"

/* ---- attach ---------------------------------------------------------- */

TEST(nobody_has_lanes_without_slots)
{
    start();
    EXPECT(hak_self == &hak_nobody);
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        EXPECT(hak_lane(hak_self, i) == &hak_no_span);
    EXPECT(hak_no_span.local == NULL);
    EXPECT_EQ(count_threads(), 0);
}

TEST(first_slow_path_attaches)
{
    start();
    void *p = get(BYTES);
    struct hak_thread *t = hak_self;
    EXPECT(p != NULL && t != &hak_nobody);
    EXPECT(hak_thread_first() == t && t->next == NULL);
    EXPECT(span_of(p)->owner == t);
    EXPECT(hak_lane(t, lane_of_bytes) == span_of(p));
    EXPECT(hak_lane(t, HAK_LANES) == &hak_no_span);
    EXPECT(t->heap[ULTRA] != NULL && t->heap[SECOND] == NULL);
    EXPECT(hak_thread_heap(t, hak_boxes.all[ULTRA], false) == t->heap[ULTRA]);
    EXPECT(hak_thread_heap(t, hak_boxes.all[SECOND], false) == NULL);
    EXPECT_EQ(t->count[ULTRA].refills, 1);
    void *q = get(BYTES); /* no second refill */
    EXPECT(span_of(q) == span_of(p));
    EXPECT_EQ(t->count[ULTRA].refills, 1);
    EXPECT_EQ(figures().live_count, 2);
    put(q);
    put(p);
    EXPECT(get(BYTES) == p); /* last in, first out */
    EXPECT(hak_no_span.local == NULL && hak_no_span.nalloc == 0);
}

/* ---- several threads at once ----------------------------------------- */

TEST(each_thread_has_its_own)
{
    start();
    hold(THREADS);
    EXPECT_EQ(count_threads(), THREADS);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < i; k++)
            EXPECT(span_of(block[i])->owner != span_of(block[k])->owner);
    EXPECT_EQ(figures().live_count, THREADS);
    for (int i = 0; i < THREADS; i++)
        put(block[i]); /* remote, by a thread that never attached */
    EXPECT(hak_self == &hak_nobody);
    EXPECT_EQ(figures().live_count, 0);
    let_go(THREADS);
}

/* ---- park and take over ---------------------------------------------- */

TEST(an_ended_thread_is_parked_as_it_is)
{
    start();
    struct hak_thread *t = run(get_and_end, NULL);
    EXPECT(t == hak_thread_first());
    EXPECT(t->heap[ULTRA] != NULL);
    EXPECT(hak_lane(t, lane_of_bytes) == span_of(block[0]));
    EXPECT(span_of(block[0])->owner == t);
    EXPECT_EQ(figures().live_count, 1);
    void *first = block[0];
    EXPECT(run(get_and_end, NULL) == t); /* the next thread takes it over */
    EXPECT(span_of(block[0]) == span_of(first));
    EXPECT_EQ(figures().mapped_bytes, HAK_GRANULE_BYTES);
    EXPECT_EQ(figures().live_count, 2);
    put(first);
    put(block[0]);
    EXPECT_EQ(figures().live_count, 0);
    EXPECT_EQ(count_threads(), 1);
}

TEST(threads_in_turn_cost_nothing)
{
    start();
    struct hak_thread *t = run(get_and_end, NULL);
    put(block[0]);
    uint64_t mapped = figures().mapped_bytes, meta = hak_meta_bytes();
    for (int i = 0; i < 1000; i++) {
        EXPECT(run(get_and_end, NULL) == t);
        put(block[0]);
    }
    EXPECT_EQ(figures().mapped_bytes, mapped);
    EXPECT_EQ(hak_meta_bytes(), meta);
    EXPECT_EQ(figures().live_count, 0);
}

/* ---- destructors of thread-specific data ----------------------------- */

static struct hak_thread *seen_in[PTHREAD_DESTRUCTOR_ITERATIONS];
static int rounds;

static void free_and_allocate(void *p)
{
    put(p);
    p = get(BYTES);
    seen_in[rounds++] = hak_self;
    if (rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        EXPECT_EQ(pthread_setspecific(key, p), 0);
    else
        put(p);
}

TEST(other_destructors_still_find_the_thread)
{
    SKIP_TSAN("a thread that is gone, by the kernel's word, is over");
    start();
    EXPECT_EQ(pthread_key_create(&key, free_and_allocate), 0);
    struct hak_thread *t = run(leave_a_block, NULL);
    EXPECT_EQ(rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
    for (int i = 0; i < rounds; i++)
        EXPECT(seen_in[i] == t);
    EXPECT_EQ(figures().live_count, 0);
    EXPECT_EQ(figures().remote_frees, 0);
    EXPECT(run(get_and_end, NULL) == t);
    EXPECT_EQ(count_threads(), 1);
}

static void linger(void *p)
{
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&again);
    put(p);
}

/* It has told that it is ending, but it still frees and allocates. */
TEST(an_ending_thread_keeps_its_own)
{
    pthread_t thread;
    start();
    pthread_barrier_init(&both, NULL, 2);
    pthread_barrier_init(&again, NULL, 2);
    EXPECT_EQ(pthread_key_create(&key, linger), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, leave_a_block, NULL), 0);
    pthread_barrier_wait(&both);
    struct hak_thread *t = hak_thread_first();
    EXPECT_EQ(pthread_mutex_trylock(&t->alive), EBUSY);
    hak_thread_reap(hak_os_now_ms() + 3600000, false);
    hak_thread_reap(0, true);
    EXPECT(t->heap[ULTRA] != NULL); /* not reaped */
    EXPECT(get(BYTES) != NULL && hak_self != t);
    pthread_barrier_wait(&again);
    pthread_join(thread, NULL);
    EXPECT_EQ(figures().live_count, 1);
    EXPECT_EQ(figures().remote_frees, 0);
    hak_thread_reap(0, true);
    EXPECT(t->heap[ULTRA] == NULL);
}

/* ---- threads that our destructors do not see the end of ----------------- */

/* Each of them finds the structure that the one before left. */
static void expect_one_structure(void *(*function)(void *))
{
    struct hak_thread *t = run(function, NULL);
    for (int i = 0; i < 5; i++) {
        EXPECT(run(function, NULL) == t);
        put(block[0]);
        block[0] = NULL;
    }
    EXPECT_EQ(count_threads(), 1);
    hak_thread_reap(0, true); /* nobody takes over what the last one left */
    EXPECT(t->heap[ULTRA] == NULL);
}

static bool refuse_specific;

/* In place of libc's, which has no memory for a key of a high number. */
int pthread_setspecific(pthread_key_t which, const void *value)
{
    static void *symbol;
    int (*real)(pthread_key_t, const void *);
    if (refuse_specific)
        return ENOMEM;
    void *found = __atomic_load_n(&symbol, __ATOMIC_RELAXED);
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, "pthread_setspecific");
        __atomic_store_n(&symbol, found, __ATOMIC_RELAXED);
    }
    memcpy(&real, &found, sizeof real);
    return real(which, value);
}

TEST(a_thread_whose_key_cannot_be_set)
{
    SKIP_TSAN("a thread that is gone, by the kernel's word, is over");
    start();
    refuse_specific = true;
    expect_one_structure(get_and_end);
}

static struct hak_thread *late;

static void allocate_in_last_round(void *round)
{
    if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        round = (void *)((uintptr_t)round + 1);
        EXPECT_EQ(pthread_setspecific(key, round), 0);
    } else {
        late = get_and_end(NULL);
    }
}

static void *run_late(void *unused)
{
    EXPECT_EQ(pthread_setspecific(key, (void *)1), 0);
    return unused;
}

TEST(a_first_request_in_the_last_round)
{
    SKIP_TSAN("a thread that is gone, by the kernel's word, is over");
    start();
    EXPECT_EQ(pthread_key_create(&key, allocate_in_last_round), 0);
    run(run_late, NULL);
    struct hak_thread *t = late;
    for (int i = 0; i < 5; i++) {
        run(run_late, NULL);
        EXPECT(late == t);
    }
    EXPECT_EQ(count_threads(), 1);
}

static void *get_and_exit(void *unused)
{
    late = get_and_end(unused);
    syscall(SYS_exit, 0);
    return NULL;
}

TEST(a_thread_that_ends_by_a_system_call)
{
    pthread_t thread;
    if (TEST_TSAN || TEST_ASAN)
        SKIP("a sanitizer does not see that such a thread is over");
    start();
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(pthread_create(&thread, NULL, get_and_exit, NULL), 0);
        pthread_join(thread, NULL);
        put(block[0]);
    }
    EXPECT_EQ(count_threads(), 1);
    hak_thread_reap(0, true);
    EXPECT(late->heap[ULTRA] == NULL);
}

/* More than are looked at in one go stay in their destructors for good. */
TEST(those_that_never_end_hide_nobody)
{
    enum { STAY = 40 };
    pthread_t thread;
    SKIP_TSAN("a thread that is gone, by the kernel's word, is over");
    start();
    pthread_barrier_init(&both, NULL, STAY + 1);
    pthread_barrier_init(&again, NULL, STAY + 1);
    EXPECT_EQ(pthread_key_create(&key, linger), 0);
    for (int i = 0; i < STAY; i++)
        EXPECT_EQ(pthread_create(&thread, NULL, leave_a_block, NULL), 0);
    pthread_barrier_wait(&both);
    refuse_specific = true; /* it is among the ending ones from its start */
    struct hak_thread *t = run(get_and_end, NULL);
    EXPECT_EQ(count_threads(), STAY + 1);
    for (int i = 0; i < 3; i++)
        hak_thread_reap(hak_os_now_ms() + 3600000, false);
    EXPECT(t->heap[ULTRA] == NULL);
    for (struct hak_thread *other = hak_thread_first(); other != NULL;
         other = other->next)
        EXPECT(other == t || other->heap[ULTRA] != NULL);
}

/* ---- no memory ------------------------------------------------------- */

static void *attach_without_memory(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&both);
    EXPECT(hak_thread_attach() == NULL);
    EXPECT(hak_self == &hak_nobody);
    void *p = hak_alloc_slow(hak_self, BYTES, false); /* libc's */
    EXPECT(p == NULL || hak_directory_get(p) == NULL);
    put(p);
    pthread_barrier_wait(&again);
    pthread_barrier_wait(&both);
    EXPECT(hak_thread_attach() != NULL);
    put(get(BYTES));
    return NULL;
}

TEST(attach_without_memory_works_later)
{
    pthread_t thread;
    struct rlimit had, none;
    if (TEST_ASAN)
        SKIP("a sanitizer needs memory of its own");
    start();
    pthread_barrier_init(&both, NULL, 2);
    pthread_barrier_init(&again, NULL, 2);
    EXPECT_EQ(pthread_create(&thread, NULL, attach_without_memory, NULL), 0);
    EXPECT_EQ(getrlimit(RLIMIT_AS, &had), 0);
    none = had;
    none.rlim_cur = 0;
    EXPECT_EQ(setrlimit(RLIMIT_AS, &none), 0);
    for (size_t n = 32768; n >= 64; n /= 2) /* what is left of a chunk */
        while (hak_meta(n) != NULL)
            ;
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&again);
    EXPECT_EQ(setrlimit(RLIMIT_AS, &had), 0);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    EXPECT_EQ(count_threads(), 1);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_thread.c - threads of the core: attach, lanes, park, take over, reap.
 *
 * With a real box, by tests/loader/thread.ini; malloc itself is libc's here,
 * so get() and put() do what entry.c does.
 */
#include "test.h"

#include <base/meta.h>
#include <base/os.h>
#include <base/seal.h>
#include <core/box/modules.h>
#include <core/malloc/fast.h>
#include <core/malloc/slow.h>
#include <core/memory/space.h>
#include <core/route/lanes.h>
#include <core/route/policy.h>
#include <core/state/boxes.h>
#include <core/state/core.h>
#include <core/state/directory.h>
#include <core/state/thread.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>
#include <report/report.h>
#include <modules/linked.h>
#include <start/start.h>
#include <hakmem/hakmem.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { BYTES = 100, ULTRA = 0, SECOND = 1 };

static const uint32_t lane_of_bytes = (BYTES + 15) / 16;

static void start(void)
{
    hak_modules_link();
    static char env[] = "HAKMEM_CONF=tests/loader/thread.ini";
    char *envp[] = {env, NULL};
    hak_start(envp);
    EXPECT_EQ(hak_core.mode, HAK_MODE_BOXES);
    EXPECT_EQ(hak_boxes.n, 2);
}

static void *get(size_t bytes)
{
    struct hak_span *span = hak_lane(hak_self, hak_index_of(bytes));
    void *p = hak_span_pop(span);
    return p != NULL ? p : hak_alloc_slow(hak_self, bytes, false);
}

static void put(void *p)
{
    hak_free_slow(p);
}

static struct hak_span *span_of(const void *p)
{
    struct hak_span *span = hak_directory_get(p);
    if (span == NULL)
        test_fail(__FILE__, __LINE__, "%p is in no span", p);
    return span;
}

static struct hak_stats figures(void)
{
    struct hak_stats s;
    hak_figures(hak_boxes.all[ULTRA], &s);
    return s;
}

static int count_threads(void)
{
    int n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n++;
    return n;
}

static void *run(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    EXPECT_EQ(pthread_create(&thread, NULL, function, argument), 0);
    EXPECT_EQ(pthread_join(thread, &result), 0);
    return result;
}

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

enum { THREADS = 8 };

static pthread_barrier_t both, again;
static void *block[THREADS];

/* Allocates, waits for the others, ends when told to. */
static void *hold_one(void *argument)
{
    uintptr_t i = (uintptr_t)argument;
    block[i] = get(BYTES);
    memset(block[i], (int)i + 1, BYTES);
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&again);
    return hak_self;
}

static pthread_t held[THREADS];

static void hold(unsigned n)
{
    pthread_barrier_init(&both, NULL, n + 1);
    pthread_barrier_init(&again, NULL, n + 1);
    for (uintptr_t i = 0; i < n; i++)
        EXPECT_EQ(pthread_create(&held[i], NULL, hold_one, (void *)i), 0);
    pthread_barrier_wait(&both);
}

static void let_go(unsigned n)
{
    pthread_barrier_wait(&again);
    for (unsigned i = 0; i < n; i++)
        pthread_join(held[i], NULL);
}

static void expect_content(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (int k = 0; k < BYTES; k++)
            EXPECT_EQ(((unsigned char *)block[i])[k], i + 1);
}

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

static void *get_and_end(void *unused)
{
    (void)unused;
    block[0] = get(BYTES);
    return hak_self;
}

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

static pthread_key_t key; /* its destructors run after the core's */
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

static void *leave_a_block(void *unused)
{
    (void)unused;
    EXPECT_EQ(pthread_setspecific(key, get(BYTES)), 0);
    return hak_self;
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

/* ---- reap ------------------------------------------------------------ */

static const uint64_t hour_ms = 3600000;

static int count_open(void)
{
    int n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n += t->heap[ULTRA] != NULL;
    return n;
}

TEST(what_is_parked_for_long_is_reaped)
{
    start();
    struct hak_thread *t = run(get_and_end, NULL);
    hak_thread_reap(hak_os_now_ms() + 400, false); /* too early */
    EXPECT_EQ(count_open(), 1);
    hak_thread_reap(hak_os_now_ms() + 600, false);
    EXPECT_EQ(count_open(), 0);
    EXPECT(span_of(block[0])->owner == NULL);
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        EXPECT(hak_lane(t, i) == &hak_no_span);
    EXPECT_EQ(figures().live_count, 1);
    EXPECT(run(get_and_end, NULL) == t); /* still parked, to be used again */
    EXPECT(t->heap[ULTRA] != NULL);
    EXPECT_EQ(figures().adopted_pages, 1);
    EXPECT_EQ(figures().mapped_bytes, HAK_GRANULE_BYTES);
}

TEST(one_a_call_or_all_at_once)
{
    start();
    hold(THREADS);
    let_go(THREADS);
    EXPECT_EQ(count_open(), THREADS);
    hak_thread_reap(hak_os_now_ms(), false);
    EXPECT_EQ(count_open(), THREADS);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    EXPECT_EQ(count_open(), THREADS - 2);
    hak_thread_reap(0, true);
    EXPECT_EQ(count_open(), 0);
    hak_thread_reap(0, true); /* nothing more to do */
    expect_content(THREADS);
    hold(THREADS); /* all of them are used again */
    EXPECT_EQ(count_threads(), THREADS);
    let_go(THREADS);
}

TEST(running_threads_are_not_reaped)
{
    start();
    hold(2);
    struct hak_thread *mine = get_and_end(NULL);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    hak_thread_reap(0, true);
    EXPECT_EQ(count_open(), 3);
    EXPECT(span_of(block[0])->owner == mine);
    let_go(2);
}

TEST(blocks_outlive_their_heap)
{
    start();
    hold(THREADS);
    let_go(THREADS);
    hak_thread_reap(0, true);
    EXPECT_EQ(figures().live_count, THREADS);
    expect_content(THREADS);
    void *mine = get(BYTES);
    for (int i = 0; i < THREADS; i++)
        put(block[i]);
    put(mine);
    EXPECT_EQ(figures().live_count, 0);
}

/* ---- a box without heap_close ---------------------------------------- */

static int opened;

static void *open_stub(struct hak_box *box, struct hak_thread *t)
{
    (void)box;
    opened++;
    return t;
}

static bool own_nothing(struct hak_box *box, const void *p)
{
    return box == NULL && p == NULL;
}

static struct hak_loaded_now stub_now;
static struct hak_loaded stub = {
    .now = &stub_now,
    .box.name = "stub",
    .box.ops = &stub.ops,
    .ops = {.heap_open = open_stub, .owns = own_nothing},
};

static void add_stub(void)
{
    EXPECT(hak_seal_open());
    stub.box.index = hak_boxes.n;
    hak_boxes.all[hak_boxes.n] = hak_boxes.walk[hak_boxes.n] = &stub;
    hak_boxes.n++;
    hak_seal_close();
}

static void *open_heap_of_stub(void *unused)
{
    (void)unused;
    get(BYTES);
    return hak_thread_heap(hak_self, &stub, true);
}

/* box.h: heap_open is "never again for that thread before heap_close". */
TEST(a_heap_that_cannot_be_closed_stays)
{
    start();
    add_stub();
    void *heap = run(open_heap_of_stub, NULL);
    EXPECT(heap == hak_thread_first() && opened == 1);
    hak_thread_reap(0, true);
    EXPECT(run(open_heap_of_stub, NULL) == heap);
    EXPECT_EQ(opened, 1);
}

/* ---- lanes ----------------------------------------------------------- */

TEST(a_span_may_be_in_several_lanes)
{
    static struct hak_span a, b;
    start();
    get(BYTES);
    struct hak_thread *t = hak_self;
    hak_lane_set(t, 40, &a);
    hak_lane_set(t, 38, &a);
    hak_lane_set(t, 39, &b);
    hak_lane_set(t, 41, &a);
    hak_lane_set(t, 41, &b); /* b took it over */
    EXPECT_EQ(a.lane_first, 38);
    EXPECT_GE(a.lane_last, 41);
    hak_lanes_drop(t, &a);
    EXPECT_EQ(a.lane_first + a.lane_last, 0);
    EXPECT(hak_lane(t, 38) == &hak_no_span && hak_lane(t, 40) == &hak_no_span);
    EXPECT(hak_lane(t, 39) == &b && hak_lane(t, 41) == &b);
    hak_lane_set(t, 0, &a);
    hak_lanes_drop(t, &a);
    EXPECT(hak_lane(t, 0) == &hak_no_span);
    hak_lanes_drop(t, &b);
    EXPECT(hak_lane(t, 39) == &hak_no_span && hak_lane(t, 41) == &hak_no_span);
    EXPECT(hak_lane(t, lane_of_bytes) != &hak_no_span);
}

TEST(a_new_route_drops_the_lanes_that_it_concerns)
{
    start();
    void *p = get(BYTES), *q = get(200);
    uint32_t index = lane_of_bytes;
    EXPECT_EQ(hak_policy_set(index, index, "other"), 0);
    EXPECT(hak_alloc_slow(hak_self, 200, false) != NULL);
    EXPECT(hak_lane(hak_self, index) == &hak_no_span);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) == span_of(q));
    void *r = get(BYTES);
    EXPECT(span_of(r)->box == &hak_boxes.all[SECOND]->box);
    put(p); /* still the first box's */
    EXPECT_EQ(figures().live_count, 2);
    EXPECT_EQ(hak_policy_drop(hak_boxes.all[SECOND]), 0);
    EXPECT(hak_alloc_slow(hak_self, BYTES, false) == NULL);
    EXPECT(hak_lane(hak_self, index) == &hak_no_span);
    put(r);
}

TEST(reroute_reaches_every_thread)
{
    start();
    hold(2);
    get(BYTES);
    get(200);
    hak_lanes_reroute(lane_of_bytes, lane_of_bytes);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        EXPECT(hak_lane(t, lane_of_bytes) == &hak_no_span);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) != &hak_no_span);
    hak_lanes_reroute(0, HAK_INDEX_LARGE);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) == &hak_no_span);
    expect_content(2);
    let_go(2);
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

/* ---- fork ------------------------------------------------------------ */

static int in_child(void)
{
    void *p = get(BYTES);
    bool good = p != NULL && span_of(p)->owner == hak_self;
    put(p);
    for (int i = 0; i < 2; i++)
        put(block[i]); /* of threads that the child does not have */
    pthread_t thread;
    good &= pthread_create(&thread, NULL, get_and_end, NULL) == 0 &&
            pthread_join(thread, NULL) == 0;
    hak_thread_reap(0, true);
    return good ? 0 : 1;
}

TEST(the_child_of_a_fork_goes_on)
{
    int status = 1;
    SKIP_TSAN("a child that starts threads");
    start();
    get(BYTES);
    hold(2);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child());
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    expect_content(2);
    let_go(2);
}

/*
 * As in a signal handler that interrupts a call of ours: the lock of what is
 * sealed is held.
 */
static void fork_inside_of_a_call(bool in_child)
{
    int status = 1;
    void *mine[600];
    struct hak_thread *t = hak_self;
    for (int i = 0; i < 600; i++)
        mine[i] = get(BYTES);
    uint64_t live = figures().live_count;
    EXPECT(hak_seal_open());
    pid_t pid = fork();
    if (pid != 0) {
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    if ((pid == 0) == in_child) { /* still in the handler */
        void *p = get(BYTES);
        EXPECT(p != NULL && hak_directory_get(p) == NULL); /* libc's */
        for (int i = 0; i < 600; i++)
            put(mine[i]);
        EXPECT_EQ(hak_report_write(STDERR_FILENO, false), -EAGAIN);
        EXPECT(hak_self == &hak_forker);
        put(p);
    }
    hak_seal_close();
    void *p = get(BYTES);
    EXPECT(hak_self == t && span_of(p)->owner == t);
    put(p);
    if ((pid == 0) == in_child)
        EXPECT_EQ(figures().live_count, live - 600);
    if (pid == 0)
        _exit(0);
}

TEST(a_fork_inside_of_a_call_of_ours)
{
    start();
    put(get(BYTES));
    fork_inside_of_a_call(true);
    fork_inside_of_a_call(false);
}

static struct hak_thread *forker;

static void *watch_forker(void *unused)
{
    for (int i = 0; i < 10000 && forker->heap[ULTRA] != NULL; i++) {
        usleep(1000);
        hak_thread_reap(0, true);
    }
    _exit(forker->heap[ULTRA] == NULL ? 0 : 1);
    return unused;
}

/* Before our last destructor, which libc does not call. */
static void fork_while_ending(void *p)
{
    pthread_t thread;
    int status = 1;
    forker = hak_self;
    put(p);
    pid_t pid = fork();
    if (pid == 0) {
        EXPECT_EQ(pthread_create(&thread, NULL, watch_forker, NULL), 0);
        syscall(SYS_exit, 0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(a_child_of_an_ending_thread_knows_when_that_is_gone)
{
    SKIP_TSAN("a child that starts threads");
    start();
    EXPECT_EQ(pthread_key_create(&key, fork_while_ending), 0);
    run(leave_a_block, NULL);
}

static bool stop;
static struct hak_lock stub_lock;

static void fork_stub(struct hak_box *box, enum hak_fork_phase phase)
{
    (void)box;
    hak_lock_fork(&stub_lock, phase);
}

static void lock_stub(enum hak_fork_phase phase)
{
    hak_lock_fork(&stub_lock, phase);
}

static void (*const locks[])(enum hak_fork_phase phase) = {
    hak_report_lock, lock_stub,        hak_modules_lock,
    hak_thread_lock, hak_mailbox_lock, hak_policy_lock,
    hak_seal_lock,   hak_space_lock,   hak_meta_lock,
};
enum { LOCKS = sizeof locks / sizeof locks[0] };
static struct {
    bool inside, had[LOCKS];
    int waiting;
} fork_seen;

static void *want_lock(void *which)
{
    uintptr_t i = (uintptr_t)which;
    while (!__atomic_load_n(&fork_seen.inside, __ATOMIC_ACQUIRE))
        usleep(100);
    __atomic_add_fetch(&fork_seen.waiting, 1, __ATOMIC_RELEASE);
    locks[i](HAK_FORK_PREPARE);
    __atomic_store_n(&fork_seen.had[i], true, __ATOMIC_RELEASE);
    locks[i](HAK_FORK_PARENT);
    return NULL;
}

/* A handler that is older than ours runs when ours is through. */
static void look_inside(void)
{
    __atomic_store_n(&fork_seen.inside, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&fork_seen.waiting, __ATOMIC_ACQUIRE) < LOCKS)
        usleep(100);
    usleep(50000);
    for (int i = 0; i < LOCKS; i++)
        if (__atomic_load_n(&fork_seen.had[i], __ATOMIC_ACQUIRE))
            test_fail(__FILE__, __LINE__, "lock %d is free", i);
}

TEST(fork_holds_every_lock)
{
    pthread_t thread[LOCKS];
    int status = 1;
    char why[256];
    EXPECT_EQ(pthread_atfork(look_inside, NULL, NULL), 0);
    start();
    EXPECT_EQ(hak_module_open("learner", why, sizeof why), 0);
    stub.ops.fork = fork_stub;
    add_stub();
    for (uintptr_t i = 0; i < LOCKS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, want_lock, (void *)i), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < LOCKS; i++) {
            locks[i](HAK_FORK_PREPARE);
            locks[i](HAK_FORK_PARENT);
        }
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    for (int i = 0; i < LOCKS; i++) {
        pthread_join(thread[i], NULL);
        EXPECT(fork_seen.had[i]);
    }
}

static void *take_each_lock(void *unused)
{
    for (int i = 0; i < LOCKS; i++) {
        locks[i](HAK_FORK_PREPARE);
        locks[i](HAK_FORK_PARENT);
    }
    put(get(BYTES));
    return unused;
}

static struct {
    enum hak_fork_phase phase;
    bool done;
} signal_at;

/* A signal handler forks in the middle of our fork handlers; its child goes on
 * with them. */
static void fork_in_fork_stub(struct hak_box *box, enum hak_fork_phase phase)
{
    int status = 1;
    fork_stub(box, phase);
    if (signal_at.done || phase != signal_at.phase)
        return;
    signal_at.done = true;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        run(take_each_lock, NULL);
        return;
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(a_fork_in_the_middle_of_our_fork_handlers)
{
    SKIP_TSAN("a child that starts threads");
    start();
    stub.ops.fork = fork_in_fork_stub;
    add_stub();
    void *p = get(BYTES);
    pid_t original = getpid();
    for (signal_at.phase = HAK_FORK_PREPARE;
         signal_at.phase <= HAK_FORK_CHILD && getpid() == original;
         signal_at.phase++) {
        int status = 0;
        signal_at.done = false;
        pid_t pid = fork();
        EXPECT(hak_self == span_of(p)->owner);
        run(take_each_lock, NULL);
        if (pid == 0)
            _exit(0);
        if (waitpid(pid, &status, 0) != pid) /* the parent's child */
            EXPECT_NE(getpid(), original);
        EXPECT_EQ(status, 0);
    }
}

static void count_under_lock(struct hak_box *box, struct hak_box_stats *out)
{
    (void)box;
    hak_lock_take(&stub_lock);
    out->live_count = 1;
    hak_lock_drop(&stub_lock);
}

static void *keep_reporting(void *unused)
{
    int fd = open("/dev/null", O_WRONLY);
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        EXPECT_EQ(hak_report_write(fd, false), 0);
    return NULL;
}

/* The report has a lock, and asks boxes that may have one of their own. */
TEST(fork_beside_a_report)
{
    pthread_t thread;
    start();
    stub.ops.fork = fork_stub;
    stub.ops.stats = count_under_lock;
    add_stub();
    EXPECT_EQ(pthread_create(&thread, NULL, keep_reporting, NULL), 0);
    for (int i = 0; i < 300; i++) {
        int status = 1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * core_threads.h - what the tests of the core's threads share.
 *
 * With a real box, by tests/loader/thread.ini; malloc itself is libc's here,
 * so get() and put() do what entry.c does.
 */
#ifndef HAK_TEST_CORE_THREADS_H
#define HAK_TEST_CORE_THREADS_H

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

static inline void start(void)
{
    hak_modules_link();
    static char env[] = "HAKMEM_CONF=tests/loader/thread.ini";
    char *envp[] = {env, NULL};
    hak_start(envp);
    EXPECT_EQ(hak_core.mode, HAK_MODE_BOXES);
    EXPECT_EQ(hak_boxes.n, 2);
}

static inline void *get(size_t bytes)
{
    struct hak_span *span = hak_lane(hak_self, hak_index_of(bytes));
    void *p = hak_span_pop(span);
    return p != NULL ? p : hak_alloc_slow(hak_self, bytes, false);
}

static inline void put(void *p)
{
    hak_free_slow(p);
}

static inline struct hak_span *span_of(const void *p)
{
    struct hak_span *span = hak_directory_get(p);
    if (span == NULL)
        test_fail(__FILE__, __LINE__, "%p is in no span", p);
    return span;
}

static inline struct hak_stats figures(void)
{
    struct hak_stats s;
    hak_figures(hak_boxes.all[ULTRA], &s);
    return s;
}

static inline int count_threads(void)
{
    int n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n++;
    return n;
}

static inline void *run(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    EXPECT_EQ(pthread_create(&thread, NULL, function, argument), 0);
    EXPECT_EQ(pthread_join(thread, &result), 0);
    return result;
}

/* ---- threads that hold a block each --------------------------------- */

enum { THREADS = 8 };

static pthread_barrier_t both, again;
static void *block[THREADS];

/* Allocates, waits for the others, ends when told to. */
static inline void *hold_one(void *argument)
{
    uintptr_t i = (uintptr_t)argument;
    block[i] = get(BYTES);
    memset(block[i], (int)i + 1, BYTES);
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&again);
    return hak_self;
}

static pthread_t held[THREADS];

static inline void hold(unsigned n)
{
    pthread_barrier_init(&both, NULL, n + 1);
    pthread_barrier_init(&again, NULL, n + 1);
    for (uintptr_t i = 0; i < n; i++)
        EXPECT_EQ(pthread_create(&held[i], NULL, hold_one, (void *)i), 0);
    pthread_barrier_wait(&both);
}

static inline void let_go(unsigned n)
{
    pthread_barrier_wait(&again);
    for (unsigned i = 0; i < n; i++)
        pthread_join(held[i], NULL);
}

static inline void expect_content(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (int k = 0; k < BYTES; k++)
            EXPECT_EQ(((unsigned char *)block[i])[k], i + 1);
}

static inline void *get_and_end(void *unused)
{
    (void)unused;
    block[0] = get(BYTES);
    return hak_self;
}

/* ---- a block for destructors of thread-specific data ----------------- */

static pthread_key_t key; /* its destructors run after the core's */

static inline void *leave_a_block(void *unused)
{
    (void)unused;
    EXPECT_EQ(pthread_setspecific(key, get(BYTES)), 0);
    return hak_self;
}

/* ---- a box without heap_close --------------------------------------- */

static int opened;

static inline void *open_stub(struct hak_box *box, struct hak_thread *t)
{
    (void)box;
    opened++;
    return t;
}

static inline bool own_nothing(struct hak_box *box, const void *p)
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

static inline void add_stub(void)
{
    EXPECT(hak_seal_open());
    stub.box.index = hak_boxes.n;
    hak_boxes.all[hak_boxes.n] = hak_boxes.walk[hak_boxes.n] = &stub;
    hak_boxes.n++;
    hak_seal_close();
}

#endif

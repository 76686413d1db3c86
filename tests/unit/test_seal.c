/* SPDX-License-Identifier: MIT
 * test_seal.c - tables that are read-only once the core has started, and what
 * may change them.
 */
#include "test.h"

#include <core/route/lanes.h>
#include <core/route/policy.h>
#include <core/state/boxes.h>
#include <core/state/chains.h>
#include <core/state/core.h>
#include <core/state/directory.h>
#include <start/start.h>
#include <pthread.h>

static void start_with(char *variable)
{
    char *envp[] = {variable, NULL};
    hak_start(envp);
    EXPECT_EQ(hak_core.mode, HAK_MODE_BOXES);
}

static void start(void)
{
    static char variable[] = "HAKMEM_CONF=tests/loader/thread.ini";
    start_with(variable);
}

/* Stores what is there already: nothing but the store itself can hurt. */
static void store(const void *at)
{
    volatile char *byte = (char *)(uintptr_t)at;
    *byte = *byte;
}

/* Up to here nothing has gone wrong. */
static void say_last_words(void)
{
    store(&hak_conf.purge_delay_ms); /* no table */
    (void)!write(2, "and now\n", 8);
}

#define CANNOT_WRITE(name, lvalue)      \
    TEST_DIES(name, SIGSEGV, "and now") \
    {                                   \
        start();                        \
        say_last_words();               \
        store(&(lvalue));               \
    }

CANNOT_WRITE(directory_root, hak_directory.entry)
CANNOT_WRITE(directory_limit, hak_directory.limit)
CANNOT_WRITE(boxes, hak_boxes.all[0])
CANNOT_WRITE(walk, hak_boxes.walk[1])
CANNOT_WRITE(chains, hak_policy.chain[HAK_LANES])
CANNOT_WRITE(lane_groups, hak_core.group[0].last)
CANNOT_WRITE(mode, hak_core.mode)
CANNOT_WRITE(state_of_a_box, hak_boxes.all[0]->box.state)
CANNOT_WRITE(operations_of_a_box, hak_boxes.all[1]->ops.free)
CANNOT_WRITE(parameters_of_a_box, hak_boxes.all[0]->values[0].i)
CANNOT_WRITE(boxes_of_a_chain, hak_policy.chain[0]->box[0])
CANNOT_WRITE(host_table, hak_boxes.all[0]->box.host->map)

static void set_and_reset(void)
{
    EXPECT_EQ(hak_policy_set(1, 20, "other"), 0);
    EXPECT_EQ(hak_policy_reset(1, 20), 0);
}

TEST(routes_change)
{
    start();
    set_and_reset();
    EXPECT_EQ(hak_policy_set(0, HAK_LANES, "nowhere"), -ENOENT);
    EXPECT_EQ(hak_policy_drain(hak_boxes.all[0], NULL), 0);
    EXPECT(hak_policy.chain[1]->box[0] == NULL);
}

TEST_DIES(closed_after_a_change, SIGSEGV, "and now")
{
    start();
    set_and_reset();
    EXPECT_EQ(hak_policy_drain(hak_boxes.all[0], NULL), 0);
    hak_lanes_reroute(0, HAK_LANES);
    say_last_words();
    store(&hak_policy.epoch);
}

/* three.so has no init: its first alloc sets box->state. */
TEST(a_box_without_init_sets_its_state_later)
{
    static char variable[] = "HAKMEM_CONF=tests/loader/accepted.ini";
    start_with(variable);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.init == NULL && strcmp(b->box.name, "three") == 0) {
            EXPECT(b->ops.alloc(&b->box, 100) != NULL);
            EXPECT(b->box.state != NULL);
            return;
        }
    }
    EXPECT(!"a box without init");
}

static void *change_often(void *stop)
{
    while (__atomic_load_n((int *)stop, __ATOMIC_RELAXED) == 0)
        set_and_reset();
    return NULL;
}

/* The child begins with it closed, whatever another thread was at. */
TEST(closed_in_the_child_of_a_fork)
{
    static int stop;
    pthread_t thread[2];
    start();
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, change_often, &stop), 0);
    for (int i = 0; i < 100; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            set_and_reset();
            store(&hak_policy.epoch);
            _exit(0);
        }
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
}

TEST_MAIN()

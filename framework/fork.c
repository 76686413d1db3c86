/* SPDX-License-Identifier: MIT
 * fork.c - the child of a fork finds every lock free and every list whole.
 *
 * Between prepare and the end the forking thread holds all locks. Others'
 * handlers run in that time too (those registered before ours), and may
 * allocate: the thread is hak_forker then, which libc serves, as its own locks
 * are taken after all handlers; what is freed waits until the fork is over.
 *
 * Lock order: report, boxes by index, learner, threads, parcels, policy, seal,
 * space, metadata: the order in which reports and slow paths take them.
 *
 * The child has the forking thread alone. The others may have been halted
 * between two steps of a list, so their structures are never used again: their
 * free slots are lost to the child, their live blocks are not.
 */
#include "core.h"

#include <pthread.h>

struct hak_thread hak_forker = {.lane = {[0 ... HAK_LANES] = &hak_no_span},
                                .abroad = 1,
                                .tag = HAK_TAG_NONE,
                                .match = HAK_TAG_NONE};

/* Written by the forking thread only, which holds all locks. */
static struct hak_thread *forking;
static void *deferred; /* linked through their first word */

void hak_fork_defer(void *p)
{
    *(void **)p = deferred;
    deferred = p;
}

static void locks(bool take)
{
    if (hak_routes_may_change())
        hak_learner_lock(take);
    hak_thread_lock(take);
    hak_parcel_lock(take);
    if (hak_routes_may_change())
        hak_policy_lock(take);
    hak_seal_lock(take);
    hak_space_lock(take);
    hak_meta_lock(take);
}

static void boxes(enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.fork != NULL)
            b->ops.fork(&b->box, phase);
    }
}

static void prepare(void)
{
    hak_libc_set_up();
    hak_report_lock(true);
    boxes(HAK_FORK_PREPARE);
    locks(true);
    forking = hak_self;
    hak_self = &hak_forker;
}

static void over(enum hak_fork_phase phase)
{
    void *p = deferred;
    deferred = NULL;
    hak_self = forking;
    locks(false);
    boxes(phase);
    hak_report_lock(false);
    while (p != NULL) {
        void *next = *(void **)p;
        free(p);
        p = next;
    }
}

static void in_parent(void)
{
    over(HAK_FORK_PARENT);
}

static void in_child(void)
{
    hak_thread_fork_child(forking);
    hak_os_random_forked();
    over(HAK_FORK_CHILD);
}

void hak_fork_start(void)
{
    pthread_atfork(prepare, in_parent, in_child);
}

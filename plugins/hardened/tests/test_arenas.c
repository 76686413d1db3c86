/* SPDX-License-Identifier: MIT
 * test_arenas.c - arenas of threads, and forks.
 */
#include "test_hardened.h"

/* ---- arenas ---------------------------------------------------------------
 */

enum { BYTES = 100 };

static struct class *class_in(const struct hardened *h, int arena)
{
    EXPECT(h->now->arena[arena] != NULL);
    return h->now->arena[arena]->class[hak_index_of(BYTES + BORDER_BYTES)];
}

/* Run it in a thread, and wait until the thread has ended and its heap is
 * closed.
 */
static void in_thread(void *(*run)(void *), void *box)
{
    th_join(th_spawn(run, box));
    th_reap();
}

static void *take_all(void *box)
{
    for (size_t i = 0; i < N; i++)
        block[i] = get(box, BYTES);
    return NULL;
}

static void *put_all(void *box)
{
    for (size_t i = 0; i < N; i++)
        put(box, block[i]);
    return NULL;
}

TEST(threads_take_from_arenas_of_their_own)
{
    struct hak_box *box = OPEN("arenas=4");
    const struct hardened *h = hardened_of(box);
    get(box, BYTES);
    in_thread(take_all, box);
    in_thread(take_all, box); /* takes over the heap, and so its arena */
    EXPECT_EQ(class_in(h, 0)->nout, 1);
    EXPECT_EQ(class_in(h, 1)->nout, 2 * N);
    EXPECT(h->now->arena[2] == NULL);
}

TEST(slots_go_home_to_their_arena)
{
    struct hak_box *box = OPEN("arenas=4", "quarantine=0");
    const struct hardened *h = hardened_of(box);
    take_all(box);
    in_thread(put_all, box);
    EXPECT_EQ(class_in(h, 0)->nout, 0);
    EXPECT(h->now->arena[1] == NULL || class_in(h, 1) == NULL);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(a_child_chooses_anew)
{
    struct hak_box *box = OPEN();
    const struct class *c;
    do /* until the next slot lies in open pages, so that it is chosen ahead */
        get(box, BYTES);
    while ((c = class_in(hardened_of(box), 0)) == NULL || c->next == NULL);
    uint64_t before = c->random;
    const char *next = c->next;
    box->ops->fork(box, HAK_FORK_PREPARE);
    box->ops->fork(box, HAK_FORK_CHILD);
    EXPECT_NE(c->random, before);
    EXPECT(c->next == NULL && c->old == next);
    EXPECT(get(box, BYTES) != NULL);
    EXPECT(c->old == NULL);
}

/* The interrupted call holds the class's lock and goes on after the fork, so
 * the child changes nothing of the class. */
TEST(a_child_leaves_a_call_alone_that_a_signal_interrupted)
{
    struct hak_box *box = OPEN();
    struct class *c;
    do
        get(box, BYTES);
    while ((c = class_in(hardened_of(box), 0)) == NULL || c->next == NULL);
    uint64_t random = c->random;
    const char *next = c->next;
    for (int alone = 0; alone < 2; alone++) {
        (alone ? hak_lock_enter : hak_lock_take)(&c->lock);
        box->ops->fork(box, HAK_FORK_PREPARE);
        EXPECT_EQ(errno, EDEADLK);
        box->ops->fork(box, HAK_FORK_CHILD);
        EXPECT(c->random == random && c->next == next);
        EXPECT(hak_lock_is_mine(&c->lock));
        (alone ? hak_lock_leave : hak_lock_drop)(&c->lock);
    }
    EXPECT(get(box, BYTES) == next);
}

TEST_MAIN()

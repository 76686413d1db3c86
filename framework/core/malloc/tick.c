/* SPDX-License-Identifier: MIT
 * tick.c - what slow paths do now and then: memory ages, and is paid for.
 */
#include <core/malloc/slow.h>

#include <base/os.h>
#include <core/box/caches.h>
#include <core/memory/space.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>

#include <errno.h>

/* slow paths of a thread between two looks at the clock */
enum { TICK_CALLS = 8 };

enum { SPACE_TICKS = 16 }; /* of the window at a time; each gives back little */

void hak_tick(struct hak_thread *t)
{
    if (++t->ticks % TICK_CALLS != 0)
        return;
    hak_mailbox_post(t);
    hak_space_tick();
    uint64_t now_ms = hak_os_now_ms();
    hak_thread_reap(now_ms, false);
    hak_mailbox_age(t, now_ms);
    hak_boxes_age(t, now_ms);
}

/*
 * What boxes keep, each for its own next need, is bounded together by this
 * rule: before they come to hold more than they did of late, as much of what is
 * kept changes hands (box/caches.c, hak_boxes_reclaim); where that does not
 * fit, as much goes back to the system as they have grown by. A program that
 * lives within what it has keeps its caches whole; one that moves on, from
 * small blocks to large ones, say, does not pay for both.
 */
void hak_pay_for_growth(void)
{
    size_t want = hak_space_owed();
    if (likely(want == 0))
        return;
    int kept = errno;
    size_t got = hak_space_shrink(want);
    if (got < want && hak_boxes_shrink(want - got) != 0)
        hak_space_shrink(want - got);
    errno = kept;
}

void hak_age_all(void)
{
    for (int i = 0; i < SPACE_TICKS; i++)
        hak_space_tick();
    uint64_t now_ms = hak_os_now_ms();
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) && (t = hak_thread_attach()) == NULL)
        return;
    hak_mailbox_post(t);
    hak_mailbox_receive(t);
    hak_thread_reap(now_ms, false);
    hak_mailbox_age(t, now_ms);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.age != NULL)
            b->ops.age(&b->box);
    }
}

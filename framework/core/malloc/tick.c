/* SPDX-License-Identifier: MIT
 * tick.c - work that slow paths do now and then: ageing and giving back memory.
 */
#include <core/malloc/slow.h>

#include <base/os.h>
#include <core/box/caches.h>
#include <core/box/modules.h>
#include <core/memory/space.h>
#include <core/state/ops.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>

#include <errno.h>
#include <inttypes.h>

/* One in so many slow paths of a thread does a tick. */
enum { TICK_CALLS = 8 };

/* Ticks of the window in one hak_age_all, since each purges only little. */
enum { SPACE_TICKS = 16 };

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
 * Each box keeps free memory for its own later needs. This rule bounds what all
 * boxes keep together:
 *
 * - Before a box maps memory that would take all boxes above their recent
 *   highest use, the boxes give kept memory back to the window for it
 *   (hak_boxes_reclaim in box/caches.c).
 * - If the use grows nevertheless, as many bytes as it has grown by are given
 *   back to the system here.
 *
 * So a program whose use does not grow keeps its caches. A program that changes
 * from small blocks to large ones does not hold memory for both.
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

static void leave_closed(void)
{
    if (hak_is_attached(hak_self))
        hak_thread_leave_closed(hak_self);
}

/* Close the heaps of parked threads, and of this thread in closed boxes. Their
 * free pages go to the boxes. */
static void close_heaps(void)
{
    hak_thread_reap(hak_os_now_ms(), true);
    leave_closed();
}

void hak_trim_closed(struct hak_loaded *b)
{
    close_heaps();
    if (b->ops.trim != NULL)
        hak_box_trim(b);
    leave_closed(); /* trim may have opened a heap */
    hak_space_trim();
}

/*
 * Trim the boxes first and the window after them. Running threads keep their
 * lanes. A box purges memory in place, or unmaps it and the window purges it.
 * Both count in the window's purged_bytes.
 */
size_t hak_trim_all(void)
{
    struct hak_space_figures before, after;
    hak_space_read(&before);
    hak_mailbox_receive_all(hak_self);
    close_heaps();
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b->ops.trim != NULL)
            hak_box_trim(b);
    }
    leave_closed(); /* trim may have opened a heap */
    hak_space_trim();
    hak_space_read(&after);
    uint64_t given = after.purged_bytes - before.purged_bytes;
    hak_modules_tell("trim", "%" PRIu64 " bytes", given);
    return given;
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
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b->ops.age != NULL)
            hak_box_age(b);
    }
}

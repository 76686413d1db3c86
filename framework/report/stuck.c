/* SPDX-License-Identifier: MIT
 * stuck.c - finds operations of boxes that do not come back.
 *
 * With [core] blame each thread notes the operation that it is inside of, and
 * counts them (core/state/op_calls.h), but it takes no time. So a report looks
 * at the records, and looks again until each thread has been seen in another
 * call, or in none, or for STUCK_LEAST_MS in the same one. How long such a call
 * has taken is counted from the first report that saw it.
 *
 * A box whose operation does not come back may hold a lock that its stats waits
 * for. So its stats and counters are not asked for.
 */
#include <report/report.h>

#include <base/os.h>
#include <core/state/thread.h>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STUCK_LEAST_MS = 1000, STEP_MS = 1 };

static uint32_t stuck_boxes; /* by box->index; atomic */

bool hak_report_is_stuck(const struct hak_loaded *b)
{
    return __atomic_load_n(&stuck_boxes, __ATOMIC_RELAXED) >> b->box.index & 1;
}

/* The id of the thread, which holds `alive` while it lives: libc and the kernel
 * keep it there, as the mutex is robust. 0: it is not of this process. */
static uint32_t thread_id(const struct hak_thread *t)
{
    if (t->left_behind)
        return 0;
    return (uint32_t)__atomic_load_n(&t->alive.__data.__owner,
                                     __ATOMIC_RELAXED);
}

/* Look at the record of t. False: it is in no operation. */
static bool look_at(struct hak_thread *t, uint64_t now_ms)
{
    struct hak_op_look *look = &t->looked;
    uint32_t serial = __atomic_load_n(&t->call.serial, __ATOMIC_RELAXED);
    if (t == hak_self || thread_id(t) == 0 ||
        __atomic_load_n(&t->call.box, __ATOMIC_RELAXED) == NULL) {
        look->since_ms = 0;
        return false;
    }
    if (look->since_ms == 0 || look->serial != serial)
        *look = (struct hak_op_look){.serial = serial, .since_ms = now_ms};
    return true;
}

/* Look at all threads. Returns true if one of them was in its call at began_ms
 * already, and not for long enough to be told. */
static bool look_at_all(uint64_t began_ms, uint64_t now_ms)
{
    bool again = false;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        again |= look_at(t, now_ms) && t->looked.since_ms <= began_ms &&
                 now_ms - t->looked.since_ms < STUCK_LEAST_MS;
    return again;
}

/* A sandbox that knows hakmem allows futex(2). */
static void wait_a_step(void)
{
    static uint32_t word;
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &step, NULL, 0);
}

uint32_t hak_report_stuck(struct hak_stuck out[HAK_STUCK_MOST])
{
    uint32_t n = 0, boxes = 0;
    if (!hak_blames())
        return 0;
    uint64_t began_ms = hak_os_now_ms(), now_ms = began_ms;
    while (look_at_all(began_ms, now_ms)) {
        wait_a_step();
        now_ms = hak_os_now_ms();
    }
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next) {
        const struct hak_loaded *b =
            __atomic_load_n(&t->call.box, __ATOMIC_RELAXED);
        if (t->looked.since_ms == 0 || b == NULL ||
            now_ms - t->looked.since_ms < STUCK_LEAST_MS)
            continue;
        boxes |= 1u << b->box.index;
        if (n < HAK_STUCK_MOST)
            out[n++] = (struct hak_stuck){
                .thread = thread_id(t),
                .box = b->box.name,
                .operation = hak_op_name(&t->call),
                .seconds = (now_ms - t->looked.since_ms) / 1000,
            };
    }
    __atomic_store_n(&stuck_boxes, boxes, __ATOMIC_RELAXED);
    return n;
}

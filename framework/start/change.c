/* SPDX-License-Identifier: MIT
 * change.c - changes which boxes serve while the process runs. fused.c takes
 * its place in a fused library, whose boxes and routes are fixed.
 *
 *     active --drain, swap--> draining --its last block was freed--> closed
 *        ^                       |                                     |
 *        +-------- back, swap ---+-------------------------------------+
 *
 * A box that drains is in no chain, and its live blocks stay where they are. It
 * is closed when it has no block and no thread is on its way to it. Threads
 * close their heaps in a closed box on their next slow path
 * (core/thread/attach.c), and its memory goes back to the window.
 */
#include <start/change.h>

#include <base/why.h>
#include <conf/values.h>
#include <core/box/modules.h>
#include <core/box/walk.h>
#include <core/malloc/slow.h>
#include <core/route/lanes.h>
#include <core/route/policy.h>
#include <core/state/ops.h>
#include <core/thread/mailbox.h>
#include <report/report.h>

#include <errno.h>
#include <string.h>

static struct hak_lock changing;

void hak_change_begin(void)
{
    hak_lock_take(&changing);
}

void hak_change_end(void)
{
    hak_lock_drop(&changing);
}

bool hak_change_is_mine(void)
{
    return hak_lock_is_mine(&changing);
}

void hak_change_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&changing, phase);
}

/* ---- the state of a box -------------------------------------------------- */

static void tell_box(struct hak_loaded *b)
{
    if (b->ops.state_changed != NULL)
        hak_box_state_changed(b);
}

/* Take b out of the chains, and put `instead` in its place unless it is NULL.
 */
static int start_draining(struct hak_loaded *b, struct hak_loaded *instead)
{
    bool revived = instead != NULL && instead->box.state_now != HAK_BOX_ACTIVE;
    int error = hak_policy_drain(b, instead);
    if (error != 0)
        return error;
    hak_lanes_reroute(0, HAK_LANES);
    tell_box(b);
    if (revived)
        tell_box(instead);
    return 0;
}

/* Has b no block, and is no thread on its way to it? */
static bool has_drained(struct hak_loaded *b)
{
    struct hak_stats s;
    /* A thread that is in a chain may still get a block from this box. */
    bool on_the_way = hak_thread_is_routing();
    hak_mailbox_collect(hak_self, &b->box);
    struct hak_mailbox_figures away = hak_mailbox_read(&b->box);
    hak_figures(b, &s);
    return !on_the_way && s.live_count == 0 && away.n == 0;
}

static int close_if_drained(struct hak_loaded *b)
{
    if (b->box.state_now == HAK_BOX_DRAINING && has_drained(b)) {
        int error = hak_policy_close(b);
        if (error != 0)
            return error;
        tell_box(b);
        hak_trim_closed(b);
        hak_modules_tell("closed", "%s", b->box.name);
    }
    return b->box.state_now == HAK_BOX_CLOSED;
}

/* ---- routes and boxes ---------------------------------------------------- */

static int no_box(const char *name, char *why, size_t n)
{
    return hak_refuse(-ENOENT, why, n, "there is no box %s", name);
}

static int told(int error, char *why, size_t n)
{
    if (error == -ENOMEM)
        hak_refuse(error, why, n, "no memory; nothing has changed");
    return error;
}

static int route(const char *range, const char *name, char *why, size_t n)
{
    uint32_t first, last;
    if (hak_conf_range(range, &first, &last, why, n) != 0)
        return -EINVAL;
    int error = hak_policy_set(first, last, name);
    if (error == -ENOENT)
        hak_refuse(error, why, n, "there is no route or box %s", name);
    if (error == 0) {
        hak_lanes_reroute(first, last);
        hak_modules_tell("route", "%s -> %s", range, name);
    }
    return told(error, why, n);
}

static int drain_box(struct hak_loaded *b)
{
    int error = 0;
    if (b->box.state_now == HAK_BOX_ACTIVE) {
        error = start_draining(b, NULL);
        if (error == 0)
            hak_modules_tell("drain", "%s", b->box.name);
    }
    return error == 0 ? close_if_drained(b) : error;
}

static int module(const char *name, char *why, size_t n)
{
    hak_change_begin();
    int error = hak_change_module(name, why, n);
    hak_change_end();
    return error;
}

static int drain(const char *name, char *why, size_t n)
{
    hak_change_begin();
    struct hak_loaded *b = hak_box_named(name);
    int result = b == NULL ? no_box(name, why, n) : drain_box(b);
    hak_change_end();
    return told(result, why, n);
}

/* May b serve again? A foreign library, or a box that was built for an older
 * header, may have given up what it needs when it was closed. */
static int check_revival(const struct hak_loaded *b, char *why, size_t n)
{
    if (b->box.state_now != HAK_BOX_CLOSED ||
        (!b->foreign && b->entry->abi_minor >= HAK_ABI_REVIVE_MINOR))
        return 0;
    return hak_refuse(-EBUSY, why, n,
                      "box %s is closed and cannot serve again; load its file "
                      "under another name",
                      b->box.name);
}

/* Tell of the sizes that `to` was given and has no slots for. */
static void note_declined(struct hak_loaded *to, char *why, size_t n)
{
    uint32_t first = HAK_LANES, last = 0;
    for (uint32_t i = 0; i < HAK_LANES && HAK_BOX_HAS(to, slot_size); i++) {
        if (hak_chain_of(i)->box[0] != to ||
            hak_box_slot_size(to, hak_lane_bytes(i)) != 0)
            continue;
        first = i < first ? i : first;
        last = i;
    }
    if (first <= last)
        hak_refuse(0, why, n,
                   "box %s has no slots for some requests of %zu to %zu bytes, "
                   "which were routed to it; they go down the chain",
                   to->box.name,
                   first == 0 ? 1 : hak_index_bytes(first - 1) + 1,
                   hak_index_bytes(last));
}

static int swap_boxes(struct hak_loaded *from, struct hak_loaded *to, char *why,
                      size_t n)
{
    if (from == to)
        return hak_refuse(-EINVAL, why, n, "a box cannot replace itself");
    if (from->box.state_now != HAK_BOX_ACTIVE)
        return hak_refuse(-EBUSY, why, n, "box %s serves no size any more",
                          from->box.name);
    int error = check_revival(to, why, n);
    if (error == 0)
        error = start_draining(from, to);
    if (error == 0) {
        hak_modules_tell("swap", "%s -> %s", from->box.name, to->box.name);
        note_declined(to, why, n);
    }
    return error;
}

static int swap(const char *from, const char *to, char *why, size_t n)
{
    hak_change_begin();
    struct hak_loaded *a = hak_box_named(from), *b = hak_box_named(to);
    int error = a == NULL   ? no_box(from, why, n)
                : b == NULL ? no_box(to, why, n)
                            : swap_boxes(a, b, why, n);
    hak_change_end();
    return told(error, why, n);
}

static int revive(struct hak_loaded *b, char *why, size_t n)
{
    if (b->box.state_now == HAK_BOX_ACTIVE)
        return hak_refuse(-EALREADY, why, n, "box %s is active", b->box.name);
    int error = check_revival(b, why, n);
    if (error == 0)
        error = hak_policy_activate(b);
    if (error != 0)
        return error;
    hak_lanes_reroute(0, HAK_LANES);
    tell_box(b);
    hak_modules_tell("back", "%s", b->box.name);
    return 0;
}

static int back(const char *name, char *why, size_t n)
{
    hak_change_begin();
    struct hak_loaded *b = hak_box_named(name);
    int error = b == NULL ? no_box(name, why, n) : revive(b, why, n);
    hak_change_end();
    return told(error, why, n);
}

const struct hak_changes hak_changes = {
    .route = route,
    .drain = drain,
    .load = hak_change_load,
    .swap = swap,
    .back = back,
    .set = hak_change_set,
    .trim = hak_trim_all,
    .bytes = hak_conf_bytes,
    .module = module,
    .each_key = hak_change_each_key,
};

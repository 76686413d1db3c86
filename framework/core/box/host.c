/* SPDX-License-Identifier: MIT
 * host.c - the host table: what the core offers to a box.
 */
#include <core/box/host.h>

#include <base/log.h>
#include <base/meta.h>
#include <base/os.h>
#include <base/random.h>
#include <core/box/abi.h>
#include <core/box/caches.h>
#include <core/box/modules.h>
#include <core/memory/directory.h>
#include <core/memory/space.h>
#include <core/route/lanes.h>
#include <core/state/ops.h>
#include <core/thread/thread.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/*
 * Enter a range that b has just got into the directory. Before that, the owns()
 * of each other box is asked about it. A box that claims to own memory which
 * the core has handed to b has a wrong owns(). It is marked as untrusted: its
 * owns() is not called again, and its blocks are found by the directory alone.
 */
static void set_range_owner(struct hak_loaded *b, void *p, size_t size_bytes)
{
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *other = hak_box_in_walk(i);
        if (other == b || other->now->untrusted || !hak_box_owns(other, p))
            continue;
        other->now->untrusted = true;
        hak_say("box %s claims to own %p, which is box %s's; its owns() is "
                "wrong and is asked no more (hakctl check-box tests it)",
                other->box.name, p, b->box.name);
    }
    hak_directory_set(&b->slow, p, size_bytes);
}

/* Does the directory name box b for each granule of the range? */
static bool owns_range(const struct hak_loaded *b, const char *p,
                       size_t size_bytes)
{
    if ((uintptr_t)p % HAK_GRANULE_BYTES != 0 ||
        size_bytes % HAK_GRANULE_BYTES != 0)
        return false;
    for (size_t at = 0; at < size_bytes; at += HAK_GRANULE_BYTES) {
        const struct hak_span *span = hak_directory_get(p + at);
        if (span == NULL || span->box != &b->box)
            return false;
    }
    return true;
}

/* Is the range not all b's? Then the call is refused with a message, since the
 * memory may belong to another box. */
static bool refuse_range(const struct hak_loaded *b, const char *call, void *p,
                         size_t size_bytes)
{
    if (likely(owns_range(b, p, size_bytes)))
        return false;
    hak_say("box %s: host->%s(%p, %zu): not all of that range is the box's; "
            "nothing was done",
            b->box.name, call, p, size_bytes);
    return true;
}

static void count_mapped(struct hak_box *box, int64_t more_bytes)
{
    struct hak_loaded_now *now = hak_loaded_of(box)->now;
    hak_count_peak(&now->mapped_peak_bytes,
                   hak_count_shared(&now->mapped_bytes, more_bytes));
}

static void *host_map(struct hak_box *box, size_t size_bytes,
                      size_t align_bytes, uint32_t flags)
{
    struct hak_loaded *b = hak_loaded_of(box);
    if (size_bytes == 0 || size_bytes % HAK_GRANULE_BYTES != 0)
        return NULL;
    hak_boxes_reclaim(b, size_bytes);
    void *p = hak_space_take(size_bytes, align_bytes, flags);
    if (p == NULL)
        return NULL;
    set_range_owner(b, p, size_bytes);
    count_mapped(box, (int64_t)size_bytes);
    return p;
}

static void host_unmap(struct hak_box *box, void *p, size_t size_bytes)
{
    if (refuse_range(hak_loaded_of(box), "unmap", p, size_bytes))
        return;
    hak_directory_set(NULL, p, size_bytes);
    count_mapped(box, -(int64_t)size_bytes);
    hak_space_give(p, size_bytes);
}

/* p and size_bytes are multiples of the OS page, not of the granule. */
static int host_purge(struct hak_box *box, void *p, size_t size_bytes)
{
    uintptr_t first = (uintptr_t)p & ~(uintptr_t)(HAK_GRANULE_BYTES - 1);
    uintptr_t end = hak_round_up((uintptr_t)p + size_bytes, HAK_GRANULE_BYTES);
    if (refuse_range(hak_loaded_of(box), "purge", (void *)first, end - first))
        return -EINVAL;
    return hak_space_purge(p, size_bytes);
}

static void *host_remap(struct hak_box *box, void *p, size_t old_bytes,
                        size_t new_bytes)
{
    struct hak_loaded *b = hak_loaded_of(box);
    if (new_bytes == 0 || new_bytes % HAK_GRANULE_BYTES != 0 ||
        refuse_range(b, "remap", p, old_bytes))
        return NULL;
    /* Clear the entries first: after the move another box may get the range. */
    hak_directory_set(NULL, p, old_bytes);
    void *q = hak_space_move(p, old_bytes, new_bytes);
    if (q == NULL) {
        hak_directory_set(&b->slow, p, old_bytes);
        return NULL;
    }
    set_range_owner(b, q, new_bytes);
    count_mapped(box, (int64_t)new_bytes - (int64_t)old_bytes);
    return q;
}

static void *host_reserve(struct hak_box *box, size_t size_bytes,
                          size_t align_bytes)
{
    if (size_bytes == 0 || size_bytes % HAK_GRANULE_BYTES != 0)
        return NULL;
    void *p = hak_space_reserve(size_bytes, align_bytes);
    if (p != NULL)
        set_range_owner(hak_loaded_of(box), p, size_bytes);
    return p;
}

static void host_unreserve(struct hak_box *box, void *p, size_t size_bytes)
{
    (void)box;
    hak_directory_set(NULL, p, size_bytes);
    hak_space_unreserve(p, size_bytes);
}

static int host_open_pages(struct hak_box *box, void *p, size_t size_bytes,
                           uint32_t flags)
{
    int error = hak_space_open(p, size_bytes, (flags & HAK_OPEN_NOW) != 0);
    if (error == 0)
        count_mapped(box, (int64_t)size_bytes);
    return error;
}

static bool host_close_pages(struct hak_box *box, void *p, size_t size_bytes)
{
    bool closed = hak_space_close(p, size_bytes);
    if (closed)
        count_mapped(box, -(int64_t)size_bytes);
    return closed;
}

static void *host_meta(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    return hak_meta(size_bytes);
}

static void *host_meta_guarded(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    return hak_meta_guarded(size_bytes);
}

static int host_span_set(struct hak_box *box, struct hak_span *span, void *p,
                         size_t size_bytes)
{
    struct hak_loaded *b = hak_loaded_of(box);
    if (!owns_range(b, p, size_bytes))
        return -EINVAL;
    if (span == NULL || !box->lanes)
        span = &b->slow;
    hak_directory_set(span, p, size_bytes);
    return 0;
}

static struct hak_span *host_span_of(const void *p)
{
    struct hak_span *span = hak_directory_get(p);
    return span == NULL || span == &hak_loaded_of(span->box)->slow ? NULL
                                                                   : span;
}

static void host_lane_drop(struct hak_span *span)
{
    if (span->owner != NULL && span->lane_last != 0)
        hak_lanes_drop(span->owner, span);
}

static void *host_heap(struct hak_box *box, bool open)
{
    struct hak_thread *t = hak_self;
    void *heap = t->heap[box->index]; /* NULL if t is not attached */
    if (likely(heap != NULL && t->heap_box[box->index] == hak_loaded_of(box)))
        return heap;
    if (!hak_is_attached(t) && (!open || (t = hak_thread_attach()) == NULL))
        return NULL;
    return hak_thread_heap(t, hak_loaded_of(box), open);
}

__attribute__((format(printf, 3, 4))) static void
host_log(struct hak_box *box, enum hak_log_level level, const char *format, ...)
{
    static const char *const levels[] = {"", "warning: ", ""};
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    struct hak_loaded *b = hak_loaded_of(box);
    if (level == HAK_LOG_ERROR)
        hak_op_told();
    if (level == HAK_LOG_ERROR && box->state_now == HAK_BOX_LOADED)
        snprintf(b->said, sizeof b->said, "%.*s", (int)sizeof b->said - 1,
                 text); /* hak_box_load reports it */
    else
        hak_say("box %s: %s%s", box->name, levels[level % 3], text);
}

static const void *host_extension(const char *id)
{
    return hak_core.extension != NULL ? hak_core.extension(id) : NULL;
}

static void host_retired(struct hak_box *box, const struct hak_retire *record)
{
    struct hak_retire known;
    struct hak_loaded *b = hak_loaded_of(box);
    if (likely(!hak_modules_hear_of_pages()))
        return;
    if (likely(hak_abi_retire(&known, record)))
        hak_modules_tell_of_page(&known);
    else if (!__atomic_exchange_n(&b->now->told_retire, true, __ATOMIC_RELAXED))
        hak_say("box %s: its records for host->retired have %zu bytes, %zu are "
                "needed: the learner does not see this box; build them with "
                "struct_bytes = sizeof(struct hak_retire)",
                box->name, record->struct_bytes, HAK_ABI_RETIRE_LEAST);
}

static void host_read_only(struct hak_box *box, void *p, size_t size_bytes)
{
    if (box->state_now == HAK_BOX_LOADED)
        hak_os_read_only(p, hak_round_up(size_bytes, hak_os_page_bytes()));
}

static void *host_window_table(struct hak_box *box, uint32_t bits)
{
    return box->state_now == HAK_BOX_LOADED ? hak_directory_table(bits, box)
                                            : NULL;
}

static HAK_SEALED struct hak_host host = {
    .struct_size = sizeof(struct hak_host),
    .abi_major = HAK_ABI_MAJOR,
    .abi_minor = HAK_ABI_MINOR,
    .map = host_map,
    .unmap = host_unmap,
    .purge = host_purge,
    .remap = host_remap,
    .meta = host_meta,
    .span_set = host_span_set,
    .span_of = host_span_of,
    .lane_drop = host_lane_drop,
    .heap = host_heap,
    .now_ms = hak_os_now_ms,
    .purge_delay_ms = hak_space_purge_delay_ms,
    .random = hak_random,
    .log = host_log,
    .get_extension = host_extension,
    .retired = host_retired,
    .reserve = host_reserve,
    .unreserve = host_unreserve,
    .open_pages = host_open_pages,
    .close_pages = host_close_pages,
    .meta_guarded = host_meta_guarded,
    .granule_bytes = HAK_GRANULE_BYTES,
    .lanes = HAK_LANES,
    .read_only = host_read_only,
    .ncpus = hak_os_ncpus,
    .nmappings = hak_os_nmappings,
    .window_table = host_window_table,
};

const struct hak_host *hak_host_table(void)
{
    if (host.os_page_bytes != 0)
        return &host; /* filled in at start, and sealed */
    host.os_page_bytes = hak_os_page_bytes();
    host.window_base = hak_directory.base;
    host.window_bytes = hak_directory.limit_real << HAK_GRANULE_SHIFT;
    return &host;
}

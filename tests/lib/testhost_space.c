/* SPDX-License-Identifier: MIT
 * testhost_space.c - window, mappings and the record of slots.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <kit/span.h>

#include "testhost_private.h"

enum { JUNK = 0xa5, JUNK_BYTES = 4 << 20 };

static uint64_t fail_at; /* 0 never, 1 from the next request on */
static bool purge_keeps, no_junk;

/* ---- bits -------------------------------------------------------------- */

/* Sets (or clears) n bits from `at`; returns whether any was set before. */
static bool bits_change(uint64_t *bits, size_t at, size_t n, bool set)
{
    bool any = false;
    while (n) {
        size_t shift = at & 63, take = 64 - shift < n ? 64 - shift : n;
        uint64_t mask = (take == 64 ? ~0ull : (1ull << take) - 1) << shift;
        uint64_t *word = &bits[at >> 6];
        uint64_t old = set ? __atomic_fetch_or(word, mask, __ATOMIC_ACQ_REL)
                           : __atomic_fetch_and(word, ~mask, __ATOMIC_ACQ_REL);
        any |= (old & mask) != 0;
        at += take;
        n -= take;
    }
    return any;
}

/* First set bit in [at, end), or end. */
size_t th_bits_find(const uint64_t *bits, size_t at, size_t end)
{
    while (at < end) {
        uint64_t word = __atomic_load_n(&bits[at >> 6], __ATOMIC_ACQUIRE);
        word >>= at & 63;
        if (word) {
            at += (size_t)__builtin_ctzll(word);
            return at < end ? at : end;
        }
        at = (at | 63) + 1;
    }
    return end;
}

/* ---- start ------------------------------------------------------------- */

void *th_reserve(size_t bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool start_with(size_t bytes)
{
    struct {
        void *at;
        size_t bytes;
    } part[] = {
        {NULL, bytes + HAK_GRANULE_BYTES},
        {NULL, bytes / HAK_GRANULE_BYTES * sizeof(struct granule)},
        {NULL, bytes / UNIT / 8},
        {NULL, bytes / UNIT / 8},
        {NULL, bytes / UNIT / 8},
        {NULL, bytes / UNIT / 8},
        {NULL, bytes / PAGE / 8},
        {NULL, bytes / PAGE / 8},
        {NULL, bytes},
    };
    size_t n = sizeof part / sizeof part[0];
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        part[i].at =
            th_reserve(part[i].bytes, i ? PROT_READ | PROT_WRITE : PROT_NONE);
        good = part[i].at != NULL;
    }
    for (size_t i = 0; i < n && !good; i++)
        if (part[i].at)
            munmap(part[i].at, part[i].bytes);
    if (!good)
        return false;
    th.window = ((uintptr_t)part[0].at + HAK_GRANULE_BYTES - 1) &
                ~(HAK_GRANULE_BYTES - 1);
    th.dir = part[1].at;
    th.out_bits = part[2].at;
    th.first_bits = part[3].at;
    th.last_bits = part[4].at;
    th.test_bits = part[5].at;
    th.span_pages = part[6].at;
    th.open_pages = part[7].at;
    th.meta = part[8].at;
    th.window_bytes = bytes;
    return true;
}

void th_start(void)
{
    for (size_t gib = 64; gib && !th.dir; gib /= 2)
        start_with(gib << 30);
    if (!th.dir && !start_with(128u << 20))
        th_die(NULL, "no address space for a window");
}

/* ---- checks ------------------------------------------------------------ */

bool th_holds(const struct hak_box *box, const void *p, size_t bytes)
{
    const char *end = (const char *)p + bytes - 1;
    if (!bytes || end < (const char *)p || !in_window(p) || !in_window(end))
        return false;
    for (size_t g = granule_of(p); g <= granule_of(end); g++)
        if (__atomic_load_n(&th.dir[g].box, __ATOMIC_ACQUIRE) != box)
            return false;
    return true;
}

/* Dies unless all granules of [p, p + bytes) are reserved, or none is. */
static void need_reserved(const struct hak_box *box, const char *what,
                          const void *p, size_t bytes, bool reserved)
{
    size_t g = granule_of(p), end = granule_of((const char *)p + bytes - 1);
    for (; g <= end; g++)
        if (th.dir[g].reserved != reserved)
            th_die(box, "%s(%p, %zu): %s reserved", what, p, bytes,
                   reserved ? "not" : "it is");
}

/* Dies unless [p, p + bytes) is whole pages, or granules, of the box. */
static void need_own(const struct hak_box *box, const char *what, const void *p,
                     size_t bytes, size_t unit_bytes)
{
    th_need_box(box);
    if ((uintptr_t)p % unit_bytes || bytes % unit_bytes || !bytes)
        th_die(box, "%s(%p, %zu): not whole %s", what, p, bytes,
               unit_bytes == PAGE ? "pages" : "granules");
    if (!th_holds(box, p, bytes))
        th_die(box, "%s(%p, %zu): not this box's", what, p, bytes);
}

/* Dies unless [p, p + bytes) is granules that box has mapped. */
static void need_mapping(const struct hak_box *box, const char *what,
                         const void *p, size_t bytes)
{
    need_own(box, what, p, bytes, HAK_GRANULE_BYTES);
    need_reserved(box, what, p, bytes, false);
}

/* Dies when memory about to lose its content is still needed. */
static void need_unused(const struct hak_box *box, const char *what,
                        const void *p, size_t bytes)
{
    size_t unit = unit_of(p), page = page_of(p);
    size_t hit = th_bits_find(th.out_bits, unit, unit + bytes / UNIT);
    if (hit != unit + bytes / UNIT)
        th_die(box, "%s(%p, %zu): the slot at %p is out", what, p, bytes,
               at_unit(hit));
    hit = th_bits_find(th.span_pages, page, page + bytes / PAGE);
    if (hit != page + bytes / PAGE)
        th_die(box, "%s(%p, %zu): holds a registered span, at page %p", what, p,
               bytes, (void *)(th.window + hit * PAGE));
}

static bool lists_slot_of(const struct hak_span *span, const char *p,
                          size_t bytes)
{
    const char *at = span->local;
    for (; at; at = hak_slot_next(at, span->key))
        if ((size_t)(at - p) < bytes)
            return true;
    return false;
}

/*
 * Dies when a lane could still take slots of granules that their span is about
 * to lose. Another thread's list cannot be looked at.
 */
static void need_no_lane(const struct hak_box *box, const char *what, void *p,
                         size_t bytes, const struct hak_span *but)
{
    size_t g = granule_of(p), end = g + bytes / HAK_GRANULE_BYTES;
    for (; g < end; g++) {
        const struct hak_span *span = th.dir[g].span;
        if (span && span != but && span->lane_last && span->owner == th_me &&
            lists_slot_of(span, p, bytes))
            th_die(box, "%s(%p, %zu): no lane_drop of its span before", what, p,
                   bytes);
    }
}

/* ---- mappings ---------------------------------------------------------- */

static bool request_fails(void)
{
    count(&th.counts.requests);
    if (fail_at != 1) {
        fail_at -= fail_at > 1;
        return false;
    }
    count(&th.counts.refused);
    return true;
}

/* What was there is gone. */
static void map_anew(void *p, size_t bytes, int prot)
{
    int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (mmap(p, bytes, prot, fixed, -1, 0) == MAP_FAILED)
        th_die(NULL, "the system refuses %zu bytes: errno %d", bytes, errno);
}

static void count_mapped(struct hak_box *box, size_t more_bytes)
{
    th.counts.mapped_bytes += more_bytes;
    th.boxes[box->index].mapped += more_bytes;
    if (th.counts.mapped_bytes > th.counts.peak_bytes)
        th.counts.peak_bytes = th.counts.mapped_bytes;
}

/* First run of free granules, or SIZE_MAX. */
static size_t find_run(size_t n, size_t align)
{
    size_t base = th.window >> HAK_GRANULE_SHIFT,
           end = th.window_bytes / HAK_GRANULE_BYTES;
    for (size_t g = 0; g + n <= end;) {
        size_t up = ((base + g + align - 1) & ~(align - 1)) - base, i = 0;
        while (i < n && up + n <= end && !th.dir[up + i].box)
            i++;
        if (i == n)
            return up;
        g = up + i + 1;
    }
    return SIZE_MAX;
}

/* Free granules become the box's; NULL = none. */
static void *take_granules(struct hak_box *box, size_t bytes, size_t align,
                           bool reserved)
{
    size_t n = bytes / HAK_GRANULE_BYTES;
    size_t g = find_run(n, align / HAK_GRANULE_BYTES);
    if (g == SIZE_MAX) {
        count(&th.counts.refused);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        th.dir[g + i].reserved = reserved;
        __atomic_store_n(&th.dir[g + i].box, box, __ATOMIC_RELEASE);
    }
    if (g + n > th.top)
        __atomic_store_n(&th.top, g + n, __ATOMIC_RELAXED);
    return at_granule(g);
}

static void set_span(size_t g, struct hak_span *span)
{
    __atomic_store_n(&th.dir[g].span, span, __ATOMIC_RELEASE);
}

static void drop_granules(void *p, size_t bytes)
{
    size_t g = granule_of(p), n = bytes / HAK_GRANULE_BYTES;
    for (size_t i = 0; i < n; i++) {
        set_span(g + i, NULL);
        __atomic_store_n(&th.dir[g + i].box, NULL, __ATOMIC_RELEASE);
        th.dir[g + i].reserved = false;
    }
}

static void *take_run(struct hak_box *box, size_t bytes, size_t align)
{
    void *p = take_granules(box, bytes, align, false);
    if (!p)
        return NULL;
    map_anew(p, bytes, PROT_READ | PROT_WRITE);
    count_mapped(box, bytes);
    return p;
}

static void drop_run(struct hak_box *box, void *p, size_t bytes)
{
    drop_granules(p, bytes);
    map_anew(p, bytes, PROT_NONE); /* a late touch faults */
    count_mapped(box, -bytes);
}

/* Content is unspecified without HAK_MAP_ZERO, so make it unpleasant. */
static void fill_junk(char *p, size_t bytes)
{
    if (bytes <= JUNK_BYTES) {
        memset(p, JUNK, bytes);
        return;
    }
    for (size_t at = 0; at < bytes; at += HAK_GRANULE_BYTES)
        memset(p + at, JUNK, 64);
}

/* The core tells of a false claim and asks that box no more; we stop. */
static void need_unclaimed(const struct hak_box *box, const void *p)
{
    for (uint32_t i = 0; i < th.nboxes; i++) {
        struct hak_box *b = &th.boxes[i].box;
        if (b != box && b->state_now != HAK_BOX_LOADED && b->ops->owns(b, p))
            th_die(b, "owns() claims %p, which was mapped for box %s", p,
                   box->name);
    }
}

/* Dies unless a box may ask for that much. Returns the alignment. */
static size_t need_sizes(struct hak_box *box, const char *what, size_t bytes,
                         size_t align_bytes)
{
    size_t align = align_bytes ? align_bytes : HAK_GRANULE_BYTES;
    th_need_box(box);
    if (!bytes || bytes % HAK_GRANULE_BYTES)
        th_die(box, "%s(%zu): not whole granules", what, bytes);
    if (align % HAK_GRANULE_BYTES || (align & (align - 1)))
        th_die(box, "%s: align %zu is no power of two of granules", what,
               align);
    return align;
}

void *th_map(struct hak_box *box, size_t size_bytes, size_t align_bytes,
             uint32_t flags)
{
    size_t align = need_sizes(box, "map", size_bytes, align_bytes);
    if (flags & ~(uint32_t)(HAK_MAP_ZERO | HAK_MAP_HUGE))
        th_die(box, "map: unknown flags 0x%x", flags);
    pthread_mutex_lock(&th.lock);
    void *p = request_fails() ? NULL : take_run(box, size_bytes, align);
    th.counts.maps += p != NULL;
    pthread_mutex_unlock(&th.lock);
    if (p)
        need_unclaimed(box, p);
    if (p && !(flags & HAK_MAP_ZERO) && !no_junk)
        fill_junk(p, size_bytes);
    return p;
}

void th_unmap(struct hak_box *box, void *p, size_t size_bytes)
{
    pthread_mutex_lock(&th.lock);
    need_mapping(box, "unmap", p, size_bytes);
    need_unused(box, "unmap", p, size_bytes);
    need_no_lane(box, "unmap", p, size_bytes, NULL);
    drop_run(box, p, size_bytes);
    th.counts.unmaps++;
    pthread_mutex_unlock(&th.lock);
}

int th_purge(struct hak_box *box, void *p, size_t size_bytes)
{
    need_own(box, "purge", p, size_bytes, PAGE);
    need_unused(box, "purge", p, size_bytes);
    count(&th.counts.purges);
    if (purge_keeps)
        return -EINVAL;
    return madvise(p, size_bytes, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* ---- reserved granules ---- */

void *th_reserve_granules(struct hak_box *box, size_t size_bytes,
                          size_t align_bytes)
{
    size_t align = need_sizes(box, "reserve", size_bytes, align_bytes);
    pthread_mutex_lock(&th.lock);
    void *p =
        request_fails() ? NULL : take_granules(box, size_bytes, align, true);
    th.counts.maps += p != NULL;
    pthread_mutex_unlock(&th.lock);
    if (p)
        need_unclaimed(box, p);
    return p;
}

/* Dies unless these are pages that the box has reserved. */
static void need_pages(struct hak_box *box, const char *what, const void *p,
                       size_t bytes)
{
    need_own(box, what, p, bytes, PAGE);
    need_reserved(box, what, p, bytes, true);
}

static void need_closed(struct hak_box *box, const char *what, const void *p,
                        size_t bytes)
{
    size_t page = page_of(p), end = page + bytes / PAGE;
    size_t hit = th_bits_find(th.open_pages, page, end);
    if (hit != end)
        th_die(box, "%s(%p, %zu): the page at %p is open", what, p, bytes,
               (void *)(th.window + hit * PAGE));
}

void th_unreserve(struct hak_box *box, void *p, size_t size_bytes)
{
    pthread_mutex_lock(&th.lock);
    need_own(box, "unreserve", p, size_bytes, HAK_GRANULE_BYTES);
    need_reserved(box, "unreserve", p, size_bytes, true);
    need_closed(box, "unreserve", p, size_bytes);
    drop_granules(p, size_bytes);
    th.counts.unmaps++;
    pthread_mutex_unlock(&th.lock);
}

int th_open_pages(struct hak_box *box, void *p, size_t size_bytes,
                  uint32_t flags)
{
    if (flags & ~(uint32_t)HAK_OPEN_NOW)
        th_die(box, "open_pages: unknown flags 0x%x", flags);
    pthread_mutex_lock(&th.lock);
    need_pages(box, "open_pages", p, size_bytes);
    need_closed(box, "open_pages", p, size_bytes);
    bool refused = request_fails();
    if (!refused) {
        map_anew(p, size_bytes, PROT_READ | PROT_WRITE);
        bits_change(th.open_pages, page_of(p), size_bytes / PAGE, true);
        count_mapped(box, size_bytes);
    }
    pthread_mutex_unlock(&th.lock);
    return refused ? -ENOMEM : 0;
}

bool th_close_pages(struct hak_box *box, void *p, size_t size_bytes)
{
    size_t page = page_of(p), end = page + size_bytes / PAGE;
    pthread_mutex_lock(&th.lock);
    need_pages(box, "close_pages", p, size_bytes);
    need_unused(box, "close_pages", p, size_bytes);
    for (; page < end; page++)
        if (!bits_change(th.open_pages, page, 1, false))
            th_die(box, "close_pages(%p, %zu): the page at %p is closed", p,
                   size_bytes, (void *)(th.window + page * PAGE));
    map_anew(p, size_bytes, PROT_NONE);
    count_mapped(box, -size_bytes);
    pthread_mutex_unlock(&th.lock);
    return true;
}

/* A growing mapping always moves here: the box must cope with it. */
static void *remap_locked(struct hak_box *box, void *p, size_t old_bytes,
                          size_t new_bytes)
{
    size_t next = granule_of(p) + old_bytes / HAK_GRANULE_BYTES;
    need_mapping(box, "remap", p, old_bytes);
    for (size_t g = granule_of(p); g < next; g++) /* slow frees again */
        set_span(g, NULL);
    if (new_bytes < old_bytes) {
        char *tail = (char *)p + new_bytes;
        need_unused(box, "remap", tail, old_bytes - new_bytes);
        drop_run(box, tail, old_bytes - new_bytes);
    }
    if (new_bytes <= old_bytes)
        return p;
    need_unused(box, "remap", p, old_bytes);
    void *moved = take_run(box, new_bytes, HAK_GRANULE_BYTES);
    if (moved) {
        memcpy(moved, p, old_bytes);
        drop_run(box, p, old_bytes);
    }
    return moved;
}

void *th_remap(struct hak_box *box, void *p, size_t old_bytes, size_t new_bytes)
{
    th_need_box(box);
    if (!new_bytes || new_bytes % HAK_GRANULE_BYTES)
        th_die(box, "remap to %zu: not whole granules", new_bytes);
    pthread_mutex_lock(&th.lock);
    void *moved =
        request_fails() ? NULL : remap_locked(box, p, old_bytes, new_bytes);
    th.counts.remaps += moved != NULL;
    pthread_mutex_unlock(&th.lock);
    return moved;
}

void *th_meta(struct hak_box *box, size_t size_bytes)
{
    th_need_box(box);
    if (!size_bytes)
        th_die(box, "meta(0)");
    size_t bytes = (size_bytes + 63) & ~(size_t)63;
    void *p = NULL;
    pthread_mutex_lock(&th.lock);
    if (!request_fails() && bytes >= size_bytes &&
        bytes <= th.window_bytes - th.meta_used) {
        p = th.meta + th.meta_used;
        th.meta_used += bytes;
        th.counts.metas++;
        th.counts.meta_bytes = th.meta_used;
    }
    pthread_mutex_unlock(&th.lock);
    return p;
}

void *th_meta_guarded(struct hak_box *box, size_t size_bytes)
{
    size_t body = (size_bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    char *p = th_meta(box, size_bytes ? body + 3 * PAGE : 0);
    if (!p)
        return NULL;
    p += -(uintptr_t)p % PAGE;
    map_anew(p, PAGE, PROT_NONE);
    map_anew(p + PAGE + body, PAGE, PROT_NONE);
    return p + PAGE;
}

/* ---- spans ------------------------------------------------------------- */

static void need_span(struct hak_box *box, struct hak_span *span)
{
    if (span->box != box)
        th_die(box, "span_set: span %p has box %p", (void *)span,
               (void *)span->box);
    bool in_use = span->owner && span->owner == th_me; /* gets more slots */
    if (!in_use && (span->lane_first || span->lane_last))
        th_die(box, "span_set: lane_first or lane_last of span %p is not 0",
               (void *)span);
    if ((uintptr_t)span - (uintptr_t)th.meta < th.meta_used)
        return;
    if (!th_holds(box, span, sizeof *span))
        th_die(box, "span_set: span %p is neither in meta nor in a mapping",
               (void *)span);
    size_t end = page_of((char *)span + sizeof *span - 1);
    bits_change(th.span_pages, page_of(span), end - page_of(span) + 1, true);
}

int th_span_set(struct hak_box *box, struct hak_span *span, void *p,
                size_t size_bytes)
{
    pthread_mutex_lock(&th.lock);
    need_mapping(box, "span_set", p, size_bytes);
    if (span)
        need_span(box, span);
    need_no_lane(box, "span_set", p, size_bytes, span);
    pthread_mutex_unlock(&th.lock);
    if (!box->lanes) /* the directory then has slow frees only */
        return 0;
    for (size_t i = 0; i < size_bytes / HAK_GRANULE_BYTES; i++)
        set_span(granule_of(p) + i, span);
    return 0;
}

/* ---- slots ------------------------------------------------------------- */

void th_need_open(const struct hak_box *box, const char *p, size_t bytes)
{
    size_t page = page_of(p), end = page_of(p + bytes - 1) + 1;
    if (!th.dir[granule_of(p)].reserved)
        return;
    for (; page < end; page++)
        if (!bit(th.open_pages, page))
            th_die(box, "slot %p of %zu bytes is on pages that are closed",
                   (const void *)p, bytes);
}

void th_record_out(struct hak_box *box, void *p, size_t bytes)
{
    size_t unit = unit_of(p), n = (bytes + UNIT - 1) / UNIT;
    if (th_is_far(box, p)) {
        th_far_out(box, p, bytes);
        return;
    }
    th_need_open(box, p, bytes);
    if (bits_change(th.out_bits, unit, n, true))
        th_die(box, "slot %p of %zu bytes overlaps one that is out", p, bytes);
    bits_change(th.first_bits, unit, 1, true);
    bits_change(th.last_bits, unit + n - 1, 1, true);
    __atomic_fetch_add(&th.boxes[box->index].out, 1, __ATOMIC_RELAXED);
}

/* Forgets the slot at p; returns its bytes. */
size_t th_record_in(struct hak_box *box, void *p)
{
    size_t unit = unit_of(p);
    if (th_is_far(box, p))
        return th_far_in(box, p);
    if (!bit(th.first_bits, unit))
        th_die(box, "%p is no slot that is out", p);
    size_t n =
        th_bits_find(th.last_bits, unit, th.window_bytes / UNIT) - unit + 1;
    bits_change(th.last_bits, unit + n - 1, 1, false);
    bits_change(th.first_bits, unit, 1, false);
    bits_change(th.out_bits, unit, n, false);
    __atomic_fetch_sub(&th.boxes[box->index].out, 1, __ATOMIC_RELAXED);
    return n * UNIT;
}

void th_record_test(struct hak_box *box, void *p, bool held)
{
    if (th_is_far(box, p))
        th_far_test(box, p, held);
    else if (bits_change(th.test_bits, unit_of(p), 1, held) == held)
        th_die(box, "%p: %s", p, held ? "handed out twice" : "freed twice");
    __atomic_fetch_add(&th.boxes[box->index].in_test, held ? 1 : (size_t)-1,
                       __ATOMIC_RELAXED);
}

size_t th_live(const struct hak_box *box, bool in_calls)
{
    const struct instance *b = &th.boxes[box->index];
    return __atomic_load_n(in_calls ? &b->out : &b->in_test, __ATOMIC_RELAXED);
}

/* ---- figures and faults ------------------------------------------------ */

size_t th_mapped(const struct hak_box *box)
{
    pthread_mutex_lock(&th.lock);
    size_t bytes = th.boxes[box->index].mapped;
    pthread_mutex_unlock(&th.lock);
    return bytes;
}

size_t th_resident(void)
{
    unsigned char pages[HAK_GRANULE_BYTES / PAGE];
    size_t n = 0;
    for (size_t g = 0; g < top(); g++) {
        if (!box_at(at_granule(g)) ||
            mincore(at_granule(g), HAK_GRANULE_BYTES, pages))
            continue;
        for (size_t i = 0; i < sizeof pages; i++)
            n += pages[i] & 1;
    }
    return n * PAGE;
}

void th_fail_at(uint64_t n)
{
    pthread_mutex_lock(&th.lock);
    fail_at = n;
    pthread_mutex_unlock(&th.lock);
}

void th_fail_never(void)
{
    th_fail_at(0);
}

void th_purge_keeps(bool keeps)
{
    purge_keeps = keeps;
}

void th_map_junk(bool junk)
{
    no_junk = !junk;
}

struct th_counts th_counts(void)
{
    pthread_mutex_lock(&th.lock);
    struct th_counts now = th.counts;
    pthread_mutex_unlock(&th.lock);
    return now;
}

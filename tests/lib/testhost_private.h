/* SPDX-License-Identifier: MIT
 * testhost_private.h - what the parts of the test host share.
 *
 *     testhost_load.c    entry, parameters, init
 *     testhost_slots.c   malloc and free: lanes, spans, headers
 *     testhost.c         host table, threads, fork
 *     testhost_space.c   window, mappings, the record of slots
 *     testhost_far.c     foreign boxes: the record of slots elsewhere
 *
 * Four records are kept, all outside the window:
 *   dir   a granule: which box maps it, which span the box registered
 *   bits  16 bytes of window: part of a slot that is out, its first unit,
 *         its last unit, and whether the test holds it. Each
 *         slot touches only bits of its own, so no lock is needed.
 *   span pages  OS pages with a registered span in them: they must stay
 *   open pages  OS pages of reserved granules that the box has opened
 *
 * Locks: the box's own, then `lock` (mappings, lists of threads).
 */
#ifndef HAK_TESTS_TESTHOST_PRIVATE_H
#define HAK_TESTS_TESTHOST_PRIVATE_H

#include "testhost.h"

enum { PAGE = 4096, UNIT = 16, HEADER = 16, MAX_PARAMS = 64 };

struct granule {
    struct hak_box *box;
    struct hak_span *span;
    bool reserved; /* its pages are closed until the box opens them */
};

struct instance {
    struct hak_box box;      /* first: a struct hak_box * is an instance * */
    struct hak_box_ops ops;  /* noted on their way to the box's own: */
    struct hak_box_ops real; /* testhost_calls.c */
    struct hak_box_entry entry;
    union hak_value params[MAX_PARAMS];
    size_t mapped, out, in_test;
    bool foreign, residual; /* slots outside of the window: foreign.h */
};

struct hak_thread {
    struct hak_thread *next;
    bool open[HAK_MAX_BOXES]; /* inside heap_open */
    void *heap[HAK_MAX_BOXES];
    struct hak_span *lane[HAK_MAX_BOXES][HAK_LANES];
};

struct th_state {
    struct instance boxes[HAK_MAX_BOXES];
    uint32_t nboxes;
    uintptr_t window;
    size_t window_bytes;
    size_t top; /* granules in use end here */
    struct granule *dir;
    uint64_t *out_bits, *first_bits, *last_bits, *test_bits, *span_pages;
    uint64_t *open_pages; /* of reserved granules */
    char *meta;
    size_t meta_used;
    pthread_mutex_t lock;
    struct th_counts counts;
};
extern struct th_state th;
extern __thread struct hak_thread *th_me;
extern __thread struct hak_thread *th_closing; /* inside heap_close */

__attribute__((noreturn, format(printf, 2, 3))) void
th_die(const struct hak_box *box, const char *format, ...);
/* Leaves the text for th_error() and returns code. */
__attribute__((format(printf, 2, 3))) int th_refuse(int code,
                                                    const char *format, ...);

/* ---- testhost_space.c -------------------------------------------------- */

void th_start(void);
void *th_reserve(size_t bytes, int prot); /* zero pages, or NULL */
void *th_map(struct hak_box *box, size_t size_bytes, size_t align_bytes,
             uint32_t flags);
void th_unmap(struct hak_box *box, void *p, size_t size_bytes);
/* b's operations, each noted when it is called. */
void th_note_calls(struct instance *b, const struct hak_box_ops *ops);
int th_purge(struct hak_box *box, void *p, size_t size_bytes);
void *th_remap(struct hak_box *box, void *p, size_t old_bytes,
               size_t new_bytes);
void *th_meta(struct hak_box *box, size_t size_bytes);
void *th_meta_guarded(struct hak_box *box, size_t size_bytes);
void *th_reserve_granules(struct hak_box *box, size_t size_bytes,
                          size_t align_bytes);
void th_unreserve(struct hak_box *box, void *p, size_t size_bytes);
int th_open_pages(struct hak_box *box, void *p, size_t size_bytes,
                  uint32_t flags);
bool th_close_pages(struct hak_box *box, void *p, size_t size_bytes);
int th_span_set(struct hak_box *box, struct hak_span *span, void *p,
                size_t size_bytes);
bool th_holds(const struct hak_box *box, const void *p, size_t bytes);
/* Dies when the slot is on pages that nobody can touch. */
void th_need_open(const struct hak_box *box, const char *p, size_t bytes);
size_t th_bits_find(const uint64_t *bits, size_t at, size_t end);

/* A slot goes out, comes in (returns its bytes), is the test's or not. */
void th_record_out(struct hak_box *box, void *p, size_t bytes);
size_t th_record_in(struct hak_box *box, void *p);
void th_record_test(struct hak_box *box, void *p, bool held);

/* ---- testhost_far.c ---------------------------------------------------- */

/*
 * Slots that are not in the window, of foreign boxes only. As the record
 * above, but by first address: overlaps show in what is written to them.
 */
int th_far_start(struct instance *b); /* after init; 0 or refused */
void th_far_out(struct hak_box *box, void *p, size_t bytes);
size_t th_far_in(struct hak_box *box, void *p);
void th_far_test(struct hak_box *box, void *p, bool held);
struct hak_box *th_far_box(const void *p, bool held); /* or NULL */
static inline bool th_is_far(const struct hak_box *box, const void *p);

/* ---- the rest ---------------------------------------------------------- */

void th_need_box(const struct hak_box *box);
void *th_heap(struct hak_box *box, bool open);
void th_lane_drop(struct hak_span *span); /* testhost_slots.c */

static inline void count(uint64_t *figure)
{
    __atomic_fetch_add(figure, 1, __ATOMIC_RELAXED);
}

static inline bool bit(const uint64_t *bits, size_t at)
{
    return th_bits_find(bits, at, at + 1) == at;
}

static inline bool in_window(const void *p)
{
    return th.dir && (uintptr_t)p - th.window < th.window_bytes;
}

static inline bool th_is_far(const struct hak_box *box, const void *p)
{
    return th.boxes[box->index].foreign && !in_window(p);
}

static inline size_t granule_of(const void *p)
{
    return ((uintptr_t)p - th.window) >> HAK_GRANULE_SHIFT;
}

static inline size_t unit_of(const void *p)
{
    return ((uintptr_t)p - th.window) / UNIT;
}

static inline size_t page_of(const void *p)
{
    return ((uintptr_t)p - th.window) / PAGE;
}

static inline void *at_granule(size_t g)
{
    return (void *)(th.window + (g << HAK_GRANULE_SHIFT));
}

static inline void *at_unit(size_t unit)
{
    return (void *)(th.window + unit * UNIT);
}

static inline struct hak_box *box_at(const void *p)
{
    if (!in_window(p))
        return th_far_box(p, false);
    return __atomic_load_n(&th.dir[granule_of(p)].box, __ATOMIC_ACQUIRE);
}

/* Granules from here on were never mapped. */
static inline size_t top(void)
{
    return __atomic_load_n(&th.top, __ATOMIC_RELAXED);
}

static inline struct hak_span *granule_span(size_t g)
{
    return __atomic_load_n(&th.dir[g].span, __ATOMIC_ACQUIRE);
}

static inline struct hak_span *span_at(const void *p)
{
    return in_window(p) ? granule_span(granule_of(p)) : NULL;
}

#endif

/* SPDX-License-Identifier: MIT
 * box_calls.c - calls operations of one box: headers, counts, verify.
 */
#include <core/malloc/box_calls.h>

#include <base/log.h>
#include <core/malloc/live.h>
#include <core/malloc/verify.h>
#include <core/state/directory.h>

#include <string.h>

/* Write a header into the slot at raw. Returns the caller's pointer behind it,
 * which is aligned to `align`. */
static void *write_header(char *raw, size_t align, size_t size)
{
    uintptr_t at =
        hak_round_up((uintptr_t)raw + sizeof(struct hak_header), align);
    *hak_header_of((void *)at) =
        (struct hak_header){.size_bytes = size, .offset = at - (uintptr_t)raw};
    return (void *)at;
}

static void count_alloc(struct hak_thread *t, struct hak_loaded *b, void *p)
{
    struct hak_counts *count = &t->count[b->box.index];
    hak_count(&count->allocs, 1);
    if (hak_box_counts_bytes(b))
        hak_count(&count->bytes_in, hak_box_usable(b, p));
}

/* p, which an operation of b without headers has returned, after the checks of
 * verify. */
static void *checked(struct hak_loaded *b, const char *operation, void *p,
                     size_t size)
{
    if (hak_verifies())
        hak_verify_slot(b, operation, p, size);
    return p;
}

static void *alloc_in_box(struct hak_loaded *b, size_t size, bool zero)
{
    if (unlikely(size == 0) && HAK_BOX_HAS(b, alloc_none))
        return checked(b, "alloc_none", hak_box_alloc_none(b), 0);
    size = size == 0 ? 1 : size;
    if (hak_box_header_bytes(b) != 0) {
        char *raw = hak_box_alloc(b, size + hak_box_header_bytes(b));
        if (raw == NULL)
            return NULL;
        if (hak_verifies()) /* before the header is written there */
            hak_verify_slot(b, "alloc", raw, size + hak_box_header_bytes(b));
        void *p = write_header(raw, HAK_ALIGN_BYTES, size);
        return zero ? memset(p, 0, size) : p;
    }
    if (zero && HAK_BOX_HAS(b, zalloc))
        return checked(b, "zalloc", hak_box_zalloc(b, size), size);
    void *p = checked(b, "alloc", hak_box_alloc(b, size), size);
    return p != NULL && zero ? memset(p, 0, hak_box_usable_size(b, p)) : p;
}

void *hak_from_box(struct hak_thread *t, struct hak_loaded *b, size_t size,
                   bool zero)
{
    hak_go_abroad(t, b);
    void *p = alloc_in_box(b, size, zero);
    hak_come_home(t, b);
    if (p != NULL)
        count_alloc(t, b, p);
    return p;
}

void hak_to_box(struct hak_loaded *b, void *p)
{
    struct hak_thread *t = hak_self;
    /* An unattached thread has no counts. A box with lanes counts frees in its
     * spans. */
    bool counts = hak_is_attached(t) && !hak_box_lanes(b);
    if (counts && hak_box_counts_bytes(b))
        hak_count(&t->count[b->box.index].bytes_out, hak_box_usable(b, p));
    if (hak_box_header_bytes(b) != 0)
        p = (char *)p - hak_header_of(p)->offset;
    if (hak_verifies())
        hak_live_leave(p);
    hak_go_abroad(t, b);
    hak_box_free(b, p);
    hak_come_home(t, b);
    if (counts) /* last: a box whose last block was counted may be closed */
        hak_count(&t->count[b->box.index].frees, 1);
}

/* An aligned block of a box with headers: request a larger slot, and place the
 * block inside it. */
static void *aligned_with_header(struct hak_loaded *b, size_t align,
                                 size_t size)
{
    size_t more = align + sizeof(struct hak_header);
    if (size > PTRDIFF_MAX - more)
        return NULL;
    char *raw = hak_box_alloc(b, size + more);
    if (hak_verifies())
        hak_verify_slot(b, "alloc", raw, size + more);
    return raw == NULL ? NULL : write_header(raw, align, size);
}

/* An aligned slot of a box without aligned_alloc: request the size rounded up
 * to the alignment, and keep the slot if it happens to be aligned. */
static void *aligned_by_luck(struct hak_loaded *b, size_t align, size_t size)
{
    if (size > PTRDIFF_MAX - align)
        return NULL;
    void *p = hak_box_alloc(b, hak_round_up(size, align));
    if (p == NULL || hak_is_aligned(p, align))
        return p;
    hak_box_free(b, p);
    return NULL;
}

static void *aligned_in_box(struct hak_loaded *b, size_t align, size_t size)
{
    if (HAK_BOX_HAS(b, aligned_alloc) && hak_box_header_bytes(b) == 0)
        return hak_box_aligned_alloc(b, align, size);
    if (hak_box_header_bytes(b) != 0)
        return aligned_with_header(b, align, size);
    return aligned_by_luck(b, align, size);
}

void *hak_from_box_aligned(struct hak_thread *t, struct hak_loaded *b,
                           size_t align, size_t size)
{
    hak_go_abroad(t, b);
    void *p = aligned_in_box(b, align, size);
    hak_come_home(t, b);
    if (hak_verifies() && hak_box_header_bytes(b) == 0)
        hak_verify_aligned(b, p, align, size);
    if (p != NULL)
        count_alloc(t, b, p);
    return p;
}

/* SPDX-License-Identifier: MIT
 * realloc.c - realloc's slow path: the box resizes, or the block is copied.
 */
#include <core/malloc/owner.h>

#include <core/malloc/box_calls.h>
#include <core/malloc/fast.h>
#include <core/malloc/live.h>
#include <core/malloc/sampled.h>
#include <core/malloc/short_way.h>
#include <core/malloc/tapped.h>
#include <core/malloc/verify.h>
#include <core/memory/boot.h>
#include <core/memory/libc.h>
#include <core/memory/other.h>

#include <errno.h>
#include <string.h>

/* Let box b resize p. had: usable bytes of p. NULL: it cannot, and p is
 * unchanged. */
static void *resize_in_box(struct hak_loaded *b, void *p, size_t had,
                           size_t size)
{
    if (b == NULL || !HAK_BOX_HAS(b, resize) || hak_box_header_bytes(b) != 0)
        return NULL;
    /* The new size has a route to another box, so b must not keep the block. */
    if (b->foreign && hak_chain_of(hak_index_of(size))->box[0] != b)
        return NULL;
    struct hak_thread *t = hak_self;
    hak_sample_forget(p);
    size_t entered = hak_verifies() ? hak_live_leave(p) : 0;
    hak_go_abroad(t, b);
    void *q = hak_box_resize(b, p, size);
    hak_come_home(t, b);
    if (hak_verifies() && q != NULL)
        hak_verify_slot(b, "resize", q, size);
    else if (hak_verifies())
        hak_live_enter(p, entered);
    if (q != NULL && hak_is_attached(t) && !hak_box_lanes(b) &&
        hak_box_counts_bytes(b)) {
        hak_count(&t->count[b->box.index].bytes_out, had);
        hak_count(&t->count[b->box.index].bytes_in, hak_box_usable(b, q));
    }
    if (q != NULL && hak_samples())
        hak_sampled_resized(q, size);
    return q;
}

/* Let the allocator that made p resize it; no box owns p. False: the caller
 * copies the block. */
static bool realloc_unowned(void *p, size_t size, void **out)
{
    if (hak_may_be_others(p) && hak_other_realloc(p, size, out))
        return true; /* never sampled */
    if (hak_core.mode == HAK_MODE_BOXES)
        return false;
    *out = hak_libc_realloc(p, size);
    return true;
}

/*
 * The owner of p is searched for only once, because the owns() walk may call
 * other libraries. A block with a span is freed by hak_free, which reads the
 * directory again, since its entry may have another span by then.
 */
void *hak_realloc_untold(void *p, size_t size)
{
    struct hak_span *span = NULL;
    struct hak_loaded *b = NULL;
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    void *q = hak_realloc_short(hak_self, p, size);
    if (q != NULL)
        return q;
    bool early = hak_boot_owns(p) || hak_self == &hak_forker;
    /* A sampled block may lie inside of its slot. It is copied. */
    size_t offset = early ? 0 : hak_sample_offset(p);
    const char *slot = (char *)p - offset;
    if (!early && hak_core.mode == HAK_MODE_BOXES)
        b = hak_owner_box(slot, &span);
    if (!early && b == NULL && offset == 0 && realloc_unowned(p, size, &q))
        return q;
    size_t have = early ? hak_usable("realloc", p)
                        : hak_usable_in("realloc", b, span, slot) - offset;
    bool keeps_requests = b != NULL && b->requests != NULL;
    if (!keeps_requests && hak_fits(have, size))
        return p;
    int kept = errno;
    q = offset == 0 ? resize_in_box(b, p, have, size) : NULL;
    errno = kept;
    if (q != NULL)
        return q;
    q = hak_malloc(size);
    if (q == NULL) {
        if (size > have)
            return NULL;
        if (keeps_requests)
            b->requests->asked(&b->box, p, size);
        else
            __atomic_store_n(&hak_shrunk_in_place, true, __ATOMIC_RELAXED);
        errno = kept;
        return p; /* shrinking does not fail: the slot stays too large */
    }
    memcpy(q, p, hak_min(have, size));
    if (early || span != NULL || b == NULL || hak_asks_frees())
        hak_free(p);
    else
        hak_to_box(b, p);
    errno = kept;
    return q;
}

void *hak_realloc_slow(void *p, size_t size)
{
    const struct hak_call_ops *tap = hak_tap_of(hak_self);
    return unlikely(tap != NULL) ? hak_tapped_realloc(tap, p, size)
                                 : hak_realloc_untold(p, size);
}

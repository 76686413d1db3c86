/* SPDX-License-Identifier: MIT
 * owner.c - finds the box that owns a pointer, and the size of its slot.
 *
 * The directory names the owner, else the owns() walk does. A pointer that no
 * box owns belongs to libc or to another allocator.
 */
#include <core/malloc/owner.h>

#include <base/log.h>
#include <core/box/walk.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/sampled.h>
#include <core/memory/boot.h>
#include <core/memory/libc.h>
#include <core/memory/other.h>
#include <core/state/directory.h>

/* The residual box, if p, which no other box owns, can be its; NULL: p is
 * libc's or nobody's. */
static struct hak_loaded *residual_owner(const void *p)
{
    struct hak_loaded *b = hak_boxes.residual;
    if (likely(b == NULL) || hak_directory_in_window(p) || hak_libc_owns(p))
        return NULL;
    return b;
}

struct hak_loaded *hak_owner_box(const void *p, struct hak_span **span)
{
    *span = hak_directory_get(p);
    struct hak_loaded *named =
        *span == NULL ? NULL : hak_loaded_of((*span)->box);
    if (named != NULL && !hak_verifies() &&
        hak_free_route() == HAK_FREE_DIRECTORY)
        return named;
    struct hak_loaded *walked = hak_walk(p);
    if (named != NULL && named->now->untrusted)
        return named;
    if (hak_verifies() && named != NULL && named != walked)
        hak_die("verify: the directory says that %p is box %s's, the owns() "
                "walk says %s; one of their owns() is wrong",
                p, named->box.name, walked ? walked->box.name : "nobody's");
    return walked != NULL || named != NULL ? walked : residual_owner(p);
}

bool hak_may_be_others(const void *p)
{
    return !hak_libc_may_own(p) && !hak_directory_in_window(p);
}

void hak_expect_libc(const char *call, const void *p)
{
    if (hak_core.mode != HAK_MODE_BOXES || hak_libc_may_own(p))
        return;
    if (hak_directory_in_window(p))
        hak_die("%s(%p): that memory belongs to no box: given back, or never "
                "handed out",
                call, p);
    hak_die("%s(%p): no box and not libc gave out this pointer%s", call, p,
            hak_verifies() ? ""
                           : " ([core] verify = yes tells if a box did all "
                             "the same)");
}

static size_t usable_unowned(const char *call, void *p)
{
    size_t usable;
    if (hak_may_be_others(p) && hak_other_usable(p, &usable))
        return usable;
    hak_expect_libc(call, p);
    return hak_libc_usable(p);
}

/* A usable_size of 0 means that p is not live, unless the box has slots of no
 * bytes (alloc_none) or is foreign. */
size_t hak_usable_in(const char *call, const struct hak_loaded *b,
                     const struct hak_span *span, const void *p)
{
    if (span != NULL && span->slot_bytes != 0 && hak_span_looks_live(span, p))
        return span->slot_bytes;
    if (b == NULL)
        return usable_unowned(call, (void *)(uintptr_t)p);
    size_t usable = hak_box_usable(b, p);
    if (unlikely(usable == 0) && hak_box_header_bytes(b) == 0 && !b->foreign &&
        !HAK_BOX_HAS(b, alloc_none))
        hak_die("%s(%p): not a live slot of box %s: freed, or not the start "
                "of one",
                call, p, b->box.name);
    return usable;
}

size_t hak_usable(const char *call, const void *p)
{
    struct hak_span *span = hak_directory_get(p);
    if (likely(span != NULL && span->slot_bytes != 0 &&
               hak_span_looks_live(span, p)))
        return span->slot_bytes;
    if (hak_boot_owns(p))
        return hak_boot_usable(p);
    size_t offset = hak_sample_offset(p);
    if (unlikely(offset != 0))
        return hak_usable(call, (const char *)p - offset) - offset;
    struct hak_loaded *b =
        hak_core.mode == HAK_MODE_BOXES ? hak_owner_box(p, &span) : NULL;
    return hak_usable_in(call, b, span, p);
}

bool hak_shrunk_in_place;

/* May a block that was requested with `asked` bytes be freed with `size` bytes?
 * new and posix_memalign turn a request of 0 bytes into one of 1. */
static bool is_request(size_t asked, size_t size)
{
    return size == asked || (size == 0 && asked == 1);
}

/*
 * A slot may be larger than its request for three reasons: its size class, its
 * alignment, or a realloc that left it in place (hak_fits: the request is at
 * least half of it, or it has up to 64 bytes; any size once hak_shrunk_in_place
 * is set). Only for a box with hak.requests/1 is the size known to the byte.
 */
void hak_expect_size(const char *call, const void *p, size_t align, size_t size)
{
    if (p == NULL || hak_core.mode != HAK_MODE_BOXES || hak_boot_owns(p))
        return;
    struct hak_span *span = hak_directory_get(p);
    struct hak_loaded *b = span != NULL ? hak_loaded_of(span->box) : NULL;
    if (b == NULL)
        return; /* free() checks such a pointer */
    size_t usable = hak_usable(call, p), least = usable;
    if (b->requests != NULL) {
        if (!is_request(usable, size) || !hak_is_aligned(p, align))
            hak_die("%s(%p, %zu): that block of box %s was asked for with %zu "
                    "bytes",
                    call, p, size, b->box.name, usable);
        return;
    }
    if (align <= HAK_ALIGN_BYTES && HAK_BOX_HAS(b, slot_size))
        least = hak_box_slot_size(b, size);
    if (size <= usable &&
        (usable <= 64 || size >= usable / 2 || least >= usable / 2 ||
         least == 0 || __atomic_load_n(&hak_shrunk_in_place, __ATOMIC_RELAXED)))
        return;
    hak_die("%s(%p, %zu): that slot of box %s has %zu bytes, of another "
            "request",
            call, p, size, b->box.name, usable);
}

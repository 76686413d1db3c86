/* SPDX-License-Identifier: MIT
 * api.c - the functions of hakmem.h, and the statistics functions of the malloc
 * family.
 */
#include <base/export.h>
#include <base/log.h>
#include <core/box/modules.h>
#include <core/box/walk.h>
#include <core/malloc/fast.h>
#include <core/malloc/sampled.h>
#include <core/memory/space.h>
#include <core/state/ops.h>
#include <hakmem/version.h>
#include <hakmem/module.h>
#include <report/report.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>
#include <string.h>

HAK_EXPORT const char *hak_version(void)
{
    return HAK_VERSION;
}

HAK_EXPORT int hak_report(int fd, bool json)
{
    return hak_report_write(fd, json);
}

HAK_EXPORT int hak_stats(const char *box, struct hak_stats *out)
{
    struct hak_loaded *b = hak_box_named(box);
    if (b == NULL)
        return -ENOENT;
    if (hak_is_forking())
        return -EAGAIN;
    hak_figures(b, out);
    return 0;
}

HAK_EXPORT int hak_route(const char *range, const char *route)
{
    if (!hak_routes_may_change())
        return -ENOTSUP;
    if (hak_core.mode != HAK_MODE_BOXES)
        return -ENOSYS;
    if (hak_is_forking())
        return -EAGAIN;
    return hak_core.changes->route(range, route, NULL, 0);
}

HAK_EXPORT int hak_drain(const char *box)
{
    if (!hak_routes_may_change())
        return -ENOTSUP;
    if (hak_is_forking())
        return -EAGAIN;
    return hak_core.changes->drain(box, NULL, 0);
}

HAK_EXPORT const char *hak_owner(const void *p)
{
    const struct hak_span *span = hak_directory_get(p);
    if (span != NULL)
        return span->box->name;
    const struct hak_loaded *b = hak_walk(p);
    return b != NULL ? b->box.name : NULL;
}

/* The box of p if it keeps requests, or NULL. */
static struct hak_loaded *keeper_of(const void *p)
{
    const struct hak_span *span = hak_directory_get(p);
    struct hak_loaded *b = span != NULL ? hak_loaded_of(span->box) : NULL;
    return b != NULL && b->requests != NULL ? b : NULL;
}

HAK_EXPORT void hak_new_is(void *p, uint32_t kind, size_t size)
{
    struct hak_loaded *b = keeper_of(p);
    if (b == NULL)
        return;
    if (hak_box_usable_size(b, p) > size)
        b->requests->asked(&b->box, p, size);
    if (kind != HAK_NEW_ANY)
        b->requests->mark(&b->box, p, kind);
}

/* Abort if block p was not made for this kind. Clears the mark of p, so that p
 * may be freed. */
static void expect_maker(struct hak_loaded *b, void *p, uint32_t kind)
{
    static const char *const maker[] = {"malloc", "operator new",
                                        "operator new[]", "nobody"};
    uint32_t was = b->requests->mark(&b->box, p, 0);
    if (was != kind)
        hak_die("operator delete%s(%p): that block of box %s came from %s",
                kind == HAK_NEW_ARRAY ? "[]" : "", p, b->box.name,
                maker[was % 4]);
}

/*
 * Abort if a block of new cannot have been a request of `size` bytes. Blocks of
 * new are never resized, so a small one is in a slot of exactly slot_size(size)
 * bytes. This does not hold for larger blocks, which may come from a cache, nor
 * for aligned ones, for which the core asks for more.
 */
static void expect_class(struct hak_loaded *b, const void *p, size_t size)
{
    if (!HAK_BOX_HAS(b, slot_size) || hak_box_header_bytes(b) != 0 ||
        hak_sample_offset(p) != 0)
        return;
    size_t usable = hak_usable("operator delete", p);
    if (usable <= HAK_SMALL_MAX_BYTES &&
        hak_box_slot_size(b, size) != hak_box_slot_size(b, usable))
        hak_die("operator delete(%p, %zu): that slot of box %s has %zu "
                "bytes, of another request",
                p, size, b->box.name, usable);
}

HAK_EXPORT void hak_delete(void *p, uint32_t kind, size_t align, size_t size)
{
    const struct hak_span *span = hak_directory_get(p);
    struct hak_loaded *b = span != NULL ? hak_loaded_of(span->box) : NULL;
    if (size != HAK_SIZE_UNKNOWN) {
        size = hak_max(size, 1); /* new asks for 1 byte in place of 0 */
        hak_expect_size("operator delete", p, align, size);
        if (b != NULL && b->requests == NULL && align == 0)
            expect_class(b, p, size);
    }
    if (b != NULL && b->requests != NULL && kind != HAK_NEW_ANY)
        expect_maker(b, p, kind);
    hak_free(p);
}

HAK_EXPORT int hak_learner(struct hak_learner_figures *out)
{
    const struct hak_learner_1 *learner = hak_modules_extension(HAK_LEARNER_1);
    if (!hak_routes_may_change())
        return -ENODATA;
    if (hak_core.mode != HAK_MODE_BOXES)
        return -ENOSYS;
    if (hak_is_forking())
        return -EAGAIN;
    return learner != NULL ? learner->read(out) : -ENODATA;
}

HAK_EXPORT size_t hak_trim(void)
{
    if (hak_core.mode != HAK_MODE_BOXES || hak_is_forking())
        return 0;
    return hak_trim_all();
}

/* ---- malloc_trim, malloc_stats, malloc_info, mallinfo, mallopt ---- */

HAK_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return hak_trim() != 0;
}

HAK_EXPORT void malloc_stats(void)
{
    hak_report_write(STDERR_FILENO, false);
}

static void sum_of_boxes(struct hak_stats *sum)
{
    *sum = (struct hak_stats){0};
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        struct hak_stats s;
        if (b == &hak_vacant)
            continue;
        hak_figures(b, &s);
        sum->live_count += s.live_count;
        sum->live_bytes += s.live_bytes;
        sum->mapped_bytes += s.mapped_bytes;
        sum->mapped_peak_bytes += s.mapped_peak_bytes;
    }
}

HAK_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct hak_stats s;
    struct hak_space_figures f;
    if (hak_is_forking())
        return (struct mallinfo2){0};
    sum_of_boxes(&s);
    hak_space_read(&f);
    return (struct mallinfo2){
        .arena = f.used_bytes,                  /* held by boxes */
        .uordblks = s.live_bytes,               /* in live blocks */
        .fordblks = f.used_bytes > s.live_bytes /* free inside boxes */
                        ? f.used_bytes - s.live_bytes
                        : 0,
        .keepcost = f.free_bytes, /* malloc_trim would give back */
    };
}

HAK_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){
        .arena = (int)m.arena, /* wraps above 2 GiB, as glibc's does */
        .uordblks = (int)m.uordblks,
        .fordblks = (int)m.fordblks,
        .keepcost = (int)m.keepcost,
    };
}

HAK_EXPORT int malloc_info(int options, FILE *stream)
{
    struct hak_space_figures f;
    if (options != 0)
        return EINVAL;
    if (hak_is_forking())
        return EAGAIN;
    hak_space_read(&f);
    fprintf(stream, "<malloc version=\"hakmem-%s\">\n", HAK_VERSION);
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        struct hak_stats s;
        if (b == &hak_vacant)
            continue;
        hak_figures(b, &s);
        fprintf(stream,
                "<box name=\"%s\" allocs=\"%lu\" frees=\"%lu\" live=\"%lu\" "
                "live_bytes=\"%lu\" mapped_bytes=\"%lu\"/>\n",
                b->box.name, s.allocs, s.frees, s.live_count, s.live_bytes,
                s.mapped_bytes);
    }
    fprintf(stream,
            "<system type=\"current\" size=\"%lu\"/>\n"
            "<system type=\"max\" size=\"%lu\"/>\n</malloc>\n",
            f.used_bytes + f.free_bytes, f.mapped_peak_bytes);
    return 0;
}

/* The parameters of glibc have no meaning here. 1 reports success. */
HAK_EXPORT int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}

/* glibc exports these functions under second names too. core/malloc/entry.c
 * has more of them. */
HAK_EXPORT int __libc_mallopt(int parameter, int value)
    HAK_SECOND_NAME(mallopt);
HAK_EXPORT struct mallinfo __libc_mallinfo(void)
    __attribute__((alias("mallinfo")));

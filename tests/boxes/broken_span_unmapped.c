/* SPDX-License-Identifier: MIT
 * broken_span_unmapped.c - like whole.c, but the struct of a span is unmapped
 * together with its page.
 *
 * breaks: span_reuse
 * says: holds a registered span
 */
#include "whole.h"

static const struct hak_host *host;

static void *mapped_meta(struct hak_box *box, size_t size_bytes)
{
    if (size_bytes != sizeof(struct page))
        return host->meta(box, size_bytes);
    return host->map(box, HAK_GRANULE_BYTES, 0, HAK_MAP_ZERO);
}

static void unmap_both(struct hak_box *box, void *p, size_t size_bytes)
{
    struct page *page = pages_ever(box);
    while (page->base != p)
        page = page->made_before;
    host->unmap(box, p, size_bytes);
    host->unmap(box, page, HAK_GRANULE_BYTES);
}

static int mapping_init(struct hak_box *box)
{
    host = box->host;
    struct hak_host *copy = host_copy(box);
    copy->meta = mapped_meta;
    copy->unmap = unmap_both;
    return lanes_init(box);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_span_unmapped"),
    .ops = {WHOLE_OPS, .init = mapping_init},
};

/* SPDX-License-Identifier: MIT
 * idle.h - kit layer 4: purge the memory of free slots in pages that stay in
 * use.
 *
 * One live slot keeps its whole page. When the page was not used for a while,
 * the memory of its free slots goes back to the kernel, in groups:
 *
 *     |  group 0  |  group 1  |  group 2  | ...      at most 64 in a page
 *     | s s s s s | s s s s s | s s s s s |
 *
 * A group is the slots that start in one or more OS pages. A group whose slots
 * are all free may be put to sleep: its slots are in no list, its bit in
 * page->asleep is set, and its memory is purged. An OS page stays where a slot
 * of another group reaches into it, unless that group sleeps too. A refill that
 * finds no other free slot wakes a group.
 *
 * Only the owner calls these functions, or a thread that took an orphan.
 *
 * A wrong free of a sleeping slot is found at once if the box sees it. An
 * inline free does not find it, since the mark is gone with the memory. It is
 * then found when the group wakes, as the first word of each slot must be zero
 * or a mark. Not caught: the program has got the slot again and has left its
 * first word zero.
 */
#ifndef HAK_KIT_IDLE_H
#define HAK_KIT_IDLE_H

#include "page.h"
#include "span.h"

static inline bool hak_page_is_asleep(const struct hak_page *page, uint32_t g)
{
    return page->asleep >> g & 1;
}

static inline uint32_t hak_page_ngroups(const struct hak_page *page)
{
    size_t bytes = (size_t)page->capacity * page->span.slot_bytes;
    return (uint32_t)(((bytes - 1) >> hak_page_group_shift(page)) + 1);
}

/* The map of the groups whose slots are all on this list of the page. *none
 * gets the map of the groups in which no slot starts. */
static inline uint64_t hak_page_free_groups(const struct hak_page *page,
                                            const void *list, uint64_t *none)
{
    uint16_t nfree[64] = {0};
    uint32_t shift = hak_page_group_shift(page);
    uint64_t map = 0;
    uint32_t n = 0;
    for (const void *p = list; p != NULL; p = hak_span_next(&page->span, p)) {
        if (unlikely(n++ == page->capacity))
            hak_page_miscounted(page);
        nfree[(size_t)((const char *)p - page->start) >> shift]++;
    }
    for (uint32_t g = 0; g < hak_page_ngroups(page); g++) {
        struct hak_group group = hak_page_group(page, g);
        if (group.first == group.end)
            *none |= 1ull << g;
        else if (nfree[g] == group.end - group.first)
            map |= 1ull << g; /* then all slots of the group are carved */
    }
    return map;
}

/* Take the slots of these groups off the list p of the page. Returns the new
 * head. *last gets the last slot, or NULL. */
static inline void *hak_page_unlist(struct hak_page *page, char *p,
                                    uint64_t groups, char **last)
{
    uint32_t shift = hak_page_group_shift(page);
    char *head = NULL;
    *last = NULL;
    for (; p != NULL; p = hak_span_next(&page->span, p)) {
        if (groups >> ((size_t)(p - page->start) >> shift) & 1)
            continue;
        if (*last != NULL)
            hak_slot_link(*last, page->span.key, p);
        else
            head = p;
        *last = p;
    }
    if (*last != NULL)
        hak_slot_link(*last, page->span.key, NULL);
    return head;
}

/* The OS pages that hold only slots of the groups first .. end - 1. *from gets
 * their start. Returns their bytes. The parts of a page's memory before the
 * first and after the last slot hold nothing. */
static inline size_t hak_page_extent(const struct hak_page *page, size_t first,
                                     size_t end, char **from)
{
    size_t os_page = page->span.box->host->os_page_bytes;
    size_t slot = page->span.slot_bytes;
    uintptr_t start = (uintptr_t)page->start;
    uintptr_t low = start + hak_page_group(page, (uint32_t)first).first * slot;
    uint32_t last = hak_page_group(page, (uint32_t)end - 1).end;
    uintptr_t high = start + last * slot;
    low =
        first == 0 ? hak_round_down(low, os_page) : hak_round_up(low, os_page);
    high = last == page->capacity ? hak_round_up(high, os_page)
                                  : hak_round_down(high, os_page);
    *from = page->start + (ptrdiff_t)(low - start);
    return high > low ? high - low : 0;
}

/*
 * Purge the memory of the groups in `map`, in whole OS pages. without: groups
 * that sleep already, or in which no slot starts; an OS page may reach into
 * them. Returns the bytes purged, and adds the calls of the host to *ncalls.
 */
static inline size_t hak_page_purge(const struct hak_page *page, uint64_t map,
                                    uint64_t without, uint32_t *ncalls)
{
    struct hak_box *box = page->span.box;
    uint64_t free[] = {map | without}; /* of one word */
    size_t bytes = 0, end;
    for (size_t g = 0; (g = hak_bits_next(free, 0, g, 64)) < 64; g = end) {
        end = hak_bits_next(free, ~0ull, g, 64);
        if ((map & hak_bits_mask(0, g, end - g)) == 0)
            continue; /* all of these groups slept before */
        char *from;
        size_t n = hak_page_extent(page, g, end, &from);
        if (n == 0)
            continue;
        if (box->host->purge(box, from, n) == 0)
            bytes += n;
        ++*ncalls;
    }
    return bytes;
}

/*
 * Purge the part of the page that is not carved, once. An earlier user may have
 * written to this memory, so it may be resident. How many bytes that frees is
 * unknown, so they are not counted.
 */
static inline void hak_page_purge_tail(struct hak_page *page, uint32_t *ncalls)
{
    struct hak_box *box = page->span.box;
    size_t os_page = box->host->os_page_bytes, slot = page->span.slot_bytes;
    uintptr_t start = (uintptr_t)page->start;
    uintptr_t from = hak_round_up(start + page->carved * slot, os_page);
    uintptr_t to =
        hak_round_up(start + page->capacity * slot, HAK_GRANULE_BYTES);
    if (!page->tail || page->carved == page->capacity)
        return;
    page->tail = false;
    box->host->purge(box, page->start + (from - start), to - from);
    ++*ncalls;
}

/* Put all groups to sleep whose slots are free. Returns the bytes purged;
 * *ncalls as above. */
static inline size_t hak_page_sleep(struct hak_page *page, uint32_t *ncalls)
{
    hak_page_purge_tail(page, ncalls);
    uint64_t none = 0;
    uint64_t map = hak_page_free_groups(page, page->span.local, &none);
    char *last;
    if (map == 0)
        return 0;
    page->span.local = hak_page_unlist(page, page->span.local, map, &last);
    uint64_t before = page->asleep;
    hak_page_set_asleep(page, before | map);
    return hak_page_purge(page, map, before | none, ncalls);
}

/* Abort unless each slot of a sleeping group has its mark still, or begins with
 * zero. */
static inline void hak_page_expect_asleep(const struct hak_page *page,
                                          struct hak_group group)
{
    size_t slot = page->span.slot_bytes;
    for (uint32_t i = group.first; i < group.end; i++) {
        const char *p = page->start + i * slot;
        if (unlikely(*(const uint64_t *)p != 0 &&
                     !hak_slot_is_marked(p, page->span.key)))
            hak_page_miscounted(page);
    }
}

/* Wake a group and put its slots on span.local, which is empty. Returns false:
 * no group sleeps. */
static inline bool hak_page_wake(struct hak_page *page)
{
    if (page->asleep == 0)
        return false;
    uint32_t g = (uint32_t)__builtin_ctzll(page->asleep);
    struct hak_group group = hak_page_group(page, g);
    hak_page_expect_asleep(page, group);
    hak_page_set_asleep(page, page->asleep & (page->asleep - 1));
    hak_page_link(page, group.first, group.end - group.first);
    return true;
}

/*
 * Look at a page that is not full. Put its free groups to sleep if no slot was
 * taken or freed since the last look, or if `now`; but only once, until the
 * page is used again. page->seen is twice the number of allocs and frees at the
 * last look, plus 1 if the page was put to sleep then.
 */
static inline size_t hak_page_look(struct hak_page *page, bool now,
                                   uint32_t *ncalls)
{
    uint64_t calls = (page->span.nalloc + page->span.nfree) << 1;
    if (page->seen == (calls | 1))
        return 0;
    if (page->seen != calls && !now) {
        page->seen = calls;
        return 0;
    }
    page->seen = calls | 1;
    return hak_page_sleep(page, ncalls);
}

#endif

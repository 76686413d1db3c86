/* SPDX-License-Identifier: MIT
 * page.h - kit layer 3: a run of slots of one size, and where its free slots
 * are.
 *
 *   not carved    slots [carved, capacity), which were never handed out
 *   span.local    freed by the owner. The core pushes here (hakmem/box.h).
 *   remote        freed by other threads; one atomic word. Most frees by other
 *                 threads come in parcels of the core instead, and the owner
 *                 does them.
 *   asleep        free, in no list, without memory (idle.h, absent.h)
 *
 * Invariants, where out = slots that are handed out or wait in `remote`:
 *
 *   out                   = span.nalloc - span.nfree
 *   length of span.local  = carved - out - slots asleep
 *   carved                <= capacity
 *
 * nalloc and nfree are never reset, even when the page serves another class.
 * Their sums over all pages are the box's totals.
 *
 * When a page goes back, host->retired gets a record of it (struct hak_retire).
 * Since the page was taken, nalloc - taken_nalloc slots were handed out, and as
 * many came back. Frees by other threads are counted in two places: in
 * remote_frees those that the page collects, in span.nremote those that the
 * core brings.
 *
 * The remote word packs head, length and flags, so that one compare and
 * exchange changes them together:
 *
 *   63        48 47                    4   3     2        1        0
 *   | length    | head (48-bit address) | HELD | ASLEEP | PENDING | NOTIFY |
 *
 * NOTIFY   The owner does not look at this page by itself, as it is not the
 *          current one. The next remote free clears NOTIFY, sets PENDING and
 *          puts the page on its heap's pending list.
 * PENDING  The page is on the pending list, or about to be put there. It keeps
 *          its heap and its memory until the heap takes it off.
 * ASLEEP   Some of the slots are in no list but asleep. page->remote_asleep
 *          says which. It is set before ASLEEP, and does not change while
 *          ASLEEP is set (absent.h).
 * HELD     The owner is reading remote_asleep and will then take the whole
 *          list. No other thread may take it.
 */
#ifndef HAK_KIT_PAGE_H
#define HAK_KIT_PAGE_H

#include "list.h"
#include "span.h"
#include "sync.h"

struct hak_heap;

#define HAK_CLASS_NONE UINT32_MAX /* no size class of the box fits */

enum hak_page_state {
    HAK_PAGE_FREE,    /* in no heap */
    HAK_PAGE_CURRENT, /* refills of its class look here first */
    HAK_PAGE_AVAIL,   /* has free slots */
    HAK_PAGE_FULL,    /* had none when last looked at */
    HAK_PAGE_KEPT,    /* empty, kept by the heap for reuse */
};

struct hak_page {
    struct hak_span span; /* the first member: the directory points here */
    char *start;          /* of the first slot */
    uint32_t capacity;
    uint32_t carved;
    uint16_t class_number;
    uint8_t state; /* enum hak_page_state */
    bool tail;     /* the part that is not carved may be in memory: idle.h */
    uint16_t counted_class; /* atomic: the class that counts the slots handed
                               out since counted_nalloc (heap.h) */
    uint64_t taken_nalloc, taken_nfree;     /* of the span at hak_page_begin */
    uint64_t remote_frees;                  /* collected since then */
    uint32_t taken_nremote;                 /* span.nremote at hak_page_begin */
    uint64_t seen, asleep;                  /* idle.h */
    uint64_t counted_nalloc, counted_nfree; /* atomic; of the span when
                                               counted_class was set */
    /* Written by other threads, so on a cache line of their own. */
    _Alignas(64) uint64_t remote;
    uint64_t
        remote_asleep;    /* absent.h: the groups asleep that `remote` counts */
    uint32_t seen_remote; /* absent.h: length at the last look; atomic */
    struct hak_page *pending_next;
    struct hak_heap *heap; /* changes only with NOTIFY and PENDING clear */
    struct hak_link link;  /* in a bin of the heap */
    struct hak_page *all_next;
    void *source; /* for the box: where the memory came from */
};

#define HAK_REMOTE_NOTIFY ((uint64_t)1)
#define HAK_REMOTE_PENDING ((uint64_t)2)
#define HAK_REMOTE_ASLEEP ((uint64_t)4)
#define HAK_REMOTE_HELD ((uint64_t)8)
#define HAK_REMOTE_FLAGS ((uint64_t)15)
#define HAK_REMOTE_ONE ((uint64_t)1 << 48)

static inline void *hak_remote_head(uint64_t word)
{
    return (void *)(uintptr_t)(word & (HAK_REMOTE_ONE - 1) & ~HAK_REMOTE_FLAGS);
}

static inline uint32_t hak_remote_length(uint64_t word)
{
    return (uint32_t)(word >> 48);
}

static inline uint32_t hak_page_out(const struct hak_page *page)
{
    return (uint32_t)(page->span.nalloc - page->span.nfree);
}

/* ---- groups of slots, at most 64 (idle.h) ---- */

/* log2 of the bytes of a group: one or more OS pages. */
static inline uint32_t hak_page_group_shift(const struct hak_page *page)
{
    size_t bytes = (size_t)page->capacity * page->span.slot_bytes;
    size_t os_page = page->span.box->host->os_page_bytes;
    uint32_t shift = (uint32_t)__builtin_ctzll(os_page);
    while ((bytes - 1) >> shift >= 64)
        shift++;
    return shift;
}

/* Slots first .. end - 1 start in the group. first == end: none does, since a
 * long slot covers it. */
struct hak_group {
    uint32_t first, end;
};

static inline struct hak_group hak_page_group(const struct hak_page *page,
                                              uint32_t g)
{
    size_t bytes = (size_t)1 << hak_page_group_shift(page);
    size_t slot = page->span.slot_bytes;
    size_t first = (g * bytes + slot - 1) / slot;
    size_t end = ((g + 1) * bytes + slot - 1) / slot;
    return (struct hak_group){
        .first = (uint32_t)hak_min(first, page->capacity),
        .end = (uint32_t)hak_min(end, page->capacity),
    };
}

/* Groups of slots that came back from other threads and sleep. */
static inline uint64_t hak_page_remote_asleep(const struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    return word & HAK_REMOTE_ASLEEP
               ? __atomic_load_n(&page->remote_asleep, __ATOMIC_RELAXED)
               : 0;
}

/* Is the slot that starts `at` bytes after the first slot asleep? Such a slot
 * has no mark, as its memory was purged. */
static inline bool hak_page_sleeps_at(const struct hak_page *page, size_t at)
{
    uint64_t asleep = __atomic_load_n(&page->asleep, __ATOMIC_RELAXED) |
                      hak_page_remote_asleep(page);
    return asleep != 0 && asleep >> (at >> hak_page_group_shift(page)) & 1;
}

/* The number of slots in these groups. */
static inline uint32_t hak_page_nslots(const struct hak_page *page,
                                       uint64_t groups)
{
    uint32_t n = 0;
    for (; groups != 0; groups &= groups - 1) {
        struct hak_group group =
            hak_page_group(page, (uint32_t)__builtin_ctzll(groups));
        n += group.end - group.first;
    }
    return n;
}

static inline uint32_t hak_page_nasleep(const struct hak_page *page)
{
    return hak_page_nslots(page, page->asleep);
}

static inline uint32_t hak_page_nlocal(const struct hak_page *page)
{
    return page->carved - hak_page_out(page) - hak_page_nasleep(page);
}

/* Free slots between two lists. Slots of sleeping groups are not linked.
 * NULL, 0, 0 = none. */
struct hak_list {
    void *head;
    size_t count;    /* of all slots, sleeping ones too */
    uint64_t asleep; /* groups */
};

/*
 * Bytes from the start of a page's memory, which is at a granule, to its first
 * slot (cache coloring). The first slots of each class are used most. If all of
 * them were at the start of a granule, they would share one set of the L1
 * cache. So they are spread over 16 cache lines, in multiples of the powers of
 * two in the slot size, so that each slot keeps its alignment.
 */
#define HAK_PAGE_COLOR(slot_bytes, class_number) \
    (5u * (class_number) % 16u * 64u &           \
     ~(((slot_bytes) & (0u - (slot_bytes))) - 1u))

/* The start of the page's memory. Also valid before hak_page_init. */
static inline char *hak_page_memory(const struct hak_page *page)
{
    return page->start - ((uintptr_t)page->start & (HAK_GRANULE_BYTES - 1));
}

/* The bytes of the page's memory, from its start, that were ever carved. */
static inline size_t hak_page_used_bytes(const struct hak_page *page)
{
    return (size_t)(page->start - hak_page_memory(page)) +
           (size_t)page->carved * page->span.slot_bytes;
}

/* Start to count for the next record of host->retired. */
static inline void hak_page_begin(struct hak_page *page)
{
    page->taken_nalloc = page->span.nalloc;
    page->taken_nfree = page->span.nfree;
    page->taken_nremote = page->span.nremote;
    page->remote_frees = 0;
}

/* Make an empty page from memory that starts at a granule. The caller sets
 * span.owner and heap. */
static inline void hak_page_init(struct hak_page *page, char *memory,
                                 size_t size_bytes, uint32_t slot_bytes,
                                 uint32_t class_number)
{
    uint32_t color = HAK_PAGE_COLOR(slot_bytes, class_number);
    char *start = memory + color;
    page->span.local = NULL;
    hak_span_slots(&page->span, start, slot_bytes);
    page->start = start;
    page->capacity = (uint32_t)((size_bytes - color) / slot_bytes);
    page->carved = 0;
    page->tail = true;
    page->class_number = (uint16_t)class_number;
    hak_page_begin(page);
    page->seen = page->asleep = page->remote_asleep = 0;
    __atomic_store_n(&page->remote, 0, __ATOMIC_RELAXED);
}

/* The flags after a remote free: NOTIFY, if set, becomes PENDING. */
static inline uint64_t hak_remote_told(uint64_t word)
{
    uint64_t flags = word & HAK_REMOTE_FLAGS & ~HAK_REMOTE_NOTIFY;
    return word & HAK_REMOTE_NOTIFY ? flags | HAK_REMOTE_PENDING : flags;
}

/*
 * Push p, freed by a thread that is not the owner. Returns the former word. If
 * it has HAK_REMOTE_NOTIFY, the caller must put the page on the pending list.
 * The release pairs with the acquire of hak_page_take_remote. The acquire pairs
 * with the release there, and orders two notices of one page, which both write
 * pending_next.
 */
static inline uint64_t hak_page_push_remote(struct hak_page *page, void *p)
{
    uint64_t old = __atomic_load_n(&page->remote, __ATOMIC_RELAXED), word;
    do {
        hak_slot_link(p, page->span.key, hak_remote_head(old));
        word = (old & ~(HAK_REMOTE_ONE - 1)) + HAK_REMOTE_ONE;
        word |= (uint64_t)(uintptr_t)p | hak_remote_told(old);
    } while (!__atomic_compare_exchange_n(&page->remote, &old, word, true,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return old;
}

/*
 * Take all slots that other threads freed. Of the flags, those in `keep`
 * (NOTIFY, PENDING) stay and those in `set` are added. HELD is set before
 * remote_asleep is read, so that remote_asleep belongs to the word that is
 * taken.
 */
static inline struct hak_list hak_page_take_remote(struct hak_page *page,
                                                   uint64_t keep, uint64_t set)
{
    uint64_t old = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE), asleep;
    do {
        asleep = 0;
        if (likely((old & HAK_REMOTE_ASLEEP) == 0))
            continue;
        old =
            __atomic_or_fetch(&page->remote, HAK_REMOTE_HELD, __ATOMIC_ACQUIRE);
        if (old & HAK_REMOTE_ASLEEP)
            asleep = __atomic_load_n(&page->remote_asleep, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&page->remote, &old,
                                          (old & keep) | set, true,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    __atomic_store_n(&page->seen_remote, 0, __ATOMIC_RELAXED);
    return (struct hak_list){hak_remote_head(old), hak_remote_length(old),
                             asleep};
}

/* Put slots from .. from + n - 1 on span.local, which is empty. n > 0. */
static inline void hak_page_link(struct hak_page *page, uint32_t from,
                                 uint32_t n)
{
    size_t slot = page->span.slot_bytes;
    char *first = page->start + (size_t)from * slot, *p = first;
    for (uint32_t i = 1; i < n; i++, p += slot)
        hak_slot_link(p, page->span.key, p + slot);
    hak_slot_link(p, page->span.key, NULL);
    page->span.local = first;
}

/* Carve the next n slots and put them on span.local, which is empty. n > 0. */
static inline void hak_page_carve(struct hak_page *page, uint32_t n)
{
    hak_page_link(page, page->carved, n);
    __atomic_store_n(&page->carved, page->carved + n, __ATOMIC_RELAXED);
}

/* ---- wrong frees --------------------------------------------------------- */

/*
 * Is the slot on this list of the page? The owner may take slots off the list
 * meanwhile. So a link is followed only if the slot has a mark: data that a
 * program writes into its slot is never followed.
 */
static inline bool hak_page_list_has(const struct hak_page *page,
                                     const void *list, const void *slot)
{
    size_t bytes = (size_t)page->capacity * page->span.slot_bytes;
    for (uint32_t n = 0; list != NULL && n <= page->capacity; n++) {
        if (list == slot)
            return true;
        if ((size_t)((const char *)list - page->start) >= bytes ||
            !hak_slot_is_marked(list, page->span.key))
            return false;
        list = hak_slot_next(list, page->span.key);
    }
    return false;
}

/*
 * Why p must not be freed; NULL: p is a live slot, as far as can be told. p is
 * in a granule of the page. Cost: a few instructions; for a slot with a mark, a
 * walk over the page's lists.
 */
static inline const char *hak_page_why_not(const struct hak_page *page,
                                           const void *p)
{
    size_t at = (size_t)((const char *)p - page->start);
    uint32_t carved = __atomic_load_n(&page->carved, __ATOMIC_RELAXED);
    if (unlikely(at >= (size_t)carved * page->span.slot_bytes))
        return "nothing was handed out there";
    if (unlikely(!hak_span_has_slot_at(&page->span, p)))
        return "not the start of a slot";
    if (unlikely(hak_page_sleeps_at(page, at)))
        return "freed twice";
    if (likely(!hak_slot_is_marked(p, page->span.key)))
        return NULL;
    const void *local = __atomic_load_n(&page->span.local, __ATOMIC_RELAXED);
    uint64_t remote = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    return hak_page_list_has(page, local, p) ||
                   hak_page_list_has(page, hak_remote_head(remote), p)
               ? "freed twice"
               : NULL;
}

#define HAK_WHY_NO_PAGE "no slots there: given back, or never handed out"

/* Log that free(p) is wrong, and abort. slot: the slot that p is in, or NULL.
 */
__attribute__((noreturn, cold, noinline, unused)) static void
hak_free_refused(struct hak_box *box, const void *p, const char *why,
                 const void *slot, size_t slot_bytes)
{
    if (slot != NULL)
        box->host->log(box, HAK_LOG_ERROR, "free(%p): %s; slot %p of %zu bytes",
                       p, why, slot, slot_bytes);
    else
        box->host->log(box, HAK_LOG_ERROR, "free(%p): %s", p, why);
    abort();
}

__attribute__((noreturn, cold, noinline, unused)) static void
hak_page_refuse(const struct hak_page *page, const void *p, const char *why)
{
    size_t at = (size_t)((const char *)p - page->start);
    size_t slot_bytes = page->span.slot_bytes;
    bool in_slots = at < (size_t)page->capacity * slot_bytes;
    hak_free_refused(page->span.box, p, why,
                     in_slots ? (const char *)p - at % slot_bytes : NULL,
                     slot_bytes);
}

/* Abort unless p may be freed. */
static inline void hak_page_expect_live(const struct hak_page *page,
                                        const void *p)
{
    const char *why = hak_page_why_not(page, p);
    if (unlikely(why != NULL))
        hak_page_refuse(page, p, why);
}

/* ops->usable_size. page: the page of p, or NULL. Returns 0: p is no live
 * slot. */
static inline size_t hak_page_usable(const struct hak_page *page, const void *p)
{
    return page != NULL && hak_page_why_not(page, p) == NULL
               ? page->span.slot_bytes
               : 0;
}

/* ---- slots that count twice ---------------------------------------------- */

/*
 * Report a page whose counts are wrong, and abort. A slot that was freed twice
 * inline counts as two. Then the page counts as empty too early, and its free
 * list is a ring. So each slot of a page is checked before the page is given
 * back, and a walk over a list ends after as many slots as the page has. (The
 * walk must not end after as many as are counted: a signal handler may have
 * come between a push and its count, and have forked.)
 */
__attribute__((noreturn, cold, noinline, unused)) static void
hak_miscounted(struct hak_box *box, const void *start, uint32_t slot_bytes)
{
    box->host->log(box, HAK_LOG_ERROR,
                   "free(): one of the slots of %u bytes from %p on was freed "
                   "twice: more came back than were handed out",
                   slot_bytes, start);
    abort();
}

__attribute__((noreturn, cold, noinline, unused)) static void
hak_page_miscounted(const struct hak_page *page)
{
    hak_miscounted(page->span.box, page->start, page->span.slot_bytes);
}

/* The last slot of a list of the page. The list is not empty. */
static inline void *hak_page_last(const struct hak_page *page, void *list)
{
    uint32_t n = 0;
    void *next;
    while ((next = hak_span_next(&page->span, list)) != NULL) {
        if (unlikely(n++ == page->carved))
            hak_page_miscounted(page);
        list = next;
    }
    return list;
}

/*
 * Abort unless each slot of the page is free. By its counts the page is empty.
 * A slot that is not free is live, and another one was freed twice. Cost: a
 * load for each slot.
 */
static inline void hak_page_expect_empty(const struct hak_page *page)
{
    const char *p = page->start;
    size_t slot = page->span.slot_bytes;
    uint64_t asleep = page->asleep;
    for (uint32_t i = 0; i < page->carved; i++, p += slot) {
        if (asleep != 0 && hak_page_sleeps_at(page, (size_t)i * slot))
            continue;
        if (unlikely(!hak_slot_is_marked(p, page->span.key)))
            hak_page_miscounted(page);
    }
}

static inline void hak_page_set_asleep(struct hak_page *page, uint64_t groups)
{
    __atomic_store_n(&page->asleep, groups, __ATOMIC_RELAXED);
}

/* Put a list of slots that count as out on span.local. Walks the shorter of the
 * two lists. */
static inline void hak_page_return(struct hak_page *page, struct hak_list list)
{
    if (list.count == 0)
        return;
    void *longer = page->span.local, *shorter = list.head;
    if (hak_page_nlocal(page) < list.count) {
        longer = list.head;
        shorter = page->span.local;
    }
    page->span.local = shorter != NULL ? shorter : longer;
    if (shorter != NULL)
        hak_slot_link(hak_page_last(page, shorter), page->span.key, longer);
    page->span.nfree += list.count;
    page->remote_frees += list.count;
    if (unlikely(list.asleep != 0))
        hak_page_set_asleep(page, page->asleep | list.asleep);
}

/* ---- the page as a whole --------------------------------------------------
 */

/* Send host->retired the record of the page, which is empty and goes back. */
static inline void hak_page_tell_retired(const struct hak_page *page)
{
    struct hak_box *box = page->span.box;
    uint64_t frees = page->span.nfree - page->taken_nfree;
    struct hak_retire record = {
        .struct_bytes = sizeof record,
        .slot_bytes = page->span.slot_bytes,
        .capacity = page->capacity,
        .used = page->carved,
        .allocations = page->span.nalloc - page->taken_nalloc,
        .frees = frees,
        .local_frees = frees - page->remote_frees -
                       (uint32_t)(page->span.nremote - page->taken_nremote),
    };
    if (HAK_HAS(box->host, retired))
        box->host->retired(box, &record);
}

/*
 * All frees so far, with those that wait in `remote`. The figure may lag while
 * the owner runs. The order of the loads matters: if the owner collects between
 * them, the sum is too small, never too large.
 */
static inline uint64_t hak_page_frees(const struct hak_page *page)
{
    uint64_t collected = __atomic_load_n(&page->span.nfree, __ATOMIC_ACQUIRE);
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    return collected + hak_remote_length(word);
}

static inline void hak_page_check(const struct hak_page *page)
{
    uint32_t n = 0;
    for (const void *p = page->span.local; p != NULL;
         p = hak_slot_next(p, page->span.key)) {
        size_t at = (size_t)((const char *)p - page->start);
        HAK_ALWAYS(at % page->span.slot_bytes == 0);
        HAK_ALWAYS(at / page->span.slot_bytes < page->carved);
        HAK_ALWAYS(hak_slot_is_marked(p, page->span.key));
        HAK_ALWAYS(++n <= page->carved);
    }
    HAK_ALWAYS(page->carved <= page->capacity);
    HAK_ALWAYS(hak_page_out(page) <= page->carved);
    HAK_ALWAYS(n == hak_page_nlocal(page));
}

#endif

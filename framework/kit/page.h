/* SPDX-License-Identifier: MIT
 * page.h - kit layer 3: a run of slots of one size, and its three free lists.
 *
 *   not carved    slots [carved, capacity) that nobody has had yet
 *   span.local    freed by the owner; the core pushes here (hakmem/box.h)
 *   remote        freed by other threads; one atomic word. Most of their frees
 *                 come by the core's parcels instead, as frees of the owner's
 *   asleep        free, in no list, without memory (idle.h, absent.h)
 *
 * Invariants, with out = slots handed out and not known to be free again
 * (those waiting in `remote` count as out):
 *
 *   out                   = span.nalloc - span.nfree
 *   length of span.local  = carved - out - slots asleep
 *   carved                <= capacity
 *
 * nalloc and nfree are never reset, whatever the page serves in turn: their
 * sums over all pages are the box's totals.
 *
 * What the page did since it was taken is told when it goes back (hakmem/box.h,
 * hak_retire): nalloc - taken_nalloc slots were handed out, as many came back,
 * of other threads' frees the page counts those that it collects itself
 * (remote_frees); the span those that the core brought (nremote).
 *
 * The remote word packs head, length and two flags, so that one compare and
 * exchange keeps them together:
 *
 *   63        48 47                    4   3     2        1        0
 *   | length    | head (48-bit address) | HELD | ASLEEP | PENDING | NOTIFY |
 *
 * NOTIFY   set by the owner when it stops looking at this page by itself
 *          (it is no longer the current one); the next remote free clears it,
 *          sets PENDING and puts the page on its heap's pending list
 * PENDING  from then until the heap takes the page off that list; meanwhile
 *          the page keeps its heap and its memory
 * ASLEEP   some of the slots are in no list but asleep: page->remote_asleep,
 *          which is set before and does not change while ASLEEP is set, says
 *          which (absent.h)
 * HELD     the owner reads remote_asleep, and is about to take all: nobody else
 *          may take the list
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
    HAK_PAGE_KEPT,    /* empty, and waits as it is */
};

struct hak_page {
    struct hak_span span; /* first: the directory points here */
    char *start;          /* of the first slot */
    uint32_t capacity;
    uint32_t carved;
    uint16_t class_number;
    uint8_t state; /* enum hak_page_state */
    bool tail;     /* what is not carved may hold what another wrote: idle.h */
    uint64_t taken_nalloc, taken_nfree; /* of the span at hak_page_init */
    uint64_t remote_frees;              /* collected since then */
    uint32_t taken_nremote;             /* of the span, as the two above */
    uint64_t seen, asleep;              /* idle.h */
    /* what other threads write: on a line of its own */
    _Alignas(64) uint64_t remote;
    uint64_t remote_asleep; /* absent.h: groups of slots that `remote` counts */
    uint32_t seen_remote;   /* absent.h: its length at the last look; atomic */
    struct hak_page *pending_next;
    struct hak_heap *heap; /* changes only with NOTIFY and PENDING clear */
    struct hak_link link;  /* in a bin of the heap */
    struct hak_page *all_next;
    void *source; /* the box's: where the memory came from */
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

/* log2 of the bytes of a group: pages of the system. */
static inline uint32_t hak_page_group_shift(const struct hak_page *page)
{
    size_t bytes = (size_t)page->capacity * page->span.slot_bytes;
    size_t os_page = page->span.box->host->os_page_bytes;
    uint32_t shift = (uint32_t)__builtin_ctzll(os_page);
    while ((bytes - 1) >> shift >= 64)
        shift++;
    return shift;
}

/* Slots first .. end - 1; none where a long slot goes on. */
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

/* Is the slot that starts there, in bytes from the first, in a sleeping group?
 * Its mark went with its memory. */
static inline bool hak_page_sleeps_at(const struct hak_page *page, size_t at)
{
    uint64_t asleep = __atomic_load_n(&page->asleep, __ATOMIC_RELAXED) |
                      hak_page_remote_asleep(page);
    return asleep != 0 && asleep >> (at >> hak_page_group_shift(page)) & 1;
}

/* Slots in these groups. */
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

/* Slots on their way: linked through their first word, but for those in groups
 * that sleep; NULL, 0, 0 = none. */
struct hak_list {
    void *head;
    size_t count; /* those that sleep, too */
    uint64_t asleep;
};

/*
 * From a page's memory, which starts at a granule, to its first slot, in bytes.
 * The slots that come round most are the first ones of each class: all at a
 * granule, they would meet in one set of the first-level cache. One of 16
 * lines; a multiple of the powers of two in the slot's size, so that it takes
 * no slot's alignment.
 */
#define HAK_PAGE_COLOR(slot_bytes, class_number) \
    (5u * (class_number) % 16u * 64u &           \
     ~(((slot_bytes) & (0u - (slot_bytes))) - 1u))

/* Where the page's memory starts; before hak_page_init too. */
static inline char *hak_page_memory(const struct hak_page *page)
{
    return page->start - ((uintptr_t)page->start & (HAK_GRANULE_BYTES - 1));
}

/* So much of it, from its start, was ever cut to slots. */
static inline size_t hak_page_used_bytes(const struct hak_page *page)
{
    return (size_t)(page->start - hak_page_memory(page)) +
           (size_t)page->carved * page->span.slot_bytes;
}

/* What it does is counted from here on. */
static inline void hak_page_begin(struct hak_page *page)
{
    page->taken_nalloc = page->span.nalloc;
    page->taken_nfree = page->span.nfree;
    page->taken_nremote = page->span.nremote;
    page->remote_frees = 0;
}

/* Make an empty page of memory at a granule. The caller sets span.owner, heap.
 */
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

/* The flags after a free by another thread: NOTIFY has become PENDING. */
static inline uint64_t hak_remote_told(uint64_t word)
{
    uint64_t flags = word & HAK_REMOTE_FLAGS & ~HAK_REMOTE_NOTIFY;
    return word & HAK_REMOTE_NOTIFY ? flags | HAK_REMOTE_PENDING : flags;
}

/*
 * Push p, freed by a thread that is not the owner. Returns the word before:
 * with HAK_REMOTE_NOTIFY in it, the caller puts the page on the pending list.
 * Its release pairs with hak_page_take_remote's acquire; its acquire with the
 * take's release orders two notices of one page (pending_next).
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
 * Take all that other threads freed; of the flags, `keep`, of NOTIFY and
 * PENDING, stay and `set` come. With HELD set first, remote_asleep belongs to
 * the word that is taken.
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

/* Put n slots, one or more from the `from`th, on local, which is empty. */
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

/* Put the next n uncarved slots on local, which is empty. */
static inline void hak_page_carve(struct hak_page *page, uint32_t n)
{
    hak_page_link(page, page->carved, n);
    __atomic_store_n(&page->carved, page->carved + n, __ATOMIC_RELAXED);
}

/* ---- wrong frees --------------------------------------------------------- */

/*
 * Is the slot on this list of the page? The owner may take slots off it
 * meanwhile: a link is followed only while its mark is whole, so what others
 * write into their slots is never taken for one.
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
 * What is wrong with freeing p, an address in the page's granules, or NULL: it
 * is a live slot, as far as can be told. Cost: two instructions or so; of a
 * slot that carries a mark, the page's lists.
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

/* One line, and the end: free(p) is wrong. slot: p's, or NULL. */
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

/* Aborts unless p may be freed. */
static inline void hak_page_expect_live(const struct hak_page *page,
                                        const void *p)
{
    const char *why = hak_page_why_not(page, p);
    if (unlikely(why != NULL))
        hak_page_refuse(page, p, why);
}

/* ops->usable_size: 0 = p is no live slot. page: NULL = p is in none. */
static inline size_t hak_page_usable(const struct hak_page *page, const void *p)
{
    return page != NULL && hak_page_why_not(page, p) == NULL
               ? page->span.slot_bytes
               : 0;
}

/* ---- slots that count twice -----------------------------------------------
 */

/*
 * A slot that is freed twice inline counts as two, so its page counts as empty
 * too early and its list is a ring. So a page's slots are looked at before it
 * changes hands, and a walk ends after as many slots as there are. (Not after
 * as many as are counted: a signal handler may have come between a push and its
 * count, and fork.)
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

/* The last slot of a list of the page that is not empty. */
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
 * The page counts as empty: is each of its slots free? One that is not was
 * handed out, while another one came back twice. Cost: a load a slot.
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

/* Put a list that counted as out onto span.local; walks the shorter one. */
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

/* Tell the core of the page, of which nothing is out, as it goes back. */
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
 * All frees so far, uncollected ones too; may lag for a running owner. In this
 * order a collection in between makes it too small, never too large.
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

/* SPDX-License-Identifier: MIT
 * superslab.c - slabs taken and given back, and when SuperSlabs go.
 *
 * No host call is made under the lock but now_ms: what is to be unmapped or
 * purged is made unreachable first, under the lock, and handed over after.
 */
#include "superslab.h"

#include <errno.h>

static struct superslab *superslab_of_link(struct hak_link *link)
{
    return hak_item(link, struct superslab, link);
}

int superslabs_init(struct superslabs *s, struct hak_box *box,
                    uint32_t keep_empty)
{
    const struct hak_host *host = box->host;
    uintptr_t last = (host->window_base + host->window_bytes - 1);
    s->box = box;
    s->first = host->window_base >> SUPERSLAB_SHIFT;
    s->n = (last >> SUPERSLAB_SHIFT) - s->first + 1;
    s->keep_empty = keep_empty;
    hak_link_init(&s->partial);
    hak_link_init(&s->empty);
    s->table = host->meta(box, s->n * sizeof s->table[0]);
    return s->table != NULL ? 0 : -ENOMEM;
}

/* ---- lists; the lock is held ------------------------------------------- */

/* Out of its list and into the one that its free slabs ask for. */
static void settle(struct superslabs *s, struct superslab *ss)
{
    uint32_t home = ss->free == 0           ? SUPERSLAB_NONE
                    : ss->free == SLABS_ALL ? SUPERSLAB_EMPTY
                                            : SUPERSLAB_PARTIAL;
    if (home == ss->home)
        return;
    if (ss->home != SUPERSLAB_NONE)
        hak_link_remove(&ss->link);
    s->nempty -= ss->home == SUPERSLAB_EMPTY;
    s->nempty += home == SUPERSLAB_EMPTY;
    ss->home = home;
    if (home == SUPERSLAB_NONE)
        return;
    if (home == SUPERSLAB_EMPTY)
        ss->empty_since_ms = s->box->host->now_ms();
    hak_link_after(home == SUPERSLAB_EMPTY ? &s->empty : &s->partial,
                   &ss->link);
}

static void set_free(struct superslabs *s, struct superslab *ss, uint32_t free)
{
    hak_count(&s->free_slabs, (uint64_t)__builtin_popcount(free) -
                                  (uint64_t)__builtin_popcount(ss->free));
    ss->free = free;
    settle(s, ss);
}

static void publish(struct superslabs *s, const char *base,
                    struct superslab *ss)
{
    /* release: pairs with superslab_of */
    __atomic_store_n(&s->table[((uintptr_t)base >> SUPERSLAB_SHIFT) - s->first],
                     ss, __ATOMIC_RELEASE);
}

/*
 * Empty ones beyond `keep`, and those empty since before_ms or earlier, oldest
 * first: out of the table, in a list by `next`, for dispose.
 */
static struct superslab *collect_empty(struct superslabs *s, uint32_t keep,
                                       uint64_t before_ms)
{
    struct superslab *list = NULL;
    while (!hak_link_empty(&s->empty)) {
        struct superslab *ss = superslab_of_link(s->empty.prev);
        if (s->nempty <= keep && ss->empty_since_ms > before_ms)
            break;
        publish(s, ss->base, NULL);
        set_free(s, ss, 0);
        ss->next = list;
        list = ss;
    }
    return list;
}

/* ---- mapping; the lock is not held --------------------------------------- */

static struct superslab *struct_get(struct superslabs *s)
{
    hak_lock_take(&s->lock);
    struct superslab *ss = s->spare;
    if (ss != NULL)
        s->spare = ss->next;
    hak_lock_drop(&s->lock);
    if (ss != NULL)
        return ss;
    ss = s->box->host->meta(s->box, sizeof *ss);
    if (ss == NULL)
        return NULL;
    hak_lock_take(&s->lock);
    ss->all_next = s->all;
    s->all = ss;
    hak_lock_drop(&s->lock);
    return ss;
}

static void struct_put(struct superslabs *s, struct superslab *ss)
{
    hak_lock_take(&s->lock);
    ss->next = s->spare;
    s->spare = ss;
    hak_lock_drop(&s->lock);
}

static void dispose(struct superslabs *s, struct superslab *list)
{
    while (list != NULL) {
        struct superslab *next = list->next;
        s->box->host->unmap(s->box, list->base, SUPERSLAB_BYTES);
        hak_count_shared(&s->given_bytes, (int64_t)SUPERSLAB_BYTES);
        list->base = NULL;
        struct_put(s, list);
        list = next;
    }
}

static bool grow(struct superslabs *s)
{
    struct superslab *ss = struct_get(s);
    if (ss == NULL)
        return false;
    char *base = s->box->host->map(s->box, SUPERSLAB_BYTES, SUPERSLAB_BYTES, 0);
    if (base == NULL) {
        struct_put(s, ss);
        return false;
    }
    hak_lock_take(&s->lock);
    ss->base = base;
    ss->old = 0;
    memset(ss->dirty_bytes, 0, sizeof ss->dirty_bytes);
    publish(s, base, ss);
    set_free(s, ss, SLABS_ALL);
    hak_lock_drop(&s->lock);
    return true;
}

/* ---- slabs --------------------------------------------------------------- */

static struct superslab *with_free_slab(struct superslabs *s)
{
    if (!hak_link_empty(&s->partial))
        return superslab_of_link(s->partial.next);
    if (!hak_link_empty(&s->empty))
        return superslab_of_link(s->empty.next);
    return NULL;
}

/* One that was written to already costs no page fault. */
static uint32_t best_slab(const struct superslab *ss)
{
    for (uint32_t rest = ss->free; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(rest);
        if (ss->dirty_bytes[i] != 0)
            return i;
    }
    return (uint32_t)__builtin_ctz(ss->free);
}

char *slab_take(struct superslabs *s)
{
    for (;;) {
        hak_lock_take(&s->lock);
        struct superslab *ss = with_free_slab(s);
        if (ss != NULL) {
            uint32_t i = best_slab(ss);
            ss->old &= ~(1u << i);
            set_free(s, ss, ss->free & ~(1u << i));
            hak_lock_drop(&s->lock);
            return ss->base + i * SLAB_BYTES;
        }
        hak_lock_drop(&s->lock);
        if (!grow(s))
            return NULL;
    }
}

void slab_name(struct superslabs *s, char *start, struct hak_page *page)
{
    struct superslab *ss = superslab_of(s, start);
    __atomic_store_n(&ss->page[superslab_slab(start)], page, __ATOMIC_RELEASE);
}

void slab_give(struct superslabs *s, char *start, size_t written_bytes)
{
    struct superslab *ss = superslab_of(s, start);
    uint32_t i = superslab_slab(start);
    slab_name(s, start, NULL);
    hak_lock_take(&s->lock);
    ss->dirty_bytes[i] = (uint32_t)hak_max(ss->dirty_bytes[i], written_bytes);
    set_free(s, ss, ss->free | 1u << i);
    struct superslab *list = collect_empty(s, s->keep_empty, 0);
    hak_lock_drop(&s->lock);
    dispose(s, list);
}

/* ---- giving memory back -------------------------------------------------- */

static uint32_t dirty_slabs(const struct superslab *ss)
{
    uint32_t dirty = 0;
    for (uint32_t i = 0; i < SLABS; i++)
        dirty |= (uint32_t)(ss->dirty_bytes[i] != 0) << i;
    return dirty;
}

/* Under the lock: free slabs to purge, which nobody can take meanwhile. */
static uint32_t claim(struct superslabs *s, struct superslab *ss, bool all)
{
    uint32_t dirty = dirty_slabs(ss) & ss->free;
    uint32_t claimed = dirty & (all ? SLABS_ALL : ss->old);
    ss->old = dirty;
    set_free(s, ss, ss->free & ~claimed);
    return claimed;
}

static void purge_claimed(struct superslabs *s, struct superslab *ss,
                          uint32_t claimed)
{
    const struct hak_host *host = s->box->host;
    for (uint32_t rest = claimed; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(rest);
        size_t bytes = hak_round_up(ss->dirty_bytes[i], host->os_page_bytes);
        host->purge(s->box, ss->base + i * SLAB_BYTES, bytes);
        hak_count_shared(&s->given_bytes, (int64_t)bytes);
    }
}

/* Under the lock: claimed slabs are clean, and free again. */
static void unclaim(struct superslabs *s, struct superslab *ss,
                    uint32_t claimed)
{
    for (uint32_t rest = claimed; rest != 0; rest &= rest - 1)
        ss->dirty_bytes[__builtin_ctz(rest)] = 0;
    ss->old &= ~claimed;
    set_free(s, ss, ss->free | claimed);
}

/*
 * A SuperSlab without used slabs is left to collect_empty. One with claimed
 * slabs is not empty, so nobody disposes of it meanwhile.
 */
static void purge(struct superslabs *s, bool all)
{
    hak_lock_take(&s->lock);
    for (struct superslab *ss = s->all; ss != NULL; ss = ss->all_next) {
        uint32_t claimed =
            ss->home == SUPERSLAB_PARTIAL ? claim(s, ss, all) : 0;
        if (claimed == 0)
            continue;
        hak_lock_drop(&s->lock);
        purge_claimed(s, ss, claimed);
        hak_lock_take(&s->lock);
        unclaim(s, ss, claimed);
    }
    hak_lock_drop(&s->lock);
}

static void release(struct superslabs *s, uint32_t keep, uint64_t before_ms)
{
    hak_lock_take(&s->lock);
    struct superslab *list = collect_empty(s, keep, before_ms);
    hak_lock_drop(&s->lock);
    dispose(s, list);
}

void superslabs_tick(struct superslabs *s)
{
    const struct hak_host *host = s->box->host;
    uint64_t now = host->now_ms(), delay = host->purge_delay_ms();
    if (!hak_is_due(&s->next_tick_ms, now, now + hak_max(delay / 2, 1)))
        return;
    purge(s, false);
    release(s, s->keep_empty, now > delay ? now - delay : 0);
}

void superslabs_trim(struct superslabs *s)
{
    purge(s, true);
    release(s, 0, UINT64_MAX);
}

/* ---- checks -------------------------------------------------------------- */

static void check_one(const struct superslabs *s, const struct superslab *ss)
{
    if (ss->base == NULL) {
        HAK_ALWAYS(ss->free == 0 && ss->home == SUPERSLAB_NONE);
        return;
    }
    HAK_ALWAYS(superslab_of(s, ss->base) == ss);
    HAK_ALWAYS((ss->free == SLABS_ALL) == (ss->home == SUPERSLAB_EMPTY));
    HAK_ALWAYS((ss->free == 0) == (ss->home == SUPERSLAB_NONE));
    HAK_ALWAYS((ss->old & ~dirty_slabs(ss)) == 0);
    for (uint32_t i = 0; i < SLABS; i++) {
        const struct hak_page *page = ss->page[i];
        HAK_ALWAYS((ss->free >> i & 1) == (page == NULL));
        HAK_ALWAYS(ss->dirty_bytes[i] <= SLAB_BYTES);
        if (page != NULL)
            HAK_ALWAYS(hak_page_memory(page) == ss->base + i * SLAB_BYTES);
    }
}

void superslabs_check(const struct superslabs *s)
{
    uint64_t nfree = 0, nempty = 0;
    for (const struct superslab *ss = s->all; ss != NULL; ss = ss->all_next) {
        check_one(s, ss);
        nfree += (uint64_t)__builtin_popcount(ss->free);
        nempty += ss->home == SUPERSLAB_EMPTY;
    }
    HAK_ALWAYS(nfree == s->free_slabs);
    HAK_ALWAYS(nempty == s->nempty);
}

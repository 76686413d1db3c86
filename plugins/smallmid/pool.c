/* SPDX-License-Identifier: MIT
 * pool.c - slots between thread lists and slabs: see pool.h.
 */
#include "pool.h"

/* The notes' 32, 24, 16 slots for 256, 512, 1024 bytes, carried on both ways:
 * 8 more for each halving. */
static uint32_t capacity_of(uint32_t slot_bytes)
{
    uint32_t log2_up = 32u - (uint32_t)__builtin_clz(slot_bytes - 1);
    return 8u * (12u - log2_up);
}

void pool_init(struct pool *pool, struct superslabs *supers,
               uint32_t class_number, uint32_t slot_bytes, uint32_t lists)
{
    pool->supers = supers;
    pool->class_number = (uint8_t)class_number;
    pool->tag = (uint8_t)(SLAB_TAG | class_number);
    pool->slot_bytes = slot_bytes;
    pool->key = hak_link_key(supers->chunks.box);
    pool->capacity = (uint16_t)(capacity_of(slot_bytes) * lists);
    pool->batch = pool->capacity / 2;
    hak_link_init(&pool->left);
}

/* All below: the caller holds the pool's lock, but where it is taken. */

/* ---- who holds a slab -------------------------------------------------- */

/* By its holder's lists, or `left`; a full one that nobody holds is in none. */
static void file_slab(struct pool *pool, struct slab *slab)
{
    struct list *list = slab->list;
    if (hak_link_in_list(&slab->link))
        hak_link_remove(&slab->link);
    if (list != NULL)
        hak_link_after(slab_has_free(slab) ? &list->open : &list->full,
                       &slab->link);
    else if (slab_has_free(slab))
        hak_link_after(&pool->left, &slab->link);
}

static void name_holder(const struct pool *pool, struct slab *slab,
                        struct list *list)
{
    struct hak_box *box = pool->supers->chunks.box;
    __atomic_store_n(&slab->list, list, __ATOMIC_RELAXED);
    box->host->span_set(box, list != NULL ? &list->span : NULL, slab->start,
                        SLAB_BYTES);
}

/* Slots that come under the list's count, or leave it. */
static void count_out(struct list *list, uint64_t n)
{
    hak_count(&list->base, n);
    hak_count(&list->span.nalloc, n);
}

static struct slab *take_over(struct list *list)
{
    struct pool *pool = list->pool;
    struct slab *slab = hak_item(pool->left.next, struct slab, link);
    name_holder(pool, slab, list);
    count_out(list, slab->used);
    hak_count(&pool->taken_over, slab->used);
    file_slab(pool, slab);
    return slab;
}

static struct slab *grow(struct list *list)
{
    struct pool *pool = list->pool;
    struct slab *slab = superslabs_take(pool->supers);
    if (slab == NULL)
        return NULL;
    slab->free = NULL;
    slab->used = slab->carved = 0;
    slab->capacity = (uint16_t)(SLAB_BYTES / pool->slot_bytes);
    slab->class_number = pool->class_number;
    __atomic_store_n(&slab->slot_bytes, pool->slot_bytes, __ATOMIC_RELAXED);
    name_holder(pool, slab, list);
    __atomic_store_n(&slab->tag, pool->tag, __ATOMIC_RELAXED);
    file_slab(pool, slab);
    return slab;
}

/* A slot that is freed twice inline counts as two, and the slab as empty with a
 * live slot in it. */
static void expect_empty(const struct pool *pool, const struct slab *slab)
{
    const char *p = slab->start;
    for (uint32_t i = 0; i < slab->carved; i++, p += pool->slot_bytes)
        if (unlikely(!hak_slot_is_marked(p, pool->key)))
            hak_miscounted(pool->supers->chunks.box, slab->start,
                           pool->slot_bytes);
}

/* No list is named for it any more: a wrong free of a slot that was in it would
 * else go on that list, and the slot out again while the slab is another's. */
static void retire(struct pool *pool, struct slab *slab)
{
    expect_empty(pool, slab);
    hak_link_remove(&slab->link);
    name_holder(pool, slab, NULL);
    __atomic_store_n(&slab->tag, 0, __ATOMIC_RELAXED);
    superslabs_put(pool->supers, slab);
}

/* ---- from slabs to a list ---------------------------------------------- */

static void push(struct list *list, void *p)
{
    hak_slot_link(p, list->span.key, list->span.local);
    list->span.local = p;
}

/* The first slots of the slab's free list, at most n; the list has none. */
static uint32_t take_freed(struct slab *slab, struct list *list, uint32_t n)
{
    void *last = slab->free;
    uint32_t k = 1;
    void *rest = hak_span_next(&list->span, last);
    for (; k < n && rest != NULL; k++) {
        last = rest;
        rest = hak_span_next(&list->span, last);
    }
    hak_slot_link(last, list->span.key, list->span.local);
    list->span.local = slab->free;
    slab->free = rest;
    return k;
}

/* What was freed first, it may still be in a cache; then what nobody had, the
 * lowest address on top. */
static uint32_t take_from(struct slab *slab, struct list *list, uint32_t n)
{
    uint32_t k = slab->free != NULL ? take_freed(slab, list, n) : 0;
    uint32_t carve =
        (uint32_t)hak_min(n - k, (size_t)slab->capacity - slab->carved);
    for (uint32_t i = carve; i-- != 0;)
        push(list, slab->start + (size_t)(slab->carved + i) * slab->slot_bytes);
    __atomic_store_n(&slab->carved, (uint16_t)(slab->carved + carve),
                     __ATOMIC_RELAXED); /* frees of others look at it */
    slab->used = (uint16_t)(slab->used + k + carve);
    return k + carve;
}

/* What others gave back is no longer out. */
static void count_returned(struct list *list)
{
    hak_count(&list->base, -list->returned);
    hak_count(&list->span.nfree, list->returned);
    list->returned = 0;
}

/* When triggered is to be called. */
static void arm(struct list *list)
{
    list->span.trigger = list->span.nfree + list->pool->capacity;
}

static struct slab *slab_with_room(struct list *list)
{
    if (!hak_link_empty(&list->open))
        return hak_item(list->open.next, struct slab, link);
    return hak_link_empty(&list->pool->left) ? grow(list) : take_over(list);
}

static void send(struct list *list);

bool list_refill(struct list *list)
{
    struct pool *pool = list->pool;
    hak_lock_take(&pool->lock);
    send(list);
    count_returned(list);
    struct slab *slab = slab_with_room(list);
    uint32_t n = 0;
    while (slab != NULL) {
        n += take_from(slab, list, pool->batch - n);
        if (!slab_has_free(slab))
            file_slab(pool, slab);
        bool more = n < pool->batch && !hak_link_empty(&list->open);
        slab = more ? slab_with_room(list) : NULL;
    }
    hak_count(&list->base, n);
    hak_count(&pool->out, n);
    arm(list);
    hak_lock_drop(&pool->lock);
    return n != 0;
}

/* ---- and back ---------------------------------------------------------- */

/*
 * A chain of n slots of one slab, first to last. from: the list that they were
 * on, or NULL: from the program.
 */
static void give(struct pool *pool, void *first, void *last, uint32_t n,
                 const struct list *from)
{
    struct slab *slab = slab_of(pool->supers, first);
    if (unlikely(slab == NULL || slab->tag != pool->tag))
        hak_free_refused(pool->supers->chunks.box, first,
                         "freed twice, and its slab has gone since", NULL, 0);
    if (unlikely(n > slab->used))
        hak_miscounted(pool->supers->chunks.box, slab->start, pool->slot_bytes);
    bool had_free = slab_has_free(slab);
    hak_slot_link(last, pool->key, slab->free);
    slab->free = first;
    slab->used = (uint16_t)(slab->used - n);
    hak_count(&pool->out, -(uint64_t)n);
    if (slab->list != NULL && slab->list != from)
        slab->list->returned += n;
    if (!had_free)
        file_slab(pool, slab);
    if (slab->used == 0)
        retire(pool, slab);
}

static void send(struct list *list)
{
    uint64_t n = list->naway;
    hak_count(&list->naway, -n);
    for (uint64_t i = 0; i < n; i++)
        give(list->pool, list->away[i], list->away[i], 1, NULL);
}

static bool in_one_slab(const void *a, const void *b)
{
    return ((uintptr_t)a ^ (uintptr_t)b) < SLAB_BYTES;
}

/* The last n that were freed, by runs that are of one slab. */
static void give_newest(struct list *list, uint64_t n)
{
    void *p = list->span.local;
    hak_count(&list->base, -n);
    while (n != 0) {
        void *first = p, *last = p;
        uint32_t k = 1;
        p = hak_span_next(&list->span, last);
        for (; k < n && in_one_slab(p, first); k++) {
            last = p;
            p = hak_span_next(&list->span, last);
        }
        list->span.local = p; /* first: their memory may go */
        give(list->pool, first, last, k, list);
        n -= k;
    }
}

void list_overflow(struct list *list)
{
    const struct pool *pool = list->pool;
    uint64_t n = list_count(list);
    if (n <= pool->capacity) {
        arm(list);
        return;
    }
    hak_lock_take(&list->pool->lock);
    give_newest(list, n - pool->batch);
    count_returned(list);
    arm(list);
    hak_lock_drop(&list->pool->lock);
}

void list_flush(struct list *list)
{
    hak_lock_take(&list->pool->lock);
    send(list);
    give_newest(list, list_count(list));
    count_returned(list);
    arm(list);
    hak_lock_drop(&list->pool->lock);
}

void list_send(struct list *list)
{
    hak_lock_take(&list->pool->lock);
    send(list);
    hak_lock_drop(&list->pool->lock);
}

static void leave_all(struct list *list, struct hak_link *slabs)
{
    while (!hak_link_empty(slabs)) {
        struct slab *slab = hak_item(slabs->next, struct slab, link);
        name_holder(list->pool, slab, NULL);
        file_slab(list->pool, slab);
    }
}

void list_leave(struct list *list)
{
    hak_lock_take(&list->pool->lock);
    send(list);
    give_newest(list, list_count(list));
    leave_all(list, &list->open);
    leave_all(list, &list->full);
    count_returned(list);
    uint64_t out = list->span.nalloc - list->span.nfree; /* others' now */
    hak_count(&list->base, -out);
    hak_count(&list->span.nfree, out);
    hak_lock_drop(&list->pool->lock);
}

void pool_give_one(struct pool *pool, void *p)
{
    hak_lock_take(&pool->lock);
    give(pool, p, p, 1, NULL);
    hak_lock_drop(&pool->lock);
}

/* ---- wrong frees ------------------------------------------------------- */

/* A link is followed only while its mark is whole: others may be at work. */
static bool chain_has(const struct pool *pool, const void *at, const void *p,
                      uint32_t most)
{
    for (uint32_t n = 0; at != NULL && n <= most; n++) {
        if (at == p)
            return true;
        const struct slab *slab = slab_of(pool->supers, at);
        if (slab == NULL || slab_tag(slab) != pool->tag ||
            !hak_slot_is_marked(at, pool->key))
            return false;
        at = hak_slot_next(at, pool->key);
    }
    return false;
}

bool pool_has_free(struct pool *pool, const struct slab *slab, const void *p)
{
    hak_lock_take(&pool->lock);
    bool has = chain_has(pool, slab->free, p, slab->capacity);
    hak_lock_drop(&pool->lock);
    return has;
}

bool list_has(const struct list *list, const void *p)
{
    const struct pool *pool = list->pool;
    uint64_t naway = hak_min(hak_counted(&list->naway), AWAY_MAX);
    for (uint64_t i = 0; i < naway; i++)
        if (list->away[i] == p)
            return true;
    const void *first = __atomic_load_n(&list->span.local, __ATOMIC_RELAXED);
    return chain_has(pool, first, p, 2u * pool->capacity);
}

/* ---- check ------------------------------------------------------------- */

static void check_slab(const struct pool *pool, const struct slab *slab)
{
    uint32_t n = 0;
    for (const void *p = slab->free; p != NULL;
         p = hak_slot_next(p, pool->key)) {
        size_t at = (size_t)((const char *)p - slab->start);
        HAK_ALWAYS(at % slab->slot_bytes == 0);
        HAK_ALWAYS(at / slab->slot_bytes < slab->carved);
        HAK_ALWAYS(++n <= slab->carved);
    }
    HAK_ALWAYS(slab->slot_bytes == pool->slot_bytes);
    HAK_ALWAYS(slab->carved <= slab->capacity);
    HAK_ALWAYS(slab->used != 0 && slab->used + n == slab->carved);
    HAK_ALWAYS(hak_link_in_list(&slab->link) ==
               (slab->list != NULL || slab_has_free(slab)));
}

void pool_check(const struct pool *pool)
{
    uint64_t out = 0;
    const struct superslab *super = superslab_first(pool->supers);
    for (; super != NULL; super = superslab_next(super))
        for (size_t i = 0; i < SUPERSLAB_SLABS; i++) {
            const struct slab *slab = &super->slab[i];
            if (super->chunk.base == NULL || slab->tag != pool->tag)
                continue;
            check_slab(pool, slab);
            out += slab->used;
        }
    HAK_ALWAYS(out == pool->out);
}

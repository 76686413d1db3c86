/* SPDX-License-Identifier: MIT
 * smallmid.c - 256, 512 and 1024 bytes from thread lists: the operations.
 *
 * A span is a thread's list of one class: the core takes slots from it inline,
 * and the directory names it for all slabs that the list holds, so frees go
 * there inline too.
 */
#include "smallmid.h"

#include <kit/span.h>

#include <errno.h>

enum {
    PARAM_SLOTS,
    PARAM_LISTS,
    PARAM_REUSE,
    PARAM_WARM,
    PARAM_PREWARM,
};

static const struct hak_param params[] = {
    {.name = "slots",
     .type = HAK_PARAM_TEXT,
     .def_text = "256,512,1024",
     .help = "slot sizes in bytes, rising, multiples of 16 up to 1024"},
    {.name = "lists",
     .type = HAK_PARAM_INT,
     .min = 1,
     .max = LISTS_MOST,
     .def = 1,
     .help = "a thread's lists in multiples of 32, 24 and 16 slots"},
    {.name = "reuse",
     .type = HAK_PARAM_BOOL,
     .max = 1,
     .def = 1,
     .help = "an empty slab serves again, any class; off only to measure"},
    {.name = "warm",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = 1024,
     .def = 1,
     .help = "empty SuperSlabs of 1 MiB that are kept"},
    {.name = "prewarm",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = 1024,
     .def = 0,
     .help = "1 MiB SuperSlabs taken at the start, their pages touched"},
};

/* ---- init -------------------------------------------------------------- */

/* One number and what separates it from the next; 0 = not a slot size. */
static uint32_t next_slot(const char **text)
{
    const char *at = *text;
    uint32_t n = 0;
    while (*at == ' ')
        at++;
    while (*at >= '0' && *at <= '9' && n <= HAK_SMALL_MAX_BYTES)
        n = n * 10 + (uint32_t)(*at++ - '0');
    while (*at == ' ')
        at++;
    if (*at == ',' && at[1] != '\0')
        at++;
    else if (*at != '\0')
        return 0;
    *text = at;
    return n % HAK_ALIGN_BYTES == 0 && n <= HAK_SMALL_MAX_BYTES ? n : 0;
}

static bool parse_slots(struct smallmid *sm, const char *text, uint32_t lists)
{
    uint32_t last = 0, index = 0;
    do {
        uint32_t c = sm->nclasses, slot_bytes = next_slot(&text);
        if (slot_bytes <= last || c == CLASSES_MAX)
            return false;
        pool_init(&sm->pool[c], &sm->supers, c, slot_bytes, lists);
        for (; index <= hak_index_of(slot_bytes); index++)
            sm->class_of[index] = (uint8_t)c;
        sm->nclasses++;
        last = slot_bytes;
    } while (*text != '\0');
    return true;
}

static int smallmid_init(struct hak_box *box)
{
    const struct hak_host *host = box->host;
    const char *slots = box->params[PARAM_SLOTS].text;
    struct smallmid *sm = host->meta(box, sizeof *sm);
    if (sm == NULL) {
        host->log(box, HAK_LOG_ERROR, "no memory to start with");
        return -ENOMEM;
    }
    sm->box = sm->supers.chunks.box = box;
    memset(sm->class_of, NO_CLASS, sizeof sm->class_of);
    if (!parse_slots(sm, slots, (uint32_t)box->params[PARAM_LISTS].i)) {
        host->log(box, HAK_LOG_ERROR,
                  "slots = %s: need up to %d rising multiples of 16 up to %u, "
                  "with commas between",
                  slots, CLASSES_MAX, HAK_SMALL_MAX_BYTES);
        return -EINVAL;
    }
    if (!superslabs_init(&sm->supers, box->params[PARAM_REUSE].i != 0,
                         (uint32_t)box->params[PARAM_WARM].i)) {
        host->log(box, HAK_LOG_ERROR, "no memory for the table of SuperSlabs");
        return -ENOMEM;
    }
    uint32_t want = (uint32_t)box->params[PARAM_PREWARM].i;
    uint32_t got = superslabs_prewarm(&sm->supers, want);
    if (got != want)
        host->log(box, HAK_LOG_WARNING, "prewarm: only %u of %u SuperSlabs",
                  got, want);
    box->state = sm;
    return 0;
}

/* ---- heaps ------------------------------------------------------------- */

static void *smallmid_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    return heap_open(smallmid_of(box), thread);
}

static void smallmid_heap_close(struct hak_box *box, void *heap)
{
    heap_close(smallmid_of(box), heap);
}

/* ---- slots ------------------------------------------------------------- */

static struct list *list_of(const struct hak_span *span)
{
    return hak_container_of((struct hak_span *)(uintptr_t)span, struct list,
                            span);
}

static struct hak_span *smallmid_refill(struct hak_box *box, void *heap,
                                        size_t size_bytes)
{
    uint32_t c = class_of(smallmid_of(box), size_bytes);
    if (unlikely(c == NO_CLASS))
        return NULL;
    struct list *list = &((struct heap *)heap)->list[c];
    bool ok = list->span.local != NULL || list_refill(list);
    return ok ? &list->span : NULL;
}

static void smallmid_triggered(struct hak_span *span)
{
    list_overflow(list_of(span));
}

/* A call instead of a lane: the same, by hand. */
static void *alloc_class(struct hak_box *box, uint32_t c)
{
    struct heap *heap = box->host->heap(box, true);
    if (unlikely(heap == NULL))
        return NULL;
    struct list *list = &heap->list[c];
    if (unlikely(list->span.local == NULL) && !list_refill(list))
        return NULL;
    return hak_span_pop(&list->span);
}

static void *smallmid_alloc(struct hak_box *box, size_t size_bytes)
{
    uint32_t c = class_of(smallmid_of(box), size_bytes);
    return likely(c != NO_CLASS) ? alloc_class(box, c) : NULL;
}

/* Slots of a multiple of align are aligned: slabs start at a granule. */
static void *smallmid_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                    size_t size_bytes)
{
    const struct smallmid *sm = smallmid_of(box);
    uint32_t c = class_of(sm, size_bytes);
    for (; c < sm->nclasses; c++)
        if (sm->pool[c].slot_bytes % align_bytes == 0)
            return alloc_class(box, c);
    return NULL;
}

static void free_on_list(struct list *list, void *p)
{
    if (hak_span_push(&list->span, p))
        list_overflow(list);
}

/* Of a slab that another list holds, or none: home in batches. */
static void free_away(struct hak_box *box, struct pool *pool, void *p)
{
    struct heap *heap = box->host->heap(box, false);
    if (unlikely(heap == NULL)) {
        pool_give_one(pool, p);
        return;
    }
    struct list *list = &heap->list[pool->class_number];
    hak_slot_link(p, pool->key, NULL); /* as all free slots */
    list->away[list->naway] = p;
    hak_count(&list->naway, 1);
    if (list->naway == pool->batch)
        list_send(list);
}

/* In any free list: the slab's, or a thread's. */
static bool is_free(struct smallmid *sm, uint32_t c, const struct slab *slab,
                    const void *p)
{
    if (pool_has_free(&sm->pool[c], slab, p))
        return true;
    const struct heap *heap = __atomic_load_n(&sm->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        if (list_has(&heap->list[c], p))
            return true;
    return false;
}

/* What is wrong with freeing p, in a slab of class c; NULL: it is live. */
static const char *why_not(struct smallmid *sm, uint32_t c,
                           const struct slab *slab, const void *p)
{
    const struct pool *pool = &sm->pool[c];
    size_t at = (size_t)((const char *)p - slab->start);
    uint32_t carved = __atomic_load_n(&slab->carved, __ATOMIC_RELAXED);
    if (unlikely(at >= (size_t)carved * pool->slot_bytes))
        return "nothing was handed out there";
    if (unlikely(at % pool->slot_bytes != 0))
        return "not the start of a slot";
    return unlikely(hak_slot_is_marked(p, pool->key)) && is_free(sm, c, slab, p)
               ? "freed twice"
               : NULL;
}

/* Class and slab of a slot that may be freed; aborts if there is none. */
static struct slab *expect_live(struct hak_box *box, const void *p, uint32_t *c)
{
    struct smallmid *sm = smallmid_of(box);
    struct slab *slab = slab_of(&sm->supers, p);
    *c = (slab != NULL ? slab_tag(slab) : 0u) ^ SLAB_TAG;
    if (unlikely(slab == NULL || *c >= sm->nclasses))
        hak_free_refused(box, p, HAK_WHY_NO_PAGE, NULL, 0);
    const char *why = why_not(sm, *c, slab, p);
    uint32_t slot_bytes = sm->pool[*c].slot_bytes;
    size_t at = (size_t)((const char *)p - slab->start);
    if (unlikely(why != NULL))
        hak_free_refused(box, p, why, (const char *)p - at % slot_bytes,
                         slot_bytes);
    return slab;
}

static void smallmid_remote_free(struct hak_span *span, void *p)
{
    uint32_t c;
    expect_live(span->box, p, &c);
    free_away(span->box, list_of(span)->pool, p);
}

static void smallmid_free(struct hak_box *box, void *p)
{
    struct smallmid *sm = smallmid_of(box);
    uint32_t c;
    struct slab *slab = expect_live(box, p, &c);
    struct heap *heap = box->host->heap(box, false);
    if (heap != NULL &&
        __atomic_load_n(&slab->list, __ATOMIC_RELAXED) == &heap->list[c])
        free_on_list(&heap->list[c], p);
    else
        free_away(box, &sm->pool[c], p);
}

static bool smallmid_owns(struct hak_box *box, const void *p)
{
    const struct smallmid *sm = smallmid_of(box); /* NULL before init */
    return sm != NULL && slab_of(&sm->supers, p) != NULL;
}

static size_t smallmid_usable_size(struct hak_box *box, const void *p)
{
    struct smallmid *sm = smallmid_of(box);
    const struct slab *slab = slab_of(&sm->supers, p);
    if (slab == NULL)
        return 0;
    uint32_t c = slab_tag(slab) ^ SLAB_TAG;
    if (c >= sm->nclasses || why_not(sm, c, slab, p) != NULL)
        return 0;
    return sm->pool[c].slot_bytes;
}

static size_t smallmid_slot_size(struct hak_box *box, size_t size_bytes)
{
    const struct smallmid *sm = smallmid_of(box);
    uint32_t c = class_of(sm, size_bytes);
    return c != NO_CLASS ? sm->pool[c].slot_bytes : 0;
}

/* ---- the whole box ----------------------------------------------------- */

/* Lock order: pools by class number, SuperSlabs; heaps is taken alone. */
static void smallmid_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct smallmid *sm = smallmid_of(box);
    for (uint32_t c = 0; c < sm->nclasses; c++)
        hak_lock_fork(&sm->pool[c].lock, phase);
    hak_lock_fork(&sm->supers.chunks.lock, phase);
    hak_lock_fork(&sm->heaps_lock, phase);
}

static size_t smallmid_trim(struct hak_box *box)
{
    struct superslabs *supers = &smallmid_of(box)->supers;
    struct heap *heap = box->host->heap(box, false);
    uint64_t before = hak_counted(&supers->chunks.given_bytes);
    if (heap != NULL)
        heap_flush(heap);
    superslabs_trim(supers);
    return hak_counted(&supers->chunks.given_bytes) - before;
}

/* Slots of a class that threads have and the program has not. */
static uint64_t kept(const struct smallmid *sm, uint32_t c)
{
    uint64_t n = 0;
    const struct heap *heap = __atomic_load_n(&sm->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        n += list_count(&heap->list[c]) + hak_counted(&heap->list[c].naway);
    return n;
}

static uint64_t handed_out(const struct smallmid *sm, uint32_t c)
{
    uint64_t n = 0;
    const struct heap *heap = __atomic_load_n(&sm->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        n += hak_counted(&heap->list[c].span.nalloc);
    return n - hak_counted(&sm->pool[c].taken_over);
}

/* While others run, the sums are of different moments: never below 0. */
static void smallmid_stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct smallmid *sm = smallmid_of(box);
    const struct superslabs *supers = &sm->supers;
    for (uint32_t c = 0; c < sm->nclasses; c++) {
        uint64_t mine = kept(sm, c);
        uint64_t taken = hak_counted(&sm->pool[c].out);
        uint64_t live = taken > mine ? taken - mine : 0;
        uint64_t allocs = handed_out(sm, c);
        out->live_count += live;
        out->live_bytes += live * sm->pool[c].slot_bytes;
        out->allocs += allocs;
        out->frees += allocs - hak_min(live, allocs);
    }
    if (!box->lanes)
        out->allocs = out->frees = 0;
    out->peak_bytes = hak_counted(&supers->peak_bytes);
    out->cached_bytes = hak_chunks_free_bytes(&supers->chunks, false) +
                        hak_counted(&supers->spent_bytes);
    out->retired_pages = hak_counted(&supers->retired);
}

/* Add the slabs to mapped_bytes of their classes. */
static void add_slabs(const struct smallmid *sm, struct hak_class *out)
{
    const struct superslab *super = superslab_first(&sm->supers);
    for (; super != NULL; super = superslab_next(super))
        for (size_t i = 0; i < SUPERSLAB_SLABS; i++) {
            uint32_t c = slab_tag(&super->slab[i]) ^ SLAB_TAG;
            if (c < sm->nclasses)
                out[c].mapped_bytes += SLAB_BYTES;
        }
}

static uint32_t read_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    struct smallmid *sm = smallmid_of(box);
    HAK_ALWAYS(n >= sm->nclasses);
    for (uint32_t c = 0; c < sm->nclasses; c++) {
        struct pool *pool = &sm->pool[c];
        uint64_t mine = kept(sm, c), taken = hak_counted(&pool->out);
        uint64_t allocs = handed_out(sm, c);
        out[c].slot_bytes = pool->slot_bytes;
        out[c].live_count = taken > mine ? taken - mine : 0;
        out[c].live_bytes = out[c].live_count * pool->slot_bytes;
        out[c].allocs = hak_count_told(&pool->told_allocs, allocs);
        out[c].frees = hak_count_told(
            &pool->told_frees, allocs - hak_min(out[c].live_count, allocs));
    }
    add_slabs(sm, out);
    return sm->nclasses;
}

static const void *get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = read_classes,
    };
    (void)box;
    return strcmp(id, HAK_CLASSES_1) == 0 ? &classes : NULL;
}

/* ---- walk -------------------------------------------------------------- */

static void mark(uint64_t *is_free, const struct slab *slab, const void *p)
{
    size_t at = (size_t)((const char *)p - slab->start);
    if (at >= SLAB_BYTES)
        return; /* of a list: in another slab */
    size_t i = at / slab->slot_bytes;
    is_free[i >> 6] |= 1ull << (i & 63);
}

static void mark_kept(const struct smallmid *sm, const struct slab *slab,
                      uint64_t *is_free)
{
    const struct heap *heap = __atomic_load_n(&sm->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        const struct list *list = &heap->list[slab->class_number];
        const void *p = list->span.local;
        for (uint64_t n = list_count(list); n != 0 && p != NULL; n--) {
            mark(is_free, slab, p);
            p = hak_slot_next(p, list->span.key);
        }
        uint64_t away = hak_counted(&list->naway);
        for (uint64_t i = 0; i < away && i < AWAY_MAX; i++)
            mark(is_free, slab, list->away[i]);
    }
}

/* The visitor is called without a lock: it may free. False: it said stop. */
static bool walk_slab(struct smallmid *sm, const struct slab *slab,
                      hak_visit *visit, void *context)
{
    uint64_t is_free[SLAB_SLOTS_MAX / 64] = {0};
    uint32_t c = (uint32_t)slab_tag(slab) ^ SLAB_TAG;
    if (c >= sm->nclasses)
        return true;
    struct pool *pool = &sm->pool[c];
    hak_lock_take(&pool->lock);
    char *start = slab->start;
    uint32_t n = slab->tag == pool->tag ? slab->carved : 0;
    for (const void *p = n != 0 ? slab->free : NULL; p != NULL;
         p = hak_slot_next(p, pool->key))
        mark(is_free, slab, p);
    if (n != 0)
        mark_kept(sm, slab, is_free);
    hak_lock_drop(&pool->lock);
    for (uint32_t i = 0; i < n; i++)
        if ((is_free[i >> 6] >> (i & 63) & 1) == 0 &&
            !visit(context, start + (size_t)i * pool->slot_bytes,
                   pool->slot_bytes))
            return false;
    return true;
}

static void smallmid_visit_slots(struct hak_box *box, hak_visit *visit,
                                 void *context)
{
    struct smallmid *sm = smallmid_of(box);
    const struct superslab *super = superslab_first(&sm->supers);
    for (; super != NULL; super = superslab_next(super))
        for (size_t i = 0; i < SUPERSLAB_SLABS; i++)
            if (!walk_slab(sm, &super->slab[i], visit, context))
                return;
}

void smallmid_check(struct smallmid *sm)
{
    superslabs_check(&sm->supers);
    for (uint32_t c = 0; c < sm->nclasses; c++) {
        pool_check(&sm->pool[c]);
        HAK_ALWAYS(kept(sm, c) <= sm->pool[c].out);
    }
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("smallmid", "1.0"),
    .summary = "256, 512, 1024 bytes: bounded thread lists over SuperSlabs",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = 1,
    .max_bytes = HAK_SMALL_MAX_BYTES,
    .ops =
        {
            .alloc = smallmid_alloc,
            .free = smallmid_free,
            .owns = smallmid_owns,
            .init = smallmid_init,
            .usable_size = smallmid_usable_size,
            .slot_size = smallmid_slot_size,
            .aligned_alloc = smallmid_aligned_alloc,
            .heap_open = smallmid_heap_open,
            .heap_close = smallmid_heap_close,
            .refill = smallmid_refill,
            .triggered = smallmid_triggered,
            .remote_free = smallmid_remote_free,
            .fork = smallmid_fork,
            .trim = smallmid_trim,
            .stats = smallmid_stats,
            .get_extension = get_extension,
            .visit_slots = smallmid_visit_slots,
        },
};

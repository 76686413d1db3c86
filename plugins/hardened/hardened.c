/* SPDX-License-Identifier: MIT
 * hardened.c - the operations of the box.
 */
#include "hardened.h"

#include <errno.h>

enum {
    PARAM_QUARANTINE,
    PARAM_BIG_QUARANTINE,
    PARAM_ZERO,
    PARAM_GUARD,
    PARAM_EMPTY_BYTES,
    PARAM_MOST_GUARDED,
    PARAM_ARENAS,
};

enum { MAPPINGS = 65530 }; /* the kernel's default of vm.max_map_count */

static const struct hak_param params[] = {
    {.name = "quarantine",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = QUARANTINE_MOST,
     .def = 16,
     .help = "freed slots of a class that wait in random order, and as many "
             "in turn"},
    {.name = "big_quarantine",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = 65536,
     .def = 32,
     .help = "freed blocks above 128 KiB that wait, closed to any access"},
    {.name = "zero",
     .type = HAK_PARAM_BOOL,
     .max = 1,
     .def = 1,
     .help = "wipe freed slots, and check that they are so when reused"},
    {.name = "guard",
     .type = HAK_PARAM_BOOL,
     .max = 1,
     .def = 1,
     .help = "a closed page behind each slab of slots"},
    {.name = "empty_bytes",
     .type = HAK_PARAM_SIZE,
     .min = 0,
     .max = (int64_t)1 << 40,
     .def = 16 << 20,
     .help = "empty slabs keep their pages, up to so many bytes"},
    {.name = "most_guarded",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = INT32_MAX,
     .def = 0,
     .help = "slabs and blocks in use that lie between closed pages, a mapping "
             "of the kernel's each; 0 = half of vm.max_map_count"},
    {.name = "arenas",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = ARENAS_MOST,
     .def = 0,
     .help = "sets of slabs with a lock each, which threads share; 0 = as many "
             "as CPUs, at most 8"},
};

#define HAK_WHY_MARKED "of what C++'s new gave out, for delete to take"

/* ---- for all files --------------------------------------------------------
 */

bool hardened_take_guard(struct hardened *h)
{
    if (hak_counted(&h->now->nguarded) >= h->most_guarded)
        return false;
    hak_count_shared(&h->now->nguarded, 1);
    return true;
}

void hardened_drop_guard(struct hardened *h)
{
    hak_count_shared(&h->now->nguarded, -1);
}

void hardened_give_back(struct hardened *h)
{
    slots_give_back(h);
    big_give_back(h);
}

void hardened_count_in_use(struct hardened *h, int64_t bytes)
{
    hak_count_peak(&h->now->peak_bytes,
                   hak_count_shared(&h->now->in_use_bytes, bytes));
}

/* ---- metadata --------------------------------------------------------------
 */

enum { CHUNK_BYTES = 256 * 1024, CHUNK_LEAST_BYTES = 16 * 1024 };

/* Get a new chunk, or a shorter one when memory is short. The chunk's lock is
 * held. */
static void more_chunk(struct hardened *h, struct chunk *chunk)
{
    size_t bytes = CHUNK_BYTES;
    char *more = h->box->host->meta_guarded(h->box, bytes);
    while (more == NULL && bytes > CHUNK_LEAST_BYTES)
        more = h->box->host->meta_guarded(h->box, bytes /= 2);
    if (more == NULL)
        return;
    chunk->next = more;
    chunk->end = more + bytes;
}

void *hardened_metadata(struct hardened *h, size_t size_bytes)
{
    size_bytes = hak_round_up(size_bytes, 64);
    struct chunk *chunk = &h->now->chunk;
    void *p = NULL;
    hak_lock_take(&chunk->lock);
    if ((size_t)(chunk->end - chunk->next) < size_bytes)
        more_chunk(h, chunk);
    if ((size_t)(chunk->end - chunk->next) >= size_bytes) {
        p = chunk->next;
        chunk->next += size_bytes;
    }
    hak_lock_drop(&chunk->lock);
    return p;
}

struct slab *hardened_struct(struct hardened *h, uint32_t capacity,
                             size_t slot_bytes)
{
    size_t bits = HAK_BITS_WORDS(capacity) * sizeof(uint64_t);
    size_t each =
        slot_bytes > NARROW_SLOT_MOST ? sizeof(uint32_t) : sizeof(uint16_t);
    struct slab *slab =
        hardened_metadata(h, sizeof *slab + bits + capacity * each);
    if (slab == NULL)
        return NULL;
    slab->note = (char *)slab->used + bits;
    slab->all_next = __atomic_load_n(&h->now->all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&h->now->all, &slab->all_next, slab,
                                        true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return slab;
}

/* ---- wrong pointers --------------------------------------------------------
 */

const char *hardened_why_not(const struct slab *slab, const void *p)
{
    size_t at = (size_t)((const char *)p - slab->start);
    size_t i = index_of(slab, at);
    if (i >= slab->capacity)
        return "in a guard";
    if (i * slab->slot_bytes != at)
        return "not the start of a slot";
    return is_out(slab, i) ? NULL : "freed twice, or never handed out";
}

void hardened_refuse(struct hardened *h, const struct slab *slab, const void *p,
                     const char *why)
{
    size_t at = (size_t)((const char *)p - slab->start);
    size_t i = index_of(slab, at);
    bool inside = i < slab->capacity;
    hak_free_refused(
        h->box, p, why, inside ? (const char *)p - at % slab->slot_bytes : NULL,
        inside && is_out(slab, i) ? asked_of(slab, i) : room_of(slab));
}

/* ---- operations -----------------------------------------------------------
 */

static bool init_map(struct hak_map *map, struct hak_box *box)
{
    map->base = box->host->window_base;
    map->n = box->host->window_bytes >> HAK_GRANULE_SHIFT;
    map->entry = box->host->meta_guarded(box, map->n * sizeof(void *));
    return map->entry != NULL;
}

/* Half of the mappings that a process may have. The program needs the others.
 */
static uint32_t half_of_mappings(const struct hak_host *host)
{
    uint32_t most = host->nmappings();
    return (most != 0 ? most : MAPPINGS) / 2;
}

static int hardened_init(struct hak_box *box)
{
    struct hardened *h = box->host->meta_guarded(box, sizeof *h);
    if (h != NULL)
        h->now = box->host->meta_guarded(box, sizeof *h->now);
    if (h == NULL || h->now == NULL || !init_map(&h->map, box)) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for the slab table");
        return -ENOMEM;
    }
    h->box = box;
    h->secret[0] = box->host->random();
    h->secret[1] = box->host->random() | 1;
    h->zero = box->params[PARAM_ZERO].i != 0;
    h->guard = box->params[PARAM_GUARD].i != 0;
    h->keep_bytes = (size_t)box->params[PARAM_EMPTY_BYTES].i;
    h->most_waiting = (uint32_t)box->params[PARAM_BIG_QUARANTINE].i;
    h->most_guarded = (uint32_t)box->params[PARAM_MOST_GUARDED].i;
    if (h->most_guarded == 0)
        h->most_guarded = half_of_mappings(box->host);
    wipe_init(h);
    slots_init(h, (uint32_t)box->params[PARAM_QUARANTINE].i);
    big_init(h);
    heaps_init(h, (uint32_t)box->params[PARAM_ARENAS].i);
    if (h->now->arena[0] == NULL) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for the classes");
        return -ENOMEM;
    }
    box->host->read_only(box, h, sizeof *h);
    box->state = h;
    return 0;
}

static void *hardened_alloc(struct hak_box *box, size_t size_bytes)
{
    struct hardened *h = hardened_of(box);
    return size_bytes > SLOT_MOST_BYTES - BORDER_BYTES
               ? big_alloc(h, HAK_ALIGN_BYTES, size_bytes)
               : slots_alloc(h, hak_index_of(size_bytes + BORDER_BYTES),
                             size_bytes);
}

static void *hardened_alloc_none(struct hak_box *box)
{
    return slots_alloc(hardened_of(box), 0, 0);
}

/* A slot whose length is a power of two lies at a multiple of it, since slabs
 * start at a granule. */
static void *hardened_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                    size_t size_bytes)
{
    struct hardened *h = hardened_of(box);
    size_t slot = align_bytes;
    while (slot < SLOT_MOST_BYTES && slot - BORDER_BYTES < size_bytes)
        slot *= 2;
    return slot <= SLOT_MOST_BYTES && size_bytes <= slot - BORDER_BYTES &&
                   align_bytes <= HAK_GRANULE_BYTES
               ? slots_alloc(h, hak_index_of(slot), size_bytes)
               : big_alloc(h, align_bytes, size_bytes);
}

/* With `zero`, every slot that is handed out reads zero already. */
static void *hardened_zalloc(struct hak_box *box, size_t size_bytes)
{
    void *p = hardened_alloc(box, size_bytes);
    if (p != NULL && !hardened_of(box)->zero)
        memset(p, 0, size_bytes);
    return p;
}

static void hardened_free(struct hak_box *box, void *p)
{
    struct hardened *h = hardened_of(box);
    __builtin_prefetch((char *)p - BORDER_BYTES);
    struct slab *slab = slab_of(h, p);
    if (unlikely(slab == NULL))
        hak_free_refused(box, p, HAK_WHY_NO_PAGE, NULL, 0);
    size_t at = (size_t)((char *)p - slab->start);
    size_t i = index_of(slab, at);
    if (unlikely(i >= slab->capacity || i * slab->slot_bytes != at ||
                 !is_out(slab, i)))
        hardened_refuse(h, slab, p, hardened_why_not(slab, p));
    if (unlikely(is_marked(slab, i)))
        hardened_refuse(h, slab, p, HAK_WHY_MARKED);
    if (unlikely(is_big(slab)))
        big_free(h, slab, p);
    else
        slots_free(h, slab, i, p);
}

static bool hardened_owns(struct hak_box *box, const void *p)
{
    const struct hardened *h = hardened_of(box); /* NULL before init */
    return h != NULL && slab_of(h, p) != NULL;
}

/* The slab of the live slot p, and in *i the slot's number. Reports and aborts
 * when p is not a live slot. */
static struct slab *live_slot(struct hak_box *box, const void *p, size_t *i)
{
    struct slab *slab = slab_of(hardened_of(box), p);
    const char *why =
        slab != NULL ? hardened_why_not(slab, p) : HAK_WHY_NO_PAGE;
    if (unlikely(why != NULL)) {
        box->host->log(
            box, HAK_LOG_ERROR,
            "realloc, usable size or sized free(%p): not a live slot: %s", p,
            why);
        abort();
    }
    *i = index_of(slab, (size_t)((const char *)p - slab->start));
    return slab;
}

/* The size that was asked for, to the byte. */
static size_t hardened_usable_size(struct hak_box *box, const void *p)
{
    size_t i;
    if (slab_of(hardened_of(box), p) == NULL)
        return 0;
    const struct slab *slab = live_slot(box, p, &i);
    return asked_of(slab, i);
}

static size_t hardened_slot_size(struct hak_box *box, size_t size_bytes)
{
    return size_bytes > box->host->window_bytes ? 0 : hak_max(size_bytes, 1);
}

/* Checks the canaries first, since a change of size in place writes new ones,
 * which would hide an overflow. */
static void *hardened_resize(struct hak_box *box, void *p, size_t size_bytes)
{
    struct hardened *h = hardened_of(box);
    size_t i;
    struct slab *slab = live_slot(box, p, &i);
    if (unlikely(is_marked(slab, i)))
        hardened_refuse(h, slab, p, HAK_WHY_MARKED);
    if (is_big(slab)) {
        big_check(h, slab, p);
        return big_resize(h, slab, p, size_bytes);
    }
    if (unlikely(slab->class_number == 0))
        return NULL;
    slots_check(h, slab, i, p);
    return slots_resize(h, slab, i, p, size_bytes) ? p : NULL;
}

/* ---- hak.requests/1 ---- */

static void was_asked(struct hak_box *box, void *p, size_t size_bytes)
{
    struct hardened *h = hardened_of(box);
    size_t i;
    struct slab *slab = live_slot(box, p, &i);
    if (is_big(slab))
        big_set_asked(h, slab, size_bytes);
    else if (slab->class_number != 0)
        slots_set_asked(h, slab, i, p, size_bytes);
}

static uint32_t mark(struct hak_box *box, void *p, uint32_t mark)
{
    size_t i;
    struct slab *slab = live_slot(box, p, &i);
    uint32_t note = note_of(slab, i);
    set_note(slab, i, (note & ~(uint32_t)NOTE_MARKS) | mark << NOTE_MARK_SHIFT);
    return (note & NOTE_MARKS) >> NOTE_MARK_SHIFT;
}

static size_t room_of_class(const struct hardened *h, uint32_t number)
{
    return number == 0 ? 0 : h->shape[number].slot_bytes - BORDER_BYTES;
}

/* The row of a class in hak.classes/1. There is no class 1 (slabs_init). */
static uint32_t row_of_class(uint32_t number)
{
    return number == 0 ? 0 : number - 1;
}

/* Add the slots that are out or in quarantine to mapped_bytes. */
static void add_used(struct hardened *h, struct hak_class *out)
{
    const struct slab *slab = __atomic_load_n(&h->now->all, __ATOMIC_ACQUIRE);
    for (; slab != NULL; slab = slab->all_next) {
        if (is_big(slab))
            continue;
        hak_lock_take(&slab->class->lock);
        out[row_of_class(slab->class_number)].mapped_bytes +=
            slab->nused * slab->slot_bytes;
        hak_lock_drop(&slab->class->lock);
    }
}

/* slot_bytes is with the border, live_bytes without. Calls are counted by
 * the core, and not by class. All large blocks are one class. */
static uint32_t read_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    struct hardened *h = hardened_of(box);
    const struct class *c;
    HAK_ALWAYS(n >= CLASSES);
    for (uint32_t i = 0; i < CLASSES; i++)
        if (i != 1)
            out[row_of_class(i)].slot_bytes = h->shape[i].slot_bytes;
    for (uint32_t i = 0; (c = nth_class(h, &i)) != NULL;) {
        uint64_t live = hak_counted(&c->nout);
        struct hak_class *of = &out[row_of_class(c->number)];
        of->live_count += live;
        of->live_bytes += live * room_of_class(h, c->number);
    }
    add_used(h, out);
    struct hak_class *big = &out[CLASSES - 1];
    big->slot_bytes = (uint64_t)1 << 46;
    big->live_count = hak_counted(&h->now->big.count);
    big->live_bytes = big->mapped_bytes = hak_counted(&h->now->big.bytes);
    return CLASSES;
}

static const void *hardened_extension(struct hak_box *box, const char *id)
{
    static const struct hak_requests_1 requests = {sizeof requests, was_asked,
                                                   mark};
    static const struct hak_classes_1 classes = {sizeof classes, read_classes};
    (void)box;
    if (strcmp(id, HAK_CLASSES_1) == 0)
        return &classes;
    return strcmp(id, HAK_REQUESTS_1) == 0 ? &requests : NULL;
}

/* Lock order: heaps; arenas by number, each followed by its classes; blocks;
 * metadata. */
static void hardened_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct hardened *h = hardened_of(box);
    heaps_fork(h, phase);
    hak_lock_fork(&h->now->big.lock, phase);
    hak_lock_fork(&h->now->chunk.lock, phase);
}

static size_t hardened_trim(struct hak_box *box)
{
    big_give_back(hardened_of(box));
    return slots_trim(hardened_of(box));
}

static void hardened_stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct hardened *h = hardened_of(box);
    out->live_count = hak_counted(&h->now->big.count);
    out->live_bytes = hak_counted(&h->now->big.bytes);
    const struct class *c;
    for (uint32_t i = 0; (c = nth_class(h, &i)) != NULL;) {
        size_t room = h->shape[c->number].slot_bytes - BORDER_BYTES;
        uint64_t n = hak_counted(&c->nout);
        out->live_count += n;
        out->live_bytes += c->number == 0 ? 0 : n * room;
    }
    out->peak_bytes = hak_counted(&h->now->peak_bytes);
}

static void hardened_visit_slots(struct hak_box *box, hak_visit *visit,
                                 void *context)
{
    const struct slab *slab =
        __atomic_load_n(&hardened_of(box)->now->all, __ATOMIC_ACQUIRE);
    for (; slab != NULL; slab = slab->all_next)
        for (size_t i = 0; i < slab->capacity; i++)
            if (is_out(slab, i) &&
                !visit(context, slab->start + i * slab->slot_bytes,
                       asked_of(slab, i)))
                return;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("hardened", "1.0"),
    .summary = "random slots with canaries, guards and a quarantine, any size",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .ops =
        {
            .alloc = hardened_alloc,
            .alloc_none = hardened_alloc_none,
            .free = hardened_free,
            .owns = hardened_owns,
            .init = hardened_init,
            .usable_size = hardened_usable_size,
            .slot_size = hardened_slot_size,
            .aligned_alloc = hardened_aligned_alloc,
            .zalloc = hardened_zalloc,
            .resize = hardened_resize,
            .fork = hardened_fork,
            .trim = hardened_trim,
            .stats = hardened_stats,
            .visit_slots = hardened_visit_slots,
            .heap_open = heaps_open,
            .heap_close = heaps_close,
            .heap_lost = heaps_lost,
            .get_extension = hardened_extension,
        },
};

/* SPDX-License-Identifier: MIT
 * superslab.c - taking and giving back slabs: see superslab.h.
 */
#include "superslab.h"

bool superslabs_init(struct superslabs *s)
{
    const struct hak_host *host = s->box->host;
    s->base = hak_round_down(host->window_base, SUPERSLAB_BYTES);
    s->n = (host->window_base - s->base + host->window_bytes + SUPERSLAB_BYTES -
            1) >>
           SUPERSLAB_SHIFT;
    hak_link_init(&s->open);
    hak_link_init(&s->empty);
    s->table = host->meta(s->box, s->n * sizeof(struct superslab *));
    return s->table != NULL;
}

/* ---- lists: unlink, change `avail`, link ------------------------------- */

static bool is_empty(const struct superslab *super)
{
    return super->avail == SUPERSLAB_ALL;
}

static void unlink_super(struct superslabs *s, struct superslab *super)
{
    if (!hak_link_in_list(&super->link))
        return;
    hak_link_remove(&super->link);
    s->nempty -= is_empty(super);
}

static void link_super(struct superslabs *s, struct superslab *super)
{
    if (super->avail == 0)
        return;
    s->nempty += is_empty(super);
    hak_link_after(is_empty(super) ? &s->empty : &s->open, &super->link);
}

/* ---- from the host, and back ------------------------------------------- */

static void set_table(struct superslabs *s, const char *base,
                      struct superslab *super)
{
    size_t i = ((uintptr_t)base - s->base) >> SUPERSLAB_SHIFT;
    __atomic_store_n(&s->table[i], super, __ATOMIC_RELEASE);
}

static struct superslab *take_struct(struct superslabs *s)
{
    struct superslab *super = s->spare;
    if (super != NULL) {
        s->spare = super->next;
        return super;
    }
    super = s->box->host->meta(s->box, sizeof *super);
    if (super == NULL)
        return NULL;
    super->all_next = s->all;
    __atomic_store_n(&s->all, super, __ATOMIC_RELEASE);
    return super;
}

static void keep_struct(struct superslabs *s, struct superslab *super)
{
    super->base = NULL;
    super->next = s->spare;
    s->spare = super;
}

/* In no list yet. The host may hand on pages that somebody wrote to, so all
 * of it counts as dirty. */
static struct superslab *make(struct superslabs *s)
{
    struct hak_box *box = s->box;
    struct superslab *super = take_struct(s);
    if (super == NULL)
        return NULL;
    char *base = box->host->map(box, SUPERSLAB_BYTES, SUPERSLAB_BYTES, 0);
    if (base == NULL) {
        keep_struct(s, super);
        return NULL;
    }
    super->base = base;
    super->box = box;
    super->avail = super->dirty = SUPERSLAB_ALL;
    super->busy = 0;
    for (size_t i = 0; i < SUPERSLAB_SLABS; i++) {
        super->slab[i].start = base + i * SLAB_BYTES;
        super->slab[i].super = super;
    }
    set_table(s, base, super);
    hak_count(&s->mapped_bytes, SUPERSLAB_BYTES);
    return super;
}

/* In no list any more, no slab busy. Without reuse not even by way of the
 * host's cache: the next one has to fault in its pages. */
static void dispose(struct superslabs *s, struct superslab *super)
{
    struct hak_box *box = s->box;
    set_table(s, super->base, NULL);
    if (!s->reuse)
        box->host->purge(box, super->base, SUPERSLAB_BYTES);
    box->host->unmap(box, super->base, SUPERSLAB_BYTES);
    hak_count(&s->mapped_bytes, -(uint64_t)SUPERSLAB_BYTES);
    hak_count(&s->given_bytes, SUPERSLAB_BYTES);
    keep_struct(s, super);
}

uint32_t superslabs_prewarm(struct superslabs *s, uint32_t n)
{
    size_t step = s->box->host->os_page_bytes;
    uint32_t done = 0;
    hak_lock_take(&s->lock);
    for (; done < n; done++) {
        struct superslab *super = make(s);
        if (super == NULL)
            break;
        for (size_t at = 0; at < SUPERSLAB_BYTES; at += step)
            *(volatile char *)(super->base + at) = 0;
        link_super(s, super);
    }
    hak_lock_drop(&s->lock);
    return done;
}

/* ---- slabs ------------------------------------------------------------- */

/* One that others use is preferred: the empty ones may stay so. */
static struct superslab *find(struct superslabs *s)
{
    struct hak_link *from = hak_link_empty(&s->open) ? &s->empty : &s->open;
    if (hak_link_empty(from))
        return make(s);
    return hak_item(from->next, struct superslab, link);
}

/* The lowest slab whose pages are there, else the lowest: those never taken
 * are above all others. */
struct slab *superslabs_take(struct superslabs *s)
{
    struct slab *slab = NULL;
    hak_lock_take(&s->lock);
    struct superslab *super = find(s);
    if (super != NULL) {
        unlink_super(s, super);
        uint32_t wanted = super->avail & super->dirty;
        int i = __builtin_ctz(wanted != 0 ? wanted : super->avail);
        uint16_t bit = (uint16_t)(1u << i);
        super->avail = (uint16_t)(super->avail & ~bit);
        super->busy |= bit;
        super->dirty |= bit;
        link_super(s, super);
        hak_count(&s->busy_bytes, SLAB_BYTES);
        hak_count_peak(&s->peak_bytes, s->busy_bytes);
        slab = &super->slab[i];
    }
    hak_lock_drop(&s->lock);
    return slab;
}

void superslabs_put(struct superslabs *s, struct slab *slab)
{
    struct superslab *super = slab->super;
    uint16_t bit = (uint16_t)(1u << (slab - super->slab));
    hak_lock_take(&s->lock);
    unlink_super(s, super);
    super->busy = (uint16_t)(super->busy & ~bit);
    if (s->reuse)
        super->avail |= bit;
    hak_count(&s->busy_bytes, -(uint64_t)SLAB_BYTES);
    hak_count(&s->retired, 1);
    bool spent = super->busy == 0 && super->avail == 0;
    if (spent || (is_empty(super) && s->nempty >= s->warm))
        dispose(s, super);
    else
        link_super(s, super);
    hak_lock_drop(&s->lock);
}

/* ---- trim -------------------------------------------------------------- */

static void purge_free(struct superslabs *s, struct superslab *super)
{
    uint32_t wanted = ~(uint32_t)super->busy & super->dirty;
    for (uint32_t i = 0; i < SUPERSLAB_SLABS; i++) {
        if ((wanted >> i & 1) == 0)
            continue;
        s->box->host->purge(s->box, super->slab[i].start, SLAB_BYTES);
        hak_count(&s->given_bytes, SLAB_BYTES);
    }
    super->dirty = (uint16_t)(super->dirty & ~wanted);
}

void superslabs_trim(struct superslabs *s)
{
    hak_lock_take(&s->lock);
    for (struct superslab *super = s->all; super != NULL;
         super = super->all_next) {
        if (super->base == NULL)
            continue;
        if (super->busy != 0) {
            purge_free(s, super);
            continue;
        }
        unlink_super(s, super);
        dispose(s, super);
    }
    hak_lock_drop(&s->lock);
}

/* ---- check ------------------------------------------------------------- */

static void check_super(const struct superslabs *s,
                        const struct superslab *super)
{
    HAK_ALWAYS((super->avail & super->busy) == 0);
    HAK_ALWAYS(superslab_of(s, super->base) == super);
    HAK_ALWAYS(superslab_of(s, super->base + SUPERSLAB_BYTES - 1) == super);
    HAK_ALWAYS(hak_link_in_list(&super->link) == (super->avail != 0));
    HAK_ALWAYS(super->busy != 0 || super->avail != 0);
    for (size_t i = 0; i < SUPERSLAB_SLABS; i++) {
        const struct slab *slab = &super->slab[i];
        HAK_ALWAYS(slab->super == super);
        HAK_ALWAYS((super->busy >> i & 1) == (slab->tag != 0));
        HAK_ALWAYS((super->busy >> i & 1) != 0 || slab->list == NULL);
    }
}

void superslabs_check(struct superslabs *s)
{
    uint64_t mapped = 0, busy = 0;
    uint32_t nempty = 0;
    hak_lock_take(&s->lock);
    for (const struct superslab *super = s->all; super != NULL;
         super = super->all_next) {
        if (super->base == NULL)
            continue;
        check_super(s, super);
        mapped += SUPERSLAB_BYTES;
        busy += (uint64_t)__builtin_popcount(super->busy) * SLAB_BYTES;
        nempty += is_empty(super);
    }
    HAK_ALWAYS(mapped == s->mapped_bytes);
    HAK_ALWAYS(busy == s->busy_bytes);
    HAK_ALWAYS(nempty == s->nempty);
    hak_lock_drop(&s->lock);
}

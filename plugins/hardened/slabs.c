/* SPDX-License-Identifier: MIT
 * slabs.c - regions and slabs of a class, and the random choice of slots.
 * Everything here is guarded by the lock of the class.
 */
#include "hardened.h"

#include <errno.h>

enum {
    SLAB_SLOTS_MIN = 4,
    REGION_SLABS_FIRST = 8,
    REGION_SLABS_MOST = 64, /* bits of `taken` */
    LEAST_CHOICE = 32,      /* free slots to choose from, if there are */
};

/* ---- randomness -----------------------------------------------------------
 */

static uint64_t random_bits(struct class *c)
{
    return hardened_random(&c->random);
}

static uint32_t rnd(struct class *c, uint32_t n)
{
    return hardened_scaled(random_bits(c), n);
}

/* ---- slabs ----------------------------------------------------------------
 */

static size_t slab_bytes(const struct shape *s)
{
    return s->slab_granules * HAK_GRANULE_BYTES;
}

static const struct shape *shape_of(const struct hardened *h,
                                    const struct class *c)
{
    return &h->shape[c->number];
}

/* Slots that a slab has room for. With `guard` its last page stays closed: the
 * guard behind this slab and in front of the next. */
static uint32_t slab_slots(const struct hardened *h, const struct shape *s)
{
    size_t guard = h->guard ? h->box->host->os_page_bytes : 0;
    return (uint32_t)((slab_bytes(s) - guard) / s->slot_bytes);
}

void slabs_init(struct hardened *h)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct shape *s = &h->shape[i];
        /* Slots of index 1 would be all border; no request leads to it. */
        s->slot_bytes = (uint32_t)hak_index_bytes(i < 2 ? i + 1 : i);
        s->slab_granules = 1;
        while (slab_slots(h, s) < SLAB_SLOTS_MIN)
            s->slab_granules++;
        s->capacity = slab_slots(h, s);
    }
}

/* Reserve another region, behind a guard of one granule, with twice as many
 * slabs as the last region had, or fewer when the window is short. */
static bool grow(struct hardened *h, struct class *c)
{
    struct hak_box *box = h->box;
    size_t each = slab_bytes(shape_of(h, c));
    uint32_t n = c->nslabs == 0 ? REGION_SLABS_FIRST : c->nslabs * 2;
    char *base = NULL;
    for (n = n > REGION_SLABS_MOST ? REGION_SLABS_MOST : n; n != 0; n /= 2) {
        base = box->host->reserve(box, HAK_GRANULE_BYTES + n * each, 0);
        if (base != NULL)
            break;
    }
    if (base == NULL)
        return false;
    c->region = base + HAK_GRANULE_BYTES;
    c->nslabs = n;
    c->taken = 0;
    return true;
}

/* A random unused place for a slab in the newest region; NULL = no memory. */
static char *place(struct hardened *h, struct class *c)
{
    if (c->taken == hak_bits_mask(0, 0, c->nslabs) && !grow(h, c))
        return NULL;
    uint32_t i = rnd(c, c->nslabs);
    while (c->taken >> i & 1)
        i = (i + 1) % c->nslabs;
    c->taken |= 1ull << i;
    return c->region + i * slab_bytes(shape_of(h, c));
}

/* ---- open and closed runs of a slab ----------------------------------------
 */

/* All runs of the slab, a bit each. A slab of slots of 0 bytes has none. */
static uint64_t runs_of(const struct slab *slab)
{
    size_t bytes = slab->capacity * slab->slot_bytes;
    return slab->class_number == 0
               ? 0
               : ~0ull >> (64 - (bytes - 1) / RUN_BYTES - 1);
}

static bool is_closed(const struct slab *slab)
{
    return slab->closed == runs_of(slab);
}

/*
 * Bytes from the slab's start to the end of its last run: the end of the slots,
 * where the guard begins. A slab without a guard is open up to the next slab,
 * so that the kernel can merge both into one mapping.
 */
static size_t end_of_runs(const struct hardened *h, const struct slab *slab)
{
    size_t page = h->box->host->os_page_bytes;
    return slab->guarded ? hak_round_up(slab->capacity * slab->slot_bytes, page)
                         : slab_bytes(&h->shape[slab->class_number]);
}

static uint64_t runs_of_slot(const struct slab *slab, size_t i)
{
    size_t from = i * slab->slot_bytes, last = from + slab->slot_bytes - 1;
    from /= RUN_BYTES;
    return hak_bits_mask(0, from, last / RUN_BYTES + 1 - from);
}

/* The first series of adjoining runs among `runs`, as bits, and in *start and
 * *size_bytes where it lies. */
static uint64_t stretch(const struct hardened *h, const struct slab *slab,
                        uint64_t runs, char **start, size_t *size_bytes)
{
    size_t k = (size_t)__builtin_ctzll(runs);
    size_t n = (size_t)__builtin_ctzll(~(runs >> k));
    bool last = runs_of(slab) >> (k + n) == 0;
    *start = slab->start + k * RUN_BYTES;
    *size_bytes = last ? end_of_runs(h, slab) - k * RUN_BYTES : n * RUN_BYTES;
    return hak_bits_mask(0, k, n);
}

/* Open these runs, all of which are closed. Returns 0, or the error of
 * open_pages; some of the runs may be open then. */
static int open_these(const struct hardened *h, struct slab *slab,
                      uint64_t runs)
{
    struct hak_box *box = h->box;
    uint32_t flags = slab->slot_bytes <= NOW_SLOT_MOST ? HAK_OPEN_NOW : 0;
    while (runs != 0) {
        char *start;
        size_t bytes;
        uint64_t these = stretch(h, slab, runs, &start, &bytes);
        int error = box->host->open_pages(box, start, bytes, flags);
        if (error != 0)
            return error;
        /* Pairs with the acquire in border_in_front(). */
        __atomic_store_n(&slab->closed, slab->closed & ~these,
                         __ATOMIC_RELEASE);
        runs &= ~these;
    }
    return 0;
}

/* The closed runs between `these` and the nearest open run. */
static uint64_t gap(const struct slab *slab, uint64_t these)
{
    size_t first = (size_t)__builtin_ctzll(these);
    size_t last = 63 - (size_t)__builtin_clzll(these);
    uint64_t open = runs_of(slab) & ~slab->closed;
    uint64_t below = open & hak_bits_mask(0, 0, first), above = open & ~below;
    size_t down = below != 0 ? 63 - (size_t)__builtin_clzll(below) : 0;
    size_t up = above != 0 ? (size_t)__builtin_ctzll(above) : 0;
    if (above != 0 && up > last && (below == 0 || up - last < first - down))
        return hak_bits_mask(0, last, up - last) & slab->closed;
    return below != 0 ? hak_bits_mask(0, down, first - down) & slab->closed : 0;
}

/*
 * Open the runs that slot i lies in. Their pages are populated at once: a page
 * that is first read, by the check, and then written to costs two faults, and
 * pages populated together cost less than one fault each. Programs may use
 * little of a long slot, so pages of long slots are made when they are touched.
 * Opening more of these costs no memory, so their slab is opened whole with the
 * first slot if the kernel has room for that.
 *
 * The closed runs up to the nearest open run are opened as well, so that the
 * slab stays one mapping. Two mappings with a gap between them would stay two
 * even after the gap is filled.
 */
static int open_runs(const struct hardened *h, struct slab *slab, size_t i)
{
    if (slab->slot_bytes > NOW_SLOT_MOST && is_closed(slab) &&
        open_these(h, slab, slab->closed) == 0)
        return 0;
    uint64_t these = slab->closed & runs_of_slot(slab, i);
    return open_these(h, slab, these | gap(slab, these));
}

/*
 * Close a slab of which no slot is used. Returns the bytes. The kernel may
 * refuse to close runs that lie between other open slabs; those stay open.
 */
static size_t close_runs(struct hardened *h, struct slab *slab)
{
    struct hak_box *box = h->box;
    uint64_t open = runs_of(slab) & ~slab->closed;
    size_t bytes = 0;
    while (open != 0) {
        char *start;
        size_t more;
        uint64_t these = stretch(h, slab, open, &start, &more);
        open &= ~these;
        if (!box->host->close_pages(box, start, more))
            continue;
        slab->closed |= these;
        bytes += more;
    }
    if (slab->guarded && is_closed(slab)) {
        hardened_drop_guard(h);
        slab->guarded = false;
    }
    return bytes;
}

/* Decide whether the slab gets a guard, before its first run is opened. */
static void choose_guard(struct hardened *h, struct slab *slab)
{
    if (h->guard && slab->class_number != 0 && is_closed(slab))
        slab->guarded = hardened_take_guard(h);
}

/* ---- pieces -----------------------------------------------------------------
 */

static void swap_pieces(struct slab *slab, uint32_t a, uint32_t b)
{
    uint8_t piece = slab->piece[a];
    slab->piece[a] = slab->piece[b];
    slab->piece[b] = piece;
}

/* Choose which of n pieces to open next: at random the first time, then the
 * next one above or below the open ones, at random. */
static uint8_t choose_piece(struct class *c, struct slab *slab, uint32_t n)
{
    if (slab->nopen == 0)
        return slab->lowest = slab->highest = (uint8_t)rnd(c, n);
    bool up = slab->lowest == 0 ||
              (slab->highest + 1u < n && (random_bits(c) >> 63) != 0);
    return up ? ++slab->highest : --slab->lowest;
}

/*
 * Open further pieces until more than LEAST_CHOICE free slots are in open
 * pieces. Slots come into use by pieces, so that few pages and cache lines are
 * touched. The open pieces adjoin, and so do the pages that are opened for
 * them, which therefore are one mapping.
 */
static void open_pieces(struct class *c, struct slab *slab)
{
    uint32_t each = 1u << slab->piece_shift;
    uint32_t n = (slab->capacity + each - 1) / each;
    while (slab->nopen < n && slab->nready <= slab->nused + LEAST_CHOICE) {
        uint8_t piece = choose_piece(c, slab, n);
        uint32_t first = piece * each, k = slab->nopen;
        while (slab->piece[k] != piece)
            k++;
        slab->nready += (uint32_t)hak_min(each, slab->capacity - first);
        swap_pieces(slab, k, slab->nopen);
        swap_pieces(slab, slab->nopen++, slab->nroom++);
    }
    slab->enough =
        slab->nopen == n ? slab->capacity : slab->nready - LEAST_CHOICE;
}

/* nused has reached `enough`: all slots are used, or more pieces are needed. */
static void used_enough(struct class *c, struct slab *slab)
{
    if (slab->nused == slab->capacity)
        hak_link_remove(&slab->link);
    else
        open_pieces(c, slab);
}

/* No slot of the slab is used: start again with one random piece. */
static void close_pieces(struct class *c, struct slab *slab)
{
    slab->nopen = slab->nroom = 0;
    slab->nready = 0;
    slab->full = 0;
    open_pieces(c, slab);
}

static struct slab *fresh_slab(struct hardened *h, struct class *c)
{
    const struct shape *s = shape_of(h, c);
    if (c->made == NULL)
        c->made = hardened_struct(h, s->capacity, s->slot_bytes);
    char *start = c->made != NULL ? place(h, c) : NULL;
    if (start == NULL)
        return NULL;
    struct slab *slab = c->made;
    c->made = NULL;
    slab->start = start;
    slab->capacity = s->capacity;
    slab->slot_bytes = s->slot_bytes;
    slab->inverse = ((uint64_t)1 << 40) / s->slot_bytes + 1;
    slab->class = c;
    slab->class_number = c->number;
    slab->piece_shift = s->slot_bytes <= 64 ? 6 : s->slot_bytes <= 256 ? 5 : 4;
    if (s->capacity % 64 != 0)
        slab->used[s->capacity / 64] = ~0ull << s->capacity % 64;
    for (uint32_t i = 0; i < PIECES_MOST; i++)
        slab->piece[i] = (uint8_t)i;
    slab->closed = runs_of(slab);
    close_pieces(c, slab);
    hak_map_set(&h->map, start, slab_bytes(s), slab);
    return slab;
}

/* Add to the bytes of empty slabs that keep their pages. */
static void count_warm(struct hardened *h, int64_t bytes)
{
    hak_count_shared(&h->now->warm_bytes, bytes);
}

/* A slab of the list `partial`; when it is empty, an empty slab or a fresh one
 * goes there. NULL = no memory. */
static struct slab *more_room(struct hardened *h, struct class *c)
{
    struct slab *slab;
    if (!hak_link_empty(&c->partial))
        return hak_item(c->partial.next, struct slab, link);
    if (!hak_link_empty(&c->empty)) {
        slab = hak_item(c->empty.next, struct slab, link);
        hak_link_remove(&slab->link);
        if (slab->warm)
            count_warm(h, -(int64_t)slab_bytes(shape_of(h, c)));
        slab->warm = false;
    } else if ((slab = fresh_slab(h, c)) == NULL) {
        return NULL;
    }
    choose_guard(h, slab);
    hak_link_after(&c->partial, &slab->link);
    hardened_count_in_use(h, (int64_t)slab_bytes(shape_of(h, c)));
    return slab;
}

/* The last used slot of the slab became free. */
static void emptied(struct hardened *h, struct class *c, struct slab *slab)
{
    size_t bytes = slab_bytes(shape_of(h, c));
    hak_link_remove(&slab->link);
    hardened_count_in_use(h, -(int64_t)bytes);
    if (!is_closed(slab) &&
        hak_counted(&h->now->warm_bytes) + bytes <= h->keep_bytes) {
        slab->warm = true;
        count_warm(h, (int64_t)bytes);
        hak_link_after(&c->empty, &slab->link);
    } else {
        hak_link_after(c->empty.prev, &slab->link); /* last: used last */
        close_runs(h, slab);
        close_pieces(c, slab);
    }
}

/* A slot of a full piece became free: the piece has room again. */
static void piece_has_room(struct slab *slab, size_t piece)
{
    uint32_t k = slab->nroom;
    while (slab->piece[k] != piece)
        k++;
    slab->full &= ~(1ull << piece);
    swap_pieces(slab, k, slab->nroom++);
}

void slabs_release(struct hardened *h, struct class *c, const char *p)
{
    struct slab *slab = slab_of(h, p);
    HAK_ALWAYS(slab != NULL); /* slabs of slots never leave the map */
    size_t i = index_of(slab, (size_t)(p - slab->start));
    slab->used[i / 64] &= ~(1ull << i % 64);
    if (unlikely(slab->full >> (i >> slab->piece_shift) & 1))
        piece_has_room(slab, i >> slab->piece_shift);
    if (slab->nused-- == slab->capacity)
        hak_link_after(c->partial.prev, &slab->link); /* last: used last */
    if (unlikely(slab->nused == 0))
        emptied(h, c, slab);
}

/* ---- choice ---------------------------------------------------------------
 */

/*
 * A free slot of the slab, which has one: in a random open piece the first free
 * slot from a random position on, wrapping around. A piece that turns out to be
 * full is marked in `full` until one of its slots becomes free.
 */
static size_t free_slot(struct class *c, struct slab *slab)
{
    uint32_t shift = slab->piece_shift;
    uint64_t all = ~0ull >> (64 - (1u << shift));
    for (;;) {
        uint64_t bits = random_bits(c);
        uint32_t k = hardened_scaled(bits, slab->nroom);
        uint8_t piece = slab->piece[k];
        size_t first = (size_t)piece << shift;
        uint64_t room = ~(slab->used[first / 64] >> first % 64) & all;
        uint64_t behind = room & ~0ull << (bits & ((1u << shift) - 1));
        if (likely(room != 0))
            return first + (size_t)__builtin_ctzll(behind ? behind : room);
        slab->full |= 1ull << piece;
        swap_pieces(slab, k, --slab->nroom);
    }
}

static bool is_open(const struct slab *slab, size_t i)
{
    return likely(slab->closed == 0) ||
           (slab->closed & runs_of_slot(slab, i)) == 0;
}

static void use(struct class *c, struct slab *slab, size_t i)
{
    slab->used[i / 64] |= 1ull << i % 64;
    if (unlikely(++slab->nused == slab->enough))
        used_enough(c, slab);
}

/*
 * Use a random slot of the slab, and open its pages if needed. -ENOMEM: they
 * cannot be opened; -EEXIST: no slot is left. A slot where the program has
 * mapped something itself becomes used and stays so for ever.
 */
static int use_any(const struct hardened *h, struct class *c, struct slab *slab,
                   size_t *i)
{
    while (slab->nused < slab->capacity) {
        *i = free_slot(c, slab);
        int error = is_open(slab, *i) ? 0 : open_runs(h, slab, *i);
        if (error == 0 || error == -EEXIST)
            use(c, slab, *i);
        if (error != -EEXIST)
            return error;
    }
    return -EEXIST;
}

/* The first free slot of an open piece whose pages are open; capacity: none. */
static size_t open_slot(const struct slab *slab)
{
    size_t each = (size_t)1 << slab->piece_shift;
    for (uint32_t k = 0; k < slab->nopen; k++) {
        size_t i = slab->piece[k] * each;
        size_t end = hak_min(i + each, slab->capacity);
        for (; i < end; i++)
            if (!(slab->used[i / 64] >> i % 64 & 1) && is_open(slab, i))
                return i;
    }
    return slab->capacity;
}

/* No pages can be opened: use a free slot of any slab whose pages are open. */
static struct slab *use_open(struct class *c, size_t *i)
{
    struct hak_link *at = c->partial.next;
    for (; at != &c->partial; at = at->next) {
        struct slab *slab = hak_item(at, struct slab, link);
        *i = open_slot(slab);
        if (*i == slab->capacity)
            continue;
        use(c, slab, *i);
        return slab;
    }
    return NULL;
}

struct slab *slabs_use(struct hardened *h, struct class *c, size_t *i)
{
    struct slab *slab;
    int error = -EEXIST;
    while (error == -EEXIST) {
        slab = more_room(h, c);
        error = slab != NULL ? use_any(h, c, slab, i) : -ENOMEM;
    }
    if (likely(error == 0))
        return slab;
    if (slab != NULL && slab->nused == 0)
        emptied(h, c, slab); /* undo more_room() */
    return use_open(c, i);
}

struct slab *slabs_use_open(struct class *c, size_t *i)
{
    if (unlikely(hak_link_empty(&c->partial)))
        return NULL;
    struct slab *slab = hak_item(c->partial.next, struct slab, link);
    *i = free_slot(c, slab);
    if (unlikely(!is_open(slab, *i)))
        return NULL;
    use(c, slab, *i);
    return slab;
}

/* ---- giving memory back ----------------------------------------------------
 */

size_t slabs_close_empty(struct hardened *h, struct class *c)
{
    size_t bytes = 0;
    for (struct hak_link *at = c->empty.next; at != &c->empty; at = at->next) {
        struct slab *slab = hak_item(at, struct slab, link);
        if (is_closed(slab))
            continue;
        if (slab->warm)
            count_warm(h, -(int64_t)slab_bytes(shape_of(h, c)));
        slab->warm = false;
        bytes += close_runs(h, slab);
        close_pieces(c, slab);
    }
    return bytes;
}

/* May the pages of slot i be purged? */
static bool is_idle(const struct slab *slab, size_t i)
{
    return !is_out(slab, i) && is_open(slab, i) && slab->class_number != 0;
}

/* Purge the whole pages of slots that are not out. These read zero before and
 * after. */
static void purge_slots(struct hardened *h, const struct slab *slab)
{
    size_t page = h->box->host->os_page_bytes;
    for (size_t i = 0; i < slab->capacity; i++) {
        size_t at = hak_round_up(i * slab->slot_bytes, page);
        while (i < slab->capacity && is_idle(slab, i))
            i++;
        size_t end = hak_round_down(i * slab->slot_bytes, page);
        if (at < end)
            h->box->host->purge(h->box, slab->start + at, end - at);
    }
}

void slabs_purge(struct hardened *h, struct class *c)
{
    for (struct hak_link *at = c->partial.next; at != &c->partial;
         at = at->next)
        purge_slots(h, hak_item(at, struct slab, link));
}

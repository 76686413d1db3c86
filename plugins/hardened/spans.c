/* SPDX-License-Identifier: MIT
 * spans.c - classes of slots: regions, spans, random choice. All of it under
 * the lock of the class.
 */
#include "hardened.h"

#include <errno.h>

enum {
    SPAN_SLOTS_MIN = 4,
    REGION_SPANS_FIRST = 8,
    REGION_SPANS_MOST = 64, /* bits of `taken` */
    LEAST_CHOICE = 32,      /* slots to choose among, while there are */
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

/* ---- spans ----------------------------------------------------------------
 */

static size_t span_bytes(const struct shape *s)
{
    return s->span_granules * HAK_GRANULE_BYTES;
}

static const struct shape *shape_of(const struct hardened *h,
                                    const struct class *c)
{
    return &h->shape[c->number];
}

/* The last page of a span is its guard, and the next span's in front. */
static uint32_t span_slots(const struct hardened *h, const struct shape *s)
{
    size_t guard = h->guard ? h->box->host->os_page_bytes : 0;
    return (uint32_t)((span_bytes(s) - guard) / s->slot_bytes);
}

void spans_init(struct hardened *h)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct shape *s = &h->shape[i];
        /* index 1 has no room for a border, and is asked for by nobody */
        s->slot_bytes = (uint32_t)hak_index_bytes(i < 2 ? i + 1 : i);
        s->span_granules = 1;
        while (span_slots(h, s) < SPAN_SLOTS_MIN)
            s->span_granules++;
        s->capacity = span_slots(h, s);
    }
}

/* A region more, twice as many spans as the last had, behind a guard. */
static bool grow(struct hardened *h, struct class *c)
{
    struct hak_box *box = h->box;
    size_t each = span_bytes(shape_of(h, c));
    uint32_t n = c->nspans == 0 ? REGION_SPANS_FIRST : c->nspans * 2;
    char *base = NULL;
    for (n = n > REGION_SPANS_MOST ? REGION_SPANS_MOST : n; n != 0; n /= 2) {
        base = box->host->reserve(box, HAK_GRANULE_BYTES + n * each, 0);
        if (base != NULL)
            break;
    }
    if (base == NULL)
        return false;
    c->region = base + HAK_GRANULE_BYTES;
    c->nspans = n;
    c->taken = 0;
    return true;
}

/* A place of the newest region that nobody has, at random. */
static char *place(struct hardened *h, struct class *c)
{
    if (c->taken == hak_bits_mask(0, 0, c->nspans) && !grow(h, c))
        return NULL;
    uint32_t i = rnd(c, c->nspans);
    while (c->taken >> i & 1)
        i = (i + 1) % c->nspans;
    c->taken |= 1ull << i;
    return c->region + i * span_bytes(shape_of(h, c));
}

/* ---- what is open of a span -------------------------------------------------
 */

/* All its runs, a bit each. Slots of no bytes have none. */
static uint64_t runs_of(const struct span *span)
{
    size_t bytes = span->capacity * span->slot_bytes;
    return span->class_number == 0
               ? 0
               : ~0ull >> (64 - (bytes - 1) / RUN_BYTES - 1);
}

static bool is_closed(const struct span *span)
{
    return span->closed == runs_of(span);
}

/*
 * Where the last run ends: behind the slots, in front of the guard. Without one
 * it goes on to the next span, so that both are one mapping of the kernel's.
 */
static size_t end_of_runs(const struct hardened *h, const struct span *span)
{
    size_t page = h->box->host->os_page_bytes;
    return span->guarded ? hak_round_up(span->capacity * span->slot_bytes, page)
                         : span_bytes(&h->shape[span->class_number]);
}

static uint64_t runs_of_slot(const struct span *span, size_t i)
{
    size_t from = i * span->slot_bytes, last = from + span->slot_bytes - 1;
    from /= RUN_BYTES;
    return hak_bits_mask(0, from, last / RUN_BYTES + 1 - from);
}

/* The first of these runs and those right behind it, and where they lie. */
static uint64_t stretch(const struct hardened *h, const struct span *span,
                        uint64_t runs, char **start, size_t *size_bytes)
{
    size_t k = (size_t)__builtin_ctzll(runs);
    size_t n = (size_t)__builtin_ctzll(~(runs >> k));
    bool last = runs_of(span) >> (k + n) == 0;
    *start = span->start + k * RUN_BYTES;
    *size_bytes = last ? end_of_runs(h, span) - k * RUN_BYTES : n * RUN_BYTES;
    return hak_bits_mask(0, k, n);
}

/* These runs, which are closed. 0, or as open_pages. */
static int open_these(const struct hardened *h, struct span *span,
                      uint64_t runs)
{
    struct hak_box *box = h->box;
    uint32_t flags = span->slot_bytes <= NOW_SLOT_MOST ? HAK_OPEN_NOW : 0;
    while (runs != 0) {
        char *start;
        size_t bytes;
        uint64_t these = stretch(h, span, runs, &start, &bytes);
        int error = box->host->open_pages(box, start, bytes, flags);
        if (error != 0)
            return error;
        /* pairs with border_in_front() */
        __atomic_store_n(&span->closed, span->closed & ~these,
                         __ATOMIC_RELEASE);
        runs &= ~these;
    }
    return 0;
}

/* Closed runs between these and the nearest open one. */
static uint64_t gap(const struct span *span, uint64_t these)
{
    size_t first = (size_t)__builtin_ctzll(these);
    size_t last = 63 - (size_t)__builtin_clzll(these);
    uint64_t open = runs_of(span) & ~span->closed;
    uint64_t below = open & hak_bits_mask(0, 0, first), above = open & ~below;
    size_t down = below != 0 ? 63 - (size_t)__builtin_clzll(below) : 0;
    size_t up = above != 0 ? (size_t)__builtin_ctzll(above) : 0;
    if (above != 0 && up > last && (below == 0 || up - last < first - down))
        return hak_bits_mask(0, last, up - last) & span->closed;
    return below != 0 ? hak_bits_mask(0, down, first - down) & span->closed : 0;
}

/*
 * The runs that slot i lies in. Their pages are made at once, before the slot
 * is looked at: a page that is read first and written to then costs two faults,
 * those made together less than one each. Long slots may be for programs that
 * use little of them: theirs are made when touched, and so a whole span of them
 * is opened with the first one, if there is room for as much.
 *
 * What is between them and the next that is open is opened as well: the kernel
 * makes one mapping of pages that adjoin, but never again one of two that a
 * gap was between.
 */
static int open_runs(const struct hardened *h, struct span *span, size_t i)
{
    if (span->slot_bytes > NOW_SLOT_MOST && is_closed(span) &&
        open_these(h, span, span->closed) == 0)
        return 0;
    uint64_t these = span->closed & runs_of_slot(span, i);
    return open_these(h, span, these | gap(span, these));
}

/*
 * The whole of a span of which nothing is used. Returns bytes. What the kernel
 * does not close, side by side with other open spans, stays as it is.
 */
static size_t close_runs(struct hardened *h, struct span *span)
{
    struct hak_box *box = h->box;
    uint64_t open = runs_of(span) & ~span->closed;
    size_t bytes = 0;
    while (open != 0) {
        char *start;
        size_t more;
        uint64_t these = stretch(h, span, open, &start, &more);
        open &= ~these;
        if (!box->host->close_pages(box, start, more))
            continue;
        span->closed |= these;
        bytes += more;
    }
    if (span->guarded && is_closed(span)) {
        hardened_drop_guard(h);
        span->guarded = false;
    }
    return bytes;
}

/* Before the first run of a span is opened. */
static void choose_guard(struct hardened *h, struct span *span)
{
    if (h->guard && span->class_number != 0 && is_closed(span))
        span->guarded = hardened_take_guard(h);
}

/* ---- pieces -----------------------------------------------------------------
 */

static void swap_pieces(struct span *span, uint32_t a, uint32_t b)
{
    uint8_t piece = span->piece[a];
    span->piece[a] = span->piece[b];
    span->piece[b] = piece;
}

/* One of n that is not open yet: any, or the next one up or down. */
static uint8_t choose_piece(struct class *c, struct span *span, uint32_t n)
{
    if (span->nopen == 0)
        return span->lowest = span->highest = (uint8_t)rnd(c, n);
    bool up = span->lowest == 0 ||
              (span->highest + 1u < n && (random_bits(c) >> 63) != 0);
    return up ? ++span->highest : --span->lowest;
}

/*
 * Slots come into use by pieces, so that few pages and cache lines are touched:
 * another one whenever there is no more choice. They adjoin, and so do the
 * pages that are opened for them: those are one mapping then.
 */
static void open_pieces(struct class *c, struct span *span)
{
    uint32_t each = 1u << span->piece_shift;
    uint32_t n = (span->capacity + each - 1) / each;
    while (span->nopen < n && span->nready <= span->nused + LEAST_CHOICE) {
        uint8_t piece = choose_piece(c, span, n);
        uint32_t first = piece * each, k = span->nopen;
        while (span->piece[k] != piece)
            k++;
        span->nready += (uint32_t)hak_min(each, span->capacity - first);
        swap_pieces(span, k, span->nopen);
        swap_pieces(span, span->nopen++, span->nroom++);
    }
    span->enough =
        span->nopen == n ? span->capacity : span->nready - LEAST_CHOICE;
}

/* As many as `enough` says. */
static void used_enough(struct class *c, struct span *span)
{
    if (span->nused == span->capacity)
        hak_link_remove(&span->link);
    else
        open_pieces(c, span);
}

/* Nothing of it is used. */
static void close_pieces(struct class *c, struct span *span)
{
    span->nopen = span->nroom = 0;
    span->nready = 0;
    span->full = 0;
    open_pieces(c, span);
}

static struct span *fresh_span(struct hardened *h, struct class *c)
{
    const struct shape *s = shape_of(h, c);
    if (c->made == NULL)
        c->made = hardened_struct(h, s->capacity, s->slot_bytes);
    char *start = c->made != NULL ? place(h, c) : NULL;
    if (start == NULL)
        return NULL;
    struct span *span = c->made;
    c->made = NULL;
    span->start = start;
    span->capacity = s->capacity;
    span->slot_bytes = s->slot_bytes;
    span->inverse = ((uint64_t)1 << 40) / s->slot_bytes + 1;
    span->class = c;
    span->class_number = c->number;
    span->piece_shift = s->slot_bytes <= 64 ? 6 : s->slot_bytes <= 256 ? 5 : 4;
    if (s->capacity % 64 != 0)
        span->used[s->capacity / 64] = ~0ull << s->capacity % 64;
    for (uint32_t i = 0; i < PIECES_MOST; i++)
        span->piece[i] = (uint8_t)i;
    span->closed = runs_of(span);
    close_pieces(c, span);
    hak_map_set(&h->map, start, span_bytes(s), span);
    return span;
}

/* Pages of empty spans, more or fewer. */
static void count_warm(struct hardened *h, int64_t bytes)
{
    hak_count_shared(&h->now->warm_bytes, bytes);
}

/* A span of the list `partial`, or NULL. */
static struct span *more_room(struct hardened *h, struct class *c)
{
    struct span *span;
    if (!hak_link_empty(&c->partial))
        return hak_item(c->partial.next, struct span, link);
    if (!hak_link_empty(&c->empty)) {
        span = hak_item(c->empty.next, struct span, link);
        hak_link_remove(&span->link);
        if (span->warm)
            count_warm(h, -(int64_t)span_bytes(shape_of(h, c)));
        span->warm = false;
    } else if ((span = fresh_span(h, c)) == NULL) {
        return NULL;
    }
    choose_guard(h, span);
    hak_link_after(&c->partial, &span->link);
    hardened_count_in_use(h, (int64_t)span_bytes(shape_of(h, c)));
    return span;
}

/* Nothing of the span is used any more. */
static void emptied(struct hardened *h, struct class *c, struct span *span)
{
    size_t bytes = span_bytes(shape_of(h, c));
    hak_link_remove(&span->link);
    hardened_count_in_use(h, -(int64_t)bytes);
    if (!is_closed(span) &&
        hak_counted(&h->now->warm_bytes) + bytes <= h->keep_bytes) {
        span->warm = true;
        count_warm(h, (int64_t)bytes);
        hak_link_after(&c->empty, &span->link);
    } else {
        hak_link_after(c->empty.prev, &span->link); /* the last */
        close_runs(h, span);
        close_pieces(c, span);
    }
}

/* A slot of a piece that was put aside came back. */
static void piece_has_room(struct span *span, size_t piece)
{
    uint32_t k = span->nroom;
    while (span->piece[k] != piece)
        k++;
    span->full &= ~(1ull << piece);
    swap_pieces(span, k, span->nroom++);
}

void spans_release(struct hardened *h, struct class *c, const char *p)
{
    struct span *span = span_of(h, p);
    HAK_ALWAYS(span != NULL); /* spans of slots stay in the map */
    size_t i = index_of(span, (size_t)(p - span->start));
    span->used[i / 64] &= ~(1ull << i % 64);
    if (unlikely(span->full >> (i >> span->piece_shift) & 1))
        piece_has_room(span, i >> span->piece_shift);
    if (span->nused-- == span->capacity)
        hak_link_after(c->partial.prev, &span->link); /* the last */
    if (unlikely(span->nused == 0))
        emptied(h, c, span);
}

/* ---- choice ---------------------------------------------------------------
 */

/*
 * In a random open piece, from a random slot of it on, around its end. There is
 * one. Pieces that turn out to be full are put aside, until one of their slots
 * comes back.
 */
static size_t free_slot(struct class *c, struct span *span)
{
    uint32_t shift = span->piece_shift;
    uint64_t all = ~0ull >> (64 - (1u << shift));
    for (;;) {
        uint64_t bits = random_bits(c);
        uint32_t k = hardened_scaled(bits, span->nroom);
        uint8_t piece = span->piece[k];
        size_t first = (size_t)piece << shift;
        uint64_t room = ~(span->used[first / 64] >> first % 64) & all;
        uint64_t behind = room & ~0ull << (bits & ((1u << shift) - 1));
        if (likely(room != 0))
            return first + (size_t)__builtin_ctzll(behind ? behind : room);
        span->full |= 1ull << piece;
        swap_pieces(span, k, --span->nroom);
    }
}

static bool is_open(const struct span *span, size_t i)
{
    return likely(span->closed == 0) ||
           (span->closed & runs_of_slot(span, i)) == 0;
}

static void use(struct class *c, struct span *span, size_t i)
{
    span->used[i / 64] |= 1ull << i % 64;
    if (unlikely(++span->nused == span->enough))
        used_enough(c, span);
}

/*
 * A slot of the span at random, opened if it must be. -ENOMEM: it cannot be;
 * -EEXIST: none is left. Where somebody else has mapped, a slot is used for
 * ever.
 */
static int use_any(const struct hardened *h, struct class *c, struct span *span,
                   size_t *i)
{
    while (span->nused < span->capacity) {
        *i = free_slot(c, span);
        int error = is_open(span, *i) ? 0 : open_runs(h, span, *i);
        if (error == 0 || error == -EEXIST)
            use(c, span, *i);
        if (error != -EEXIST)
            return error;
    }
    return -EEXIST;
}

/* The first slot of an open piece whose pages are open; capacity: none. */
static size_t open_slot(const struct span *span)
{
    size_t each = (size_t)1 << span->piece_shift;
    for (uint32_t k = 0; k < span->nopen; k++) {
        size_t i = span->piece[k] * each;
        size_t end = hak_min(i + each, span->capacity);
        for (; i < end; i++)
            if (!(span->used[i / 64] >> i % 64 & 1) && is_open(span, i))
                return i;
    }
    return span->capacity;
}

/* There is no memory: of the spans that have room, what is open. */
static struct span *use_open(struct class *c, size_t *i)
{
    struct hak_link *at = c->partial.next;
    for (; at != &c->partial; at = at->next) {
        struct span *span = hak_item(at, struct span, link);
        *i = open_slot(span);
        if (*i == span->capacity)
            continue;
        use(c, span, *i);
        return span;
    }
    return NULL;
}

struct span *spans_use(struct hardened *h, struct class *c, size_t *i)
{
    struct span *span;
    int error = -EEXIST;
    while (error == -EEXIST) {
        span = more_room(h, c);
        error = span != NULL ? use_any(h, c, span, i) : -ENOMEM;
    }
    if (likely(error == 0))
        return span;
    if (span != NULL && span->nused == 0)
        emptied(h, c, span); /* it was taken for this */
    return use_open(c, i);
}

struct span *spans_use_open(struct class *c, size_t *i)
{
    if (unlikely(hak_link_empty(&c->partial)))
        return NULL;
    struct span *span = hak_item(c->partial.next, struct span, link);
    *i = free_slot(c, span);
    if (unlikely(!is_open(span, *i)))
        return NULL;
    use(c, span, *i);
    return span;
}

/* ---- what is given back ----------------------------------------------------
 */

size_t spans_close_empty(struct hardened *h, struct class *c)
{
    size_t bytes = 0;
    for (struct hak_link *at = c->empty.next; at != &c->empty; at = at->next) {
        struct span *span = hak_item(at, struct span, link);
        if (is_closed(span))
            continue;
        if (span->warm)
            count_warm(h, -(int64_t)span_bytes(shape_of(h, c)));
        span->warm = false;
        bytes += close_runs(h, span);
        close_pieces(c, span);
    }
    return bytes;
}

/* May slot i lose its pages? */
static bool is_idle(const struct span *span, size_t i)
{
    return !is_out(span, i) && is_open(span, i) && span->class_number != 0;
}

/* They read zero all the same. */
static void purge_slots(struct hardened *h, const struct span *span)
{
    size_t page = h->box->host->os_page_bytes;
    for (size_t i = 0; i < span->capacity; i++) {
        size_t at = hak_round_up(i * span->slot_bytes, page);
        while (i < span->capacity && is_idle(span, i))
            i++;
        size_t end = hak_round_down(i * span->slot_bytes, page);
        if (at < end)
            h->box->host->purge(h->box, span->start + at, end - at);
    }
}

void spans_purge(struct hardened *h, struct class *c)
{
    for (struct hak_link *at = c->partial.next; at != &c->partial;
         at = at->next)
        purge_slots(h, hak_item(at, struct span, link));
}

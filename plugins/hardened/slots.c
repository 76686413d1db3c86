/* SPDX-License-Identifier: MIT
 * slots.c - classes of slots: regions, spans, random choice, quarantine.
 */
#include "bounds.h"

#include <errno.h>
#include <sys/single_threaded.h>

enum {
    SPAN_SLOTS_MIN = 4,
    REGION_SPANS_FIRST = 8,
    REGION_SPANS_MOST = 64,        /* bits of `taken` */
    RUN_BYTES = 16 * 1024,         /* pages that are opened at once */
    NOW_SLOT_MOST = 8 * 1024,      /* of longer ones, made when touched */
    PURGED_SLOT_LEAST = 16 * 1024, /* by trim, where others are used */
    LEAST_CHOICE = 32,             /* slots to choose among, while there are */
    QUARANTINE_BYTES = 128 * 1024, /* of one class, in each half, at most */
};

/* ---- locks -----------------------------------------------------------------
 */

/*
 * A process of one thread needs none, and two atomics are two thirds of what a
 * call costs. libc knows, and nothing here starts a thread halfway. A fork in a
 * signal handler needs to know of the call that was interrupted.
 */
static void lock(struct class *c)
{
    if (__libc_single_threaded)
        hak_lock_enter(&c->lock);
    else
        hak_lock_take(&c->lock);
}

static void unlock(struct class *c)
{
    if (__libc_single_threaded)
        hak_lock_leave(&c->lock);
    else
        hak_lock_drop(&c->lock);
}

/* ---- randomness -----------------------------------------------------------
 */

/* Where slots go is to be hard to guess from the outside, no more. */
static uint64_t random_bits(struct class *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

/* Below n, by the upper half of such bits. */
static uint32_t scaled(uint64_t bits, uint32_t n)
{
    return (uint32_t)((bits >> 32) * n >> 32);
}

static uint32_t rnd(struct class *c, uint32_t n)
{
    return scaled(random_bits(c), n);
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
    return &h->shape[c - h->class];
}

/* The last page of a span is its guard, and the next span's in front. */
static uint32_t span_slots(const struct hardened *h, const struct shape *s)
{
    size_t guard = h->guard ? h->box->host->os_page_bytes : 0;
    return (uint32_t)((span_bytes(s) - guard) / s->slot_bytes);
}

void slots_init(struct hardened *h, uint32_t quarantine)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct shape *s = &h->shape[i];
        /* index 1 has no room for a border, and is asked for by nobody */
        s->slot_bytes = (uint32_t)hak_index_bytes(i < 2 ? i + 1 : i);
        s->span_granules = 1;
        while (span_slots(h, s) < SPAN_SLOTS_MIN)
            s->span_granules++;
        s->capacity = span_slots(h, s);
        s->nwait =
            (uint32_t)hak_min(quarantine, QUARANTINE_BYTES / s->slot_bytes);
        hak_link_init(&h->class[i].partial);
        hak_link_init(&h->class[i].empty);
        h->class[i].random = h->box->host->random() | 1;
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

/*
 * The runs that slot i lies in. Their pages are made at once, before the slot
 * is looked at: a page that is read first and written to then costs two faults,
 * those made together less than one each. Long slots may be for programs that
 * use little of them: theirs are made when touched, and so a whole span of them
 * is opened with the first one, if there is room for as much.
 */
static int open_runs(const struct hardened *h, struct span *span, size_t i)
{
    if (span->slot_bytes > NOW_SLOT_MOST && is_closed(span) &&
        open_these(h, span, span->closed) == 0)
        return 0;
    return open_these(h, span, span->closed & runs_of_slot(span, i));
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

/*
 * Slots come into use by pieces, so that few pages and cache lines are touched:
 * another one, at random of those left, whenever there is no more choice.
 */
static void open_pieces(struct class *c, struct span *span)
{
    uint32_t each = 1u << span->piece_shift;
    uint32_t n = (span->capacity + each - 1) / each;
    while (span->nopen < n && span->nready <= span->nused + LEAST_CHOICE) {
        uint32_t k = span->nopen + rnd(c, n - span->nopen);
        uint32_t first = span->piece[k] * each;
        span->nready += (uint32_t)hak_min(each, span->capacity - first);
        swap_pieces(span, k, span->nopen);
        swap_pieces(span, span->nopen++, span->nroom++);
    }
    span->enough =
        span->nopen == n ? span->capacity : span->nready - LEAST_CHOICE;
}

/* As many as `enough` says. The lock is held. */
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
    span->class_number = (uint8_t)(c - h->class);
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

/* The lock is held. A span of the list `partial`, or NULL. */
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

/* The lock is held. Nothing of the span is used any more. */
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

/* The lock is held. The slot may be handed out again. */
static void release(struct hardened *h, struct class *c, char *p)
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

/* The lock is held. */
static void unchoose(struct hardened *h, struct class *c)
{
    if (c->next != NULL)
        release(h, c, c->next);
    c->next = NULL;
}

/*
 * A freed slot changes places with a random one of `shuffle`, that with the
 * oldest of `queue`; what comes out is free. The lock is held.
 */
static void quarantine(struct hardened *h, struct class *c, uint32_t nwait,
                       char *p)
{
    if (unlikely(nwait == 0)) {
        release(h, c, p);
        return;
    }
    uint32_t i = rnd(c, nwait);
    char *waited = c->shuffle[i];
    c->shuffle[i] = p;
    if (unlikely(waited == NULL))
        return;
    char *out = c->queue[c->at];
    c->queue[c->at] = waited;
    c->at = c->at + 1 == nwait ? 0 : c->at + 1;
    if (likely(out != NULL))
        release(h, c, out);
}

/* ---- slots ----------------------------------------------------------------
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
        uint32_t k = scaled(bits, span->nroom);
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

/* A free slot of the span becomes the next to be handed out. */
static void choose(struct class *c, struct span *span, size_t i)
{
    use(c, span, i);
    c->next = span->start + i * span->slot_bytes;
    c->next_span = span;
    c->next_index = (uint32_t)i;
}

/*
 * A slot of the span at random, opened if it must be. -ENOMEM: it cannot be;
 * -EEXIST: none is left. Where somebody else has mapped, a slot is used for
 * ever.
 */
static int choose_any(const struct hardened *h, struct class *c,
                      struct span *span)
{
    while (span->nused < span->capacity) {
        size_t i = free_slot(c, span);
        int error = is_open(span, i) ? 0 : open_runs(h, span, i);
        if (error == 0)
            choose(c, span, i);
        else if (error == -EEXIST)
            use(c, span, i);
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
static bool choose_open(struct class *c)
{
    struct hak_link *at = c->partial.next;
    for (; at != &c->partial; at = at->next) {
        struct span *span = hak_item(at, struct span, link);
        size_t i = open_slot(span);
        if (i == span->capacity)
            continue;
        choose(c, span, i);
        return true;
    }
    return false;
}

/* The lock is held. False: no memory. */
static bool choose_next(struct hardened *h, struct class *c)
{
    struct span *span;
    int error = -EEXIST;
    while (error == -EEXIST) {
        span = more_room(h, c);
        error = span != NULL ? choose_any(h, c, span) : -ENOMEM;
    }
    if (likely(error == 0))
        return true;
    if (span != NULL && span->nused == 0)
        emptied(h, c, span); /* it was taken for this */
    return choose_open(c);
}

/*
 * The next slot is chosen when one is handed out, and its first lines fetched:
 * they are to be looked at. Only of pages that are open: what it takes to have
 * more waits until it is asked for.
 */
static void choose_ahead(struct class *c)
{
    struct span *span = hak_item(c->partial.next, struct span, link);
    size_t i = free_slot(c, span);
    if (unlikely(!is_open(span, i)))
        return;
    choose(c, span, i);
    __builtin_prefetch(c->next);
    __builtin_prefetch(c->next + 64);
}

static char *take(struct hardened *h, struct class *c, size_t asked)
{
    lock(c);
    if (unlikely(c->next == NULL) && !choose_next(h, c)) {
        unlock(c);
        return NULL;
    }
    char *p = c->next;
    set_note(c->next_span, c->next_index,
             (uint32_t)asked << NOTE_ASKED_SHIFT | NOTE_OUT);
    hak_count(&c->nout, 1);
    c->next = NULL;
    if (likely(!hak_link_empty(&c->partial)))
        choose_ahead(c);
    unlock(c);
    return p;
}

static void found_written(struct hardened *h, const char *p, size_t asked)
{
    h->box->host->log(h->box, HAK_LOG_ERROR,
                      "malloc(%zu): the free slot %p was written to since "
                      "its free",
                      asked, (const void *)p);
    abort();
}

/* A free slot with room for `room` is handed out: it must be as free left it.
 */
static void open_bounds(struct hardened *h, char *p, size_t asked, size_t room)
{
    char *end = p + room + BORDER_BYTES;
    if (h->zero && unlikely(!h->is_zero(p, room)))
        found_written(h, p, asked);
    if (unlikely(!border_is_whole(h, end))) {
        if (!border_may_be(h, end))
            found_written(h, p, asked);
        set_border(h, end);
    }
    set_canary(h, p, asked, room);
}

void *slots_alloc(struct hardened *h, uint32_t class_number, size_t asked)
{
    char *p = take(h, &h->class[class_number], asked);
    if (unlikely(p == NULL)) {
        hardened_give_back(h);
        p = take(h, &h->class[class_number], asked);
    }
    if (likely(p != NULL && class_number != 0))
        open_bounds(h, p, asked,
                    h->shape[class_number].slot_bytes - BORDER_BYTES);
    return p;
}

/*
 * May the bytes in front of p, a slot that is out, be looked at? In front of a
 * span is a closed page, or another's memory; a run in front may be closed, and
 * is not closed again while a slot of the span is out.
 */
static bool border_in_front(const struct span *span, const char *p)
{
    size_t at = (size_t)(p - span->start);
    if (likely(at % RUN_BYTES != 0))
        return true;
    return at != 0 && !(__atomic_load_n(&span->closed, __ATOMIC_ACQUIRE) >>
                            (at / RUN_BYTES - 1) & 1);
}

void slots_check(struct hardened *h, const struct span *span, size_t i,
                 char *p)
{
    size_t room = room_of(span);
    if (unlikely(!border_is_whole(h, p + room + BORDER_BYTES) ||
                 !canary_is_whole(h, p, asked_of(span, i), room)))
        hardened_refuse(h, span, p,
                        "overflow: the bytes behind it were written to");
    if (likely(border_in_front(span, p)) && unlikely(!border_may_be(h, p)))
        hardened_refuse(h, span, p,
                        "underflow: the bytes before it were written to");
}

void slots_set_asked(struct hardened *h, struct span *span, size_t i, void *p,
                     size_t size_bytes)
{
    size_t room = room_of(span), asked = asked_of(span, i);
    drop_canary(p, asked, room);
    if (size_bytes < asked)
        memset((char *)p + size_bytes, 0, asked - size_bytes);
    set_canary(h, p, size_bytes, room);
    set_note(span, i,
             (note_of(span, i) & NOTE_MARKS) | NOTE_OUT |
                 (uint32_t)size_bytes << NOTE_ASKED_SHIFT);
}

/* As realloc has it: not where most of the slot would be for nothing. */
bool slots_resize(struct hardened *h, struct span *span, size_t i, void *p,
                  size_t size_bytes)
{
    enum { SMALL_BYTES = 64 };
    size_t room = room_of(span);
    if (size_bytes > room ||
        (room > SMALL_BYTES && size_bytes < room / 2 &&
         size_bytes != asked_of(span, i)))
        return false;
    slots_set_asked(h, span, i, p, size_bytes);
    return true;
}

/*
 * A program may use little of a long slot, so what still reads zero is not
 * written to: a page that was never touched then takes no memory. Where a page
 * was used, the look ends within its first bytes.
 */
static void wipe_used(const struct hardened *h, char *p, size_t bytes)
{
    size_t page = h->box->host->os_page_bytes;
    for (char *end = p + bytes; p != end;) {
        size_t left = page - (uintptr_t)p % page;
        left = hak_min(left, (size_t)(end - p));
        if (!h->is_zero(p, left))
            h->wipe(p, left);
        p += left;
    }
}

/*
 * Its bytes are wiped before the lock is taken: the slot is nobody else's. Two
 * frees at once both come as far as the lock.
 */
void slots_free(struct hardened *h, struct span *span, size_t i, void *p)
{
    struct class *c = &h->class[span->class_number];
    if (likely(span->class_number != 0)) {
        slots_check(h, span, i, p);
        if (h->zero && is_wide(span))
            wipe_used(h, p, room_of(span));
        else if (h->zero)
            h->wipe(p, room_of(span));
    }
    lock(c);
    if (unlikely(!is_out(span, i)))
        hardened_refuse(h, span, p, "freed twice");
    set_note(span, i, 0);
    hak_count(&c->nout, -(uint64_t)1);
    quarantine(h, c, h->shape[span->class_number].nwait, p);
    unlock(c);
}

void slots_fork(struct hardened *h, enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = &h->class[i];
        if (phase == HAK_FORK_CHILD && hak_lock_is_whole(&c->lock)) {
            unchoose(h, c);
            c->random = h->box->host->random() | 1;
        }
        hak_lock_fork(&c->lock, phase);
    }
}

/* The lock is held. Returns bytes. */
static size_t close_empty(struct hardened *h, struct class *c)
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

/* The lock is held. What waits in the quarantine is free. */
static void end_wait(struct hardened *h, struct class *c)
{
    for (uint32_t i = 0; i < QUARANTINE_MOST; i++) {
        if (c->shuffle[i] != NULL)
            release(h, c, c->shuffle[i]);
        if (c->queue[i] != NULL)
            release(h, c, c->queue[i]);
        c->shuffle[i] = c->queue[i] = NULL;
    }
}

/* Returns bytes. */
static size_t give_back(struct hardened *h, bool waiting)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = &h->class[i];
        lock(c);
        unchoose(h, c);
        if (waiting)
            end_wait(h, c);
        bytes += close_empty(h, c);
        unlock(c);
    }
    return bytes;
}

void slots_give_back(struct hardened *h)
{
    give_back(h, true);
}

/* The whole pages of long slots that are not out, in spans where others are.
 * They read zero all the same. */
static void purge_slots(struct hardened *h, const struct span *span)
{
    size_t page = h->box->host->os_page_bytes;
    for (size_t i = 0; i < span->capacity; i++) {
        size_t at = i * span->slot_bytes, end = at + span->slot_bytes;
        at = hak_round_up(at, page);
        end = hak_round_down(end, page);
        if (!is_out(span, i) && is_open(span, i))
            h->box->host->purge(h->box, span->start + at, end - at);
    }
}

/* Returns what whole spans have given back. */
size_t slots_trim(struct hardened *h)
{
    size_t bytes = give_back(h, false);
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = &h->class[i];
        if (h->shape[i].slot_bytes < PURGED_SLOT_LEAST)
            continue;
        lock(c);
        for (struct hak_link *at = c->partial.next; at != &c->partial;
             at = at->next)
            purge_slots(h, hak_item(at, struct span, link));
        unlock(c);
    }
    return bytes;
}

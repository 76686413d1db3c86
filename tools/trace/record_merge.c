/* SPDX-License-Identifier: MIT
 * record_merge.c - makes one sequence of the rings of a process.
 *
 * A thread that is given a block by another reads its clock later than the
 * other did (ring.h). So all entries in the order of their times are a possible
 * order. That order changes the thread all the time, which takes room in the
 * file and time when it is played. So the merge stays with a thread for up to
 * RECORD_QUANTUM_NS beyond the next entry of the others. Entries of one address
 * in several rings remain in the order of their times all the same: all
 * addresses of that stretch, the window, are marked first.
 *
 * The clocks of two processors may differ a little. So a block that is given
 * back but is not live waits, if another ring has its address in the window;
 * and so does a block that is made where another one is live. If all rings
 * wait, or if no other ring has the address, the entry is taken as it is: the
 * block that is given back was made before the recording, or the entry that
 * gave the live block back was lost.
 */
#include "../hakctl.h"
#include "record.h"

enum {
    RUN_ENTRIES = 4096, /* taken before the thread gets room in its ring */
    VALUES_MOST = 8,    /* before an entry; three are sane */
    AHEAD = 8,          /* entries whose place in the table is fetched before */
};

struct merge {
    struct recorded *p;
    struct recorder *r;
    uint64_t cut, slack, quantum; /* ticks */
    bool marked; /* r->share is of the window; otherwise no ring waits */
};

/* ---- entries ------------------------------------------------------------- */

static const struct record_entry *entry_of(const struct record_stream *s,
                                           uint64_t number)
{
    return &s->entry[number % RECORD_RING_ENTRIES];
}

/* Nothing may hold up a ring for good, since its thread would wait for ever. So
 * a time that is to come, which only a fault of the program can have put there,
 * counts as now. */
static uint64_t sane_ticks(const struct record_stream *s, uint64_t ticks)
{
    uint64_t most = s->of->recorder->read_ticks;
    return ticks > most ? most : ticks;
}

/* Read the entry at tail and what was put before it. Returns false: it is not
 * there yet. Many values without an entry are as good as none. */
static bool read_next(struct record_stream *s)
{
    uint64_t value = 0, size = 0, time = 0;
    for (uint64_t at = s->tail; at != s->head; at++) {
        const struct record_entry *e = entry_of(s, at);
        enum record_kind kind = e->at & 15;
        if (at - s->tail >= VALUES_MOST)
            kind = RECORD_NONE;
        if (kind == RECORD_VALUE)
            value = e->at >> 4;
        else if (kind == RECORD_LONG)
            size = e->at >> 4;
        else if (kind == RECORD_TIME)
            time = e->at >> 4;
        else {
            s->next = (struct record_next){
                .kind = kind,
                .address = e->at & ~(uint64_t)15,
                .size = e->size == UINT32_MAX ? size : e->size,
                .align = value,
                .ticks = sane_ticks(
                    s, e->ticks == UINT32_MAX ? time : s->ticks + e->ticks),
                .after = at + 1};
            s->has_next = true;
            return true;
        }
    }
    return false;
}

static bool has_next(struct record_stream *s)
{
    return s->has_next || read_next(s);
}

static uint64_t key_of(uint64_t address)
{
    return address >> 4;
}

/* ---- addresses of a window ----------------------------------------------- */

static struct record_share *share_of(const struct merge *m, uint64_t address)
{
    uint64_t hash = key_of(address) * UINT64_C(0x9e3779b97f4a7c15);
    return &m->r->share[(hash >> 32) % RECORD_SHARES];
}

static uint32_t number_of(const struct merge *m, const struct record_stream *s)
{
    return (uint32_t)(s - m->r->stream) + 1;
}

static void mark_address(const struct merge *m, uint64_t address,
                         uint32_t stream)
{
    struct record_share *share = share_of(m, address);
    if (share->round != m->r->round)
        *share = (struct record_share){m->r->round, stream};
    else if (share->stream != stream)
        share->stream = UINT32_MAX;
}

static void mark_stream(const struct merge *m, const struct record_stream *s,
                        uint64_t end)
{
    uint64_t ticks = s->ticks, time = 0;
    for (uint64_t at = s->tail; at != s->head; at++) {
        const struct record_entry *e = entry_of(s, at);
        enum record_kind kind = e->at & 15;
        if (kind == RECORD_TIME)
            time = e->at >> 4;
        if (kind >= RECORD_VALUE)
            continue;
        ticks = e->ticks == UINT32_MAX ? time : ticks + e->ticks;
        if (ticks >= end)
            return;
        if (e->at >> 4 != 0)
            mark_address(m, e->at, number_of(m, s));
    }
}

/* Has another ring that address in the window? Two addresses may share a place,
 * so it says yes now and then where the answer is no. */
static bool is_shared(const struct merge *m, const struct record_stream *s,
                      uint64_t address)
{
    if (!m->marked || address == 0)
        return false;
    const struct record_share *share = share_of(m, address);
    return share->round == m->r->round && share->stream != number_of(m, s);
}

/* ---- taking an entry ----------------------------------------------------- */

static void put(const struct merge *m, struct record_stream *s,
                struct trace_op *op)
{
    if (s->thread == UINT32_MAX)
        s->thread = m->p->nthreads++;
    op->thread = s->thread;
    recorded_put(m->p, op, s->next.ticks);
}

static void set_live(const struct merge *m, uint64_t address, uint64_t object)
{
    if (trace_table_put(&m->p->live, key_of(address), object) != 0)
        ctl_die("record: no memory for the table of %zu blocks", m->p->live.n);
}

static bool take_made(const struct merge *m, struct record_stream *s,
                      struct trace_op *op, bool force)
{
    const struct record_next *e = &s->next;
    op->size = e->size;
    if (e->address != 0) {
        const uint64_t *there =
            trace_table_find(&m->p->live, key_of(e->address));
        if (there != NULL) {
            if (!force && is_shared(m, s, e->address))
                return false;
            struct trace_op lost = {.kind = TRACE_FREE, .object = *there};
            put(m, s, &lost);
            m->p->lost++;
        }
        op->object = ++m->p->nobjects;
        set_live(m, e->address, op->object);
    }
    put(m, s, op);
    return true;
}

/* Take a block out of the live ones. *object 0: it is not known. Returns false:
 * the entry has to wait. */
static bool take_given(const struct merge *m, const struct record_stream *s,
                       bool force, uint64_t *object)
{
    *object = 0;
    return s->next.address == 0 ||
           trace_table_take(&m->p->live, key_of(s->next.address), object) ||
           force || !is_shared(m, s, s->next.address);
}

static bool take_free(const struct merge *m, struct record_stream *s,
                      bool force)
{
    struct trace_op op = {.kind = s->next.address != 0 ? TRACE_FREE
                                                       : TRACE_FREE_NULL};
    if (!take_given(m, s, force, &op.object))
        return false;
    put(m, s, &op);
    return true;
}

static bool take_touched(const struct merge *m, struct record_stream *s,
                         bool force)
{
    const uint64_t *there =
        trace_table_find(&m->p->live, key_of(s->next.address));
    if (there == NULL)
        return force || !is_shared(m, s, s->next.address);
    struct trace_op op = {
        .kind = TRACE_TOUCHED, .object = *there, .size = s->next.size};
    put(m, s, &op);
    return true;
}

static bool take_moved_from(const struct merge *m, struct record_stream *s,
                            bool force)
{
    if (!take_given(m, s, force, &s->moved_object))
        return false;
    s->moved = s->next.address;
    return true;
}

static bool take_moved_to(const struct merge *m, struct record_stream *s,
                          bool force)
{
    struct trace_op op = {.kind = TRACE_REALLOC, .old = s->moved_object};
    if (!take_made(m, s, &op, force))
        return false;
    if (s->next.address == 0 && s->moved_object != 0)
        set_live(m, s->moved, s->moved_object);
    s->moved = s->moved_object = 0;
    return true;
}

/* Take the next entry of a ring. Returns false: it has to wait. */
static bool take(const struct merge *m, struct record_stream *s, bool force)
{
    struct trace_op op = {.kind = TRACE_MALLOC};
    switch (s->next.kind) {
    case RECORD_MALLOC:
        return take_made(m, s, &op, force);
    case RECORD_CALLOC:
        op.kind = TRACE_CALLOC;
        return take_made(m, s, &op, force);
    case RECORD_ALIGNED:
        op.kind = TRACE_ALIGNED;
        op.align = s->next.align;
        return take_made(m, s, &op, force);
    case RECORD_REALLOC_FROM:
        return take_moved_from(m, s, force);
    case RECORD_REALLOC_TO:
        return take_moved_to(m, s, force);
    case RECORD_FREE:
        return take_free(m, s, force);
    case RECORD_TOUCHED:
        return take_touched(m, s, force);
    default: /* the program has written here by mistake */
        return true;
    }
}

/* ---- the order ----------------------------------------------------------- */

static void fetch_ahead(const struct merge *m, const struct record_stream *s)
{
    if (s->tail + AHEAD < s->head)
        trace_table_fetch(&m->p->live,
                          key_of(entry_of(s, s->tail + AHEAD)->at));
}

static void pass_entry(struct record_stream *s)
{
    s->tail = s->next.after;
    s->ticks = s->next.ticks;
    s->has_next = false;
}

/* Take entries of a ring that are older than `end`. others: time of the next
 * entry of the other rings. Returns how many were taken. */
static uint64_t run(const struct merge *m, struct record_stream *s,
                    uint64_t end, uint64_t others)
{
    uint64_t n = 0;
    while (n < RUN_ENTRIES && m->r->left != 0 && has_next(s) &&
           s->next.ticks < end) {
        if (s->next.ticks > others && is_shared(m, s, s->next.address))
            break;
        s->waits = !take(m, s, false);
        if (s->waits)
            break;
        pass_entry(s);
        fetch_ahead(m, s);
        n++;
    }
    if (n == 0)
        return 0;
    __atomic_store_n(&s->ring->tail, s->tail, __ATOMIC_RELEASE);
    m->p->last = s;
    for (uint32_t i = 0; m->marked && i < m->p->nstreams; i++)
        m->p->stream[i]->waits &= m->p->stream[i] == s;
    return n;
}

/* The ring with the oldest entry of those that do not wait, but for one. */
static struct record_stream *oldest(const struct recorded *p,
                                    const struct record_stream *but)
{
    struct record_stream *found = NULL;
    for (uint32_t i = 0; i < p->nstreams; i++) {
        struct record_stream *s = p->stream[i];
        if (s == but || s->waits || !has_next(s))
            continue;
        if (found == NULL || s->next.ticks < found->next.ticks)
            found = s;
    }
    return found;
}

static uint64_t oldest_ticks(const struct recorded *p,
                             const struct record_stream *but)
{
    const struct record_stream *s = oldest(p, but);
    return s != NULL ? s->next.ticks : UINT64_MAX;
}

static void mark_window(struct merge *m, uint64_t end)
{
    m->marked = true;
    m->r->round++;
    for (uint32_t i = 0; i < m->p->nstreams; i++)
        mark_stream(m, m->p->stream[i], end + m->slack);
}

/* Take an entry as it is, as all rings wait. If the clocks of processors may
 * be the reason, the next call knows more. */
static uint64_t take_waiting(const struct merge *m, struct record_stream *s)
{
    s->waits = false;
    if (s->next.ticks + m->slack >= m->cut)
        return 0;
    take(m, s, true);
    pass_entry(s);
    __atomic_store_n(&s->ring->tail, s->tail, __ATOMIC_RELEASE);
    return 1;
}

/* Take the entries of a window that begins with the next one of `first`. It
 * begins with the thread of the window before, if that has something. */
static uint64_t take_window(struct merge *m, struct record_stream *first)
{
    uint64_t n = 0, end = first->next.ticks + m->quantum;
    struct record_stream *s = m->p->last;
    if (end > m->cut)
        end = m->cut;
    mark_window(m, end);
    if (s != NULL && s != first && has_next(s))
        n = run(m, s, end, first->next.ticks);
    while ((s = oldest(m->p, NULL)) != NULL && s->next.ticks < end &&
           m->r->left != 0)
        n += run(m, s, end, oldest_ticks(m->p, s));
    for (uint32_t i = 0; i < m->p->nstreams; i++)
        m->p->stream[i]->waits = false;
    if (n == 0 && m->r->left != 0)
        n = take_waiting(m, first);
    m->marked = false;
    return n;
}

static uint64_t to_ticks(const struct recorder *r, double ns)
{
    return (uint64_t)(ns / r->ns_per_tick);
}

uint64_t record_merge(struct recorded *p, uint64_t cut_ticks)
{
    struct recorder *r = p->recorder;
    struct merge m = {.p = p,
                      .r = r,
                      .cut = cut_ticks,
                      .slack = to_ticks(r, RECORD_SLACK_NS),
                      .quantum = to_ticks(r, RECORD_QUANTUM_NS)};
    uint64_t taken = 0, n = 1;
    while (n != 0 && r->left != 0) {
        struct record_stream *first = oldest(p, NULL);
        if (first == NULL || first->next.ticks >= m.cut)
            break;
        uint64_t others = oldest_ticks(p, first);
        uint64_t alone = others - (others < m.slack ? others : m.slack);
        if (alone > m.cut)
            alone = m.cut;
        n = first->next.ticks < alone ? run(&m, first, alone, others)
                                      : take_window(&m, first);
        taken += n;
    }
    return taken;
}

/* SPDX-License-Identifier: MIT
 * live.c - [core] verify: the map of live slots.
 *
 * A table over the window has a word for each granule:
 *
 *     0       no live slot in it
 *     WHOLE   it lies inside of a slot that begins in an earlier granule
 *     else    its leaf, two bits for each unit of 16 bytes:
 *                 live    the unit belongs to a live slot
 *                 start   a live slot begins in it
 *
 * So a slot ends where the next one starts, or where units are not live.
 *
 * There is no lock: a thread changes only the bits of its own slot, by atomic
 * operations. It sets a slot's start before its units, and clears it after
 * them. So a thread that looks for the end of the slot before never runs into
 * this one.
 */
#include <core/malloc/live.h>

#include <base/meta.h>
#include <base/sections.h>
#include <core/memory/directory.h>

enum {
    UNIT_BYTES = HAK_ALIGN_BYTES,
    WORD_UNITS = 64,
    GRANULE_UNITS = HAK_GRANULE_BYTES / UNIT_BYTES,
    LEAF_WORDS = GRANULE_UNITS / WORD_UNITS,
};

struct leaf {
    uint64_t live[LEAF_WORDS]; /* atomic */
    uint64_t start[LEAF_WORDS];
};

#define WHOLE ((struct leaf *)1)
static HAK_SEALED struct leaf **leaves; /* by granule; atomic. NULL: no map */

void hak_live_start(void)
{
    leaves = hak_directory_table(64, NULL);
}

/* ---- leaves -------------------------------------------------------------- */

static struct leaf *leaf_at(size_t granule)
{
    return __atomic_load_n(&leaves[granule], __ATOMIC_ACQUIRE);
}

/* The leaf of a granule, made if there is none; WHOLE; or NULL: no memory. A
 * leaf that another thread made first is used, and ours is lost. */
static struct leaf *make_leaf(size_t granule)
{
    struct leaf *there = leaf_at(granule);
    if (there != NULL)
        return there;
    struct leaf *leaf = hak_meta(sizeof *leaf);
    if (leaf == NULL ||
        __atomic_compare_exchange_n(&leaves[granule], &there, leaf, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return leaf;
    return there;
}

static bool replace(size_t granule, struct leaf *from, struct leaf *to)
{
    return __atomic_compare_exchange_n(&leaves[granule], &from, to, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* ---- runs of units --------------------------------------------------------
 */

/* A run of units, which may reach over granules. */
struct run {
    size_t granule;
    uint32_t unit; /* in the granule */
    size_t nunits;
};

static struct run run_of(const void *p, size_t size_bytes)
{
    return (struct run){
        .granule = hak_directory_granule(p),
        .unit = (uint32_t)((uintptr_t)p % HAK_GRANULE_BYTES / UNIT_BYTES),
        .nunits = hak_round_up(size_bytes, UNIT_BYTES) / UNIT_BYTES,
    };
}

/* Split the part in its first granule off the run. Returns its units. */
static uint32_t take_part(struct run *run, size_t *granule, uint32_t *unit)
{
    uint32_t n =
        (uint32_t)hak_min(run->nunits, (size_t)(GRANULE_UNITS - run->unit));
    *granule = run->granule++;
    *unit = run->unit;
    run->unit = 0;
    run->nunits -= n;
    return n;
}

/* The bits of units unit .. unit + n - 1 that lie in the word of `unit`. Moves
 * *unit and *n behind them. */
static uint64_t take_bits(uint32_t *unit, uint32_t *n)
{
    uint32_t bit = *unit % WORD_UNITS;
    uint32_t here = (uint32_t)hak_min(*n, WORD_UNITS - bit);
    uint64_t ones = here == WORD_UNITS ? ~(uint64_t)0 : (1ull << here) - 1;
    *unit += here;
    *n -= here;
    return ones << bit;
}

static const char *address_of(size_t granule, uint32_t unit)
{
    return (const char *)hak_directory.base + (granule << HAK_GRANULE_SHIFT) +
           (size_t)unit * UNIT_BYTES;
}

/* ---- entering -------------------------------------------------------------
 */

/* The start of the live slot that a unit belongs to. */
static const void *start_before(size_t granule, uint32_t unit)
{
    for (;; granule--) {
        const struct leaf *leaf = leaf_at(granule);
        for (uint32_t u = unit + 1; leaf != WHOLE && leaf != NULL && u-- != 0;)
            if (__atomic_load_n(&leaf->start[u / WORD_UNITS],
                                __ATOMIC_RELAXED) >>
                    (u % WORD_UNITS) &
                1)
                return address_of(granule, u);
        if (granule == 0)
            return address_of(granule, unit); /* not reached */
        unit = GRANULE_UNITS - 1;
    }
}

/* The first live slot with a unit in the run; NULL: there is none. */
static const void *first_live(struct run run)
{
    size_t granule;
    uint32_t unit;
    while (run.nunits != 0) {
        uint32_t n = take_part(&run, &granule, &unit);
        const struct leaf *leaf = leaf_at(granule);
        if (leaf == WHOLE)
            return start_before(granule, unit);
        while (leaf != NULL && n != 0) {
            const uint64_t *word = &leaf->live[unit / WORD_UNITS];
            uint32_t first = unit - unit % WORD_UNITS;
            uint64_t both =
                take_bits(&unit, &n) & __atomic_load_n(word, __ATOMIC_RELAXED);
            if (both != 0)
                return start_before(granule,
                                    first + (uint32_t)__builtin_ctzll(both));
        }
    }
    return NULL;
}

/* Set the units of one granule to live. False: one of them is live. */
static bool set_live(struct leaf *leaf, uint32_t unit, uint32_t n)
{
    uint64_t both = 0;
    while (n != 0) {
        uint64_t *word = &leaf->live[unit / WORD_UNITS];
        uint64_t bits = take_bits(&unit, &n);
        both |= bits & __atomic_fetch_or(word, bits, __ATOMIC_ACQ_REL);
    }
    return both == 0;
}

const void *hak_live_enter(const void *p, size_t size_bytes)
{
    if (leaves == NULL || size_bytes == 0 || !hak_directory_in_window(p))
        return NULL;
    struct run run = run_of(p, size_bytes);
    const void *other = first_live(run);
    bool alone = true;
    for (bool first = true; other == NULL && run.nunits != 0; first = false) {
        size_t granule;
        uint32_t unit;
        uint32_t n = take_part(&run, &granule, &unit);
        if (!first && n == GRANULE_UNITS && replace(granule, NULL, WHOLE))
            continue;
        struct leaf *leaf = make_leaf(granule);
        if (leaf == NULL) {
            hak_live_leave(p);
            return NULL;
        }
        alone &= leaf != WHOLE;
        if (leaf == WHOLE)
            continue;
        if (first)
            __atomic_fetch_or(&leaf->start[unit / WORD_UNITS],
                              1ull << (unit % WORD_UNITS), __ATOMIC_ACQ_REL);
        alone &= set_live(leaf, unit, n);
    }
    return alone ? other : p; /* p: two threads have got it at once */
}

/* ---- leaving --------------------------------------------------------------
 */

/*
 * The units of a word that are not live, or where a slot starts. A slot behind
 * ours may come or go meanwhile. While its units are live its start is set, but
 * the two are read one after the other. So both are read again: ours are live
 * without a start at each look, and to be missed the other slot would have to
 * come and go twice, between just these loads.
 */
static uint64_t ends_in(const struct leaf *leaf, uint32_t word)
{
    uint64_t ends = __atomic_load_n(&leaf->start[word], __ATOMIC_ACQUIRE);
    for (int looks = 0; looks < 2; looks++) {
        ends |= ~__atomic_load_n(&leaf->live[word], __ATOMIC_ACQUIRE);
        ends |= __atomic_load_n(&leaf->start[word], __ATOMIC_ACQUIRE);
    }
    return ends;
}

/* Clear the units of a slot from `unit` on, up to its end or the end of the
 * granule. first: the slot begins there. Returns how many there were. */
static uint32_t clear_live(struct leaf *leaf, uint32_t unit, bool first)
{
    uint32_t from = unit;
    while (unit < GRANULE_UNITS) {
        uint32_t word = unit / WORD_UNITS, bit = unit % WORD_UNITS;
        uint32_t room = WORD_UNITS - bit;
        uint64_t ends = ends_in(leaf, word);
        if (first && unit == from)
            ends &= ~(1ull << bit);
        ends >>= bit;
        uint32_t here = ends != 0 ? (uint32_t)__builtin_ctzll(ends) : room;
        uint32_t n = here, at = unit;
        if (n != 0)
            __atomic_fetch_and(&leaf->live[word], ~take_bits(&at, &n),
                               __ATOMIC_ACQ_REL);
        unit += here;
        if (here < room)
            break;
    }
    return unit - from;
}

size_t hak_live_leave(const void *p)
{
    if (leaves == NULL || !hak_directory_in_window(p) ||
        (uintptr_t)p % UNIT_BYTES != 0)
        return 0;
    struct run run = run_of(p, UNIT_BYTES);
    uint32_t word = run.unit / WORD_UNITS;
    uint64_t bit = 1ull << (run.unit % WORD_UNITS);
    struct leaf *leaf = leaf_at(run.granule);
    if (leaf == NULL || leaf == WHOLE ||
        (__atomic_load_n(&leaf->start[word], __ATOMIC_ACQUIRE) & bit) == 0)
        return 0;
    size_t nunits = clear_live(leaf, run.unit, true);
    bool goes_on = run.unit + nunits == GRANULE_UNITS;
    for (size_t g = run.granule + 1; goes_on && g < hak_directory.limit_real;
         g++) {
        struct leaf *next = leaf_at(g);
        uint32_t n = next == NULL    ? 0
                     : next == WHOLE ? GRANULE_UNITS
                                     : clear_live(next, 0, false);
        if (next == WHOLE)
            replace(g, WHOLE, NULL);
        nunits += n;
        goes_on = n == GRANULE_UNITS;
    }
    __atomic_fetch_and(&leaf->start[word], ~bit, __ATOMIC_ACQ_REL);
    return nunits * UNIT_BYTES;
}

/* SPDX-License-Identifier: MIT
 * hardened.h - the box's state: classes of slots, and blocks of their own.
 *
 *     region of a class   | guard |  slab  |G|  slab  |G|  slab  |G| ...
 *     slab                | slot | slot | slot | ... | slot |
 *     slot                | what was asked for | canary, 0.. | border |
 *     block of its own    | guard | border | block | canary | guard |
 *     metadata            | guard | fixed, map, all the rest | guard |
 *
 * Regions and blocks lie in granules that the host has reserved: of them only
 * the pages of slots and blocks are open, and what is not is a guard. So a slab
 * or a block between guards is one mapping of the kernel's, a free one none,
 * and to free one never takes a mapping more.
 *
 * An address belongs to one class of one arena for ever. All that is known of
 * slots is out of band, in struct slab: a bit and a note a slot,
 *
 *     used   handed out, or in quarantine       out <= used
 *     note   NOTE_OUT: handed out               nused == ones of used
 *
 * (of the bits below capacity; those above are in `used`), and a slot without
 * `used` reads zero up to its border (parameter `zero`).
 */
#ifndef HARDENED_H
#define HARDENED_H

#include <kit/bits.h>
#include <kit/list.h>
#include <kit/map.h>
#include <kit/page.h>
#include <kit/sync.h>

#include <sys/single_threaded.h>

enum {
    /* by the core's size index; 0: slots of no bytes */
    CLASSES = HAK_INDEX_SMALL_MAX + 1 + 7 * 8,
    BORDER_BYTES = 16,           /* the end of each slot: bounds.h */
    SLOT_MOST_BYTES = 128 << 10, /* the last class; with its border */
    NARROW_SLOT_MOST = 8 * 1024, /* its notes have 16 bits */
    QUARANTINE_MOST = 64,
    ARENAS_MOST = 64,
    RUN_BYTES = 16 * 1024,    /* pages that are opened at once */
    NOW_SLOT_MOST = 8 * 1024, /* of longer ones, made when touched */
    PIECES_MOST = 64,
    BIG_KEPT_GRANULES = 64, /* 4 MiB: larger blocks are not kept */
};

/*
 * The note of a slot, 0 while it is not out:
 *
 *     | bytes asked for | mark | NOTE_OUT |
 *
 * The bytes of a block of its own are elsewhere: they may be more.
 */
enum {
    NOTE_OUT = 1,
    NOTE_MARK_SHIFT = 1,
    NOTE_MARKS = 3 << NOTE_MARK_SHIFT,
    NOTE_ASKED_SHIFT = 3,
};

/* What each call looks at fills one cache line. */
struct slab {
    _Alignas(64) struct hak_link link; /* of its class: partial, or empty */
    char *start;
    size_t slot_bytes; /* with the border */
    uint64_t inverse;  /* 2^40 / slot_bytes, rounded up; 0: one slot */
    uint32_t capacity, nused;
    uint32_t nready;         /* slots of open pieces */
    uint32_t enough;         /* when nused is this, there is something to do */
    uint8_t class_number;    /* CLASSES: a block of its own, of one slot */
    uint8_t piece_shift;     /* a piece has 1 << that slots */
    uint8_t nopen, nroom;    /* pieces open; of them, not put aside as full */
    uint8_t lowest, highest; /* open piece, where there is one */
    bool warm;               /* empty, with its pages */
    bool guarded;          /* closed pages on both sides; counted while open */
    bool unclosed;         /* block: free, and open still */
    struct slab *all_next; /* for ever */
    struct class *class;   /* likewise, of slots */
    uint64_t full;         /* pieces put aside, a bit each */
    uint64_t closed;       /* runs of RUN_BYTES that are, a bit each */
    void *note;            /* one a slot, of 16 bits or 32 */
    union {
        /* in random order: those with room, open ones, the others */
        uint8_t piece[PIECES_MOST];
        struct { /* block */
            char *place;
            size_t place_bytes; /* its granules, guards and all */
            size_t asked_bytes;
            struct slab *next; /* spare, in quarantine, or kept */
        };
    };
    uint64_t used[];
};

/* What of a class is fixed. */
struct shape {
    uint32_t slot_bytes; /* with the border */
    uint32_t slab_granules;
    uint32_t capacity; /* of a slab */
    uint32_t nwait;    /* length of each half of the quarantine */
};

/* The rest of it, of an arena; all under its lock. */
struct class
{
    _Alignas(64) struct hak_lock lock;
    uint64_t random; /* state of xorshift */
    struct hak_link partial;
    uint64_t nout;
    char *next; /* to be handed out, or NULL: has `used` set */
    struct slab *next_slab;
    uint32_t next_index;
    uint32_t at; /* oldest of the queue */
    /* ---- up to here what malloc needs: one cache line ---- */
    struct hak_link empty;
    char *old;         /* was next when a fork's parent chose it; or NULL */
    struct slab *made; /* a struct without a place */
    char *region;      /* the newest: its first slab */
    uint64_t taken;    /* slabs of it, a bit each */
    uint32_t nslabs;   /* places in it, at most 64 */
    uint8_t number;
    char *wait[]; /* nwait that are shuffled, nwait in turn */
};

/* Classes with slabs of their own, for some threads. One is made when it is
 * asked for: a fork goes through all that there are. */
struct arena {
    _Alignas(64) struct hak_lock lock; /* of what is made */
    uint32_t nheaps;                   /* guarded by heaps_lock */
    struct class *class[CLASSES];      /* atomic; NULL, once not: for ever */
};

/* What a thread has: its arena. */
struct heap {
    struct arena *arena;
    struct heap *next; /* spare */
};

/* Blocks of their own. */
struct big {
    struct hak_lock lock;
    struct slab *spare;
    struct slab *oldest, **newest; /* in quarantine */
    uint32_t nwaiting;
    struct slab *kept[BIG_KEPT_GRANULES]; /* closed, by granules of the place */
    struct slab *unclosed; /* waited, and the kernel does not close them */
    uint64_t kept_bytes;   /* of address space */
    uint64_t count, bytes;
};

/* Memory for structs of slabs: chunks between guards. */
struct chunk {
    struct hak_lock lock;
    char *next, *end;
};

/* Read-only from the end of init on. */
struct hardened {
    struct hak_box *box;
    struct hak_map map; /* granule -> slab */
    uint64_t secret[2];
    bool zero, guard;
    void (*wipe)(char *p, size_t bytes); /* multiples of 16, both, here */
    bool (*is_zero)(char *p, size_t bytes);
    size_t keep_bytes; /* of empty slabs */
    uint32_t most_waiting;
    uint32_t most_guarded;
    struct shape shape[CLASSES];
    uint32_t narenas; /* that there may be */
    struct hardened_now *now;
};

struct hardened_now {
    struct slab *all;
    uint64_t in_use_bytes, peak_bytes;
    uint64_t nguarded;   /* slabs and blocks: a mapping each */
    uint64_t warm_bytes; /* of empty slabs */
    struct chunk chunk;
    struct big big;
    struct arena *arena[ARENAS_MOST]; /* made when there is a thread for it */
    struct hak_lock heaps_lock;
    uint64_t first_thread; /* as hak_lock_self has it, until it has a heap */
    struct heap *spare_heaps;
};

static inline struct hardened *hardened_of(const struct hak_box *box)
{
    return box->state;
}

static inline struct slab *slab_of(const struct hardened *h, const void *p)
{
    return hak_map_get(&h->map, p);
}

/* The calling thread's; the first one, where it has none or is the only one. No
 * lock is held. */
static inline struct arena *arena_of(const struct hardened *h)
{
    if (__libc_single_threaded)
        return h->now->arena[0];
    const struct heap *heap = h->box->host->heap(h->box, true);
    return likely(heap != NULL) ? heap->arena : h->now->arena[0];
}

/* The next number of a xorshift. Where slots go is to be hard to guess from the
 * outside, no more. */
static inline uint64_t hardened_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Below n, by the upper half of such bits. */
static inline uint32_t hardened_scaled(uint64_t bits, uint32_t n)
{
    return (uint32_t)((bits >> 32) * n >> 32);
}

static inline bool is_big(const struct slab *slab)
{
    return slab->class_number == CLASSES;
}

/* What a slot has room for. */
static inline size_t room_of(const struct slab *slab)
{
    return is_big(slab)              ? slab->slot_bytes
           : slab->class_number == 0 ? 0
                                     : slab->slot_bytes - BORDER_BYTES;
}

/*
 * Which slot has the byte at this distance from the slab's start; capacity or
 * more: none. Exact, since a distance has 20 bits and a slot 17: what is
 * rounded up stays below one slot.
 */
static inline size_t index_of(const struct slab *slab, size_t at)
{
    if (slab->inverse == 0)
        return at < slab->slot_bytes ? 0 : 1;
    return at > UINT32_MAX ? slab->capacity : at * slab->inverse >> 40;
}

/* ---- notes. The slot's own caller writes them, once it is out. ---- */

static inline bool is_wide(const struct slab *slab)
{
    return slab->slot_bytes > NARROW_SLOT_MOST;
}

static inline const void *note_at(const struct slab *slab, size_t i)
{
    return (const char *)slab->note +
           i * (is_wide(slab) ? sizeof(uint32_t) : sizeof(uint16_t));
}

static inline uint32_t note_of(const struct slab *slab, size_t i)
{
    return is_wide(slab)
               ? __atomic_load_n((uint32_t *)slab->note + i, __ATOMIC_RELAXED)
               : __atomic_load_n((uint16_t *)slab->note + i, __ATOMIC_RELAXED);
}

static inline void set_note(struct slab *slab, size_t i, uint32_t note)
{
    if (is_wide(slab))
        __atomic_store_n((uint32_t *)slab->note + i, note, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint16_t *)slab->note + i, (uint16_t)note,
                         __ATOMIC_RELAXED);
}

/* No longer out. Returns what the note was: 0 for one of two at once. */
static inline uint32_t take_note(struct slab *slab, size_t i)
{
    return is_wide(slab) ? __atomic_exchange_n((uint32_t *)slab->note + i, 0,
                                               __ATOMIC_ACQ_REL)
                         : __atomic_exchange_n((uint16_t *)slab->note + i, 0,
                                               __ATOMIC_ACQ_REL);
}

/* Is slot i out? At any time, without the lock. */
static inline bool is_out(const struct slab *slab, size_t i)
{
    return (note_of(slab, i) & NOTE_OUT) != 0;
}

static inline bool is_marked(const struct slab *slab, size_t i)
{
    return (note_of(slab, i) & NOTE_MARKS) != 0;
}

/* What slot i, which is out, was asked for. */
static inline size_t asked_of(const struct slab *slab, size_t i)
{
    return is_big(slab) ? slab->asked_bytes
                        : note_of(slab, i) >> NOTE_ASKED_SHIFT;
}

/* What is wrong with p as a live slot of the slab, or NULL. */
const char *hardened_why_not(const struct slab *slab, const void *p);

/* One line, and the end. */
void hardened_refuse(struct hardened *h, const struct slab *slab, const void *p,
                     const char *why) __attribute__((noreturn, cold));

/* Zero, for ever. NULL = no memory. */
void *hardened_metadata(struct hardened *h, size_t size_bytes);

/* A slab's struct, chained in `all`, with bits and notes for so many slots. */
struct slab *hardened_struct(struct hardened *h, uint32_t capacity,
                             size_t slot_bytes);

/* May one more slab or block lie between guards? Then it counts as one. */
bool hardened_take_guard(struct hardened *h);
void hardened_drop_guard(struct hardened *h);

/* All that is empty, free or waiting goes to the system, for a request that was
 * refused. No lock is held. */
void hardened_give_back(struct hardened *h);

/* Bytes of slabs and blocks with something in them, more or fewer. */
void hardened_count_in_use(struct hardened *h, int64_t bytes);

/* ---- wipe.c ------------------------------------------------------------ */

void wipe_init(struct hardened *h);

/* ---- heaps.c ----------------------------------------------------------- */

void heaps_init(struct hardened *h, uint32_t arenas);
void *heaps_open(struct hak_box *box, struct hak_thread *thread);
void heaps_close(struct hak_box *box, void *heap);
void heaps_lost(struct hak_box *box, void *heap, struct hak_thread *thread);
/* The arena's class; NULL = no memory. */
struct class *class_of(struct hardened *h, struct arena *arena,
                       uint32_t number);
/* Of all arenas, the nth that there is; NULL: there are no more. */
struct class *nth_class(const struct hardened *h, uint32_t *n);
/* The locks of arenas and classes. */
void heaps_fork(struct hardened *h, enum hak_fork_phase phase);

/* ---- slabs.c: under the class's lock ----------------------------------- */

void slabs_init(struct hardened *h);
/* A free slot becomes used, at random: *i of the slab. Its pages are opened if
 * they must be. NULL = no memory. */
struct slab *slabs_use(struct hardened *h, struct class *c, size_t *i);
/* The same where no page has to be opened. NULL = not by this try. */
struct slab *slabs_use_open(struct class *c, size_t *i);
/* p, a used slot's, is free. */
void slabs_release(struct hardened *h, struct class *c, const char *p);
/* Close the empty ones; returns bytes. */
size_t slabs_close_empty(struct hardened *h, struct class *c);
/* Purge the whole pages of slots that are not out, where others are. */
void slabs_purge(struct hardened *h, struct class *c);

/* ---- slots.c ----------------------------------------------------------- */

void slots_init(struct hardened *h, uint32_t quarantine);
/* In a child: it does not make its parent's choices. The lock is held. */
void slots_choose_anew(struct hardened *h, struct class *c);
/* A slot of the class, zero, for so many bytes; NULL = no memory. */
void *slots_alloc(struct hardened *h, uint32_t class_number, size_t asked);
/* p, slot i of the slab, which was out. */
void slots_free(struct hardened *h, struct slab *slab, size_t i, void *p);
/* The same slot for more or fewer bytes; false: it is too short, or too long.
 */
bool slots_resize(struct hardened *h, struct slab *slab, size_t i, void *p,
                  size_t size_bytes);
/* It was asked for with fewer or more bytes, for which it has room. */
void slots_set_asked(struct hardened *h, struct slab *slab, size_t i, void *p,
                     size_t size_bytes);
/* End the program where the canaries around p, slot i, are not whole. */
void slots_check(struct hardened *h, const struct slab *slab, size_t i,
                 char *p);
/* Close the empty slabs and purge long free slots; returns bytes of the former.
 */
size_t slots_trim(struct hardened *h);
/* End all waits, close the empty slabs. */
void slots_give_back(struct hardened *h);

/* ---- big.c ------------------------------------------------------------- */

void big_init(struct hardened *h);
void *big_alloc(struct hardened *h, size_t align_bytes, size_t size_bytes);
void big_free(struct hardened *h, struct slab *slab, void *p);
void *big_resize(struct hardened *h, struct slab *slab, char *p,
                 size_t size_bytes);
void big_set_asked(struct hardened *h, struct slab *slab, size_t size_bytes);
void big_check(struct hardened *h, const struct slab *slab, const char *p);
/* All that is free to the host: address space, memory went at free. */
void big_give_back(struct hardened *h);

#endif

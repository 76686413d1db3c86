/* SPDX-License-Identifier: MIT
 * hardened.h - the box's state: size classes of slots, and large blocks.
 *
 *     region of a class   | guard |  slab  |G|  slab  |G|  slab  |G| ...
 *     slab                | slot | slot | slot | ... | slot |
 *     slot                | what was asked for | canary, 0.. | border |
 *     large block         | guard | border | block | canary | guard |
 *     metadata            | guard | fixed, map, all the rest | guard |
 *
 * Regions and large blocks lie in granules that the host has reserved. Only the
 * pages of slots and blocks are open (mapped); everything else there is a
 * guard. So a slab or block between guards is one mapping of the kernel, and a
 * free one is none. To free one never needs another mapping.
 *
 * An address of a region belongs to one class of one arena for ever. All state
 * of slots is out of band, in struct slab: for each slot a bit and a note,
 *
 *     used   handed out, next, or in quarantine   out <= used
 *     note   NOTE_OUT: handed out                 nused == bits set in used
 *
 * (counting bits below capacity; bits from there on are always set). A slot
 * that is not `used` reads zero up to its border (parameter `zero`).
 *
 * "Out" means handed out to the program and not freed.
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
    /* Numbered by the core's size index up to 128 KiB; 0: slots of 0 bytes. */
    CLASSES = HAK_INDEX_SMALL_MAX + 1 + 7 * 8,
    BORDER_BYTES = 16,           /* at the end of each slot: bounds.h */
    SLOT_MOST_BYTES = 128 << 10, /* slots of the last class, with border */
    NARROW_SLOT_MOST = 8 * 1024, /* slots up to this have notes of 16 bits */
    QUARANTINE_MOST = 64,
    ARENAS_MOST = 64,
    RUN_BYTES = 16 * 1024,    /* a slab is opened by runs of this length */
    NOW_SLOT_MOST = 8 * 1024, /* pages of longer slots are not populated */
    PIECES_MOST = 64,         /* pieces of a slab: bits of `full` */
    BIG_KEPT_GRANULES = 64,   /* 4 MiB: places from this length on go back */
};

/*
 * The note of a slot; 0 while the slot is not out:
 *
 *     | bytes asked for | mark of hak.requests/1 | NOTE_OUT |
 *
 * The bytes of a large block do not fit here; they are in asked_bytes.
 */
enum {
    NOTE_OUT = 1,
    NOTE_MARK_SHIFT = 1,
    NOTE_MARKS = 3 << NOTE_MARK_SHIFT,
    NOTE_ASKED_SHIFT = 3,
};

/*
 * A slab of slots, or a large block, which is a slab of one slot. A slab of
 * slots is guarded by the lock of its class. A large block belongs to the call
 * that allocates, resizes or frees it; `next` is guarded by the lock of struct
 * big. Members that each call reads are in the first cache line.
 *
 * Pieces: slots come into use by pieces, see open_pieces() in slabs.c. `piece`
 * holds the numbers of all pieces in this order: nroom open ones with room,
 * then open ones that are full, then from nopen on those that are not open.
 */
struct slab {
    _Alignas(64) struct hak_link link; /* in its class: partial or empty */
    char *start;
    size_t slot_bytes; /* with the border */
    uint64_t inverse;  /* 2^40 / slot_bytes, rounded up; 0: one slot */
    uint32_t capacity, nused;
    uint32_t nready;         /* slots of open pieces */
    uint32_t enough;         /* nused at which more pieces open, or all used */
    uint8_t class_number;    /* CLASSES: a large block */
    uint8_t piece_shift;     /* a piece has 1 << piece_shift slots */
    uint8_t nopen, nroom;    /* open pieces; those of them with room */
    uint8_t lowest, highest; /* number of the lowest and highest open piece */
    bool warm;               /* empty, but keeps its pages */
    bool guarded;            /* between closed pages; in nguarded while open */
    bool unclosed;           /* large block: freed, but closing it failed */
    struct slab *all_next;   /* chain of all slabs; constant */
    struct class *class;     /* of a slab of slots; constant */
    uint64_t full;           /* open pieces that are full, a bit each */
    uint64_t closed;         /* runs of RUN_BYTES that are closed, a bit each */
    void *note;              /* one a slot, of 16 or 32 bits */
    union {
        uint8_t piece[PIECES_MOST]; /* slab of slots */
        struct {                    /* large block */
            char *place;
            size_t place_bytes; /* whole granules, with the guards */
            size_t asked_bytes;
            struct slab *next; /* spare, in quarantine, or kept */
        };
    };
    uint64_t used[];
};

/* The constants of a class. */
struct shape {
    uint32_t slot_bytes; /* with the border */
    uint32_t slab_granules;
    uint32_t capacity; /* of a slab */
    uint32_t nwait;    /* length of each half of the quarantine */
};

/* The state of a class in one arena. Guarded by its lock. */
struct class
{
    _Alignas(64) struct hak_lock lock;
    uint64_t random; /* state of xorshift */
    struct hak_link partial;
    uint64_t nout;
    char *next; /* slot to be handed out next, already `used`; or NULL */
    struct slab *next_slab; /* slab of `next` */
    uint32_t next_index;    /* number of `next` in it */
    uint32_t at;            /* position of the oldest slot in the queue */
    /* ---- up to here what malloc needs: one cache line ---- */
    struct hak_link empty;
    char *old;         /* in a fork's child: `next` of the parent; or NULL */
    struct slab *made; /* a struct that no place was found for; or NULL */
    char *region;      /* first slab of the newest region */
    uint64_t taken;    /* its slabs that are in use, a bit each */
    uint32_t nslabs;   /* number of its slabs, at most 64 */
    uint8_t number;    /* index of the class in arena.class */
    char *wait[];      /* quarantine: nwait shuffled slots, nwait in a queue */
};

/* Classes with slabs of their own, which some of the threads share. A class is
 * made when it is first asked for, since a fork has to take the lock of each.
 */
struct arena {
    _Alignas(64) struct hak_lock lock; /* guards making classes */
    uint32_t nheaps;                   /* guarded by heaps_lock */
    struct class *class[CLASSES];      /* atomic; NULL, or constant once set */
};

/* The heap of a thread: only its arena. */
struct heap {
    struct arena *arena;
    struct heap *next; /* in the list of spare heaps */
};

/* Large blocks. Lists are linked by slab.next. */
struct big {
    struct hak_lock lock;
    struct slab *spare;                   /* structs without a place */
    struct slab *oldest, **newest;        /* quarantine: a queue */
    uint32_t nwaiting;                    /* its length */
    struct slab *kept[BIG_KEPT_GRANULES]; /* closed, by granules of the place */
    struct slab *unclosed; /* have waited, but cannot be closed; read atomic */
    uint64_t kept_bytes;   /* address space of kept places */
    uint64_t count, bytes; /* live blocks, atomic */
};

/* Memory for metadata, which is taken from chunks between guards. */
struct chunk {
    struct hak_lock lock;
    char *next, *end;
};

/* One instance of the box. Read-only from the end of init on. */
struct hardened {
    struct hak_box *box;
    struct hak_map map; /* granule -> slab */
    uint64_t secret[2]; /* of the borders and canaries */
    bool zero, guard;   /* parameters */
    /* By wipe_init. p and bytes are multiples of 16. */
    void (*wipe)(char *p, size_t bytes);
    bool (*is_zero)(char *p, size_t bytes);
    size_t keep_bytes;     /* parameter empty_bytes */
    uint32_t most_waiting; /* parameter big_quarantine */
    uint32_t most_guarded;
    struct shape shape[CLASSES];
    uint32_t narenas; /* most arenas that are made */
    struct hardened_now *now;
};

/* What changes of an instance after init. */
struct hardened_now {
    struct slab *all; /* chain of all slabs and blocks, push only */
    uint64_t in_use_bytes, peak_bytes;
    uint64_t nguarded;   /* slabs and blocks in use between guards */
    uint64_t warm_bytes; /* pages of empty slabs */
    struct chunk chunk;
    struct big big;
    struct arena *arena[ARENAS_MOST]; /* each made when a thread needs it */
    struct hak_lock heaps_lock;       /* guards arena[], nheaps, the rest */
    uint64_t first_thread; /* hak_lock_self() of init's thread; 0: has a heap */
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

/* The calling thread's arena; the first arena when there is only one thread or
 * no heap can be made. The caller holds no lock of the box. */
static inline struct arena *arena_of(const struct hardened *h)
{
    if (__libc_single_threaded)
        return h->now->arena[0];
    const struct heap *heap = h->box->host->heap(h->box, true);
    return likely(heap != NULL) ? heap->arena : h->now->arena[0];
}

/* The next number of a xorshift generator. Not cryptographic: it only has to
 * make the places of slots hard to guess. */
static inline uint64_t hardened_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A number below n, from the upper half of 64 random bits. */
static inline uint32_t hardened_scaled(uint64_t bits, uint32_t n)
{
    return (uint32_t)((bits >> 32) * n >> 32);
}

static inline bool is_big(const struct slab *slab)
{
    return slab->class_number == CLASSES;
}

/* Bytes of a slot that may be asked for: all but the border. */
static inline size_t room_of(const struct slab *slab)
{
    return is_big(slab)              ? slab->slot_bytes
           : slab->class_number == 0 ? 0
                                     : slab->slot_bytes - BORDER_BYTES;
}

/*
 * The number of the slot that has the byte `at` bytes from the slab's start;
 * capacity or more: no slot has. Exact: a distance has 20 bits and slot_bytes
 * 17, so the error of the rounded-up inverse stays below one slot.
 */
static inline size_t index_of(const struct slab *slab, size_t at)
{
    if (slab->inverse == 0)
        return at < slab->slot_bytes ? 0 : 1;
    return at > UINT32_MAX ? slab->capacity : at * slab->inverse >> 40;
}

/* ---- notes: while a slot is out, written by calls with that slot only ---- */

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

/* Clear the note, so that the slot is not out any more. Returns the former
 * note. Of two threads that do this at once, one gets 0. */
static inline uint32_t take_note(struct slab *slab, size_t i)
{
    return is_wide(slab) ? __atomic_exchange_n((uint32_t *)slab->note + i, 0,
                                               __ATOMIC_ACQ_REL)
                         : __atomic_exchange_n((uint16_t *)slab->note + i, 0,
                                               __ATOMIC_ACQ_REL);
}

/* Is slot i out? May be called at any time, without the lock. */
static inline bool is_out(const struct slab *slab, size_t i)
{
    return (note_of(slab, i) & NOTE_OUT) != 0;
}

static inline bool is_marked(const struct slab *slab, size_t i)
{
    return (note_of(slab, i) & NOTE_MARKS) != 0;
}

/* The bytes that slot i, which is out, was asked for. */
static inline size_t asked_of(const struct slab *slab, size_t i)
{
    return is_big(slab) ? slab->asked_bytes
                        : note_of(slab, i) >> NOTE_ASKED_SHIFT;
}

/* Why p is not a live slot of the slab, as a text; NULL: it is one. */
const char *hardened_why_not(const struct slab *slab, const void *p);

/* Report the wrong use of p in one line, and abort. */
void hardened_refuse(struct hardened *h, const struct slab *slab, const void *p,
                     const char *why) __attribute__((noreturn, cold));

/* Memory for metadata: reads zero, is never given back. NULL = no memory. */
void *hardened_metadata(struct hardened *h, size_t size_bytes);

/* A struct slab with bits and notes for capacity slots, chained in `all`.
 * NULL = no memory. */
struct slab *hardened_struct(struct hardened *h, uint32_t capacity,
                             size_t slot_bytes);

/* Count one more slab or block between guards; false: there are most_guarded.
 * hardened_drop_guard() counts it out. */
bool hardened_take_guard(struct hardened *h);
void hardened_drop_guard(struct hardened *h);

/* Give back everything that is empty, free or in quarantine, because memory was
 * refused. The caller holds no lock of the box. */
void hardened_give_back(struct hardened *h);

/* Add to the bytes of slabs and blocks that are in use; bytes may be negative.
 */
void hardened_count_in_use(struct hardened *h, int64_t bytes);

/* ---- wipe.c ------------------------------------------------------------ */

void wipe_init(struct hardened *h);

/* ---- heaps.c ----------------------------------------------------------- */

void heaps_init(struct hardened *h, uint32_t arenas);
void *heaps_open(struct hak_box *box, struct hak_thread *thread);
void heaps_close(struct hak_box *box, void *heap);
void heaps_lost(struct hak_box *box, void *heap, struct hak_thread *thread);
/* The class `number` of the arena, made if it does not exist. NULL = no memory.
 */
struct class *class_of(struct hardened *h, struct arena *arena,
                       uint32_t number);
/* Iterates over the existing classes of all arenas: the next from position *n
 * on, which starts at 0. NULL: there are no more. */
struct class *nth_class(const struct hardened *h, uint32_t *n);
/* Take or release the locks of heaps, arenas and classes. */
void heaps_fork(struct hardened *h, enum hak_fork_phase phase);

/* ---- slabs.c: the lock of the class is held ---------------------------- */

void slabs_init(struct hardened *h);
/* Choose a free slot at random and make it used: slot *i of the slab that is
 * returned. Its pages are opened if they are closed. NULL = no memory. */
struct slab *slabs_use(struct hardened *h, struct class *c, size_t *i);
/* The same, but opens no pages. NULL = the slot that was tried is closed, or no
 * slab has room; others may be open. */
struct slab *slabs_use_open(struct class *c, size_t *i);
/* The slot at p, which is used, becomes free. */
void slabs_release(struct hardened *h, struct class *c, const char *p);
/* Close the empty slabs of the class. Returns the bytes. */
size_t slabs_close_empty(struct hardened *h, struct class *c);
/* Purge the pages of slabs with room in which no slot is out. */
void slabs_purge(struct hardened *h, struct class *c);

/* ---- slots.c ----------------------------------------------------------- */

void slots_init(struct hardened *h, uint32_t quarantine);
/* In the child of a fork: drop the slot that the parent chose as next, and use
 * other random numbers. The class's lock is held. */
void slots_choose_anew(struct hardened *h, struct class *c);
/* A slot of the class, zero, for `asked` bytes; NULL = no memory. */
void *slots_alloc(struct hardened *h, uint32_t class_number, size_t asked);
/* Free p, slot i of the slab, which is out. */
void slots_free(struct hardened *h, struct slab *slab, size_t i, void *p);
/* realloc within the slot. False: the slot is too short, or much too long. */
bool slots_resize(struct hardened *h, struct slab *slab, size_t i, void *p,
                  size_t size_bytes);
/* Note that slot i was asked for size_bytes, which it has room for, and move
 * the canary there. */
void slots_set_asked(struct hardened *h, struct slab *slab, size_t i, void *p,
                     size_t size_bytes);
/* Report and abort when the canary or a border of p, slot i, is not whole. */
void slots_check(struct hardened *h, const struct slab *slab, size_t i,
                 char *p);
/* Close the empty slabs, and purge pages in which no slot is out. Returns the
 * bytes of the slabs. */
size_t slots_trim(struct hardened *h);
/* Free all slots in quarantine and close the empty slabs. */
void slots_give_back(struct hardened *h);

/* ---- big.c ------------------------------------------------------------- */

void big_init(struct hardened *h);
void *big_alloc(struct hardened *h, size_t align_bytes, size_t size_bytes);
void big_free(struct hardened *h, struct slab *slab, void *p);
void *big_resize(struct hardened *h, struct slab *slab, char *p,
                 size_t size_bytes);
void big_set_asked(struct hardened *h, struct slab *slab, size_t size_bytes);
void big_check(struct hardened *h, const struct slab *slab, const char *p);
/* Give the address space of all freed blocks back to the host. Their memory was
 * given back when they were freed. */
void big_give_back(struct hardened *h);

#endif

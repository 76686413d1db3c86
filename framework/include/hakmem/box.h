/* SPDX-License-Identifier: MIT
 * box.h - the box ABI: all that the author of a box needs to read.
 *
 * A box is an allocator in a shared object of its own. The core opens it
 * (RTLD_NOW | RTLD_LOCAL), reads its one exported data symbol,
 * `hak_box_entry`, checks it, and from then on calls its operations.
 *
 *     program --malloc--> core --route by size--> box      (lane or alloc)
 *     program --free----> core --who owns it?---> box      (span or free)
 *     box     --host table--> core                         (address space, log)
 *
 * The smallest box is three functions, alloc, free and owns:
 *
 *     static void *my_alloc(struct hak_box *box, size_t size_bytes);
 *     static void my_free(struct hak_box *box, void *p);
 *     static bool my_owns(struct hak_box *box, const void *p);
 *     HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
 *         HAK_BOX_HEADER("mine", "1.0"),
 *         .ops = { .alloc = my_alloc, .free = my_free, .owns = my_owns },
 *     };
 *
 * and `cc -shared -fPIC -O2 -o mine.so mine.c` builds it. The core supplies
 * the rest: calloc, realloc, aligned allocation, usable size.
 *
 * Words (docs/glossary.md has all of them)
 *   slot     the memory for one request
 *   granule  HAK_GRANULE_BYTES of address space, aligned to its own size
 *   window   the one address range that all memory of all boxes comes from
 *   span     the record of a run of slots of one size (`struct hak_span`). The
 *            owner directory leads from a granule to its span.
 *   lane     a thread's current span for one size index. malloc takes slots
 *            from this span inline.
 *   heap     what a box keeps for one thread
 *   owner    the thread whose heap a span belongs to
 *   remote free  a free by a thread that does not own the slot
 *   route, chain  a route sends a size to a chain: the boxes that the core
 *            asks in order
 *   decline  to answer NULL, upon which the core asks the next box of the
 *            chain
 *
 * The comment of an operation starts with a tag [state, thread]: the states of
 * the box in which the core calls the operation, and the threads that call it.
 *
 * States of a box
 *   loaded    The entry was checked. The core calls only `init`.
 *   active    init returned 0. Routes may lead to the box.
 *   draining  No route leads to the box any more, but some of its slots are
 *             live. Frees, owns and visits still arrive.
 *   closed    No route leads to the box and no slot of it is live. It stays
 *             mapped, and owns may still be called.
 *
 * Threads
 *   any thread   Several threads may be inside of the operation at once.
 *   owner        The calling thread owns the heap or span of the argument.
 *                Two such operations on one heap never run at once.
 *   one thread   The process has one thread, or this call is the only one.
 *
 * Rules for every box
 *   - Memory comes from the host table. A box must not call malloc, stdio,
 *     dlopen, sbrk or mmap.
 *   - A box has no thread-local variables, exports one symbol and needs no
 *     library but libc.
 *   - Slots are 16-byte aligned.
 *   - The only way to fail is to return NULL or false. The core sets errno and
 *     keeps it over calls of a box.
 *   - A box never prints. `host->log` prints a line with the box's name in
 *     front.
 *   - The core passes to `free` only pointers into memory of the box: it asked
 *     the owner directory or `owns` before. The slot may still be free already,
 *     when the program has freed it twice.
 *
 * How the ABI grows: a minor version adds members. It changes and removes none.
 * Each side states the length of its structs. The reader copies the members
 * that both sides know and takes the others as zero.
 *
 *   struct          new members come       its length is stated by
 *   hak_box_entry   in front of `ops`      `ops_at` (the offset of `ops`)
 *   hak_box_ops     at its end             the entry's `struct_size`, since ops
 *                                          is the last member of the entry
 *   hak_param       at its end             the entry's `param_bytes`
 *   hak_host        at its end             `struct_size`. A box asks HAK_HAS
 *                                          before it uses a newer function.
 *   hak_box         at its end             host->abi_minor
 *   hak_box_stats   at its end             nothing. The core provides
 *                                          HAK_STATS_ROOM_BYTES, so that a
 *                                          newer box may write a longer struct.
 *   hak_retire      at its end             its own `struct_bytes`
 *   hak_span        at its end             the entry's `span_bytes`. malloc and
 *                                          free use the members of minor 6
 *                                          inline, and no later ones.
 *
 * Core and box compile in some constants: granule_bytes and lanes. Both sides
 * state them, and the core compares.
 * docs/decisions.md, "How the box ABI grows", has the reasons.
 */
#ifndef HAKMEM_BOX_H
#define HAKMEM_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- constants ------------------------------------------------------- */

#define HAK_BOX_MAGIC 0x31584f424b4148ffull /* ff "HAKBOX1", little endian */
#define HAK_ABI_MAJOR 1        /* the core refuses boxes of another */
#define HAK_ABI_MINOR 8        /* what this header describes */
#define HAK_ABI_REVIVE_MINOR 8 /* a closed box may become active again */

#define HAK_ALIGN_BYTES 16u  /* alignment of every slot */
#define HAK_GRANULE_SHIFT 16 /* 64 KiB; docs/decisions.md has the reason */
#define HAK_GRANULE_BYTES ((size_t)1 << HAK_GRANULE_SHIFT)

/*
 * Size index: a number for the size of a request. Each index but
 * HAK_INDEX_LARGE has a lane.
 *
 *   request, bytes     index
 *   0 .. 1024          0 .. 64, in steps of 16 bytes; 0 is the request of 0
 *   1025 .. 262144     65 .. 128, 8 steps for each doubling
 *   above              HAK_INDEX_LARGE, for all of them
 *
 * hak_index_of() and hak_index_bytes() convert. Both are pure.
 */
#define HAK_SMALL_MAX_BYTES 1024u
#define HAK_LANE_MAX_BYTES 262144u
#define HAK_INDEX_SMALL_MAX 64u                    /* 1024 bytes */
#define HAK_LANES (HAK_INDEX_SMALL_MAX + 1u + 64u) /* 0..128 */
#define HAK_INDEX_LARGE HAK_LANES

/* The size index of a request. size_bytes: any. Cost: a few instructions. */
static inline uint32_t hak_index_of(size_t size_bytes)
{
    if (size_bytes <= HAK_SMALL_MAX_BYTES)
        return (uint32_t)((size_bytes + 15) >> 4);
    if (size_bytes > HAK_LANE_MAX_BYTES)
        return HAK_INDEX_LARGE;
    uint64_t top = (uint64_t)size_bytes - 1;              /* 1024 .. 262143 */
    uint32_t log2 = 63u ^ (uint32_t)__builtin_clzll(top); /* 10 .. 17 */
    return log2 * 8u - 23u + (uint32_t)(top >> (log2 - 3u));
}

/* The largest request of a size index, in bytes; SIZE_MAX for
 * HAK_INDEX_LARGE. */
static inline size_t hak_index_bytes(uint32_t index)
{
    if (index <= HAK_INDEX_SMALL_MAX)
        return (size_t)index << 4;
    if (index >= HAK_INDEX_LARGE)
        return SIZE_MAX;
    uint32_t step = index - (HAK_INDEX_SMALL_MAX + 1u);
    return (size_t)(9u + (step & 7u)) << (7u + (step >> 3));
}

/* ---- what core and box share ------------------------------------------ */

struct hak_box;
struct hak_host;
struct hak_thread; /* opaque: a thread that uses boxes; compare addresses */

/*
 * span - the record of a run of slots of one size, which the owner directory
 * names for each granule of the run.
 *
 * Lifecycle: the box makes this struct the first member of the metadata that it
 * keeps for the run. The metadata is out of band: from host->meta, or in header
 * pages of the box. host->span_set registers the span for granules. From then
 * on its memory must stay a span for the life of the process (type-stable),
 * since other threads may still read it. The box may use it again for another
 * run.
 *
 * malloc takes a slot inline from the span that its lane remembers, which is
 * the one that refill returned last. free puts a slot back inline when the
 * calling thread is the span's owner:
 *
 *     malloc                            free
 *     p = span->local;                  *p = span->local ^ key;
 *     next = *p ^ key; check next       span->local = p;
 *     span->local = next; *p = 0;       if (++span->nfree >= span->trigger)
 *     span->nalloc++;                       box->ops->triggered(span);
 *
 * What follows from this:
 *   - Slots are reused last in, first out.
 *   - nalloc - nfree slots are handed out, at all times.
 *   - The core calls the box once a batch: ops->refill when `local` is empty,
 *     ops->triggered when nfree has reached the trigger.
 *   - A free by another thread is ops->remote_free(span, p). For slots of up to
 *     4 KiB this is the exception: the core brings them to the owner thread in
 *     a parcel, and the owner frees them inline.
 *
 * Marks: the first word of every free slot, on whatever list of the box the
 * slot is, is the address of the next slot (0 in the last one), xored with the
 * span's key. malloc follows a link only if its upper 16 and its lower 4 bits
 * are 0. When the owner frees an address where no slot starts, or the first
 * slot of `local`, the core calls ops->free: the box knows for sure whether the
 * slot is live. kit/span.h and kit/page.h do all this for boxes on the kit.
 *
 * owner       The thread of the heap that the span belongs to. NULL: no thread,
 *             and every free is a remote free. The box writes it. Only the
 *             owner may change it from itself to another value. From NULL the
 *             thread that took the span over under the box's own rule may.
 * local       The first free slot, or NULL. Written by the owner only.
 * nalloc      Slots handed out since the struct exists. Owner only.
 * nfree       Slots taken back since the struct exists. Remote frees count when
 *             the box collects them. Owner only.
 * trigger     Each free by the owner calls triggered() once nfree has reached
 *             this value; triggered() sets it anew. HAK_TRIGGER_NEVER: do not
 *             call. The owner may set it at any time.
 * key         Of the marks: host->random() | HAK_KEY_BITS. Set once, before
 *             registration.
 * inverse, start  Say where slots start: at each address p of the span for
 *             which (p - start) * inverse < inverse, with p - start in 32 bits.
 *             inverse is 2^64 / slot_bytes, rounded up; start is the low half
 *             of the first slot's address. With inverse = 2^60 and start = 0, a
 *             slot may start at any multiple of 16.
 * slot_bytes  Usable bytes of each slot; usable size and realloc read them
 *             inline. 0: the core asks ops->usable_size.
 * box         The box of the span. Set once, before registration.
 * lane_first, lane_last  For the core alone. Both are zero when the span is
 *             first registered.
 * nremote     How many slots of nfree were freed by another thread and brought
 *             to the owner by the core, modulo 2^32. Written by the core.
 *             Padding before minor 4.
 *
 * A box that was built for less than minor 6 gets no lanes: its trigger is
 * compared in another way. Before minor 3 free slots have no marks.
 */
#define HAK_KEY_BITS 0x8000000000000001u /* set in a key, never in a link */
#define HAK_TRIGGER_NEVER UINT64_MAX

struct hak_span {
    struct hak_thread *owner;
    void *local;
    uint64_t nalloc;
    uint64_t nfree;
    uint64_t trigger;
    uint64_t key;
    uint64_t inverse;
    uint32_t start;
    uint32_t slot_bytes;
    /* ---- end of what malloc and free touch: one cache line ---- */
    struct hak_box *box;
    uint16_t lane_first, lane_last;
    uint32_t nremote;
};

/* ---- parameters --------------------------------------------------------- */

enum hak_param_type {
    HAK_PARAM_BOOL, /* yes no on off true false 1 0 */
    HAK_PARAM_INT,  /* decimal or 0x, optional minus */
    HAK_PARAM_SIZE, /* bytes, with 4k 4KiB 1M ... */
    HAK_PARAM_MS,   /* milliseconds */
    HAK_PARAM_ENUM, /* one of `choices`, the value is its position */
    HAK_PARAM_TEXT, /* any text, the box parses it in init */
    /* ---- since minor 2 ---- */
    HAK_PARAM_CALL, /* text: calls in the language of hakmem/foreign.h,
                       separated by commas; the core has checked the form */
};

#define HAK_PARAM_MUTABLE 1u /* set_param may change it while active */

/*
 * A parameter: one key that the section `[box NAME]` of the INI takes. The core
 * parses the text, checks its bounds and puts the value into box->params[i],
 * where i is the position in the entry's table of parameters.
 */
struct hak_param {
    const char *name;     /* lower case, a-z 0-9 _ */
    uint32_t type;        /* enum hak_param_type */
    uint32_t flags;       /* HAK_PARAM_MUTABLE */
    int64_t min, max;     /* inclusive, in the type's unit */
    int64_t def;          /* default; ENUM: position */
    const char *choices;  /* ENUM: "a|b|c" */
    const char *def_text; /* TEXT, CALL: default */
    const char *help;     /* one line, starts lower case, says the unit */
};

union hak_value {
    int64_t i;        /* BOOL INT SIZE MS ENUM */
    const char *text; /* TEXT, CALL: NUL-terminated, lives as long as the box.
                         NULL: a CALL that the INI does not give */
};

/* ---- the box, an argument of each operation ----------------------------- */

enum hak_box_state {
    HAK_BOX_LOADED,
    HAK_BOX_ACTIVE,
    HAK_BOX_DRAINING,
    HAK_BOX_CLOSED,
};

/*
 * One instance of a box. The same .so may serve under two names, so a box keeps
 * its state behind `state` and not in static variables. The struct is read-only
 * while the process runs.
 */
struct hak_box {
    const struct hak_host *host;
    const struct hak_box_ops *ops; /* the core's copy of the entry's */
    const char *name;              /* NAME of [box NAME] */
    void *state; /* For the box alone; NULL at first. A box that has an init
                    sets it in init. A box without init may set it later, but
                    not in a fused library. */
    const union hak_value *params; /* by position in the entry's table; NULL
                                      if the box has no parameters */
    uint32_t index;                /* 0..HAK_MAX_BOXES-1, fixed */
    uint32_t state_now;            /* enum hak_box_state */
    bool lanes; /* false: the INI says `lanes = off`, the box has no refill, or
                   it was built for less than minor 6 */
};

#define HAK_MAX_BOXES 16u

/* ---- statistics ---- */

/*
 * Figures that only the box knows. The core counts calls, refills, declines and
 * remote frees on its slow paths and adds them to the report. It provides
 * HAK_STATS_ROOM_BYTES of zeros, so a box may assign the whole struct of its
 * own header, even if that is a longer one.
 */
#define HAK_STATS_ROOM_BYTES 512u
struct hak_box_stats {
    size_t struct_bytes;    /* length that the core reads, set by it; the box
                               may overwrite it */
    uint64_t allocs, frees; /* of slots of spans; 0 in a box without lanes */
    uint64_t live_count;    /* slots handed out and not taken back */
    uint64_t live_bytes;    /* the slot sizes of these */
    uint64_t peak_bytes;    /* most bytes ever in pages or blocks in use */
    uint64_t cached_bytes;  /* mapped, free, kept for reuse by the box */
    uint64_t retired_pages; /* pages that became empty and were given back */
    uint64_t adopted_pages; /* taken over from ended threads */
};

/*
 * Extension "hak.counters/1": figures of the box's own, by name, for the
 * report.
 *
 * read - fill in counters.                           [after init, any thread]
 * out, n   room for n counters. Names are a-z 0-9 _ and static. The names and
 *          their order stay the same for the life of the box.
 * Returns  how many counters the box has, which may be more than n. The figures
 *          of running threads may lag.
 */
#define HAK_COUNTERS_1 "hak.counters/1"

struct hak_counter {
    const char *name;
    uint64_t value;
};

struct hak_counters_1 {
    size_t struct_bytes;
    uint32_t (*read)(struct hak_box *box, struct hak_counter *out, uint32_t n);
};

/*
 * Extension "hak.classes/1": the figures of a box by size class, for the report
 * and for monitoring.
 *
 * slot_bytes    of each slot of the class. If these differ, the largest.
 * allocs, frees  of slots of the class since the start. They never become
 *               smaller. Both 0: the box does not count them by class.
 * live_count, live_bytes  slots handed out and not taken back, and their bytes.
 *               A slot that travels in a parcel of the core counts as live.
 * mapped_bytes  of the pages or blocks that the class has, cached ones included
 * cached_bytes  of those, what is free as a whole and kept for the class
 *
 * read - fill in the classes.                        [after init, any thread]
 * out, n   room for n classes, all of it zero; n >= HAK_CLASSES_ROOM
 * Returns  how many classes it filled in. Each slot_bytes occurs once. The
 *          figures of running threads may lag. When no thread uses the box, the
 *          sums of live_count and live_bytes are those of stats, and so are
 *          those of allocs and frees if both tables count them.
 * Cost     may be a walk over all pages
 */
#define HAK_CLASSES_1 "hak.classes/1"
#define HAK_CLASSES_ROOM 160u

struct hak_class {
    uint64_t slot_bytes;
    uint64_t allocs, frees;
    uint64_t live_count, live_bytes;
    uint64_t mapped_bytes, cached_bytes;
};

struct hak_classes_1 {
    size_t struct_bytes;
    uint32_t (*read)(struct hak_box *box, struct hak_class *out, uint32_t n);
};

/*
 * Extension "hak.requests/1": the box remembers for each live slot how many
 * bytes were asked for. Its usable_size returns exactly these. The core
 * compares them with the size that the program passes to free_sized() or C++'s
 * delete. realloc always calls resize first. A p that is no live slot is an
 * error of the program: the box logs it and aborts.
 */
#define HAK_REQUESTS_1 "hak.requests/1"

struct hak_requests_1 {
    size_t struct_bytes;
    /*
     * asked - set how many bytes slot p was asked for.          [any thread]
     * size_bytes  less than usable_size(p)
     * Called when the program's request was smaller than the core's, and when
     * realloc leaves a block where it is for want of memory.
     */
    void (*asked)(struct hak_box *box, void *p, size_t size_bytes);
    /*
     * mark - put a mark on slot p.                              [any thread]
     * mark     0 .. 3; 0 = none
     * Returns  the mark that p had; 0 at first
     * A free or resize of a slot with a mark is an error of the program: the
     * box logs it and aborts.
     */
    uint32_t (*mark)(struct hak_box *box, void *p, uint32_t mark);
};

/* The function that visit_slots() calls for each live slot. It returns false to
 * stop the visit. */
typedef bool hak_visit(void *context, void *p, size_t slot_bytes);

enum hak_fork_phase {
    HAK_FORK_PREPARE, /* take every lock of the box, in its own order */
    HAK_FORK_PARENT,  /* release them */
    HAK_FORK_CHILD,   /* release them; only the forking thread is left */
};

/* ---- operations ---- */

struct hak_box_ops {
    /* ---- required ---- */

    /*
     * alloc - hand out one slot.                        [active, any thread]
     * size_bytes  1 .. PTRDIFF_MAX; the INI's routes decide which sizes arrive
     * Returns     a slot of at least size_bytes, 16-byte aligned, the caller's
     *             until free(). NULL = declined or no memory: the core asks the
     *             next box of the chain.
     * Called for sizes above HAK_LANE_MAX_BYTES, and for all sizes when the box
     * has no lanes.
     * Cost        one indirect call for each malloc
     */
    void *(*alloc)(struct hak_box *box, size_t size_bytes);

    /*
     * free - take a slot back.             [active or draining, any thread]
     * p  A slot from alloc, refill or aligned_alloc of this box. If the program
     *    is wrong, p may be free already, or lie inside of a slot. A box that
     *    can tell logs p and its slot by host->log, and aborts.
     * Called for slots that no span serves inline, and for frees that the core
     * doubts (see `struct hak_span`).
     */
    void (*free)(struct hak_box *box, void *p);

    /*
     * owns - is p inside a block of this box?      [after init, any thread]
     * p         any value: NULL, unmapped, wild, of another allocator
     * Returns   true for every address inside a live slot; false for every
     *           address outside of the memory that the box holds; for other
     *           addresses either
     * Must not  fault on any p, lock, wait, or allocate
     */
    bool (*owns)(struct hak_box *box, const void *p);

    /* ---- optional: NULL = the core supplies it or does without ---- */

    /*
     * init - set the box up.                          [loaded, one thread]
     * box->params and box->host are ready. Take as little memory as possible:
     * most programs use few boxes.
     * Returns  0; -errno, after host->log said why: the core leaves the box out
     *          and its routes use their fallbacks
     */
    int (*init)(struct hak_box *box);

    /*
     * usable_size - the bytes that the program may use at p.
     *                                      [active or draining, any thread]
     * p        a slot of this box
     * Returns  bytes; 0: p is no live slot. The core then reports it and
     *          aborts. A box that has alloc_none has live slots of 0 bytes, so
     *          it must report and abort itself.
     * Without usable_size the core enlarges every request by a header of 16
     * bytes, in which it keeps the size.
     */
    size_t (*usable_size)(struct hak_box *box, const void *p);

    /*
     * slot_size - the least size of a slot for size_bytes. [active, any thread]
     * Returns   bytes; 0 = the box declines this size
     * Must not  depend on anything that changes while the process runs
     * `hakctl explain` shows it. Lanes whose requests get slots of the same
     * size share one span.
     */
    size_t (*slot_size)(struct hak_box *box, size_t size_bytes);

    /*
     * aligned_alloc - as alloc, with an alignment.      [active, any thread]
     * align_bytes  a power of two, 32 or more
     * Returns      as alloc
     * Without aligned_alloc the core calls alloc with the size rounded up to
     * the alignment, and declines for the box if the slot is not aligned by
     * chance. With a header of 16 bytes it asks for align_bytes more and places
     * the block inside of the slot.
     */
    void *(*aligned_alloc)(struct hak_box *box, size_t align_bytes,
                           size_t size_bytes);

    /*
     * zalloc - as alloc, with every usable byte zero.   [active, any thread]
     * Without zalloc the core calls alloc and memset.
     */
    void *(*zalloc)(struct hak_box *box, size_t size_bytes);

    /*
     * resize - make the live slot p hold size_bytes.
     *                                      [active or draining, any thread]
     * Returns  p; or a new place that has the content, with the old place taken
     *          back; or NULL = cannot, p unchanged. After NULL the core
     *          allocates, copies and frees.
     */
    void *(*resize)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * heap_open - make the heap of one thread.         [active, that thread]
     * thread   the value for span->owner of all spans of this heap
     * Returns  the heap; NULL = no memory: the box declines, and the core asks
     *          again at the next refill
     * Called at the first refill of a thread, or when the box calls host->heap.
     * It is not called again for this thread before heap_close. A box without
     * lanes may have heaps too.
     */
    void *(*heap_open)(struct hak_box *box, struct hak_thread *thread);

    /*
     * heap_close - the heap's thread is gone, or the box is closed and the
     * heap's thread calls.                                       [any state]
     * Its slots may live on. Give the free memory back. Keep the pages that
     * have live slots, so that remote frees reach them and another heap can
     * adopt them. Call lane_drop for the heap's spans first, since lane_drop
     * reads span->owner. Afterwards no span may name the thread as owner.
     */
    void (*heap_close)(struct hak_box *box, void *heap);

    /*
     * refill - name a span for a lane that has no free slot.  [active, owner]
     * heap        the calling thread's
     * size_bytes  the largest request of the lane, 1 .. HAK_LANE_MAX_BYTES
     * Returns     a span of this heap whose slots have size_bytes or more, with
     *             at least one slot on span->local. It may be the same span as
     *             before. NULL = declined or no memory.
     * Until host->lane_drop(span) the core takes slots from span->local inline,
     * for any number of lanes. So drop the span before it serves another size,
     * and before memory goes away that has slots on its list.
     * The slots on span->local may belong to other spans, which have no owner,
     * if those have the same key and slot_bytes. Frees go to the other spans.
     * No granule needs to name the span that refill returns.
     * A box that provides refill must provide triggered, remote_free, heap_open
     * and usable_size too. With these five operations it gets lanes.
     */
    struct hak_span *(*refill)(struct hak_box *box, void *heap,
                               size_t size_bytes);

    /*
     * triggered - span->nfree has reached span->trigger.
     *                                           [active or draining, owner]
     * nfree may be larger than the trigger. The slot that was freed is on
     * span->local already. Set span->trigger anew.
     */
    void (*triggered)(struct hak_span *span);

    /*
     * remote_free - free by a thread that is not the owner.
     *                                      [active or draining, any thread]
     * The calling thread may have a heap in this box or none: host->heap tells.
     * Cost  lock-free, if the box can do so
     */
    void (*remote_free)(struct hak_span *span, void *p);

    /*
     * fork - take or release the box's locks around a fork.
     *                                            [any state, forking thread]
     * phase  see enum hak_fork_phase
     * Between PREPARE and PARENT other threads go on calling the box and wait
     * at its locks. The forking thread makes no other call. In the child nobody
     * uses the heaps of the other threads again, but heap_lost gets them.
     * A box that has a lock needs this operation. A signal handler may fork
     * while its thread holds a lock of the box: then leave the lock to the
     * interrupted call, in both processes, and set errno to EDEADLK in PREPARE.
     * hak_lock_fork() of kit/sync.h does all this for one lock.
     */
    void (*fork)(struct hak_box *box, enum hak_fork_phase phase);

    /*
     * trim - give all memory back that is free.    [after init, any thread]
     * Returns  the bytes given back
     */
    size_t (*trim)(struct hak_box *box);

    /*
     * stats - fill in *out, which is zero.         [after init, any thread]
     * The figures of running threads may lag a little.
     */
    void (*stats)(struct hak_box *box, struct hak_box_stats *out);

    /*
     * visit_slots - call visit for each live slot. [after init, any thread]
     * context  passed on to visit
     * It is exact only while no other thread allocates or frees.
     */
    void (*visit_slots)(struct hak_box *box, hak_visit *visit, void *context);

    /*
     * set_param - a mutable parameter has changed.      [active, any thread]
     * param    its position; the new value is in box->params
     * Returns  0 or -errno
     */
    int (*set_param)(struct hak_box *box, uint32_t param);

    /*
     * state_changed - box->state_now has changed.      [active or any later]
     * A draining box should give back what it keeps for reuse, and keep
     * nothing more: it gets no requests any more. A closed box has no live
     * slots. Since minor 8 a draining or closed box may become active again;
     * a foreign box may not after it was closed.
     */
    void (*state_changed)(struct hak_box *box);

    /*
     * get_extension - a table of functions.        [after init, any thread]
     * id       "hak.NAME/N"
     * Returns  the table, which begins with its struct_bytes and is valid for
     *          ever; NULL = the box does not have it
     */
    const void *(*get_extension)(struct hak_box *box, const char *id);

    /* ---- since minor 3 ---- */

    /*
     * alloc_none - a slot for a request of 0 bytes.     [active, any thread]
     * Returns  an address that is the caller's alone until free(), with a
     *          usable_size of 0; an access to it should fault. NULL = declined.
     * Lanes do not call it. Without it, and in lanes, a request of 0 bytes gets
     * a slot of 1 byte or more.
     */
    void *(*alloc_none)(struct hak_box *box);

    /* ---- since minor 6 ---- */

    /*
     * heap_lost - the heap's thread did not survive the fork.
     *                                            [any state, child of a fork]
     * heap    of a thread of the parent
     * thread  the argument of heap_open. If the heap has another owner by now,
     *         or none, it is not lost: leave it alone.
     * Called once for each heap of a thread that the parent had. The child has
     * lived for a while then, and its other threads may call the box at the
     * same time.
     * The parent's thread may have been halted between any two stores. Trust an
     * invariant over two variables only if both are written under a lock that
     * the box takes in `fork`. Live slots stay. Memory that is surely free may
     * be used again. Afterwards no span may name the thread as owner.
     * Without heap_lost the free memory of such heaps is lost to the child.
     */
    void (*heap_lost)(struct hak_box *box, void *heap,
                      struct hak_thread *thread);

    /* ---- since minor 7 ---- */

    /*
     * heap_park - the heap's thread ends.          [any state, that thread]
     * The heap and all that it keeps wait for the next thread, which takes them
     * over as they are, or for heap_close. Give back what the next thread may
     * not need. Destructors of the program may run later on this thread and
     * free into the heap, or allocate from it.
     * Cost  part of the cost of a thread: spend a microsecond or two at most
     */
    void (*heap_park)(struct hak_box *box, void *heap);

    /*
     * shrink - give kept memory back, since memory is being taken elsewhere.
     *                                               [after init, any thread]
     * want_bytes  Give back this much, if the box keeps as much: memory that is
     *             free and kept by the box, for any thread. What a thread is
     *             working with may stay.
     * Returns     the bytes that are out of memory now, or the host's
     * Called on slow paths, and by host->map of any box. So do not call
     * host->map while you hold a lock that shrink takes. In shrink, do not wait
     * for a lock that is held for long.
     */
    size_t (*shrink)(struct hak_box *box, size_t want_bytes);

    /*
     * age - give back memory that was kept and not used for a purge delay.
     *                                               [after init, any thread]
     * Called twice in a purge delay, by a thread that has a heap in the box, on
     * a slow path in any box. With [core] background = yes a thread of the core
     * calls it, so memory ages while the program sleeps.
     */
    void (*age)(struct hak_box *box);
};

/* ---- the entry ---- */

/*
 * The type of `hak_box_entry`. HAK_BOX_HEADER fills in the members that tell
 * its layout. The core refuses an entry that has another magic or abi_major, a
 * host_minor_min above the core's minor, an impossible layout, or other
 * granules, or that lacks an id, a version or a required operation. The message
 * says what to do.
 */
struct hak_box_entry {
    uint64_t magic;          /* HAK_BOX_MAGIC */
    uint16_t abi_major;      /* HAK_ABI_MAJOR */
    uint16_t abi_minor;      /* HAK_ABI_MINOR when compiled */
    uint16_t host_minor_min; /* least minor of the core that the box works on;
                                6 or more, since older cores look for ops at
                                another offset */
    uint16_t param_bytes;    /* sizeof(struct hak_param) when compiled */
    uint32_t struct_size;    /* sizeof(struct hak_box_entry) when compiled */
    uint32_t nparams;
    const char *id;      /* kind of box, lower case: "ultra" */
    const char *version; /* of the box */
    const char *summary; /* one line for `hakctl boxes`, or NULL */
    const struct hak_param *params;
    size_t min_bytes, max_bytes; /* requests it is made for; 0, 0 = any */
    /* ---- since minor 6, all as compiled; before minor 6 ops is here ---- */
    uint16_t ops_at;        /* offsetof(struct hak_box_entry, ops) */
    uint16_t span_bytes;    /* sizeof(struct hak_span) */
    uint16_t lanes;         /* HAK_LANES */
    uint16_t kit_version;   /* HAK_KIT_VERSION of kit/base.h; 0 without kit */
    uint32_t granule_bytes; /* HAK_GRANULE_BYTES */
    uint32_t reserved;      /* 0 */
    /* ---- new members come here ---- */
    struct hak_box_ops ops; /* last: it grows at its end */
};

#define HAK_KIT_VERSION 0 /* without the kit; kit/base.h defines its own */
#define HAK_BOX_HEADER(id_text, version_text)                                 \
    .magic = HAK_BOX_MAGIC, .abi_major = HAK_ABI_MAJOR,                       \
    .abi_minor = HAK_ABI_MINOR, .host_minor_min = 6,                          \
    .param_bytes = sizeof(struct hak_param),                                  \
    .struct_size = sizeof(struct hak_box_entry), .id = (id_text),             \
    .version = (version_text), .ops_at = offsetof(struct hak_box_entry, ops), \
    .span_bytes = sizeof(struct hak_span), .lanes = HAK_LANES,                \
    .kit_version = HAK_KIT_VERSION, .granule_bytes = HAK_GRANULE_BYTES

#define HAK_BOX_SYMBOL "hak_box_entry"
#ifndef HAK_BOX_EXPORT /* empty where a box is built into the core */
#define HAK_BOX_EXPORT __attribute__((visibility("default")))
#endif
extern const struct hak_box_entry hak_box_entry;

/* ---- the host table ---- */

/*
 * The record of a run of slots of one size, from when the box took it to when
 * it went back empty. host->retired() gets it.
 *
 * struct_bytes  sizeof(struct hak_retire) when compiled
 * slot_bytes    usable bytes of each slot; it tells the size class
 * capacity      slots that the run has room for
 * used          slots of the run that were ever handed out, or made ready to
 *               be; 1 .. capacity
 * allocations   how often a slot was handed out
 * frees         how often a slot was taken back. Equal to allocations, except
 *               in a box that cannot count all of them.
 * local_frees   how many of these frees the run's owner thread did; <= frees
 */
struct hak_retire {
    size_t struct_bytes;
    uint32_t slot_bytes;
    uint32_t capacity, used;
    uint64_t allocations, frees, local_frees;
};

enum hak_map_flags {
    HAK_MAP_ZERO =
        1, /* every byte reads zero; without it, content unspecified */
    HAK_MAP_HUGE = 2, /* hint: transparent huge pages are welcome */
};

enum hak_open_flags {
    HAK_OPEN_NOW = 1, /* hint: take the memory now, not at first access */
};

enum hak_log_level { HAK_LOG_ERROR, HAK_LOG_WARNING, HAK_LOG_INFO };

/*
 * The functions that the core offers to a box. Unless tagged [in init], a box
 * may call them in any thread, from any operation that may allocate. None of
 * them calls malloc. A function that returns a pointer returns NULL on failure.
 */
struct hak_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    size_t os_page_bytes;
    uintptr_t window_base; /* granule-aligned */
    size_t window_bytes;   /* all that map() returns is inside */

    /*
     * map - take address space, readable and writable.
     * size_bytes   a multiple of HAK_GRANULE_BYTES
     * align_bytes  a power of two, HAK_GRANULE_BYTES .. 4 GiB; 0 = one granule
     * flags        of enum hak_map_flags
     * The owner directory then names this box for the whole range, and its
     * frees arrive at ops->free. span_set registers spans in the range. map
     * also asks the owns() of each other box once, for the start of the range.
     * A box that claims it has a wrong owns(): the core reports that and asks
     * this box's owns() no more.
     * Cost  a lock, and one mmap if no suitable range is cached
     */
    void *(*map)(struct hak_box *box, size_t size_bytes, size_t align_bytes,
                 uint32_t flags);

    /*
     * unmap - give granules of this box back.
     * p, size_bytes  multiples of HAK_GRANULE_BYTES: one mapping, a part of
     *                one, or adjoining ones together
     * The directory forgets their spans. The range is kept for reuse by any
     * box, and its memory goes back to the kernel after [core] purge_delay_ms.
     * Memory that holds spans (`struct hak_span`) must never be unmapped.
     * If part of the range is not this box's, the core reports that and does
     * nothing. The same holds for purge and remap.
     * Cost  a load and a store for each granule
     */
    void (*unmap)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * purge - give the memory of a range back to the kernel. The addresses stay
     * the box's.
     * p, size_bytes  multiples of the OS page
     * Returns        0: the range reads zero. -errno: it is unchanged, because
     *                the program has locked it.
     * Cost           one madvise
     */
    int (*purge)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * remap - grow or shrink a range in place, or move it, by mremap.
     * p, old_bytes  a range that unmap would take
     * new_bytes     a multiple of HAK_GRANULE_BYTES
     * Returns       the range's place, with the content kept and new bytes
     *               zero. The directory forgets its spans. NULL = cannot,
     *               nothing has changed: the kernel may refuse to move
     * adjoining mappings as one.
     */
    void *(*remap)(struct hak_box *box, void *p, size_t old_bytes,
                   size_t new_bytes);

    /*
     * meta - take memory for metadata, apart from slots.
     * Returns  zeroed memory, 64-byte aligned. It cannot be given back. What is
     *          never touched costs address space only, unless the program locks
     *          its memory (window_table is better there).
     */
    void *(*meta)(struct hak_box *box, size_t size_bytes);

    /*
     * span_set - let the directory name span for these granules.
     * p, size_bytes  multiples of HAK_GRANULE_BYTES inside one mapping of this
     *                box
     * span           Several granules may name one span. They may lie anywhere
     *                in the box's mappings, and may be added while the span is
     *                in use. NULL = frees arrive at ops->free again.
     * Returns        0; -EINVAL: the range is not this box's
     * With box->lanes false it changes nothing: every free arrives at ops->free
     * and span_of answers NULL.
     * Cost           a store for each granule
     */
    int (*span_set)(struct hak_box *box, struct hak_span *span, void *p,
                    size_t size_bytes);

    /* span_of - the span that is registered at p, of any box; NULL if there is
     * none. p: any value. */
    struct hak_span *(*span_of)(const void *p);

    /*
     * lane_drop - take the span out of all lanes of its owner. The next malloc
     * of these sizes asks refill.
     * Call it as the owner, or in heap_close.
     * Cost  small
     */
    void (*lane_drop)(struct hak_span *span);

    /*
     * heap - the calling thread's heap in this box.
     * open     true: if there is none, make one by ops->heap_open. Hold no lock
     *          of the box then.
     * Returns  the heap; NULL = there is none, and none could be made
     */
    void *(*heap)(struct hak_box *box, bool open);

    /* now_ms - a monotonic clock in ms. It may lag by 4 ms. */
    uint64_t (*now_ms)(void);

    /* purge_delay_ms - [core] purge_delay_ms, by which boxes age what they
     * keep. */
    uint64_t (*purge_delay_ms)(void);

    /*
     * random - 64 random bits that cannot be predicted, not even from earlier
     * ones. The child of a fork gets others than its parent.
     * Cost  some 20 ns, no lock
     */
    uint64_t (*random)(void);

    /* log - print one line on stderr: "hakmem: box NAME: ...". format: of
     * printf's conversions only %s %d %u %x %zu %lu %p. */
    void (*log)(struct hak_box *box, enum hak_log_level level,
                const char *format, ...) __attribute__((format(printf, 3, 4)));

    /* get_extension - a table of functions of the core or a module, by its id
     * "hak.NAME/N"; NULL = there is none. */
    const void *(*get_extension)(const char *id);

    /* ---- since minor 1 ---- */

    /*
     * retired - a run of slots has become empty and goes back. Call it once for
     * each such run.
     * record  is read during the call only
     * The learner evaluates the records later, in a malloc (docs/learner.md).
     * retired takes no lock, so a box may call it under a lock of its own.
     * Cost    a few additions in memory of the calling thread; with [learner]
     *         mode = off nothing but the call
     */
    void (*retired)(struct hak_box *box, const struct hak_retire *record);

    /* ---- since minor 5 ---- */

    /*
     * reserve - take address space with nothing mapped in it. An access faults.
     * size_bytes, align_bytes  as for map, and the directory names the box as
     *                          after map
     * Returns  NULL: the window is full
     * Reserved pages cost no memory and no limit counts them. They need no
     * mapping of the kernel, of which a process may have vm.max_map_count
     * (65530). The box opens the pages that it wants to use (open_pages).
     * Closed pages between them are guard pages free of charge.
     * Cost  a lock, no system call
     */
    void *(*reserve)(struct hak_box *box, size_t size_bytes,
                     size_t align_bytes);

    /* unreserve - give reserved granules back, all of a reservation or some of
     * it. All their pages must be closed. */
    void (*unreserve)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * open_pages - make reserved, closed pages readable and writable. They read
     * zero.
     * p, size_bytes  multiples of the OS page
     * flags          of enum hak_open_flags
     * Returns        0. -ENOMEM: memory, address space or mappings have run
     *                out. -EEXIST: the program has mapped something at these
     *                addresses; never use these granules again. After an error
     *                nothing has changed.
     * Cost           one mmap
     */
    int (*open_pages)(struct hak_box *box, void *p, size_t size_bytes,
                      uint32_t flags);

    /*
     * close_pages - let open pages fault from now on. Their content is lost and
     * their memory goes back to the kernel at once.
     * Returns  false: they stay open, with content unspecified. This happens
     *          only when pages on both sides are open, so that a mapping has to
     *          be cut in two, and the process has as many mappings as it may.
     * Cost     one munmap
     */
    bool (*close_pages)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * meta_guarded - as meta, between two guard pages. If the process has as
     * many mappings as it may, the guard pages are left out.
     * Cost  two mmaps
     */
    void *(*meta_guarded)(struct hak_box *box, size_t size_bytes);

    /* ---- since minor 6 ---- */

    /* The constants that this core was compiled with. The core refuses a box
     * that was compiled with other granules. */
    uint32_t granule_bytes, lanes;

    /*
     * read_only - make metadata read-only for good.                 [in init]
     * p, size_bytes  the result of meta_guarded, and its argument
     * If the kernel refuses, the metadata stays writable. After init a sandbox
     * of the program may kill the process for this system call.
     * Cost           one mprotect
     */
    void (*read_only)(struct hak_box *box, void *p, size_t size_bytes);

    /* ncpus - CPUs that the process may run on, at least 1. [in init] */
    uint32_t (*ncpus)(void);

    /* nmappings - mappings that a process may have (vm.max_map_count); 0 if
     * that is unknown. [in init] */
    uint32_t (*nmappings)(void);

    /* ---- since minor 7 ---- */

    /*
     * window_table - take a table with one entry for each granule of the
     * window.                                                       [in init]
     * bits     of an entry: a power of two up to 64
     * Returns  the table; NULL: no memory
     * The entry of address p is number (p - window_base) / granule_bytes. All
     * of the table may be read, and reads zero at first. The box may write the
     * entries of granules that it has or had (map, remap, reserve). The table
     * takes memory only where the window is in use.
     * Cost     one mmap
     */
    void *(*window_table)(struct hak_box *box, uint32_t bits);
};

/* Does the core that runs this box have host function `member`? */
#define HAK_HAS(host, member) \
    ((host)->struct_size >=   \
     offsetof(struct hak_host, member) + sizeof((host)->member))

#ifdef __cplusplus
}
#endif
#endif

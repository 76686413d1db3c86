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
 * Words
 *   slot     memory for one request
 *   granule  HAK_GRANULE_BYTES of address space, so aligned
 *   window   the one address range that all memory of all boxes comes from
 *   span     a run of granules with one owner thread, see `struct hak_span`
 *   lane     a thread's current span for one size, remembered by the core
 *   heap     what a box keeps for one thread
 *
 * States of a box, as named in the tags [state, thread] below
 *   loaded    the entry was checked; only `init` may be called
 *   active    init returned 0; routes may lead here
 *   draining  no route leads here any more; frees, owns and visits still arrive
 *   closed    draining, and nothing is live; stays mapped, is asked no more
 *
 * Rules for every box
 *   - Memory comes from the host table. No malloc, stdio, dlopen, sbrk, mmap.
 *   - No thread-local variables, one exported symbol, no library but libc.
 *   - Slots are 16-byte aligned.
 *   - Operations may be called from any thread at once unless tagged "owner".
 *   - NULL or false is the only way to fail; errno is the core's business.
 *   - Never print; `host->log` does, with the name of the box in front.
 *   - A pointer that the box gets in `free` is one that it handed out (the
 *     core asked the owner directory or `owns`), but not surely a live one.
 *
 * Growth: a minor version adds members, and changes or removes none. Both sides
 * say how long their structs are, and either reads of the other's as much as it
 * knows and takes the rest as zero:
 *
 *   hak_box_entry   new members come in front of `ops`, which is at `ops_at`
 *   hak_box_ops     at its end, which is the entry's: `struct_size`
 *   hak_param       at its end: `param_bytes`
 *   hak_host        at its end: a box asks HAK_HAS before it uses a newer one
 *   hak_box         at its end: a box asks host->abi_minor
 *   hak_box_stats   at its end: the core has room for HAK_STATS_ROOM_BYTES,
 *                   whatever the box takes the struct for
 *   hak_retire      at its end: `struct_bytes`
 *   hak_span        at its end: `span_bytes`. Of it malloc and free use inline
 *                   what minor 6 has, and no more
 *
 * What both compile in is stated by both and compared: granule_bytes, lanes.
 * docs/decisions.md, "How the box ABI grows", says why.
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
#define HAK_ABI_MAJOR 1                     /* another major is refused */
#define HAK_ABI_MINOR 7                     /* what this header describes */

#define HAK_ALIGN_BYTES 16u  /* alignment of every slot */
#define HAK_GRANULE_SHIFT 16 /* 64 KiB: docs/decisions.md, granule */
#define HAK_GRANULE_BYTES ((size_t)1 << HAK_GRANULE_SHIFT)

/*
 * Size index: requests up to 1 KiB in steps of 16 bytes (index 0 is a
 * request of 0 bytes), then 8 steps a doubling up to 256 KiB. Requests above
 * have the one index HAK_INDEX_LARGE and no lane. hak_index_of() and
 * hak_index_bytes() convert; both are pure.
 */
#define HAK_SMALL_MAX_BYTES 1024u
#define HAK_LANE_MAX_BYTES 262144u
#define HAK_INDEX_SMALL_MAX 64u                    /* 1024 bytes */
#define HAK_LANES (HAK_INDEX_SMALL_MAX + 1u + 64u) /* 0..128 */
#define HAK_INDEX_LARGE HAK_LANES

/* Index of a request. size_bytes: any. Cost: a few instructions. */
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

/* Largest request of an index; SIZE_MAX for HAK_INDEX_LARGE. */
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
struct hak_thread; /* opaque: one attached thread, compared by address */

/*
 * span - what the owner directory points at for a granule.
 *
 * The first member of the metadata that the box keeps for a run of slots of
 * one size, out of band (host->meta or the box's own header pages), and
 * type-stable: once registered, its memory stays a span for the life of the
 * process.
 *
 * malloc takes a slot inline from the span that its lane remembers (the one
 * that refill returned last), free puts one back inline when the calling
 * thread is the span's owner:
 *
 *     p = span->local;                  *p = span->local ^ key;
 *     next = *p ^ key; check it         span->local = p;
 *     span->local = next; *p = 0;       if (++span->nfree >= span->trigger)
 *     span->nalloc++;                       box->ops->triggered(span);
 *
 * When local is empty, malloc calls ops->refill; a free by another thread is
 * ops->remote_free(span, p). So slots are reused last in, first out, the box
 * knows at all times how many are out (nalloc - nfree), and the boundary is
 * crossed when a span is used up or reached its trigger, not once a call. A
 * slot of up to 4 KiB that another thread frees usually comes to the owner in a
 * parcel of the core's and is freed by it, inline; remote_free is for the rest.
 *
 * The first word of every free slot, on whatever list it is, is such a mark:
 * xored with the key it is the address of the next slot, or 0. malloc follows
 * nothing that cannot be one (its upper 16 or lower 4 bits are not 0). A free,
 * by the owner, of what is not where a slot starts, or is the first of `local`,
 * goes to ops->free, which knows for sure whether the slot is live
 * (kit/span.h, kit/page.h).
 *
 * owner       written by the box: the thread of the heap that the span
 *             belongs to, or NULL (then every free is a remote free).
 *             Only the owner may change it from itself to something else;
 *             from NULL, whoever took the span over under the box's own rule.
 * local       free slots, linked by their marks, the last one's means NULL;
 *             owner only
 * nalloc      slots handed out since the struct exists; owner only
 * nfree       slots taken back, remote ones when the box collects them; owner
 * trigger     value of nfree from which on each free by the owner calls
 *             triggered(), which sets it anew; HAK_TRIGGER_NEVER for "not now".
 *             The box may set it at any time, by the owner
 * slot_bytes  usable bytes of each slot (usable size and realloc read it
 *             inline), or 0: the core asks ops->usable_size
 * lane_first, lane_last  the core's; zero when the span is first registered,
 *             not for boxes to read or write
 * box         the box it belongs to; set once, before registration
 * nremote     of nfree, those slots that another thread had freed and the core
 *             brought to the owner, modulo 2^32; the core's, for boxes to read
 *             (since minor 4; the padding before)
 * key         of the marks: host->random() | HAK_KEY_BITS; set once, likewise
 * inverse, start  where slots start: an address p of the span does where
 *             (p - start) * inverse < inverse, with p - start in 32 bits.
 *             2^64 / slot_bytes rounded up, and the low half of the first
 *             slot's address; or 2^60 and 0: at any multiple of 16
 * A box built for less than minor 6 gets no lanes: its trigger is compared
 * otherwise, and before minor 3 its free slots have no marks.
 */
#define HAK_KEY_BITS 0x8000000000000001u /* what no link has */
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
    /* ---- up to here what malloc and free touch: one cache line ---- */
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
    HAK_PARAM_CALL, /* text too: calls in the language of hakmem/foreign.h,
                       with a comma between; the core has checked the form */
};

#define HAK_PARAM_MUTABLE 1u /* set_param may change it while active */

/*
 * One key that `[box NAME]` takes. The core parses and bounds-checks the
 * INI's text and leaves the value in box->params[i], i the position here.
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
    const char *text; /* TEXT, CALL: NUL-terminated, lives as long as the box;
                         CALL: NULL = not given */
};

/* ---- the box, as the core hands it to each operation -------------------- */

enum hak_box_state {
    HAK_BOX_LOADED,
    HAK_BOX_ACTIVE,
    HAK_BOX_DRAINING,
    HAK_BOX_CLOSED,
};

/*
 * One instance of a box. The same .so may serve under two names, so a box
 * keeps its state behind `state`, not in static variables.
 */
struct hak_box {
    const struct hak_host *host;
    const struct hak_box_ops *ops; /* the core's copy of the entry's */
    const char *name;              /* NAME of [box NAME] */
    void *state; /* the box's own; NULL at init. A box that has an init sets it
                    there: all here is read-only while the process runs. One
                    without may set it later (not in a fused library). */
    const union hak_value *params; /* as in the entry's table, or NULL */
    uint32_t index;                /* 0..HAK_MAX_BOXES-1, fixed */
    uint32_t state_now;            /* enum hak_box_state */
    bool lanes;                    /* false: `lanes = off`, or no refill */
};

#define HAK_MAX_BOXES 16u

/* ---- statistics ---- */

/*
 * What a box knows of itself. The core counts calls, refills, declines and
 * remote frees on its slow paths and adds them to the report. It has room for
 * HAK_STATS_ROOM_BYTES, all zero, so that a box may assign the whole struct as
 * its own header has it.
 */
#define HAK_STATS_ROOM_BYTES 512u
struct hak_box_stats {
    size_t struct_bytes;    /* the core's, which reads no more; may be lost */
    uint64_t allocs, frees; /* slots of spans; 0 in a box without lanes */
    uint64_t live_count;    /* slots out */
    uint64_t live_bytes;    /* their slot sizes */
    uint64_t peak_bytes;    /* most bytes ever in pages or blocks in use */
    uint64_t cached_bytes;  /* mapped, free, kept for reuse by the box */
    uint64_t retired_pages; /* runs of slots that became empty and went back */
    uint64_t adopted_pages; /* taken over from ended threads */
};

/*
 * Extension "hak.counters/1": figures of a box's own, by name, for the report.
 * read fills at most n of *out and returns how many there are; any thread,
 * those of running threads may lag. Names are a-z 0-9 _, static, and they and
 * their order stay the same for the life of the box.
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
 * Extension "hak.requests/1": the box knows what each live slot was asked for.
 * usable_size is that, to the byte, and the core compares what it is told with
 * it (free_sized, C++'s delete). Each realloc asks resize first. p is a live
 * slot; of what is not, the box says so and aborts.
 */
#define HAK_REQUESTS_1 "hak.requests/1"

struct hak_requests_1 {
    size_t struct_bytes;
    /* From now on p, which was handed out just now, was asked for as so many
     * bytes, fewer than it has. */
    void (*asked)(struct hak_box *box, void *p, size_t size_bytes);
    /* Leave a mark of 0 .. 3 at p. Returns the former one: 0 at first. What is
     * marked is neither freed nor resized: the box says so and aborts. */
    uint32_t (*mark)(struct hak_box *box, void *p, uint32_t mark);
};

/* Called for each live slot by visit_slots(). Return false to stop. */
typedef bool hak_visit(void *context, void *p, size_t slot_bytes);

enum hak_fork_phase {
    HAK_FORK_PREPARE, /* take every lock of the box, in its own order */
    HAK_FORK_PARENT,  /* release them */
    HAK_FORK_CHILD,   /* release them; only the forking thread exists now */
};

/* ---- operations ---- */

struct hak_box_ops {
    /* ---- required ---- */

    /*
     * alloc - hand out one slot.                     [active, any thread]
     * size_bytes  1 .. PTRDIFF_MAX; the route decides what arrives
     * Returns     a slot of at least size_bytes, 16-byte aligned, the
     *             caller's until free(); NULL = declined or no memory: the
     *             core asks the next box of the chain
     * Cost        one indirect call; used when the box has no lanes, and
     *             for sizes above HAK_LANE_MAX_BYTES
     */
    void *(*alloc)(struct hak_box *box, size_t size_bytes);

    /*
     * free - take a slot back.             [active or draining, any thread]
     * p  was handed out by this box, from alloc, refill or aligned_alloc. Or
     *    the program is wrong: freed before, or inside of a slot. A box that
     *    can tell says so by host->log, with p and its slot, and aborts
     */
    void (*free)(struct hak_box *box, void *p);

    /*
     * owns - is p inside a block of this box?     [after init, any thread]
     * p        any value at all: NULL, unmapped, wild, another allocator's
     * Returns  true for every address inside a live slot, false for every
     *          address outside the memory that the box holds
     * Must not fault on any p, lock, wait, or allocate
     */
    bool (*owns)(struct hak_box *box, const void *p);

    /* ---- optional: NULL = the core supplies it or does without ---- */

    /*
     * init - set the box up.                          [loaded, one thread]
     * box->params and box->host are ready. Take as little memory as can be:
     * most programs use few boxes.
     * Returns 0, or -errno after host->log said why; the box is then left
     * out and its routes use their fallbacks.
     */
    int (*init)(struct hak_box *box);

    /*
     * usable_size - bytes that may be used at p.             [any thread]
     * p  a live slot of this box; 0: it is not, the core says so and aborts.
     *    (A box with alloc_none does that itself: it has slots of 0 bytes)
     * A box without it gets every request enlarged by a 16-byte header in
     * which the core keeps the size.
     */
    size_t (*usable_size)(struct hak_box *box, const void *p);

    /*
     * slot_size - bytes that a request of size_bytes would get at least, or
     * 0 when the box declines that size. Pure; `hakctl explain` shows it, and
     * lanes whose requests get the same slots are served from one span.
     */
    size_t (*slot_size)(struct hak_box *box, size_t size_bytes);

    /*
     * aligned_alloc - as alloc, aligned to align_bytes, a power of two of
     * 32 or more. Without it the core asks alloc for the size rounded up to
     * the alignment and keeps the slot if it is aligned; with the 16-byte
     * header it asks for more and places the block inside.
     */
    void *(*aligned_alloc)(struct hak_box *box, size_t align_bytes,
                           size_t size_bytes);

    /* zalloc - as alloc, every usable byte zero. Without it: alloc, memset. */
    void *(*zalloc)(struct hak_box *box, size_t size_bytes);

    /*
     * resize - make the live slot p hold size_bytes, moved or not.
     * Returns  p or its new place with the content kept, the old place then
     *          given up; NULL = cannot, p unchanged: the core copies
     */
    void *(*resize)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * heap_open - make the heap of one thread.       [active, that thread]
     * thread   what span->owner is to be for spans of this heap
     * Returns  the heap, or NULL = no memory: declined, asked again later
     * Called at the first refill of a thread, or when the box asks for the
     * thread's heap (host->heap); never again for that thread before
     * heap_close. A box without lanes may have heaps too.
     */
    void *(*heap_open)(struct hak_box *box, struct hak_thread *thread);

    /*
     * heap_close - the heap's thread is gone.  [any state, not its thread]
     * Its slots may live on: give the free ones back, leave the rest so
     * that remote frees reach them and another heap can adopt them. Drop
     * the lanes of its spans first (lane_drop looks at the owner); no span
     * may name the thread as owner afterwards.
     */
    void (*heap_close)(struct hak_box *box, void *heap);

    /*
     * refill - a lane of the calling thread has no free slot. [active, owner]
     * size_bytes  the largest request of the lane, 1 ..
     *             HAK_LANE_MAX_BYTES
     * Returns     a span of this heap with slots of at least size_bytes and
     *             at least one of them on span->local; the same one as
     *             before, or another. NULL = declined or no memory.
     * Until host->lane_drop(span) the core takes slots from span->local
     * inline, for any number of lanes: drop it before the span serves another
     * size, or memory goes that has slots on the list.
     * The span may be one that no granule names, with slots of spans without
     * an owner, whose key and slot_bytes it then has: frees go to those.
     * Providing refill, triggered, remote_free, heap_open and usable_size
     * gives the box lanes.
     */
    struct hak_span *(*refill)(struct hak_box *box, void *heap,
                               size_t size_bytes);

    /*
     * triggered - span->nfree has reached span->trigger, or passed it.
     *                                     [active or draining, owner]
     * The slot that was freed is on span->local already. Set trigger anew.
     */
    void (*triggered)(struct hak_span *span);

    /*
     * remote_free - free by a thread that is not the owner.   [any thread]
     * Lock-free where the box can. The calling thread may have a heap of
     * its own in this box or none (host->heap tells).
     */
    void (*remote_free)(struct hak_span *span, void *p);

    /*
     * fork - see enum hak_fork_phase.               [any state, forking thread]
     * Other threads go on calling the box between PREPARE and PARENT and
     * wait at its locks; the forking thread calls nothing. In the child the
     * heaps of the other threads are never used again (heap_lost).
     * A box that has a lock needs this operation.
     */
    void (*fork)(struct hak_box *box, enum hak_fork_phase phase);

    /* trim - give back what is free now. Returns bytes given back. */
    size_t (*trim)(struct hak_box *box);

    /* stats - fill *out, zeroed by the core; figures of running threads may
     * lag a little. */
    void (*stats)(struct hak_box *box, struct hak_box_stats *out);

    /* visit_slots - visit live slots; exact only while no other thread
     * allocates. */
    void (*visit_slots)(struct hak_box *box, hak_visit *visit, void *context);

    /* set_param - a mutable parameter changed in box->params. 0 or -errno. */
    int (*set_param)(struct hak_box *box, uint32_t param);

    /* state_changed - box->state_now is another: draining, or closed. */
    void (*state_changed)(struct hak_box *box);

    /* get_extension - a table for id "hak.NAME/N", or NULL. */
    const void *(*get_extension)(struct hak_box *box, const char *id);

    /* ---- since minor 3 ---- */

    /*
     * alloc_none - a slot of no bytes, for a request of 0.       [any thread]
     * Its address is the caller's alone until free(), its usable_size is 0,
     * and an access of it should fault. NULL = declined. Without it, and in
     * lanes, a request of 0 bytes gets a slot of 1.
     */
    void *(*alloc_none)(struct hak_box *box);

    /* ---- since minor 6 ---- */

    /*
     * heap_lost - the heap's thread is not in this process.
     *                                      [any state, child of a fork]
     * thread   as it was given to heap_open. The heap may have another by now,
     *          or none: then it is not lost, and is to be left alone
     * Called once for each heap of a thread that the parent had, when the child
     * has lived for a while, by one of its threads while others call the box.
     * The thread may have been halted between any two stores: believe nothing
     * that two of them keep in step, but what was done under a lock that the
     * box takes in `fork`. Live slots stay; what is surely free may serve this
     * process. No span may name the thread as owner afterwards.
     * Without it what was free in such heaps is lost to the child.
     */
    void (*heap_lost)(struct hak_box *box, void *heap,
                      struct hak_thread *thread);

    /* ---- since minor 7 ---- */

    /*
     * heap_park - the heap's thread ends.         [any state, that thread]
     * The heap waits as it is for the next thread, or for heap_close: with it
     * waits what it keeps. Give back what the next one may not need. Part of
     * the cost of a thread: a microsecond or two. Destructors of others may
     * run later and free into the heap, or allocate from it.
     */
    void (*heap_park)(struct hak_box *box, void *heap);

    /*
     * shrink - memory is being taken while the box may keep some. [any thread]
     * want_bytes  give back so much, if there is as much: what is free and kept
     *             by the box, whichever thread's it is; what a thread is just
     *             working with may stay
     * Returns     the bytes that no longer are in memory or are the host's
     * Called on slow paths, and by host->map, of whichever box: hold no lock
     * over a call of that which shrink takes, nor wait in shrink for one that
     * is held for long.
     */
    size_t (*shrink)(struct hak_box *box, size_t want_bytes);

    /*
     * age - what the box's slow paths do now and then about memory that was
     * kept and not needed for a purge delay.                     [any thread]
     * Called twice a purge delay by a thread that has a heap in the box, on a
     * slow path in whatever box. With [core] background = yes a thread of the
     * core's calls it, so that time passes while the program sleeps.
     */
    void (*age)(struct hak_box *box);
};

/* ---- the entry ---- */

/*
 * What `hak_box_entry` is. HAK_BOX_HEADER fills in what tells its layout. The
 * core refuses, with a message that says what to do: another magic, another
 * abi_major, host_minor_min above its own minor, a layout that cannot be, other
 * granules, a missing id, version or required operation.
 */
struct hak_box_entry {
    uint64_t magic;          /* HAK_BOX_MAGIC */
    uint16_t abi_major;      /* HAK_ABI_MAJOR */
    uint16_t abi_minor;      /* HAK_ABI_MINOR when compiled */
    uint16_t host_minor_min; /* least minor of the core that will do; 6 or
                                more, since older ones look elsewhere for ops */
    uint16_t param_bytes;    /* sizeof(struct hak_param) when compiled */
    uint32_t struct_size;    /* sizeof(struct hak_box_entry) when compiled */
    uint32_t nparams;
    const char *id;      /* kind of box, lower case: "ultra" */
    const char *version; /* the box's own */
    const char *summary; /* one line for `hakctl boxes`, or NULL */
    const struct hak_param *params;
    size_t min_bytes, max_bytes; /* requests it is made for; 0, 0 = any */
    /* ---- since minor 6; before, ops was here ---- */
    uint16_t ops_at;        /* offsetof(struct hak_box_entry, ops), likewise */
    uint16_t span_bytes;    /* sizeof(struct hak_span), likewise */
    uint16_t lanes;         /* HAK_LANES, likewise */
    uint16_t kit_version;   /* HAK_KIT_VERSION of kit/base.h, or 0 */
    uint32_t granule_bytes; /* HAK_GRANULE_BYTES, likewise */
    uint32_t reserved;      /* 0 */
    /* ---- new members come here ---- */
    struct hak_box_ops ops; /* last: it grows at its end */
};

#define HAK_KIT_VERSION 0 /* the kit has another */
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
 * One run of slots, from when it was taken to when it went back empty: what
 * host->retired() is told.
 *
 * struct_bytes  sizeof(struct hak_retire) when compiled
 * slot_bytes    usable bytes of each slot; the class is told by it
 * capacity      slots that the run has room for
 * used          slots of it that were ever handed out or made ready to be;
 *               1 .. capacity
 * allocations   slots handed out, each time counted
 * frees         slots taken back, likewise; equal to allocations but for a
 *               box that cannot count them all
 * local_frees   those of them by the thread that owned the run; <= frees
 */
struct hak_retire {
    size_t struct_bytes;
    uint32_t slot_bytes;
    uint32_t capacity, used;
    uint64_t allocations, frees, local_frees;
};

enum hak_map_flags {
    HAK_MAP_ZERO = 1, /* every byte must read zero; else: content unspecified */
    HAK_MAP_HUGE = 2, /* hint: transparent huge pages are welcome */
};

enum hak_open_flags {
    HAK_OPEN_NOW = 1, /* hint: the pages are made now, not at first use */
};

enum hak_log_level { HAK_LOG_ERROR, HAK_LOG_WARNING, HAK_LOG_INFO };

/*
 * What the core offers to a box. Callable from any operation that may
 * allocate, in any thread; none of it calls malloc. Failure is NULL.
 */
struct hak_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    size_t os_page_bytes;
    uintptr_t window_base; /* granule-aligned */
    size_t window_bytes;   /* all that map() returns is inside */

    /*
     * map - take address space, readable and writable.
     * size_bytes, align_bytes  multiples of HAK_GRANULE_BYTES, align a
     *                          power of two (0 = one granule) up to 4 GiB
     * The owner directory now names this box for the whole range, with
     * slow frees; span_set gives it spans. The core runs the owns() walk
     * over the other boxes here, once: one that claims p is told about and
     * asked no more. Cost: a lock and, when nothing
     * suitable is cached, one mmap.
     */
    void *(*map)(struct hak_box *box, size_t size_bytes, size_t align_bytes,
                 uint32_t flags);

    /*
     * unmap - give granules of this box back: a mapping, a part of one, or
     * adjoining ones together. Their spans are forgotten.
     * Kept for reuse by any box and returned to the system after [core]
     * purge_delay_ms. What holds spans (`struct hak_span`) is never unmapped.
     * A range that is not all this box's is told about, and nothing is done;
     * so do purge and remap. Cost: a load and a store a granule.
     */
    void (*unmap)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * purge - the system takes the memory of a range, which stays the box's.
     * p, size_bytes  multiples of the OS page
     * Returns  0: it reads zero; -errno: it is as it was (the program has
     *          locked it). Cost: one madvise
     */
    int (*purge)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * remap - grow or shrink what unmap could give back, moved if it must be,
     * by mremap. New bytes read zero; spans are forgotten. NULL = cannot,
     * nothing changed: mappings of unlike history may refuse to move as one.
     */
    void *(*remap)(struct hak_box *box, void *p, size_t old_bytes,
                   size_t new_bytes);

    /*
     * meta - memory for metadata: zero, 64-byte aligned, apart from slots,
     * never given back. What is never touched costs address space only, unless
     * the program locks its memory: see window_table.
     */
    void *(*meta)(struct hak_box *box, size_t size_bytes);

    /*
     * span_set - let the directory name span for these granules.
     * p, size_bytes  granule multiples inside one mapping of this box
     * span           NULL = back to slow frees. One span may be named by
     *                granules anywhere in the box's mappings, more of them
     *                while it is in use
     * With box->lanes false it changes nothing: every free is a slow one and
     * span_of answers NULL.
     * Returns        0; -EINVAL: p is not this box's. Cost: a store a granule
     */
    int (*span_set)(struct hak_box *box, struct hak_span *span, void *p,
                    size_t size_bytes);

    /* span_of - the span registered at p, of any box, or NULL. Any p. */
    struct hak_span *(*span_of)(const void *p);

    /*
     * lane_drop - lanes forget the span: the next malloc there asks refill.
     * Callable by the owner, or by heap_close for its thread. Cost: small.
     */
    void (*lane_drop)(struct hak_span *span);

    /*
     * heap - the calling thread's heap in this box. open: make one if there
     * is none, by ops->heap_open: hold no lock of the box. NULL = none (and
     * none could be made).
     */
    void *(*heap)(struct hak_box *box, bool open);

    /* now_ms - a monotonic clock, coarse (a tick of 4 ms or better). */
    uint64_t (*now_ms)(void);

    /* purge_delay_ms - [core] purge_delay_ms; boxes age their caches by it. */
    uint64_t (*purge_delay_ms)(void);

    /*
     * random - 64 bits that nobody can foretell, from what was seen of others
     * neither; a fork's child gets others. Cost: some 20 ns, no lock.
     */
    uint64_t (*random)(void);

    /* log - one line on stderr: "hakmem: box NAME: ...". printf's %s %d %u
     * %x %zu %lu %p only. */
    void (*log)(struct hak_box *box, enum hak_log_level level,
                const char *format, ...) __attribute__((format(printf, 3, 4)));

    /* get_extension - a table of the core for id "hak.NAME/N", or NULL. */
    const void *(*get_extension)(const char *id);

    /* ---- since minor 1 ---- */

    /*
     * retired - a run of slots of one size has become empty and goes back.
     * record  read during the call only
     * Once a run. It takes no lock, so it may be called under the box's own;
     * what the core makes of it (docs/learner.md) happens later, in a malloc.
     * Cost: a few additions in memory of the calling thread; with [learner]
     * mode = off nothing but the call.
     */
    void (*retired)(struct hak_box *box, const struct hak_retire *record);

    /* ---- since minor 5 ---- */

    /*
     * reserve - take address space with nothing in it: an access faults. It
     * costs no memory, no limit counts it, and the kernel has no mapping for
     * it (a process may have vm.max_map_count of them, 65530). The box opens
     * the pages that it wants to use; what stays closed between them is a
     * guard that is free of charge.
     * size_bytes, align_bytes  as for map, and so is what the directory knows
     * Returns  NULL: the window is full. Cost: a lock, no system call
     */
    void *(*reserve)(struct hak_box *box, size_t size_bytes,
                     size_t align_bytes);

    /* unreserve - give such granules back: what was reserved, or whole granules
     * of it. All of them are closed. */
    void (*unreserve)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * open_pages - pages that are reserved and closed may be read and written
     * to, and read zero.
     * p, size_bytes  multiples of the OS page
     * flags    enum hak_open_flags
     * Returns  0; -ENOMEM: no memory, address space or mapping is left for it;
     *          -EEXIST: somebody else has mapped there, by an address of his
     *          own choice: leave these granules alone for good. Nothing has
     *          changed then. Cost: one mmap
     */
    int (*open_pages)(struct hak_box *box, void *p, size_t size_bytes,
                      uint32_t flags);

    /*
     * close_pages - pages that are open fault from now on. What was in them is
     * lost, and goes to the system at once.
     * Returns  false: they stay open, with content unspecified. Only where
     *          pages on both sides are open, and the process has all the
     *          mappings that it may have: then one cannot be cut in two.
     * Cost: one munmap
     */
    bool (*close_pages)(struct hak_box *box, void *p, size_t size_bytes);

    /*
     * meta_guarded - as meta, between two pages that are closed, where the
     * kernel has the mappings for that. Cost: two mmaps
     */
    void *(*meta_guarded)(struct hak_box *box, size_t size_bytes);

    /* ---- since minor 6 ---- */

    /* What this core has compiled in; a box of other granules is refused. */
    uint32_t granule_bytes, lanes;

    /*
     * read_only - metadata that init has set up may not be written to any more.
     * p, size_bytes  what meta_guarded returned and was asked for
     * In init only: later a sandbox may kill for the system call. Where the
     * kernel refuses it stays as it is. Cost: one mprotect
     */
    void (*read_only)(struct hak_box *box, void *p, size_t size_bytes);

    /* ncpus - CPUs that the process may run on, at least 1. In init only. */
    uint32_t (*ncpus)(void);

    /* nmappings - mappings that a process may have (vm.max_map_count), or 0: it
     * cannot be told. In init only. */
    uint32_t (*nmappings)(void);

    /* ---- since minor 7 ---- */

    /*
     * window_table - a table with an entry for each granule of the window, in
     * their order: that of p is number (p - window_base) / granule_bytes. All
     * of it may be read, and reads zero; entries of granules that the box has
     * or had (map, remap, reserve) may be written to. It takes memory where
     * the window is in use, however large that is.
     * bits     of an entry, a power of two up to 64
     * Returns  NULL: no memory. In init only. Cost: one mmap
     */
    void *(*window_table)(struct hak_box *box, uint32_t bits);
};

/* Is host function `member` there in the core that runs us? */
#define HAK_HAS(host, member) \
    ((host)->struct_size >=   \
     offsetof(struct hak_host, member) + sizeof((host)->member))

#ifdef __cplusplus
}
#endif
#endif

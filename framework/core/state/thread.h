/* SPDX-License-Identifier: MIT
 * thread.h - the structure that the core keeps for each thread.
 */
#ifndef HAKMEM_STATE_THREAD_H
#define HAKMEM_STATE_THREAD_H

#include <core/state/boxes.h>
#include <core/state/op_calls.h>
#include <core/state/core.h>
#include <core/state/modules.h>
#include <kit/span.h>
#include <kit/sync.h>

#include <pthread.h>

#pragma GCC visibility push(hidden)

/* A parcel that one thread fills with slots of another thread. */
struct hak_out {
    struct hak_parcel *parcel; /* NULL: none is open */
    void **at;                 /* where the next slot's address goes */
    void *last;                /* last slot of the parcel posted before */
    uint32_t key;              /* tag of the other thread + 1; 0: none */
    int32_t room;              /* bytes of slots that still fit, roughly */
};
enum {
    HAK_OUTS = 16, /* parcels that a thread fills at a time */
    /* The least number of bytes that a slot counts for. 62 such slots, as many
     * as fit in a parcel, use up the largest room of one: mailbox.c. */
    HAK_PARCEL_SLOT_LEAST = 265,
};

/* One thread, or one that has ended. Never freed; thread/lists.h has its life.
 * Only its thread uses the members that are not marked atomic. */
struct hak_thread {
    /* Never NULL: hak_no_span where there is no span. The last lane, for sizes
     * above 256 KiB, is always hak_no_span. Atomic: hak_lane(). */
    struct hak_span *lane[HAK_LANES + 1];
    /* By index of the box. heap_box: the box that the heap is of. It differs
     * from the box of that index if the thread was late in an operation of a
     * box that has left: attach.c. heap: atomic; NULL: there is none. */
    void *heap[HAK_MAX_BOXES];
    struct hak_loaded *heap_box[HAK_MAX_BOXES];
    /* While calls are watched (malloc/tapped.h): the lanes in place of `lane`,
     * and whether a call that was told is under way, so that calls inside of
     * it are not. taps: atomic, set once; NULL: none. */
    struct hak_span **taps;
    bool in_call;
    uint64_t epoch; /* of hak_policy, when the lanes were last compared */
    uint16_t tag;   /* in the directory; HAK_TAG_NONE: there are too many */
    /* Calls of foreign boxes that the thread is inside of. Never 0 in
     * hak_nobody, hak_forker and hak_ended. */
    uint32_t abroad;
    uint32_t trips;    /* calls through malloc/short_way.h */
    uint32_t routing;  /* requests between chain and box; atomic */
    int *error;        /* address of the thread's errno; NULL in hak_nobody */
    const void *given; /* block being handed to another allocator: other.c */
    uint32_t ticks;    /* calls of hak_tick */
    uint32_t rounds;   /* rounds of destructors that have run: attach.c */
    uint64_t parked_at_ms;
    struct hak_thread *next; /* in hak_threads */
    /* In one of the lists parked, ending and left: lists.h. */
    struct hak_thread *next_parked;
    uint64_t libc_allocs;
    struct hak_sampler *sampler; /* route/sample.c; NULL until it is needed */
    struct hak_op_call call;     /* with [core] blame: op_calls.h */
    struct hak_op_look looked;   /* guarded by the lock of report/write.c */
    struct hak_counts count[HAK_MAX_BOXES];
    void *of_module[HAK_MODULES_MOST]; /* each module's word; atomic */
    /* core/thread/mailbox.c: */
    struct hak_out out[HAK_OUTS]; /* by (tag of the other - tag) % HAK_OUTS */
    uint32_t nopen;               /* members of out with an open parcel */
    uint32_t nstash;
    struct hak_parcel *stash; /* empty parcels for reuse */
    /* core/thread/lists.c; guarded by hak_lists.lock: */
    bool parked, is_ending; /* in the list of that name */
    bool left_behind;       /* a thread of the parent, in a child of fork */
    pthread_mutex_t alive;  /* robust; its thread holds it while it lives */
    _Alignas(64) struct hak_parcel *inbox; /* parcels for it; atomic */
    const struct hak_parcel *inbox_seen;   /* head at the last look; atomic */
};

enum { HAK_TAG_NONE = 0xffff };
/* Written once for each tag, when its structure is made. */
extern struct hak_thread *hak_thread_by_tag[HAK_TAG_NONE];

static inline struct hak_thread *hak_owner_of(const struct hak_span *span)
{
    return __atomic_load_n(&span->owner, __ATOMIC_RELAXED);
}

/* The calling thread's structure, or one of the three below. Never NULL. */
extern __thread struct hak_thread *hak_self
    __attribute__((tls_model("initial-exec")));
extern struct hak_thread hak_nobody; /* for threads that have not attached */
extern struct hak_thread hak_forker; /* for threads inside fork */
extern struct hak_thread hak_ended;  /* for threads that have parked */
extern struct hak_span hak_no_span;  /* never has a free slot */
static inline bool hak_is_attached(const struct hak_thread *t)
{
    return t != &hak_nobody && t != &hak_forker && t != &hak_ended;
}

/* The span of a lane. Atomic, because a change of routes empties the lanes of
 * running threads. */
static inline struct hak_span *hak_lane_of(struct hak_span **lanes,
                                           uint32_t index)
{
    return __atomic_load_n(&lanes[index], __ATOMIC_RELAXED);
}
static inline struct hak_span *hak_lane(struct hak_thread *t, uint32_t index)
{
    return hak_lane_of(t->lane, index);
}

/* May slots of the span be aligned to `align`, a power of two? Their size has
 * to be a multiple of it. Also true for hak_no_span, whose slots have 0 bytes.
 */
static inline bool hak_lane_may_align(const struct hak_span *span, size_t align)
{
    return (span->slot_bytes & (align - 1)) == 0;
}

/* The list of all structures, those of ended threads included. It never
 * shrinks, so it is read without a lock. NULL: it is empty. */
extern struct hak_thread *hak_threads; /* atomic */
static inline struct hak_thread *hak_thread_first(void)
{
    return __atomic_load_n(&hak_threads, __ATOMIC_ACQUIRE);
}

/* The largest request of a lane in bytes, which a refill asks for. */
static inline size_t hak_lane_bytes(uint32_t index)
{
    return index == 0 ? HAK_ALIGN_BYTES : hak_index_bytes(index);
}

/*
 * Is the calling thread inside fork? It must then not enter boxes, nor wait for
 * a lock. This also holds for a call that a signal handler interrupted in order
 * to fork. When the fork is over, the hook sets hak_self to the thread's own
 * structure again, and the result is false.
 */
static inline bool hak_is_forking(void)
{
    return unlikely(hak_self == &hak_forker) && !hak_core.fork_recover();
}

#pragma GCC visibility pop

#endif

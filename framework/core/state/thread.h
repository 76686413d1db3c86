/* SPDX-License-Identifier: MIT
 * thread.h - what the core knows of each thread.
 */
#ifndef HAKMEM_STATE_THREAD_H
#define HAKMEM_STATE_THREAD_H

#include <core/state/boxes.h>
#include <core/state/core.h>
#include <core/state/modules.h>
#include <kit/span.h>
#include <kit/sync.h>

#include <pthread.h>

#pragma GCC visibility push(hidden)

/* What the slow paths count, per thread and box; one writer each. */
struct hak_counts {
    uint64_t allocs, frees;       /* calls of alloc and free */
    uint64_t bytes_in, bytes_out; /* their usable bytes */
    uint64_t refills, remote_frees, declines;
};

/* A parcel that a thread fills for another. */
struct hak_out {
    struct hak_parcel *parcel; /* NULL: none */
    void **at;                 /* where the next slot's address goes */
    void *last;                /* the last slot that left by it */
    uint32_t key;              /* the other's tag + 1; 0: of no thread */
    int32_t room;              /* in bytes of slots, about */
};
enum {
    HAK_OUTS = 16,
    HAK_PARCEL_SLOT_LEAST = 265, /* what a small slot counts as: mailbox.c */
};

struct hak_thread {
    struct hak_span *lane[HAK_LANES + 1]; /* never NULL: hak_no_span where
                                             there is none, and in the last */
    void *heap[HAK_MAX_BOXES];
    uint64_t epoch;
    uint16_t tag;      /* in the directory, or HAK_TAG_NONE: too many threads */
    uint32_t abroad;   /* calls of foreign boxes that it is inside of; never 0
                          in the three below that have not attached */
    uint32_t trips;    /* calls of boxes by the short way */
    uint32_t routing;  /* requests on their way down a chain; atomic */
    int *error;        /* errno of its thread, where that is at hand */
    const void *given; /* what it is just handing to another allocator */
    uint32_t ticks;
    uint32_t rounds; /* of destructors that its thread ran */
    uint64_t parked_at_ms;
    struct hak_thread *next;        /* all threads, never shrinks */
    struct hak_thread *next_parked; /* or ending */
    uint64_t libc_allocs;
    struct hak_sampler *sampler; /* route/sample.c; NULL until it is needed */
    struct { /* verify: what it is inside of; box NULL: nothing. crash.c */
        const struct hak_loaded *box;
        const char *operation;
        size_t size;
    } call;
    struct hak_counts count[HAK_MAX_BOXES];
    void *of_module[HAK_MODULES_MOST]; /* each module's word; atomic */
    /* core/thread/mailbox.c: */
    struct hak_out out[HAK_OUTS];
    uint32_t nopen;
    uint32_t nstash;
    struct hak_parcel *stash; /* empty ones */
    bool parked, is_ending;   /* in one of these lists */
    bool left_behind;         /* by a fork: it is the parent's */
    pthread_mutex_t alive;    /* robust; held while it has a thread */
    _Alignas(64) struct hak_parcel *inbox; /* what others post; atomic */
    const struct hak_parcel *inbox_seen;   /* at the last tick; atomic */
};

enum { HAK_TAG_NONE = 0xffff };
extern struct hak_thread *hak_thread_by_tag[HAK_TAG_NONE];

static inline struct hak_thread *hak_owner_of(const struct hak_span *span)
{
    return __atomic_load_n(&span->owner, __ATOMIC_RELAXED);
}

/* Thread-local, as nothing else but what fork.c has. Never NULL. */
extern __thread struct hak_thread *hak_self
    __attribute__((tls_model("initial-exec")));
extern struct hak_thread hak_nobody; /* a thread that has not attached */
extern struct hak_thread hak_forker; /* a thread inside fork */
extern struct hak_thread hak_ended;  /* a thread that has parked */
extern struct hak_span hak_no_span;  /* has no free slot, ever */
static inline bool hak_is_attached(const struct hak_thread *t)
{
    return t != &hak_nobody && t != &hak_forker && t != &hak_ended;
}

/* Atomic, since a change of route empties the lanes of running threads. */
static inline struct hak_span *hak_lane(struct hak_thread *t, uint32_t index)
{
    return __atomic_load_n(&t->lane[index], __ATOMIC_RELAXED);
}

/* Are its slots a multiple of a power of two? Of no span (0 bytes): maybe. */
static inline bool hak_lane_may_align(const struct hak_span *span, size_t align)
{
    return (span->slot_bytes & (align - 1)) == 0;
}

/* All structures of threads, of those that ended too; the list never shrinks.
 * NULL: there is none. */
extern struct hak_thread *hak_threads; /* atomic */
static inline struct hak_thread *hak_thread_first(void)
{
    return __atomic_load_n(&hak_threads, __ATOMIC_ACQUIRE);
}

/* The largest request of a lane: what its refill asks for. */
static inline size_t hak_lane_bytes(uint32_t index)
{
    return index == 0 ? HAK_ALIGN_BYTES : hak_index_bytes(index);
}

/*
 * May the calling thread not enter boxes, nor wait for a lock? So it is while
 * it forks, and in a call that a signal handler interrupted in order to fork.
 * When that is over, hak_self is the thread's own again.
 */
static inline bool hak_is_forking(void)
{
    return unlikely(hak_self == &hak_forker) && !hak_core.fork_recover();
}

#pragma GCC visibility pop

#endif

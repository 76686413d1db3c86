/* SPDX-License-Identifier: MIT
 * ring.h - shared memory through which module "record" hands the calls of
 * malloc and free to the process that writes the trace (hakctl record).
 *
 *     thread of the program --entries--> its ring --> hakctl record --> file
 *
 * The memory is a file without a name (memfd_create) of hakctl record, which
 * processes map by its path /proc/PID/fd/N. So a process that is killed loses
 * nothing that it has put, and a process that was forked or has called exec
 * goes on in the same memory. Each thread has a ring of its own, with one
 * producer and one consumer.
 *
 * Order. An entry of a block that was made is put after the call of the
 * allocator, and before malloc returns. An entry of a block that is given back
 * is put before the call. So if a thread frees a block of another thread, or
 * gets the address of one, the other's entry was put before, and its ticks,
 * which are read anew for each entry, are lower. The reader takes the entries
 * that are older than a moment before it read the heads of all rings: all
 * entries that they follow from are there. It puts entries of one address into
 * the order of their ticks. Addresses alone would not tell it to which of two
 * blocks that had one address in turn a free belongs.
 */
#ifndef HAKMEM_RECORD_RING_H
#define HAKMEM_RECORD_RING_H

#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    RECORD_VERSION = 2,
    RECORD_RINGS = 1024,           /* rings of one area */
    RECORD_RING_ENTRIES = 1 << 14, /* 256 KiB of memory, once it is used */
};
#define RECORD_MAGIC UINT64_C(0x31474e49524b4148) /* "HAKRING1" */

enum record_kind {
    RECORD_NONE,
    RECORD_MALLOC,       /* address, size */
    RECORD_CALLOC,       /* address, size */
    RECORD_ALIGNED,      /* address, size; RECORD_VALUE before it: alignment */
    RECORD_REALLOC_FROM, /* address that is given; put before the call. The next
                            entry of the ring of a call is RECORD_REALLOC_TO */
    RECORD_REALLOC_TO,   /* address, size; address 0: it failed, and the block
                            stays what it was */
    RECORD_FREE,         /* address; 0: free(NULL) */
    RECORD_TOUCHED,      /* address, which is freed next; size: bytes of its
                            pages that were touched */
    RECORD_VALUE,        /* more bits for the next entry; the value is in `at`
                            above the kind: value << 4 | RECORD_VALUE */
    RECORD_LONG,         /* as RECORD_VALUE: the next entry's size in bytes */
    RECORD_TIME,         /* as RECORD_VALUE: ticks, absolute, of this entry */
};

/* One entry. Addresses are multiples of 16, so the kind is in their low bits.
 * RECORD_VALUE, RECORD_LONG and RECORD_TIME are put together with the entry
 * that they belong to, by one store to head, and their `ticks` are 0. */
struct record_entry {
    uint64_t at;    /* address | kind */
    uint32_t size;  /* bytes; UINT32_MAX: RECORD_LONG is before it */
    uint32_t ticks; /* since the entry before in this ring; UINT32_MAX:
                       RECORD_TIME is before it */
};

/*
 * A ring, of one thread. A thread takes the free one of the lowest number: it
 * changes pid from 0, raises `nused` of the area where that is too low, fills
 * in tid, process, pid_space and started_ticks, and then puts entries. The
 * writer of the trace looks at these when head has changed or `ended` is set.
 * It gives the ring back when that is empty and `ended` is set, or when the
 * process is gone: it raises head and tail to a multiple of
 * RECORD_RING_ENTRIES, sets lost, ended, tid and process to 0, and then pid.
 *
 * A program that calls exec keeps its pid, and its rings stay behind without
 * `ended`. So `process` has another value in the new program. The writer takes
 * a ring with the same pid and another process as the end of the former.
 */
struct record_ring {
    _Alignas(64) uint32_t pid; /* 0: it is free; atomic */
    uint32_t tid;
    uint64_t process;   /* record_ticks() when this process or, after exec, this
                           program began to record; not 0 */
    uint64_t pid_space; /* st_ino of /proc/self/ns/pid, in which pid and tid
                           are meant; 0: unknown */
    uint64_t started_ticks;     /* of the first entry's `ticks` */
    uint32_t ended;             /* the thread puts no more entries; atomic */
    _Alignas(64) uint64_t head; /* entries that were put; atomic */
    uint64_t lost;              /* calls that were not put, of this thread */
    _Alignas(64) uint64_t tail; /* entries that were read; atomic */
};

/* The area. */
struct record_area {
    uint64_t magic; /* set last, when all else is */
    /* Robust and shared. The writer holds it as long as it lives, by
     * record_writer_begins. */
    pthread_mutex_t writer;
    uint32_t version;
    uint32_t nrings, ring_entries; /* RECORD_RINGS, RECORD_RING_ENTRIES */
    uint32_t nused;                /* rings from this number on were never
                                      taken; it only grows; atomic */
    uint32_t writer_pid;           /* hakctl record */
    uint32_t stopped; /* no more entries are wanted, as the writer or the
                         control request `record stop` says; atomic */
    uint32_t wake;    /* futex: the writer sleeps on it; a thread whose ring is
                         half full raises it; atomic */
    uint64_t lost;    /* calls of threads without a ring; atomic */
    uint64_t begun_ticks, begun_ns; /* the same moment, CLOCK_MONOTONIC */
    struct record_ring ring[RECORD_RINGS];
    /* struct record_entry [nrings][ring_entries] follow, at a page's start */
};

/* Bytes before the first entry. */
#define RECORD_HEAD_BYTES ((sizeof(struct record_area) + 4095) & ~(size_t)4095)
#define RECORD_AREA_BYTES \
    (RECORD_HEAD_BYTES +  \
     (size_t)RECORD_RINGS * RECORD_RING_ENTRIES * sizeof(struct record_entry))

/* The entries of a ring. Entry number n, as head and tail count them, is at
 * n % RECORD_RING_ENTRIES. */
static inline struct record_entry *record_entries(struct record_area *area,
                                                  uint32_t ring)
{
    struct record_entry *first =
        (struct record_entry *)((char *)area + RECORD_HEAD_BYTES);
    return first + (size_t)ring * RECORD_RING_ENTRIES;
}

/* Called by the thread of the writer that lives longest, before others map the
 * area. 0 or an errno. */
static inline int record_writer_begins(struct record_area *area)
{
    pthread_mutexattr_t of;
    pthread_mutexattr_init(&of);
    pthread_mutexattr_setpshared(&of, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&of, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutex_init(&area->writer, &of);
    pthread_mutexattr_destroy(&of);
    return error != 0 ? error : pthread_mutex_lock(&area->writer);
}

/* Does that thread live? When it ends, however that is, the kernel sets
 * FUTEX_OWNER_DIED in the mutex: at once, while kill(2) takes a process that
 * nobody has waited for to be alive, and for threads of any pid namespace. */
static inline bool record_writer_lives(const struct record_area *area)
{
    uint32_t word = (uint32_t)__atomic_load_n(&area->writer.__data.__lock,
                                              __ATOMIC_RELAXED);
    return (word & FUTEX_TID_MASK) != 0 && (word & FUTEX_OWNER_DIED) == 0;
}

/* A clock that is cheap to read: of the processor where it has one. */
static inline uint64_t record_ticks(void)
{
#if defined __x86_64__
    return __builtin_ia32_rdtsc();
#elif defined __aarch64__
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

#endif

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
 * allocator, and an entry of a block that is given back before it. So if a
 * thread frees, or gets the address of, a block of another thread, the other
 * thread's entry was put before. The reader relies on that, not on clocks: it
 * reads all `head`s, then all `head`s again. What an entry of the first reading
 * depends on is among the entries of the second.
 */
#ifndef HAKMEM_RECORD_RING_H
#define HAKMEM_RECORD_RING_H

#include <stdint.h>
#include <time.h>

enum {
    RECORD_VERSION = 1,
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
 */
struct record_entry {
    uint64_t at;    /* address | kind */
    uint32_t size;  /* bytes; UINT32_MAX: RECORD_LONG is before it */
    uint32_t ticks; /* since the entry before in this ring; UINT32_MAX:
                       RECORD_TIME is before it */
};

/* A ring, of one thread. A thread takes it by changing pid from 0. The writer
 * of the trace sets pid to 0 when the ring is empty and `ended` is set, or its
 * process is gone. */
struct record_ring {
    _Alignas(64) uint32_t pid; /* 0: it is free; atomic */
    uint32_t tid;
    uint64_t started_ticks;     /* of the first entry's `ticks` */
    uint32_t ended;             /* the thread puts no more entries; atomic */
    _Alignas(64) uint64_t head; /* entries that were put; atomic */
    uint64_t lost;              /* calls that were not put, of this thread */
    _Alignas(64) uint64_t tail; /* entries that were read; atomic */
};

/* The area. */
struct record_area {
    uint64_t magic;
    uint32_t version;
    uint32_t nrings, ring_entries; /* RECORD_RINGS, RECORD_RING_ENTRIES */
    uint32_t writer_pid;           /* hakctl record */
    uint32_t stopped; /* the writer wants no more entries; atomic */
    uint32_t wake;    /* futex: the writer sleeps on it; a thread whose ring is
                         half full raises it; atomic */
    uint64_t lost;    /* calls of threads without a ring; atomic */
    uint64_t begun_ticks, begun_ns; /* the same moment, CLOCK_MONOTONIC */
    struct record_ring ring[RECORD_RINGS];
    /* struct record_entry [nrings][ring_entries] follow, at a page's start */
};

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

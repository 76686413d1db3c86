/* SPDX-License-Identifier: MIT
 * ring_reader.h - a writer for module record that keeps what it reads.
 *
 * reader_open makes the memory and reader_drain reads all rings, as hakctl
 * record does. What one thread has put is a stream.
 */
#ifndef HAK_TESTS_RING_READER_H
#define HAK_TESTS_RING_READER_H

#include "common.h"

#include <modules/record/ring.h>

/* A call as the program made it or as it was read. */
struct call {
    uint32_t kind; /* enum record_kind */
    uint32_t tid;
    uint64_t address, size, align;
};

struct stream {
    uint32_t pid, tid;
    uint64_t process, value, last_ticks;
    struct call *call;
    size_t n, room, ntouched;
    struct call touched; /* the last RECORD_TOUCHED */
};

enum { STREAMS = 4096 };
struct reader {
    struct record_area *area;
    char path[64];
    struct stream stream[STREAMS];
    size_t nstreams;
};

static inline void reader_open(struct reader *r)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    EXPECT(fd >= 0 && ftruncate(fd, (off_t)RECORD_AREA_BYTES) == 0);
    struct record_area *a = mmap(NULL, RECORD_AREA_BYTES,
                                 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(a != MAP_FAILED);
    a->version = RECORD_VERSION;
    a->nrings = RECORD_RINGS;
    a->ring_entries = RECORD_RING_ENTRIES;
    a->writer_pid = (uint32_t)getpid();
    EXPECT_EQ(record_writer_begins(a), 0);
    __atomic_store_n(&a->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
    snprintf(r->path, sizeof r->path, "/proc/%d/fd/%d", getpid(), fd);
    r->area = a;
}

static inline struct stream *stream_of(struct reader *r,
                                       const struct record_ring *ring)
{
    for (size_t i = 0; i < r->nstreams; i++)
        if (r->stream[i].pid == ring->pid && r->stream[i].tid == ring->tid &&
            r->stream[i].process == ring->process)
            return &r->stream[i];
    EXPECT_LT(r->nstreams, STREAMS);
    struct stream *s = &r->stream[r->nstreams++];
    s->pid = ring->pid;
    s->tid = ring->tid;
    s->process = ring->process;
    s->last_ticks = ring->started_ticks;
    return s;
}

static inline void add_call(struct stream *s, const struct call *c)
{
    if (s->n == s->room) {
        s->room = s->room * 2 + 1000;
        s->call = realloc(s->call, s->room * sizeof *s->call);
        EXPECT(s->call != NULL);
    }
    s->call[s->n++] = *c;
}

/* One entry. Those that only belong to the next one are kept in pending. */
static inline void read_entry(struct stream *s, const struct record_entry *e)
{
    static uint64_t size, align, ticks;
    uint32_t kind = e->at & 15;
    EXPECT(kind > RECORD_NONE && kind <= RECORD_TIME);
    if (kind == RECORD_LONG)
        size = e->at >> 4;
    if (kind == RECORD_VALUE)
        align = e->at >> 4;
    if (kind == RECORD_TIME)
        ticks = e->at >> 4;
    if (kind >= RECORD_VALUE)
        return;
    const struct call c = {kind, s->tid, e->at & ~(uint64_t)15,
                           e->size == UINT32_MAX ? size : e->size, align};
    uint64_t now = e->ticks == UINT32_MAX ? ticks : s->last_ticks + e->ticks;
    EXPECT(now >= s->last_ticks && now <= record_ticks() + 1000000);
    s->last_ticks = now;
    align = 0;
    if (kind == RECORD_TOUCHED) {
        s->touched = c;
        s->ntouched++;
    } else {
        add_call(s, &c);
    }
}

static inline void drain_ring(struct reader *r, uint32_t number)
{
    struct record_ring *ring = &r->area->ring[number];
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    uint64_t tail = ring->tail;
    EXPECT_LE(head - tail, RECORD_RING_ENTRIES);
    struct stream *s = head != tail ? stream_of(r, ring) : NULL;
    for (; tail != head; tail++)
        read_entry(
            s, &record_entries(r->area, number)[tail % RECORD_RING_ENTRIES]);
    __atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
    if (__atomic_load_n(&ring->ended, __ATOMIC_ACQUIRE) == 0 ||
        __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) != tail)
        return;
    ring->ended = ring->tid = 0;
    ring->process = ring->lost = 0;
    __atomic_store_n(&ring->pid, 0, __ATOMIC_RELEASE);
}

static inline void reader_drain(struct reader *r)
{
    for (uint32_t i = 0; i < __atomic_load_n(&r->area->nused, __ATOMIC_ACQUIRE);
         i++)
        drain_ring(r, i);
}

#endif

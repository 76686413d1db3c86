/* SPDX-License-Identifier: MIT
 * record_pass.c - the recorder: reads the rings of all processes, again and
 * again.
 *
 * Processes that are recorded have nothing to do with each other: each one has
 * its own file and its own order.
 */
#include "../hakctl.h"
#include "record.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- begin and end ------------------------------------------------------- */

struct recorder *recorder_new(const struct recorder_options *options, char *why,
                              size_t n)
{
    struct recorder *r = calloc(1, sizeof *r);
    if (r != NULL)
        r->images = calloc(RECORD_PIDS, sizeof *r->images);
    if (r == NULL || r->images == NULL)
        ctl_die("no memory");
    r->fd = record_area_new(&r->area, r->path, sizeof r->path);
    if (r->fd < 0) {
        snprintf(why, n, "no memory can be shared with the program: %s",
                 strerror(-r->fd));
        free(r->images);
        free(r);
        return NULL;
    }
    struct stat space;
    if (stat("/proc/self/ns/pid", &space) == 0)
        r->pid_space = space.st_ino;
    r->options = *options;
    r->left = options->calls != 0 ? options->calls : UINT64_MAX;
    r->begun_ns = r->looked_ns = r->flushed_ns = r->area->begun_ns;
    for (uint32_t i = 0; i < RECORD_RINGS; i++) {
        r->stream[i].ring = &r->area->ring[i];
        r->stream[i].entry = record_entries(r->area, i);
    }
    return r;
}

void recorder_first(struct recorder *r, pid_t pid, const char *file)
{
    struct stat s;
    r->first = pid;
    r->file = file;
    r->one_file = stat(file, &s) == 0 && !S_ISREG(s.st_mode);
}

void recorder_free(struct recorder *r)
{
    record_area_free(r->area, r->fd);
    free(r->images);
    free(r);
}

bool recorder_runs(const struct recorder *r)
{
    return !r->stopped &&
           __atomic_load_n(&r->area->stopped, __ATOMIC_RELAXED) == 0;
}

void recorder_stop(struct recorder *r)
{
    __atomic_store_n(&r->area->stopped, 1, __ATOMIC_RELEASE);
    if (!r->stopped)
        r->ended_ns = record_now_ns();
    r->stopped = true;
}

/* ---- rings --------------------------------------------------------------- */

static bool is_there(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

/* Let another thread take the ring. What it was used for is over. The next
 * entry is the first of its memory, so that threads with few calls touch few
 * pages of each ring. */
static void give_back(struct recorder *r, struct record_stream *s)
{
    struct record_ring *ring = s->ring;
    if (s->of != NULL) {
        s->of->lost += __atomic_load_n(&ring->lost, __ATOMIC_RELAXED);
        recorded_remove(s->of, s);
    }
    uint64_t n = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    n += (0 - n) % RECORD_RING_ENTRIES;
    __atomic_store_n(&ring->head, n, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->tail, n, __ATOMIC_RELAXED);
    ring->lost = 0;
    ring->tid = 0;
    ring->process = 0;
    ring->pid_space = 0;
    __atomic_store_n(&ring->ended, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->pid, 0, __ATOMIC_RELEASE);
    *s = (struct record_stream){
        .ring = ring,
        .entry = record_entries(r->area, (uint32_t)(s - r->stream))};
}

/* Begin to read a ring that a thread has taken. Returns false: there is nothing
 * in it yet. */
static bool adopt(struct recorder *r, struct record_stream *s, pid_t pid,
                  bool look)
{
    struct record_ring *ring = s->ring;
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    s->tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    if (head == s->tail &&
        __atomic_load_n(&ring->ended, __ATOMIC_ACQUIRE) == 0) {
        if (look && ring->pid_space == r->pid_space && !is_there(pid))
            give_back(r, s);
        return false;
    }
    struct recorded *p = recorded_of(r, ring);
    if (p == NULL || !recorded_add(p, s))
        ctl_die("no memory");
    s->ticks = ring->started_ticks;
    return true;
}

/* Read the heads of all rings. Returns how many entries there are. */
static uint64_t read_heads(struct recorder *r, bool look)
{
    uint64_t n = 0;
    uint32_t nused = __atomic_load_n(&r->area->nused, __ATOMIC_ACQUIRE);
    if (nused > RECORD_RINGS)
        nused = RECORD_RINGS;
    for (uint32_t i = 0; i < nused; i++) {
        struct record_stream *s = &r->stream[i];
        uint32_t pid = __atomic_load_n(&s->ring->pid, __ATOMIC_ACQUIRE);
        if (pid == 0 || (s->of == NULL && !adopt(r, s, (pid_t)pid, look)))
            continue;
        s->head = __atomic_load_n(&s->ring->head, __ATOMIC_ACQUIRE);
        if (s->head - s->tail > RECORD_RING_ENTRIES) { /* a fault's work */
            s->tail = s->head;
            __atomic_store_n(&s->ring->tail, s->tail, __ATOMIC_RELEASE);
        }
        n += s->head - s->tail;
    }
    return n;
}

/* Give back the rings that nobody puts anything into any more. `ended` is read
 * before head, since it is set after the last entry. */
static void return_rings(struct recorder *r, struct recorded *p)
{
    for (uint32_t i = p->nstreams; i-- != 0;) {
        struct record_stream *s = p->stream[i];
        bool ended = __atomic_load_n(&s->ring->ended, __ATOMIC_ACQUIRE) != 0;
        bool empty =
            s->tail == __atomic_load_n(&s->ring->head, __ATOMIC_ACQUIRE);
        if ((!ended && !p->drained) || (!empty && !p->drained))
            continue;
        if (ended && s->thread != UINT32_MAX && !recorded_ended(p, s))
            ctl_die("no memory");
        give_back(r, s);
    }
}

/* ---- the pass ------------------------------------------------------------ */

/* The longer it is since the beginning, the better the two clocks are compared.
 */
static void set_clock(struct recorder *r)
{
    uint64_t ticks = record_ticks() - r->area->begun_ticks;
    uint64_t ns = record_now_ns() - r->area->begun_ns;
    r->ns_per_tick = ticks != 0 && ns != 0 ? (double)ns / (double)ticks : 1.0;
}

/* Take what the rings have; all: even what other threads might explain later.
 */
static uint64_t take_all(struct recorder *r, bool look, bool all)
{
    set_clock(r);
    uint64_t taken = 0, slack = (uint64_t)(RECORD_SLACK_NS / r->ns_per_tick);
    uint64_t cut = record_ticks() - slack;
    for (struct recorded *p = r->processes; p != NULL; p = p->link)
        p->drained = p->gone;
    read_heads(r, look);
    r->read_ticks = record_ticks() + slack;
    for (struct recorded *p = r->processes; p != NULL; p = p->link) {
        if (r->left != 0)
            taken += record_merge(p, all || p->drained ? UINT64_MAX : cut);
        return_rings(r, p);
    }
    return taken;
}

static void do_now_and_then(struct recorder *r, bool look, uint64_t now)
{
    if (look) {
        recorded_look(r);
        r->looked_ns = now;
    }
    if (now - r->flushed_ns >= RECORD_FLUSH_NS) {
        recorded_flush(r);
        r->flushed_ns = now;
    }
    if (r->left == 0 || (r->options.duration_ns != 0 &&
                         now - r->begun_ns >= r->options.duration_ns))
        recorder_stop(r);
}

uint64_t recorder_pass(struct recorder *r)
{
    uint64_t now = record_now_ns();
    bool look = now - r->looked_ns >= RECORD_LOOK_NS;
    uint64_t taken = take_all(r, look, false);
    recorded_finish(r, false);
    do_now_and_then(r, look, now);
    return taken;
}

/* If nothing could be taken, a ring that is half full is no reason not to wait.
 */
void recorder_sleep(struct recorder *r, uint64_t taken)
{
    const struct timespec most = {.tv_nsec = RECORD_SLEEP_NS};
    uint32_t seen = __atomic_load_n(&r->area->wake, __ATOMIC_ACQUIRE);
    uint32_t nused = __atomic_load_n(&r->area->nused, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; taken != 0 && i < nused && i < RECORD_RINGS; i++) {
        const struct record_ring *ring = &r->area->ring[i];
        if (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) -
                __atomic_load_n(&ring->tail, __ATOMIC_RELAXED) >=
            RECORD_RING_ENTRIES / 2)
            return;
    }
    syscall(SYS_futex, &r->area->wake, FUTEX_WAIT, seen, &most, NULL, 0);
}

size_t recorder_end(struct recorder *r)
{
    size_t nrunning = 0;
    recorder_stop(r);
    recorded_look(r);
    for (struct recorded *p = r->processes; p != NULL; p = p->link)
        nrunning += !p->gone;
    take_all(r, true, true);
    recorded_finish(r, true);
    r->totals.lost += __atomic_load_n(&r->area->lost, __ATOMIC_RELAXED);
    return nrunning;
}

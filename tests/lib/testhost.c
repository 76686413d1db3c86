/* SPDX-License-Identifier: MIT
 * testhost.c - the host table, threads and fork, see testhost.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <modules/foreign/foreign.h>

#include "random.h"
#include "testhost_private.h"

struct th_state th = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
};
__thread struct hak_thread *th_me, *th_closing;

static struct hak_thread *ended, *idle, *parked;
static uint64_t clock_ms = 1000000, delay_ms = 1000;
static char log_text[512];

__attribute__((noreturn, format(printf, 2, 3))) void
th_die(const struct hak_box *box, const char *format, ...)
{
    char text[600];
    int n =
        snprintf(text, sizeof text,
                 "testhost: box %s: ", box && box->name ? box->name : "(none)");
    va_list ap;
    va_start(ap, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, ap);
    va_end(ap);
    n = n > (int)sizeof text - 2 ? (int)sizeof text - 2 : n;
    text[n++] = '\n';
    (void)!write(2, text, (size_t)n);
    abort();
}

void th_need_box(const struct hak_box *box)
{
    for (uint32_t i = 0; i < HAK_MAX_BOXES; i++)
        if (box == &th.boxes[i].box)
            return;
    th_die(NULL, "a host call with box %p, which is no box", (const void *)box);
}

static struct hak_span *host_span_of(const void *p)
{
    return span_at(p);
}

void *th_heap(struct hak_box *box, bool open)
{
    th_need_box(box);
    if (!th_me && !open)
        return NULL;
    struct hak_thread *t = th_attach();
    uint32_t i = box->index;
    if (t->heap[i] || !open || !box->ops->heap_open)
        return t->heap[i];
    if (box->state_now != HAK_BOX_ACTIVE)
        return NULL;
    if (t->open[i])
        th_die(box, "heap(open) inside heap_open");
    t->open[i] = true;
    t->heap[i] = box->ops->heap_open(box, t);
    t->open[i] = false;
    return t->heap[i];
}

static uint64_t host_now_ms(void)
{
    return __atomic_load_n(&clock_ms, __ATOMIC_RELAXED);
}

static uint64_t host_purge_delay_ms(void)
{
    return __atomic_load_n(&delay_ms, __ATOMIC_RELAXED);
}

/* Of a counter: the same run gives the same numbers. */
static uint64_t host_random(void)
{
    static uint64_t state;
    return random_mix(
        __atomic_add_fetch(&state, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED));
}

/* The conversions that box.h allows to boxes, and no other. */
static void need_format(struct hak_box *box, const char *format)
{
    static const char *const good[] = {"s", "d", "u", "x", "zu", "lu", "p"};
    for (const char *f = strchr(format, '%'); f; f = strchr(f + 1, '%')) {
        bool found = false;
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
            found |= strncmp(f + 1, good[i], strlen(good[i])) == 0;
        if (!found)
            th_die(box, "log(\"%s\"): conversion not in box.h", format);
    }
}

__attribute__((format(printf, 3, 4))) static void
host_log(struct hak_box *box, enum hak_log_level level, const char *format, ...)
{
    th_need_box(box);
    if ((unsigned)level > HAK_LOG_INFO)
        th_die(box, "log: level %d", (int)level);
    need_format(box, format);
    char text[512];
    int n = snprintf(text, sizeof text, "hakmem: box %s: ", box->name);
    va_list ap;
    va_start(ap, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, ap);
    va_end(ap);
    n = n > (int)sizeof text - 2 ? (int)sizeof text - 2 : n;
    memcpy(log_text, text, (size_t)n + 1);
    text[n++] = '\n';
    (void)!write(2, text, (size_t)n);
}

static const void *host_get_extension(const char *id)
{
    return strcmp(id, HAK_FOREIGN_1) == 0 ? &hak_ffi_table : NULL;
}

/* ---- retires ----------------------------------------------------------- */

static struct th_retires retires;

static void host_retired(struct hak_box *box, const struct hak_retire *r)
{
    th_need_box(box);
    if (r->struct_bytes < sizeof *r || r->slot_bytes == 0 ||
        r->used > r->capacity || r->frees > r->allocations ||
        r->local_frees > r->frees)
        th_die(box,
               "retired: %zu bytes of record, slots of %u, %u of %u used, "
               "%lu allocations, %lu frees, %lu of them local",
               r->struct_bytes, r->slot_bytes, r->used, r->capacity,
               r->allocations, r->frees, r->local_frees);
    pthread_mutex_lock(&th.lock);
    retires.n++;
    retires.allocations += r->allocations;
    retires.frees += r->frees;
    retires.local_frees += r->local_frees;
    retires.last = *r;
    pthread_mutex_unlock(&th.lock);
}

struct th_retires th_retires(void)
{
    pthread_mutex_lock(&th.lock);
    struct th_retires now = retires;
    pthread_mutex_unlock(&th.lock);
    return now;
}

/* ---- the machine ------------------------------------------------------- */

static void host_read_only(struct hak_box *box, void *p, size_t size_bytes)
{
    th_need_box(box);
    if ((uintptr_t)p % PAGE != 0 || size_bytes == 0 ||
        box->state_now != HAK_BOX_LOADED)
        th_die(box, "read_only(%p, %zu): of guarded metadata, in init", p,
               size_bytes);
    mprotect(p, (size_bytes + PAGE - 1) & ~(size_t)(PAGE - 1), PROT_READ);
}

static uint32_t host_ncpus(void)
{
    return 2;
}

static uint32_t host_nmappings(void)
{
    return 65530;
}

static void *host_window_table(struct hak_box *box, uint32_t bits)
{
    if (bits == 0 || bits > 64 || (bits & (bits - 1)) != 0)
        th_die(box, "window_table(%u): a power of two up to 64", bits);
    return th_meta(box, (th.window_bytes >> HAK_GRANULE_SHIFT) * bits / 8);
}

static struct hak_host host = {
    .struct_size = sizeof(struct hak_host),
    .abi_major = HAK_ABI_MAJOR,
    .abi_minor = HAK_ABI_MINOR,
    .os_page_bytes = PAGE,
    .map = th_map,
    .unmap = th_unmap,
    .purge = th_purge,
    .remap = th_remap,
    .meta = th_meta,
    .span_set = th_span_set,
    .span_of = host_span_of,
    .lane_drop = th_lane_drop,
    .heap = th_heap,
    .now_ms = host_now_ms,
    .purge_delay_ms = host_purge_delay_ms,
    .random = host_random,
    .log = host_log,
    .get_extension = host_get_extension,
    .retired = host_retired,
    .reserve = th_reserve_granules,
    .unreserve = th_unreserve,
    .open_pages = th_open_pages,
    .close_pages = th_close_pages,
    .meta_guarded = th_meta_guarded,
    .granule_bytes = HAK_GRANULE_BYTES,
    .lanes = HAK_LANES,
    .read_only = host_read_only,
    .ncpus = host_ncpus,
    .nmappings = host_nmappings,
    .window_table = host_window_table,
};

static void start(void)
{
    th_start();
    host.window_base = th.window;
    host.window_bytes = th.window_bytes;
}

const struct hak_host *th_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    return &host;
}

/* ---- threads ----------------------------------------------------------- */

struct hak_thread *th_attach(void)
{
    if (th_me)
        return th_me;
    th_host();
    pthread_mutex_lock(&th.lock);
    struct hak_thread **from = parked ? &parked : &idle;
    bool as_it_was = parked != NULL;
    if ((th_me = *from))
        *from = th_me->next;
    pthread_mutex_unlock(&th.lock);
    if (as_it_was)
        return th_me;
    if (!th_me)
        th_me = th_reserve(sizeof *th_me, PROT_READ | PROT_WRITE);
    if (!th_me)
        th_die(NULL, "no memory for a thread");
    memset(th_me, 0, sizeof *th_me);
    return th_me;
}

struct hak_thread *th_self(void)
{
    return th_me;
}

void th_flush(void)
{
    if (th_me)
        memset(th_me->lane, 0, sizeof th_me->lane);
}

static void leave(struct hak_thread **list)
{
    if (!th_me)
        return;
    pthread_mutex_lock(&th.lock);
    th_me->next = *list;
    *list = th_me;
    pthread_mutex_unlock(&th.lock);
    th_me = NULL;
}

void th_detach(void)
{
    leave(&ended);
}

void th_park(void)
{
    leave(&parked);
}

static void check_disowned(struct hak_box *box, struct hak_thread *t)
{
    for (size_t g = 0; g < top(); g++) {
        struct hak_span *span =
            box_at(at_granule(g)) == box ? granule_span(g) : NULL;
        if (span && __atomic_load_n(&span->owner, __ATOMIC_RELAXED) == t)
            th_die(box,
                   "after heap_close the span of %p names the closed thread",
                   at_granule(g));
    }
    for (uint32_t i = 0; i < HAK_LANES; i++)
        if (t->lane[box->index][i])
            th_die(box, "heap_close left a span in the lane of %zu bytes",
                   hak_index_bytes(i));
}

static void close_heaps(struct hak_thread *t)
{
    bool kept = false;
    for (uint32_t i = 0; i < th.nboxes; i++) {
        struct hak_box *box = &th.boxes[i].box;
        if (!t->heap[i])
            continue;
        if (!box->ops->heap_close) {
            kept = true; /* its spans name the thread for ever */
            continue;
        }
        th_closing = t;
        box->ops->heap_close(box, t->heap[i]);
        th_closing = NULL;
        check_disowned(box, t);
    }
    if (kept)
        return;
    pthread_mutex_lock(&th.lock);
    t->next = idle;
    idle = t;
    pthread_mutex_unlock(&th.lock);
}

static struct hak_thread *take_ended(bool newest)
{
    pthread_mutex_lock(&th.lock);
    struct hak_thread **at = &ended;
    while (!newest && *at && (*at)->next)
        at = &(*at)->next;
    struct hak_thread *t = *at;
    if (t)
        *at = t->next;
    pthread_mutex_unlock(&th.lock);
    return t;
}

void th_reap(void)
{
    struct hak_thread *t;
    while ((t = take_ended(false)))
        close_heaps(t);
}

void th_reap_newest(void)
{
    struct hak_thread *t;
    while ((t = take_ended(true)))
        close_heaps(t);
}

struct run {
    void *(*run)(void *);
    void *argument;
};

static void *run_thread(void *argument)
{
    struct run run = *(struct run *)argument;
    free(argument);
    void *result = run.run(run.argument);
    th_detach();
    return result;
}

pthread_t th_spawn(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    struct run *r = malloc(sizeof *r);
    if (!r)
        th_die(NULL, "test: no memory");
    *r = (struct run){run, argument};
    int error = pthread_create(&thread, NULL, run_thread, r);
    if (error)
        th_die(NULL, "test: pthread_create: %d", error);
    return thread;
}

void th_join(pthread_t thread)
{
    pthread_join(thread, NULL);
    th_reap();
}

static void fork_boxes(enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < th.nboxes; i++)
        if (th.boxes[i].ops.fork)
            th.boxes[i].ops.fork(&th.boxes[i].box, phase);
}

pid_t th_fork(void)
{
    fork_boxes(HAK_FORK_PREPARE);
    pthread_mutex_lock(&th.lock);
    pid_t pid = fork();
    pthread_mutex_unlock(&th.lock);
    fork_boxes(pid ? HAK_FORK_PARENT : HAK_FORK_CHILD);
    return pid;
}

/* ---- clock and log ----------------------------------------------------- */

const char *th_last_log(void)
{
    return log_text;
}

void th_clock_add(uint64_t ms)
{
    __atomic_fetch_add(&clock_ms, ms, __ATOMIC_RELAXED);
}

void th_purge_delay(uint64_t ms)
{
    __atomic_store_n(&delay_ms, ms, __ATOMIC_RELAXED);
}

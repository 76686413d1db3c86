/* SPDX-License-Identifier: MIT
 * area.c - the memory that is shared with the writer: mapped, left, waited for.
 *
 * The descriptor is closed as soon as the memory is mapped, so the program
 * finds none that it did not open. A child of fork has the mapping too, and
 * goes on in it with rings of its own.
 */
#include "record_module.h"

#include <base/os.h>
#include <base/why.h>
#include <kit/sync.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct record_self hak_record_self;

enum {
    /* Calls of a thread that finds no ring until it looks again. */
    PAUSE_CALLS = 1000,
    HALF = RECORD_RING_ENTRIES / 2,
    QUARTER = RECORD_RING_ENTRIES / 4,
    WAIT_LEAST_US = 50,
    WAIT_MOST_US = 2000,
};

/* ---- begin ---- */

static int refuse(int error, char *why, size_t n)
{
    return hak_refuse(error, why, n, "%s", strerrordesc_np(-error));
}

/* Is what is mapped there an area that this module can use? */
static int check_area(const struct record_area *a, char *why, size_t n)
{
    if (__atomic_load_n(&a->magic, __ATOMIC_ACQUIRE) != RECORD_MAGIC)
        return hak_refuse(-EINVAL, why, n, "it is no memory of hakctl record");
    if (a->version != RECORD_VERSION || a->nrings != RECORD_RINGS ||
        a->ring_entries != RECORD_RING_ENTRIES)
        return hak_refuse(-EINVAL, why, n,
                          "hakctl record is of another version than this "
                          "library; install both together");
    if (__atomic_load_n(&a->stopped, __ATOMIC_ACQUIRE) != 0 ||
        !record_writer_lives(a))
        return hak_refuse(-EPIPE, why, n, "hakctl record has ended");
    return 0;
}

/* The entries are left inaccessible, so that mlockall makes none of them
 * resident; open_entries opens those of a ring that is taken. */
static int map_area(int fd, struct record_area **out, char *why, size_t n)
{
    struct stat st;
    if (hak_os_fstat(fd, &st) != 0)
        return refuse(-errno, why, n);
    if (!S_ISREG(st.st_mode) || st.st_size != (off_t)RECORD_AREA_BYTES)
        return hak_refuse(-EINVAL, why, n, "it is no memory of hakctl record");
    void *p = mmap(NULL, RECORD_AREA_BYTES, PROT_NONE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return refuse(-errno, why, n);
    int error = mprotect(p, RECORD_HEAD_BYTES, PROT_READ | PROT_WRITE) == 0
                    ? check_area(p, why, n)
                    : refuse(-errno, why, n);
    if (error != 0) {
        munmap(p, RECORD_AREA_BYTES);
        return error;
    }
    madvise(p, RECORD_AREA_BYTES, MADV_DONTDUMP); /* no part of a core dump */
    *out = p;
    return 0;
}

/* A file that is no memory, as a pipe, must not block the program. */
static int open_area(const char *path, struct record_area **out, char *why,
                     size_t n)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(-errno, why, n);
    int error = map_area(fd, out, why, n);
    close(fd);
    return error;
}

static uint64_t pid_space_now(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* Where the kernel has no MADV_WIPEONFORK, only fork() is seen. */
static bool make_page(void)
{
    size_t bytes = hak_os_page_bytes();
    if (hak_record_self.page != NULL)
        return true;
    void *p = hak_os_map(bytes, PROT_READ | PROT_WRITE);
    if (p == NULL)
        return false;
    madvise(p, bytes, MADV_WIPEONFORK);
    hak_record_self.page = p;
    return true;
}

static void begin_process(void)
{
    uint64_t none = 0;
    __atomic_compare_exchange_n(&hak_record_self.page->process, &none,
                                hak_max(record_ticks(), 1), false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool is_recording(void)
{
    return __atomic_load_n(&hak_record_self.recording, __ATOMIC_ACQUIRE);
}

int hak_record_begin(const char *path, char *why, size_t n)
{
    struct record_self *s = &hak_record_self;
    if (is_recording())
        return hak_refuse(-EBUSY, why, n, "the process is recorded already");
    if (!hak_record_leave(1000))
        return hak_refuse(-EAGAIN, why, n,
                          "threads still leave the recording before");
    if (!make_page() || !hak_record_large_start(s->host))
        return refuse(-ENOMEM, why, n);
    int error = open_area(path, &s->area, why, n);
    if (error != 0)
        return error;
    s->pid_space = pid_space_now();
    hak_record_large_forget();
    begin_process();
    __atomic_store_n(&s->recording, true, __ATOMIC_RELEASE);
    error = s->host->watch_calls(s->host, &hak_record_calls);
    if (error == 0)
        return 0;
    hak_record_end(false);
    hak_record_leave(1000);
    return error == -EBUSY
               ? hak_refuse(error, why, n, "another module watches the calls")
               : refuse(error, why, n);
}

/* ---- end ---- */

static void set_process(uint64_t process)
{
    __atomic_store_n(&hak_record_self.page->process, process, __ATOMIC_RELEASE);
}

/* The calls are not told any more, but some may be under way. The barrier is
 * that of watch_calls. */
void hak_record_end(bool for_all)
{
    struct record_self *s = &hak_record_self;
    int kept = errno;
    if (!__atomic_exchange_n(&s->recording, false, __ATOMIC_ACQ_REL))
        return;
    if (for_all)
        __atomic_store_n(&s->area->stopped, 1, __ATOMIC_RELEASE);
    set_process(0);
    s->host->watch_calls(s->host, NULL);
    __atomic_store_n(&s->leaving, true, __ATOMIC_RELEASE);
    s->host->want(s->host);
    errno = kept;
}

static void note_busy(void *any, void *word)
{
    const struct record_thread *th = word;
    if (th != NULL && __atomic_load_n(&th->busy, __ATOMIC_ACQUIRE) != 0)
        *(bool *)any = true;
}

static bool all_have_left(uint32_t *wait_ms)
{
    for (;;) {
        bool busy = false;
        hak_record_self.host->each_slot(hak_record_self.host, note_busy, &busy);
        if (!busy || *wait_ms == 0)
            return !busy;
        const struct timespec ms = {.tv_nsec = 1000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &ms, NULL);
        --*wait_ms;
    }
}

/* A thread that saw `recording` before it ended may have begun the process anew
 * afterwards (hak_record_take_ring). After the first look none does any more.
 */
bool hak_record_leave(uint32_t wait_ms)
{
    struct record_self *s = &hak_record_self;
    if (!__atomic_load_n(&s->leaving, __ATOMIC_ACQUIRE))
        return true;
    if (!all_have_left(&wait_ms))
        return false;
    set_process(0);
    hak_os_barrier();
    if (!all_have_left(&wait_ms) ||
        !__atomic_exchange_n(&s->leaving, false, __ATOMIC_ACQ_REL))
        return false;
    hak_record_tell_lost();
    munmap(s->area, RECORD_AREA_BYTES);
    s->area = NULL;
    return true;
}

void hak_record_tell_lost(void)
{
    uint64_t n =
        __atomic_exchange_n(&hak_record_self.nlost, 0, __ATOMIC_RELAXED);
    if (n != 0)
        __atomic_add_fetch(&hak_record_self.area->lost, n, __ATOMIC_RELAXED);
}

/* The other threads of the parent do not exist here. They may have been busy.
 */
static void clear_busy(void *unused, void *word)
{
    struct record_thread *th = word;
    (void)unused;
    if (th != NULL)
        __atomic_store_n(&th->busy, 0, __ATOMIC_RELAXED);
}

void hak_record_forked(void)
{
    struct record_self *s = &hak_record_self;
    if (s->page == NULL)
        return;
    set_process(0);
    s->host->each_slot(s->host, clear_busy, NULL);
    s->nlost = 0;
    hak_record_large_forget();
    if (s->recording)
        s->pid_space = pid_space_now();
}

/* ---- rings ---- */

static struct record_ring *free_ring(uint32_t *number)
{
    struct record_area *a = hak_record_self.area;
    uint32_t pid = (uint32_t)getpid();
    for (uint32_t i = 0; i < RECORD_RINGS; i++) {
        uint32_t none = 0;
        struct record_ring *r = &a->ring[i];
        if (__atomic_load_n(&r->pid, __ATOMIC_RELAXED) != 0 ||
            !__atomic_compare_exchange_n(&r->pid, &none, pid, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        uint32_t used = __atomic_load_n(&a->nused, __ATOMIC_RELAXED);
        while (used <= i &&
               !__atomic_compare_exchange_n(&a->nused, &used, i + 1, true,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            ;
        *number = i;
        return r;
    }
    return NULL;
}

/* They stay open: the ring's next thread finds them so, also in a child. */
static struct record_entry *open_entries(uint32_t ring)
{
    struct record_entry *at = record_entries(hak_record_self.area, ring);
    int kept = errno;
    bool opened = mprotect(at, RECORD_RING_ENTRIES * sizeof *at,
                           PROT_READ | PROT_WRITE) == 0;
    errno = kept;
    return opened ? at : NULL;
}

/* A ring with its entries, or NULL. One whose entries cannot be opened (the
 * process has too many mappings) goes back. */
static struct record_ring *take_free_ring(struct record_entry **entries)
{
    uint32_t number;
    struct record_ring *r = free_ring(&number);
    if (r == NULL || (*entries = open_entries(number)) != NULL)
        return r;
    __atomic_store_n(&r->pid, 0, __ATOMIC_RELEASE);
    return NULL;
}

/* The ring of before, if there is one, is of the parent of this child, or of a
 * recording that is over. */
bool hak_record_take_ring(struct record_thread *th)
{
    th->process = 0;
    if (!is_recording())
        return false;
    begin_process();
    hak_record_tell_lost();
    struct record_ring *r = NULL;
    if (th->pause == 0)
        r = take_free_ring(&th->entries);
    if (r == NULL) {
        th->pause = th->pause == 0 ? PAUSE_CALLS : th->pause - 1;
        hak_record_count_lost();
        return false;
    }
    th->ring = r;
    th->head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
    th->look_at = th->head;
    th->last_ticks = record_ticks();
    th->process = hak_record_process_now();
    r->tid = (uint32_t)gettid();
    r->process = th->process;
    r->pid_space = hak_record_self.pid_space;
    r->started_ticks = th->last_ticks;
    return true;
}

/* ---- the writer ---- */

static void wake_writer(struct record_area *a)
{
    __atomic_add_fetch(&a->wake, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &a->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Sleep until the writer may have read some. It does not wake us. */
static void sleep_us(const struct record_ring *r, uint64_t tail, uint32_t us)
{
    const struct timespec most = {.tv_nsec = (long)us * 1000};
    syscall(SYS_futex, &r->tail, FUTEX_WAIT, (uint32_t)tail, &most, NULL, 0);
}

/* Wait until th's ring has room. False: recording is over. */
static bool wait_for_room(struct record_thread *th, uint64_t *tail)
{
    struct record_area *a = hak_record_self.area;
    for (uint32_t us = WAIT_LEAST_US;; us += us < WAIT_MOST_US ? us : 0) {
        *tail = __atomic_load_n(&th->ring->tail, __ATOMIC_ACQUIRE);
        if (hak_record_process_now() != th->process)
            return false;
        if (__atomic_load_n(&a->stopped, __ATOMIC_ACQUIRE) != 0 ||
            !record_writer_lives(a)) {
            hak_record_end(false);
            return false;
        }
        if (th->head - *tail <= RECORD_RING_ENTRIES - RECORD_ROOM)
            return true;
        wake_writer(a);
        sleep_us(th->ring, *tail, us);
    }
}

bool hak_record_look(struct record_thread *th)
{
    uint64_t tail = __atomic_load_n(&th->ring->tail, __ATOMIC_ACQUIRE);
    int kept = errno;
    if (th->head - tail >= HALF) {
        hak_record_tell_lost();
        wake_writer(hak_record_self.area);
    }
    bool room = wait_for_room(th, &tail);
    errno = kept;
    if (!room)
        return false;
    th->look_at = th->head - tail < HALF
                      ? tail + HALF
                      : hak_min(th->head + QUARTER,
                                tail + RECORD_RING_ENTRIES - RECORD_ROOM + 1);
    return true;
}

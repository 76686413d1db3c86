/* SPDX-License-Identifier: MIT
 * record_process.c - the processes that are recorded: their files, their
 * memory, their ends.
 *
 * A file is begun when there is something to be written into it, and ended when
 * its process is. So there are as many descriptors as processes that live.
 */
#include "../hakctl.h"
#include "record.h"

#include <hakmem/version.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- names --------------------------------------------------------------- */

/* FILE for the first process; FILE with the pid before its suffix for others. A
 * pid that has been another program before gets its number, too. */
static char *name_of(const struct recorder *r, pid_t pid, unsigned image)
{
    const char *file = r->file;
    const char *slash = strrchr(file, '/'), *dot = strrchr(file, '.');
    char again[16] = "", *name = NULL;
    if (dot == NULL || dot == file || (slash != NULL && dot <= slash + 1))
        dot = file + strlen(file);
    if (image > 1)
        snprintf(again, sizeof again, "-%u", image);
    int n = pid == r->first && image == 1
                ? asprintf(&name, "%s", file)
                : asprintf(&name, "%.*s.%d%s%s", (int)(dot - file), file,
                           (int)pid, again, dot);
    if (n < 0)
        ctl_die("no memory");
    return name;
}

/* ---- what a file says of its process ------------------------------------- */

static char *read_words(pid_t pid, size_t *n)
{
    enum { MOST = 64 << 10 };
    char path[32], *words = malloc(MOST + 1);
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = words != NULL && fd >= 0 ? read(fd, words, MOST) : 0;
    if (fd >= 0)
        close(fd);
    *n = got > 0 ? (size_t)got : 0;
    if (words != NULL)
        words[*n] = 0;
    return words;
}

static void print_word(FILE *out, const char **comma, const char *word)
{
    fputs(*comma, out);
    ctl_json(out, word);
    *comma = ",";
}

/* The words of the first program are those that hakctl was given, since it may
 * have called exec before it is seen. For the same reason those of a program
 * that is gone are not in /proc any more. */
static void print_words(FILE *out, const struct recorded *p)
{
    const struct recorder *r = p->recorder;
    const char *comma = "";
    char *const *given = NULL;
    size_t n = 0;
    if (strcmp(p->file, r->file) == 0)
        given = r->options.program;
    char *words = given != NULL || p->elsewhere || p->gone
                      ? NULL
                      : read_words(p->pid, &n);
    fputs(",\"program\":[", out);
    for (; given != NULL && *given != NULL; given++)
        print_word(out, &comma, *given);
    for (size_t at = 0; at < n; at += strlen(words + at) + 1)
        print_word(out, &comma, words + at);
    fputc(']', out);
    free(words);
}

/* The JSON object of trace_create. The caller frees it. */
static char *describe(const struct recorded *p)
{
    char *text = NULL, started[32];
    size_t n = 0;
    time_t now = time(NULL);
    FILE *out = open_memstream(&text, &n);
    struct tm t;
    if (out == NULL)
        ctl_die("no memory");
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &t));
    fprintf(out,
            "{\"source\":\"record\",\"hakmem\":\"%s\",\"pid\":%d,"
            "\"started\":\"%s\",\"page_size\":%ld,\"conf\":",
            HAK_VERSION, (int)p->pid, started, sysconf(_SC_PAGESIZE));
    ctl_json(out, p->recorder->options.conf);
    print_words(out, p);
    fputc('}', out);
    if (fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

/* ---- writing ------------------------------------------------------------- */

static void fail(struct recorded *p, int error)
{
    struct recorder *r = p->recorder;
    p->failed = true;
    if (!r->failed)
        ctl_say("record: cannot write %s: %s; the recording stops, the program "
                "goes on. The file can be read up to its last whole block",
                p->file, strerror(-error));
    r->failed = true;
    r->left = 0;
    recorder_stop(r);
}

/* Another process than the first is left out if its file cannot be begun. */
static void begin_file(struct recorded *p)
{
    struct recorder *r = p->recorder;
    char why[256] = "", *about = NULL;
    bool first = strcmp(p->file, r->file) == 0;
    if (!first && r->one_file) {
        p->failed = true;
        return;
    }
    about = describe(p);
    p->writer = trace_create(p->file, about, why, sizeof why);
    free(about);
    if (p->writer != NULL)
        return;
    p->failed = true;
    if (!r->told)
        ctl_say("record: process %d is not recorded: %s: %s", (int)p->pid,
                p->file, why);
    r->told = true;
    r->failed |= first;
    if (first)
        recorder_stop(r);
}

static bool is_call(enum trace_kind kind)
{
    return kind <= TRACE_FREE_NULL;
}

void recorded_put(struct recorded *p, struct trace_op *op, uint64_t ticks)
{
    struct recorder *r = p->recorder;
    if (p->writer == NULL && !p->failed)
        begin_file(p);
    if (p->failed)
        return;
    int64_t since = (int64_t)(ticks - r->area->begun_ticks);
    uint64_t ns = since > 0 && ticks != 0
                      ? (uint64_t)((double)since * r->ns_per_tick)
                      : 0;
    if (ns > p->time_ns)
        p->time_ns = ns;
    op->time_ns = p->time_ns;
    int error = trace_put(p->writer, op);
    if (error != 0) {
        fail(p, error);
        return;
    }
    p->thread = op->thread;
    p->unflushed = true;
    if (!is_call(op->kind))
        return;
    p->ncalls++;
    if (r->left != 0)
        r->left--;
}

void recorded_flush(struct recorder *r)
{
    for (struct recorded *p = r->processes; p != NULL; p = p->link) {
        int error = 0;
        if (p->writer != NULL && p->unflushed && !p->failed)
            error = trace_flush(p->writer);
        p->unflushed = false;
        if (error != 0)
            fail(p, error);
    }
}

/* ---- the list ------------------------------------------------------------ */

/* The pid of a program that has called exec is that of the new program, too. */
static void end_former(const struct recorder *r, const struct recorded *latter)
{
    for (struct recorded *p = r->processes; p != NULL; p = p->link)
        p->gone |= p->pid == latter->pid && !p->elsewhere;
}

static void find_process(struct recorded *p)
{
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    p->gone = p->pidfd < 0 && errno == ESRCH;
}

struct recorded *recorded_of(struct recorder *r, const struct record_ring *ring)
{
    const pid_t pid = (pid_t)(ring->pid % RECORD_PIDS);
    for (struct recorded *p = r->processes; p != NULL; p = p->link)
        if (p->pid == pid && p->process == ring->process)
            return p;
    struct recorded *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->recorder = r;
    p->pid = pid;
    p->process = ring->process;
    p->elsewhere = ring->pid_space != 0 && ring->pid_space != r->pid_space;
    p->pidfd = -1;
    if (!p->elsewhere) {
        end_former(r, p);
        find_process(p);
    }
    p->file = name_of(r, pid, ++r->images[pid]);
    p->link = r->processes;
    r->processes = p;
    return p;
}

/* The number that a thread had before it took another ring; UINT32_MAX: it is
 * new. */
static uint32_t resume(struct recorded *p, uint32_t tid)
{
    for (uint32_t i = 0; i < p->nended; i++)
        if (p->ended[i].tid == tid) {
            uint32_t thread = p->ended[i].thread;
            p->ended[i] = p->ended[--p->nended];
            return thread;
        }
    return UINT32_MAX;
}

bool recorded_ended(struct recorded *p, const struct record_stream *s)
{
    if (p->nended == p->ended_room) {
        uint32_t room = p->ended_room == 0 ? 8 : 2 * p->ended_room;
        void *more = reallocarray(p->ended, room, sizeof *p->ended);
        if (more == NULL)
            return false;
        p->ended = more;
        p->ended_room = room;
    }
    p->ended[p->nended++] =
        (struct record_ended){.tid = s->ring->tid, .thread = s->thread};
    return true;
}

/* Write of threads that they have ended. all: also of those that have just done
 * so. */
static void put_ended(struct recorded *p, bool all)
{
    uint32_t nkept = 0;
    for (uint32_t i = 0; i < p->nended; i++) {
        struct record_ended *e = &p->ended[i];
        struct trace_op op = {.kind = TRACE_ENDED, .thread = e->thread};
        if (all || e->nlooks++ != 0)
            recorded_put(p, &op, 0);
        else
            p->ended[nkept++] = *e;
    }
    p->nended = nkept;
}

bool recorded_add(struct recorded *p, struct record_stream *s)
{
    if (p->nstreams == p->stream_room) {
        uint32_t room = p->stream_room == 0 ? 8 : 2 * p->stream_room;
        void *more = reallocarray(p->stream, room, sizeof(void *));
        if (more == NULL)
            return false;
        p->stream = more;
        p->stream_room = room;
    }
    p->stream[p->nstreams++] = s;
    s->of = p;
    s->thread = resume(p, s->ring->tid);
    return true;
}

void recorded_remove(struct recorded *p, struct record_stream *s)
{
    for (uint32_t i = 0; i < p->nstreams; i++)
        if (p->stream[i] == s) {
            p->stream[i] = p->stream[--p->nstreams];
            break;
        }
    if (p->last == s)
        p->last = NULL;
    s->of = NULL;
}

/* ---- processes that live ------------------------------------------------- */

static bool has_ended(const struct recorded *p)
{
    struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
    if (p->elsewhere)
        return false;
    if (p->pidfd < 0)
        return kill(p->pid, 0) != 0 && errno == ESRCH;
    return poll(&end, 1, 0) == 1;
}

/* Anonymous memory of a process in RAM: resident, without what is of files or
 * shared. 0: unknown. */
static uint64_t resident_bytes(pid_t pid)
{
    char path[32], line[128], *at = line;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof line - 1) : 0;
    if (fd >= 0)
        close(fd);
    line[n > 0 ? n : 0] = 0;
    strtoull(at, &at, 10); /* the address space */
    uint64_t pages = strtoull(at, &at, 10), shared = strtoull(at, &at, 10);
    return pages > shared ? (pages - shared) * (uint64_t)sysconf(_SC_PAGESIZE)
                          : 0;
}

static void note_resident(struct recorded *p)
{
    struct trace_op op = {.kind = TRACE_RESIDENT, .thread = p->thread};
    if (p->writer == NULL || p->failed || p->elsewhere ||
        p->ncalls == p->ncalls_looked)
        return;
    p->ncalls_looked = p->ncalls;
    op.size = resident_bytes(p->pid);
    if (op.size != 0)
        recorded_put(p, &op, 0);
}

void recorded_look(struct recorder *r)
{
    for (struct recorded *p = r->processes; p != NULL; p = p->link) {
        if (!p->gone)
            note_resident(p);
        put_ended(p, false);
        p->gone |= has_ended(p);
    }
}

/* ---- the end ------------------------------------------------------------- */

static void count_totals(struct recorder *r, const struct recorded *p)
{
    struct recorder_totals *t = &r->totals;
    struct recorder_file f = {
        .pid = p->pid, .ncalls = p->ncalls, .nthreads = p->nthreads};
    struct stat s;
    snprintf(f.path, sizeof f.path, "%s", p->file);
    f.bytes =
        stat(p->file, &s) == 0 && S_ISREG(s.st_mode) ? (uint64_t)s.st_size : 0;
    t->ncalls += f.ncalls;
    t->nthreads += f.nthreads;
    t->bytes += f.bytes;
    t->nprocesses++;
    if (strcmp(p->file, r->file) == 0)
        t->first = f;
    else if (f.ncalls > t->largest.ncalls)
        t->largest = f;
}

static void finish(struct recorder *r, struct recorded *p)
{
    r->totals.lost += p->lost;
    put_ended(p, true);
    int error = p->writer != NULL ? trace_finish(p->writer, p->lost) : 0;
    if (error != 0 && !p->failed)
        fail(p, error);
    if (p->writer != NULL)
        count_totals(r, p);
    if (p->pidfd >= 0)
        close(p->pidfd);
    trace_table_clear(&p->live);
    free(p->stream);
    free(p->ended);
    free(p->file);
    free(p);
}

void recorded_finish(struct recorder *r, bool all)
{
    for (struct recorded **at = &r->processes; *at != NULL;) {
        struct recorded *p = *at;
        if (!all && (!p->drained || p->nstreams != 0)) {
            at = &p->link;
            continue;
        }
        *at = p->link;
        finish(r, p);
    }
}

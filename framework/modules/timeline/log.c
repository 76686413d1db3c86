/* SPDX-License-Identifier: MIT
 * log.c - what is written to the file, and when it is made shorter.
 */
#include "timeline.h"

#include <base/os.h>
#include <base/text.h>
#include <conf/conf.h>
#include <kit/base.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    ARGS_BYTES = 1000,
    /* After a merge that failed, so many periods pass before the next try. A
     * file of twice points_most points gets no more of them. */
    RETRY_PERIODS = 64,
};

/* Used by the module's thread. Most of it is never touched. */
static struct timeline_point point;
static char line_bytes[TIMELINE_LINE_BYTES];
static char header_bytes[TIMELINE_HEADER_BYTES];

/* ---- the header ---------------------------------------------------------- */

/* /proc/self has neither once the main thread has ended by pthread_exit. */
static void add_program(struct timeline_text *t)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/thread-self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    timeline_add_quoted(t, path);
}

/* The arguments, with blanks between them. */
static void add_args(struct timeline_text *t)
{
    char args[ARGS_BYTES];
    int fd = open("/proc/thread-self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, args, sizeof args - 1) : 0;
    if (fd >= 0)
        close(fd);
    n = n > 0 ? n : 0;
    for (; n > 0 && args[n - 1] == 0; n--)
        ;
    for (ssize_t i = 0; i < n; i++)
        args[i] = args[i] == 0 ? ' ' : args[i];
    args[n] = 0;
    timeline_add_quoted(t, args);
}

static void add_member(struct timeline_text *t, const char *key,
                       uint64_t number)
{
    timeline_add(t, key);
    timeline_add_number(t, number);
}

static struct timeline_text make_header(const struct timeline_log *log)
{
    struct timeline_text t = {.bytes = header_bytes,
                              .room = sizeof header_bytes};
    add_member(&t, "{\"hakmem_timeline\":1,\"pid\":", (uint64_t)getpid());
    timeline_add(&t, ",\"program\":");
    add_program(&t);
    timeline_add(&t, ",\"args\":");
    add_args(&t);
    add_member(&t, ",\"start_unix_ms\":", log->start_unix_ms);
    add_member(&t, ",\"every_ms\":", log->host->conf->stats_every_ms);
    add_member(&t, ",\"points_most\":", log->file.points_most);
    add_member(&t, ",\"page_bytes\":", hak_os_page_bytes());
    timeline_add(&t, ",\"boxes\":[");
    for (uint32_t i = 0; i < log->names.n; i++) {
        timeline_add(&t, i == 0 ? "" : ",");
        timeline_add_quoted(&t, log->names.name[i]);
    }
    timeline_add(&t, "]}\n");
    return t;
}

/* ---- trouble ------------------------------------------------------------- */

static void fail(struct timeline_log *log, const char *what, const char *why)
{
    if (strcmp(log->told, why) == 0)
        return;
    hak_text_copy(log->told, sizeof log->told, why, strlen(why));
    log->tell(log->file.path, what, why);
}

/* Returns false: there is no file to write to. */
static bool have_file(struct timeline_log *log)
{
    char why[256];
    if (timeline_file_is_whole(&log->file))
        return true;
    timeline_file_close(&log->file);
    struct timeline_text header = make_header(log);
    if (timeline_file_open(&log->file, &header, why, sizeof why) != 0) {
        fail(log, "cannot be opened", why);
        return false;
    }
    log->nnames = log->names.n;
    log->merge_in = 0;
    return true;
}

static void make_shorter(struct timeline_log *log)
{
    struct timeline_text header = make_header(log);
    int error = timeline_merge(&log->file, &header);
    if (error != 0)
        fail(log, "cannot be made shorter", strerrordesc_np(-error));
    log->merge_in = error == 0 ? 0 : RETRY_PERIODS;
}

/* ---- points -------------------------------------------------------------- */

/* Add lines for names that the file does not have. */
static void add_names(const struct timeline_log *log, struct timeline_text *t,
                      uint64_t now_ms)
{
    for (uint32_t i = log->nnames; i < log->names.n; i++) {
        timeline_add(t, "{\"box\":");
        timeline_add_quoted(t, log->names.name[i]);
        add_member(t, ",\"t\":", now_ms);
        timeline_add(t, "}\n");
    }
}

static void add_end(struct timeline_text *t, uint64_t now_ms)
{
    add_member(t, "{\"t\":", now_ms);
    timeline_add(t, ",\"end\":\"exit\"}\n");
}

static void count_written(struct timeline_log *log, struct timeline_taken taken)
{
    timeline_events_written(taken);
    timeline_collected();
    log->file.npoints++;
    log->file.nevents += taken.n + (taken.ndropped != 0);
    log->nnames = log->names.n;
    log->last_ms = point.of[TIMELINE_t];
}

/* Write the point that was collected. Returns 0 or -errno. */
static int put_point(struct timeline_log *log, bool last)
{
    uint64_t now_ms = point.of[TIMELINE_t];
    struct timeline_text t = {.bytes = line_bytes, .room = sizeof line_bytes};
    struct timeline_taken taken =
        timeline_events_add(&t, log->start_ms, now_ms);
    add_names(log, &t, now_ms);
    timeline_add_point(&t, &point);
    if (last)
        add_end(&t, now_ms);
    int error = timeline_file_append(&log->file, t.bytes, t.used);
    if (error == 0)
        count_written(log, taken);
    return error;
}

static bool is_full(const struct timeline_file *f)
{
    return f->npoints >= f->points_most || f->nevents >= TIMELINE_EVENTS_MOST;
}

void timeline_log_write(struct timeline_log *log, uint64_t now_ms,
                        struct timeline_extra with, bool last)
{
    if (timeline_collect(&point, now_ms, log->last_ms, with.classes) != 0 ||
        !have_file(log))
        return;
    if (with.resident)
        timeline_collect_resident(&point);
    if (log->file.npoints < 2 * log->file.points_most) {
        int error = put_point(log, last);
        if (error != 0)
            fail(log, "cannot be written", strerrordesc_np(-error));
    }
    if (log->merge_in != 0)
        log->merge_in--;
    else if (!last && is_full(&log->file))
        make_shorter(log);
}

/* The first file is opened at once, so that a wrong name is told at once. */
void timeline_log_start(struct timeline_log *log)
{
    log->file.fd = -1;
    log->file.path[0] = 0;
    log->last_ms = 0;
    log->told[0] = 0;
    timeline_collect_start(log->host, &log->names);
    if (timeline_collect(&point, 0, 0, false) == 0)
        timeline_collected();
    have_file(log);
}

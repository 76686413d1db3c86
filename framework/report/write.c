/* SPDX-License-Identifier: MIT
 * write.c - writes reports to a descriptor, stderr or a file; at start and at
 * exit.
 */
#include <report/report.h>

#include <base/log.h>
#include <base/os.h>
#include <base/sections.h>
#include <base/why.h>
#include <core/state/core.h>
#include <core/state/thread.h>

#include <errno.h>
#include <strings.h>
#include <unistd.h>
#include <string.h>

static struct hak_lock lock;

void hak_report_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&lock, phase);
}

/* The report that is being written. Guarded by lock, except at start. */
static HAK_SPARSE struct hak_text text;

/* Format the report into text. Returns 0 with the lock held, which the caller
 * drops; -ENOSYS: no boxes; -EAGAIN: inside of a fork. */
static int begin_report(bool json)
{
    if (hak_core.mode != HAK_MODE_BOXES)
        return -ENOSYS;
    if (hak_is_forking())
        return -EAGAIN;
    hak_lock_take(&lock);
    text.used = 0;
    (json ? hak_report_json : hak_report_text)(&text);
    return 0;
}

typedef int write_fn(int fd, const void *bytes, size_t n);

static int write_report(int fd, bool json, write_fn *write)
{
    int error = begin_report(json);
    if (error != 0)
        return error;
    error = write(fd, text.bytes, text.used);
    hak_lock_drop(&lock);
    return error;
}

int hak_report_write(int fd, bool json)
{
    return write_report(fd, json, hak_os_write);
}

int64_t hak_report_copy(char *out, size_t out_bytes, bool json)
{
    int error = begin_report(json);
    if (error != 0)
        return error;
    int64_t n = text.used < out_bytes ? (int64_t)text.used : -ENOSPC;
    if (n >= 0) {
        memcpy(out, text.bytes, (size_t)n);
        out[n] = 0;
    }
    hak_lock_drop(&lock);
    return n;
}

/*
 * The targets of at_exit, opened at start. At exit the program may be in a
 * sandbox that forbids to open files, and coreutils and others close stderr in
 * an exit handler.
 */
static struct hak_held held_stderr, held_file;

static bool is_stderr(const char *to)
{
    return strcasecmp(to, "stderr") == 0;
}

/* Does [stats] name another process by its pid as the one that reports? */
static bool is_of_another(void)
{
    return hak_conf.stats_pid != 0 && hak_conf.stats_pid != (uint32_t)getpid();
}

/* Is no report wanted? */
static bool is_none(const char *to)
{
    return to == NULL || strcasecmp(to, "none") == 0 || is_of_another();
}

/* A file of ours gets whole reports only. stderr is the program's. */
static write_fn *writer_of(const char *to)
{
    return is_stderr(to) ? hak_os_write : hak_os_append;
}

/* Where a report for stderr goes; -1: nowhere. If there was no report to write
 * at start, stderr was not held. */
static int stderr_now(void)
{
    return held_stderr.inode != 0 ? hak_held_stderr(&held_stderr)
                                  : STDERR_FILENO;
}

static void report_failure(const char *key, const char *name, const char *what,
                           const char *why)
{
    int fd = stderr_now();
    if (fd >= 0)
        hak_say_to(fd, "[stats] %s = %s: cannot be %s: %s", key, name, what,
                   why);
}

/* [stats] at_start: the table of routes. */
static void routes_at_start(const char *to)
{
    char path[4096], why[256];
    int fd = is_stderr(to)
                 ? STDERR_FILENO
                 : hak_log_open(to, path, sizeof path, why, sizeof why);
    if (fd < 0) {
        report_failure("at_start", path, "opened", why);
        return;
    }
    text.used = 0;
    hak_report_routes(&text);
    int error = writer_of(to)(fd, text.bytes, text.used);
    if (error != 0)
        report_failure("at_start", to, "written", strerrordesc_np(-error));
    if (!is_stderr(to))
        close(fd);
}

void hak_report_start(void)
{
    const char *at_start = hak_conf.stats_at_start;
    const char *at_exit = hak_conf.stats_at_exit;
    if (is_none(at_start) && is_none(at_exit) && hak_conf.stats_on_signal == 0)
        return;
    hak_hold_stderr(&held_stderr);
    if (!is_none(at_start))
        routes_at_start(at_start);
    if (is_none(at_exit) || is_stderr(at_exit))
        return;
    char path[4096], why[256];
    if (!hak_hold_file(&held_file, at_exit, path, sizeof path, why, sizeof why))
        report_failure("at_exit", path, "opened", why);
}

int hak_report_retarget(char *why, size_t n)
{
    char path[4096], reason[256];
    const char *to = hak_conf.stats_at_exit;
    if (is_none(to) || is_stderr(to))
        return 0;
    int fd = hak_log_open(to, path, sizeof path, reason, sizeof reason);
    if (fd < 0)
        return hak_refuse(-EINVAL, why, n, "%s cannot be opened: %s", path,
                          reason);
    close(fd); /* the calling thread may have descriptors of its own */
    hak_lock_take(&lock);
    held_file = (struct hak_held){
        .name = to, .fd = -1, .was_open = true, .pid = getpid()};
    hak_lock_drop(&lock);
    return 0;
}

/* Write the report of at_exit in one write, which appends, since many processes
 * may report to one file. */
static void report_to(int fd, const char *name)
{
    int error = write_report(fd, hak_conf.stats_json, writer_of(name));
    if (error != 0)
        report_failure("at_exit", name, "written", strerrordesc_np(-error));
}

static void report_to_name(const char *to)
{
    char path[4096], why[256];
    if (is_stderr(to)) {
        int fd = stderr_now();
        if (fd >= 0)
            report_to(fd, to);
        return;
    }
    int fd = hak_held_open(&held_file, path, sizeof path, why, sizeof why);
    if (fd < 0) { /* hak_report_start has reported it if it failed there */
        if (held_file.was_open)
            report_failure("at_exit", path, "opened", why);
        return;
    }
    report_to(fd, path);
    hak_held_done(&held_file, fd);
}

void hak_report_at_exit(void)
{
    const char *to = hak_conf.stats_at_exit;
    if (hak_core.mode == HAK_MODE_BOXES && !is_none(to))
        report_to_name(to);
}

void hak_report_to_target(void)
{
    const char *to = hak_conf.stats_at_exit;
    if (hak_core.mode == HAK_MODE_BOXES && !is_of_another())
        report_to_name(is_none(to) ? "stderr" : to);
}

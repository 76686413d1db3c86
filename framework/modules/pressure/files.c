/* SPDX-License-Identifier: MIT
 * files.c - the files of the kernel that tell of memory pressure.
 *
 * memory.pressure  of the process's cgroup, or /proc/pressure/memory: the time
 *                  in which tasks waited for memory (PSI). A trigger is written
 *                  to it, and poll(2) then tells when they waited for more than
 *                  that.
 * memory.events    of the cgroup: counts how often its use was above
 * memory.high or at memory.max. poll(2) tells when a count has changed.
 */
#include "pressure.h"

#include <base/text.h>
#include <base/why.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

/* Stalls of some task for 100 ms, 5 % of the window. Both in microseconds. */
static const char trigger[] = "some 100000 2000000";
_Static_assert(HAK_PRESSURE_WINDOW_MS == 2000, "as in trigger");

/* Where cgroup v2 is mounted: alone, or beside v1. */
static const char *const mounts[] = {"/sys/fs/cgroup",
                                     "/sys/fs/cgroup/unified"};
enum { MOUNTS = sizeof mounts / sizeof mounts[0] };

/* ---- opening ------------------------------------------------------------- */

/* Read a small file from its start, with a 0 behind it. Returns 0 or -errno. */
static int read_text(int fd, char *out, size_t out_bytes)
{
    ssize_t n = pread(fd, out, out_bytes - 1, 0);
    out[n > 0 ? n : 0] = 0;
    return n < 0 ? -errno : 0;
}

/* The path of this process's cgroup below its mount: the line "0::PATH" of
 * /proc/self/cgroup. Returns 0 or -errno. */
static int read_cgroup(char out[PATH_MAX])
{
    static const char key[] = "0::";
    char text[2 * PATH_MAX];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = read_text(fd, text, sizeof text);
    close(fd);
    if (error != 0)
        return error;
    const char *line = text;
    while (strncmp(line, key, sizeof key - 1) != 0) {
        line = strchr(line, '\n');
        if (line++ == NULL)
            return -ENOENT; /* cgroup v1 alone */
    }
    line += sizeof key - 1;
    size_t n = hak_text_until(line, '\n');
    hak_text_copy(out, PATH_MAX, line, n == 1 ? 0 : n); /* "/" is the root */
    return 0;
}

/* Open a file of this process's cgroup. Returns a descriptor or -errno. */
static int open_of_cgroup(const char *name, int flags)
{
    char cgroup[PATH_MAX], path[PATH_MAX];
    int error = read_cgroup(cgroup);
    for (int i = 0; error == 0 && i < MOUNTS; i++) {
        struct statfs s;
        if (!hak_text_join(path, sizeof path, mounts[i], cgroup, "/", name))
            return -ENAMETOOLONG;
        int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && fstatfs(fd, &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC)
            return fd;
        if (fd >= 0)
            close(fd);
    }
    return error != 0 ? error : -ENOENT;
}

static void add(struct hak_pressure_files *files, int fd,
                enum hak_pressure_kind kind, uint64_t seen)
{
    files->file[files->n++] =
        (struct hak_pressure_file){.fd = fd, .kind = kind, .seen = seen};
}

/* Take over a descriptor, or -errno, of a file for a trigger. Returns 0 or
 * -errno. */
static int add_psi(struct hak_pressure_files *files, int fd)
{
    if (fd < 0)
        return fd;
    /* The kernel puts a 0 in the place of the last byte that it is given. */
    if (write(fd, trigger, sizeof trigger) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    add(files, fd, HAK_PRESSURE_PSI, 0);
    return 0;
}

/* The counts of high and max in memory.events together. */
static int read_events(int fd, uint64_t *out)
{
    char text[512];
    uint64_t sum = 0;
    int error = read_text(fd, text, sizeof text);
    if (error != 0)
        return error;
    for (const char *line = text; *line != 0;) {
        if (strncmp(line, "high ", 5) == 0 || strncmp(line, "max ", 4) == 0)
            sum += strtoull(strchr(line, ' '), NULL, 10);
        line += hak_text_until(line, '\n');
        line += *line == '\n';
    }
    *out = sum;
    return 0;
}

/* Reading also tells the kernel from when on changes are events. */
static void add_events(struct hak_pressure_files *files)
{
    uint64_t seen;
    int fd = open_of_cgroup("memory.events", O_RDONLY);
    if (fd >= 0 && read_events(fd, &seen) == 0)
        add(files, fd, HAK_PRESSURE_EVENTS, seen);
    else if (fd >= 0)
        close(fd);
}

/* Is fd a file of the kernel that a trigger may be written to? */
static bool is_of_kernel(int fd)
{
    struct statfs s;
    return fstatfs(fd, &s) == 0 &&
           (s.f_type == CGROUP2_SUPER_MAGIC || s.f_type == PROC_SUPER_MAGIC);
}

static int open_named(const char *path, struct hak_pressure_files *files,
                      char *why, size_t why_bytes)
{
    struct stat s;
    /* A FIFO that is open for writing here never ends. */
    int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int error = fd < 0 ? -errno : 0;
    if (fd >= 0 && fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode)) {
        add(files, fd, HAK_PRESSURE_FIFO, 0);
        return 0;
    }
    if (fd >= 0 && !is_of_kernel(fd)) {
        close(fd);
        return hak_refuse(-EINVAL, why, why_bytes,
                          "%s is neither a FIFO nor a pressure file of the "
                          "kernel; memory pressure is not watched",
                          path);
    }
    if (error == 0)
        error = add_psi(files, fd);
    if (error == 0)
        return 0;
    return hak_refuse(error, why, why_bytes,
                      "%s: %s; memory pressure is not watched", path,
                      strerrordesc_np(-error));
}

int hak_pressure_open(const char *instead, struct hak_pressure_files *out,
                      char *why, size_t why_bytes)
{
    static const char of_system[] = "/proc/pressure/memory";
    out->n = 0;
    if (strcmp(instead, "none") != 0)
        return open_named(instead, out, why, why_bytes);
    int error = add_psi(out, open_of_cgroup("memory.pressure", O_RDWR));
    if (error != 0) {
        int fd = open(of_system, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        error = add_psi(out, fd < 0 ? -errno : fd);
    }
    add_events(out);
    if (out->n != 0)
        return 0;
    return hak_refuse(error, why, why_bytes,
                      "%s: %s, and no cgroup v2 with memory.pressure or "
                      "memory.events in /sys/fs/cgroup; memory pressure is not "
                      "watched ([core] pressure_file names a file elsewhere)",
                      of_system, strerrordesc_np(-error));
}

void hak_pressure_close(const struct hak_pressure_files *files)
{
    for (uint32_t i = 0; i < files->n; i++)
        close(files->file[i].fd);
}

/* ---- waiting ------------------------------------------------------------- */

/* Returns 1: an event; 0: another count of memory.events; -errno. */
static int take_event(struct hak_pressure_file *f, short revents)
{
    char bytes[512];
    uint64_t seen = f->seen;
    int error;
    switch (f->kind) {
    case HAK_PRESSURE_FIFO:
        if ((revents & POLLIN) == 0)
            return -ENODEV;
        while (read(f->fd, bytes, sizeof bytes) == sizeof bytes)
            ;
        return 1;
    case HAK_PRESSURE_EVENTS:
        /* The kernel sets POLLERR with each event here. */
        error = read_events(f->fd, &f->seen);
        return error != 0 ? error : f->seen != seen;
    default:
        return (revents & POLLERR) != 0 ? -ENODEV : 1;
    }
}

int hak_pressure_wait(struct hak_pressure_files *files, int timeout_ms)
{
    struct pollfd p[2];
    int result = 0;
    for (uint32_t i = 0; i < files->n; i++)
        p[i] = (struct pollfd){
            .fd = files->file[i].fd,
            .events =
                files->file[i].kind == HAK_PRESSURE_FIFO ? POLLIN : POLLPRI};
    int n = poll(p, files->n, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (uint32_t i = 0; i < files->n && result >= 0; i++) {
        int got =
            p[i].revents != 0 ? take_event(&files->file[i], p[i].revents) : 0;
        result = got < 0 || got > result ? got : result;
    }
    return result;
}

/* SPDX-License-Identifier: MIT
 * file.c - the file of the timeline: opens, appends, replaces.
 *
 * A file has one writer, which holds a lock on it (flock). The kernel drops the
 * lock when the process ends or calls exec. So a file whose lock is free is of
 * an earlier run, and is replaced; one whose lock is taken is of a process that
 * runs, for instance of the shell that started this one, and is left alone.
 *
 * A file is never written from the start again. A shorter one is written beside
 * it and takes its place by rename(2), so that who reads the old one reads all
 * of it.
 */
#include "timeline.h"

#include <base/os.h>
#include <base/text.h>
#include <base/why.h>
#include <kit/base.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 8 };
static const char first_bytes[] = "{\"hakmem_timeline\":";

/* ---- names --------------------------------------------------------------- */

/* The name of the file for this process. with_pid: put the process id before
 * the suffix if there is no %p. */
static int make_path(const struct timeline_file *f, bool with_pid,
                     char path[PATH_MAX])
{
    char digits[24];
    const char *name = f->name,
               *pid = hak_text_number(digits, (unsigned long)getpid());
    const char *slash = strrchr(name, '/');
    const char *dot = strrchr(slash != NULL ? slash : name, '.');
    size_t stem = dot != NULL ? (size_t)(dot - name) : strlen(name);
    if (!with_pid || strstr(name, "%p") != NULL)
        return hak_text_replace(path, PATH_MAX, name, "%p", pid)
                   ? 0
                   : -ENAMETOOLONG;
    if (stem >= PATH_MAX)
        return -ENAMETOOLONG;
    hak_text_copy(path, PATH_MAX, name, stem);
    return hak_text_join(path, PATH_MAX, path, ".", pid, name + stem)
               ? 0
               : -ENAMETOOLONG;
}

/* ---- opening ------------------------------------------------------------- */

/* Why the file that is there must not be replaced; NULL: it may. */
static const char *why_not_ours(int fd, const struct stat *s)
{
    char bytes[sizeof first_bytes - 1];
    if (!S_ISREG(s->st_mode))
        return "is no regular file";
    if (s->st_uid != geteuid())
        return "belongs to another user";
    if (s->st_nlink > 1)
        return "has other names (hard links)";
    if (s->st_size != 0 &&
        (pread(fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes ||
         memcmp(bytes, first_bytes, sizeof bytes) != 0))
        return "exists and is no timeline; remove it, or choose another name";
    return NULL;
}

/* Does the path still lead to that file? */
static bool leads_to(const char *path, const struct stat *file)
{
    struct stat s;
    return lstat(path, &s) == 0 && s.st_dev == file->st_dev &&
           s.st_ino == file->st_ino;
}

/* File systems without locks are used without them. */
static bool lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

/* Remove the timeline of an earlier run. Returns 0; -EBUSY: it is being
 * written; another -errno with the reason in why. */
static int remove_old(const char *path, char *why, size_t why_bytes)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : hak_refuse(-errno, why, why_bytes, "%s",
                                errno == ELOOP ? "is a link"
                                               : strerrordesc_np(errno));
    int error = fstat(fd, &s) == 0 ? 0 : -errno;
    const char *bad = error == 0 ? why_not_ours(fd, &s) : strerror(-error);
    if (bad != NULL)
        error = hak_refuse(-EEXIST, why, why_bytes, "%s", bad);
    else if (!lock(fd))
        error = -EBUSY;
    else if (leads_to(path, &s) && unlink(path) != 0)
        error =
            hak_refuse(-errno, why, why_bytes, "%s", strerrordesc_np(errno));
    close(fd);
    return error;
}

/* Make the file of f->path and lock it. Another process may have opened the new
 * file before it was locked; then it has it. Returns 0 or -errno. */
static int make(struct timeline_file *f)
{
    struct stat s;
    int fd = open(f->path,
                  O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &s) != 0 || !lock(fd) || !leads_to(f->path, &s)) {
        close(fd);
        return -EEXIST;
    }
    f->fd = fd;
    f->size_bytes = 0;
    f->npoints = f->nevents = 0;
    f->device = s.st_dev;
    f->inode = s.st_ino;
    return 0;
}

/* Returns 0; -EBUSY: another process writes that file; another -errno with the
 * reason in why. */
static int open_path(struct timeline_file *f, bool with_pid, char *why,
                     size_t why_bytes)
{
    int error = make_path(f, with_pid, f->path);
    if (error != 0)
        return hak_refuse(error, why, why_bytes, "%s", strerrordesc_np(-error));
    for (int i = 0; i < TRIES; i++) {
        error = remove_old(f->path, why, why_bytes);
        if (error != 0)
            return error;
        error = make(f);
        if (error != -EEXIST)
            break;
    }
    if (error != 0)
        hak_refuse(error, why, why_bytes, "%s", strerrordesc_np(-error));
    return error;
}

int timeline_file_open(struct timeline_file *f,
                       const struct timeline_text *header, char *why,
                       size_t why_bytes)
{
    f->fd = -1;
    int error = open_path(f, f->is_child, why, why_bytes);
    if (error == -EBUSY && !f->is_child)
        error = open_path(f, true, why, why_bytes);
    if (error == -EBUSY)
        hak_refuse(error, why, why_bytes, "another process is writing to it");
    if (error != 0)
        return error;
    error = timeline_file_append(f, header->bytes, header->used);
    if (error == 0)
        return 0;
    unlink(f->path);
    timeline_file_close(f);
    return hak_refuse(error, why, why_bytes, "%s", strerrordesc_np(-error));
}

void timeline_file_close(struct timeline_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* ---- writing ------------------------------------------------------------- */

/* A program may have removed or emptied the file. One that has grown is left
 * so. */
bool timeline_file_is_whole(struct timeline_file *f)
{
    struct stat s;
    if (f->fd < 0 || fstat(f->fd, &s) != 0 || s.st_nlink == 0 ||
        (uint64_t)s.st_size < f->size_bytes)
        return false;
    f->size_bytes = (uint64_t)s.st_size;
    return true;
}

/* A line that could not be written whole is cut off again. */
int timeline_file_append(struct timeline_file *f, const char *bytes, size_t n)
{
    int error = hak_os_append(f->fd, bytes, n);
    if (error == 0)
        f->size_bytes += n;
    return error;
}

/* ---- replacing ----------------------------------------------------------- */

int timeline_file_begin(const struct timeline_file *f,
                        struct timeline_file *next)
{
    char digits[24];
    *next = *f;
    next->fd = -1;
    if (!hak_text_join(next->path, sizeof next->path, f->path, ".tmp.",
                       hak_text_number(digits, (unsigned long)getpid())))
        return -ENAMETOOLONG;
    unlink(next->path); /* of a process of that id that was killed */
    return make(next);
}

int timeline_file_end(struct timeline_file *f, struct timeline_file *next,
                      int error)
{
    if (error == 0 && rename(next->path, f->path) != 0)
        error = -errno;
    if (error != 0) {
        if (next->fd >= 0)
            unlink(next->path);
        timeline_file_close(next);
        return error;
    }
    timeline_file_close(f);
    hak_text_copy(next->path, sizeof next->path, f->path, strlen(f->path));
    *f = *next;
    return 0;
}

/* SPDX-License-Identifier: MIT
 * log.c - lines on stderr and in files, without stdio streams and malloc. */
#include <base/log.h>
#include <base/text.h>
#include <base/why.h>
#include <base/meta.h>
#include <base/os.h>
#include <base/trust.h>
#include <kit/base.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void
say_line(int fd, const char *format, va_list ap)
{
    char line[1024] = "hakmem: ";
    size_t used = sizeof "hakmem: " - 1;
    int kept = errno;
    int n = vsnprintf(line + used, sizeof line - used - 1, format, ap);
    used = n < 0 ? used : hak_min(used + (size_t)n, sizeof line - 2);
    line[used++] = '\n';
    (void)!hak_os_write(fd, line, used);
    errno = kept;
}

void hak_say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say_line(STDERR_FILENO, format, ap);
    va_end(ap);
}

void hak_say_to(int fd, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say_line(fd, format, ap);
    va_end(ap);
}

static bool dying; /* atomic */

bool hak_is_dying(void)
{
    return __atomic_load_n(&dying, __ATOMIC_RELAXED);
}

void hak_die(const char *format, ...)
{
    va_list ap;
    __atomic_store_n(&dying, true, __ATOMIC_RELAXED);
    va_start(ap, format);
    say_line(STDERR_FILENO, format, ap);
    va_end(ap);
    abort();
}

/* ---- files -------------------------------------------------------------- */

/*
 * Open a new file, or one that belongs to this user. Another user's file could
 * be read by that user. A link could lead to a file that this process may
 * write to and its author may not.
 */
static int open_ours(int dir, const char *name, char *why, size_t why_bytes)
{
    struct stat s;
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EEXIST)
        fd = openat(dir, name, flags);
    if (fd < 0)
        return hak_refuse(-errno, why, why_bytes, "%s",
                          errno == ELOOP ? "is a link"
                                         : strerrordesc_np(errno));
    const char *bad = fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)
                          ? "is no regular file"
                      : s.st_uid != geteuid() ? "belongs to another user"
                      : s.st_nlink != 1       ? "has other names (hard links)"
                                              : NULL;
    if (bad == NULL)
        return fd;
    close(fd);
    return hak_refuse(-EPERM, why, why_bytes, "%s", bad);
}

static int open_trusted(char *path, char *why, size_t why_bytes)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        slash = path; /* not absolute: hak_trust_open refuses it */
    char kept = *slash;
    *slash = 0;
    int dir = hak_trust_open(slash == path && kept == '/' ? "/" : path, true,
                             why, why_bytes);
    *slash = kept;
    if (dir < 0)
        return dir;
    int fd = open_ours(dir, slash + 1, why, why_bytes);
    close(dir);
    return fd;
}

int hak_log_open(const char *name, char *path, size_t path_bytes, char *why,
                 size_t why_bytes)
{
    char digits[24];
    if (!hak_text_replace(path, path_bytes, name, "%p",
                          hak_text_number(digits, (unsigned long)getpid())))
        return hak_refuse(-ENAMETOOLONG, why, why_bytes, "%s",
                          strerrordesc_np(ENAMETOOLONG));
    return hak_os_secure() ? open_trusted(path, why, why_bytes)
                           : open_ours(AT_FDCWD, path, why, why_bytes);
}

/* ---- descriptors kept from the start ------------------------------------ */

/* Does fd still lead to the file of h? An unlinked file does not count, since
 * nobody would find what is written there. */
static bool leads_to(int fd, const struct hak_held *h)
{
    struct stat s;
    return fd >= 0 && fstat(fd, &s) == 0 && s.st_dev == h->device &&
           s.st_ino == h->inode && (s.st_nlink != 0 || !S_ISREG(s.st_mode));
}

/* Duplicate fd to a number of 400 or more. Under a low RLIMIT_NOFILE that
 * fails, so lower numbers are tried next. */
static void hold_duplicate(struct hak_held *h, int fd)
{
    enum { FAR = 400 };
    struct stat s;
    h->fd = -1;
    if (fstat(fd, &s) != 0)
        return;
    h->device = s.st_dev;
    h->inode = s.st_ino;
    for (int least = FAR; h->fd < 0 && least > STDERR_FILENO; least /= 2)
        h->fd = fcntl(fd, F_DUPFD_CLOEXEC, least);
}

/*
 * The absolute form of a name, because the working directory may change. With
 * raised rights the working directory is not trusted: the name stays relative,
 * and hak_log_open refuses it.
 */
static const char *absolute_name(const char *name)
{
    char path[PATH_MAX];
    if (name[0] == '/' || hak_os_secure() ||
        getcwd(path, sizeof path) == NULL ||
        !hak_text_join(path, sizeof path, path, "/", name))
        return name;
    const char *whole = hak_meta_text(path);
    return whole != NULL ? whole : name;
}

bool hak_hold_file(struct hak_held *h, const char *name, char *path,
                   size_t path_bytes, char *why, size_t why_bytes)
{
    *h = (struct hak_held){
        .name = absolute_name(name), .fd = -1, .pid = getpid()};
    int fd = hak_log_open(h->name, path, path_bytes, why, why_bytes);
    if (fd < 0)
        return false;
    h->was_open = true;
    hold_duplicate(h, fd);
    close(fd);
    return true;
}

int hak_held_open(const struct hak_held *h, char *path, size_t path_bytes,
                  char *why, size_t why_bytes)
{
    bool ours = h->pid == getpid() || strstr(h->name, "%p") == NULL;
    if (!ours || !leads_to(h->fd, h))
        return hak_log_open(h->name, path, path_bytes, why, why_bytes);
    hak_text_join(path, path_bytes, h->name);
    return h->fd;
}

void hak_held_done(const struct hak_held *h, int fd)
{
    if (fd != h->fd)
        close(fd);
}

void hak_hold_stderr(struct hak_held *h)
{
    *h = (struct hak_held){.fd = -1};
    hold_duplicate(h, STDERR_FILENO);
}

int hak_held_stderr(const struct hak_held *h)
{
    return leads_to(h->fd, h)           ? h->fd
           : leads_to(STDERR_FILENO, h) ? STDERR_FILENO
                                        : -1;
}

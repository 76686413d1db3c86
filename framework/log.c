/* SPDX-License-Identifier: MIT
 * log.c - lines on stderr and in files, without stdio streams and malloc. */
#include "core.h"
#include "why.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

__attribute__((format(printf, 1, 0))) static void say(const char *format,
                                                      va_list ap)
{
    char line[1024] = "hakmem: ";
    size_t used = sizeof "hakmem: " - 1;
    int kept = errno;
    int n = vsnprintf(line + used, sizeof line - used - 1, format, ap);
    used = n < 0 ? used : hak_min(used + (size_t)n, sizeof line - 2);
    line[used++] = '\n';
    (void)!write(STDERR_FILENO, line, used);
    errno = kept;
}

void hak_say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(format, ap);
    va_end(ap);
}

void hak_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(format, ap);
    va_end(ap);
    abort();
}

/*
 * A new file, or one that was ours before: another's could be read by others
 * or be a way to what we may write and they may not.
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
        slash = path; /* no whole path: told */
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
    const char *mark = strstr(name, "%p");
    int n;
    if (mark != NULL)
        n = snprintf(path, path_bytes, "%.*s%d%s", (int)(mark - name), name,
                     (int)getpid(), mark + 2);
    else
        n = snprintf(path, path_bytes, "%s", name);
    if (n < 0 || (size_t)n >= path_bytes)
        return hak_refuse(-ENAMETOOLONG, why, why_bytes, "%s",
                          strerrordesc_np(ENAMETOOLONG));
    return hak_os_secure() ? open_trusted(path, why, why_bytes)
                           : open_ours(AT_FDCWD, path, why, why_bytes);
}

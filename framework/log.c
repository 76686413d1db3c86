/* SPDX-License-Identifier: MIT
 * log.c - lines on stderr, without stdio streams and without malloc. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

static void say(const char *format, va_list ap)
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

int hak_log_open(const char *name, char *path, size_t path_bytes)
{
    const char *mark = strstr(name, "%p");
    int n;
    if (mark != NULL)
        n = snprintf(path, path_bytes, "%.*s%d%s", (int)(mark - name), name,
                     (int)getpid(), mark + 2);
    else
        n = snprintf(path, path_bytes, "%s", name);
    if (n < 0 || (size_t)n >= path_bytes)
        return -ENAMETOOLONG;
    int fd = (int)syscall(
        SYS_openat, AT_FDCWD, path,
        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

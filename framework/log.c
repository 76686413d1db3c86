/* SPDX-License-Identifier: MIT
 * log.c - lines on stderr, without stdio streams and without malloc. */
#include "core.h"

#include <errno.h>
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

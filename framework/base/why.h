/* SPDX-License-Identifier: MIT
 * why.h - returns an error together with its reason in words. */
#ifndef HAKMEM_WHY_H
#define HAKMEM_WHY_H

#include <stdarg.h>
#include <stdio.h>

/* Write the reason to why[bytes], cut to fit, unless why is NULL. Returns
 * error. */
__attribute__((format(printf, 4, 5), unused, cold)) static int
hak_refuse(int error, char *why, size_t bytes, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (why != NULL)
        vsnprintf(why, bytes, format, ap);
    va_end(ap);
    return error;
}

#endif

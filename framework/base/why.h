/* SPDX-License-Identifier: MIT
 * why.h - a refusal: an error, and the reason in words for who asked. */
#ifndef HAKMEM_WHY_H
#define HAKMEM_WHY_H

#include <stdarg.h>
#include <stdio.h>

/* Returns error. why (may be NULL) gets the text, printf-like, cut to bytes. */
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

/* SPDX-License-Identifier: MIT
 * log_to_stderr.h - a host's log for tests of the kit that have no host. */
#ifndef HAK_TESTS_LOG_TO_STDERR_H
#define HAK_TESTS_LOG_TO_STDERR_H

#include "hakmem/box.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4))) static void
log_to_stderr(struct hak_box *box, enum hak_log_level level, const char *format,
              ...)
{
    va_list ap;
    (void)box;
    (void)level;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
}

#endif

/* SPDX-License-Identifier: MIT
 * limits.h - limits of an INI file, and the origin of a value.
 */
#ifndef HAKMEM_CONF_LIMITS_H
#define HAKMEM_CONF_LIMITS_H

enum {
    HAK_CONF_FILE_BYTES = 64 * 1024, /* larger files are refused */
    HAK_CONF_LINE_BYTES = 198, /* inih's line buffer without newline and NUL */
    HAK_CONF_NAME_BYTES = 49,  /* inih's section buffer without the NUL */
    HAK_CONF_SECTIONS = 96,
    HAK_CONF_ENTRIES = 512,
    HAK_CONF_ROUTES = 32,
    HAK_CONF_RULES = 64,
    HAK_CONF_CHAIN = 8,
    HAK_CONF_LEARN_RULES = 32,
    HAK_CONF_CONDITIONS = 8, /* in one [rule NAME] */
};

/* Where a value comes from. If line is 0, file may be "built-in" or
 * "environment NAME" instead of a path. */
struct hak_origin {
    const char *file;
    int line;
};

#endif

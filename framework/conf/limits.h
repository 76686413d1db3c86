/* SPDX-License-Identifier: MIT
 * limits.h - how much an INI may have, and where a value came from.
 */
#ifndef HAKMEM_CONF_LIMITS_H
#define HAKMEM_CONF_LIMITS_H

enum {
    HAK_CONF_FILE_BYTES = 64 * 1024, /* larger files are refused */
    HAK_CONF_LINE_BYTES = 198, /* inih's line buffer, less newline and NUL */
    HAK_CONF_NAME_BYTES = 49,  /* inih's section buffer, less the NUL */
    HAK_CONF_SECTIONS = 96,
    HAK_CONF_ENTRIES = 512,
    HAK_CONF_ROUTES = 32,
    HAK_CONF_RULES = 64,
    HAK_CONF_CHAIN = 8,
    HAK_CONF_LEARN_RULES = 32,
    HAK_CONF_CONDITIONS = 8, /* of one learner rule */
};

/* Where a value came from. line 0: file is "built-in" or "environment NAME". */
struct hak_origin {
    const char *file;
    int line;
};

#endif

/* SPDX-License-Identifier: MIT
 * hakctl_json.h - JSON strings.
 */
#ifndef HAKMEM_HAKCTL_JSON_H
#define HAKMEM_HAKCTL_JSON_H

#include <stdio.h>

/* A JSON string, quotes and all. NULL = null. What is no UTF-8 becomes U+FFFD:
 * a file's bytes must not make the output invalid. */
void ctl_json(FILE *out, const char *text);

#endif

/* SPDX-License-Identifier: MIT
 * hakctl_json.h - writes JSON strings.
 */
#ifndef HAKMEM_HAKCTL_JSON_H
#define HAKMEM_HAKCTL_JSON_H

#include <stdio.h>

/* Write text as a JSON string with its quotes; NULL as null. Bytes that are not
 * UTF-8 become U+FFFD, so that text from a file cannot make the output invalid.
 */
void ctl_json(FILE *out, const char *text);

#endif

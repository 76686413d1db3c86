/* SPDX-License-Identifier: MIT
 * hakctl_json.c - writes JSON strings, for hakctl and hakctl-check-box.
 */
#include "hakctl_json.h"

#include <base/utf8.h>

void ctl_json(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    char character[8];
    fputc('"', out);
    while (*text != 0) {
        text += hak_json_character(character, text);
        fputs(character, out);
    }
    fputc('"', out);
}

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
    const char *at = text;
    fputc('"', out);
    while (*at != 0) {
        size_t n = hak_utf8_length(at);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*at);
        else
            fwrite(at, 1, n, out);
        at += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

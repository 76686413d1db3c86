/* SPDX-License-Identifier: MIT
 * hakctl_json.c - writes JSON strings, for hakctl and hakctl-check-box.
 */
#include "hakctl_json.h"

#include <stdbool.h>

/* The length in bytes of the UTF-8 character at text (RFC 3629); 0: it is not
 * UTF-8. */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char lead = text[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong =
        (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xf0 && text[1] < 0x90);
    bool beyond =
        (lead == 0xed && text[1] > 0x9f) || (lead == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

void ctl_json(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    const unsigned char *at = (const unsigned char *)text;
    fputc('"', out);
    while (*at != 0) {
        size_t n = utf8_length(at);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, n, out);
        at += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

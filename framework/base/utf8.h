/* SPDX-License-Identifier: MIT
 * utf8.h - tells UTF-8 from other bytes, for texts that go into JSON.
 */
#ifndef HAKMEM_BASE_UTF8_H
#define HAKMEM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The length in bytes of the UTF-8 character at text (RFC 3629); 0: it is not
 * UTF-8. The text ends with a 0, which counts as a character of one byte. */
static inline size_t hak_utf8_length(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    unsigned char lead = at[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong =
        (lead == 0xe0 && at[1] < 0xa0) || (lead == 0xf0 && at[1] < 0x90);
    bool beyond =
        (lead == 0xed && at[1] > 0x9f) || (lead == 0xf4 && at[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

/* Write the first character of text to out as it stands inside of a string of
 * JSON (RFC 8259); a byte that is not UTF-8 becomes U+FFFD. text is not empty.
 * Returns how many bytes of text that was. */
static inline size_t hak_json_character(char out[8], const char *text)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char ch = (unsigned char)*text;
    size_t n = hak_utf8_length(text), used = 0;
    if (n == 0) {
        memcpy(out, "\\ufffd", 7);
        return 1;
    }
    if (ch < 0x20) {
        memcpy(out, "\\u00", 4);
        out[4] = hex[ch >> 4];
        out[5] = hex[ch & 15];
        out[6] = 0;
        return 1;
    }
    if (ch == '"' || ch == '\\')
        out[used++] = '\\';
    memcpy(out + used, text, n);
    out[used + n] = 0;
    return n;
}

#endif

/* SPDX-License-Identifier: MIT
 * utf8.h - tells UTF-8 from other bytes, for texts that go into JSON.
 */
#ifndef HAKMEM_BASE_UTF8_H
#define HAKMEM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

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

#endif

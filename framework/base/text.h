/* SPDX-License-Identifier: MIT
 * text.h - texts of the way up, put together without snprintf.
 *
 * What a program that starts touches of libc is resident in it: vfprintf and
 * its tables are 16 pages here and 16 there. Messages, which are rare, use it.
 */
#ifndef HAK_TEXT_H
#define HAK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* n characters of text into out[bytes], cut to fit. Returns out. */
static inline char *hak_text_copy(char *out, size_t bytes, const char *text,
                                  size_t n)
{
    n = n < bytes ? n : bytes - 1;
    memcpy(out, text, n);
    out[n] = 0;
    return out;
}

/*
 * The texts, one behind the other, into out[bytes], cut to fit. False: it was
 * cut. None of them lies in out, but for the first at its start; a NULL among
 * them ends them.
 */
#define hak_text_join(out, bytes, ...) \
    hak_text_join_all(out, bytes, (const char *const[]){__VA_ARGS__, NULL})

static inline bool hak_text_join_all(char *out, size_t bytes,
                                     const char *const *text)
{
    size_t used = 0;
    for (; *text != NULL; text++) {
        size_t n = strlen(*text), room = bytes - 1 - used;
        memmove(out + used, *text, n < room ? n : room);
        used += n < room ? n : room;
        if (n > room)
            break;
    }
    out[used] = 0;
    return *text == NULL;
}

/* n characters more behind the text that is in out[bytes], cut to fit. */
static inline void hak_text_add(char *out, size_t bytes, const char *text,
                                size_t n)
{
    size_t used = strlen(out);
    hak_text_copy(out + used, bytes - used, text, n);
}

/* How many characters come before ch, or before the end. */
static inline size_t hak_text_until(const char *text, char ch)
{
    return (size_t)(strchrnul(text, ch) - text);
}

/* The number's digits, in text. */
static inline const char *hak_text_number(char text[24], unsigned long number)
{
    char *at = text + 23;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return at;
}

#endif

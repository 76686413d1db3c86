/* SPDX-License-Identifier: MIT
 * text.h - puts texts together at start, without snprintf.
 *
 * Each part of libc that a starting program touches adds to its RSS: vfprintf
 * and its tables take 16 pages each. Error messages are rare, so they do use
 * snprintf.
 */
#ifndef HAK_TEXT_H
#define HAK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copy n characters of text to out[bytes], cut to fit. Returns out. */
static inline char *hak_text_copy(char *out, size_t bytes, const char *text,
                                  size_t n)
{
    n = n < bytes ? n : bytes - 1;
    memcpy(out, text, n);
    out[n] = 0;
    return out;
}

/*
 * Join the texts and write them to out[bytes], cut to fit. A NULL among them
 * ends the list. The first text may be out itself; none of the others may
 * overlap with out.
 * Returns false: the result was cut.
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

/* Append n characters of text to the text in out[bytes], cut to fit. */
static inline void hak_text_add(char *out, size_t bytes, const char *text,
                                size_t n)
{
    size_t used = strlen(out);
    hak_text_copy(out + used, bytes - used, text, n);
}

/* Copy text to out[bytes], with `with` in place of its first `mark`, if it has
 * one; cut to fit. Returns false: the result was cut. */
static inline bool hak_text_replace(char *out, size_t bytes, const char *text,
                                    const char *mark, const char *with)
{
    const char *at = strstr(text, mark);
    if (at == NULL)
        return hak_text_join(out, bytes, text);
    size_t n = (size_t)(at - text);
    hak_text_copy(out, bytes, text, n);
    return n < bytes && hak_text_join(out, bytes, out, with, at + strlen(mark));
}

/* The number of characters before the first ch, or before the end. */
static inline size_t hak_text_until(const char *text, char ch)
{
    return (size_t)(strchrnul(text, ch) - text);
}

/* Write a pointer as 0x and hexadecimal digits. Returns text. */
static inline char *hak_text_pointer(char text[24], const void *p)
{
    unsigned long number = (unsigned long)p;
    unsigned shift = 60;
    size_t n = 2;
    text[0] = '0';
    text[1] = 'x';
    while (shift != 0 && number >> shift == 0)
        shift -= 4;
    for (unsigned left = shift / 4 + 1; left-- != 0;)
        text[n++] = "0123456789abcdef"[number >> (left * 4) & 15];
    text[n] = 0;
    return text;
}

/* Write the number's decimal digits into text. Returns where they begin. */
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

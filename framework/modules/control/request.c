/* SPDX-License-Identifier: MIT
 * request.c - splits a request of the control socket into words.
 */
#include "control.h"

#include <base/why.h>

#include <errno.h>
#include <string.h>

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* Requests are text. Reject other bytes here, so that no reply and no message
 * repeats them. */
static int check_bytes(const char *line, size_t n, char *why, size_t why_bytes)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)line[i];
        if ((ch < 0x20 && ch != '\t') || ch == 0x7f)
            return hak_refuse(-EINVAL, why, why_bytes,
                              "byte 0x%02x at %zu: a request is a line of "
                              "text; help lists the requests",
                              ch, i);
    }
    return 0;
}

/* Copy one word from *from to *to, without its quotes, and end it with a 0.
 * Returns false: a quote is not closed. */
static bool take_word(const char **from, const char *end, char **to)
{
    const char *at = *from;
    char *out = *to;
    bool quoted = false;
    for (; at < end && (quoted || !is_blank(*at)); at++) {
        if (*at == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && *at == '\\' && at + 1 < end &&
            (at[1] == '"' || at[1] == '\\'))
            at++;
        *out++ = *at;
    }
    *from = at < end ? at + 1 : at;
    *out++ = 0;
    *to = out;
    return !quoted;
}

/* A word is never longer in the line than without its quotes, and the blank or
 * newline behind it has room for its 0. So words are written over the line. */
int hak_control_split(char *line, size_t n, char **words, char *why,
                      size_t why_bytes)
{
    if (n > 0 && line[n - 1] == '\r')
        n--;
    int error = check_bytes(line, n, why, why_bytes);
    if (error != 0)
        return error;
    const char *at = line, *end = line + n;
    char *out = line;
    int nwords = 0;
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end)
            return nwords;
        if (nwords == CONTROL_WORDS)
            return hak_refuse(-EINVAL, why, why_bytes,
                              "more than %d words; send several requests",
                              CONTROL_WORDS);
        words[nwords++] = out;
        if (!take_word(&at, end, &out))
            return hak_refuse(-EINVAL, why, why_bytes,
                              "a '\"' is not closed; \\\" stands for one in a "
                              "quoted word");
    }
}

int hak_control_setting(char *word, struct hak_control_setting *out, char *why,
                        size_t why_bytes)
{
    char *equal = strchr(word, '=');
    if (equal == NULL || equal == word)
        return hak_refuse(-EINVAL, why, why_bytes,
                          "\"%s\" is not KEY=VALUE, as in purge_delay_ms=50",
                          word);
    char *dot = memchr(word, '.', (size_t)(equal - word));
    if (dot != NULL && (dot == word || dot + 1 == equal))
        return hak_refuse(-EINVAL, why, why_bytes,
                          "\"%s\" is not SECTION.KEY=VALUE, as in "
                          "box:ultra.warm=0",
                          word);
    *equal = 0;
    if (dot != NULL)
        *dot = 0;
    char *colon = dot != NULL ? strchr(word, ':') : NULL;
    if (colon != NULL)
        *colon = ' ';
    *out = (struct hak_control_setting){
        .section = dot != NULL ? word : "core",
        .key = dot != NULL ? dot + 1 : word,
        .value = equal + 1,
    };
    return 0;
}

/* SPDX-License-Identifier: MIT
 * json.h - is a text JSON? (RFC 8259; \u escapes by their form only)
 *
 * Each function skips one thing at `s` and returns where it ends, or NULL.
 */
#ifndef HAK_TESTS_PRELOAD_JSON_H
#define HAK_TESTS_PRELOAD_JSON_H

#include <ctype.h>
#include <stddef.h>
#include <string.h>

static inline const char *json_value(const char *s);

static inline const char *json_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static inline const char *json_string(const char *s)
{
    if (*s++ != '"')
        return NULL;
    while (*s != '"') {
        if ((unsigned char)*s < 0x20)
            return NULL;
        if (*s++ != '\\')
            continue;
        if (*s == 'u' && strspn(s + 1, "0123456789abcdefABCDEF") >= 4)
            s += 5;
        else if (*s != 0 && strchr("\"\\/bfnrt", *s) != NULL)
            s++;
        else
            return NULL;
    }
    return s + 1;
}

static inline const char *json_digits(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n != 0 ? s + n : NULL;
}

static inline const char *json_number(const char *s)
{
    s += *s == '-';
    s = *s == '0' ? s + 1 : json_digits(s);
    if (s != NULL && *s == '.')
        s = json_digits(s + 1);
    if (s != NULL && (*s == 'e' || *s == 'E'))
        s = json_digits(s + 1 + (s[1] == '+' || s[1] == '-'));
    return s;
}

/* [ value, ... ] or { "name": value, ... } */
static inline const char *json_group(const char *s, char close)
{
    s = json_space(s + 1);
    if (*s == close)
        return s + 1;
    for (;;) {
        if (close == '}') {
            s = json_string(json_space(s));
            if (s == NULL || *(s = json_space(s)) != ':')
                return NULL;
            s++;
        }
        s = json_value(json_space(s));
        if (s == NULL)
            return NULL;
        s = json_space(s);
        if (*s == close)
            return s + 1;
        if (*s++ != ',')
            return NULL;
    }
}

static inline const char *json_value(const char *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++)
        if (strncmp(s, words[i], strlen(words[i])) == 0)
            return s + strlen(words[i]);
    if (*s == '{')
        return json_group(s, '}');
    if (*s == '[')
        return json_group(s, ']');
    return *s == '"' ? json_string(s) : json_number(s);
}

/* What follows the one value in s; "not JSON" when it is none. */
static inline const char *json_end(const char *s)
{
    const char *end = json_value(json_space(s));
    return end != NULL ? end : "not JSON";
}

#endif

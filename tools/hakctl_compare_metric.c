/* SPDX-License-Identifier: MIT
 * hakctl_compare_metric.c - finds the figure of --metric in what a program has
 * printed.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

bool compare_metric_compile(struct compare *c)
{
    char why[128];
    int bad = regcomp(&c->metric_compiled, c->metric, REG_EXTENDED);
    if (bad != 0) {
        regerror(bad, &c->metric_compiled, why, sizeof why);
        ctl_say("compare: --metric \"%s\" is no regular expression: %s",
                c->metric, why);
        return false;
    }
    if (c->metric_compiled.re_nsub != 0)
        return true;
    ctl_say("compare: --metric \"%s\" needs a group for the figure, as in "
            "'requests/s: ([0-9.]+)'",
            c->metric);
    return false;
}

/* The last match in a line. Returns false: there is none. */
static bool match_line(const regex_t *re, const char *line, size_t n,
                       const char **text, size_t *length)
{
    bool found = false;
    size_t at = 0;
    int flags = REG_STARTEND;
    while (at <= n) {
        regmatch_t m[2] = {{0, (regoff_t)(n - at)}};
        if (regexec(re, line + at, 2, m, flags) != 0)
            break;
        if (m[1].rm_so >= 0) {
            *text = line + at + m[1].rm_so;
            *length = (size_t)(m[1].rm_eo - m[1].rm_so);
            found = true;
        }
        at += (size_t)m[0].rm_eo + (m[0].rm_eo == m[0].rm_so);
        flags = REG_STARTEND | REG_NOTBOL;
    }
    return found;
}

/* The last match in the last line that has one. */
static bool match_last(const regex_t *re, const char *text, size_t n,
                       const char **found, size_t *length)
{
    while (n != 0) {
        if (text[n - 1] == '\n')
            n--;
        const char *before = n != 0 ? memrchr(text, '\n', n) : NULL;
        size_t start = before != NULL ? (size_t)(before - text) + 1 : 0;
        if (match_line(re, text + start, n - start, found, length))
            return true;
        n = start;
    }
    return false;
}

__attribute__((format(printf, 1, 2))) static char *say_why(const char *format,
                                                           ...)
{
    char *why = NULL;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&why, format, ap);
    va_end(ap);
    if (n < 0)
        ctl_die("no memory");
    return why;
}

/* Returns NULL, or why the text is no figure. */
static char *take_number(const char *text, size_t n, double *figure)
{
    char copy[64], *end = NULL;
    snprintf(copy, sizeof copy, "%.*s", (int)(n < 63 ? n : 63), text);
    double value = strtod(copy, &end);
    if (end == copy || *end != 0 || value - value != 0)
        return say_why("what --metric matched, \"%s\", is no number", copy);
    *figure = value;
    return NULL;
}

char *compare_metric_find(const struct compare *c, int fd, double *figure)
{
    struct stat s;
    if (fstat(fd, &s) != 0 || s.st_size == 0)
        return say_why("nothing was printed for --metric \"%s\"", c->metric);
    size_t n = (size_t)s.st_size, length = 0;
    const char *found = NULL;
    char *text = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return say_why("cannot read what was printed: %s", strerror(errno));
    char *why =
        match_last(&c->metric_compiled, text, n, &found, &length)
            ? take_number(found, length, figure)
            : say_why("nothing that was printed matches --metric \"%s\"",
                      c->metric);
    munmap(text, n);
    return why;
}

/* SPDX-License-Identifier: MIT
 * trace_mtrace.c - reads the logs of glibc's mtrace.
 *
 * Source: mtrace(3), and mtrace.pl of glibc. A line is one of
 *
 *     = Start                         = End
 *     @ CALLER + ADDRESS SIZE         malloc, calloc, memalign
 *     @ CALLER - ADDRESS              free
 *     @ CALLER < ADDRESS              realloc, the block given; then comes
 *     @ CALLER > ADDRESS SIZE         the block that it made
 *     @ CALLER ! ADDRESS SIZE         realloc that failed
 *
 * where "@ CALLER " may be missing, and CALLER may have blanks.
 */
#include "trace_text.h"

#include <errno.h>
#include <string.h>

/* ---- lines --------------------------------------------------------------- */

/* The last word of [line, *end), and move *end before the blanks before it. */
static const char *last_word(const char *line, const char **end)
{
    const char *at = *end;
    while (at > line && at[-1] != ' ')
        at--;
    *end = at;
    while (*end > line && (*end)[-1] == ' ')
        (*end)--;
    return at;
}

/* Is the word one of these signs, alone? */
static bool is_sign(const char *word, const char *signs)
{
    return word[0] != 0 && strchr(signs, word[0]) != NULL && word[1] == ' ';
}

static bool number_word(const char *word, uint64_t *value)
{
    return trace_text_number(&word, value) && (*word == 0 || *word == ' ');
}

/* The sign of the line, its address and its size. Returns 0: it is none. */
static char parse(char *line, uint64_t *address, uint64_t *size)
{
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\r'))
        line[--length] = 0;
    if (line[0] == '=')
        return '=';
    const char *end = line + length;
    const char *last = last_word(line, &end), *before = last_word(line, &end);
    *size = 0;
    if (is_sign(before, "-<"))
        return number_word(last, address) ? before[0] : 0;
    const char *sign = last_word(line, &end);
    if (!is_sign(sign, "+>!") || !number_word(before, address) ||
        !number_word(last, size))
        return 0;
    return sign[0];
}

/* ---- the format ---------------------------------------------------------- */

static int begin(struct trace *t, char *why, size_t n)
{
    return trace_text_begin(t, "{\"source\": \"mtrace\"}", why, n);
}

/* The line after "<". Returns as trace_text_line. */
static int made_by_realloc(struct trace *t, struct trace_call *call, char *why,
                           size_t n)
{
    struct trace_text *x = t->reader;
    int got = trace_text_line(t, why, n);
    if (got == 0) {
        t->cut = true;
        t->whole = false;
    }
    if (got == 1 && parse(x->line, &call->made, &call->size) != '>')
        return trace_text_wrong(t, why, n,
                                "\"> ADDRESS SIZE\" is expected after \"<\"");
    return got;
}

/* Returns 1; 0: there are no more calls; or -errno. */
static int next_call(struct trace *t, struct trace_call *call, char *why,
                     size_t n)
{
    struct trace_text *x = t->reader;
    uint64_t address = 0, size = 0;
    char sign = '=';
    int got = 1;
    while (sign == '=' && (got = trace_text_line(t, why, n)) == 1)
        sign = parse(x->line, &address, &size);
    if (got != 1)
        return got;
    *call = (struct trace_call){.size = size};
    switch (sign) {
    case '+':
        call->kind = TRACE_MALLOC;
        call->made = address;
        return 1;
    case '-':
        call->kind = TRACE_FREE;
        call->given = address;
        return 1;
    case '!':
        call->kind = TRACE_REALLOC;
        call->given = address;
        return 1;
    case '<':
        call->kind = TRACE_REALLOC;
        call->given = address;
        return made_by_realloc(t, call, why, n);
    case '>':
        return trace_text_wrong(t, why, n, "\">\" without \"<\" before it");
    default:
        return trace_text_wrong(t, why, n,
                                "\"@ CALLER + ADDRESS SIZE\", or one of "
                                "- < > ! in place of +, is expected");
    }
}

static int next(struct trace *t, struct trace_op *op, char *why, size_t n)
{
    struct trace_call call;
    int got = trace_text_waiting(t, op, why, n);
    if (got == 0)
        got = next_call(t, &call, why, n);
    else
        return got;
    return got == 1 ? trace_text_call(t, &call, op, why, n) : got;
}

const struct trace_format trace_mtrace = {
    .first = "=@+-<", .begin = begin, .next = next, .end = trace_text_end};

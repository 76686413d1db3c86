/* SPDX-License-Identifier: MIT
 * trace_read.c - opens and reads traces of any format.
 */
#include "trace_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int trace_fail(int error, char *why, size_t n, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, n, format, ap);
    va_end(ap);
    return error;
}

/* ---- open ---------------------------------------------------------------- */

static const struct trace_format *format_of(int first)
{
    static const struct trace_format *const formats[] = {
        &trace_own, &trace_logalloc, &trace_mtrace};
    for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (first > 0 && strchr(formats[i]->first, first) != NULL)
            return formats[i];
    return NULL;
}

/* Find out the format. One byte can be put back even if this is a pipe. */
static int recognise(struct trace *t, char *why, size_t n)
{
    errno = 0;
    int first = getc(t->in);
    if (first == EOF && ferror(t->in))
        return trace_fail(-errno, why, n, "cannot be read: %s",
                          strerror(errno));
    if (first == EOF)
        return trace_fail(-EBADMSG, why, n, "is empty");
    t->format = format_of(first);
    if (t->format == NULL)
        return trace_fail(-EBADMSG, why, n,
                          "is no trace: neither of hakctl record nor a text "
                          "of logalloc or mtrace");
    ungetc(first, t->in);
    return t->format->begin(t, why, n);
}

struct trace *trace_open_stream(FILE *in, const struct trace_options *options,
                                char *why, size_t n)
{
    struct trace *t = calloc(1, sizeof *t);
    if (t == NULL) {
        trace_fail(-ENOMEM, why, n, "%s", strerror(ENOMEM));
        fclose(in);
        return NULL;
    }
    t->in = in;
    if (options != NULL)
        t->options = *options;
    if (recognise(t, why, n) == 0)
        return t;
    trace_close(t);
    return NULL;
}

struct trace *trace_open(const char *path, const struct trace_options *options,
                         char *why, size_t n)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (in == NULL) {
        trace_fail(-errno, why, n, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    return trace_open_stream(in, options, why, n);
}

static void end(struct trace *t)
{
    if (t->format != NULL)
        t->format->end(t);
    free(t->about);
    t->reader = NULL;
    t->about = NULL;
    t->over = t->cut = t->whole = false;
}

void trace_close(struct trace *t)
{
    end(t);
    if (t->in != stdin)
        fclose(t->in);
    free(t);
}

/* ---- read ---------------------------------------------------------------- */

int trace_next(struct trace *t, struct trace_op *op, char *why, size_t n)
{
    if (t->over)
        return 0;
    int got = t->format->next(t, op, why, n);
    t->over = got <= 0;
    return got;
}

int trace_rewind(struct trace *t, char *why, size_t n)
{
    if (fseeko(t->in, 0, SEEK_SET) != 0)
        return trace_fail(-errno, why, n,
                          "cannot be read twice: %s; write it into a file "
                          "first",
                          strerror(errno));
    end(t);
    clearerr(t->in);
    int error = t->format->begin(t, why, n);
    t->over = error != 0;
    return error;
}

const char *trace_about(const struct trace *t)
{
    return t->about;
}

bool trace_totals(const struct trace *t, struct trace_totals *out)
{
    if (t->whole)
        *out = t->totals;
    return t->whole;
}

bool trace_was_cut(const struct trace *t)
{
    return t->cut;
}

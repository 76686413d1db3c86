/* SPDX-License-Identifier: MIT
 * trace_logalloc.c - reads the logs of Firefox's logalloc, as they are and as
 * its logalloc_munge.py makes them.
 *
 * Source: the README in memory/replace/logalloc of Firefox. A line is
 *
 *     PID TID FUNCTION(ARGUMENTS)[=RESULT]
 *
 * Addresses are 0x... or, from logalloc_munge.py, #N. Older logs have no TID.
 */
#include "trace_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A function, and what its arguments are: g given, s size, c factor of it, a
 * alignment. */
static const struct function {
    const char *name, *arguments;
    enum trace_kind kind;
} functions[] = {
    {"malloc", "s", TRACE_MALLOC},
    {"free", "g", TRACE_FREE},
    {"realloc", "gs", TRACE_REALLOC},
    {"calloc", "cs", TRACE_CALLOC},
    {"memalign", "as", TRACE_ALIGNED},
    {"posix_memalign", "as", TRACE_ALIGNED},
    {"aligned_alloc", "as", TRACE_ALIGNED},
    {"valloc", "s", TRACE_ALIGNED},
};

/* Those that make and free nothing; the last one begins with this. */
static const char *const others[] = {"malloc_usable_size", "malloc_good_size",
                                     "jemalloc_"};

/* ---- lines --------------------------------------------------------------- */

static const struct function *find_function(const char *name, size_t length)
{
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strlen(functions[i].name) == length &&
            memcmp(functions[i].name, name, length) == 0)
            return &functions[i];
    return NULL;
}

static bool is_other(const char *name)
{
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return true;
    return false;
}

static bool number_at(const char **at, uint64_t *value)
{
    *at += **at == '#';
    return trace_text_number(at, value);
}

static bool skip(const char **at, char ch)
{
    bool there = **at == ch;
    *at += there;
    return there;
}

/* PID TID, or PID alone. */
static bool ids(const char **at, uint64_t *pid, uint64_t *tid)
{
    if (!trace_text_number(at, pid) || !skip(at, ' '))
        return false;
    *tid = *pid;
    return !trace_text_number(at, tid) || skip(at, ' ');
}

static bool arguments(const char **at, const struct function *f,
                      struct trace_call *call)
{
    uint64_t factor = 1;
    if (!skip(at, '('))
        return false;
    for (const char *a = f->arguments; *a != 0; a++) {
        uint64_t *to = *a == 'g'   ? &call->given
                       : *a == 's' ? &call->size
                       : *a == 'c' ? &factor
                                   : &call->align;
        if ((a != f->arguments && !skip(at, ',')) || !number_at(at, to))
            return false;
    }
    if (__builtin_mul_overflow(call->size, factor, &call->size))
        call->size = UINT64_MAX;
    return skip(at, ')');
}

/* Returns 1; 0: the line is of no call that counts; or -EBADMSG. */
static int parse(struct trace *t, struct trace_call *call, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    const char *at = x->line;
    uint64_t pid;
    if (!ids(&at, &pid, &call->thread) || call->thread == UINT64_MAX)
        return trace_text_wrong(t, why, n, "\"PID TID FUNCTION(\" is expected");
    if (x->chosen == 0)
        x->chosen = pid;
    if (pid != x->chosen || is_other(at))
        return 0;
    size_t length = strcspn(at, "(");
    const struct function *f = find_function(at, length);
    if (f == NULL)
        return trace_text_wrong(t, why, n, "the function is not known");
    at += length;
    call->kind = f->kind;
    call->align = 4096;
    if (!arguments(&at, f, call))
        return trace_text_wrong(t, why, n,
                                "the arguments are not those of the function");
    bool made = f->kind == TRACE_FREE ||
                (skip(&at, '=') && number_at(&at, &call->made));
    skip(&at, '\r');
    if (!made || *at != 0)
        return trace_text_wrong(t, why, n, "the result is not an address");
    return 1;
}

/* ---- the process --------------------------------------------------------- */

/* Lines of each process. */
struct counts {
    struct trace_table lines; /* pid + 1 -> how many */
    uint64_t most, most_pid;
};

/* Count the line of a process. Returns 0 or -ENOMEM. */
static int count_line(struct counts *c, uint64_t pid)
{
    const uint64_t *before = trace_table_find(&c->lines, pid + 1);
    uint64_t now = before != NULL ? *before + 1 : 1;
    if (now > c->most) {
        c->most = now;
        c->most_pid = pid;
    }
    return trace_table_put(&c->lines, pid + 1, now);
}

/* Count the lines of the whole file. Returns 0 or -errno. */
static int count_lines(struct trace *t, struct counts *c, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    uint64_t pid;
    int got;
    while ((got = trace_text_line(t, why, n)) == 1) {
        const char *at = x->line;
        if (trace_text_number(&at, &pid) && pid != UINT64_MAX &&
            count_line(c, pid) != 0)
            return trace_fail(-ENOMEM, why, n, "%s", strerror(ENOMEM));
    }
    return got;
}

/* Choose the process: read the file once and count. */
static int choose(struct trace *t, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    struct counts c = {0};
    uint64_t wanted = t->options.pid;
    int error = count_lines(t, &c, why, n);
    bool there = trace_table_find(&c.lines, wanted + 1) != NULL;
    trace_table_clear(&c.lines);
    x->chosen = wanted != 0 ? wanted : c.most_pid;
    if (error == 0 && wanted != 0 && !there)
        return trace_fail(-ENOENT, why, n,
                          "has no process %llu; most of its lines are of "
                          "process %llu",
                          (unsigned long long)wanted,
                          (unsigned long long)c.most_pid);
    return error;
}

/* ---- the format ---------------------------------------------------------- */

static int describe(struct trace *t)
{
    struct trace_text *x = t->reader;
    free(t->about);
    t->about = NULL;
    if (asprintf(&t->about, "{\"source\": \"logalloc\", \"pid\": %llu}",
                 (unsigned long long)x->chosen) < 0)
        return -ENOMEM;
    return 0;
}

static int begin(struct trace *t, char *why, size_t n)
{
    int error = trace_text_begin(t, "{\"source\": \"logalloc\"}", why, n);
    if (error != 0)
        return error;
    struct trace_text *x = t->reader;
    x->chosen = t->options.pid;
    if (fseeko(t->in, 0, SEEK_SET) != 0)
        return 0;
    error = choose(t, why, n);
    if (error == 0)
        error = describe(t);
    if (error != 0)
        return error;
    rewind(t->in);
    t->cut = t->whole = false;
    x->nlines = 0;
    return 0;
}

static int next(struct trace *t, struct trace_op *op, char *why, size_t n)
{
    struct trace_call call = {0};
    int got = trace_text_waiting(t, op, why, n);
    if (got != 0)
        return got;
    do
        got = trace_text_line(t, why, n);
    while (got == 1 && (got = parse(t, &call, why, n)) == 0);
    return got == 1 ? trace_text_call(t, &call, op, why, n) : got;
}

const struct trace_format trace_logalloc = {
    .first = "0123456789", .begin = begin, .next = next, .end = trace_text_end};

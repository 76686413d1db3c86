/* make_trace.c - makes a trace of lines of text on stdin, for the tests of
 * hakctl replay.
 *
 *     THREAD malloc SIZE | calloc SIZE | aligned ALIGN SIZE
 *     THREAD realloc BLOCK SIZE | free BLOCK | null | ended
 *     THREAD touched BLOCK BYTES | resident BYTES
 *     0 time NS             of what comes next
 *
 * Blocks are numbered 1, 2, 3 ... in the order in which they are made. A call
 * with "failed" behind it makes none.
 *
 *     make_trace FILE
 */
#include <trace/trace.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[TRACE_KINDS] = {
    [TRACE_MALLOC] = "malloc",   [TRACE_CALLOC] = "calloc",
    [TRACE_ALIGNED] = "aligned", [TRACE_REALLOC] = "realloc",
    [TRACE_FREE] = "free",       [TRACE_FREE_NULL] = "null",
    [TRACE_TOUCHED] = "touched", [TRACE_RESIDENT] = "resident",
    [TRACE_ENDED] = "ended",
};

static void die(const char *what, const char *line)
{
    fprintf(stderr, "make_trace: %s: %s\n", what, line);
    exit(1);
}

/* The numbers of a line in the places that its kind has for them. */
static void place(struct trace_op *op, uint64_t a, uint64_t b)
{
    bool two = op->kind == TRACE_ALIGNED || op->kind == TRACE_REALLOC ||
               op->kind == TRACE_TOUCHED;
    op->size = two ? b : a;
    if (op->kind == TRACE_ALIGNED)
        op->align = a;
    if (op->kind == TRACE_REALLOC)
        op->old = a;
    if (op->kind == TRACE_FREE || op->kind == TRACE_TOUCHED)
        op->object = a;
    if (op->kind == TRACE_FREE)
        op->size = 0;
}

int main(int argc, char **argv)
{
    char line[128], word[16], why[256];
    unsigned long long a, b, now_ns = 0, objects = 0;
    unsigned thread;
    struct trace_writer *w =
        argc == 2 ? trace_create(argv[1], "{\"program\":[\"made\",\"up\"]}",
                                 why, sizeof why)
                  : NULL;
    if (w == NULL)
        die("cannot write", argc == 2 ? why : "no FILE");
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct trace_op op = {.kind = TRACE_KINDS, .time_ns = now_ns};
        a = b = 0;
        if (sscanf(line, "%u %15s %llu %llu", &thread, word, &a, &b) < 2)
            die("cannot read", line);
        if (strcmp(word, "time") == 0) {
            now_ns = a;
            continue;
        }
        for (unsigned k = 0; k < TRACE_KINDS; k++)
            if (strcmp(word, names[k]) == 0)
                op.kind = (enum trace_kind)k;
        op.thread = thread;
        place(&op, a, b);
        if (op.kind <= TRACE_REALLOC && strstr(line, "failed") == NULL)
            op.object = ++objects;
        if (op.kind == TRACE_KINDS || trace_put(w, &op) != 0)
            die("cannot be", line);
    }
    return trace_finish(w, 0) != 0;
}

/* SPDX-License-Identifier: MIT
 * trace_own.c - reads traces of trace_write.c.
 *
 * A file comes from anywhere: each number is checked before it is used.
 */
#include "trace_block.h"
#include "trace_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct buffer {
    uint8_t *at;
    size_t room; /* bytes */
};

struct own {
    uint64_t at;    /* bytes of the blocks that were read */
    uint64_t block; /* where the present block begins */
    struct trace_state state;
    struct trace_cursor cursor;
    ZSTD_DCtx *zstd;
    struct buffer body, columns; /* of the present block */
};

enum { CUT = 1 }; /* the file ends inside of what was to be read */

/* ---- blocks -------------------------------------------------------------- */

static int damaged(const struct own *r, char *why, size_t n, const char *what)
{
    return trace_fail(
        -EBADMSG, why, n, "is damaged at byte %llu, after %llu operations: %s",
        (unsigned long long)r->block, (unsigned long long)r->state.nops, what);
}

/* Read so many bytes. Returns 0, CUT or -errno. */
static int read_bytes(struct trace *t, void *to, size_t bytes, char *why,
                      size_t n)
{
    struct own *r = t->reader;
    errno = 0;
    size_t got = fread(to, 1, bytes, t->in);
    if (got == bytes) {
        r->at += bytes;
        return 0;
    }
    if (!ferror(t->in))
        return CUT;
    int error = errno != 0 ? errno : EIO;
    return trace_fail(-error, why, n, "cannot be read after byte %llu: %s",
                      (unsigned long long)r->at, strerror(error));
}

/* Make a buffer that large, at least; the sizes of a file were checked. */
static bool make_room(struct buffer *b, size_t bytes)
{
    if (bytes <= b->room)
        return true;
    free(b->at);
    b->at = malloc(bytes);
    b->room = b->at != NULL ? bytes : 0;
    return b->at != NULL;
}

static int no_memory(char *why, size_t n)
{
    return trace_fail(-ENOMEM, why, n, "%s", strerror(ENOMEM));
}

/* Read a block into r->body. Returns 0, CUT or -errno. */
static int read_block(struct trace *t, struct trace_head *h, char *why,
                      size_t n)
{
    struct own *r = t->reader;
    uint8_t head[TRACE_HEAD_BYTES];
    r->block = r->at;
    int error = read_bytes(t, head, sizeof head, why, n);
    if (error != 0)
        return error;
    const char *what = trace_head_get(head, h);
    if (what != NULL)
        return damaged(r, why, n, what);
    if (!make_room(&r->body, (size_t)h->bytes + 1))
        return no_memory(why, n);
    error = read_bytes(t, r->body.at, h->bytes, why, n);
    if (error != 0)
        return error;
    if (trace_crc(r->body.at, h->bytes) != h->crc)
        return damaged(r, why, n, "the checksum of the block is wrong");
    return 0;
}

/* ---- the beginning ------------------------------------------------------- */

static int read_magic(struct trace *t, char *why, size_t n)
{
    char magic[TRACE_MAGIC_BYTES] = "";
    int error = read_bytes(t, magic, sizeof magic, why, n);
    if (error < 0)
        return error;
    if (memcmp(magic, TRACE_MAGIC, TRACE_MAGIC_BYTES) == 0)
        return 0;
    if (error == CUT && strncmp(magic, TRACE_MAGIC, strlen(magic)) == 0)
        return trace_fail(-EBADMSG, why, n, "was cut before its first block");
    if (memcmp(magic, TRACE_MAGIC, TRACE_MAGIC_BYTES - 1) == 0)
        return trace_fail(-EBADMSG, why, n,
                          "is a trace of version %u, and this hakctl reads "
                          "version %u",
                          (unsigned char)magic[TRACE_MAGIC_BYTES - 1],
                          TRACE_MAGIC[TRACE_MAGIC_BYTES - 1]);
    return trace_fail(-EBADMSG, why, n,
                      "is no trace, although it begins like one");
}

static int read_about(struct trace *t, char *why, size_t n)
{
    struct own *r = t->reader;
    struct trace_head h;
    int error = read_block(t, &h, why, n);
    if (error == CUT)
        return trace_fail(-EBADMSG, why, n, "was cut before its first block");
    if (error != 0)
        return error;
    const char *text = (char *)r->body.at;
    if (h.kind != TRACE_BLOCK_ABOUT || h.bytes > TRACE_ABOUT_BYTES ||
        text == NULL || memchr(text, 0, h.bytes) != NULL)
        return damaged(r, why, n, "the first block does not describe a trace");
    t->about = strndup(text, h.bytes);
    return t->about != NULL ? 0 : -ENOMEM;
}

static int begin(struct trace *t, char *why, size_t n)
{
    struct own *r = t->reader = calloc(1, sizeof *r);
    if (r == NULL)
        return no_memory(why, n);
    r->zstd = ZSTD_createDCtx();
    if (r->zstd == NULL)
        return no_memory(why, n);
    int error = read_magic(t, why, n);
    return error == 0 ? read_about(t, why, n) : error;
}

/* ---- operations ---------------------------------------------------------- */

/* Is the state that a block names the one that the blocks before it left? */
static bool follows(const struct trace_state *now, const struct trace_state *s)
{
    return now->nops == s->nops && now->objects == s->objects &&
           now->ticks == s->ticks && now->thread == s->thread &&
           now->nthreads == s->nthreads;
}

static const char *unpack(struct own *r, const struct trace_start *s,
                          const uint8_t *at)
{
    uint8_t *to = r->columns.at;
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        size_t n = 0;
        if (s->plain[i] != 0)
            n = ZSTD_decompressDCtx(r->zstd, to, s->plain[i], at, s->packed[i]);
        if (ZSTD_isError(n) || n != s->plain[i] ||
            (n == 0 && s->packed[i] != 0))
            return "a column cannot be unpacked";
        r->cursor.at[i] = to;
        r->cursor.end[i] = to += n;
        at += s->packed[i];
    }
    return NULL;
}

static size_t sum(const uint64_t sizes[TRACE_COLUMNS])
{
    size_t all = 0;
    for (unsigned i = 0; i < TRACE_COLUMNS; i++)
        all += sizes[i];
    return all;
}

static int begin_operations(struct own *r, uint32_t bytes, char *why, size_t n)
{
    struct trace_start s;
    const uint8_t *at = r->body.at;
    const char *what = trace_start_get(&at, at + bytes, &s);
    if (what == NULL && !follows(&r->state, &s.state))
        what = "it does not continue the block before it; one is missing";
    if (what == NULL && !make_room(&r->columns, sum(s.plain)))
        return no_memory(why, n);
    if (what == NULL)
        what = unpack(r, &s, at);
    r->state.given = 0;
    return what == NULL ? 0 : damaged(r, why, n, what);
}

static int read_end(struct trace *t, uint32_t bytes, char *why, size_t n)
{
    struct own *r = t->reader;
    const char *what = trace_end_get(r->body.at, bytes, &t->totals);
    if (what == NULL && (t->totals.nops != r->state.nops ||
                         t->totals.objects != r->state.objects ||
                         t->totals.threads != r->state.nthreads))
        what = "the totals are not those of the operations";
    if (what == NULL && getc(t->in) != EOF)
        what = "the file goes on after its last block";
    if (what != NULL)
        return damaged(r, why, n, what);
    t->whole = true;
    return 0;
}

/* Go to the next block. Returns 1; 0: there is none; or -errno. */
static int next_block(struct trace *t, char *why, size_t n)
{
    struct own *r = t->reader;
    struct trace_head h;
    int error = read_block(t, &h, why, n);
    if (error == CUT) {
        t->cut = true;
        return 0;
    }
    if (error != 0)
        return error;
    if (h.kind == TRACE_BLOCK_END)
        return read_end(t, h.bytes, why, n);
    if (h.kind != TRACE_BLOCK_OPERATIONS)
        return damaged(r, why, n, "a second block describes the trace");
    error = begin_operations(r, h.bytes, why, n);
    return error != 0 ? error : 1;
}

static int next(struct trace *t, struct trace_op *op, char *why, size_t n)
{
    struct own *r = t->reader;
    const char *what = "";
    int got = trace_decode(&r->cursor, &r->state, op, &what);
    if (got == 0) {
        got = next_block(t, why, n);
        if (got <= 0)
            return got;
        got = trace_decode(&r->cursor, &r->state, op, &what);
    }
    return got >= 0 ? got : damaged(r, why, n, what);
}

static void end(struct trace *t)
{
    struct own *r = t->reader;
    if (r == NULL)
        return;
    ZSTD_freeDCtx(r->zstd);
    free(r->columns.at);
    free(r->body.at);
    free(r);
}

const struct trace_format trace_own = {
    .first = "H", .begin = begin, .next = next, .end = end};

/* SPDX-License-Identifier: MIT
 * trace_write.c - writes traces.
 */
#include "trace_block.h"
#include "trace_live.h"

#include <base/os.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

/* Measured: docs/trace.md. */
enum { LEVEL = 1 };

struct trace_writer {
    int fd;
    bool regular;  /* a file, which can be cut */
    int error;     /* the first one; nothing is written after it */
    off_t written; /* bytes of whole blocks */
    struct trace_state begun, state; /* of the block that fills; now */
    struct trace_columns columns;
    struct trace_live live;
    ZSTD_CCtx *zstd;
    uint8_t *out; /* TRACE_HEAD_BYTES + TRACE_BODY_BYTES */
};

/* ---- begin, end ---------------------------------------------------------- */

static void close_writer(struct trace_writer *w)
{
    trace_columns_free(&w->columns);
    trace_live_clear(&w->live);
    ZSTD_freeCCtx(w->zstd);
    free(w->out);
    if (w->fd > STDERR_FILENO)
        close(w->fd);
    free(w);
}

static int open_file(struct trace_writer *w, const char *path)
{
    struct stat s;
    bool to_stdout = strcmp(path, "-") == 0;
    w->fd = to_stdout
                ? STDOUT_FILENO
                : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0 || fstat(w->fd, &s) != 0)
        return -errno;
    w->regular = S_ISREG(s.st_mode) && !to_stdout;
    return 0;
}

static int make_buffers(struct trace_writer *w)
{
    w->zstd = ZSTD_createCCtx();
    w->out = malloc(TRACE_HEAD_BYTES + TRACE_BODY_BYTES);
    if (w->zstd == NULL || w->out == NULL)
        return -ENOMEM;
    return trace_columns_new(&w->columns);
}

/* Write n bytes: whole blocks. After an error the file is cut back to the
 * blocks before. */
static int write_all(struct trace_writer *w, const void *bytes, size_t n)
{
    int error = hak_os_write(w->fd, bytes, n);
    if (error == 0)
        w->written += (off_t)n;
    else if (w->regular && ftruncate(w->fd, w->written) != 0)
        error = -errno;
    w->error = error;
    return error;
}

/* Write the body that is in w->out behind the room for its header. */
static int write_block(struct trace_writer *w, uint32_t kind, size_t bytes)
{
    struct trace_head h = {.kind = kind, .bytes = (uint32_t)bytes};
    trace_head_put(w->out, &h, w->out + TRACE_HEAD_BYTES);
    return write_all(w, w->out, TRACE_HEAD_BYTES + bytes);
}

static int begin(struct trace_writer *w, const char *path, const char *about)
{
    size_t n = strlen(about);
    if (n > TRACE_ABOUT_BYTES)
        return -EFBIG;
    int error = make_buffers(w);
    if (error == 0)
        error = open_file(w, path);
    if (error == 0)
        error = write_all(w, TRACE_MAGIC, TRACE_MAGIC_BYTES);
    if (error != 0)
        return error;
    memcpy(w->out + TRACE_HEAD_BYTES, about, n);
    return write_block(w, TRACE_BLOCK_ABOUT, n);
}

struct trace_writer *trace_create(const char *path, const char *about,
                                  char *why, size_t n)
{
    struct trace_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        snprintf(why, n, "%s", strerror(ENOMEM));
        return NULL;
    }
    w->fd = -1;
    w->live = TRACE_LIVE;
    int error = begin(w, path, about);
    if (error == 0)
        return w;
    snprintf(why, n, "%s", strerror(-error));
    close_writer(w);
    return NULL;
}

/* ---- operations ---------------------------------------------------------- */

/* Pack the columns behind each other at `at`. Returns the end, or NULL. */
static uint8_t *pack(struct trace_writer *w, struct trace_start *s, uint8_t *at)
{
    uint8_t *end = w->out + TRACE_HEAD_BYTES + TRACE_BODY_BYTES;
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        s->plain[i] = w->columns.n[i];
        s->packed[i] = 0;
        if (s->plain[i] == 0)
            continue;
        size_t n = ZSTD_compressCCtx(w->zstd, at, (size_t)(end - at),
                                     w->columns.at[i], s->plain[i], LEVEL);
        if (ZSTD_isError(n))
            return NULL;
        s->packed[i] = n;
        at += n;
    }
    return at;
}

/* The columns are packed behind the most room that the numbers before them can
 * take, and are then moved up to these. */
int trace_flush(struct trace_writer *w)
{
    struct trace_start s = {.nops = w->columns.n[TRACE_TAGS],
                            .state = w->begun};
    if (w->error != 0 || s.nops == 0)
        return w->error;
    uint8_t *body = w->out + TRACE_HEAD_BYTES;
    uint8_t *columns = body + TRACE_START_BYTES;
    uint8_t *end = pack(w, &s, columns);
    if (end == NULL)
        return w->error = -ENOMEM;
    uint8_t *to = trace_start_put(body, &s);
    memmove(to, columns, (size_t)(end - columns));
    memset(w->columns.n, 0, sizeof w->columns.n);
    w->state.given = 0;
    w->begun = w->state;
    return write_block(w, TRACE_BLOCK_OPERATIONS,
                       (size_t)(end - columns) + (size_t)(to - body));
}

int trace_put(struct trace_writer *w, const struct trace_op *op)
{
    if (w->error != 0)
        return w->error;
    int error = trace_encode(&w->columns, &w->state, op);
    if (error != 0)
        return error;
    error = trace_live_step(&w->live, op);
    if (error != 0)
        return w->error = error;
    if (w->columns.n[TRACE_TAGS] == TRACE_BLOCK_OPS)
        return trace_flush(w);
    return 0;
}

int trace_finish(struct trace_writer *w, uint64_t lost)
{
    const struct trace_totals totals = {
        .nops = w->state.nops,
        .objects = w->state.objects,
        .threads = w->state.nthreads,
        .time_ns = w->state.ticks * TRACE_TICK_NS,
        .peak_live_bytes = w->live.peak_bytes,
        .peak_live_blocks = w->live.peak_blocks,
        .lost = lost,
    };
    int error = trace_flush(w);
    if (error == 0)
        error = write_block(w, TRACE_BLOCK_END,
                            trace_end_put(w->out + TRACE_HEAD_BYTES, &totals));
    if (error == 0 && w->fd > STDERR_FILENO) {
        error = close(w->fd) == 0 ? 0 : -errno;
        w->fd = -1;
    }
    close_writer(w);
    return error;
}

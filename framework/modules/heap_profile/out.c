/* SPDX-License-Identifier: MIT
 * out.c - protobuf messages through gzip to a descriptor.
 *
 * All memory of zlib is in one mapping, which a child of a fork does not get.
 * Its size is that of deflate with 15 bits of window and a memory level of 8:
 * 256 KiB and some (zlib's zconf.h).
 */
#include "heap_profile.h"

#include <base/os.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

enum {
    WINDOW_BITS = 15,
    GZIP = 16, /* added to them: a gzip header */
    MEMORY_LEVEL = 8,
    ZLIB_BYTES = 320 << 10,
    IN_BYTES = 16 << 10,
    OUT_BYTES = 16 << 10,
    VARINT_BYTES = 10,
};
/* Wire types of protobuf. */
enum { VARINT = 0, LENGTH = 2 };

struct hak_profile_out {
    int fd, error;
    z_stream z;
    size_t nin, used_bytes;
    unsigned char in[IN_BYTES], out[OUT_BYTES];
    _Alignas(64) unsigned char memory[ZLIB_BYTES];
};

/* ---- messages ------------------------------------------------------------ */

static size_t varint(uint8_t out[VARINT_BYTES], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

static size_t tag(uint8_t out[VARINT_BYTES], uint32_t field, uint32_t type)
{
    return varint(out, field << 3 | type);
}

void hak_profile_put_raw(struct hak_profile_message *m, uint64_t value)
{
    HAK_ALWAYS(sizeof m->bytes - m->n >= VARINT_BYTES);
    m->n += varint(m->bytes + m->n, value);
}

/* A field that is 0 is left out, as protobuf's default. */
void hak_profile_put(struct hak_profile_message *m, uint32_t field,
                     uint64_t value)
{
    if (value == 0)
        return;
    hak_profile_put_raw(m, field << 3 | VARINT);
    hak_profile_put_raw(m, value);
}

void hak_profile_put_bytes(struct hak_profile_message *m, uint32_t field,
                           const void *bytes, size_t n)
{
    hak_profile_put_raw(m, field << 3 | LENGTH);
    hak_profile_put_raw(m, n);
    HAK_ALWAYS(n <= sizeof m->bytes - m->n);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

/* ---- gzip ---------------------------------------------------------------- */

/* Compress what is in out->in. */
static void flush(struct hak_profile_out *out, int how)
{
    int result = Z_OK;
    out->z.next_in = out->in;
    out->z.avail_in = (unsigned)out->nin;
    do {
        out->z.next_out = out->out;
        out->z.avail_out = OUT_BYTES;
        result = deflate(&out->z, how);
        if (out->error == 0)
            out->error =
                hak_os_write(out->fd, out->out, OUT_BYTES - out->z.avail_out);
    } while (out->error == 0 && result != Z_STREAM_ERROR &&
             out->z.avail_out == 0);
    if (out->error == 0 && result == Z_STREAM_ERROR)
        out->error = -EIO;
    out->nin = 0;
}

static void add(struct hak_profile_out *out, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    while (n != 0 && out->error == 0) {
        size_t part = hak_min(n, IN_BYTES - out->nin);
        memcpy(out->in + out->nin, at, part);
        out->nin += part;
        at += part;
        n -= part;
        if (out->nin == IN_BYTES)
            flush(out, Z_NO_FLUSH);
    }
}

static void *zlib_memory(void *context, unsigned n, unsigned item_bytes)
{
    struct hak_profile_out *out = context;
    size_t bytes = hak_round_up((size_t)n * item_bytes, 64);
    if (bytes > ZLIB_BYTES - out->used_bytes)
        return NULL;
    out->used_bytes += bytes;
    return out->memory + out->used_bytes - bytes;
}

static void zlib_free(void *context, void *p)
{
    (void)context, (void)p;
}

struct hak_profile_out *hak_profile_out_open(int fd)
{
    struct hak_profile_out *out =
        hak_os_map(sizeof *out, PROT_READ | PROT_WRITE);
    if (out == NULL)
        return NULL;
    madvise(out, sizeof *out, MADV_DONTFORK);
    out->fd = fd;
    out->z.zalloc = zlib_memory;
    out->z.zfree = zlib_free;
    out->z.opaque = out;
    if (deflateInit2(&out->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                     WINDOW_BITS + GZIP, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return out;
    hak_os_unmap(out, sizeof *out);
    return NULL;
}

void hak_profile_write(struct hak_profile_out *out, uint32_t field,
                       const void *bytes, size_t n)
{
    uint8_t head[2 * VARINT_BYTES];
    size_t used = tag(head, field, LENGTH);
    used += varint(head + used, n);
    add(out, head, used);
    add(out, bytes, n);
}

void hak_profile_write_number(struct hak_profile_out *out, uint32_t field,
                              uint64_t value)
{
    uint8_t head[2 * VARINT_BYTES];
    size_t used = tag(head, field, VARINT);
    used += varint(head + used, value);
    add(out, head, used);
}

int hak_profile_out_close(struct hak_profile_out *out)
{
    flush(out, Z_FINISH);
    int error = out->error;
    hak_os_unmap(out, sizeof *out);
    return error;
}

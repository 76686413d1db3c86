/* SPDX-License-Identifier: MIT
 * hakctl_profile_unpack.c - a profile's bytes, without gzip.
 */
#include "hakctl_profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static bool is_gzip(const uint8_t *bytes, size_t n)
{
    return n >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

/* Does the file look like a text, such as a heap profile of jemalloc? */
static bool is_text(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n && i < 64; i++)
        if (bytes[i] < ' ' && bytes[i] != '\n' && bytes[i] != '\t' &&
            bytes[i] != '\r')
            return false;
    return n > 0;
}

/* All bytes of an open file, at most so many; NULL: errno says why. */
static uint8_t *read_all(FILE *in, size_t most, size_t *n)
{
    size_t size = 64 << 10;
    uint8_t *bytes = malloc(size);
    *n = 0;
    while (bytes != NULL) {
        *n += fread(bytes + *n, 1, size - *n, in);
        if (*n < size)
            break;
        uint8_t *more = size < most ? realloc(bytes, size * 2) : NULL;
        if (more == NULL) {
            free(bytes);
            errno = size < most ? ENOMEM : EFBIG;
            return NULL;
        }
        bytes = more;
        size *= 2;
    }
    if (bytes != NULL && ferror(in)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static uint8_t *read_file(const char *file, size_t most, size_t *n,
                          char why[PF_WHY_BYTES])
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    uint8_t *bytes = in != NULL ? read_all(in, most, n) : NULL;
    int error = errno;
    if (in != NULL && in != stdin)
        fclose(in);
    if (bytes == NULL)
        snprintf(why, PF_WHY_BYTES, "%s: %s", file, strerror(error));
    return bytes;
}

/* Make the buffer twice as large. Returns false: it may not grow. */
static bool grow(z_stream *z, uint8_t **out, size_t *size, size_t most)
{
    uint8_t *more = *size < most ? realloc(*out, *size * 2) : NULL;
    if (more == NULL)
        return false;
    *out = more;
    z->next_out = more + *size;
    z->avail_out = (uInt)(*size > UINT32_MAX ? UINT32_MAX : *size);
    *size *= 2;
    return true;
}

/* Inflate until the end of the input. Members of gzip may follow each other.
 * Returns Z_STREAM_END, or what is wrong. */
static int inflate_all(z_stream *z, uint8_t **out, size_t *size, size_t most)
{
    int status = Z_OK;
    while (status == Z_OK || (status == Z_STREAM_END && z->avail_in > 0)) {
        if (status == Z_STREAM_END && inflateReset(z) != Z_OK)
            return Z_DATA_ERROR;
        if (z->avail_out == 0 && !grow(z, out, size, most))
            return Z_MEM_ERROR;
        status = inflate(z, Z_NO_FLUSH);
        if (status == Z_BUF_ERROR && z->avail_out == 0)
            status = Z_OK;
    }
    return status;
}

static void explain(char why[PF_WHY_BYTES], const char *file, int status,
                    const z_stream *z, size_t n)
{
    if (status == Z_MEM_ERROR)
        snprintf(why, PF_WHY_BYTES,
                 "%s: unpacks to more than %lu bytes, or there is no memory "
                 "for it; is it a profile?",
                 file, z->total_out);
    else if (status == Z_BUF_ERROR)
        snprintf(why, PF_WHY_BYTES,
                 "%s: is cut off at byte %zu, within its gzip data", file, n);
    else
        snprintf(why, PF_WHY_BYTES, "%s: is damaged at byte %lu of %zu: %s",
                 file, z->total_in, n,
                 z->msg != NULL ? z->msg : "no gzip data");
}

static uint8_t *unzip(const char *file, const uint8_t *bytes, size_t most,
                      size_t *n, char why[PF_WHY_BYTES])
{
    enum { GZIP = 16 };
    size_t size = 256 << 10;
    uint8_t *out = malloc(size);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes,
                  .avail_in = (uInt)*n,
                  .next_out = out,
                  .avail_out = (uInt)size};
    int status = Z_MEM_ERROR;
    if (out != NULL && inflateInit2(&z, MAX_WBITS + GZIP) == Z_OK)
        status = inflate_all(&z, &out, &size, most);
    if (status != Z_STREAM_END) {
        explain(why, file, status, &z, *n);
        free(out);
        out = NULL;
    } else {
        *n = (size_t)(z.next_out - out);
    }
    inflateEnd(&z);
    return out;
}

uint8_t *pf_unpack(const char *file, size_t most_bytes, size_t *n,
                   char why[PF_WHY_BYTES])
{
    uint8_t *bytes = read_file(file, most_bytes, n, why);
    if (bytes == NULL)
        return NULL;
    uint8_t *out = bytes;
    if (*n == 0) {
        snprintf(why, PF_WHY_BYTES, "%s: is empty", file);
        out = NULL;
    } else if (is_gzip(bytes, *n)) {
        out = unzip(file, bytes, most_bytes, n, why);
    } else if (is_text(bytes, *n)) {
        snprintf(why, PF_WHY_BYTES,
                 "%s: is a text and no profile.proto; heap profiles of "
                 "jemalloc and tcmalloc become one by pprof -proto",
                 file);
        out = NULL;
    }
    if (out != bytes)
        free(bytes);
    return out;
}

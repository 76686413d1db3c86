/* SPDX-License-Identifier: MIT
 * reply.c - a reply of the control socket: a text that grows, JSON strings.
 */
#include "control.h"

#include <base/utf8.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FIRST_BYTES = 64 << 10,
    MOST_BYTES = 16 << 20, /* no reply comes near; it bounds a mistake */
};

/* The mapping is marked MADV_DONTFORK, so that a fork's child need not find out
 * whether this thread was about to move it. */
static bool grow(struct hak_control_reply *r, size_t bytes)
{
    size_t size = r->mapped_bytes != 0 ? r->mapped_bytes : FIRST_BYTES;
    void *p;
    while (size < bytes)
        size *= 2;
    if (size > MOST_BYTES)
        return false;
    if (r->bytes != NULL)
        p = mremap(r->bytes, r->mapped_bytes, size, MREMAP_MAYMOVE);
    else
        p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    if (r->bytes == NULL)
        madvise(p, size, MADV_DONTFORK);
    r->bytes = p;
    r->mapped_bytes = size;
    return true;
}

char *hak_control_room(struct hak_control_reply *r, size_t bytes)
{
    r->failed |= r->used + bytes > r->mapped_bytes && !grow(r, r->used + bytes);
    return r->failed ? NULL : r->bytes + r->used;
}

__attribute__((format(printf, 2, 0))) static void
print_args(struct hak_control_reply *r, const char *format, va_list ap)
{
    enum { USUAL_BYTES = 256 };
    va_list again;
    va_copy(again, ap);
    char *at = hak_control_room(r, USUAL_BYTES);
    int n = at != NULL ? vsnprintf(at, USUAL_BYTES, format, ap) : -1;
    if (n >= USUAL_BYTES && (at = hak_control_room(r, (size_t)n + 1)) != NULL)
        vsnprintf(at, (size_t)n + 1, format, again);
    r->used += n > 0 && !r->failed ? (size_t)n : 0;
    va_end(again);
}

void hak_control_print(struct hak_control_reply *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    print_args(r, format, ap);
    va_end(ap);
}

static void add(struct hak_control_reply *r, const char *bytes, size_t n)
{
    char *at = hak_control_room(r, n);
    if (at != NULL) {
        memcpy(at, bytes, n);
        r->used += n;
    }
}

void hak_control_quote(struct hak_control_reply *r, const char *text)
{
    char character[8];
    add(r, "\"", 1);
    while (*text != 0 && !r->failed) {
        if (*text == '\n') {
            add(r, "\\n", 2);
            text++;
            continue;
        }
        text += hak_json_character(character, text);
        add(r, character, strlen(character));
    }
    add(r, "\"", 1);
}

void hak_control_error(struct hak_control_reply *r, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    r->used = 0;
    r->failed = false;
    add(r, "{\"error\":", 9);
    hak_control_quote(r, text);
    add(r, "}", 1);
}

void hak_control_end(struct hak_control_reply *r)
{
    add(r, "\n", 1);
    if (!r->failed)
        return;
    hak_control_error(r, "no memory for the reply; ask again later");
    add(r, "\n", 1);
}

void hak_control_free(struct hak_control_reply *r)
{
    if (r->bytes != NULL)
        munmap(r->bytes, r->mapped_bytes);
    *r = (struct hak_control_reply){0};
}

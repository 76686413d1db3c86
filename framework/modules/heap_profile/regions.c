/* SPDX-License-Identifier: MIT
 * regions.c - code that lies in no shared object: what a JIT compiler has
 * written, or the vDSO.
 */
#include "heap_profile.h"
#include "regions.h"

#include <base/text.h>

#include <errno.h>
#include <fcntl.h>

/* A line of /proc/PID/maps has six fields; the name is the last one. */
enum { LINE_BYTES = PATH_MAX + 128, NAME_COLUMN = 5 };

/* Does a location of no object lie in [start, limit)? */
static bool is_used(uintptr_t start, uintptr_t limit)
{
    uint32_t n = __atomic_load_n(&hak_profile_locations.n, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        const struct hak_profile_location *l =
            hak_profile_at(&hak_profile_locations, i);
        if (l->object == HAK_PROFILE_NONE && l->address >= start &&
            l->address < limit)
            return true;
    }
    return false;
}

static const char *name_of(const char *line)
{
    const char *at = line;
    for (int i = 0; i < NAME_COLUMN && *at != 0; i++) {
        at += hak_text_until(at, ' ');
        at += strspn(at, " ");
    }
    return *at != 0 ? at : "[anonymous]";
}

/* Copy a name; one that has no room is "[anonymous]". */
static const char *keep_name(struct hak_profile_regions *out, const char *name)
{
    size_t n = strlen(name) + 1;
    if (n > sizeof out->text - out->used)
        return "[anonymous]";
    char *copy = memcpy(out->text + out->used, name, n);
    out->used += n;
    return copy;
}

/* A line is "START-LIMIT PERMISSIONS OFFSET DEVICE INODE NAME". */
static void read_line(struct hak_profile_regions *out, const char *line)
{
    char *at;
    uintptr_t start = strtoul(line, &at, 16);
    if (*at != '-')
        return;
    uintptr_t limit = strtoul(at + 1, &at, 16);
    if (strnlen(at, 6) < 6 || at[3] != 'x' || out->n == HAK_PROFILE_REGIONS ||
        !is_used(start, limit))
        return;
    out->region[out->n++] = (struct hak_profile_region){
        .start = start,
        .limit = limit,
        .file_offset = strtoul(at + 6, NULL, 16),
        .name = keep_name(out, name_of(line)),
    };
}

/* Take the whole lines out of text[n]. Returns how much is left of it. */
static size_t take_lines(struct hak_profile_regions *out, char *text, size_t n)
{
    char *line = text, *end;
    while ((end = memchr(line, '\n', n)) != NULL) {
        *end = 0;
        read_line(out, line);
        n -= (size_t)(end + 1 - line);
        line = end + 1;
    }
    memmove(text, line, n);
    return n;
}

void hak_profile_regions_read(struct hak_profile_regions *out)
{
    char text[LINE_BYTES];
    size_t n = 0;
    /* /proc/self is empty once the main thread has ended by pthread_exit. */
    int fd = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n < sizeof text) {
        ssize_t got = read(fd, text + n, sizeof text - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n = take_lines(out, text, n + (size_t)got);
    }
    if (fd >= 0)
        close(fd);
}

uint32_t hak_profile_region_of(const struct hak_profile_regions *regions,
                               uintptr_t address)
{
    uint32_t i = 0;
    while (i < regions->n && (address < regions->region[i].start ||
                              address >= regions->region[i].limit))
        i++;
    return i;
}

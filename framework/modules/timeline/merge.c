/* SPDX-License-Identifier: MIT
 * merge.c - makes a full file shorter.
 *
 * The file itself is the only place where the points are kept, so a timeline
 * costs the process no memory for them. They are read back line by line, and a
 * shorter file is written beside it:
 *
 *     header, with all names
 *     older half of the points, each two of them as one
 *     younger half, as they are
 *
 * Events stay where they are between points, but for the oldest ones if there
 * are too many. After the k-th time the oldest points stand for 2^k periods.
 */
#include "timeline.h"

#include <base/os.h>
#include <base/text.h>
#include <kit/base.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    IN_BYTES = 2 * TIMELINE_LINE_BYTES,
    OUT_BYTES = TIMELINE_LINE_BYTES + (64 << 10),
};

/* Mapped while a file is merged. */
struct merge {
    struct timeline_file *from, next;
    int error;
    /* The part of the file that was read and not used: in[start .. end). */
    off_t at;
    size_t start, end;
    struct timeline_text out;
    uint32_t nolder;   /* points that are still to be merged */
    uint32_t nskipped; /* events that are still to be left out */
    uint64_t ndropped; /* events that were left out, in earlier times too */
    uint32_t without_classes; /* merged points since one with classes */
    bool has_first;           /* `first` waits for its second */
    struct timeline_point first, second;
    char in[IN_BYTES + 1], out_bytes[OUT_BYTES];
};

/* ---- reading ------------------------------------------------------------- */

/* Read on behind what is in the buffer. Returns false: there is no more. */
static bool fill(struct merge *m)
{
    memmove(m->in, m->in + m->start, m->end - m->start);
    m->end -= m->start;
    m->start = 0;
    size_t room = IN_BYTES - m->end;
    ssize_t n = room != 0 ? pread(m->from->fd, m->in + m->end, room, m->at) : 0;
    if (n < 0)
        m->error = -errno;
    if (n <= 0)
        return false;
    m->at += n;
    m->end += (size_t)n;
    return true;
}

/* The next line, ended by a 0 in place of its newline; NULL: the end. */
static char *next_line(struct merge *m)
{
    char *newline;
    while ((newline = memchr(m->in + m->start, '\n', m->end - m->start)) ==
           NULL)
        if (!fill(m))
            return NULL;
    char *line = m->in + m->start;
    *newline = 0;
    m->start = (size_t)(newline + 1 - m->in);
    return line;
}

/* ---- writing ------------------------------------------------------------- */

static void flush(struct merge *m)
{
    if (m->error == 0 && m->out.used != 0)
        m->error = timeline_file_append(&m->next, m->out.bytes, m->out.used);
    m->out.used = 0;
}

static void make_room(struct merge *m, size_t bytes)
{
    if (m->out.room - m->out.used < bytes)
        flush(m);
}

static void copy_line(struct merge *m, const char *line)
{
    make_room(m, strlen(line) + 1);
    timeline_add(&m->out, line);
    timeline_add(&m->out, "\n");
}

/* Write `first`. Classes are left out of most merged points, or the oldest
 * points would have them all in the end. */
static void put_first(struct merge *m)
{
    struct timeline_point *p = &m->first;
    bool classes = ++m->without_classes >= TIMELINE_CLASSES_EVERY;
    for (uint32_t i = 0; i < p->nboxes && !classes; i++)
        p->box[i].nrows = 0;
    if (classes && p->nrows != 0)
        m->without_classes = 0;
    make_room(m, TIMELINE_LINE_BYTES);
    timeline_add_point(&m->out, p);
    m->next.npoints++;
    m->has_first = false;
}

/* ---- lines --------------------------------------------------------------- */

static void merge_point(struct merge *m, const char *line)
{
    m->nolder--;
    if (!m->has_first) {
        m->has_first = timeline_read_point(line, &m->first);
        return;
    }
    if (timeline_read_point(line, &m->second))
        timeline_merge_points(&m->first, &m->second);
    put_first(m);
}

/* The number of events that a line stands for that says how many were left
 * out; 0: it is another line. */
static uint64_t dropped_by(const char *line)
{
    static const char mark[] = "\"event\":\"dropped\",\"text\":\"";
    const char *at = strstr(line, mark);
    return at != NULL ? strtoull(at + sizeof mark - 1, NULL, 10) : 0;
}

/* Write how many events were left out, at the time of the first that stays. */
static void put_dropped(struct merge *m, const char *line)
{
    size_t time = hak_text_until(line, ',');
    char digits[24], start[64];
    make_room(m, 256);
    timeline_add(&m->out, hak_text_copy(start, sizeof start, line, time));
    timeline_add(&m->out, ",\"event\":\"dropped\",\"text\":\"");
    timeline_add(&m->out, hak_text_number(digits, m->ndropped));
    timeline_add(&m->out, " events\"}\n");
    m->ndropped = 0;
    m->next.nevents++;
}

static void take_event(struct merge *m, const char *line)
{
    if (m->nskipped != 0) {
        m->nskipped--;
        m->ndropped += hak_max(dropped_by(line), 1);
        return;
    }
    if (m->ndropped != 0)
        put_dropped(m, line);
    copy_line(m, line);
    m->next.nevents++;
}

/* Lines of boxes that came later are left out: the header has all names. */
static void take_line(struct merge *m, const char *line)
{
    bool has_time = strncmp(line, "{\"t\":", 5) == 0;
    if (has_time && strstr(line, ",\"event\":\"") != NULL) {
        take_event(m, line);
    } else if (has_time && strstr(line, ",\"span_ms\":") != NULL) {
        if (m->nolder != 0) {
            merge_point(m, line);
            return;
        }
        if (m->has_first)
            put_first(m);
        copy_line(m, line);
        m->next.npoints++;
    }
}

/* ---- the whole ----------------------------------------------------------- */

static void take_all_lines(struct merge *m)
{
    struct timeline_file *f = m->from;
    char *line;
    m->nolder = f->npoints / 4 * 2;
    if (f->nevents > TIMELINE_EVENTS_KEPT * 2)
        m->nskipped = f->nevents - TIMELINE_EVENTS_KEPT;
    while (m->error == 0 && (line = next_line(m)) != NULL)
        take_line(m, line);
    if (m->has_first)
        put_first(m);
    flush(m);
}

int timeline_merge(struct timeline_file *f, const struct timeline_text *header)
{
    struct merge *m = hak_os_map(sizeof *m, PROT_READ | PROT_WRITE);
    if (m == NULL)
        return -ENOMEM;
    m->from = f;
    m->out = (struct timeline_text){.bytes = m->out_bytes, .room = OUT_BYTES};
    int error = timeline_file_begin(f, &m->next);
    if (error == 0) {
        m->error = timeline_file_append(&m->next, header->bytes, header->used);
        take_all_lines(m);
        error = timeline_file_end(f, &m->next, m->error);
    }
    hak_os_unmap(m, sizeof *m);
    return error;
}

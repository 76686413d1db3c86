/* SPDX-License-Identifier: MIT
 * hakctl_report_read.c - reads the files that a page is made of.
 *
 * A file says by its content what it is. Whatever is in it, only numbers and
 * texts are taken from it, and a number is bounded where it is read.
 */
#include "hakctl_report.h"
#include "hakctl.h"
#include "hakctl_control.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what is read -------------------------------------------------------- */

void report_start(struct report *r)
{
    *r = (struct report){
        .timelines = json_array(),
        .profiles = json_array(),
        .stats = json_array(),
        .sources = json_array(),
        .notes = json_array(),
    };
}

void report_end(struct report *r)
{
    json_decref(r->timelines);
    json_decref(r->profiles);
    json_decref(r->stats);
    json_decref(r->sources);
    json_decref(r->notes);
    *r = (struct report){0};
}

void report_note(struct report *r, const char *format, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0)
        ctl_die("no memory");
    json_array_append_new(r->notes, ctl_json_string(text));
    free(text);
}

void report_note_others(struct report *r, size_t n)
{
    if (n != 0)
        report_note(r,
                    "%zu other process%s left files too. The page is about "
                    "process %d alone.",
                    n, n == 1 ? "" : "es", (int)r->pid);
}

int64_t report_known(const json_t *object, const char *key)
{
    const double most = 9007199254740992.0; /* 2^53, as far as JSON is exact */
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return -1;
    double n = json_number_value(value);
    return n <= 0 ? 0 : n >= most ? (int64_t)most : (int64_t)n;
}

int64_t report_count(const json_t *object, const char *key)
{
    int64_t n = report_known(object, key);
    return n < 0 ? 0 : n;
}

json_t *report_number(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

/* ---- lines of JSON ------------------------------------------------------- */

/* The text of a file, and how far it has been read. */
struct lines {
    const char *file;
    char *text, *at;
    int number; /* of the last line that was read */
};

/* The next line that is not empty, without its newline, as JSON. NULL at the
 * end; *bad then says if a line was damaged, after a message. A last line
 * without a newline is one that is being written. */
static json_t *next_line(struct lines *l, bool *bad)
{
    json_error_t error;
    while (*l->at != 0) {
        char *line = l->at, *end = strchrnul(line, '\n');
        bool whole = *end == '\n';
        *end = 0;
        l->at = end + whole;
        l->number++;
        if (line[strspn(line, " \t\r")] == 0)
            continue;
        json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        if (value != NULL)
            return value;
        if (whole) {
            ctl_say("%s:%d: is damaged: %s", l->file, l->number, error.text);
            *bad = true;
        }
        return NULL;
    }
    return NULL;
}

/* ---- timelines ----------------------------------------------------------- */

/* Add one line of a timeline to what the lines before it were made to. */
static void add_line(json_t *timeline, json_t *line)
{
    json_t *boxes =
        json_object_get(json_object_get(timeline, "header"), "boxes");
    if (json_object_get(line, "end") != NULL)
        json_object_set_new(timeline, "ended_ms",
                            json_integer(report_count(line, "t")));
    else if (json_object_get(line, "event") != NULL)
        json_array_append(json_object_get(timeline, "events"), line);
    else if (json_object_get(line, "box") != NULL)
        json_array_append(boxes, json_object_get(line, "box"));
    else if (json_object_get(line, "boxes") != NULL)
        json_array_append(json_object_get(timeline, "points"), line);
}

/* Let each box have a name. */
static void name_boxes(json_t *boxes)
{
    for (size_t i = 0; i < json_array_size(boxes); i++)
        if (!json_is_string(json_array_get(boxes, i)))
            json_array_set_new(boxes, i, json_string("?"));
}

/* Returns false, after a message. header is consumed. */
static bool read_timeline(struct report *r, struct lines *l, json_t *header)
{
    bool bad = false;
    json_t *line;
    if (!json_is_array(json_object_get(header, "boxes")))
        json_object_set_new(header, "boxes", json_array());
    json_t *timeline = json_pack("{s:I, s:o, s:[], s:[]}", "pid",
                                 (json_int_t)report_count(header, "pid"),
                                 "header", header, "points", "events");
    while ((line = next_line(l, &bad)) != NULL) {
        add_line(timeline, line);
        json_decref(line);
    }
    name_boxes(json_object_get(header, "boxes"));
    size_t n = json_array_size(json_object_get(timeline, "points"));
    if (!bad && n == 0)
        report_note(r,
                    "%s has no points yet. The first one comes when the "
                    "program has run for one period of the timeline.",
                    l->file);
    else if (!bad)
        json_array_append(r->timelines, timeline);
    json_decref(timeline);
    return !bad;
}

/* ---- reports ------------------------------------------------------------- */

/* Each process that ends appends a line. first is consumed. */
static bool read_stats(struct report *r, struct lines *l, json_t *first)
{
    bool bad = false;
    for (json_t *line = first; line != NULL; line = next_line(l, &bad)) {
        if (json_object_get(line, "hakmem") != NULL)
            json_array_append(r->stats, line);
        json_decref(line);
    }
    return !bad;
}

/* ---- profiles ------------------------------------------------------------ */

/* Execute hakctl profile --json FILE for a view, with its output into fd. */
static void exec_profile(int fd, const char *view, const char *file)
{
    char option[24];
    char *whole = realpath(file, NULL); /* a name may begin with "-" */
    snprintf(option, sizeof option, "--%s", view);
    dup2(fd, STDOUT_FILENO);
    if (whole != NULL)
        execl("/proc/self/exe", "hakctl", "profile", "--json", option, whole,
              NULL);
    _exit(CTL_CANNOT_RUN);
}

/* What hakctl profile says of a view. It reads the profile and finds the names
 * of its functions. It is a process of its own, so a damaged file ends nothing
 * else. NULL, after a message. */
static json_t *read_view(const char *file, const char *view)
{
    json_error_t error;
    int ends[2], status = 0;
    pid_t pid = ctl_fork(ends);
    if (pid == 0)
        exec_profile(ends[1], view, file);
    close(ends[1]);
    json_t *out = json_loadfd(ends[0], 0, &error);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    bool ended = WIFEXITED(status);
    if (ended && WEXITSTATUS(status) == 0 && out != NULL)
        return out;
    json_decref(out);
    if (!ended)
        ctl_say("%s: hakctl profile ended by signal %d", file,
                WTERMSIG(status));
    else if (WEXITSTATUS(status) == CTL_CANNOT_RUN)
        ctl_say("%s: cannot run hakctl profile; is /proc mounted?", file);
    else if (WEXITSTATUS(status) == 0)
        ctl_say("%s: hakctl profile --json printed no JSON: %s", file,
                error.text);
    return NULL;
}

static bool read_profile(struct report *r, const char *file)
{
    static const struct {
        const char *option, *key;
    } views[] = {{"in-use", "in_use"},
                 {"peak", "peak"},
                 {"allocated", "allocated"},
                 {"overhead", "overhead"}};
    json_t *all = json_object(), *one = NULL;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        one = read_view(file, views[i].option);
        if (one == NULL)
            break;
        json_object_set_new(all, views[i].key, one);
    }
    if (one == NULL) {
        json_decref(all);
        return false;
    }
    const json_t *comments = json_object_get(one, "profile");
    json_array_append_new(r->profiles,
                          json_pack("{s:I, s:O?, s:o}", "pid",
                                    (json_int_t)report_count(comments, "pid"),
                                    "comments", comments, "views", all));
    return true;
}

/* ---- any file ------------------------------------------------------------ */

/* All that a stream has, with a 0 behind it. NULL: it cannot be read. */
static char *read_stream(FILE *in, size_t *bytes)
{
    enum { STEP = 1 << 20 };
    char *text = NULL;
    size_t used = 0, got = 1;
    while (got != 0) {
        text = realloc(text, used + STEP + 1);
        if (text == NULL)
            ctl_die("no memory");
        got = fread(text + used, 1, STEP, in);
        used += got;
    }
    text[used] = 0;
    *bytes = used;
    if (!ferror(in))
        return text;
    free(text);
    return NULL;
}

/* The whole of a file, with a 0 behind it. NULL, after a message. */
static char *read_whole(const char *file, size_t *bytes)
{
    FILE *in = fopen(file, "re");
    char *text = in != NULL ? read_stream(in, bytes) : NULL;
    if (text == NULL)
        ctl_say("%s: %s", file, strerror(errno));
    if (in != NULL)
        fclose(in);
    if (text == NULL || *bytes != 0)
        return text;
    ctl_say("%s: is empty", file);
    free(text);
    return NULL;
}

/* A timeline or reports. */
static bool read_json(struct report *r, const char *file, char *text)
{
    json_error_t error;
    struct lines l = {.file = file, .text = text, .at = text};
    json_t *first = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
    bool timeline = json_object_get(first, "hakmem_timeline") != NULL;
    bool stats = json_object_get(first, "hakmem") != NULL;
    json_decref(first);
    if (!timeline && !stats) {
        ctl_say("%s: is no timeline, heap profile or JSON report of hakmem",
                file);
        return false;
    }
    bool bad = false;
    json_t *line = next_line(&l, &bad);
    if (line == NULL) /* a value over several lines */
        return false;
    return timeline ? read_timeline(r, &l, line) : read_stats(r, &l, line);
}

bool report_read(struct report *r, const char *file)
{
    size_t bytes = 0;
    char *text = read_whole(file, &bytes);
    if (text == NULL)
        return false;
    bool zipped = bytes > 2 && memcmp(text, "\x1f\x8b", 2) == 0;
    bool good = zipped ? read_profile(r, file) : read_json(r, file, text);
    free(text);
    if (good)
        json_array_append_new(r->sources, ctl_json_string(file));
    return good;
}

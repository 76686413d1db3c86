/* SPDX-License-Identifier: MIT
 * hakctl_report_html.c - HTML: its characters, and the frame of the page.
 *
 * The frame of a page is a file of HTML with slots {{NAME}}. It, its style and
 * its scripts are files of tools/report/, which make puts beside hakctl, as is
 * Chart.js.
 */
#include "hakctl_report.h"
#include "hakctl.h"

#include <base/utf8.h>

#include <errno.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- characters ---------------------------------------------------------- */

/* Is it a control character, or one that turns the direction of the text around
 * it? Those are U+202A to U+202E and U+2066 to U+2069. */
static bool is_control(const char *at, size_t n)
{
    const unsigned char *c = (const unsigned char *)at;
    if (n == 1)
        return c[0] < 0x20 && c[0] != '\n' && c[0] != '\t';
    return n == 3 && c[0] == 0xe2 &&
           ((c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae) ||
            (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

static void write_character(FILE *out, const char *at, size_t n)
{
    if (n == 0 || is_control(at, n))
        fputs("\xef\xbf\xbd", out); /* U+FFFD */
    else if (*at == '&')
        fputs("&amp;", out);
    else if (*at == '<')
        fputs("&lt;", out);
    else if (*at == '>')
        fputs("&gt;", out);
    else if (*at == '"')
        fputs("&quot;", out);
    else
        fwrite(at, 1, n, out);
}

void html_text(FILE *out, const char *text)
{
    while (text != NULL && *text != 0) {
        size_t n = hak_utf8_length(text);
        write_character(out, text, n);
        text += n == 0 ? 1 : n;
    }
}

/* "<" stands in strings only, where it may be written as a number. Without it
 * neither </script> nor <!-- can come. */
void html_json(FILE *out, const json_t *value)
{
    char *text =
        json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
                              JSON_REAL_PRECISION(6));
    if (text == NULL)
        ctl_die("no memory");
    for (const char *at = text; *at != 0; at++) {
        if (*at == '<')
            fputs("\\u003c", out);
        else
            fputc(*at, out);
    }
    free(text);
}

/* ---- figures ------------------------------------------------------------- */

/* A number with thin groups of three digits: 1 234 567. */
static void count_text(char *out, size_t bytes, int64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    size_t used = 0;
    for (int i = 0; i < length && used + 5 < bytes; i++) {
        if (i != 0 && (length - i) % 3 == 0)
            used += (size_t)snprintf(out + used, bytes - used, "\xe2\x80\xaf");
        out[used++] = digits[i];
    }
    out[used] = 0;
}

static void bytes_text(char *out, size_t bytes, double n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; n >= 1024 && i + 1 < sizeof units / sizeof units[0]; i++)
        n /= 1024;
    int digits = i == 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
    snprintf(out, bytes, "%.*f %s", digits, n, units[i]);
}

static void ns_text(char *out, size_t bytes, double n)
{
    static const char *const units[] = {"ns", "\xc2\xb5s", "ms", "s"};
    size_t i = 0;
    for (; n >= 1000 && i + 1 < sizeof units / sizeof units[0]; i++)
        n /= 1000;
    snprintf(out, bytes, "%.*f %s",
             n >= 100  ? 0
             : n >= 10 ? 1
                       : 2,
             n, units[i]);
}

static void ms_text(char *out, size_t bytes, int64_t ms)
{
    int64_t s = ms / 1000;
    if (ms < 60000)
        snprintf(out, bytes, "%lld.%lld s", (long long)s,
                 (long long)(ms % 1000 / 100));
    else if (s < 3600)
        snprintf(out, bytes, "%lld min %02lld s", (long long)(s / 60),
                 (long long)(s % 60));
    else
        snprintf(out, bytes, "%lld h %02lld min", (long long)(s / 3600),
                 (long long)(s % 3600 / 60));
}

void html_figure_text(char *out, size_t bytes, const json_t *value,
                      enum html_unit unit)
{
    double n = json_number_value(value);
    if (!json_is_number(value))
        snprintf(out, bytes, "\xe2\x80\x93");
    else if (unit == HTML_BYTES)
        bytes_text(out, bytes, n);
    else if (unit == HTML_NS)
        ns_text(out, bytes, n);
    else if (unit == HTML_RATIO)
        snprintf(out, bytes, "%.2f", n);
    else if (unit == HTML_MS)
        ms_text(out, bytes, (int64_t)n);
    else if (unit == HTML_PERCENT)
        snprintf(out, bytes, "%.1f %%", n);
    else
        count_text(out, bytes, (int64_t)n);
}

void html_figure(FILE *out, const json_t *value, enum html_unit unit)
{
    char text[64];
    if (json_is_string(value)) {
        html_text(out, json_string_value(value));
        return;
    }
    html_figure_text(text, sizeof text, value, unit);
    if (json_is_integer(value))
        fprintf(out, "<data value=\"%lld\">%s</data>",
                (long long)json_integer_value(value), text);
    else if (json_is_real(value))
        fprintf(out, "<data value=\"%.6g\">%s</data>", json_real_value(value),
                text);
    else
        fputs(text, out);
}

/* ---- files of the page --------------------------------------------------- */

/* Where the files of the page may be, from hakctl's own folder: in build/, and
 * as make install has them. */
static const char *const places[] = {"share/report", "../share/hakmem/report"};

/* Read a text file. NULL: it cannot be read. */
static char *read_text(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return NULL;
    if (getdelim(&text, &bytes, 0, in) < 0) {
        free(text);
        text = NULL;
    }
    fclose(in);
    return text;
}

/* Read a file of the page. NULL: it is not there. */
static char *read_part(const char *name)
{
    char own[PATH_MAX - 64], path[PATH_MAX];
    char *text = NULL;
    if (!ctl_own_dir(own, sizeof own))
        return NULL;
    for (size_t i = 0; text == NULL && i < sizeof places / sizeof places[0];
         i++) {
        snprintf(path, sizeof path, "%s/%s/%s", own, places[i], name);
        text = read_text(path);
    }
    return text;
}

/* Chart.js, from beside hakctl or where Debian has it. NULL: there is none, or
 * it would end the element that it is written into. */
static char *read_library(void)
{
    char *text = read_part("chart.min.js");
    if (text == NULL)
        text = read_text("/usr/share/javascript/chart.js/chart.min.js");
    if (text == NULL ||
        (strstr(text, "</script") == NULL && strstr(text, "<!--") == NULL))
        return text;
    free(text);
    return NULL;
}

/* ---- the frame ----------------------------------------------------------- */

struct frame {
    const struct html_page *kind;
    const json_t *page;
    /* text: with places for the others; common: the script that pages share */
    char *text, *style, *common, *script, *library;
    char nonce[33];
};

/* The nonce lets the page's own scripts and styles run, and no other. */
static void make_nonce(char out[33])
{
    uint8_t bytes[16] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        ctl_die("getrandom: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void write_slot(FILE *out, const struct frame *f, const char *name,
                       size_t n)
{
    const struct {
        const char *name, *text;
    } texts[] = {
        {"nonce", f->nonce},
        {"style", f->style},
        {"common", f->common},
        {"script", f->script},
        {"library", f->library != NULL ? f->library : ""},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strlen(texts[i].name) == n && memcmp(texts[i].name, name, n) == 0)
            fputs(texts[i].text, out);
    for (const struct html_slot *s = f->kind->slots; s->name != NULL; s++)
        if (strlen(s->name) == n && memcmp(s->name, name, n) == 0)
            s->write(out, f->page);
}

static bool write_frame(FILE *out, const void *context)
{
    const struct frame *f = context;
    const char *frame = f->text;
    const char *slot;
    while ((slot = strstr(frame, "{{")) != NULL) {
        const char *end = strstr(slot, "}}");
        if (end == NULL)
            break;
        fwrite(frame, 1, (size_t)(slot - frame), out);
        write_slot(out, f, slot + 2, (size_t)(end - slot) - 2);
        frame = end + 2;
    }
    return fputs(frame, out) != EOF;
}

/* ---- the file ------------------------------------------------------------ */

bool report_can_write(const char *file)
{
    int error = ctl_can_write(file);
    if (error != 0)
        ctl_say("cannot write %s: %s", file, strerror(-error));
    return error == 0;
}

static bool write_file(const char *file, const struct frame *f)
{
    int error = ctl_write_whole(file, write_frame, f);
    if (error != 0)
        ctl_say("cannot write %s: %s", file, strerror(-error));
    return error == 0;
}

bool html_write_page(const struct html_page *kind, const json_t *page,
                     const char *file)
{
    struct frame f = {
        .kind = kind,
        .page = page,
        .text = read_part(kind->frame),
        .style = read_part("report.css"),
        .common = read_part("page.js"),
        .script = read_part(kind->script),
        .library = read_library(),
    };
    bool good = f.text != NULL && f.style != NULL && f.common != NULL &&
                f.script != NULL;
    make_nonce(f.nonce);
    if (!good)
        ctl_say("%s, %s, page.js and report.css are not in share/report beside "
                "hakctl nor in ../share/hakmem/report; make puts them there, "
                "as does make install",
                kind->frame, kind->script);
    else
        good = write_file(file, &f);
    if (good && f.library == NULL)
        ctl_say("package libjs-chart.js is not installed, so the page shows "
                "memory over time as a table only");
    free(f.text);
    free(f.style);
    free(f.common);
    free(f.script);
    free(f.library);
    return good;
}

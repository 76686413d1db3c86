/* SPDX-License-Identifier: MIT
 * hakctl_profile_format.c - numbers and frames of a profile as text.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static double scale(double bytes, size_t *unit)
{
    *unit = 0;
    while (fabs(bytes) >= 1023.5 && *unit < 5) {
        bytes /= 1024;
        ++*unit;
    }
    return bytes;
}

const char *pf_bytes(char out[32], double bytes, bool sign)
{
    size_t unit;
    double n = scale(bytes, &unit);
    int digits = unit == 0 || fabs(n) >= 99.95 ? 0 : 1;
    snprintf(out, 32, sign && n > 0 ? "+%.*f%c" : "%.*f%c", digits, n,
             "BKMGTP"[unit]);
    return out;
}

const char *pf_bytes_long(char out[32], double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB",
                                        "GiB",   "TiB", "PiB"};
    size_t unit;
    double n = scale(bytes, &unit);
    snprintf(out, 32, "%.*f %s", n == floor(n) ? 0 : 1, n, units[unit]);
    return out;
}

static bool is_count(const struct pf_rows *rows)
{
    return rows->options->objects || rows->objects_unit != NULL ||
           rows->options->view == PF_LIFETIMES;
}

const char *pf_value(char out[32], const struct pf_rows *rows, double value)
{
    bool sign = rows->options->other != NULL;
    if (!is_count(rows))
        return pf_bytes(out, value, sign);
    snprintf(out, 32, sign && value > 0 ? "+%.0f" : "%.0f", value);
    return out;
}

const char *pf_share(char out[32], const struct pf_rows *rows, double value)
{
    double total = pf_main(rows->options, &rows->total);
    out[0] = 0;
    if (rows->options->other == NULL && total > 0)
        snprintf(out, 32, "%.1f%%", 100 * value / total);
    return out;
}

/* The variance counts KiB; 1.96 standard deviations hold 95 % of a normal
 * distribution. */
double pf_confidence(const struct pf_values *v)
{
    return 1.96 * sqrt(v->variance_kib2) * 1024;
}

bool pf_has_confidence(const struct pf_rows *rows)
{
    const struct pf_options *o = rows->options;
    return rows->has_variance && !o->objects && o->view != PF_OVERHEAD;
}

static size_t terminal_columns(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return SIZE_MAX;
    return size.ws_col >= 40 ? size.ws_col : SIZE_MAX;
}

void pf_print_rest(size_t used, const char *text)
{
    static size_t columns;
    if (columns == 0)
        columns = terminal_columns();
    size_t left = columns > used + 8 ? columns - used : 8;
    if (columns == SIZE_MAX || strlen(text) <= left)
        printf("%s\n", text);
    else
        printf("%.*s...\n", (int)left - 3, text);
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash != NULL ? slash + 1 : file;
}

static const char *own_library = "";

void pf_frame_program(const char *program)
{
    own_library = base_name(program);
}

char *pf_frame_text(const struct pf_frame *f)
{
    const char *file = base_name(f->file);
    char *text = NULL;
    int n;
    if (file[0] != 0 && f->line != 0)
        n = asprintf(&text, "%s  %s:%" PRIu64, f->function, file, f->line);
    else if (f->library[0] != 0 && strcmp(f->library, own_library) != 0 &&
             strstr(f->function, f->library) == NULL)
        n = asprintf(&text, "%s  (%s)", f->function, f->library);
    else
        n = asprintf(&text, "%s", f->function);
    if (n < 0)
        ctl_die("no memory for the profile");
    return text;
}

/* SPDX-License-Identifier: MIT
 * text.c - parses single values: sizes, ranges, parameters; finds near names.
 *
 * strtoull, isdigit and their like are not used here, because they change errno
 * or depend on the locale.
 */
#include <conf/private.h>
#include <base/sections.h>
#include <base/why.h>
#include <hakmem/foreign.h>

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <errno.h>

enum { WORD_BYTES = 63, DISTANCE_MAX = 2 };

/* ---- texts --------------------------------------------------------------- */

const char *conf_skip_blanks(const char *text)
{
    while (conf_is_blank(*text))
        text++;
    return text;
}

const char *conf_strip(const char *text, size_t *n)
{
    while (*n > 0 && conf_is_blank(text[*n - 1]))
        --*n;
    for (; *n > 0 && conf_is_blank(*text); text++)
        --*n;
    return text;
}

size_t conf_join(const char *text, size_t n, char *out, size_t bytes)
{
    size_t used = 0;
    text = conf_strip(text, &n);
    for (size_t i = 0; i < n; i++) {
        bool blank = conf_is_blank(text[i]);
        if (blank && conf_is_blank(text[i + 1]))
            continue;
        if (used < bytes - 1)
            out[used] = blank ? ' ' : text[i];
        used++;
    }
    out[used < bytes ? used : bytes - 1] = 0;
    return used;
}

bool conf_next_item(const char **list, char item[CONF_ITEM_BYTES])
{
    if (*list == NULL)
        return false;
    const char *comma = strchr(*list, ',');
    size_t n = comma != NULL ? (size_t)(comma - *list) : strlen(*list);
    const char *text = conf_strip(*list, &n);
    n = n < CONF_ITEM_BYTES ? n : CONF_ITEM_BYTES - 1;
    memcpy(item, text, n);
    item[n] = 0;
    *list = comma != NULL ? comma + 1 : NULL;
    return true;
}

void conf_append_sizes(char *text, size_t bytes, uint32_t first, uint32_t last)
{
    size_t low = first == 0 ? 0 : hak_index_bytes(first - 1) + 1;
    char from[24], to[24];
    hak_text_join(text, bytes, text, hak_text_number(from, low), "-",
                  last < HAK_INDEX_LARGE
                      ? hak_text_number(to, hak_index_bytes(last))
                      : NULL);
}

/* ---- numbers ------------------------------------------------------------- */

/* The value of a decimal or hexadecimal digit; 99: ch is none. */
static unsigned digit_of(char ch)
{
    char low = conf_lower(ch);
    if (ch >= '0' && ch <= '9')
        return (unsigned)(ch - '0');
    return low >= 'a' && low <= 'f' ? (unsigned)(low - 'a') + 10 : 99;
}

/* Parse a number at *text, decimal or 0x, and move *text behind it. */
static int parse_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    bool hex = at[0] == '0' && conf_lower(at[1]) == 'x';
    unsigned base = hex ? 16 : 10;
    at += hex ? 2 : 0;
    if (digit_of(*at) >= base)
        return -EINVAL;
    uint64_t value = 0;
    bool over = false;
    for (; digit_of(*at) < base; at++) {
        over |= __builtin_mul_overflow(value, base, &value);
        over |= __builtin_add_overflow(value, digit_of(*at), &value);
    }
    *text = at;
    *out = value;
    return over ? -ERANGE : 0;
}

/* How many bits to shift for unit "", "k", "KiB" ... "T"; -1: no such unit. */
static int unit_shift(const char *unit)
{
    static const char letters[] = "kmgt";
    if (*unit == 0)
        return 0;
    const char *letter = strchr(letters, conf_lower(*unit));
    bool long_form =
        conf_lower(unit[1]) == 'i' && conf_lower(unit[2]) == 'b' && !unit[3];
    if (letter == NULL || (unit[1] != 0 && !long_form))
        return -1;
    return 10 * (int)(letter - letters + 1);
}

int hak_conf_bytes(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    int rc = parse_digits(&text, &value);
    int shift = unit_shift(text);
    if (rc == -EINVAL || shift < 0)
        return -EINVAL;
    if (rc != 0 || value > UINT64_MAX >> shift)
        return -ERANGE;
    *out = value << shift;
    return 0;
}

static int parse_int(const char *text, int64_t *out)
{
    bool minus = *text == '-';
    const char *at = text + minus;
    uint64_t value = 0;
    int rc = parse_digits(&at, &value);
    if (rc == -EINVAL || *at != 0)
        return -EINVAL;
    if (rc != 0 || value > (uint64_t)INT64_MAX)
        return -ERANGE;
    *out = minus ? -(int64_t)value : (int64_t)value;
    return 0;
}

/* ---- ranges -------------------------------------------------------------- */

/* The sizes that one end of a range names. */
struct bound {
    uint64_t first, last; /* a size: both equal; a class: its bounds */
};

static int parse_bound(const char *text, struct bound *out, char *why,
                       size_t bytes)
{
    if (conf_lower(text[0]) == 'c' && digit_of(text[1]) <= 9) {
        const char *at = text + 1;
        uint64_t k = 0;
        int rc = parse_digits(&at, &k);
        if (*at == 0 && (rc != 0 || k >= HAK_CLASSES))
            return hak_refuse(-ERANGE, why, bytes,
                              "\"%s\": the classes are C0 to C7", text);
        if (*at == 0) {
            out->first = k == 0 ? 0 : hak_class_bytes((uint32_t)k - 1) + 1;
            out->last = hak_class_bytes((uint32_t)k);
            return 0;
        }
    }
    uint64_t size = 0;
    int rc = hak_conf_bytes(text, &size);
    if (rc == -ERANGE)
        return hak_refuse(rc, why, bytes, "\"%s\" is too large", text);
    if (rc != 0)
        return hak_refuse(rc, why, bytes,
                          "\"%s\" is neither a size (64, 4k, 4KiB) nor a class "
                          "(C0 to C7)",
                          text);
    *out = (struct bound){size, size};
    return 0;
}

static int refuse_large(const char *text, char *why, size_t bytes)
{
    return hak_refuse(-EINVAL, why, bytes,
                      "\"%s\": sizes above %u go together; write %u-", text,
                      HAK_LANE_MAX_BYTES, HAK_LANE_MAX_BYTES + 1);
}

/* Find the size index whose smallest size is `size`. -EINVAL: there is none. */
static int start_index(const char *text, uint64_t size, uint32_t *out,
                       char *why, size_t bytes)
{
    uint32_t index = size <= 1 ? 0 : hak_index_of(size);
    size_t start = index == 0 ? size : hak_index_bytes(index - 1) + 1;
    if (size != start && index == HAK_INDEX_LARGE)
        return refuse_large(text, why, bytes);
    if (size != start)
        return hak_refuse(
            -EINVAL, why, bytes,
            "\"%s\": no size index starts at %zu; the nearest start at "
            "%zu and %zu",
            text, (size_t)size, start, hak_index_bytes(index) + 1);
    *out = index;
    return 0;
}

/* Find the size index whose largest size is `size`. -EINVAL: there is none. */
static int end_index(const char *text, uint64_t size, uint32_t *out, char *why,
                     size_t bytes)
{
    uint32_t index = hak_index_of(size);
    if (index == HAK_INDEX_LARGE)
        return refuse_large(text, why, bytes);
    size_t end = hak_index_bytes(index);
    if (size != end)
        return hak_refuse(
            -EINVAL, why, bytes,
            "\"%s\": no size index ends at %zu; the nearest end at %zu "
            "and %zu",
            text, (size_t)size, hak_index_bytes(index - 1), end);
    *out = index;
    return 0;
}

/* Parse a range without a dash: "C4" is a class, and "17" stands for the index
 * that serves this size. */
static int single_range(const char *text, uint32_t *first, uint32_t *last,
                        char *why, size_t bytes)
{
    struct bound b = {0, 0};
    int rc = parse_bound(text, &b, why, bytes);
    if (rc != 0)
        return rc;
    if (b.last > HAK_LANE_MAX_BYTES)
        return refuse_large(text, why, bytes);
    *first = hak_index_of(b.first);
    *last = hak_index_of(b.last);
    return 0;
}

int hak_conf_range(const char *text, uint32_t *first, uint32_t *last, char *why,
                   size_t why_bytes)
{
    char low_text[CONF_ITEM_BYTES], high_text[CONF_ITEM_BYTES];
    const char *dash = strchr(text, '-');
    if (dash == NULL)
        return single_range(text, first, last, why, why_bytes);
    size_t n_low = (size_t)(dash - text), n_high = strlen(dash + 1);
    const char *low_at = conf_strip(text, &n_low);
    const char *high_at = conf_strip(dash + 1, &n_high);
    hak_text_copy(low_text, sizeof low_text, low_at, n_low);
    hak_text_copy(high_text, sizeof high_text, high_at, n_high);

    bool open_end = n_high == 0;
    struct bound low = {0, 0}, high = {0, UINT64_MAX};
    uint32_t start = 0, end = HAK_INDEX_LARGE;
    int rc = parse_bound(low_text, &low, why, why_bytes);
    if (rc == 0 && !open_end)
        rc = parse_bound(high_text, &high, why, why_bytes);
    if (rc == 0 && low.first > high.last)
        rc = hak_refuse(-EINVAL, why, why_bytes,
                        "\"%s\" is upside down: %s is above %s", text, low_text,
                        high_text);
    if (rc == 0)
        rc = start_index(text, low.first, &start, why, why_bytes);
    if (rc == 0 && !open_end)
        rc = end_index(text, high.last, &end, why, why_bytes);
    if (rc != 0)
        return rc;
    *first = start;
    *last = end;
    return 0;
}

/* Parse "C5" or "C4-C7" and set the bits of its classes in *mask. */
static int class_bits(const char *item, uint8_t *mask, char *why, size_t bytes)
{
    uint32_t first = 0, last = 0;
    const char *dash = strchr(item, '-');
    const char *high = dash != NULL ? conf_skip_blanks(dash + 1) : item;
    if (conf_lower(item[0]) != 'c' || conf_lower(high[0]) != 'c')
        return hak_refuse(
            -EINVAL, why, bytes,
            "\"%s\" is no class (C0 to C7, C4-C7, or a mask as in "
            "0x60)",
            item);
    int rc = hak_conf_range(item, &first, &last, why, bytes);
    if (rc != 0)
        return rc;
    for (uint32_t i = first; i <= last; i++)
        *mask |= (uint8_t)(1u << hak_class_of_index(i));
    return 0;
}

int hak_conf_classes(const char *text, uint8_t *mask, char *why,
                     size_t why_bytes)
{
    char item[CONF_ITEM_BYTES];
    uint64_t number = 0;
    uint8_t bits = 0;
    int rc = 0;
    if (text[0] >= '0' && text[0] <= '9') {
        rc = hak_conf_bytes(text, &number);
        if (rc != 0 || number > UINT8_MAX)
            return hak_refuse(rc != 0 ? rc : -ERANGE, why, why_bytes,
                              "\"%s\" is no mask of classes, 0 to 0xff", text);
        bits = (uint8_t)number;
    } else {
        while (rc == 0 && conf_next_item(&text, item))
            rc = class_bits(item, &bits, why, why_bytes);
    }
    if (rc == 0)
        *mask = bits;
    return rc;
}

/* ---- parameters ---------------------------------------------------------- */

static int parse_bool(const char *text, int64_t *out)
{
    static const char *const words[] = {"no",    "yes",  "off", "on",
                                        "false", "true", "0",   "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (int64_t)(i & 1);
            return 0;
        }
    }
    return -EINVAL;
}

/* Find the position of text in choices "a|b|c". -EINVAL: text is none of them,
 * and why lists them. */
static int parse_enum(const char *choices, const char *text, int64_t *out,
                      char *why, size_t bytes)
{
    size_t n = strlen(text);
    int64_t position = 0;
    const char *at = choices != NULL ? choices : "";
    for (;; position++) {
        size_t span = hak_text_until(at, '|');
        if (span == n && n > 0 && memcmp(at, text, n) == 0) {
            *out = position;
            return 0;
        }
        if (at[span] == 0)
            break;
        at += span + 1;
    }
    hak_refuse(0, why, bytes, "\"%s\" is none of ", text);
    for (at = choices; at != NULL && why != NULL && bytes > 0;) {
        size_t span = hak_text_until(at, '|');
        hak_text_add(why, bytes, at, span);
        hak_text_join(why, bytes, why, at[span] ? ", " : "");
        at = at[span] ? at + span + 1 : NULL;
    }
    return -EINVAL;
}

/* Parse a value of type INT, SIZE or MS and compare it with param's bounds. */
static int parse_number(const struct hak_param *param, const char *text,
                        int64_t *out, char *why, size_t bytes)
{
    bool size = param->type == HAK_PARAM_SIZE;
    uint64_t wide = 0;
    int64_t value = 0;
    int rc = size ? hak_conf_bytes(text, &wide) : parse_int(text, &value);
    if (rc == -EINVAL)
        return hak_refuse(rc, why, bytes, "\"%s\" is not a %s", text,
                          size ? "size (64, 4k, 4KiB, 1M)"
                          : param->type == HAK_PARAM_MS
                              ? "number of milliseconds"
                              : "whole number");
    if (size)
        value = wide > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)wide;
    if (rc != 0 || value < param->min || value > param->max)
        return hak_refuse(-EINVAL, why, bytes,
                          "%s is out of bounds: %lld to %lld", text,
                          (long long)param->min, (long long)param->max);
    *out = value;
    return 0;
}

/* ---- signals ------------------------------------------------------------- */

/* The number of the signal of that name, as USR2 or SIGUSR2; 0: none. */
static int signal_of_name(const char *name)
{
    if (strncasecmp(name, "sig", 3) == 0)
        name += 3;
    for (int number = 1; number < SIGRTMIN; number++) {
        const char *known = sigabbrev_np(number);
        if (known != NULL && strcasecmp(known, name) == 0)
            return number;
    }
    return 0;
}

static bool is_no_request(int number)
{
    static const int not_for_us[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,
                                     SIGFPE,  SIGILL,  SIGABRT};
    for (size_t i = 0; i < sizeof not_for_us / sizeof not_for_us[0]; i++)
        if (number == not_for_us[i])
            return true;
    return number >= __SIGRTMIN && number < SIGRTMIN; /* libc's own */
}

int hak_conf_signal(const char *text, int *number, char *why, size_t why_bytes)
{
    int64_t value = 0;
    if (strcasecmp(text, "none") == 0) {
        *number = 0;
        return 0;
    }
    if (parse_int(text, &value) != 0 && (value = signal_of_name(text)) == 0)
        return hak_refuse(-EINVAL, why, why_bytes,
                          "\"%s\" is no signal; one is USR2, or a number of 1 "
                          "to %d, or none",
                          text, SIGRTMAX);
    if (value < 1 || value > SIGRTMAX)
        return hak_refuse(-ERANGE, why, why_bytes,
                          "there is no signal %s; numbers are 1 to %d", text,
                          SIGRTMAX);
    if (is_no_request((int)value))
        return hak_refuse(-EINVAL, why, why_bytes,
                          "signal %s cannot ask for a report; USR2 can", text);
    *number = (int)value;
    return 0;
}

HAK_SEALED hak_parse_call *hak_conf_parse_call;

/* Check the syntax of a list of calls. */
static int parse_calls(const char *text, char *why, size_t bytes)
{
    struct hak_call call;
    int rc = 0;
    do
        rc = hak_conf_parse_call(&text, &call, why, bytes);
    while (rc == 0 && *text != 0);
    return rc;
}

int hak_conf_param(const struct hak_param *param, const char *text,
                   union hak_value *out, char *why, size_t why_bytes)
{
    int64_t value = 0;
    int rc = 0;
    switch (param->type) {
    case HAK_PARAM_BOOL:
        rc = parse_bool(text, &value);
        if (rc != 0)
            hak_refuse(rc, why, why_bytes,
                       "\"%s\" is none of yes, no, on, off, true, false, 1, 0",
                       text);
        break;
    case HAK_PARAM_INT:
    case HAK_PARAM_SIZE:
    case HAK_PARAM_MS:
        rc = parse_number(param, text, &value, why, why_bytes);
        break;
    case HAK_PARAM_ENUM:
        rc = parse_enum(param->choices, text, &value, why, why_bytes);
        break;
    case HAK_PARAM_TEXT:
        out->text = text;
        return 0;
    case HAK_PARAM_CALL:
        rc = parse_calls(text, why, why_bytes);
        if (rc == 0)
            out->text = text;
        return rc;
    default:
        rc = hak_refuse(-EINVAL, why, why_bytes, "parameter of unknown type %u",
                        (unsigned)param->type);
    }
    if (rc == 0)
        out->i = value;
    return rc;
}

/* ---- nearest word -------------------------------------------------------- */

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: insert, remove or replace a character, or
 * swap two neighbours. Only the last three rows of the table are kept: row i is
 * in row[i % 3]. */
unsigned conf_distance(const char *a, const char *b)
{
    unsigned row[3][WORD_BYTES + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > WORD_BYTES || nb > WORD_BYTES)
        return UINT_MAX;
    for (unsigned j = 0; j <= nb; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned *now = row[i % 3], *up = row[(i + 2) % 3];
        const unsigned *up2 = row[(i + 1) % 3];
        char x = conf_lower(a[i - 1]);
        now[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            char y = conf_lower(b[j - 1]);
            now[j] =
                smaller(up[j - 1] + (x != y), smaller(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == conf_lower(b[j - 2]) &&
                y == conf_lower(a[i - 2]))
                now[j] = smaller(now[j], up2[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

bool conf_is_near(const char *word, unsigned distance)
{
    return distance <= DISTANCE_MAX && 2 * (size_t)distance < strlen(word);
}

const char *hak_conf_nearest(const char *word, const char *const *candidates,
                             size_t n)
{
    const char *best = NULL;
    unsigned best_distance = UINT_MAX;
    for (size_t i = 0; i < n; i++) {
        if (candidates[i] == NULL)
            continue;
        unsigned distance = conf_distance(word, candidates[i]);
        if (conf_is_near(word, distance) && distance < best_distance) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

void conf_did_you_mean(char *text, size_t bytes, const char *word,
                       const char *const *candidates, size_t n)
{
    const char *near = hak_conf_nearest(word, candidates, n);
    snprintf(text, bytes, near != NULL ? "; did you mean \"%s\"?" : "%s",
             near != NULL ? near : "");
}

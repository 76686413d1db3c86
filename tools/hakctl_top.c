/* SPDX-License-Identifier: MIT
 * hakctl_top.c - hakctl top: live figures of processes, in the terminal or as
 * one table.
 *
 * Two views: all processes, a line each; and one process, a line for each box
 * and each of its size classes. The screen and --once print the same lines.
 */
#include "hakctl.h"
#include "hakctl_control.h"
#include "hakctl_fleet.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 300,   /* for a process to answer */
    FIRST_MS = 250,     /* until the second sample, so that rates come soon */
    WIDE_COLUMNS = 100, /* from this width on all columns are shown */
    LINE_BYTES = 512,
    NAME_LEAST = 8,
};

/* ---- columns ------------------------------------------------------------- */

enum source {
    NAME,       /* program, or box and class */
    ROW_RATE,   /* of a fleet_figure */
    ROW_BYTES,  /* likewise */
    ROW_COUNT,  /* likewise */
    WHOLE_RATE, /* of a fleet_whole: only processes have it */
    WHOLE_BYTES,
    FRAGMENTATION,
};

struct column {
    const char *title;
    const char *sort; /* for --sort; NULL: no sorting by it */
    char key;         /* that sorts by it */
    bool wide;        /* only shown in WIDE_COLUMNS */
    int width;
    enum source source;
    int figure;
};

static const struct column of_processes[] = {
    {"PROGRAM", "name", 'n', false, 0, NAME, 0},
    {"ALLOC/S", "alloc", 'a', false, 7, ROW_RATE, FLEET_ALLOCS},
    {"FREE/S", "free", 'f', false, 7, ROW_RATE, FLEET_FREES},
    {"REMOTE/S", "remote", 'o', true, 8, ROW_RATE, FLEET_REMOTE},
    {"REFILL/S", "refill", 'i', true, 8, ROW_RATE, FLEET_REFILLS},
    {"LIVE", "live", 'l', false, 7, ROW_BYTES, FLEET_LIVE_BYTES},
    {"MAPPED", "mapped", 'm', false, 7, WHOLE_BYTES, FLEET_USED},
    {"DIRTY", NULL, 0, true, 7, WHOLE_BYTES, FLEET_DIRTY},
    {"RSS", "rss", 'r', false, 7, WHOLE_BYTES, FLEET_RSS},
    {"FAULT/S", "fault", 't', false, 7, WHOLE_RATE, FLEET_MINOR_FAULTS},
    {"FRAG", "frag", 'g', false, 6, FRAGMENTATION, 0},
};
static const struct column of_boxes[] = {
    {"BOX CLASS", "name", 'n', false, 0, NAME, 0},
    {"ALLOC/S", "alloc", 'a', false, 7, ROW_RATE, FLEET_ALLOCS},
    {"FREE/S", "free", 'f', false, 7, ROW_RATE, FLEET_FREES},
    {"REMOTE/S", "remote", 'o', false, 8, ROW_RATE, FLEET_REMOTE},
    {"REFILL/S", "refill", 'i', false, 8, ROW_RATE, FLEET_REFILLS},
    {"BLOCKS", NULL, 0, true, 8, ROW_COUNT, FLEET_LIVE},
    {"LIVE", "live", 'l', false, 7, ROW_BYTES, FLEET_LIVE_BYTES},
    {"MAPPED", "mapped", 'm', false, 7, ROW_BYTES, FLEET_MAPPED},
    {"CACHED", NULL, 0, true, 7, ROW_BYTES, FLEET_CACHED},
    {"FRAG", "frag", 'g', false, 6, FRAGMENTATION, 0},
};
enum {
    NPROCESS_COLUMNS = sizeof of_processes / sizeof of_processes[0],
    NBOX_COLUMNS = sizeof of_boxes / sizeof of_boxes[0],
};

/* ---- lines --------------------------------------------------------------- */

/* What a line of the table shows: a process, or a box or class of it. */
struct line {
    const struct fleet_process *process;
    const struct fleet_row *row; /* NULL: the process as a whole */
};

struct view {
    pid_t pid;      /* 0: all processes */
    char sort;      /* key of the column to sort by */
    bool classes;   /* show classes too */
    pid_t selected; /* process under the cursor; 0: none yet */
    size_t top;     /* first line shown */
};

static const struct column *columns_of(const struct view *v, int *n)
{
    *n = v->pid != 0 ? NBOX_COLUMNS : NPROCESS_COLUMNS;
    return v->pid != 0 ? of_boxes : of_processes;
}

static const struct fleet_row *row_of(const struct line *l)
{
    return l->row != NULL ? l->row : &l->process->sum;
}

/* The box or process does not count this figure. */
static bool has(const struct line *l, const struct column *c)
{
    bool is_class = l->row != NULL && l->row->slot_bytes != 0;
    bool of_row = c->source == ROW_RATE || c->source == ROW_BYTES ||
                  c->source == ROW_COUNT;
    if (l->process->program == NULL)
        return false;
    if (is_class && c->source == ROW_RATE && l->row->value[FLEET_ALLOCS] == 0)
        return false;
    return !is_class || !of_row || c->figure < FLEET_CLASS_FIGURES;
}

static double fragmentation(const struct line *l)
{
    if (l->row == NULL)
        return fleet_fragmentation(l->process);
    uint64_t live = l->row->value[FLEET_LIVE_BYTES];
    return live == 0 ? -1 : (double)l->row->value[FLEET_MAPPED] / (double)live;
}

static double value(const struct line *l, const struct column *c)
{
    switch (c->source) {
    case ROW_RATE:
        return row_of(l)->per_second[c->figure];
    case ROW_BYTES:
    case ROW_COUNT:
        return (double)row_of(l)->value[c->figure];
    case WHOLE_RATE:
        return l->process->per_second[c->figure];
    case WHOLE_BYTES:
        return (double)l->process->value[c->figure];
    case FRAGMENTATION:
        return fragmentation(l);
    case NAME:
        break;
    }
    return 0;
}

/* ---- numbers as text ----------------------------------------------------- */

/* n with a unit, in at most 6 columns: 0, 9.5, 123, 4.56k, 78.9M. */
static void format_scaled(char out[32], double n, double base)
{
    static const char units[] = " kMGTPE";
    size_t u = 0;
    while (n >= 999.5 && u < sizeof units - 2) {
        n /= base;
        u++;
    }
    int decimals = n < 9.995 && u > 0 ? 2 : n < 99.95 && u > 0 ? 1 : 0;
    if (u == 0)
        snprintf(out, 32, "%.*f", n < 9.95 && n != (double)(long)n ? 1 : 0, n);
    else
        snprintf(out, 32, "%.*f%c", decimals, n, units[u]);
}

static void format_cell(char out[32], const struct line *l,
                        const struct column *c)
{
    double n = value(l, c);
    if (!has(l, c) || (c->source == FRAGMENTATION && n < 0))
        strcpy(out, "-");
    else if (c->source == FRAGMENTATION)
        snprintf(out, 32, n < 99.95 ? "%.2f" : "%.0f", n > 99999 ? 99999 : n);
    else if (c->source == ROW_BYTES || c->source == WHOLE_BYTES)
        format_scaled(out, n, 1024);
    else
        format_scaled(out, n, 1000);
}

static const char *state_of(const struct fleet_process *p)
{
    return p->state == FLEET_ENDED    ? " [ended]"
           : p->state == FLEET_SILENT ? " [no answer]"
                                      : "";
}

/* Copy text in exactly width columns, with blanks or cut off. `behind` is not
 * cut. Returns the end. */
static char *add_name(char *at, const char *text, const char *behind, int width)
{
    int room = width - (int)strlen(behind), used = 0;
    for (; *text != 0 && (used < room || (*text & 0xc0) == 0x80); text++) {
        used += (*text & 0xc0) != 0x80; /* a byte that begins a character */
        *at++ = (unsigned char)*text < 0x20 ? '?' : *text;
    }
    for (; *behind != 0; behind++, used++)
        *at++ = *behind;
    for (; used < width; used++)
        *at++ = ' ';
    return at;
}

static char *add_first(char *at, const struct line *l, int width)
{
    char text[160];
    if (l->row == NULL) {
        at += snprintf(at, 32, "%7d ", (int)l->process->pid);
        return add_name(at,
                        l->process->program != NULL ? l->process->program : "",
                        state_of(l->process), width - 8);
    }
    if (l->row->slot_bytes == 0)
        return add_name(at, l->row->box, "", width);
    if (l->row->slot_bytes < 1 << 20)
        snprintf(text, sizeof text, "  %s %" PRIu64, l->row->box,
                 l->row->slot_bytes);
    else
        snprintf(text, sizeof text, "  %s %" PRIu64 "M", l->row->box,
                 l->row->slot_bytes >> 20);
    return add_name(at, text, "", width);
}

/* The width of the first column, which gets what the others leave. */
static int first_width(const struct column *c, int n, int columns)
{
    int used = 0;
    for (int i = 1; i < n; i++)
        if (!c[i].wide || columns >= WIDE_COLUMNS)
            used += c[i].width + 1;
    int width = columns - used, most = 40;
    return width < NAME_LEAST + 8 ? NAME_LEAST + 8
           : width > most         ? most
                                  : width;
}

/* Room for a line of LINE_BYTES: the widest has some 150 columns. */
static void format_line(char out[LINE_BYTES], const struct view *v,
                        const struct line *l, int columns)
{
    int n;
    char cell[32], *at = out;
    const struct column *c = columns_of(v, &n);
    at = add_first(at, l, first_width(c, n, columns));
    for (int i = 1; i < n; i++) {
        if (c[i].wide && columns < WIDE_COLUMNS)
            continue;
        format_cell(cell, l, &c[i]);
        at += sprintf(at, " %*s", c[i].width, cell);
    }
    *at = 0;
}

static const struct column *sort_of(const struct view *v);

/* The titles, with ">" before the one of the column to sort by. */
static void format_titles(char out[LINE_BYTES], const struct view *v,
                          int columns)
{
    int n;
    char *at = out, title[32];
    const struct column *c = columns_of(v, &n);
    snprintf(title, sizeof title, "%s%s%s", v->pid != 0 ? "" : "    PID ",
             &c[0] == sort_of(v) ? ">" : "", c[0].title);
    at = add_name(at, title, "", first_width(c, n, columns));
    for (int i = 1; i < n; i++) {
        snprintf(title, sizeof title, "%s%s", &c[i] == sort_of(v) ? ">" : "",
                 c[i].title);
        if (!c[i].wide || columns >= WIDE_COLUMNS)
            at += sprintf(at, "%*s", c[i].width + 1, title);
    }
    *at = 0;
}

/* ---- sorting ------------------------------------------------------------- */

static const struct column *sort_column; /* of compare */

static int by_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static const char *name_of(const struct line *l)
{
    const char *name = l->row != NULL ? l->row->box : l->process->program;
    return name != NULL ? name : "";
}

static int compare_names(const struct line *a, const struct line *b)
{
    int order = strcmp(name_of(a), name_of(b));
    if (order != 0)
        return order;
    return a->row == NULL
               ? by_number((uint64_t)a->process->pid, (uint64_t)b->process->pid)
               : by_number(a->row->slot_bytes, b->row->slot_bytes);
}

/* The highest value first. */
static int compare_values(const struct line *a, const struct line *b)
{
    double x = value(a, sort_column), y = value(b, sort_column);
    if (sort_column->source == NAME || !(x > y || x < y))
        return compare_names(a, b);
    return x < y ? 1 : -1;
}

static bool is_class(const struct line *l)
{
    return l->row != NULL && l->row->slot_bytes != 0;
}

/* Processes that have ended come last, and classes behind all boxes. */
static int compare(const void *one, const void *other)
{
    const struct line *a = one, *b = other;
    bool a_ended = a->process->state == FLEET_ENDED;
    bool b_ended = b->process->state == FLEET_ENDED;
    if (a_ended != b_ended)
        return a_ended - b_ended;
    return is_class(a) != is_class(b) ? is_class(a) - is_class(b)
                                      : compare_values(a, b);
}

static const struct fleet_process *process_of(const struct fleet *fleet,
                                              pid_t pid)
{
    for (size_t i = 0; i < fleet->n; i++)
        if (fleet->process[i].pid == pid)
            return &fleet->process[i];
    return NULL;
}

/* The column of a key; NULL: none sorts by it. */
static const struct column *column_of_key(const struct view *v, int key)
{
    int n;
    const struct column *c = columns_of(v, &n);
    for (int i = 0; i < n; i++)
        if (c[i].sort != NULL && c[i].key == key)
            return &c[i];
    return NULL;
}

static const struct column *sort_of(const struct view *v)
{
    const struct column *c = column_of_key(v, v->sort);
    return c != NULL ? c : column_of_key(v, 'm');
}

/* Is there something to see of a class? */
static bool is_used(const struct fleet_row *row)
{
    return row->value[FLEET_MAPPED] != 0 || row->value[FLEET_LIVE] != 0 ||
           row->per_second[FLEET_ALLOCS] > 0;
}

/* The lines of the view, sorted; to be freed. */
static struct line *make_lines(const struct view *v, const struct fleet *fleet,
                               size_t *n)
{
    const struct fleet_process *p =
        v->pid != 0 ? process_of(fleet, v->pid) : NULL;
    size_t most = v->pid == 0 ? fleet->n : p != NULL ? p->nrows : 0;
    struct line *line = calloc(most + 1, sizeof *line);
    if (line == NULL)
        ctl_die("no memory for the table");
    *n = 0;
    for (size_t i = 0; i < most; i++) {
        const struct fleet_row *row = p != NULL ? &p->row[i] : NULL;
        if (p == NULL) {
            line[(*n)++] = (struct line){&fleet->process[i], NULL};
            continue;
        }
        if (row->slot_bytes == 0 || (v->classes && is_used(row)))
            line[(*n)++] = (struct line){p, row};
    }
    sort_column = sort_of(v);
    qsort(line, *n, sizeof *line, compare);
    return line;
}

/* ---- what stands above the table ----------------------------------------- */

static void format_time(char out[32], uint64_t seconds)
{
    uint64_t minutes = seconds / 60, hours = minutes / 60;
    if (hours >= 48)
        snprintf(out, 32, "%" PRIu64 "d%02" PRIu64 "h", hours / 24, hours % 24);
    else if (hours > 0)
        snprintf(out, 32, "%" PRIu64 "h%02" PRIu64 "m", hours, minutes % 60);
    else
        snprintf(out, 32, "%" PRIu64 "m%02" PRIu64 "s", minutes, seconds % 60);
}

static void format_whole(char out[32], const struct fleet_process *p,
                         enum fleet_whole figure)
{
    format_scaled(out, (double)p->value[figure], 1024);
}

/* Two lines about one process. */
static void format_process(char out[2][LINE_BYTES],
                           const struct fleet_process *p)
{
    char up[32], rss[32], faults[32], live[32], used[32], dirty[32], kept[32],
        purged[32], frag[32] = "-";
    format_time(up, p->value[FLEET_UPTIME]);
    format_whole(rss, p, FLEET_RSS);
    format_scaled(faults, p->per_second[FLEET_MINOR_FAULTS], 1000);
    format_scaled(live, (double)p->sum.value[FLEET_LIVE_BYTES], 1024);
    format_whole(used, p, FLEET_USED);
    format_whole(dirty, p, FLEET_DIRTY);
    format_whole(kept, p, FLEET_KEPT);
    format_whole(purged, p, FLEET_PURGED);
    if (fleet_fragmentation(p) >= 0)
        snprintf(frag, sizeof frag, "%.2f", fleet_fragmentation(p));
    const char *slash = p->ini != NULL ? strrchr(p->ini, '/') : NULL;
    snprintf(out[0], LINE_BYTES,
             "%d %.40s%s, %.60s, up %s, RSS %s, %s faults/s", (int)p->pid,
             p->program, state_of(p),
             slash != NULL    ? slash + 1
             : p->ini != NULL ? p->ini
                              : "",
             up, rss, faults);
    snprintf(out[1], LINE_BYTES,
             "live %s, mapped %s, dirty %s, kept %s, purged %s, "
             "fragmentation %s",
             live, used, dirty, kept, purged, frag);
}

static void format_header(char out[2][LINE_BYTES], const struct view *v,
                          const struct fleet *fleet, double interval_s)
{
    const struct fleet_process *p =
        v->pid != 0 ? process_of(fleet, v->pid) : NULL;
    size_t ended = 0, silent = 0;
    out[1][0] = 0;
    if (v->pid != 0) {
        snprintf(out[0], LINE_BYTES, "%d does not answer", (int)v->pid);
        if (p != NULL && p->program != NULL)
            format_process(out, p);
        if (p != NULL && p->state == FLEET_SILENT)
            snprintf(out[1], LINE_BYTES, "%s", p->why != NULL ? p->why : "");
        return;
    }
    for (size_t i = 0; i < fleet->n; i++) {
        ended += fleet->process[i].state == FLEET_ENDED;
        silent += fleet->process[i].state == FLEET_SILENT;
    }
    snprintf(out[0], LINE_BYTES,
             "processes on hakmem: %zu, without an answer: %zu, ended: %zu; "
             "every %.3g s",
             fleet->n - ended, silent, ended, interval_s);
    if (fleet->n == 0)
        snprintf(out[1], LINE_BYTES,
                 "none has a control socket; hakctl run --control -- PROGRAM "
                 "gives it one");
}

/* ---- the screen ---------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* Returns false, after a message: there is no terminal for it. */
static bool screen_open(void)
{
    const struct sigaction stop = {.sa_handler = on_stop};
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        ctl_say("top: this is no terminal; --once prints one table");
        return false;
    }
    setlocale(LC_CTYPE, "");
    if (newterm(NULL, stdout, stdin) == NULL) {
        const char *term = getenv("TERM");
        ctl_say("top: no terminal TERM=%s is known; --once prints one table",
                term != NULL ? term : "");
        return false;
    }
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    return true;
}

static void put_line(int y, const char *text, attr_t how)
{
    attr_set(how, 0, NULL);
    mvaddnstr(y, 0, text, -1);
    if (how & A_REVERSE)
        for (int x = getcurx(stdscr); x < COLS && getcury(stdscr) == y; x++)
            addch(' ');
    attr_set(A_NORMAL, 0, NULL);
}

/* Text that may be longer than the screen is wide. */
static void put_cut(int y, const char *text, attr_t how)
{
    char cut[LINE_BYTES];
    int columns = COLS < LINE_BYTES ? COLS : LINE_BYTES - 1;
    *add_name(cut, text, "",
              columns > LINE_BYTES / 4 ? LINE_BYTES / 4 : columns) = 0;
    put_line(y, cut, how);
}

/* The names of columns to sort by, with the letter of each key as a capital. */
static void draw_help(const struct view *v)
{
    char text[LINE_BYTES], *at = text;
    int n;
    const struct column *c = columns_of(v, &n);
    at += sprintf(at, "q quit  %s  by:",
                  v->pid != 0 ? "Esc back  c classes" : "Enter look in");
    for (int i = 0; i < n; i++) {
        if (c[i].sort == NULL || (c[i].wide && COLS < WIDE_COLUMNS))
            continue;
        *at++ = ' ';
        for (const char *letter = c[i].sort; *letter != 0; letter++)
            *at++ = *letter == c[i].key ? (char)toupper(*letter) : *letter;
    }
    *at = 0;
    put_cut(LINES - 1, text, A_REVERSE);
}

static size_t selected_line(const struct view *v, const struct line *line,
                            size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i].process->pid == v->selected)
            return i;
    return 0;
}

/* Lines of the table that the screen has room for. */
static size_t room(void)
{
    return LINES > 5 ? (size_t)LINES - 4 : 1;
}

static void draw(struct view *v, const struct fleet *fleet, double interval_s)
{
    char head[2][LINE_BYTES], text[LINE_BYTES];
    size_t n;
    struct line *line = make_lines(v, fleet, &n);
    size_t cursor = v->pid == 0 ? selected_line(v, line, n) : SIZE_MAX;
    if (v->pid == 0 && n != 0)
        v->selected = line[cursor].process->pid;
    if (cursor != SIZE_MAX && cursor < v->top)
        v->top = cursor;
    if (cursor != SIZE_MAX && cursor >= v->top + room())
        v->top = cursor - room() + 1;
    if (v->top + room() > n)
        v->top = n > room() ? n - room() : 0;
    erase();
    format_header(head, v, fleet, interval_s);
    put_cut(0, head[0], A_BOLD);
    put_cut(1, head[1], A_NORMAL);
    format_titles(text, v, COLS);
    put_cut(2, text, A_REVERSE);
    for (size_t i = 0; i < room() && v->top + i < n; i++) {
        const struct line *l = &line[v->top + i];
        format_line(text, v, l, COLS);
        bool faint = l->process->state != FLEET_ANSWERED;
        put_cut(3 + (int)i, text,
                v->top + i == cursor ? A_STANDOUT | A_BOLD
                : faint              ? A_DIM
                                     : A_NORMAL);
    }
    draw_help(v);
    refresh();
    free(line);
}

/* ---- the loop ------------------------------------------------------------ */

struct top {
    struct view view;
    struct fleet fleet;
    double interval_s;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Take a new snapshot, with rates since the one before. */
static void sample(struct top *top)
{
    struct fleet before = top->fleet;
    fleet_take(&top->fleet, top->view.pid, TIMEOUT_MS);
    fleet_rates(&top->fleet, &before);
    fleet_free(&before);
}

/* Show another process, or all of them. The rates of what was shown before are
 * those of the last sample. */
static void look_at(struct view *v, pid_t pid)
{
    if (pid == 0)
        v->selected = v->pid;
    v->pid = pid;
    v->top = 0;
}

static void move_by(struct top *top, int lines)
{
    struct view *v = &top->view;
    size_t n;
    struct line *line = make_lines(v, &top->fleet, &n);
    size_t from = v->pid == 0 ? selected_line(v, line, n) : v->top;
    long to = (long)from + lines;
    to = to < 0 ? 0 : to >= (long)n ? (long)n - 1 : to;
    if (v->pid == 0 && n != 0)
        v->selected = line[to].process->pid;
    else
        v->top = n != 0 ? (size_t)to : 0;
    free(line);
}

/* Act on a key. Returns false: the user wants to leave. */
static bool act_on(struct top *top, int key)
{
    struct view *v = &top->view;
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case KEY_UP:
    case 'k':
        move_by(top, -1);
        break;
    case KEY_DOWN:
    case 'j':
        move_by(top, 1);
        break;
    case KEY_PPAGE:
        move_by(top, -(int)room());
        break;
    case KEY_NPAGE:
        move_by(top, (int)room());
        break;
    case KEY_HOME:
        move_by(top, -INT_MAX / 2);
        break;
    case KEY_END:
        move_by(top, INT_MAX / 2);
        break;
    case 'c':
        v->classes = !v->classes;
        break;
    case KEY_ENTER:
    case '\r':
    case '\n':
        if (v->pid == 0 && v->selected != 0)
            look_at(v, v->selected);
        break;
    case 27: /* Esc */
    case KEY_BACKSPACE:
        if (v->pid != 0)
            look_at(v, 0);
        break;
    default:
        if (key != ERR && column_of_key(v, key) != NULL)
            v->sort = (char)key;
    }
    return true;
}

/* Show the table and serve keys until it is time for the next sample. Returns
 * false: the user, or a signal, ends the program. */
static bool show_until(struct top *top, double end_s)
{
    pid_t shown = top->view.pid;
    while (!stopped && shown == top->view.pid) {
        draw(&top->view, &top->fleet, top->interval_s);
        double left_s = end_s - now_s();
        if (left_s <= 0)
            return true;
        timeout((int)(left_s * 1000) + 1);
        if (!act_on(top, getch()))
            return false;
    }
    return !stopped;
}

static int run_screen(struct top *top)
{
    if (!screen_open())
        return CTL_BAD;
    double next_s = now_s() + (double)FIRST_MS / 1000;
    while (show_until(top, next_s)) {
        sample(top);
        next_s = now_s() + top->interval_s;
    }
    endwin();
    return CTL_OK;
}

/* ---- once ---------------------------------------------------------------- */

static void print_table(struct top *top)
{
    enum { ONCE_COLUMNS = 132 };
    char text[LINE_BYTES];
    size_t n;
    struct line *line = make_lines(&top->view, &top->fleet, &n);
    format_titles(text, &top->view, ONCE_COLUMNS);
    puts(text);
    for (size_t i = 0; i < n; i++) {
        format_line(text, &top->view, &line[i], ONCE_COLUMNS);
        puts(text);
    }
    free(line);
}

static int run_once(struct top *top, bool json)
{
    struct timespec wait = {
        .tv_sec = (time_t)top->interval_s,
        .tv_nsec =
            (long)((top->interval_s - (double)(time_t)top->interval_s) * 1e9),
    };
    while (nanosleep(&wait, &wait) != 0)
        ;
    sample(top);
    if (!json) {
        print_table(top);
        return CTL_OK;
    }
    json_t *all = fleet_json(&top->fleet);
    ctl_print_json(all);
    json_decref(all);
    return CTL_OK;
}

/* ---- arguments ----------------------------------------------------------- */

static bool read_interval(const char *text, double *out)
{
    char *end;
    double s = strtod(text, &end);
    if (end != text && *end == 0 && s >= 0.1 && s <= 3600) {
        *out = s;
        return true;
    }
    ctl_say("top: --interval %s: a number of seconds from 0.1 to 3600 is "
            "wanted",
            text);
    return false;
}

/* Views differ in their columns; a name that either has is good. */
static bool read_sort(const char *text, char *out)
{
    const struct column *tables[] = {of_processes, of_boxes};
    const int n[] = {NPROCESS_COLUMNS, NBOX_COLUMNS};
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < n[t]; i++)
            if (tables[t][i].sort != NULL &&
                strcmp(tables[t][i].sort, text) == 0) {
                *out = tables[t][i].key;
                return true;
            }
    ctl_say("top: --sort %s is none of: name, alloc, free, live, mapped, rss, "
            "fault, remote, refill, frag",
            text);
    return false;
}

/* Returns false, after a message: bad usage. */
static bool read_options(int argc, char **argv, struct top *top, bool *once,
                         bool *json)
{
    static const struct option longs[] = {
        {"interval", required_argument, NULL, 'i'},
        {"sort", required_argument, NULL, 's'},
        {"once", no_argument, NULL, '1'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {0},
    };
    int option;
    while ((option = ctl_option(argc, argv, ":hi:s:1j", longs)) != -1) {
        bool good = option == '1' || option == 'j';
        *once |= good;
        *json |= option == 'j';
        if (option == 'i')
            good = read_interval(optarg, &top->interval_s);
        if (option == 's')
            good = read_sort(optarg, &top->view.sort);
        if (!good)
            return false;
    }
    if (argc - optind <= 1)
        return true;
    ctl_say("top: one process or none is wanted; see hakctl help top");
    return false;
}

int ctl_top(int argc, char **argv)
{
    struct top top = {.interval_s = 1, .view = {.sort = 'm', .classes = true}};
    bool once = false, json = false;
    if (!read_options(argc, argv, &top, &once, &json))
        return CTL_BAD;
    if (optind < argc && (top.view.pid = ctl_find(argv[optind])) == 0)
        return CTL_SOME;
    fleet_take(&top.fleet, top.view.pid, TIMEOUT_MS);
    if (top.view.pid != 0 && top.fleet.process[0].state != FLEET_ANSWERED) {
        ctl_say("top: %s", top.fleet.process[0].why);
        return CTL_SOME;
    }
    int status = once ? run_once(&top, json) : run_screen(&top);
    fleet_free(&top.fleet);
    return status;
}

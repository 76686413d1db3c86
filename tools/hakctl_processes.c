/* SPDX-License-Identifier: MIT
 * hakctl_processes.c - ps, stats, show, set, route, drain, trim, learner: asks
 * and changes running processes.
 *
 * Each command is one request of the protocol in docs/control.md. With --json
 * it prints the value of "ok" as the process gave it.
 */
#include "hakctl_control.h"
#include "hakctl.h"
#include "hakctl_fleet.h"

#include <inttypes.h>

/* ---- arguments ----------------------------------------------------------- */

/* The options of a command that takes --json alone. Returns false, after a
 * message: there is a bad one. */
static bool take_options(int argc, char **argv, bool *json)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'}, {CTL_HELP}, {NULL, 0, NULL, 0}};
    int option;
    *json = false;
    while ((option = ctl_option(argc, argv, "+:jh", longs)) != -1) {
        if (option != 'j')
            return false;
        *json = true;
    }
    return true;
}

/* The process, which stands behind the options. At least and at most so many
 * words must follow. Returns CTL_OK or the exit status, after a message. */
static int take_word(int argc, char **argv, pid_t *pid, int least, int most)
{
    int n = argc - optind - 1;
    if (n < least || n > most) {
        ctl_say("%s: %s; see hakctl help %s", argv[0],
                n < 0       ? "no process given"
                : n < least ? "too few words"
                            : "too many words",
                argv[0]);
        return CTL_BAD;
    }
    *pid = ctl_find(argv[optind]);
    return *pid != 0 ? CTL_OK : CTL_SOME;
}

static int take_process(int argc, char **argv, bool *json, pid_t *pid,
                        int least, int most)
{
    return take_options(argc, argv, json)
               ? take_word(argc, argv, pid, least, most)
               : CTL_BAD;
}

/* ---- asking -------------------------------------------------------------- */

void ctl_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}

/* Ask, and print the answer by `print`, or as JSON if json. Returns the exit
 * status. */
static int ask_and_print(const char *command, pid_t pid, const char *request,
                         bool json, void (*print)(const json_t *ok))
{
    char why[1024];
    json_t *ok = ctl_ask_ok(pid, request, why, sizeof why);
    if (ok == NULL) {
        ctl_say("%s: %s", command, why);
        return CTL_SOME;
    }
    if (json) {
        ctl_print_json(ok);
    } else {
        print(ok);
    }
    json_decref(ok);
    return CTL_OK;
}

/* Ask by the words from `from` on, the command's name before them. */
static int ask_by_words(int argc, char **argv, int from, pid_t pid, bool json,
                        void (*print)(const json_t *ok))
{
    char *request = NULL;
    ctl_word(&request, argv[0]);
    for (int i = from; i < argc; i++)
        ctl_word(&request, argv[i]);
    int status = ask_and_print(argv[0], pid, request, json, print);
    free(request);
    return status;
}

/* ---- ps ------------------------------------------------------------------ */

/* Format bytes with a binary unit, as the report does. */
static const char *bytes_text(char out[24], double bytes)
{
    static const char units[] = "BKMGTP";
    size_t u = 0;
    while (bytes >= 1024 && u < sizeof units - 2) {
        bytes /= 1024;
        u++;
    }
    snprintf(out, 24, u == 0 || bytes >= 100 ? "%.0f%c" : "%.1f%c", bytes,
             units[u]);
    return out;
}

static const char *time_text(char out[24], double seconds)
{
    unsigned long s = (unsigned long)seconds;
    if (s >= 86400)
        snprintf(out, 24, "%lud%02luh", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, 24, "%luh%02lum", s / 3600, s / 60 % 60);
    else
        snprintf(out, 24, "%lum%02lus", s / 60, s % 60);
    return out;
}

static void print_boxes(const json_t *boxes)
{
    for (size_t i = 0; i < json_array_size(boxes); i++) {
        const json_t *box = json_array_get(boxes, i);
        const char *state = ctl_text(box, "state");
        printf("%s%s", i == 0 ? "" : ",", ctl_text(box, "name"));
        if (strcmp(state, "active") != 0)
            printf("(%s)", state);
    }
}

static void print_process(const json_t *info)
{
    char live[24], mapped[24], rss[24], uptime[24];
    printf("%7.0f %-15s %7s %7s %7s %8s ", ctl_number(info, "pid"),
           ctl_text(info, "program"),
           bytes_text(live, ctl_number(info, "live_bytes")),
           bytes_text(mapped, ctl_number(info, "mapped_bytes")),
           bytes_text(rss, ctl_number(info, "rss_bytes")),
           time_text(uptime, ctl_number(info, "uptime_s")));
    print_boxes(json_object_get(info, "boxes"));
    const char *profile = ctl_text(info, "profile");
    printf(" %s%s%s\n", ctl_text(info, "conf"),
           profile[0] != 0 ? " profile " : "", profile);
}

int ctl_ps(int argc, char **argv)
{
    struct ctl_process *all;
    char why[1024];
    bool json;
    int status = CTL_OK;
    if (!take_options(argc, argv, &json))
        return CTL_BAD;
    if (optind != argc) {
        ctl_say("ps: it takes no words; hakctl stats says more of one process");
        return CTL_BAD;
    }
    size_t n = ctl_processes(&all);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *info = ctl_ask_ok(all[i].pid, "info", why, sizeof why);
        if (info == NULL) {
            ctl_say("ps: %s", why);
            status = CTL_SOME;
        } else if (json_array_append_new(list, info) != 0) {
            ctl_die("no memory");
        }
    }
    free(all);
    if (json) {
        ctl_print_json(list);
    } else {
        printf("%7s %-15s %7s %7s %7s %8s %s\n", "pid", "program", "live",
               "mapped", "rss", "uptime", "boxes, INI");
        for (size_t i = 0; i < json_array_size(list); i++)
            print_process(json_array_get(list, i));
    }
    json_decref(list);
    return status;
}

/* ---- stats, show --------------------------------------------------------- */

static void print_string(const json_t *ok)
{
    fputs(json_string_value(ok) != NULL ? json_string_value(ok) : "", stdout);
}

/* The figures in Prometheus's text format. */
static int print_metrics(const char *command, pid_t pid)
{
    struct fleet fleet;
    fleet_take(&fleet, pid, CTL_ASK_S * 1000);
    bool answered = fleet.process[0].state == FLEET_ANSWERED;
    if (answered)
        fleet_print_metrics(stdout, &fleet, true);
    else
        ctl_say("%s: %s", command, fleet.process[0].why);
    fleet_free(&fleet);
    return answered ? CTL_OK : CTL_SOME;
}

int ctl_stats(int argc, char **argv)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'},
        {"prometheus", no_argument, NULL, 'p'},
        {CTL_HELP},
        {NULL, 0, NULL, 0},
    };
    pid_t pid;
    int option;
    bool json = false, prometheus = false;
    while ((option = ctl_option(argc, argv, ":jhp", longs)) != -1) {
        if (option != 'j' && option != 'p')
            return CTL_BAD;
        json |= option == 'j';
        prometheus |= option == 'p';
    }
    int status = take_word(argc, argv, &pid, 0, 0);
    if (status != CTL_OK)
        return status;
    if (prometheus)
        return print_metrics(argv[0], pid);
    return ask_and_print(argv[0], pid, json ? "stats" : "stats text", json,
                         print_string);
}

/* "core.purge_delay_ms = 50", then who said so, and whether it may change. */
static void print_key(const json_t *key)
{
    char name[256], where[4200] = "";
    const char *file = ctl_text(key, "file"), *layer = ctl_text(key, "layer");
    int line = (int)ctl_number(key, "line");
    snprintf(name, sizeof name, "%s.%s = %s", ctl_text(key, "section"),
             ctl_text(key, "key"), ctl_text(key, "value"));
    if (line != 0)
        snprintf(where, sizeof where, " %s:%d", file, line);
    else if (strncmp(file, layer, strlen(layer)) == 0)
        layer = file; /* "environment HAKMEM_CORE_VERIFY" */
    else if (file[0] != 0)
        snprintf(where, sizeof where, " %s", file);
    printf("%-40s %s%s", name, layer, where);
    if (json_is_true(json_object_get(key, "settable"))) {
        const char *bounds = ctl_text(key, "bounds");
        printf("; may change%s%s", bounds[0] != 0 ? ": " : "", bounds);
    }
    putchar('\n');
}

static void print_keys(const json_t *ok)
{
    for (size_t i = 0; i < json_array_size(ok); i++)
        print_key(json_array_get(ok, i));
}

int ctl_show(int argc, char **argv)
{
    pid_t pid;
    bool json;
    int status = take_process(argc, argv, &json, &pid, 0, 0);
    if (status != CTL_OK)
        return status;
    return ask_and_print(argv[0], pid, "show", json, print_keys);
}

/* ---- changes ------------------------------------------------------------- */

void ctl_print_change(const json_t *ok)
{
    printf("%.0f us; reached %s\n", ctl_number(ok, "took_us"),
           ctl_text(ok, "reached"));
    if (json_object_get(ok, "note") != NULL)
        printf("note: %s\n", ctl_text(ok, "note"));
}

void ctl_print_box(const json_t *box)
{
    char live[24], mapped[24];
    printf("%s is %s: %.0f blocks, %s live, %s mapped\n", ctl_text(box, "name"),
           ctl_text(box, "state"), ctl_number(box, "live"),
           bytes_text(live, ctl_number(box, "live_bytes")),
           bytes_text(mapped, ctl_number(box, "mapped_bytes")));
}

static void print_set(const json_t *ok)
{
    const json_t *list = json_object_get(ok, "set");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);
        printf("%s.%s = %s\n", ctl_text(s, "section"), ctl_text(s, "key"),
               ctl_text(s, "value"));
    }
    ctl_print_change(ok);
}

static void print_route(const json_t *ok)
{
    printf("%s -> %s\n", ctl_text(ok, "range"), ctl_text(ok, "route"));
    ctl_print_change(ok);
}

static void print_drain(const json_t *ok)
{
    ctl_print_box(json_object_get(ok, "box"));
    ctl_print_change(ok);
}

static void print_trim(const json_t *ok)
{
    char bytes[24];
    printf("%s given back\n",
           bytes_text(bytes, ctl_number(ok, "released_bytes")));
    ctl_print_change(ok);
}

static void print_learner(const json_t *ok)
{
    printf("learner.mode = %s\n", ctl_text(ok, "mode"));
    ctl_print_change(ok);
}

static int change(int argc, char **argv, int least, int most,
                  void (*print)(const json_t *ok))
{
    pid_t pid;
    bool json;
    int status = take_process(argc, argv, &json, &pid, least, most);
    if (status != CTL_OK)
        return status;
    return ask_by_words(argc, argv, optind + 1, pid, json, print);
}

int ctl_set(int argc, char **argv)
{
    return change(argc, argv, 1, argc, print_set);
}

int ctl_route(int argc, char **argv)
{
    return change(argc, argv, 2, 2, print_route);
}

int ctl_drain(int argc, char **argv)
{
    return change(argc, argv, 1, 1, print_drain);
}

int ctl_trim(int argc, char **argv)
{
    return change(argc, argv, 0, 0, print_trim);
}

int ctl_learner(int argc, char **argv)
{
    return change(argc, argv, 1, 1, print_learner);
}

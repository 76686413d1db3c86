/* SPDX-License-Identifier: MIT
 * hakctl_save.c - save: the INI that would start a process as it is now.
 */
#include "hakctl_control.h"
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

/* ---- lines --------------------------------------------------------------- */

/* Is it what a route ends with, and no box? */
static bool is_last(const char *name)
{
    return strcmp(name, "libc") == 0 || strcmp(name, "none") == 0;
}

/* Print the value of `path` so that the INI may lie elsewhere: a relative path
 * is relative to the folder of the INI that it was given in. */
static void print_path(FILE *out, const char *value, const char *conf)
{
    const char *slash = strrchr(conf, '/');
    if (value[0] != '/' && strchr(value, '/') != NULL && slash != NULL)
        fprintf(out, "%.*s", (int)(slash + 1 - conf), conf);
    fputs(value, out);
}

/* Why a key cannot stand in an INI; NULL: it can. */
static const char *why_not(const char *value)
{
    const char *mark = value;
    if (strpbrk(value, "\r\n") != NULL)
        return "a line break is in its value";
    while ((mark = strpbrk(mark, ";#")) != NULL) {
        if (mark == value || mark[-1] == ' ' || mark[-1] == '\t')
            return "a comment would begin in its value";
        mark++;
    }
    return NULL;
}

/* An INI that is being printed. */
struct ini {
    FILE *out;
    const char *conf;    /* the INI that the process was started on */
    const json_t *keys;  /* reply of show */
    const json_t *boxes; /* of the reply of info */
    json_t *done;        /* names of sections that are printed */
};

/* The value of a key, or NULL. */
static const char *value_of(const struct ini *ini, const char *section,
                            const char *name)
{
    for (size_t i = 0; i < json_array_size(ini->keys); i++) {
        const json_t *key = json_array_get(ini->keys, i);
        if (strcmp(ctl_text(key, "section"), section) == 0 &&
            strcmp(ctl_text(key, "key"), name) == 0)
            return ctl_text(key, "value");
    }
    return NULL;
}

/* What the name of a route or box leads to when routes that have lost their box
 * are left out: another route or box, libc or none. */
static const char *served_by(const struct ini *ini, const char *name)
{
    char section[256];
    for (int steps = 0; steps < 32; steps++) {
        snprintf(section, sizeof section, "route %s", name);
        const char *box = value_of(ini, section, "box");
        if (box == NULL || !is_last(box))
            break;
        const char *fallback = value_of(ini, section, "fallback");
        name = fallback != NULL ? fallback : box;
    }
    return name;
}

/* Has this [route NAME] lost its box? */
static bool has_lost_its_box(const struct ini *ini, const char *section)
{
    const char *box = strncmp(section, "route ", 6) == 0
                          ? value_of(ini, section, "box")
                          : NULL;
    return box != NULL && is_last(box);
}

/* A key without a value is one that nobody gave, and an INI may not have it. A
 * size that no box serves is one without a line in [policy]. */
static void print_key(const struct ini *ini, const json_t *key)
{
    const char *name = ctl_text(key, "key"), *value = ctl_text(key, "value");
    const char *section = ctl_text(key, "section");
    const char *bad = why_not(value);
    bool policy = strcmp(section, "policy") == 0;
    if (value[0] == 0)
        return;
    if (policy || strcmp(name, "fallback") == 0)
        value = served_by(ini, value);
    if (bad != NULL) {
        ctl_say("save: %s.%s is left out: %s", section, name, bad);
        return;
    }
    fprintf(ini->out, "%s%s = ", policy && is_last(value) ? "; " : "", name);
    if (strncmp(section, "box ", 4) == 0 && strcmp(name, "path") == 0)
        print_path(ini->out, value, ini->conf);
    else
        fputs(value, ini->out);
    fputc('\n', ini->out);
}

/* A box that drains serves no size any more. */
static bool is_box_that_drains(const struct ini *ini, const char *section)
{
    for (size_t i = 0; i < json_array_size(ini->boxes); i++) {
        const json_t *box = json_array_get(ini->boxes, i);
        if (strncmp(section, "box ", 4) == 0 &&
            strcmp(section + 4, ctl_text(box, "name")) == 0)
            return strcmp(ctl_text(box, "state"), "active") != 0;
    }
    return false;
}

/* Print a section with all its keys, once. */
static void print_section(const struct ini *ini, const char *section)
{
    if (json_object_get(ini->done, section) != NULL ||
        is_box_that_drains(ini, section) || has_lost_its_box(ini, section))
        return;
    json_object_set_new(ini->done, section, json_true());
    fprintf(ini->out, "\n[%s]\n", section);
    for (size_t i = 0; i < json_array_size(ini->keys); i++) {
        const json_t *key = json_array_get(ini->keys, i);
        if (strcmp(ctl_text(key, "section"), section) == 0)
            print_key(ini, key);
    }
}

static void print_box(const struct ini *ini, const char *name)
{
    char section[256];
    snprintf(section, sizeof section, "box %s", name);
    print_section(ini, section);
}

/* Print the box that a key of a [route NAME] names. */
static void print_box_of_route(const struct ini *ini, const json_t *key)
{
    char route[256];
    const char *name = ctl_text(key, "key"), *value = ctl_text(key, "value");
    snprintf(route, sizeof route, "route %s", value);
    if (strncmp(ctl_text(key, "section"), "route ", 6) == 0 &&
        (strcmp(name, "box") == 0 || strcmp(name, "fallback") == 0) &&
        !is_last(value) && value_of(ini, route, "box") == NULL)
        print_box(ini, value);
}

/* Print the boxes, then the other sections that have keys. Boxes come in
 * the order of the owns() walk, which is their priority. Those of disabled
 * routes are not loaded, and have no keys if none were given. */
static void print_ini(const struct ini *ini)
{
    for (size_t i = 0; i < json_array_size(ini->boxes); i++)
        print_box(ini, ctl_text(json_array_get(ini->boxes, i), "name"));
    for (size_t i = 0; i < json_array_size(ini->keys); i++)
        print_box_of_route(ini, json_array_get(ini->keys, i));
    for (size_t i = 0; i < json_array_size(ini->keys); i++)
        print_section(ini, ctl_text(json_array_get(ini->keys, i), "section"));
}

/* ---- the command --------------------------------------------------------- */

static void print_head(FILE *out, const json_t *info)
{
    char when[64];
    time_t now = time(NULL);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime(&now));
    fprintf(out, "; hakctl save, %s: %s (%.0f), started on %s\n", when,
            ctl_text(info, "program"), ctl_number(info, "pid"),
            ctl_text(info, "conf"));
}

/* The INI as text, which the caller frees. NULL, after a message: the process
 * did not answer. */
static char *ini_of(pid_t pid)
{
    char why[1024], *text = NULL;
    size_t n = 0;
    json_t *info = ctl_ask_ok(pid, "info", why, sizeof why);
    json_t *keys =
        info != NULL ? ctl_ask_ok(pid, "show", why, sizeof why) : NULL;
    if (keys == NULL) {
        ctl_say("save: %s", why);
        json_decref(info);
        return NULL;
    }
    FILE *out = open_memstream(&text, &n);
    if (out == NULL)
        ctl_die("no memory");
    const struct ini ini = {out, ctl_text(info, "conf"), keys,
                            json_object_get(info, "boxes"), json_object()};
    print_head(out, info);
    print_ini(&ini);
    json_decref(ini.done);
    if (fclose(out) != 0)
        ctl_die("no memory");
    json_decref(info);
    json_decref(keys);
    return text;
}

/* Write the INI, in place of the file that is there. Returns the exit status.
 */
static int write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");
    bool good = out != NULL && fputs(text, out) >= 0;
    if (out == NULL || fclose(out) != 0 || !good) {
        ctl_say("save: cannot write %s: %s", path, strerror(errno));
        return CTL_BAD;
    }
    return CTL_OK;
}

/* Print the findings of hakctl lint about the file. */
static int check_file(const char *path)
{
    struct ctl_findings all = {0};
    ctl_check(&all, path, NULL);
    for (size_t i = 0; i < all.n; i++)
        ctl_print_finding(stderr, &all.at[i]);
    return all.nerrors != 0 ? CTL_SOME : CTL_OK;
}

int ctl_save(int argc, char **argv)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    const char *path = NULL;
    bool json = false;
    int option;
    while ((option = ctl_option(argc, argv, ":o:jh", longs)) != -1) {
        if (option == '?' || option == ':')
            return CTL_BAD;
        if (option == 'o')
            path = optarg;
        json |= option == 'j';
    }
    if (argc - optind != 1) {
        ctl_say("save: it takes one process; see hakctl help save");
        return CTL_BAD;
    }
    pid_t pid = ctl_find(argv[optind]);
    char *text = pid != 0 ? ini_of(pid) : NULL;
    int status = text != NULL ? CTL_OK : CTL_SOME;
    if (text != NULL && path != NULL) {
        status = write_file(path, text);
        if (status == CTL_OK)
            status = check_file(path);
    } else if (text != NULL && json) {
        fputs("{\"ini\":", stdout);
        ctl_json(stdout, text);
        fputs("}\n", stdout);
    } else if (text != NULL) {
        fputs(text, stdout);
    }
    free(text);
    return status;
}

/* SPDX-License-Identifier: MIT
 * hakctl_save.c - save: the INI that would start a process as it is now.
 */
#include "hakctl_control.h"
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

/* ---- lines --------------------------------------------------------------- */

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

/* A key without a value is one that nobody gave, and an INI may not have it. */
static void print_key(FILE *out, const json_t *key, const char *conf)
{
    const char *name = ctl_text(key, "key"), *value = ctl_text(key, "value");
    const char *section = ctl_text(key, "section");
    const char *bad = why_not(value);
    if (value[0] == 0)
        return;
    if (bad != NULL) {
        ctl_say("save: %s.%s is left out: %s", section, name, bad);
        return;
    }
    fprintf(out, "%s = ", name);
    if (strncmp(section, "box ", 4) == 0 && strcmp(name, "path") == 0)
        print_path(out, value, conf);
    else
        fputs(value, out);
    fputc('\n', out);
}

static void print_section(FILE *out, const json_t *keys, const char *section,
                          const char *conf)
{
    fprintf(out, "\n[%s]\n", section);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        if (strcmp(ctl_text(key, "section"), section) == 0)
            print_key(out, key, conf);
    }
}

/* Each section once, with all its keys, in the order of the first ones. */
static void print_ini(FILE *out, const json_t *keys, const char *conf)
{
    json_t *done = json_object();
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *section = ctl_text(json_array_get(keys, i), "section");
        if (json_object_get(done, section) != NULL)
            continue;
        json_object_set_new(done, section, json_true());
        print_section(out, keys, section, conf);
    }
    json_decref(done);
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
    print_head(out, info);
    print_ini(out, keys, ctl_text(info, "conf"));
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

/* SPDX-License-Identifier: MIT
 * hakctl_report.c - hakctl report: the page of files, or of a running process.
 */
#include "hakctl_report.h"
#include "hakctl.h"
#include "hakctl_control.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a running process --------------------------------------------------- */

/* The name of the timeline of a process, in which "%p" is its pid. The caller
 * frees it. NULL: there is none. */
static char *timeline_of(const json_t *keys, pid_t pid)
{
    const char *value = "";
    const json_t *one;
    size_t i;
    json_array_foreach(keys, i, one)
    {
        if (strcmp(ctl_text(one, "section"), "stats") == 0 &&
            strcmp(ctl_text(one, "key"), "timeline") == 0)
            value = ctl_text(one, "value");
    }
    if (value[0] == 0 || strcmp(value, "none") == 0)
        return NULL;
    return ctl_with_pid(value, pid);
}

/* Read the timeline that a process writes. A relative name counts from the
 * folder in which the process was started, which may be another one by now. */
static void read_own_timeline(struct report *r, const json_t *keys)
{
    char *file = timeline_of(keys, r->pid);
    if (file != NULL && access(file, R_OK) == 0)
        report_read(r, file);
    else if (file != NULL)
        report_note(r,
                    "Process %d writes a timeline to %s, which cannot be "
                    "read from here: %s.",
                    (int)r->pid, file, strerror(errno));
    free(file);
}

/* Let the process write a fresh heap profile, and read it. */
static void read_own_profile(struct report *r)
{
    char folder[] = "/tmp/hakmem-report-XXXXXX", why[512];
    char *fresh = NULL, *request = NULL;
    if (mkdtemp(folder) == NULL)
        return;
    if (asprintf(&fresh, "%s/heap.pb.gz", folder) < 0)
        ctl_die("no memory");
    ctl_word(&request, "profile");
    ctl_word(&request, "dump");
    ctl_word(&request, fresh);
    json_t *ok = ctl_ask_ok(r->pid, request, why, sizeof why);
    if (ok != NULL)
        report_read(r, fresh);
    else
        report_note(r,
                    "Process %d was asked for a heap profile and answers: "
                    "%s.",
                    (int)r->pid, why);
    json_decref(ok);
    unlink(fresh);
    rmdir(folder);
    free(fresh);
    free(request);
}

/* Read what a running process says of itself. Returns false, after a message.
 */
static bool read_process(struct report *r, const char *word)
{
    char why[512];
    r->pid = ctl_find(word);
    if (r->pid == 0)
        return false;
    json_t *stats = ctl_ask_ok(r->pid, "stats", why, sizeof why);
    json_t *info =
        stats != NULL ? ctl_ask_ok(r->pid, "info", why, sizeof why) : NULL;
    json_t *keys =
        info != NULL ? ctl_ask_ok(r->pid, "show", why, sizeof why) : NULL;
    bool good = keys != NULL;
    if (!good)
        ctl_say("%s", why);
    else {
        json_object_set(stats, "rss_bytes", json_object_get(info, "rss_bytes"));
        json_array_append(r->stats, stats);
        json_array_append_new(r->sources,
                              json_sprintf("process %d", (int)r->pid));
        read_own_timeline(r, keys);
        read_own_profile(r);
    }
    json_decref(stats);
    json_decref(info);
    json_decref(keys);
    return good;
}

/* ---- the page ------------------------------------------------------------ */

/* What fills a slot of the frame. */
static const struct html_slot slots[] = {{"title", report_write_title},
                                         {"process", report_write_process},
                                         {"summary", report_write_summary},
                                         {"notes", report_write_notes},
                                         {"moments", report_write_moments},
                                         {"advice", report_write_advice},
                                         {"time", report_write_time},
                                         {"events", report_write_events},
                                         {"heat", report_write_heat},
                                         {"sites", report_write_sites},
                                         {"tree", report_write_tree},
                                         {"sources", report_write_sources},
                                         {"data", html_json},
                                         {NULL, NULL}};
static const struct html_page kind = {"report.html", "report.js", slots};

/* ---- the command --------------------------------------------------------- */

/* Does the word name a process rather than a file? */
static bool names_process(const char *word)
{
    struct stat s;
    if (stat(word, &s) == 0)
        return S_ISSOCK(s.st_mode);
    return strpbrk(word, "/.") == NULL;
}

static bool read_all(struct report *r, int n, char **word)
{
    if (n == 1 && names_process(word[0]))
        return read_process(r, word[0]);
    for (int i = 0; i < n; i++)
        if (!report_read(r, word[i]))
            return false;
    return true;
}

bool report_make(struct report *r, const char *file)
{
    json_t *page = report_figures(r);
    bool good = page != NULL && html_write_page(&kind, page, file);
    json_decref(page);
    return good;
}

int ctl_report(int argc, char **argv)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    const char *file = "report.html";
    struct report r;
    int option;
    while ((option = ctl_option(argc, argv, ":o:h", longs)) != -1) {
        if (option == 'o')
            file = optarg;
        else
            return CTL_BAD;
    }
    if (optind == argc) {
        ctl_say(
            "report: no FILE or PID given, as in hakctl report app.timeline "
            "app.pb.gz -o report.html");
        return CTL_BAD;
    }
    report_start(&r);
    bool good = report_can_write(file) &&
                read_all(&r, argc - optind, argv + optind) &&
                report_make(&r, file);
    report_end(&r);
    return good ? CTL_OK : CTL_SOME;
}

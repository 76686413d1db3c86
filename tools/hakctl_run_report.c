/* SPDX-License-Identifier: MIT
 * hakctl_run_report.c - hakctl run --report: runs the program as a child, and
 * makes the page of hakctl report of what it leaves.
 *
 * The program and what it starts write their files into a folder that only this
 * user can read.
 */
#include "hakctl_report.h"
#include "hakctl.h"

#include <core/state/core.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder ---------------------------------------------------------- */

static char *make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = NULL;
    if (tmp == NULL || tmp[0] != '/')
        tmp = "/tmp";
    if (asprintf(&folder, "%s/hakmem-report-XXXXXX", tmp) < 0)
        ctl_die("no memory");
    if (mkdtemp(folder) != NULL)
        return folder;
    ctl_say("run: --report: cannot make a folder in %s: %s; TMPDIR names "
            "another place",
            tmp, strerror(errno));
    free(folder);
    return NULL;
}

static void remove_folder(const char *folder)
{
    const struct dirent *e;
    DIR *d = opendir(folder);
    while (d != NULL && (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL)
        closedir(d);
    rmdir(folder);
}

/* The files in the folder. Their names end in the pid of who wrote them. */
static const struct {
    const char *variable, *name;
} files[] = {
    {"HAKMEM_STATS_TIMELINE", "timeline."},
    {"HAKMEM_HEAP_PROFILE_FILE", "heap.pb.gz."},
    {"HAKMEM_STATS_AT_EXIT", "stats."},
};
enum { NFILES = sizeof files / sizeof files[0] };

static void set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        ctl_die("setenv: %s", strerror(errno));
}

/* Has somebody chosen a period for the timeline? conf/default.ini says what the
 * default is. */
static bool is_period_chosen(void)
{
    const struct hak_conf_entry *e =
        hak_conf_find(&hak_conf, "stats", "every_ms");
    return getenv("HAKMEM_STATS_EVERY_MS") != NULL ||
           (e != NULL && strcmp(e->value, "1000") != 0);
}

/* Let the program write its files into the folder. */
static void set_files(const char *folder)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < NFILES; i++) {
        snprintf(path, sizeof path, "%s/%s%%p", folder, files[i].name);
        set_variable(files[i].variable, path);
    }
    set_variable("HAKMEM_STATS_FORMAT", "json");
    unsetenv("HAKMEM_STATS_ONLY_PID");
    if (!is_period_chosen())
        set_variable("HAKMEM_STATS_EVERY_MS", "100");
}

/* ---- the page ------------------------------------------------------------ */

static const char *path_of(char path[PATH_MAX], const char *folder, size_t file,
                           pid_t pid)
{
    snprintf(path, PATH_MAX, "%s/%s%d", folder, files[file].name, (int)pid);
    return path;
}

/* A process that was killed, or that calls _exit, leaves an empty report. */
static bool is_written(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && s.st_size > 0;
}

/* Read the files of the process itself. Returns false, after a message. */
static bool read_files(struct report *r, const char *folder)
{
    char path[PATH_MAX];
    bool good = true;
    for (size_t i = 0; i < NFILES; i++) {
        if (is_written(path_of(path, folder, i, r->pid)))
            good &= report_read(r, path);
    }
    return good;
}

/* The number of other processes that have left files. */
static size_t count_others(const char *folder, pid_t own)
{
    json_t *pids = json_object();
    const struct dirent *e;
    DIR *d = opendir(folder);
    while (d != NULL && (e = readdir(d)) != NULL) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot != NULL && dot[1] != 0 && strtol(dot + 1, NULL, 10) != own)
            json_object_set_new(pids, dot + 1, json_true());
    }
    if (d != NULL)
        closedir(d);
    size_t n = json_object_size(pids);
    json_decref(pids);
    return n;
}

static bool has_files(const char *folder, pid_t pid)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < NFILES; i++)
        if (is_written(path_of(path, folder, i, pid)))
            return true;
    return false;
}

/* Make the page of the files in the folder. Returns false, after a message. */
static bool make_page(const char *folder, pid_t pid, const char *file)
{
    struct report r;
    report_start(&r);
    r.pid = pid;
    bool good = read_files(&r, folder);
    size_t nread = json_array_size(r.sources);
    if (good && nread == 0)
        ctl_say("report: process %d left no figures; did it run without "
                "hakmem, or end within its first moments?",
                (int)pid);
    report_note_others(&r, count_others(folder, pid));
    /* The files are gone when the page is read. */
    json_array_clear(r.sources);
    json_array_append_new(r.sources, json_string("hakctl run --report"));
    good = good && nread != 0 && report_make(&r, file);
    report_end(&r);
    return good;
}

/* The name of the page: the first %p is the pid. The caller frees it. */
static char *name_page(const char *given, pid_t pid)
{
    return ctl_with_pid(given != NULL ? given : "hakmem-report.%p.html", pid);
}

int ctl_run_reported(const struct ctl_reported *what)
{
    char *page = name_page(what->page, getpid());
    bool writable = report_can_write(page);
    free(page);
    char *folder = writable ? make_folder() : NULL;
    if (folder == NULL)
        return CTL_BAD;
    set_files(folder);
    struct ctl_child child;
    ctl_child_start(&child, what->argv, what->preload);
    ctl_child_look(&child, true);
    const int status = ctl_child_status(&child);
    const pid_t pid = child.pid;
    /* What reads the profile is not to run on hakmem. */
    set_variable("LD_PRELOAD", what->preload);
    page = name_page(what->page, pid);
    bool failed = status == CTL_NOT_FOUND || status == CTL_CANNOT_RUN;
    if (failed && !has_files(folder, pid))
        remove_folder(folder); /* start has said why it could not run */
    else if (make_page(folder, pid, page)) {
        remove_folder(folder);
        ctl_say("report: %s", page);
    } else
        ctl_say("report: there is no page; what the program left is in %s",
                folder);
    free(page);
    free(folder);
    return status;
}

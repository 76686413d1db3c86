/* SPDX-License-Identifier: MIT
 * hakctl_run.c - hakctl run: runs a program on hakmem.
 *
 * The command only sets the environment. Before, it checks what can go wrong,
 * since a preloaded library can print little, and only after the program has
 * started.
 */
#include "hakctl.h"

#include <core/state/core.h>
#include <core/state/fused.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* ---- the configuration --------------------------------------------------- */

/* Check the configuration and print the findings. CTL_OK: the program may run.
 */
static int check_conf(const char *path, const char *profile)
{
    struct ctl_findings all = {0};
    struct stat s;
    if (stat(path, &s) != 0) {
        ctl_say("configuration %s: %s; -c INI names another", path,
                strerror(errno));
        return CTL_BAD;
    }
    if (!S_ISREG(s.st_mode)) { /* a pipe could be read once only */
        ctl_say("configuration %s is not a regular file; -c INI names another",
                path);
        return CTL_BAD;
    }
    ctl_check(&all, path, profile);
    for (size_t i = 0; i < all.n; i++)
        ctl_print_finding(stderr, &all.at[i]);
    if (all.nerrors == 0)
        return CTL_OK;
    ctl_say("%s has errors, so the program was not started", path);
    return CTL_BAD;
}

/* ---- the environment ---- */

static void set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        ctl_die("cannot set %s: %s", name, strerror(errno));
}

/* Set HAKMEM_CONF to an absolute path, since the program may change its folder
 * before it starts others. Symbolic links stay: paths in an INI are relative to
 * the path by which it was named. */
static void set_conf(const char *path)
{
    char *whole = ctl_absolute(path);
    set_variable("HAKMEM_CONF", whole);
    free(whole);
}

/* libhakmem.so beside hakctl, or installed with it. NULL, after a message:
 * there is none. */
static const char *find_library(void)
{
    static char path[PATH_MAX + 32];
    static const struct {
        const char *dir, *name;
    } places[] = {{".", "libhakmem.so"}, {"../lib", "libhakmem.so.1"}};
    char own[PATH_MAX], probe[PATH_MAX + 8], dir[PATH_MAX];
    if (!ctl_own_dir(own, sizeof own))
        return NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(probe, sizeof probe, "%s/%s", own, places[i].dir);
        if (realpath(probe, dir) == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, places[i].name);
        if (access(path, R_OK) == 0)
            return path;
    }
    ctl_say("no libhakmem.so in %s nor libhakmem.so.1 in %s/../lib; make "
            "builds the one, make install the other",
            own, own);
    return NULL;
}

/* A library of make fused; `given` is its path or its folder. NULL, after a
 * message: there is none. */
static const char *find_fused_library(const char *given)
{
    static char path[PATH_MAX + 32];
    char whole[PATH_MAX];
    struct stat s;
    if (realpath(given, whole) == NULL) {
        ctl_say("%s: %s; make fused CONF=INI builds one", given,
                strerror(errno));
        return NULL;
    }
    bool folder = stat(whole, &s) == 0 && S_ISDIR(s.st_mode);
    snprintf(path, sizeof path, "%s%s", whole, folder ? "/libhakmem.so" : "");
    if (access(path, R_OK) == 0)
        return path;
    ctl_say("%s: %s; make fused CONF=INI builds one", path, strerror(errno));
    return NULL;
}

/* Which library compares C++'s delete with its block: none, the one that
 * compares sizes, or the one that compares kinds too. */
enum cxx { CXX_NONE, CXX_SIZED, CXX_MATCH };

/* Add libhakmem-cxx.so or libhakmem-match.so, which is beside the library, to
 * the list to preload. NULL, after a message: it is missing. */
static const char *add_cxx_library(const char *library, enum cxx cxx)
{
    const char *name = cxx == CXX_MATCH ? "match" : "cxx";
    static char both[3 * PATH_MAX];
    const char *slash = strrchr(library, '/');
    int n = snprintf(both, sizeof both, "%s:%.*slibhakmem-%s.so", library,
                     (int)(slash + 1 - library), library, name);
    if (n < (int)sizeof both && access(strchr(both, ':') + 1, R_OK) == 0)
        return both;
    ctl_say("%s_delete = yes: no libhakmem-%s.so beside %s",
            cxx == CXX_MATCH ? "match" : "sized", name, library);
    return NULL;
}

/* Set LD_PRELOAD. path NULL: a message was printed already. */
static int set_preload(const char *path, enum cxx cxx)
{
    const char *old = getenv("LD_PRELOAD");
    if (path == NULL)
        return CTL_BAD;
    if (strpbrk(path, " :") != NULL) {
        ctl_say("%s cannot be preloaded: blank and \":\" separate names in "
                "LD_PRELOAD; move or link it to a path without them",
                path);
        return CTL_BAD;
    }
    if (cxx != CXX_NONE && (path = add_cxx_library(path, cxx)) == NULL)
        return CTL_BAD;
    if (old == NULL || old[0] == 0) {
        set_variable("LD_PRELOAD", path);
        return CTL_OK;
    }
    char *both = NULL;
    if (asprintf(&both, "%s:%s", path, old) < 0)
        ctl_die("no memory");
    set_variable("LD_PRELOAD", both);
    free(both);
    return CTL_OK;
}

/* ---- the program ---- */

/* Find the file that execvp will run. Returns false: there is none, and execvp
 * will report it. */
static bool find_program(const char *name, char *out, size_t bytes)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/') != NULL)
        return (size_t)snprintf(out, bytes, "%s", name) < bytes;
    while (path != NULL) {
        size_t n = strcspn(path, ":");
        int used = snprintf(out, bytes, "%.*s%s%s", (int)n, path,
                            n > 0 ? "/" : "./", name);
        if (used > 0 && (size_t)used < bytes && access(out, X_OK) == 0)
            return true;
        path = path[n] != 0 ? path + n + 1 : NULL;
    }
    return false;
}

/* Does the kernel raise the program's rights at exec? Then ld.so ignores
 * LD_PRELOAD. */
static bool raises_rights(const char *path)
{
    struct stat s;
    if (stat(path, &s) != 0)
        return false;
    return ((s.st_mode & S_ISUID) != 0 && s.st_uid != getuid()) ||
           ((s.st_mode & S_ISGID) != 0 && (s.st_mode & S_IXGRP) != 0 &&
            s.st_gid != getgid()) ||
           (getuid() != 0 &&
            getxattr(path, "security.capability", NULL, 0) > 0);
}

/* The loader of musl obeys LD_PRELOAD, but fails on a library for glibc. */
static const char other_libc[] =
    "is for another C library (musl), hakmem is for glibc";

/* Why the program's dynamic loader cannot preload hakmem; NULL: it can, as it
 * is glibc's. The kernel reports broken files. */
static const char *why_no_loader(int fd, const Elf64_Ehdr *e)
{
    Elf64_Phdr p;
    for (unsigned i = 0; i < e->e_phnum; i++) {
        char name[PATH_MAX] = "";
        off_t at = (off_t)(e->e_phoff + (uint64_t)i * e->e_phentsize);
        if (pread(fd, &p, sizeof p, at) != (ssize_t)sizeof p)
            return NULL;
        if (p.p_type != PT_INTERP)
            continue;
        size_t n = p.p_filesz < sizeof name ? p.p_filesz : sizeof name - 1;
        if (pread(fd, name, n, (off_t)p.p_offset) == (ssize_t)n &&
            strstr(name, "ld-musl") != NULL)
            return other_libc;
        return NULL;
    }
    return "is statically linked, so nothing can be preloaded";
}

/* Why hakmem cannot be preloaded into the program; NULL: it can. A script
 * counts as preloadable, since its interpreter is seldom static. */
static const char *why_not_preloadable(const char *path)
{
    const char *why = NULL;
    Elf64_Ehdr e;
    if (raises_rights(path))
        return "runs with raised rights, and the loader passes over "
               "LD_PRELOAD then";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (pread(fd, &e, sizeof e, 0) == (ssize_t)sizeof e &&
        memcmp(e.e_ident, ELFMAG, SELFMAG) == 0) {
        if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != EM_X86_64)
            why = "is not for x86-64";
        else
            why = why_no_loader(fd, &e);
    }
    close(fd);
    return why;
}

const char *ctl_why_not_preloadable(const char *program)
{
    char path[PATH_MAX];
    return find_program(program, path, sizeof path) ? why_not_preloadable(path)
                                                    : NULL;
}

int ctl_run_program(char **argv, const char *before)
{
    char path[PATH_MAX];
    const char *why = find_program(argv[0], path, sizeof path)
                          ? why_not_preloadable(path)
                          : NULL;
    if (why != NULL)
        ctl_say("warning: %s %s; it runs without hakmem", path, why);
    if (why == other_libc)
        set_variable("LD_PRELOAD", before);
    execvp(argv[0], argv);
    int error = errno;
    ctl_say("cannot run %s: %s", argv[0], strerror(error));
    return error == ENOENT ? CTL_NOT_FOUND : CTL_CANNOT_RUN;
}

/* Ask for a report at exit, of this process only or of `all`. exec keeps the
 * process id, so [stats] can name the program by it. */
static void ask_for_report(bool all)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    set_variable("HAKMEM_STATS_AT_EXIT", "stderr");
    if (all)
        unsetenv("HAKMEM_STATS_ONLY_PID");
    else
        set_variable("HAKMEM_STATS_ONLY_PID", pid);
}

/* Ask for the memory of the program over time. file NULL: the usual name. The
 * path is made absolute, since the program may start others from elsewhere.
 * False, after a message: it is no name. */
static bool ask_for_timeline(const char *file)
{
    if (file == NULL)
        file = "hakmem.%p.timeline";
    if (file[0] == 0 || strcmp(file, "none") == 0) {
        ctl_say("run: --timeline=FILE needs the name of a file");
        return false;
    }
    char *whole = ctl_absolute(file);
    char *name = ctl_with_pid(whole, getpid()); /* exec keeps the process id */
    set_variable("HAKMEM_STATS_TIMELINE", whole);
    ctl_say("memory over time: %s", name);
    free(whole);
    free(name);
    return true;
}

/* Programs that make a namespace of users or change users by system calls of
 * their own. The kernel refuses that to a process of several threads, and what
 * this option asks for has one. */
static void warn_of_thread(const char *program, const char *what)
{
    static const char *const known[] = {"unshare",  "nsenter", "bwrap",
                                        "firejail", "runc",    "crun",
                                        "podman",   "buildah", "rootlesskit"};
    const char *slash = strrchr(program, '/');
    const char *name = slash != NULL ? slash + 1 : program;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            ctl_say("warning: %s needs to be single-threaded when it enters a "
                    "namespace, and --%s adds a thread; leave it out if it "
                    "fails",
                    name, what);
}

/* Preload a fused library, which has its configuration built in. */
static int prepare_fused(const char *fused, const char *conf,
                         const char *profile)
{
    if (conf != NULL || profile != NULL) {
        ctl_say("run: --fused takes no -%c: a fused library has its "
                "configuration in it",
                conf != NULL ? 'c' : 'p');
        return CTL_BAD;
    }
    unsetenv("HAKMEM_CONF");
    unsetenv("HAKMEM_PROFILE");
    unsetenv("HAKMEM_CORE_BLAME");
    const char *path = find_fused_library(fused);
    char *text = path != NULL ? ctl_library_text(path) : NULL;
    if (path != NULL && text == NULL) {
        ctl_say("%s is no library of hakmem; make fused CONF=INI builds one",
                path);
        return CTL_BAD;
    }
    enum cxx cxx = CXX_NONE;
    if (text != NULL && strstr(text, HAK_NOTE_MATCH_DELETE) != NULL)
        cxx = CXX_MATCH;
    else if (text != NULL && strstr(text, HAK_NOTE_SIZED_DELETE) != NULL)
        cxx = CXX_SIZED;
    free(text);
    return set_preload(path, cxx);
}

/* Let a crash in a box be named, unless the configuration decides that. */
static void blame(void)
{
    if (hak_conf_find(&hak_conf, "core", "blame") == NULL)
        set_variable("HAKMEM_CORE_BLAME", "yes");
}

int ctl_run_prepare(const char *given, const char *profile)
{
    if (profile != NULL)
        set_variable("HAKMEM_PROFILE", profile);
    const char *conf = ctl_conf(given);
    int status = conf != NULL ? check_conf(conf, NULL) : CTL_BAD;
    if (status == CTL_OK)
        status =
            set_preload(find_library(), hak_conf.match_delete   ? CXX_MATCH
                                        : hak_conf.sized_delete ? CXX_SIZED
                                                                : CXX_NONE);
    if (status != CTL_OK)
        return status;
    set_conf(conf);
    blame();
    return status;
}

/* The command line. */
struct request {
    const char *conf, *profile, *fused;
    bool control, heap, heap_all, timeline;
    const char *heap_file, *heap_every, *timeline_file;
    bool stats, report;
    const char *report_file;
};

static const struct option run_options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"profile", required_argument, NULL, 'p'},
    {"fused", required_argument, NULL, 'f'},
    {"stats", no_argument, NULL, 's'},
    {"stats-all", no_argument, NULL, 'a'},
    {"control", no_argument, NULL, 'C'},
    {"heap-profile", optional_argument, NULL, 'H'},
    {"heap-profile-all", optional_argument, NULL, 'A'},
    {"heap-profile-every", required_argument, NULL, 'E'},
    {"timeline", optional_argument, NULL, 't'},
    {"report", optional_argument, NULL, 'R'},
    {CTL_HELP},
    {NULL, 0, NULL, 0}};

static bool take_options(struct request *r, int argc, char **argv)
{
    int option;
    while ((option = ctl_option(argc, argv, "+:c:p:f:sh", run_options)) != -1) {
        if (option == 'c')
            r->conf = optarg;
        else if (option == 'p')
            r->profile = optarg;
        else if (option == 'f')
            r->fused = optarg;
        else if (option == 's' || option == 'a')
            ask_for_report(option == 'a');
        else if (option == 'C')
            r->control = true;
        else if (option == 'E')
            r->heap_every = optarg;
        else if (option == 'H' || option == 'A')
            r->heap_file = optarg;
        else if (option == 't')
            r->timeline_file = optarg;
        else if (option == 'R')
            r->report_file = optarg;
        else
            return false;
        r->stats |= option == 's' || option == 'a';
        r->heap |= option == 'E' || option == 'H' || option == 'A';
        r->heap_all |= option == 'A';
        r->timeline |= option == 't';
        r->report |= option == 'R';
    }
    return true;
}

/* What cannot be combined with --report, and why; NULL: nothing is given. */
static const char *not_beside_report(const struct request *r)
{
    if (r->stats)
        return "--stats: its page is made of the same report";
    if (r->heap)
        return "--heap-profile: its page shows one";
    if (r->timeline)
        return "--timeline: its page shows one";
    if (r->fused != NULL)
        return "--fused: a fused library writes no heap profile";
    return NULL;
}

/* Check what options need of each other. */
static bool check_request(const struct request *r, int nwords)
{
    if (nwords == 0) {
        ctl_say("run: no program given, as in hakctl run -- ls -l");
        return false;
    }
    const char *other = not_beside_report(r);
    if (r->report && other != NULL) {
        ctl_say("run: --report takes no %s", other);
        return false;
    }
    if (r->fused == NULL || (!r->control && !r->heap && !r->timeline))
        return true;
    if (r->control)
        ctl_say("run: --fused takes no --control: a fused library cannot be "
                "changed while it runs; leave out --fused");
    else
        ctl_say("run: --fused takes no --%s: a fused library has its "
                "configuration in it; leave out --fused, or set %s in the INI "
                "that it is made of",
                r->heap ? "heap-profile" : "timeline",
                r->heap ? "file of [heap_profile]" : "timeline of [stats]");
    return false;
}

char *ctl_run_preload(void)
{
    const char *preload = getenv("LD_PRELOAD");
    char *copy = strdup(preload != NULL ? preload : "");
    if (copy == NULL)
        ctl_die("no memory");
    return copy;
}

int ctl_run(int argc, char **argv)
{
    struct request r = {0};
    if (!take_options(&r, argc, argv) || !check_request(&r, argc - optind))
        return CTL_BAD;
    if (r.heap &&
        ctl_heap_profile(r.heap_file, r.heap_every, r.heap_all) != CTL_OK)
        return CTL_BAD;
    if (r.timeline && !ask_for_timeline(r.timeline_file))
        return CTL_BAD;
    if (r.control)
        set_variable("HAKMEM_CONTROL_SOCKET", "auto");
    if (r.control || r.timeline || r.report)
        warn_of_thread(argv[optind], r.control    ? "control"
                                     : r.timeline ? "timeline"
                                                  : "report");
    char *before = ctl_run_preload();
    int status = r.fused != NULL ? prepare_fused(r.fused, r.conf, r.profile)
                                 : ctl_run_prepare(r.conf, r.profile);
    if (r.control)
        ctl_foreign_tls_for_next(); /* a foreign box may be loaded later */
    if (status == CTL_OK && r.heap)
        ctl_heap_profile_tell();
    const struct ctl_reported reported = {argv + optind, before, r.report_file};
    if (status == CTL_OK)
        status = r.report ? ctl_run_reported(&reported)
                          : ctl_run_program(argv + optind, before);
    free(before);
    return status;
}

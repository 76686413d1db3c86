/* SPDX-License-Identifier: MIT
 * hakctl_swap.c - load, swap: puts another box into a running process.
 *
 * A box is tried in a process of its own first, by properties of the
 * conformance suite that take a second or two together. The file "foreign"
 * stands for a foreign box, whose library the key path names.
 */
#include "hakctl_control.h"
#include "hakctl.h"

#include <core/box/find.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

/* ---- the trial ----------------------------------------------------------- */

/* Those that show at once that a box would harm the process. --may-decline: the
 * other boxes of a chain serve what a box declines. */
#define TRIED                                                              \
    "--may-decline", "--timeout", "60", "file_exports", "file_libraries",  \
        "file_tls", "entry_*", "init", "alignment", "blocks_are_distinct", \
        "content_kept", "content_kept_beside_lanes", "owns_live_slots",    \
        "owns_no_wild_pointer", "usable_size", "zalloc", "aligned_blocks", \
        "stats", "draining", "remote_frees_both_ways",                     \
        "blocks_outlive_their_thread"
enum { TRIAL_S = 240 }; /* for all of them */

static bool is_foreign(const char *file)
{
    return strcmp(file, "foreign") == 0;
}

/* Make room in static TLS for a foreign box's library, as in check-box -c. The
 * running process has that room from hakctl run, or it refuses the library. */
__attribute__((noreturn)) static void exec_trial(const char *file, int nkeys,
                                                 char **keys)
{
    static char tried[][32] = {TRIED};
    enum { NTRIED = sizeof tried / sizeof tried[0] };
    char dir[PATH_MAX], program[PATH_MAX + 32], beside[PATH_MAX];
    char name[] = "check-box";
    bool foreign = is_foreign(file);
    char **args = calloc((size_t)nkeys + NTRIED + 3, sizeof *args);
    int n = 0;
    if (args == NULL || !ctl_own_dir(dir, sizeof dir))
        _exit(CTL_BAD);
    snprintf(program, sizeof program, "%s/hakctl-check-box", dir);
    args[n++] = name;
    if (strchr(file, '/') == NULL) {
        hak_box_path(foreign ? NULL : file, file, NULL, beside, sizeof beside);
        file = beside;
    }
    if ((args[n++] = strdup(file)) == NULL)
        _exit(CTL_BAD);
    for (int i = 0; i < nkeys; i++)
        if (strncmp(keys[i], "lanes=", 6) != 0) /* a key of the core */
            args[n++] = keys[i];
    for (int i = 0; i < NTRIED; i++)
        args[n++] = tried[i];
    if (foreign)
        ctl_foreign_tls_for_next();
    alarm(TRIAL_S);
    execv(program, args);
    ctl_say("cannot run %s: %s; --no-trial does without", program,
            strerror(errno));
    _exit(CTL_BAD);
}

/* Print the lines that say what failed, and what the box said about it. */
static void print_failures(FILE *in)
{
    static const char said[] = "#   hakmem: ";
    char line[1024];
    while (fgets(line, sizeof line, in) != NULL)
        if (strncmp(line, "not ok", 6) == 0)
            fputs(line, stderr);
        else if (strncmp(line, said, sizeof said - 1) == 0)
            fputs(line + 4, stderr);
}

/* Try a box file. Returns false, after messages: it must not be loaded. */
static bool try_box(const char *file, int nkeys, char **keys)
{
    int ends[2], status = 0;
    pid_t pid = ctl_fork(ends);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        exec_trial(file, nkeys, keys);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    if (in == NULL)
        ctl_die("no memory");
    print_failures(in);
    fclose(in);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        ctl_say("the trial of %s took more than %d s", file, TRIAL_S);
    if (is_foreign(file))
        ctl_say("the foreign box fails its trial, so the process was not "
                "asked; hakctl check-box -c INI BOX says more, --no-trial does "
                "without");
    else
        ctl_say("%s fails its trial, so the process was not asked; hakctl "
                "check-box %s says more, --no-trial does without",
                file, file);
    return false;
}

/* ---- loading ------------------------------------------------------------- */

/* A file that a process elsewhere can open: absolute, or a name as in the key
 * `path`. */
static const char *whole_path(const char *file, char out[PATH_MAX])
{
    if (is_foreign(file) ||
        (strchr(file, '/') == NULL && access(file, R_OK) != 0))
        return file;
    if (realpath(file, out) != NULL)
        return out;
    ctl_say("%s: %s", file, strerror(errno));
    return NULL;
}

/* A foreign box's library as a process elsewhere can open it: of a path that is
 * relative to this folder the whole one. Other keys stay as they are. */
static char *whole_library(char *key)
{
    static char out[PATH_MAX + 8], whole[PATH_MAX];
    bool relative = strncmp(key, "path=", 5) == 0 && key[5] != '/' &&
                    strchr(key, '/') != NULL;
    if (!relative || realpath(key + 5, whole) == NULL)
        return key;
    snprintf(out, sizeof out, "path=%s", whole);
    return out;
}

static json_t *load_box(pid_t pid, const char *command, const char *name,
                        const char *file, int nkeys, char **keys, bool trial)
{
    char whole[PATH_MAX], pair[PATH_MAX + 64], why[1024];
    const char *path = whole_path(file, whole);
    for (int i = 0; i < nkeys && is_foreign(file); i++)
        keys[i] = whole_library(keys[i]);
    if (path == NULL || (trial && !try_box(path, nkeys, keys)))
        return NULL;
    char *request = NULL;
    snprintf(pair, sizeof pair, "%s=%s", name, path);
    ctl_word(&request, "load");
    ctl_word(&request, pair);
    for (int i = 0; i < nkeys; i++)
        ctl_word(&request, keys[i]);
    json_t *ok = ctl_ask_ok(pid, request, why, sizeof why);
    if (ok == NULL)
        ctl_say("%s: %s", command, why);
    free(request);
    return ok;
}

static bool are_keys(int n, char **words)
{
    for (int i = 0; i < n; i++)
        if (strchr(words[i], '=') == NULL) {
            ctl_say("\"%s\" is not KEY=VALUE", words[i]);
            return false;
        }
    return true;
}

int ctl_load_box(int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
                                          {"no-trial", no_argument, NULL, 't'},
                                          {CTL_HELP},
                                          {NULL, 0, NULL, 0}};
    bool json = false, trial = true;
    int option;
    while ((option = ctl_option(argc, argv, "+:jh", longs)) != -1) {
        if (option == '?')
            return CTL_BAD;
        json |= option == 'j';
        trial &= option != 't';
    }
    char *equal = argc - optind >= 2 ? strchr(argv[optind + 1], '=') : NULL;
    int nkeys = argc - optind - 2;
    if (equal == NULL || equal == argv[optind + 1] || equal[1] == 0) {
        ctl_say("load: it takes a process and NAME=FILE; see hakctl help load");
        return CTL_BAD;
    }
    if (!are_keys(nkeys, argv + optind + 2))
        return CTL_BAD;
    pid_t pid = ctl_find(argv[optind]);
    *equal = 0;
    json_t *ok = pid == 0 ? NULL
                          : load_box(pid, argv[0], argv[optind + 1], equal + 1,
                                     nkeys, argv + optind + 2, trial);
    if (ok == NULL)
        return CTL_SOME;
    if (json) {
        ctl_print_json(ok);
    } else {
        ctl_print_box(json_object_get(ok, "box"));
        ctl_print_change(ok);
    }
    json_decref(ok);
    return CTL_OK;
}

/* ---- swapping ------------------------------------------------------------ */

struct swap {
    pid_t pid;
    int pidfd; /* tells when the process has ended; -1: there is none */
    const char *old;
    bool json, trial, wait, back;
    json_t *all; /* with --json: the replies, by request */
};

/* Has the process ended? It removes its socket before it ends, so this waits a
 * moment for the end. */
static bool has_ended(const struct swap *s)
{
    enum { MOMENT_MS = 2000 };
    struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
    return s->pidfd >= 0 && poll(&p, 1, MOMENT_MS) > 0;
}

/* Send a request of one or two words. NULL, after a message: it failed. */
static json_t *ask(const struct swap *s, const char *command, const char *a,
                   const char *b)
{
    char why[1024], *request = NULL;
    ctl_word(&request, command);
    ctl_word(&request, a);
    if (b != NULL)
        ctl_word(&request, b);
    json_t *ok = ctl_ask_ok(s->pid, request, why, sizeof why);
    if (ok == NULL && has_ended(s))
        ctl_say("swap: process %d has ended", (int)s->pid);
    else if (ok == NULL)
        ctl_say("swap: %s", why);
    free(request);
    return ok;
}

static void keep(const struct swap *s, const char *request, json_t *ok)
{
    json_object_set_new(s->all, request, ok);
}

/* Wait until the old box is empty, and print what is left in it whenever that
 * has changed. */
static int wait_for_drain(const struct swap *s)
{
    static const struct timespec pause = {.tv_nsec = 200000000};
    double before = -1;
    for (;;) {
        json_t *ok = ask(s, "drain", s->old, NULL);
        if (ok == NULL)
            return CTL_SOME;
        const json_t *box = json_object_get(ok, "box");
        bool empty = json_is_true(json_object_get(ok, "empty"));
        if (!s->json && (empty || ctl_number(box, "live") != before))
            ctl_print_box(box);
        fflush(stdout);
        before = ctl_number(box, "live");
        keep(s, "drain", ok);
        if (empty || !s->wait)
            return CTL_OK;
        nanosleep(&pause, NULL);
    }
}

/* A name for the box of a file: that of the file, with a number behind it if
 * the process has such a box. */
static bool choose_name(const struct swap *s, const char *file, char out[64])
{
    char why[1024], stem[48];
    const char *slash = strrchr(file, '/');
    json_t *info = ctl_ask_ok(s->pid, "info", why, sizeof why);
    if (info == NULL) {
        ctl_say("swap: %s", why);
        return false;
    }
    const json_t *boxes = json_object_get(info, "boxes");
    snprintf(stem, sizeof stem, "%.32s", slash != NULL ? slash + 1 : file);
    stem[strcspn(stem, ".")] = 0;
    snprintf(out, 64, "%s", stem);
    for (int n = 2; n < 1000; n++) {
        bool taken = false;
        for (size_t i = 0; i < json_array_size(boxes); i++)
            taken |=
                strcmp(ctl_text(json_array_get(boxes, i), "name"), out) == 0;
        if (!taken)
            break;
        snprintf(out, 64, "%s-%d", stem, n);
    }
    json_decref(info);
    return true;
}

static int swap_back(const struct swap *s)
{
    json_t *ok = ask(s, "back", s->old, NULL);
    if (ok == NULL)
        return CTL_SOME;
    if (!s->json) {
        ctl_print_box(json_object_get(ok, "box"));
        ctl_print_change(ok);
    }
    keep(s, "back", ok);
    return CTL_OK;
}

static int swap_to(const struct swap *s, const char *to, int nkeys, char **keys)
{
    char name[64];
    size_t n = strlen(to);
    bool file =
        strchr(to, '/') != NULL || (n > 3 && strcmp(to + n - 3, ".so") == 0);
    if (!file && nkeys > 0) {
        ctl_say("swap: KEY=VALUE is for a file; box %s is loaded already, and "
                "hakctl set changes it",
                to);
        return CTL_BAD;
    }
    snprintf(name, sizeof name, "%.63s", to);
    if (file) {
        json_t *ok =
            choose_name(s, to, name)
                ? load_box(s->pid, "swap", name, to, nkeys, keys, s->trial)
                : NULL;
        if (ok == NULL)
            return CTL_SOME;
        keep(s, "load", ok);
    }
    json_t *ok = ask(s, "swap", s->old, name);
    if (ok == NULL) {
        if (file)
            ctl_say("swap: box %s is loaded and serves no sizes", name);
        return CTL_SOME;
    }
    if (!s->json) {
        printf("%s -> %s: ", s->old, name);
        ctl_print_change(ok);
    }
    keep(s, "swap", ok);
    return wait_for_drain(s);
}

int ctl_swap(int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
                                          {"no-trial", no_argument, NULL, 't'},
                                          {"no-wait", no_argument, NULL, 'w'},
                                          {"back", no_argument, NULL, 'b'},
                                          {CTL_HELP},
                                          {NULL, 0, NULL, 0}};
    struct swap s = {.trial = true, .wait = true};
    int option;
    while ((option = ctl_option(argc, argv, ":jh", longs)) != -1) {
        if (option == '?')
            return CTL_BAD;
        s.json |= option == 'j';
        s.trial &= option != 't';
        s.wait &= option != 'w';
        s.back |= option == 'b';
    }
    int n = argc - optind;
    if (s.back ? n != 2 : n < 3) {
        ctl_say("swap: it takes a process, a box and %s; see hakctl help swap",
                s.back ? "no more with --back" : "a file or another box");
        return CTL_BAD;
    }
    if (!s.back && !are_keys(n - 3, argv + optind + 3))
        return CTL_BAD;
    s.old = argv[optind + 1];
    s.pid = ctl_find(argv[optind]);
    if (s.pid == 0)
        return CTL_SOME;
    s.pidfd = pidfd_open(s.pid, 0);
    s.all = json_object();
    int status = s.back
                     ? swap_back(&s)
                     : swap_to(&s, argv[optind + 2], n - 3, argv + optind + 3);
    if (s.json && status != CTL_BAD)
        ctl_print_json(s.all);
    json_decref(s.all);
    return status;
}

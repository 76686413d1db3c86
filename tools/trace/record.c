/* SPDX-License-Identifier: MIT
 * record.c - hakctl record: what a program asks of malloc, as a trace.
 *
 * hakctl is the process that writes. It starts the program as hakctl run does,
 * or asks one that runs by its control socket. From then on the program puts
 * its calls into memory that both share (framework/modules/record/ring.h).
 */
#include "../hakctl.h"
#include "../hakctl_control.h"
#include "record.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char default_file[] = "hakmem.%p.trace";

/* ---- the command line ---------------------------------------------------- */

struct request {
    const char *conf, *profile;
    char *file; /* absolute; %p is the pid of the first process */
    uint64_t ncalls, duration_ns;
    bool given; /* an option that only `start` and PROGRAM take */
};

static const struct option longs[] = {{"conf", required_argument, NULL, 'c'},
                                      {"profile", required_argument, NULL, 'p'},
                                      {"output", required_argument, NULL, 'o'},
                                      {"seconds", required_argument, NULL, 's'},
                                      {"ops", required_argument, NULL, 'n'},
                                      {CTL_HELP},
                                      {NULL, 0, NULL, 0}};

static bool read_ops(struct request *q, const char *text)
{
    char *end;
    errno = 0;
    q->ncalls = strtoull(text, &end, 10);
    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == 0 &&
        q->ncalls != 0)
        return true;
    ctl_say("record: --ops %s is no number of calls, as in --ops 1000000",
            text);
    return false;
}

static bool read_seconds(struct request *q, const char *text)
{
    char *end;
    double s = strtod(text, &end);
    q->duration_ns = s > 0 && s <= 1e9 ? (uint64_t)(s * 1e9) : 0;
    if (end != text && *end == 0 && q->duration_ns != 0)
        return true;
    ctl_say("record: --seconds %s is no time above 0, as in --seconds 10",
            text);
    return false;
}

static bool take_file(struct request *q, const char *file)
{
    if (file[0] == 0 || strcmp(file, "-") == 0) {
        ctl_say("record: -o \"%s\": a trace needs a file or a pipe of its own, "
                "as stdout is the program's",
                file);
        return false;
    }
    free(q->file);
    q->file = ctl_absolute(file);
    return true;
}

static bool take_options(struct request *q, int argc, char **argv,
                         const char *shorts)
{
    int option;
    bool good = true;
    while (good && (option = ctl_option(argc, argv, shorts, longs)) != -1) {
        if (option == 'c')
            q->conf = optarg;
        else if (option == 'p')
            q->profile = optarg;
        else if (option == 'o')
            good = take_file(q, optarg);
        else if (option == 's')
            good = read_seconds(q, optarg);
        else if (option == 'n')
            good = read_ops(q, optarg);
        else
            good = false;
        q->given = true;
    }
    return good;
}

/* ---- the file ------------------------------------------------------------ */

static bool can_write(const char *file)
{
    int error = ctl_can_write(file);
    if (error == 0 && access(file, F_OK) == 0 && access(file, W_OK) != 0)
        error = -errno;
    if (error != 0)
        ctl_say("record: cannot write %s: %s; -o FILE names another file", file,
                strerror(-error));
    return error == 0;
}

/* Check the file as far as its name is known, and make the memory. NULL, after
 * a message. */
static struct recorder *begin(const struct request *q, pid_t pid,
                              char *const *program)
{
    const struct recorder_options options = {.calls = q->ncalls,
                                             .duration_ns = q->duration_ns,
                                             .conf = getenv("HAKMEM_CONF"),
                                             .program = program};
    char why[256];
    char *file = ctl_with_pid(q->file, pid);
    bool good = can_write(file);
    free(file);
    struct recorder *r = good ? recorder_new(&options, why, sizeof why) : NULL;
    if (good && r == NULL)
        ctl_say("record: %s", why);
    return r;
}

/* ---- what was recorded --------------------------------------------------- */

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void tell_others(const struct recorder_totals *t)
{
    uint64_t n = t->nprocesses - (t->first.ncalls != 0);
    if (n == 0)
        return;
    ctl_say("record: %" PRIu64 " other process%s: %" PRIu64
            " call%s, in files with the pid before the suffix; the largest is "
            "%s (%" PRIu64 " calls)",
            n, n == 1 ? "" : "es", t->ncalls - t->first.ncalls,
            plural(t->ncalls - t->first.ncalls), t->largest.path,
            t->largest.ncalls);
}

static double used_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void tell(const struct recorder *r, size_t nrunning)
{
    const struct recorder_totals *t = &r->totals;
    const struct recorder_file *f = &t->first;
    if (t->ncalls == 0) {
        if (!r->failed)
            ctl_say("record: nothing was recorded, as no process called malloc "
                    "of hakmem; is the program linked statically, or has it "
                    "raised rights?");
        return;
    }
    ctl_say("recorded %" PRIu64 " call%s of %" PRIu32
            " thread%s in %.2f s (hakctl: %.2f s of CPU): %s, %" PRIu64
            " bytes, %.2f a call; %" PRIu64 " call%s lost",
            f->ncalls, plural(f->ncalls), f->nthreads, plural(f->nthreads),
            (double)(r->ended_ns - r->begun_ns) / 1e9, used_seconds(), f->path,
            f->bytes,
            f->ncalls != 0 ? (double)f->bytes / (double)f->ncalls : 0.0,
            t->lost, plural(t->lost));
    tell_others(t);
    if (nrunning != 0)
        ctl_say("record: %zu process%s still running; what follows is not "
                "recorded",
                nrunning, nrunning == 1 ? " is" : "es are");
}

/* End the recording and tell what came of it. ended: the first process has. */
static void end(struct recorder *r, bool ended)
{
    size_t nrunning = recorder_end(r);
    tell(r, ended ? nrunning : 0);
}

/* ---- a program that is started ------------------------------------------- */

/* 1000 processes may live at once, each with two descriptors. */
static void raise_limit_of_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void record_child(struct recorder *r, struct ctl_child *child)
{
    while (recorder_runs(r) && !ctl_child_look(child, false)) {
        recorder_sleep(r, recorder_pass(r));
    }
    end(r, child->ended);
    ctl_child_look(child, true);
}

static int start_and_record(struct recorder *r, const struct request *q,
                            char **argv, const char *preload)
{
    struct ctl_child child;
    if (setenv("HAKMEM_RECORD_RING", r->path, 1) != 0)
        ctl_die("no memory");
    ctl_child_start(&child, argv, preload);
    raise_limit_of_files();
    char *file = ctl_with_pid(q->file, child.pid);
    recorder_first(r, child.pid, file);
    record_child(r, &child);
    free(file);
    return ctl_child_status(&child);
}

static int run(const struct request *q, char **argv)
{
    char *preload = ctl_run_preload();
    int status = ctl_run_prepare(q->conf, q->profile);
    struct recorder *r = NULL;
    if (status == CTL_OK && (r = begin(q, getpid(), argv)) == NULL)
        status = CTL_BAD;
    if (r != NULL) {
        status = start_and_record(r, q, argv, preload);
        recorder_free(r);
    }
    free(preload);
    return status;
}

/* ---- a process that runs ------------------------------------------------- */

/* Ask the process; word: a path, or "stop". False, after a message. */
static bool ask(pid_t pid, const char *word)
{
    char *request = NULL, why[1024];
    ctl_word(&request, "record");
    ctl_word(&request, word);
    json_t *ok = ctl_ask_ok(pid, request, why, sizeof why);
    free(request);
    if (ok == NULL)
        ctl_say("record: %s", why);
    json_decref(ok);
    return ok != NULL;
}

/* A process that has ended, and was not waited for, counts as such. */
static bool has_ended(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) == 1;
}

static void record_process(struct recorder *r, pid_t pid, const sigset_t *ends)
{
    const struct timespec none = {0};
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool ended = false;
    while (recorder_runs(r) && !(ended = pidfd < 0 || has_ended(pidfd)) &&
           sigtimedwait(ends, NULL, &none) < 0) {
        recorder_sleep(r, recorder_pass(r));
    }
    bool asked = !recorder_runs(r) && !r->stopped; /* by record PID stop */
    recorder_stop(r);
    if (!ended && !asked)
        ask(pid, "stop");
    end(r, false);
    if (pidfd >= 0)
        close(pidfd);
}

/* The signals are blocked before the process is asked, so that it is told in
 * any case that the recording ends. */
static int start(const struct request *q, pid_t pid)
{
    sigset_t ends;
    struct recorder *r = begin(q, pid, NULL);
    if (r == NULL)
        return CTL_SOME;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    raise_limit_of_files();
    char *file = ctl_with_pid(q->file, pid);
    recorder_first(r, pid, file);
    bool good = ask(pid, r->path);
    if (good) {
        ctl_say("recording process %d to %s; Ctrl-C ends it", (int)pid, file);
        record_process(r, pid, &ends);
        good = !r->failed;
    }
    free(file);
    recorder_free(r);
    return good ? CTL_OK : CTL_SOME;
}

static bool is_verb(const char *word)
{
    return strcmp(word, "start") == 0 || strcmp(word, "stop") == 0;
}

/* The words are in argv[optind] and behind it, as getopt_long leaves them. */
static int live(struct request *q, int argc, char **argv)
{
    const bool stop = strcmp(argv[optind + 1], "stop") == 0;
    if (argc - optind > 2 || q->conf != NULL || q->profile != NULL ||
        (stop && q->given)) {
        ctl_say("record: %s is not wanted here; see hakctl help record",
                argc - optind > 2    ? argv[optind + 2]
                : q->conf != NULL    ? "-c"
                : q->profile != NULL ? "-p"
                                     : "an option");
        return CTL_BAD;
    }
    pid_t pid = ctl_find(argv[optind]);
    if (pid == 0)
        return CTL_SOME;
    if (stop)
        return ask(pid, "stop") ? CTL_OK : CTL_SOME;
    return start(q, pid);
}

/* ---- the command --------------------------------------------------------- */

static int record(struct request *q, int argc, char **argv)
{
    if (!take_file(q, default_file) ||
        !take_options(q, argc, argv, "+:c:p:o:h"))
        return CTL_BAD;
    const bool program = optind > 1 && strcmp(argv[optind - 1], "--") == 0;
    if (argc == optind) {
        ctl_say("record: no program given, as in hakctl record -- ls -l");
        return CTL_BAD;
    }
    if (program || argc - optind < 2 || !is_verb(argv[optind + 1]))
        return run(q, argv + optind);
    optind = 0; /* once more, as options may follow */
    if (!take_options(q, argc, argv, ":c:p:o:h"))
        return CTL_BAD;
    return live(q, argc, argv);
}

int ctl_record(int argc, char **argv)
{
    struct request q = {0};
    int status = record(&q, argc, argv);
    free(q.file);
    return status;
}

/* SPDX-License-Identifier: MIT
 * hakctl.h - functions and types that the files of hakctl share.
 *
 *     hakctl.c            main, help, messages
 *     hakctl_run.c        run: runs a program on hakmem
 *     hakctl_run_heap.c   run --heap-profile
 *     hakctl_boxes.c      boxes: describes box files
 *     hakctl_instances.c  boxes -c: describes the boxes of an INI
 *     hakctl_lint.c       lint: prints the findings in configurations
 *     hakctl_explain.c    explain: where a size goes, and why
 *     hakctl_fuse.c       fuse: writes an INI as sources, for make fused
 *     hakctl_version.c    version: of hakctl, and of a library
 *     hakctl_call.c       call, check-so: typed calls of other libraries
 *     hakctl_check_box.c  check-box: starts the conformance suite
 *     hakctl_processes.c  ps, stats, show, set, route, drain, trim, learner
 *     hakctl_swap.c       load, swap: another box for a running process
 *     hakctl_save.c       save: a running process as an INI
 *     hakctl_control.c    speaks to the control sockets of processes
 *     hakctl_check.c      reads a configuration and loads its boxes as the core
 *                         does; for run, lint, explain, fuse
 *     hakctl_foreign.c    foreign boxes: static TLS, how they are called
 *     hakctl_json.c       strings in JSON, for the conformance suite too
 *     hakctl_fleet.c      figures of many processes (hakctl_fleet.h)
 *     hakctl_prometheus.c  these figures in Prometheus's text format
 *     hakctl_report*.c    report: a page about memory (hakctl_report.h)
 *     hakctl_run_report.c  run --report
 *     hakctl_child.c      a program as a child, for run --report and record
 *     hakctl_compare*.c   compare: configurations and allocators side by side
 *                         (hakctl_compare.h)
 *     hakctl_beside.c     starts the programs below for their commands
 *     hakctl_profile.c    profile PID: heap profiles of a running process
 *
 * and of hakctl-monitor, which is hakctl with them:
 *
 *     hakctl_top.c        top: live figures in the terminal
 *     hakctl_exporter.c   exporter: serves Prometheus
 *
 * and of hakctl-profile, also hakctl with them:
 *
 *     hakctl_profile_*.c  profile FILE: reads a heap profile
 *                         (hakctl_profile.h)
 *
 * and of hakctl-trace, also hakctl with them:
 *
 *     trace/              record, replay, tune, trace: what a program asks of
 *                         its allocator (trace/trace.h)
 *
 * A command gets argv with its own name as argv[0] and returns hakctl's exit
 * status. Output goes to stdout, messages go to stderr.
 */
#ifndef HAKMEM_HAKCTL_H
#define HAKMEM_HAKCTL_H

#include "hakctl_json.h"

#include <conf/conf.h>
#include <core/state/boxes.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

enum ctl_status {
    CTL_OK = 0,
    CTL_SOME = 1,         /* done, and there are findings or failures */
    CTL_BAD = 2,          /* bad usage, or errors in a configuration */
    CTL_CANNOT_RUN = 126, /* the exit statuses of env(1) and sh */
    CTL_NOT_FOUND = 127,
};

int ctl_run(int argc, char **argv);
int ctl_boxes(int argc, char **argv);
int ctl_lint(int argc, char **argv);
int ctl_explain(int argc, char **argv);
int ctl_fuse(int argc, char **argv);
int ctl_version(int argc, char **argv);
int ctl_check_box(int argc, char **argv);
int ctl_call(int argc, char **argv);
int ctl_check_so(int argc, char **argv);
int ctl_ps(int argc, char **argv);
int ctl_stats(int argc, char **argv);
int ctl_show(int argc, char **argv);
int ctl_set(int argc, char **argv);
int ctl_route(int argc, char **argv);
int ctl_load_box(int argc, char **argv);
int ctl_swap(int argc, char **argv);
int ctl_drain(int argc, char **argv);
int ctl_trim(int argc, char **argv);
int ctl_learner(int argc, char **argv);
int ctl_save(int argc, char **argv);
int ctl_top(int argc, char **argv);
int ctl_exporter(int argc, char **argv);
int ctl_report(int argc, char **argv);
int ctl_profile(int argc, char **argv);
int ctl_compare(int argc, char **argv);
int ctl_record(int argc, char **argv);
int ctl_replay(int argc, char **argv);
int ctl_tune(int argc, char **argv);
int ctl_trace(int argc, char **argv);

/* ---- hakctl.c ------------------------------------------------------------ */

/* Print one line on stderr, with "hakctl: " in front. */
void ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, then exit. For a lack of memory and the like. */
void ctl_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* Fork a child, with a pipe from it to the parent. Both ends are close-on-exec.
 * Flushes output before. Exits if there is no child or pipe. */
pid_t ctl_fork(int ends[2]);

/*
 * ctl_option - getopt_long, with messages of our own.
 * shorts   starts with ":", or with "+:" to stop at the first word. With "h" in
 *          shorts and CTL_HELP in longs, -h and --help print the command's help
 *          and exit.
 * Returns  the option; -1 = no more; '?' = bad, after a message: return CTL_BAD
 */
#define CTL_HELP .name = "help", .has_arg = no_argument, .val = 'h'
int ctl_option(int argc, char **argv, const char *shorts,
               const struct option *longs);

/* Print the help of a command; NULL: of hakctl. Returns the exit status. */
int ctl_help(const char *command);

/* The folder that hakctl is in. Returns false, after a message: unknown. */
bool ctl_own_dir(char *dir, size_t bytes);

/* Print "file:line", "file", or "built-in" for an origin without a file. */
void ctl_origin(FILE *out, struct hak_origin origin);

/* The configuration to work on: `given`, else HAKMEM_CONF, else the default
 * one. NULL, after a message: there is none. */
const char *ctl_conf(const char *given);

/* Set text to "; did you mean "x"?" for the candidate that is most like word,
 * or to "". */
void ctl_did_you_mean(char *text, size_t bytes, const char *word,
                      const char *const *candidates, size_t n);

/* ---- hakctl_run.c -------------------------------------------------------- */

/* Why a library cannot be preloaded into the program that execvp finds by that
 * name, as in "NAME is ..."; NULL: it can, or there is no such program. */
const char *ctl_why_not_preloadable(const char *program);
/* A copy of LD_PRELOAD, which ctl_run_prepare changes; free it. */
char *ctl_run_preload(void);
/* Check a configuration and set the environment of a program that is to run on
 * it. given NULL: the usual one. Returns CTL_OK, or the exit status after a
 * message. */
int ctl_run_prepare(const char *given, const char *profile);
/* Execute the program. before: the former LD_PRELOAD, to go back to if the
 * program cannot be preloaded. Returns the exit status, after a message: it
 * cannot be run. */
int ctl_run_program(char **argv, const char *before);

/* ---- hakctl_child.c ------------------------------------------------------ */

/* A program that runs as a child of hakctl, for run --report and record. hakctl
 * passes on the signals that it gets, so that who has started it does not
 * notice the difference. */
struct ctl_child {
    pid_t pid;
    bool ended;
    int status;          /* as of wait(2), when it has ended */
    struct rusage usage; /* and what it has used */
    sigset_t passed;     /* the signals that are passed on */
    sigset_t before;     /* the mask of before */
};

/* Execute argv by ctl_run_program in a child. From here on hakctl gets an error
 * of write(2) for a file beyond RLIMIT_FSIZE or a pipe without a reader, and no
 * signal. Exits if there is no child. */
void ctl_child_start(struct ctl_child *child, char **argv, const char *preload);
/* Pass on the signals that came. wait: until the child has ended. Returns
 * whether it has; the mask of signals is that of before then. */
bool ctl_child_look(struct ctl_child *child, bool wait);
/* Its exit status, as a shell has it. */
int ctl_child_status(const struct ctl_child *child);

/* ---- hakctl_files.c ------------------------------------------------------ */

/*
 * ctl_write_whole - write a file by `write`, which returns false after an
 * error. Until it is whole it is FILE.tmp. A device or a pipe is written as it
 * is. Returns  0 or -errno; after an error there is no new FILE
 */
int ctl_write_whole(const char *file,
                    bool (*write)(FILE *out, const void *context),
                    const void *context);
/* Can such a file be written? 0 or -errno. */
int ctl_can_write(const char *file);
/* The path with the working directory in front of it if it is relative. The
 * caller frees it. */
char *ctl_absolute(const char *path);
/* The path with the process id in place of its first %p. The caller frees it.
 */
char *ctl_with_pid(const char *path, pid_t pid);

/* ---- hakctl_run_heap.c --------------------------------------------------- */

/* Let the program that this process will exec write a heap profile. file NULL:
 * the usual one; every NULL: as its configuration says; all: what the program
 * starts, too. Returns the exit status, after a message if it is not CTL_OK. */
int ctl_heap_profile(const char *file, const char *every, bool all);
/* Say where the profile will be, and how it is read. */
void ctl_heap_profile_tell(void);

/* ---- hakctl_run_report.c ------------------------------------------------- */

/* What hakctl run --report runs. */
struct ctl_reported {
    char **argv;
    const char *preload; /* the LD_PRELOAD of before */
    const char *page;    /* NULL: hakmem-report.PID.html */
};

/* Run the program as a child, and make the page of what it leaves. Returns the
 * exit status of the program, as a shell has it. */
int ctl_run_reported(const struct ctl_reported *what);

/* ---- hakctl_boxes.c ------------------------------------------------------ */

/* Format a value of a parameter that is no text, as in an INI. */
void ctl_value_text(char out[32], const struct hak_param *p, int64_t value);

/* ---- hakctl_foreign.c ---------------------------------------------------- */

/* Keep main's argv, for ctl_foreign_tls(). */
void ctl_foreign_start(char **argv);

/*
 * Make room in static TLS for the libraries of an INI's foreign boxes. If this
 * process has no room, hakctl starts again by exec and the call does not
 * return. Must be called before any output.
 */
void ctl_foreign_tls(const char *path, const char *profile);
/* The same without an INI. */
void ctl_foreign_tls_now(void);
/* Make room in the program that this process will exec. */
void ctl_foreign_tls_for_next(void);

struct hak_foreign_box_1;
/* The foreign table of a box; NULL: b is no foreign box. */
const struct hak_foreign_box_1 *ctl_foreign(const struct hak_loaded *b);
/* Measure alloc and free of a block: ns, the best of some runs. Negative: it
 * cannot be measured. */
double ctl_foreign_pair_ns(const struct hak_loaded *b, size_t size);
/* Print how a foreign box calls its library, and what a block of that size
 * costs; lines indented by so many blanks. Prints nothing for other boxes. */
void ctl_foreign_print(const struct hak_loaded *b, size_t size, int indent);

/* ---- hakctl_instances.c -------------------------------------------------- */

/* hakctl boxes -c: load and describe the boxes of an INI. Returns the exit
 * status. */
int ctl_instances(const char *path, const char *profile, bool json);

/* ---- hakctl_version.c ---------------------------------------------------- */

/* The text in a library of hakmem that says how it was built; free it. NULL
 * with errno ENOEXEC: the file is no such library. */
char *ctl_library_text(const char *path);

/* ---- hakctl_lint.c ------------------------------------------------------- */

struct ctl_findings;
/* Add the findings of hakctl lint about an INI: those of ctl_check, with the
 * profile or, if it is NULL and HAKMEM_PROFILE is not set, with each. */
void ctl_lint_file(struct ctl_findings *all, const char *path,
                   const char *profile);

/* ---- hakctl_check.c ------------------------------------------------------ */

struct ctl_finding {
    enum hak_diag_level level;
    const char *file; /* NULL = none */
    int line;         /* 0 = none */
    const char *text;
};

/* A list of findings, each once, in the order found. Zero at first. */
struct ctl_findings {
    struct ctl_finding *at;
    size_t n, nerrors, nwarnings;
    bool crashed; /* a box crashed; the last finding says how */
};

/* The loaded boxes, by position in hak_conf; NULL = left out. */
struct ctl_core {
    struct hak_loaded *box[HAK_MAX_BOXES];
};

/*
 * ctl_load - read an INI into hak_conf and load its boxes into this process.
 * before   called before each box is loaded; may be NULL
 * Returns  as hak_conf_read(). After 0 and -EINVAL the boxes are loaded.
 */
int ctl_load(struct ctl_core *core, const char *path, const char *profile,
             hak_diag_fn *diag, void *context,
             void (*before)(const struct hak_conf_box *box, void *context));

/*
 * ctl_check - add all findings about an INI: from reading it, from loading its
 * boxes, and rules that send a box sizes for which it is not made. This runs in
 * a child process, since a box may crash, and since each INI needs a fresh
 * core.
 */
void ctl_check(struct ctl_findings *all, const char *path, const char *profile);

/* Would loading the INI's boxes crash this process? If so, prints a message.
 * For commands that load boxes into this process. */
bool ctl_crashes(const char *path, const char *profile);

/* Add a copy of f, unless it is there already. */
void ctl_add_finding(struct ctl_findings *all, const struct ctl_finding *f);
bool ctl_has_finding(const struct ctl_findings *all,
                     const struct ctl_finding *f);

/* Free what a list holds; it is empty then. */
void ctl_forget_findings(struct ctl_findings *all);

/* Print a finding as a line, "file:line: error: text". */
void ctl_print_finding(FILE *out, const struct ctl_finding *f);

#endif

/* SPDX-License-Identifier: MIT
 * hakctl.h - what the files of hakctl share.
 *
 *     hakctl.c          main, help, what all commands print
 *     hakctl_run.c      run      a program on hakmem
 *     hakctl_boxes.c    boxes    what box files say of themselves
 *     hakctl_lint.c     lint     the findings in configurations
 *     hakctl_explain.c  explain  where a size goes, and why
 *     hakctl_fuse.c     fuse     an INI as sources, for make fused
 *     hakctl_version.c  version  which hakctl, what is in a library
 *     hakctl_check.c    reads a configuration and loads its boxes as the
 *                       core does; for run, lint, explain, fuse
 *     hakctl_call.c     call, check-so   typed calls of other libraries
 *     hakctl_json.c     strings in JSON, for the conformance suite too
 *     hakctl_foreign.c  foreign boxes: static TLS, how they are called
 *     hakctl_check_box.c
 *                       check-box  starts the conformance suite
 *
 * A command gets argv with its own name as argv[0] and returns hakctl's exit
 * status. Output goes to stdout, complaints to stderr.
 */
#ifndef HAKMEM_HAKCTL_H
#define HAKMEM_HAKCTL_H

#include "hakctl_json.h"

#include <conf/conf.h>
#include <core/state/boxes.h>

#include <getopt.h>
#include <stdio.h>

enum ctl_status {
    CTL_OK = 0,
    CTL_SOME = 1,         /* done, but something was found */
    CTL_BAD = 2,          /* bad usage, or errors in a configuration */
    CTL_CANNOT_RUN = 126, /* as env(1) and sh have them */
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

/* ---- hakctl.c ------------------------------------------------------------ */

/* One line on stderr, "hakctl: " in front. */
void ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, then exit: no memory and the like. */
void ctl_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* A child and a pipe to hear from it, close-on-exec; output is flushed before.
 * Dies when there is none. */
pid_t ctl_fork(int ends[2]);

/*
 * ctl_option - getopt_long, which in a bad case tells in our words.
 * shorts   starts with ":", or "+:" to stop at the first word; CTL_HELP among
 *          longs and "h" make --help and -h print the command's help and exit
 * Returns  the option; -1 = no more; '?' = bad, told: return CTL_BAD
 */
#define CTL_HELP .name = "help", .has_arg = no_argument, .val = 'h'
int ctl_option(int argc, char **argv, const char *shorts,
               const struct option *longs);

/* The help of a command, or of hakctl: hakctl's exit status. */
int ctl_help(const char *command);

/* The directory that hakctl is in. false = cannot be told, told. */
bool ctl_own_dir(char *dir, size_t bytes);

/* "file:line", "file", or for what has neither "built-in". */
void ctl_origin(FILE *out, struct hak_origin origin);

/* The configuration to work on: given, else HAKMEM_CONF, else the default one.
 * NULL = there is none, told. */
const char *ctl_conf(const char *given);

/* "; did you mean "x"?" in text, or "". */
void ctl_did_you_mean(char *text, size_t bytes, const char *word,
                      const char *const *candidates, size_t n);

/* ---- hakctl_foreign.c ---------------------------------------------------- */

/* Keeps main's argv, for ctl_foreign_tls(). */
void ctl_foreign_start(char **argv);

/*
 * When an INI has foreign boxes and this process no room for their
 * thread-local variables: starts hakctl anew with room, and so does not
 * return. To be called before anything is printed.
 */
void ctl_foreign_tls(const char *path, const char *profile);
/* The same without an INI. */
void ctl_foreign_tls_now(void);
/* The same for the program that this process becomes next. */
void ctl_foreign_tls_for_next(void);

struct hak_foreign_box_1;
/* What a foreign box says of itself; NULL: b is none. */
const struct hak_foreign_box_1 *ctl_foreign(const struct hak_loaded *b);
/* ns of alloc and free of such a block, the best of some runs; negative: not
 * to be measured. */
double ctl_foreign_pair_ns(const struct hak_loaded *b, size_t size);
/* How its library is called, and what a block of that size costs here: lines,
 * indented by so many blanks. Nothing for other boxes. */
void ctl_foreign_print(const struct hak_loaded *b, size_t size, int indent);

/* ---- hakctl_instances.c -------------------------------------------------- */

/* hakctl boxes -c: the boxes of an INI, loaded, as they serve. CTL_OK, ... */
int ctl_instances(const char *path, const char *profile, bool json);

/* ---- hakctl_version.c ---------------------------------------------------- */

/* What a library of hakmem says of itself, to be freed. NULL, errno ENOEXEC:
 * the file is none. */
char *ctl_library_text(const char *path);

/* ---- hakctl_check.c ------------------------------------------------------ */

struct ctl_finding {
    enum hak_diag_level level;
    const char *file; /* NULL = none */
    int line;         /* 0 = none */
    const char *text;
};

/* Grows; zero at the start. Each finding once, in the order found. */
struct ctl_findings {
    struct ctl_finding *at;
    size_t n, nerrors, nwarnings;
    bool crashed; /* the last one says how */
};

/* The boxes of hak_conf by position; NULL = left out. */
struct ctl_core {
    struct hak_loaded *box[HAK_MAX_BOXES];
};

/*
 * ctl_load - read an INI into hak_conf and load its boxes, in this process.
 * before   told before each box is loaded; may be NULL
 * Returns  as hak_conf_read(); the boxes are loaded at 0 and -EINVAL
 */
int ctl_load(struct ctl_core *core, const char *path, const char *profile,
             hak_diag_fn *diag, void *context,
             void (*before)(const struct hak_conf_box *box, void *context));

/*
 * ctl_check - add all that is to be said of an INI: what reading tells,
 * what loading its boxes tells, and rules that send a box sizes that it is
 * not made for. Done in a child process: a box may crash, and the next INI
 * is to find a fresh core.
 */
void ctl_check(struct ctl_findings *all, const char *path, const char *profile);

/* Does loading its boxes end the process that does it? Told then. For commands
 * that load them here. */
bool ctl_crashes(const char *path, const char *profile);

/* Add a copy of f, unless it is there already. */
void ctl_add_finding(struct ctl_findings *all, const struct ctl_finding *f);
bool ctl_has_finding(const struct ctl_findings *all,
                     const struct ctl_finding *f);

/* A finding as a line: "file:line: error: text". */
void ctl_print_finding(FILE *out, const struct ctl_finding *f);

#endif

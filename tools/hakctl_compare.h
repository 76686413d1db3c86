/* SPDX-License-Identifier: MIT
 * hakctl_compare.h - functions and types that the files of hakctl compare
 * share.
 *
 *     hakctl_compare.c             the command line, and what is done in order
 *     hakctl_compare_contenders.c  names, and the environment of each contender
 *     hakctl_compare_rounds.c      runs the rounds
 *     hakctl_compare_child.c       starts, awaits and ends processes
 *     hakctl_compare_run.c         one run, and its cost
 *     hakctl_compare_metric.c      the figure in what a program printed
 *     hakctl_compare_stats.c       medians, intervals, outliers
 *     hakctl_compare_verdict.c     the same in words
 *     hakctl_compare_print.c       the table, as text and as Markdown
 *     hakctl_compare_json.c        all runs as JSON, written and read
 *     hakctl_compare_measures.c    what is measured, and its words
 *
 * hakctl replay has contenders and rounds, too. It shares all of this but the
 * command line, the run, and the reading of JSON (trace/replay.c).
 */
#ifndef HAKMEM_HAKCTL_COMPARE_H
#define HAKMEM_HAKCTL_COMPARE_H

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

/* What is measured of a run. */
enum compare_measure {
    COMPARE_WALL,   /* ns */
    COMPARE_CPU,    /* us, user and system */
    COMPARE_RSS,    /* KiB, the peak */
    COMPARE_FAULTS, /* minor page faults */
    COMPARE_FIGURE, /* what --metric found */
    COMPARE_MEASURES,
    COMPARE_MOST_MEASURES = 16 /* of any command */
};

enum compare_unit {
    COMPARE_NS,
    COMPARE_US,
    COMPARE_BYTES,
    COMPARE_KIB,
    COMPARE_COUNT, /* whole */
    COMPARE_NUMBER
};

/* A measure: how it is called and printed. */
struct compare_measured {
    const char *key;  /* in JSON */
    const char *head; /* of its column, in at most 9 characters */
    enum compare_unit unit;
    const char *name;               /* as in a sentence */
    const char *verb, *less, *more; /* "NAME verb 3.1 % less than BASE" */
    bool larger_is_better;
    bool hidden; /* it is in JSON only */
    bool untold; /* it has a column, but no sentence */
    bool apart;  /* its column is in the second table */
};

enum compare_state { COMPARE_NOT_RUN, COMPARE_DONE, COMPARE_FAILED };

struct compare_run {
    enum compare_state state;
    double value[COMPARE_MOST_MEASURES]; /* once it is done */
    double user_us, system_us;
    char *why; /* once it failed; allocated */
};

enum compare_kind { COMPARE_INI, COMPARE_LIBRARY, COMPARE_LIBC };

struct compare_contender {
    char *name; /* allocated */
    enum compare_kind kind;
    char *given;              /* the INI or library; allocated; NULL: none */
    char **environment;       /* what its runs get */
    struct compare_run *runs; /* one for each round */
};

enum { COMPARE_MAX_CONTENDERS = 32, COMPARE_MAX_ROUNDS = 100000 };

/* The command line, and all that came of it. */
struct compare {
    const char *command; /* "compare", for messages */
    const struct compare_measured *measured;
    size_t nmeasures, main; /* main: what the comparison is about */
    /* Runs the program once for a contender. The result is in run: done, failed
     * with the reason, or not run if it was interrupted. Returns hakctl's exit
     * status, which is CTL_OK unless no run is possible at all. */
    int (*run_once)(const struct compare *c,
                    const struct compare_contender *contender,
                    struct compare_run *run);
    void *context;                                       /* of run_once */
    struct compare_contender at[COMPARE_MAX_CONTENDERS]; /* the first: base */
    size_t n, rounds, warmup;
    char *metric; /* allocated; NULL: no figure */
    regex_t metric_compiled;
    bool smaller_is_better;
    char **program;
    char *load;                /* allocated; NULL: none */
    const char *ready, *input; /* NULL: none */
    bool show_output, ignore_failure, markdown;
    const char *json; /* NULL: none; "-": stdout */
    const char *from; /* NULL: run the program */
    char *title;      /* the command line of the program; allocated */
    bool interrupted;
};

/* ---- hakctl_compare_contenders.c ----------------------------------------- */

/* Add a contender. Returns false, after a message: there are too many. */
bool compare_add(struct compare *c, enum compare_kind kind, const char *given);
/* Make the names differ. */
void compare_name_apart(struct compare *c);
/* Read the value of an option that is a whole number up to COMPARE_MAX_ROUNDS.
 * Returns false, after a message. */
bool compare_take_count(const struct compare *c, const char *option,
                        const char *text, size_t least, size_t *out);
/* Set the environment of each contender, by starting a small program on it.
 * Returns false, after a message: a contender cannot be used. */
bool compare_prepare(struct compare *c);

/* ---- hakctl_compare_child.c ---------------------------------------------- */

/* A process, which is the leader of a process group of its own. */
struct compare_child {
    pid_t pid;
    bool ended;
    int status; /* of waitpid, once it has ended */
    struct rusage usage;
    int64_t started_ns, ended_ns;
};

/* What a child gets. */
struct compare_start {
    char *const *argv, *const *environment;
    int in, out, err; /* -1: /dev/null */
};

/* Block the signals that are waited for. To be called once, before all others.
 */
void compare_signals_start(void);
/* Has a signal asked hakctl to end? */
bool compare_interrupted(void);
int64_t compare_now_ns(void);
/* Start a child. Returns 0, or -errno of the system call that failed. */
int compare_start(struct compare_child *child, const struct compare_start *how);
/* Wait until one of the children has ended (b may be NULL), the time has come,
 * or a signal asks hakctl to end. */
void compare_wait(struct compare_child *a, struct compare_child *b,
                  int64_t until_ns);
/* End a child and what it has started, by SIGTERM, and by SIGKILL what is left
 * 10 s later. Does nothing but wait if all have ended. Returns whether SIGKILL
 * was needed. */
bool compare_end(struct compare_child *child);
/* Start a child and wait for its end. Returns 0 or -errno. */
int compare_run_to_end(struct compare_child *child,
                       const struct compare_start *how);

/* ---- hakctl_compare_run.c ------------------------------------------------ */

/* struct compare's run_once. */
int compare_run_once(const struct compare *c,
                     const struct compare_contender *contender,
                     struct compare_run *run);

/* ---- hakctl_compare_rounds.c --------------------------------------------- */

/* Make the names differ, set the environments, and run all rounds. Returns
 * hakctl's exit status. */
int compare_rounds(struct compare *c);
/* Free all that is allocated, but the environment's of others. */
void compare_forget(struct compare *c);

/* ---- hakctl_compare_measures.c ------------------------------------------- */

/* Set what hakctl compare measures. */
void compare_set_measures(struct compare *c);

/* ---- hakctl_compare_metric.c --------------------------------------------- */

/* Compile c->metric. Returns false, after a message. */
bool compare_metric_compile(struct compare *c);
/* The first group of the last match in a file. Returns NULL, or why there is
 * none (allocated). */
char *compare_metric_find(const struct compare *c, int fd, double *figure);

/* ---- hakctl_compare_stats.c ---------------------------------------------- */

/* The least number of pairs for an interval: the median of fewer is outside of
 * all their values in more than 5 of 100 cases (2 / 2^n). */
enum { COMPARE_LEAST_PAIRS = 6 };

/* The values of a measure of one contender, or their ratios to another's. */
struct compare_ratio {
    size_t pairs;             /* rounds in which both are done and above 0 */
    double median, low, high; /* low and high: with COMPARE_LEAST_PAIRS only */
};

/* The number of runs in that state. */
size_t compare_count(const struct compare *c, size_t contender,
                     enum compare_state state);
/* The median of the done runs; false: there are none. */
bool compare_median(const struct compare *c, size_t contender, size_t m,
                    double *median);
/* The distance of the quartiles, as a share of the median. 0: no runs. */
double compare_spread(const struct compare *c, size_t contender, size_t m);
/* Is the run of a round an outlier among the contender's runs? */
bool compare_is_outlier(const struct compare *c, size_t contender, size_t m,
                        size_t round);
/* Compares two doubles, for qsort. */
int compare_values(const void *a, const void *b);
/* The next random number of a sequence that *state, the seed at first, stands
 * for. */
uint64_t compare_random(uint64_t *state);
/* The middle of n ratios and its interval, without low and high if they are
 * fewer than COMPARE_LEAST_PAIRS. Sorts the ratios, which are above 0. */
struct compare_ratio compare_ratio_of(double *ratios, size_t n);
/* The ratio of a contender to the base, round by round. */
struct compare_ratio compare_ratio(const struct compare *c, size_t contender,
                                   size_t m);

/* ---- hakctl_compare_verdict.c -------------------------------------------- */

/* Write what a ratio says, `what` being "time": "3.1 % less time (95 %: 2.0 ..
 * 4.1)", "no difference in time above 0.8 %". */
void compare_ratio_text(const struct compare_ratio *r, const char *what,
                        char *text, size_t bytes);
/* Write a verdict as a sentence without its full stop. */
void compare_verdict(const struct compare *c, size_t contender, size_t m,
                     char *text, size_t bytes);
/* "no difference", "better" or "worse" than the base, or "unknown". */
const char *compare_verdict_word(const struct compare *c, size_t contender,
                                 size_t m);

/* ---- hakctl_compare_print.c ---------------------------------------------- */

void compare_print(FILE *out, const struct compare *c);
/* A value with its unit, in at most 9 characters. */
void compare_print_value(char *text, size_t bytes, enum compare_unit unit,
                         double value);

/* ---- hakctl_compare_json.c ----------------------------------------------- */

/* Can the file be written? Otherwise says so. */
bool compare_json_can_write(const struct compare *c, const char *file);
/* A contender with its medians and runs, and all verdicts. */
json_t *compare_contender_as_json(const struct compare *c, size_t contender);
json_t *compare_verdicts_as_json(const struct compare *c);
/* Write an object into c->json. Returns false, after a message. */
bool compare_json_put(const struct compare *c, const json_t *all);
/* Write all runs into c->json. Returns false, after a message. */
bool compare_json_write(const struct compare *c);
/* Read contenders and runs from c->from. Returns false, after a message. */
bool compare_json_read(struct compare *c);

#endif

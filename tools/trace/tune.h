/* SPDX-License-Identifier: MIT
 * tune.h - functions and types that the files of hakctl tune share.
 *
 *     tune.c          the command line, and what is done in order
 *     tune_options.c  its options
 *     tune_use.c      which sizes the traces ask for
 *     tune_space.c    what can be changed: keys of boxes and of [core]
 *     tune_routes.c   and which box serves which sizes
 *     tune_slots.c    which sizes a box is good for
 *     tune_choice.c   choices of all these, what differs from the base, names
 *     tune_lab.c      measures choices, each run once, within the budget
 *     tune_state.c    the runs as a file, for --resume
 *     tune_race.c     many choices: successive halving
 *     tune_duel.c     two choices, in pairs of runs
 *     tune_search.c   the search: races and duels in turn
 *     tune_confirm.c  the answer on the part of the traces that was not seen
 *     tune_ini.c      a choice as an INI
 *     tune_play.c     plays traces on an INI
 *     tune_print.c    progress, and the result in words
 *     tune_json.c     the result as JSON
 *
 * The search knows neither traces nor INIs: it gets lists of values and a
 * function that measures a choice of them. So it is tested on functions whose
 * best choice is known (tests/trace/test_tune.c).
 *
 * Nothing here is thread-safe.
 */
#ifndef HAKMEM_TUNE_H
#define HAKMEM_TUNE_H

#include "../hakctl_compare.h"

#include <conf/conf.h>

/* ---- what can be changed ------------------------------------------------- */

enum {
    TUNE_KNOBS = 160,
    TUNE_VALUES = 16, /* of a knob */
    TUNE_PARTS = 40,  /* knobs that one move turns */
    TUNE_TRACES = 64,
};

/* One thing that can be changed: a key, or the route of a range of sizes. */
struct tune_knob {
    char *section, *key;      /* allocated; of a route "policy" and its range */
    char *value[TUNE_VALUES]; /* as in an INI; allocated */
    uint8_t n, usual;         /* value[usual] is the base's */
    bool scale;               /* the values rise: neighbours are alike */
    bool route;
    uint32_t first, last;           /* route: the size indexes */
    uint32_t leads_to[TUNE_VALUES]; /* route: the boxes, as bits */
    uint32_t of_box; /* key: matters while routes lead to it; 0: always */
};

/* The value of each knob, as its position. */
struct tune_choice {
    uint8_t at[TUNE_KNOBS];
};

/* A change that is worth a try by itself. */
struct tune_move {
    size_t n;
    struct {
        uint8_t knob, value;
    } part[TUNE_PARTS];
};

struct tune_space {
    struct tune_knob knob[TUNE_KNOBS];
    size_t n;
    struct tune_move *move; /* allocated */
    size_t nmoves;
    uint32_t always; /* boxes that routes lead to which no knob turns */
    uint32_t used;   /* those of them that the traces have use for */
};

/* ---- tune_choice.c ------------------------------------------------------- */

/* The choice of the base. */
struct tune_choice tune_base(const struct tune_space *s);
bool tune_same(const struct tune_space *s, const struct tune_choice *a,
               const struct tune_choice *b);
/* Make a move. Returns the choice, without changes that do not matter: keys of
 * boxes that no route leads to. */
struct tune_choice tune_moved(const struct tune_space *s,
                              const struct tune_choice *from,
                              const struct tune_move *move);
/* What differs from the base in a, on top of b. */
struct tune_choice tune_joined(const struct tune_space *s,
                               const struct tune_choice *b,
                               const struct tune_choice *a);
/* Does the knob have no effect, since no route leads to its box? */
bool tune_is_idle(const struct tune_space *s, const struct tune_choice *c,
                  size_t knob);
/* Add a move; returns it, empty. */
struct tune_move *tune_add_move(struct tune_space *s);
/* Add a part to a move. Without effect if there are too many. */
void tune_add_part(struct tune_move *move, size_t knob, size_t value);

/* A line of the INI that differs from the base: one key, or ranges of sizes
 * side by side that go to the same box. */
struct tune_line {
    size_t first, last; /* knobs */
};
/* Find the lines of a choice. Returns how many; lines has TUNE_KNOBS. */
size_t tune_lines(const struct tune_space *s, const struct tune_choice *c,
                  struct tune_line *lines);
/* The choice without that line. */
struct tune_choice tune_without(const struct tune_space *s,
                                const struct tune_choice *c,
                                const struct tune_line *line);
/* Write "box ultra.warm = 8M" or "C4-C6 = mid_v35". */
void tune_line_text(const struct tune_space *s, const struct tune_choice *c,
                    const struct tune_line *line, char *text, size_t bytes);
/* All lines, with commas between; "the base" if there are none. The caller
 * frees it. */
char *tune_choice_text(const struct tune_space *s, const struct tune_choice *c);
/* Write size indexes as in [policy]: "C4-C6", "1025-4k", "262145-". */
void tune_range_text(uint32_t first, uint32_t last, char *text, size_t bytes);
void tune_space_forget(struct tune_space *s);

/* ---- measuring ----------------------------------------------------------- */

enum tune_measure { TUNE_TIME, TUNE_MEMORY, TUNE_MEASURES };

struct tune_figures {
    double value[TUNE_MEASURES]; /* above 0; smaller is better */
};

/*
 * Measure a choice on one trace, once.
 * from, to  the shares of the trace between which it counts
 * Returns   0; -EINTR: interrupted; or -errno, with the reason in why: the
 *           choice cannot be used
 */
typedef int tune_measure_fn(void *context, const struct tune_choice *choice,
                            size_t trace, double from, double to,
                            struct tune_figures *out, char *why, size_t n);

/* A run that was made. */
struct tune_run {
    char *choice; /* as by tune_choice_text; allocated */
    size_t trace;
    double from, to;
    struct tune_figures figures;
    double took_s; /* since the end of the run before */
    char *failed;  /* NULL: it did not; allocated */
    bool used;     /* --resume: it was asked for again */
};

/* A choice that cannot be used. */
struct tune_dropped {
    char *choice, *why; /* allocated */
};

struct tune;

/* What the search does; a line of progress is made of it. */
struct tune_progress {
    const char *stage; /* "rung 2 of 4", as it stands in a sentence */
    size_t done, of;   /* choices or rounds; of 0: not known */
    char *best;        /* the best choice so far; allocated; NULL: the base */
    double best_ratio; /* of the objective, to the base */
};

struct tune {
    struct tune_space space;
    size_t ntraces;
    double trace_weight[TUNE_TRACES]; /* their sum is 1 */
    double weight[TUNE_MEASURES];     /* their sum is 1 */
    double most_loss; /* no measure with a weight may get worse by more: 0.01 */
    double least_gain; /* a change has to pay so much: 0.005 */
    double search_to;  /* the search sees the traces up to this share ... */
    double confirm_to; /* ... and the confirmation from there to this one */
    double budget_s;
    size_t most_lines; /* that there is time to confirm; set by tune_search */
    uint64_t random;   /* state of compare_random */

    tune_measure_fn *measure;
    double (*now_s)(void *context);
    void (*tell)(const struct tune *t); /* progress; may be NULL */
    void (*keep)(const struct tune *t); /* after each new run; may be NULL */
    /* Of a choice that cannot be used, once; may be NULL. */
    void (*drop)(const struct tune *t, const struct tune_dropped *d);
    void *context;

    /* for the files that search */
    struct tune_progress progress;
    struct tune_run *run;
    size_t nruns, nkept; /* all; those that were read by --resume */
    struct tune_dropped *dropped;
    size_t ndropped;
    double elapsed_s; /* of the budget, also before --resume */
    double last_s;    /* when the run before ended, by now_s */
    double run_s;     /* what the base takes for the search's part */
    bool interrupted;
    size_t ntried; /* choices that were measured */
};

/* ---- tune_lab.c ---------------------------------------------------------- */

enum tune_outcome { TUNE_DONE, TUNE_UNUSABLE, TUNE_STOPPED };

/* Measure a choice once on each trace. out has ntraces. After TUNE_UNUSABLE the
 * choice stays so; TUNE_STOPPED: interrupted. */
enum tune_outcome tune_try(struct tune *t, const struct tune_choice *choice,
                           double from, double to, struct tune_figures *out);
/* Add a run without figures. */
struct tune_run *tune_add_run(struct tune *t, const char *choice);
/* Has the choice been dropped? */
bool tune_is_dropped(const struct tune *t, const struct tune_choice *choice);
/* The ratio of b to a in a measure: the weighted geometric mean over traces. */
double tune_ratio(const struct tune *t, const struct tune_figures *a,
                  const struct tune_figures *b, enum tune_measure m);
/* The objective of such ratios: their weighted geometric mean. */
double tune_objective(const struct tune *t, const double ratio[TUNE_MEASURES]);
/* By how much a measure that counts is worse than it may be; 0: none is. */
double tune_excess(const struct tune *t, const double ratio[TUNE_MEASURES]);
/* Is a measure that counts worse than it may be, beyond the noise? r: to the
 * base. */
bool tune_is_loss(const struct tune *t, enum tune_measure m,
                  const struct compare_ratio *r);
/* What is left of the budget. */
double tune_left_s(const struct tune *t);
void tune_tell(struct tune *t, const char *stage, size_t done, size_t of);
void *tune_room(void *at, size_t n, size_t bytes); /* realloc or die */
void tune_forget(struct tune *t);

/* ---- tune_race.c --------------------------------------------------------- */

/* A choice in a race. */
struct tune_entry {
    struct tune_choice choice;
    double *ratio[TUNE_MEASURES]; /* to the base, a round each */
    size_t n, room;
    double
        score; /* the logarithm of the objective, and a penalty; best: least */
    bool out;  /* dropped, or left behind */
};

struct tune_pool {
    struct tune_entry *entry;
    size_t n;
};

/* Add a choice, unless it is there, is the base, or cannot be used. */
void tune_pool_add(struct tune *t, struct tune_pool *pool,
                   const struct tune_choice *choice);
void tune_pool_forget(struct tune_pool *pool);
/* Race the pool until `keep` are left or the time is up, which is meant to take
 * most_s. The pool is then sorted, the best first; those who were left behind
 * are at the end. Returns false: interrupted. */
bool tune_race(struct tune *t, struct tune_pool *pool, size_t keep,
               double most_s, double until_s);

/* ---- tune_duel.c --------------------------------------------------------- */

/* What pairs of runs say of a choice against another. */
struct tune_pairs {
    struct compare_ratio objective, measure[TUNE_MEASURES];
    bool pays; /* beyond the noise, and no measure is worse than it may be */
};

/*
 * Compare a choice with `old` in pairs of runs of the search's part, until the
 * question is decided, most_pairs are made, or until_s of the budget are used.
 * Only the objective of *out is set. Returns false: it was not decided, as the
 * time is up, it was interrupted, or one of them cannot be used; then *out says
 * that the choice does not pay.
 */
bool tune_duel(struct tune *t, const struct tune_choice *old,
               const struct tune_choice *choice, size_t most_pairs,
               double until_s, struct tune_pairs *out);

/* ---- tune_search.c ------------------------------------------------------- */

/* Search until nothing is found any more, or until what is left of the budget
 * is needed to confirm it. *best is the best so far. Returns false: it was
 * interrupted, or the base cannot be used. */
bool tune_search(struct tune *t, struct tune_choice *best);

/* ---- tune_confirm.c ------------------------------------------------------ */

enum { TUNE_LEAST_ROUNDS = COMPARE_LEAST_PAIRS };

struct tune_verdict {
    struct tune_choice choice;
    struct tune_line line[TUNE_KNOBS];
    size_t nlines, rounds;
    struct tune_pairs all;   /* the choice against the base */
    struct tune_pairs *each; /* and against itself without line i; allocated */
    /* The medians of each trace: base, choice. */
    struct tune_figures figures[TUNE_TRACES][2];
    struct compare_ratio trace[TUNE_TRACES][TUNE_MEASURES];
};

/* Run the choice, the base, and the choice without each of its lines, in
 * rounds, on the part that the search did not see. Returns false: interrupted;
 * what there is by then is in *out. */
bool tune_confirm(struct tune *t, const struct tune_choice *choice,
                  struct tune_verdict *out);
void tune_verdict_forget(struct tune_verdict *v);

/* ---- tune_use.c ---------------------------------------------------------- */

/* Which sizes the traces ask for, by size index: the shares of calls, and of
 * bytes, each trace by its weight. */
struct tune_use {
    double calls[HAK_LANES + 1], bytes[HAK_LANES + 1];
};

/* Add a trace of that weight. Returns 0 or -errno, with the reason in why. */
int tune_use_add(struct tune_use *use, const char *path, double weight,
                 char *why, size_t n);
/* Do the traces ask for sizes of these indexes, for more than a thousandth of
 * the calls or bytes? */
bool tune_is_used(const struct tune_use *use, uint32_t first, uint32_t last);

/* ---- tune_space.c -------------------------------------------------------- */

/* A box that sizes may be routed to. */
struct tune_box {
    char name[HAK_CONF_NAME_BYTES + 1];
    const struct hak_box_entry *entry;
    bool in_base;             /* has a section there */
    bool fixed;               /* no size is routed to it or away from it */
    bool keys;                /* its keys may be changed */
    bool wasteful[HAK_LANES]; /* its slots are too large for that index */
};

struct tune_boxes {
    struct tune_box at[HAK_MAX_BOXES]; /* bit n of leads_to is at[n] */
    size_t n;
};

/* Fill s with all that may be changed in an INI, which has been read, for
 * programs of that use. */
void tune_space_make(struct tune_space *s, const struct hak_conf *conf,
                     const struct tune_use *use);

/* ---- tune_slots.c -------------------------------------------------------- */

/* Set `wasteful` of all boxes. */
void tune_boxes_ask(struct tune_boxes *boxes, const struct hak_conf *conf);

/* ---- tune_routes.c ------------------------------------------------------- */

/* Add the routes of all ranges of sizes. */
void tune_routes_add(struct tune_space *s, const struct hak_conf *conf,
                     const struct tune_boxes *boxes,
                     const struct tune_use *use);
/* Does a box serve all of these size indexes? */
bool tune_box_serves(const struct tune_box *box, uint32_t first, uint32_t last);

/* ---- tune_ini.c ---------------------------------------------------------- */

/* The INI that was tuned, as text. */
struct tune_base_ini {
    const char *path;
    const struct hak_conf *conf; /* what came of it */
    char *text;                  /* allocated */
    char **line; /* its lines, without their ends; point into text */
    size_t nlines;
};

/* Read the text of the file that conf was read from. Returns 0 or -errno. */
int tune_base_read(struct tune_base_ini *base, const struct hak_conf *conf);
void tune_base_forget(struct tune_base_ini *base);
/*
 * tune_ini_text - a choice as an INI: the lines of the base, and those that
 * differ.
 * head     comment lines for its beginning; NULL: none
 * comment  one for each line of tune_lines; NULL: none
 * Returns  the text; the caller frees it
 */
char *tune_ini_text(const struct tune_base_ini *base,
                    const struct tune_space *s, const struct tune_choice *c,
                    const char *head, char *const *comment);

/* ---- tune_state.c -------------------------------------------------------- */

struct json_t;

/* The file of --resume. */
struct tune_state {
    char *file;           /* allocated */
    struct json_t *about; /* what the search is about: a state of another one
                             is refused */
    double share;         /* of the traces that is used; 0: not known yet */
    double fault_ns;
    int64_t written_ns;
};

/* Write all runs. Returns 0 or -errno. */
int tune_state_write(struct tune_state *state, const struct tune *t);
/* Read the runs into t, and share and fault_ns. Returns false, after a
 * message. */
bool tune_state_read(struct tune_state *state, struct tune *t);

/* ---- tune_print.c -------------------------------------------------------- */

/* A line on stderr that says what goes on: rewritten in a terminal, else a line
 * for each stage. */
void tune_print_progress(const struct tune *t);
/* Take that line away. */
void tune_print_clear(void);
/* What a line or the whole choice is good for: "3.1 % less time (95 %: 2.0 ..
 * 4.1), no difference in memory above 0.4 %". */
void tune_pairs_text(const struct tune_pairs *p, char *text, size_t bytes);
/* The result on stdout. file NULL: nothing was written. */
void tune_print_result(const struct tune *t, const struct tune_verdict *v,
                       char *const *traces, const char *file);

/* ---- tune_json.c --------------------------------------------------------- */

/* Write the result as JSON. "-": to stdout. file NULL: no INI was written.
 * Returns false, after a message. */
bool tune_json_write(const char *to, const struct tune *t,
                     const struct tune_verdict *v, char *const *traces,
                     const char *file);

/* ---- tune_options.c ------------------------------------------------------ */

/* The command line. */
struct tune_options {
    const char *conf, *out, *json;
    char **traces; /* of argv */
    size_t ntraces;
    double trace_weight[TUNE_TRACES], weight[TUNE_MEASURES];
    double budget_s, most_loss;
    uint64_t seed;
    bool resume;
};

/* Returns false, after a message. */
bool tune_options_take(struct tune_options *o, int argc, char **argv);

#endif

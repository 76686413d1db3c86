/* SPDX-License-Identifier: MIT
 * conf.h - the INI file, read, checked and resolved; knows no .so.
 *
 * Precedence, lowest first: built-in defaults, file, [profile NAME] chosen by
 * HAKMEM_PROFILE, environment. Every value keeps its origin, so that
 * `hakctl explain` can name the file and line that won.
 *
 * Nothing here allocates: the file is read(2) into the struct, and every
 * text points into it. Not thread-safe; called once at start (and by tools).
 *
 * What may stand in a file, BOX, ROUTE and NAME being words of a-z A-Z 0-9 _ -
 *
 *     [core]          fallback = libc | none
 *                     free_route = directory | owns
 *                     verify = BOOL       strict = BOOL
 *                     purge_delay_ms = 0..3600000
 *                     sized_delete = BOOL (hakctl run adds libhakmem-cxx.so)
 *                     match_delete = BOOL (or libhakmem-match.so)
 *                     background = BOOL (a thread that gives memory back)
 *                     sample = BOX | none (BOX is asked first for one in
 *                     sample_every allocations; 1..1000000000)
 *     [stats]         at_exit = none | stderr | FILE      format = text | json
 *                     at_start = none | stderr | FILE
 *     [box NAME]      path = FILE     priority = INT     lanes = BOOL
 *                     type = NAME (NAME.so is the box; path is then its own)
 *                     and the parameters of that box
 *     [route NAME]    box = BOX
 *                     fallback = ROUTE | BOX | libc | none
 *                     enabled = BOOL      classes = C5,C6 or 0x60
 *     [learner]       mode = off | observe | apply
 *                     every = 16..1000000 (retires between evaluations)
 *                     settle = 1..100 (evaluations that must agree)
 *                     margin = 0..50 (percent points for what stands)
 *                     log = none | stderr | FILE
 *     [rule NAME]     classes = C5,C6-C7   route = BOX or ROUTE
 *                     when = FIGURE < <= > or >= N% or Nbps, and more of them
 *                     (share, retire, utilisation, free_hit: docs/learner.md)
 *     [policy]        C0-C3,C5 = BOX or ROUTE    1025-256k = ...   262145- =
 * ... [call NAME]     box = BOX    call = CALL of its library    poll = BOOL
 *                     (docs/foreign.md)
 *     [profile NAME]  SECTION.KEY = VALUE, as in box ultra.lanes = off
 *
 * Comments start with ; or # at the start of a line or after a blank.
 *
 * A route with `classes` claims them: there it goes before the lines of
 * [policy]. Of several that claim one class the first of these has it: ULTRA,
 * MID_V35, V7, MID_V3, any other name in the order of the file, LEGACY. A
 * route that is not enabled claims nothing, and where it is named its own box
 * is passed over and its fallback serves.
 *
 * The environment sets the key K of section S by HAKMEM_S_K, upper case, each
 * character that is no letter or digit turned to _: HAKMEM_CORE_FREE_ROUTE,
 * HAKMEM_BOX_ULTRA_LANES, HAKMEM_POLICY_C4_C7 (here _ stands for the -). The
 * section must be core, stats, learner, policy or a box, route or rule of the
 * file; the longest such name wins. The gates are short names for such keys:
 *
 *     HAKMEM_MID_V35_ENABLED           [route MID_V35] enabled
 *     HAKMEM_MID_V35_CLASSES           [route MID_V35] classes
 *     HAKMEM_SMALLMID_ENABLE           [route SMALLMID] enabled
 *     HAKMEM_TINY_HEAP_V2              [box tiny] magazine; when on, the box
 *                                      gets lanes = off, [route TINY] enabled
 *     HAKMEM_TINY_HEAP_V2_CLASS_MASK   [box tiny] magazine_classes
 *     HAKMEM_TINY_HEAP_V2_STATS        when on, [stats] at_exit = stderr
 *
 * Other HAKMEM_ names get a warning, but HAKMEM_CONF, HAKMEM_PROFILE and
 * HAKMEM_BENCH_*.
 *
 * A policy key of a higher layer wins for the indexes that it covers; within
 * one layer, two keys that cover one index are an error. A claim belongs to
 * the highest layer that gave its `classes` or `enabled`, and wins over the
 * policy keys of that layer and those below.
 */
#ifndef HAKMEM_CONF_H
#define HAKMEM_CONF_H

#include <base/classes.h>
#include <hakmem/box.h>

enum {
    HAK_CONF_FILE_BYTES = 64 * 1024, /* larger files are refused */
    HAK_CONF_LINE_BYTES = 198, /* inih's line buffer, less newline and NUL */
    HAK_CONF_NAME_BYTES = 49,  /* inih's section buffer, less the NUL */
    HAK_CONF_SECTIONS = 96,
    HAK_CONF_ENTRIES = 512,
    HAK_CONF_ROUTES = 32,
    HAK_CONF_RULES = 64,
    HAK_CONF_CHAIN = 8,
    HAK_CONF_LEARN_RULES = 32,
    HAK_CONF_CONDITIONS = 8, /* of one learner rule */
};

/* Where a value came from. line 0: file is "built-in" or "environment NAME". */
struct hak_origin {
    const char *file;
    int line;
};

/* Who gave a value; higher wins. Built-in values are no entries. */
enum hak_layer {
    HAK_LAYER_FILE,
    HAK_LAYER_PROFILE,
    HAK_LAYER_ENVIRONMENT,
    HAK_LAYERS,
};

/* A [section] line of the file, in the file's order, each name once. */
struct hak_conf_section {
    const char *name; /* "box ultra": words joined by one blank */
    int line;
};

/*
 * One key as given, after precedence: the winner for its section and key.
 * The keys of all profiles are entries too, with section "profile NAME" and
 * the key as given; those of the chosen one also as what they set.
 */
struct hak_conf_entry {
    const char *section; /* "box ultra": words joined by one blank */
    const char *key;
    const char *value;
    struct hak_origin origin;
    enum hak_layer layer;
};

enum hak_fallback { HAK_FALLBACK_LIBC, HAK_FALLBACK_NONE };
enum hak_free_route { HAK_FREE_DIRECTORY, HAK_FREE_OWNS };

struct hak_conf_box {
    const char *name;         /* NAME of [box NAME] */
    const char *path;         /* as given, or NULL: NAME.so beside the others */
    const char *type;         /* as given, or NULL: the box file by its name,
                                 and path is a parameter of that box */
    int priority;             /* owns() walk: lower asks first; default: place
                                 of its section in the file, 0, 10, 20 ... */
    bool lanes;               /* lanes = on | off; default on */
    bool used;                /* false: only routes not enabled name it */
    struct hak_origin origin; /* of its section's first line */
    struct hak_origin path_origin; /* of the key that names the box file */
};

/*
 * A route: boxes to ask in turn, then libc or nothing. `[route NAME]` has
 * box = BOX and fallback = ROUTE | BOX | libc | none; a box named directly in
 * [policy] is a route of that one box.
 */
struct hak_conf_route {
    const char *name;
    uint8_t chain[HAK_CONF_CHAIN]; /* positions in conf->box */
    uint8_t nchain;
    enum hak_fallback last;
    bool enabled;
    uint8_t classes;          /* that it claims; bit n = class Cn */
    struct hak_origin origin; /* of its box = line */
};

/* A line of [policy], or a route's claim: sizes from first to last index; a
 * claim may leave out classes between. */
struct hak_conf_rule {
    uint32_t first_index, last_index;
    uint32_t route;   /* position in conf->route */
    const char *text; /* the key as given; the value of a claim's classes */
    bool claim;
    struct hak_origin origin;
};

/* ---- [learner], [rule NAME] */

enum hak_learn_mode { HAK_LEARN_OFF, HAK_LEARN_OBSERVE, HAK_LEARN_APPLY };

/* What a rule may look at, each of one class; docs/learner.md defines them. */
enum hak_learn_figure {
    HAK_LEARN_SHARE,
    HAK_LEARN_RETIRE,
    HAK_LEARN_UTILISATION,
    HAK_LEARN_FREE_HIT,
    HAK_LEARN_FIGURES,
};

enum hak_learn_compare {
    HAK_LEARN_BELOW,
    HAK_LEARN_AT_MOST,
    HAK_LEARN_ABOVE,
    HAK_LEARN_AT_LEAST,
};

struct hak_conf_condition {
    uint8_t figure;  /* enum hak_learn_figure */
    uint8_t compare; /* enum hak_learn_compare */
    uint16_t bps;    /* 0..10000 */
};

/* A [rule NAME]: where its classes go while all its conditions hold. */
struct hak_conf_learn_rule {
    const char *name;
    uint8_t classes; /* bit n: Cn */
    uint8_t nwhen;   /* 0: always */
    struct hak_conf_condition when[HAK_CONF_CONDITIONS];
    uint32_t route;           /* position in conf->route */
    struct hak_origin origin; /* of its section's line */
};

struct hak_conf_learner {
    enum hak_learn_mode mode; /* off */
    uint32_t every;           /* retires; 256 */
    uint32_t settle;          /* evaluations; 3 */
    uint32_t margin_bps;      /* 500 */
    const char *log;          /* "none" | "stderr" | file name; none */
    uint32_t nrules;          /* hak_conf.learn_rule */
};

/* A note is for who asks (hakctl), not for each process. */
enum hak_diag_level { HAK_DIAG_ERROR, HAK_DIAG_WARNING, HAK_DIAG_NOTE };

/* Told once for each finding; file is NULL and line 0 where there is none. */
typedef void hak_diag_fn(void *context, enum hak_diag_level level,
                         const char *file, int line, const char *text);

struct hak_conf {
    /* [core] */
    enum hak_fallback fallback;     /* libc */
    enum hak_free_route free_route; /* directory */
    bool verify;                    /* no */
    bool strict;                    /* no */
    bool sized_delete;              /* no; for hakctl run */
    bool match_delete;              /* no; likewise */
    bool background;                /* no: nobody ages memory but the program */
    uint64_t purge_delay_ms;        /* 100 */
    uint32_t trial_s;               /* 10; for hakctl */
    int sample;                     /* position in box, or -1: none */
    uint32_t sample_every;          /* 5000 */
    struct hak_origin fallback_origin;
    struct hak_origin free_route_origin;
    /* [stats] */
    const char *stats_at_exit;  /* "none" | "stderr" | file name; none */
    const char *stats_at_start; /* the same: the table of routes */
    bool stats_json;            /* format = text | json; text */
    uint32_t stats_pid;         /* only_pid: the process that reports; 0: all */
    const char *file;           /* path that was read */
    const char *profile;        /* or NULL */
    uint32_t nerrors, nwarnings;
    hak_diag_fn *diag;
    void *diag_context;
    uint32_t told_limits; /* private: what ran out was told */
    uint32_t nboxes, nroutes, nrules, nsections, nentries;
    size_t text_used;
    struct hak_conf_learner learner;
    /*
     * Lists: what is in them is written whole when it is added, and nothing
     * else is touched, so they cost the pages that are used.
     */
    struct hak_conf_section section[HAK_CONF_SECTIONS];
    struct hak_conf_box box[HAK_MAX_BOXES]; /* [box NAME], by priority */
    struct hak_conf_route route[HAK_CONF_ROUTES];
    struct hak_conf_rule rule[HAK_CONF_RULES];
    /* by size index: position in rule, or -1 = no rule: straight to fallback */
    int16_t index_rule[HAK_LANES + 1];
    /* every key given, for box parameters and reports */
    struct hak_conf_entry entry[HAK_CONF_ENTRIES];
    struct hak_conf_learn_rule learn_rule[HAK_CONF_LEARN_RULES];
    /* The file, then all other strings; one page, if they are few. */
    _Alignas(4096) char text[HAK_CONF_FILE_BYTES * 4];
};

/*
 * hak_conf_read - read, check and resolve the INI at path.
 * envp      environment to apply (NULL = none: setuid programs)
 * profile   chosen profile, or NULL (then HAKMEM_PROFILE of envp)
 * diag      told of every finding; errors do not stop the reading
 * fd        an open descriptor of path (the caller opened and checked it, and
 *           closes it), or -1 = open it here
 * Returns   0; -EINVAL when there were errors (all of them were told);
 *           -errno of open or read, -EISDIR or -EFBIG (told too). *c is filled
 *           as far as it went.
 */
int hak_conf_read(struct hak_conf *c, const char *path, int fd,
                  char *const *envp, const char *profile, hak_diag_fn *diag,
                  void *diag_context);

/* The value of a variable of envp (NULL = none), or NULL. */
const char *hak_conf_variable(char *const *envp, const char *name);

/* The winning entry of section and key, or NULL: built-in. */
const struct hak_conf_entry *
hak_conf_find(const struct hak_conf *c, const char *section, const char *key);

/* Where section's key got its value: its entry's origin, or "built-in". */
struct hak_origin hak_conf_origin(const struct hak_conf *c, const char *section,
                                  const char *key);

/*
 * hak_conf_call - the nth [call NAME] whose box is of that name (NULL: any).
 * Returns its name, with *text its call and *poll; NULL = no more.
 */
const char *hak_conf_call(const struct hak_conf *c, const char *box, uint32_t n,
                          const char **text, bool *poll);

/* Tell a finding through c->diag and count it. printf-like. */
void hak_conf_tell(struct hak_conf *c, enum hak_diag_level level,
                   struct hak_origin where, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

/*
 * hak_conf_params - fill values[n] for box from its [box NAME] keys.
 * Unknown keys (with the nearest known name), text that does not parse and
 * values out of bounds are told with their line. Defaults first.
 * Returns 0 or -EINVAL.
 */
int hak_conf_params(struct hak_conf *c, const struct hak_conf_box *box,
                    const struct hak_param *params, uint32_t n,
                    union hak_value *values);

/*
 * What parses one call of HAK_PARAM_CALL: as hak_call_parse of
 * modules/foreign/, which not every process has. Set it before a configuration
 * is read.
 */
struct hak_call;
typedef int hak_parse_call(const char **text, struct hak_call *out, char *why,
                           size_t why_bytes);
extern hak_parse_call *hak_conf_parse_call;

/* hak_conf_param - parse one text by one parameter. 0 or -EINVAL; *out kept
 * on failure; why (may be NULL) gets the reason. */
int hak_conf_param(const struct hak_param *param, const char *text,
                   union hak_value *out, char *why, size_t why_bytes);

/* hak_conf_bytes - "64", "4k", "4KiB", "1M", "2GiB"; decimal or 0x. 0/-EINVAL
 * (not a size) or -ERANGE. k and KiB are both 1024. */
int hak_conf_bytes(const char *text, uint64_t *out);

/*
 * hak_conf_range - "C4", "C4-C7", "257-1024", "262145-", "17": one item.
 * Sets first and last size index. A size alone stands for the index that it
 * is in, the start 1 for index 0 too (requests of 0 bytes). A bound that is
 * no index boundary is -EINVAL, with the nearest ones in why; sizes above
 * HAK_LANE_MAX_BYTES are one index, so 262145- is the only range there.
 * Returns 0, -EINVAL or -ERANGE (class or number too large); why as above.
 */
int hak_conf_range(const char *text, uint32_t *first, uint32_t *last, char *why,
                   size_t why_bytes);

/*
 * hak_conf_classes - "C5,C6", "C4-C7" or a mask as in 0x60: bit n = class Cn.
 * Returns 0, -EINVAL or -ERANGE; *mask kept on failure; why as above.
 */
int hak_conf_classes(const char *text, uint8_t *mask, char *why,
                     size_t why_bytes);

/* hak_conf_nearest - the candidate nearest to word, or NULL when none is near
 * (edit distance at most 2, and less than half of the word). Two neighbours
 * swapped count 1, case does not count; NULL candidates are passed over. */
const char *hak_conf_nearest(const char *word, const char *const *candidates,
                             size_t n);

#endif

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
 * docs/ini.md says what may stand in a file, and how the environment spells it.
 */
#ifndef HAKMEM_CONF_H
#define HAKMEM_CONF_H

#include <base/classes.h>
#include <conf/core_keys.h>
#include <conf/learner.h>
#include <conf/values.h>
#include <hakmem/box.h>

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

/* A note is for who asks (hakctl), not for each process. */
enum hak_diag_level { HAK_DIAG_ERROR, HAK_DIAG_WARNING, HAK_DIAG_NOTE };

/* Told once for each finding; file is NULL and line 0 where there is none. */
typedef void hak_diag_fn(void *context, enum hak_diag_level level,
                         const char *file, int line, const char *text);

struct hak_conf {
    /* [core] */
    HAK_CORE_KEYS(HAK_CORE_MEMBER)
    int sample; /* position in box, or -1: none */
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

#endif

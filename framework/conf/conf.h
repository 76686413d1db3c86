/* SPDX-License-Identifier: MIT
 * conf.h - reads, checks and resolves the INI file; opens no shared object.
 *
 * Precedence, lowest first: built-in defaults, file, [profile NAME] chosen by
 * HAKMEM_PROFILE, environment, changes of the running process. Every value
 * keeps its origin, so that `hakctl explain` can name the file and line that
 * won.
 *
 * Nothing here allocates: the file is read(2) into struct hak_conf, and all
 * strings point into it. Not thread-safe: the core reads one configuration at
 * start, and tools read theirs in one thread.
 *
 * docs/ini.md lists the keys of a file and their names in the environment.
 */
#ifndef HAKMEM_CONF_H
#define HAKMEM_CONF_H

#include <base/classes.h>
#include <conf/core_keys.h>
#include <conf/learner.h>
#include <conf/values.h>
#include <hakmem/box.h>

/* The layer that a value comes from; the higher one wins. Built-in values have
 * no layer, as they are not entries. */
enum hak_layer {
    HAK_LAYER_FILE,
    HAK_LAYER_PROFILE,
    HAK_LAYER_ENVIRONMENT,
    HAK_LAYER_CONTROL, /* hak_conf_set */
    HAK_LAYERS,
};

/* A [section] of the file. The list keeps the file's order and has each name
 * once. */
struct hak_conf_section {
    const char *name; /* "box ultra": words joined by one blank */
    int line;
};

/*
 * The value that won for one section and key, as text.
 *
 * Each line of a profile is an entry too, with section "profile NAME" and the
 * whole SECTION.KEY as its key. For the chosen profile a second entry has the
 * section and key that the line sets.
 */
struct hak_conf_entry {
    const char *section; /* "box ultra": words joined by one blank */
    const char *key;
    const char *value;
    struct hak_origin origin;
    enum hak_layer layer;
};

struct hak_conf_box {
    const char *name; /* NAME of [box NAME] */
    /* As given. Without type, path is the box's file; NULL: NAME.so in the
     * folder of boxes. With type, the file is TYPE.so in that folder, and path
     * is a parameter of the box. */
    const char *path;
    const char *type; /* as given, or NULL */
    /* The owns() walk asks boxes with a lower priority first. default: 0, 10,
     * 20 ... in the order of the file. */
    int priority;
    bool lanes;               /* default: on */
    bool used;                /* false: only disabled routes name the box */
    struct hak_origin origin; /* of the [box NAME] line */
    struct hak_origin path_origin; /* of the key that chooses the box's file */
};

/*
 * A route: a chain of boxes that are asked in turn, then libc or nothing. A
 * [route NAME] has box = BOX and fallback = ROUTE | BOX | libc | none. A box
 * that [policy] names directly gets a route of this one box.
 */
struct hak_conf_route {
    const char *name;
    uint8_t chain[HAK_CONF_CHAIN]; /* positions in conf->box */
    uint8_t nchain;
    enum hak_fallback last;
    bool enabled;
    uint8_t classes;          /* claimed size classes; bit n = class Cn */
    struct hak_origin origin; /* of the "box =" line */
};

/* A range of a [policy] line, or the claim of a route. It covers the size
 * indexes first_index to last_index; a claim may leave out classes between
 * them. */
struct hak_conf_rule {
    uint32_t first_index, last_index;
    uint32_t route;   /* position in conf->route */
    const char *text; /* the key of the line, or the value of `classes` */
    bool claim;
    struct hak_origin origin;
};

/* A note is only of interest to hakctl; programs that run on the INI do not
 * print it. */
enum hak_diag_level { HAK_DIAG_ERROR, HAK_DIAG_WARNING, HAK_DIAG_NOTE };

/* Called once for each finding. file is NULL if the finding has no file, and
 * line is 0 if it has no line. */
typedef void hak_diag_fn(void *context, enum hak_diag_level level,
                         const char *file, int line, const char *text);

/* [heap_profile], for module "heap_profile"; docs/ini.md has the keys. */
struct hak_conf_heap_profile {
    const char *file;         /* none | file name; default: none */
    uint64_t every_bytes;     /* mean distance of samples; default: 512k */
    uint32_t frames;          /* most of a stack that are kept; default: 64 */
    uint64_t most_bytes;      /* of memory for the profile; default: 256m */
    uint32_t cost_percent;    /* most time that samples take; default: 1 */
    bool at_exit;             /* write it when the process ends; default: yes */
    int on_signal;            /* write it at this signal; 0: none */
    uint64_t on_growth_bytes; /* ... when so much more is in use; 0: never */
    uint32_t on_peak_percent; /* ... at a peak so much higher; 0: never */
    uint32_t only_pid;        /* the one process that has one; 0: all do */
};

struct hak_conf {
    /* [core] */
    HAK_CORE_KEYS(HAK_CORE_MEMBER)
    int sample;                /* position in conf->box, or -1: no sampling */
    const char *pressure_file; /* none | absolute path; default: none */
    struct hak_origin fallback_origin;
    struct hak_origin free_route_origin;
    /* [stats] */
    const char *stats_at_exit;  /* none | stderr | file name; default: none */
    const char *stats_at_start; /* the same, for the table of routes */
    bool stats_json;            /* format = json; default: text */
    int stats_on_signal;        /* the report at this signal; 0: none */
    bool stats_on_term;         /* at_exit's at SIGTERM, SIGINT, SIGHUP too */
    uint32_t stats_pid;         /* the only process that reports; 0: all do */
    const char *timeline;       /* none | file name; default: none */
    uint32_t stats_every_ms;    /* period of the timeline; default: 1000 */
    struct hak_conf_heap_profile heap_profile;
    const char *record_ring;    /* [record] ring: none | absolute path of the
                                   memory of hakctl record; default: none */
    const char *control_socket; /* [control] socket: none | auto | absolute
                                   path; default: none */
    const char *file;           /* path of the INI */
    const char *profile;        /* name of the chosen profile, or NULL */
    uint32_t nerrors, nwarnings;
    hak_diag_fn *diag;
    void *diag_context;
    uint32_t told_limits; /* private: bit n = enum conf_limit n was reported */
    uint32_t nboxes, nroutes, nrules, nsections, nentries;
    size_t text_used;
    struct hak_conf_learner learner;
    /*
     * Lists. hak_conf_read() does not clear the members from here on: an
     * element is written whole when it is added. So only pages with elements
     * become resident.
     */
    struct hak_conf_section section[HAK_CONF_SECTIONS];
    struct hak_conf_box box[HAK_MAX_BOXES]; /* sorted by priority */
    struct hak_conf_route route[HAK_CONF_ROUTES];
    struct hak_conf_rule rule[HAK_CONF_RULES];
    /* For each size index a position in conf->rule, or -1: no rule covers it,
     * and requests go to the fallback. */
    int16_t index_rule[HAK_LANES + 1];
    /* All keys that were given; boxes' parameters and reports use them too. */
    struct hak_conf_entry entry[HAK_CONF_ENTRIES];
    struct hak_conf_learn_rule learn_rule[HAK_CONF_LEARN_RULES];
    /* The file, then all other strings. It is aligned so that few strings
     * touch only one page. */
    _Alignas(4096) char text[HAK_CONF_FILE_BYTES * 4];
};

/*
 * hak_conf_read - read, check and resolve the INI at path.
 * fd        a descriptor of path that the caller opened and will close, or
 *           -1: open path here
 * envp      environment to apply; NULL: none, as for setuid programs
 * profile   profile to choose; NULL: the one that HAKMEM_PROFILE of envp names
 * diag      called for every finding; reading goes on after an error
 * Returns   0; -EINVAL: there were errors in the text; -errno of open or read,
 *           -EISDIR or -EFBIG. diag was called for all of these. On an error
 *           *c holds what was read until then.
 */
int hak_conf_read(struct hak_conf *c, const char *path, int fd,
                  char *const *envp, const char *profile, hak_diag_fn *diag,
                  void *diag_context);

/* The value of variable `name` in envp, or NULL. envp may be NULL. */
const char *hak_conf_variable(char *const *envp, const char *name);

/* The entry that won for section and key. NULL: the built-in value holds. */
const struct hak_conf_entry *
hak_conf_find(const struct hak_conf *c, const char *section, const char *key);

/*
 * hak_conf_set - let the running process change one key of [core], [stats] or
 * [learner], or add one of a box. The strings live as long as c.
 * old      gets what the key had, for hak_conf_unset; its value is NULL if it
 *          had none
 * Returns  0; -EINVAL: no such key, or a bad value, told through c->diag;
 *          -ENOSPC: there are too many keys
 */
int hak_conf_set(struct hak_conf *c, const char *section, const char *key,
                 const char *value, struct hak_conf_entry *old);
/* Undo hak_conf_set for section and key. */
void hak_conf_unset(struct hak_conf *c, const char *section, const char *key,
                    const struct hak_conf_entry *old);

/* The keys that a section may have, as parameters; *n gets their number. A box
 * has its own parameters besides. */
const struct hak_param *hak_conf_keys(const char *section, uint32_t *n);

/* The origin of the value that won for section and key; its file is "built-in"
 * if no layer gave one. */
struct hak_origin hak_conf_origin(const struct hak_conf *c, const char *section,
                                  const char *key);

/*
 * hak_conf_call - the nth [call NAME] for a box, or for any box if box is NULL.
 * Returns   NAME, with the values of its keys `call` and `poll` in *text and
 *           *poll; NULL: there are no more
 */
const char *hak_conf_call(const struct hak_conf *c, const char *box, uint32_t n,
                          const char **text, bool *poll);

/* Count a finding and report it through c->diag. format is that of printf. */
void hak_conf_tell(struct hak_conf *c, enum hak_diag_level level,
                   struct hak_origin where, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

/*
 * hak_conf_params - fill values[n] for a box: its parameters' defaults, then
 * the keys of [box NAME]. Unknown keys (with the nearest known name), text that
 * does not parse and values out of bounds are reported with their line.
 * Returns   0 or -EINVAL
 */
int hak_conf_params(struct hak_conf *c, const struct hak_conf_box *box,
                    const struct hak_param *params, uint32_t n,
                    union hak_value *values);

#endif

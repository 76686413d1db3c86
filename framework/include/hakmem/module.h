/* SPDX-License-Identifier: MIT
 * module.h - modules: what only some configurations need.
 *
 * A module is a shared object, modules/NAME.so beside the boxes, that the core
 * opens at start when the INI asks for it or a box asks for an extension of
 * its name ("hak.NAME/1"). It exports one data symbol, HAK_MODULE_ENTRY(NAME).
 * A program whose INI needs no module opens none.
 *
 *     core    --entry-->      module   (start, slow_path, fork, report ...)
 *     module  --host table--> core     (routes, threads, memory)
 *
 * Core and modules are one program in several files: both are built from one
 * tree, and the core refuses a module of another version. So there is no rule
 * for how these tables grow; a change of either raises HAK_MODULE_VERSION.
 *
 * Rules for a module
 *   - It knows the core by the host table alone, never by the core's structs.
 *   - It may use threads and libraries, but never the program's malloc: what
 *     it needs comes from host->meta, host->sealed or a mapping of its own.
 *   - It costs malloc and free nothing. It is called on slow paths alone, and
 *     of these only when it has asked for that with host->want().
 *   - In a fused library it is linked in, so its external names begin with
 *     hak_NAME.
 */
#ifndef HAKMEM_MODULE_H
#define HAKMEM_MODULE_H

#include <hakmem/box.h>

#define HAK_MODULE_VERSION 1
#define HAK_MODULES_MOST 8

struct hak_conf;

/*
 * What the core offers. Any thread may call any of it, unless it says
 * otherwise; none of it calls malloc.
 */
struct hak_module_host {
    uint32_t version; /* HAK_MODULE_VERSION */
    uint32_t index;   /* of the module, 0 .. HAK_MODULES_MOST - 1 */
    /* The configuration: read, resolved, and fixed while the process runs. */
    const struct hak_conf *conf;

    /* ---- memory ---- */

    /* Zero, 64-byte aligned, never given back; NULL = no memory. */
    void *(*meta)(size_t size_bytes);
    /* The same, and read-only once the process has started. At start only. */
    void *(*sealed)(size_t size_bytes);

    /* ---- when the module is called ---- */

    /*
     * want - call entry->slow_path soon, once, from a malloc on its slow path.
     * Cost: one atomic instruction. May be called from within page_retired.
     */
    void (*want)(const struct hak_module_host *host);

    /* ---- threads ---- */

    /*
     * slot - the calling thread's word for this module, NULL at first; it stays
     * with the thread's structure, which the next thread takes over.
     * Returns  NULL: the thread has not attached, and has no structure
     */
    void **(*slot)(const struct hak_module_host *host);
    /* Call each(context, word) with the word of every structure of a thread
     * that there is. Threads may run, and write what the words lead to. */
    void (*each_slot)(const struct hak_module_host *host,
                      void (*each)(void *context, void *word), void *context);
    /* Do for the memory of all threads and boxes what their slow paths would
     * do by now: entry->slow_path of no module is called. */
    void (*age)(void);

    /* ---- routes ---- */

    /* Route these size indexes by a route of the INI, as hak_route does. 0,
     * -EINVAL, -ENOENT, -ENOMEM. */
    int (*set_route)(uint32_t first, uint32_t last, const char *route);
    /* As [policy] did at start. */
    int (*reset_route)(uint32_t first, uint32_t last);
    /* The name of the route that an index has now. Lives for ever. */
    const char *(*route_of)(uint32_t index);
    /* Does the route of that name lead to a box, now? */
    bool (*leads_to_box)(const char *route);

    /* The nth [call NAME] of a box: conf/conf.h, hak_conf_call. */
    const char *(*call_of)(const char *box, uint32_t n, const char **text,
                           bool *poll);
};

/* Where a module writes its part of a report. json: its part begins with a
 * comma and a key. */
struct hak_report_part {
    bool json;
    void (*add)(void *report, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
    void *report;
};

/* What a module gives; every member but the first four may be NULL. */
struct hak_module_entry {
    uint32_t version;         /* HAK_MODULE_VERSION */
    const char *core_version; /* HAK_VERSION */
    const char *name;         /* its file's, without .so */

    /*
     * start - in the library's constructor, while the process has one thread.
     * host     is the module's for ever
     * Returns  0; -errno: the module is left out
     */
    int (*start)(const struct hak_module_host *host);

    /* The table of an extension that boxes or the core ask for, by its id
     * ("hak.NAME/1"), or NULL. Any time after start. */
    const void *(*extension)(const char *id);

    /* The boxes are loaded and the process is about to run on them. Also in
     * the child of a fork, when its locks are free. */
    void (*run)(void);

    /* What host->want asked for. The calling thread holds no lock, is attached
     * and is inside of malloc, before it enters a box. Keeps errno. */
    void (*slow_path)(void);

    /* A run of slots of one size has become empty and goes back: box.h. The
     * box may hold a lock of its own. */
    void (*page_retired)(const struct hak_retire *record);

    /* Take or release every lock of the module's, as boxes do. */
    void (*fork)(enum hak_fork_phase phase);

    /* Lines of its own in the report of hak_report and [stats] at_exit. */
    void (*report)(const struct hak_report_part *to);
};

/* Extension "hak.learner/1" of the module of that name: hakmem.h, hak_learner.
 */
#define HAK_LEARNER_1 "hak.learner/1"
struct hak_learner_figures;
struct hak_learner_1 {
    int (*read)(struct hak_learner_figures *out);
};

/* The entry's symbol: HAK_MODULE_ENTRY(learner) is hak_module_entry_learner. */
#define HAK_MODULE_PREFIX "hak_module_entry_"
#define HAK_MODULE_ENTRY(name) hak_module_entry_##name
#define HAK_MODULE_EXPORT __attribute__((visibility("default")))

#endif

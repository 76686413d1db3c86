/* SPDX-License-Identifier: MIT
 * module.h - the interface of modules, which only some configurations need.
 *
 * A module is a shared object, modules/NAME.so beside the boxes. The core opens
 * it at start when the INI needs it, or when a box asks for an extension of its
 * name ("hak.NAME/1"). It exports one data symbol, HAK_MODULE_ENTRY(NAME).
 *
 *     core    --entry-->      module   (start, slow_path, fork, report ...)
 *     module  --host table--> core     (routes, threads, memory)
 *
 * Core and modules are built from one tree, and the core refuses a module of
 * another version. So these tables may change at any place; each change raises
 * HAK_MODULE_VERSION.
 *
 * Rules for a module
 *   - It uses the core through the host table, never through the core's
 *     structs.
 *   - It may use threads and libraries, but never the program's malloc. Its
 *     memory comes from host->meta, host->sealed or a mapping of its own.
 *   - It costs the fast paths of malloc and free nothing. The core calls it on
 *     slow paths, and there only after host->want().
 *   - A fused library links it in, so its external names begin with hak_NAME.
 */
#ifndef HAKMEM_MODULE_H
#define HAKMEM_MODULE_H

#include <hakmem/box.h>
#include <hakmem/version.h>

#define HAK_MODULE_VERSION 11
#define HAK_MODULES_MOST 16

struct hak_conf;

/* One key of the running process, as each_key tells it. The strings are
 * valid during the call. */
struct hak_key {
    const char *section, *key; /* "box ultra", "warm" */
    const char *value;         /* now, as an INI would have it */
    const char *layer;         /* built-in, file, profile, environment, control
                                  or learner: who gave the value */
    const char *file;          /* where it was given; NULL: nowhere */
    int line;                  /* 0: no line */
    bool settable;             /* changes->set may change it now */
    const char *bounds;        /* in words: "0..3600000 ms" */
};

/* A box of the running process, as host->box tells it. */
struct hak_box_now {
    char name[64];     /* cut to fit */
    const char *state; /* loaded, active, draining or closed; static */
    uint64_t live_count, live_bytes, mapped_bytes;
    uint64_t cached_bytes;  /* of mapped_bytes: free as a whole, kept */
    uint64_t allocs, frees; /* slots handed out and taken back, since start */
};

/* The memory of the whole process that the core knows of, host->space. */
struct hak_space_now {
    uint64_t used_bytes;  /* of the window: mapped, in use by boxes */
    uint64_t free_bytes;  /* of the window: mapped, in no box's hands */
    uint64_t dirty_bytes; /* of free_bytes: waiting for purge */
    uint64_t meta_bytes;  /* metadata of the core */
    uint64_t purge_delay_ms;
    /* counted since start */
    uint64_t purged_bytes, purges; /* given back, by boxes or the window */
    uint64_t maps, unmaps;
    uint64_t libc_allocs; /* allocations that libc served */
};

/* A change of the running process that was made, entry->event. The strings are
 * valid during the call. */
struct hak_event {
    const char *kind; /* a name of struct hak_changes; or "closed": a box that
                         drained; or "learner": set_route, reset_route */
    const char *text; /* "257-1024 -> mid_v35" */
};

/* A box to load, for changes->load. */
struct hak_load {
    const char *name;        /* as in [box NAME] */
    const char *file;        /* absolute path, or a name as in the key `path` */
    const char *const *keys; /* "KEY=VALUE", nkeys of them */
    uint32_t nkeys;
};

/* ---- sampled allocations ---- */

/*
 * One allocation that the core has sampled, host->sample_bytes.
 *
 * The program gets `block`. It lies offset_bytes behind the start of its slot,
 * because free() of an address that is not a slot's start takes the slow path,
 * where the core asks the module about it. offset_bytes is 0 in boxes without
 * lanes, whose frees are slow paths anyway.
 */
struct hak_sample {
    const void *block;
    size_t offset_bytes;
    /* The slot in whose page the block would lie if it was not sampled, for
     * host->page. It stays until the block is freed. */
    const void *place;
    size_t asked_bytes; /* of the request */
    size_t slot_bytes;  /* of a slot for asked_bytes; 0: the box does not say */
    double nblocks;     /* allocations that this one stands for, at least 1 */
    const char *box;    /* "libc" for a block of libc; never freed */
    uint32_t index;     /* size index of the request */
};

/* The functions of a module that samples. They may be called by any thread, in
 * malloc or free but outside of boxes, also in a signal handler that has
 * interrupted the program (not a malloc). They must not call malloc, and keep
 * errno. */
struct hak_sample_ops {
    /* allocated - record a block that is about to be handed out. Returns true:
     * it is recorded, and freed is called for it one day; false: there is no
     * room, and the program gets a block that is not sampled. */
    bool (*allocated)(const struct hak_sample *sample);
    /* freed - the program gives `block` back: forget it. Returns its
     * offset_bytes; -1: it is not recorded. Asked for each block that reaches
     * free's slow path, so a miss has to be fast. */
    int64_t (*freed)(const void *block);
    /* offset - as freed, but the block stays recorded. */
    int64_t (*offset)(const void *block);
};

/* ---- watched calls ---- */

enum hak_call_kind { HAK_CALL_MALLOC, HAK_CALL_CALLOC, HAK_CALL_ALIGNED };

/*
 * The functions of a module that watches each call of the malloc family,
 * host->watch_calls. The thread that makes the call runs them, outside of boxes
 * and without a lock of the core. They must not call malloc, and keep errno.
 * They may wait, but other threads may wait for a lock that the program holds
 * in its call.
 *
 * word  the calling thread's pointer for this module, as host->slot gives it
 *
 * Calls that the core or a box makes inside of a call of the program are not
 * told, nor are calls that fail, but for realloc. A signal handler may
 * interrupt these functions and call malloc: it then calls them again.
 */
struct hak_call_ops {
    /* made - the program is about to get `block`. align_bytes: above 16 for
     * HAK_CALL_ALIGNED, else 0. */
    void (*made)(void **word, enum hak_call_kind kind, const void *block,
                 size_t size_bytes, size_t align_bytes);
    /* freeing - the program gives `block` back, which may be NULL. It is still
     * live. */
    void (*freeing)(void **word, const void *block);
    /* resizing - a call of realloc begins, of a live block and to a size above
     * 0. Others are told as malloc or free. */
    void (*resizing)(void **word, const void *block);
    /* resized - it ends. block: what it returns; NULL: it failed. */
    void (*resized)(void **word, const void *block, size_t size_bytes);
    /* lost - a call cannot be told, since its thread has no structure. */
    void (*lost)(void);
};

/* The memory that a slot shares with others, host->page. */
struct hak_page_now {
    uintptr_t start;
    size_t size_bytes;
    size_t slot_bytes;
    uint64_t nlive; /* slots of the page that are out, about */
};

/*
 * Changes of the running process. Each function returns 0 or more, or -errno
 * with the reason in why, as the end of a message; why may be NULL. One change
 * runs at a time; others wait for it.
 */
struct hak_changes {
    /* route - as hak_route. */
    int (*route)(const char *range, const char *route, char *why, size_t n);
    /* drain - as hak_drain: 0 = it is draining, 1 = it is closed. */
    int (*drain)(const char *box, char *why, size_t n);
    /* load - open a box file, check it, start the box and try it. No size is
     * routed to it yet. */
    int (*load)(const struct hak_load *what, char *why, size_t n);
    /* swap - put box `to` wherever box `from` is in a chain, and let `from`
     * drain. `to` may be a box that was drained before. On success why gets a
     * note if `to` does not serve all sizes, else "". */
    int (*swap)(const char *from, const char *to, char *why, size_t n);
    /* back - undo the swap or drain of a box that is still draining or is
     * closed. */
    int (*back)(const char *box, char *why, size_t n);
    /* set - give a key that hak_key.settable says may change a new value. */
    int (*set)(const char *section, const char *key, const char *value,
               char *why, size_t n);
    /* trim - as hak_trim. */
    size_t (*trim)(void);
    /* bytes - parse a size as an INI has it, "512k". Returns 0; -EINVAL: it is
     * none; -ERANGE. */
    int (*bytes)(const char *text, uint64_t *out);
    /* module - open module NAME, which the INI did not ask for. */
    int (*module)(const char *name, char *why, size_t n);
    /* each_key - call each(context, key) for every effective key. */
    void (*each_key)(void (*each)(void *context, const struct hak_key *key),
                     void *context);
};

/*
 * The functions that the core offers to a module. Any thread may call them,
 * unless tagged [at start]. None of them calls malloc.
 */
struct hak_module_host {
    uint32_t version; /* HAK_MODULE_VERSION */
    uint32_t index;   /* of the module, 0 .. HAK_MODULES_MOST - 1 */
    /* The resolved configuration. changes->set may change values in it. */
    const struct hak_conf *conf;

    /* ---- memory ---- */

    /* meta - zeroed memory, 64-byte aligned, never given back; NULL = no
     * memory. */
    void *(*meta)(size_t size_bytes);
    /* sealed - as meta, but read-only once the process has started.
     * [at start] */
    void *(*sealed)(size_t size_bytes);

    /*
     * trim_window, trim_boxes - give back what the window keeps; what boxes
     * keep and then what the window keeps. trim below gives back more than
     * both.
     * Returns  the bytes that went back to the system meanwhile
     * Note     some boxes give back only to a thread with a heap: call age
     *          before trim_boxes
     */
    size_t (*trim_window)(void);
    size_t (*trim_boxes)(void);
    /* limit_purge_delay - while it lasts, memory is purged after most_ms if
     * [core] purge_delay_ms is more, whatever that becomes meanwhile.
     * UINT64_MAX: no limit any more. May be called in run. */
    void (*limit_purge_delay)(uint64_t most_ms);

    /* ---- when the module is called ---- */

    /*
     * want - ask for one call of entry->slow_path, from the next malloc that
     * takes its slow path. page_retired may call want.
     * Cost  one atomic instruction
     */
    void (*want)(const struct hak_module_host *host);

    /* extension - the table of a module that is open, by its id
     * "hak.NAME/1"; NULL = there is none. */
    const void *(*extension)(const char *id);

    /* ---- samples ---- */

    /* receive_frees - let frees arrive that are on their way to the threads
     * that own the slots. Those that a thread still gathers stay under way. */
    void (*receive_frees)(void);

    /*
     * sample_bytes - sample one allocation in every_bytes bytes from now on
     * (a Poisson process over the bytes that are allocated); 0: none any more.
     * One module may sample. ops: valid for ever; asked about frees from now
     * on, even when sampling has ended.
     * cost_percent  the most time that samples may take, in percent of a
     *               thread's time: it then samples less often, and nblocks of
     *               its samples says so. 0: no limit
     * Returns  0; -EBUSY: another module samples; -ENOTSUP: fused library
     */
    int (*sample_bytes)(const struct hak_sample_ops *ops, uint64_t every_bytes,
                        uint32_t cost_percent);
    /* page - the page of the slot at `place`, as in struct hak_sample. Returns
     * 0; -ENOENT: no page is known, as of a block of its own or of libc. */
    int (*page)(const void *place, struct hak_page_now *out);

    /*
     * watch_calls - tell ops of each call of the malloc family from now on;
     * ops NULL: of none any more. One module may watch. ops: valid for ever;
     * calls that are under way when it ends may still be told.
     * Returns  0; -EBUSY: another module watches; -ENOTSUP: fused library;
     *          -ENOMEM
     * Cost     a few system calls, and a store for each lane of each thread.
     *          While it lasts, each call costs some 10 ns more
     */
    int (*watch_calls)(const struct hak_module_host *host,
                       const struct hak_call_ops *ops);

    /* ---- threads ---- */

    /*
     * slot - the calling thread's pointer for this module.
     * Returns  where the pointer is, NULL at first. It stays with the thread's
     *          structure, which a later thread takes over. NULL = the thread
     *          has no structure, since it has not attached.
     */
    void **(*slot)(const struct hak_module_host *host);
    /* each_slot - call each(context, word) with this module's pointer of every
     * thread structure. Other threads may run, and write what their pointers
     * lead to. */
    void (*each_slot)(const struct hak_module_host *host,
                      void (*each)(void *context, void *word), void *context);
    /* age - age the memory of all threads and boxes, as their slow paths do.
     * It calls no module's slow_path. */
    void (*age)(void);

    /* ---- routes ---- */

    /*
     * set_route - route the size indexes first to last by a route of the INI,
     * as hak_route does.
     * Returns  0; -EINVAL, -ENOENT, -ENOMEM as hak_route; -ENOTSUP: routes are
     *          fixed
     */
    int (*set_route)(uint32_t first, uint32_t last, const char *route);
    /* reset_route - give size indexes the routes of the INI back. Returns as
     * set_route. */
    int (*reset_route)(uint32_t first, uint32_t last);
    /* route_of - the name of the present route of a size index; a static
     * string. */
    const char *(*route_of)(uint32_t index);
    /* leads_to_box - does the route of that name lead to a box at present? */
    bool (*leads_to_box)(const char *route);

    /* call_of - the nth [call NAME] of a box; see hak_conf_call in
     * conf/conf.h. */
    const char *(*call_of)(const char *box, uint32_t n, const char **text,
                           bool *poll);

    /* changes - functions that change the running process. */
    const struct hak_changes *changes;

    /* box - figures of the nth box, in the order of the owns() walk. Returns 0;
     * -ENOENT: there are no more; -ENOSYS: no boxes; -EAGAIN: a fork is under
     * way. */
    int (*box)(uint32_t n, struct hak_box_now *out);
    /* classes - figures by size class of the nth box; hakmem/box.h says what
     * they mean. Returns how many, 0 if the box does not tell; or -errno as
     * box. Cost: may be a walk over all pages of the box. */
    int (*classes)(uint32_t n, struct hak_class out[HAK_CLASSES_ROOM]);
    /* space - figures of the window and of the core. Returns 0; -ENOSYS and
     * -EAGAIN as box. Cost: a lock for a moment, a walk over the threads. */
    int (*space)(struct hak_space_now *out);
    /* resident - the bytes of the window that are in memory, by mincore(2); or
     * -E2BIG: there is too much reserved address space. Cost: some ms for each
     * GiB, without a lock. */
    int64_t (*resident)(void);
    /* report - write the report of hak_report into out, with a 0 behind it.
     * Returns its length, which is less than out_bytes; -ENOSPC: it is longer;
     * -ENOSYS and -EAGAIN as hak_report. */
    int64_t (*report)(char *out, size_t out_bytes, bool json);

    /* write_report - write the report to where [stats] at_exit goes; to stderr
     * if that is none. */
    void (*write_report)(void);
};

/* The part of a report that a module writes, by calls of add(report, ...). */
struct hak_text;
struct hak_report_part {
    bool json; /* true: write JSON that begins with a comma and a key */
    void (*add)(struct hak_text *report, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
    struct hak_text *report;
};

/* The entry of a module. HAK_MODULE_HEADER fills in the first three members;
 * the others may be NULL. */
struct hak_module_entry {
    uint32_t version;         /* HAK_MODULE_VERSION */
    const char *core_version; /* HAK_VERSION */
    const char *name;         /* of its file, without .so */
    const char *needs;        /* a module that is opened before it */

    /*
     * start - set the module up. Called in the library's constructor, while the
     * process has one thread.
     * host     valid for ever
     * Returns  0; -errno: the module is left out
     */
    int (*start)(const struct hak_module_host *host);

    /* extension - the table for an id "hak.NAME/1", for boxes and the core;
     * NULL = the module does not have it. Called at any time after start. */
    const void *(*extension)(const char *id);

    /* run - the boxes are loaded and the process is about to run on them. Also
     * called in the child of a fork, while the forking thread still holds the
     * core's locks. */
    void (*run)(void);

    /* stop - the process exits. Called in the library's destructor, after the
     * program's exit handlers, while other threads may still run. */
    void (*stop)(void);

    /* slow_path - called after host->want. The calling thread is attached,
     * holds no lock, and is inside of malloc before it enters a box. Must keep
     * errno. */
    void (*slow_path)(void);

    /* thread_ended - the thread of a structure has ended, and a later thread
     * may take it over. word: the structure's pointer for this module. Called
     * by any thread, with a lock held that other threads need to start and to
     * end; in a child of a fork also for threads of the parent that had ended.
     */
    void (*thread_ended)(void **word);

    /* page_retired - a box has called host->retired (box.h), perhaps under a
     * lock of its own. */
    void (*page_retired)(const struct hak_retire *record);

    /* event - a change was made, by the calling thread. It may be in malloc,
     * or hold the lock of changes, so the call must not allocate, must not call
     * the host, and must not wait for long. */
    void (*event)(const struct hak_event *event);

    /* fork - take or release every lock of the module, as op fork of a box. */
    void (*fork)(enum hak_fork_phase phase);

    /* report - add lines to the report of hak_report and [stats] at_exit. */
    void (*report)(const struct hak_report_part *to);
};

/* Extension "hak.learner/1", which the module learner offers. read is
 * hak_learner of hakmem.h. */
#define HAK_LEARNER_1 "hak.learner/1"
struct hak_learner_figures;
struct hak_learner_1 {
    int (*read)(struct hak_learner_figures *out);
};

/*
 * Extension "hak.heap_profile/1", which the module heap_profile offers, for
 * module control. Each function returns 0, or -errno with the reason in why.
 */
#define HAK_HEAP_PROFILE_1 "hak.heap_profile/1"
struct hak_heap_profile_1 {
    /* start - begin to sample; every_bytes 0: as the INI says. */
    int (*start)(uint64_t every_bytes, char *why, size_t n);
    /* stop - sample no more; what is recorded stays until it is freed. */
    int (*stop)(char *why, size_t n);
    /* dump - write the profile to `file`; NULL: where the INI says. On success
     * why gets the file's name. Its suffix is the format, as for the key
     * `file` of [heap_profile]. */
    int (*dump)(const char *file, char *why, size_t n);
    /* state - add what is going on, as members of a JSON object. */
    void (*state)(const struct hak_report_part *to);
};

/*
 * Extension "hak.record/1", which the module record offers, for module control.
 * start and stop return 0, or -errno with the reason in why.
 */
#define HAK_RECORD_1 "hak.record/1"
struct hak_record_1 {
    /* start - record into the memory of hakctl record at path (ring.h). */
    int (*start)(const char *path, char *why, size_t n);
    /* stop - record no more, and let the writer end. */
    int (*stop)(char *why, size_t n);
    /* state - add what is going on, as members of a JSON object. */
    void (*state)(const struct hak_report_part *to);
};

/* The symbol of an entry: HAK_MODULE_ENTRY(learner) is
 * hak_module_entry_learner. */
#define HAK_MODULE_PREFIX "hak_module_entry_"
#define HAK_MODULE_ENTRY(name) hak_module_entry_##name
#define HAK_MODULE_EXPORT __attribute__((visibility("default")))

/* HAK_MODULE(learner) = {HAK_MODULE_HEADER("learner"), ...}; is the entry. */
#define HAK_MODULE(name)                                                     \
    HAK_MODULE_EXPORT extern const struct hak_module_entry HAK_MODULE_ENTRY( \
        name);                                                               \
    const struct hak_module_entry HAK_MODULE_ENTRY(name)
#define HAK_MODULE_HEADER(name_text)                            \
    .version = HAK_MODULE_VERSION, .core_version = HAK_VERSION, \
    .name = (name_text)

#endif

/* SPDX-License-Identifier: MIT
 * foreign.h - what the files of the box share.
 *
 *     foreign.c   the box: parameters, operations
 *     bind.c      the library; texts of the INI -> ops that can be called
 *     adapter.c   calls of the usual shapes without libffi
 *     counters.c  calls polled for the report
 *     hooks.c     functions that the library calls to get its memory
 */
#ifndef HAKMEM_FOREIGN_BOX_H
#define HAKMEM_FOREIGN_BOX_H

#include <kit/sync.h>
#include <hakmem/foreign.h>

#include <errno.h>

/* The calls that a box makes, in the order of its parameters. */
enum op_kind {
    OP_ALLOC,
    OP_FREE,
    OP_USABLE,
    OP_ALIGNED,
    OP_REALLOC,
    OP_ZALLOC,
    OP_SLOT,
    OP_OWNS,
    OPS,
};

enum {
    LIST_CALLS = 8, /* most calls of each of init, exit, trim */
    COUNTERS = 32,  /* most polled calls; a report shows no more */
    HOOKS = 16,     /* most words of the key hooks */
};

typedef uint64_t word; /* an argument or result in a register */

/*
 * One call of the library.
 *
 * run    calls it, by the adapter for its shape or through libffi. v and w are
 *        the values of its roles; *out gets what the library stored in its
 *        `out ptr`
 * v, w   positions of the roles among the parameters
 * out    position of the `out ptr`, when has_out is set
 */
struct op {
    struct hak_bound bound;
    word (*run)(const struct op *op, word v, word w, void **out);
    word (*unlocked)(const struct op *op, word v, word w, void **out);
    struct hak_lock *lock; /* lock = yes: run takes it, then calls unlocked */
    const struct hak_foreign_host_1 *host; /* has the call through libffi */
    const char *text;                      /* the call as in the INI */
    uint8_t v, w, out;
    bool has_out;
    bool given;
    bool by_ffi;
};

struct counter {
    const char *name;
    struct hak_bound bound;
};

enum owner { OWNER_SYMBOL, OWNER_REGION, OWNER_RESIDUAL };

enum hook_kind { HOOK_TAKE, HOOK_GIVE, HOOK_PURGE, HOOK_KINDS };

/* The granules of the region, for hooks.c. The arrays stay writable after init.
 */
struct room {
    uint64_t *used;  /* a bit a granule: taken by the library */
    uint64_t *stale; /* a bit a granule: was taken before, may not be zero */
    uint32_t *run;   /* at a taking's first granule: its length; elsewhere 0 */
};

/*
 * State of an instance. Written in init only, so it needs no lock.
 *
 * hooks    the table that the library is handed: function pointers or NULL
 * hook     the calls of take, give and purge; symbol "" = not given
 */
struct foreign {
    struct hak_box *box;
    const struct hak_foreign_host_1 *host;
    struct op op[OPS];
    enum owner owner;
    char *region; /* OWNER_REGION: init gives it to the library */
    size_t region_bytes;
    size_t region_align;
    void *hooks[HOOKS];
    bool has_hooks;
    struct hak_call hook[HOOK_KINDS];
    struct room room;
    struct hak_bound *exit_call, *trim_call; /* arrays of nexit, ntrim calls */
    uint32_t nexit, ntrim;
    struct hak_kept kept;             /* values that init's calls kept */
    struct counter counter[COUNTERS]; /* [call NAME] with poll = yes */
    uint32_t ncounters;
    void *library;
    struct hak_box_ops ops;
    struct hak_foreign_box_1 table;
    struct hak_lock *lock; /* held over each call of the library, or NULL */
};

/*
 * Take the lock for a call of the library. The library may itself call malloc,
 * which comes here again in the thread that holds the lock already; then
 * nothing is taken. Returns whether the lock was taken. lock: NULL = the
 * library needs none.
 */
static inline bool enter_library(struct hak_lock *lock)
{
    bool takes = lock != NULL && !hak_lock_is_mine(lock);
    if (takes)
        hak_lock_take(lock);
    return takes;
}

static inline void leave_library(struct hak_lock *lock, bool taken)
{
    if (taken)
        hak_lock_drop(lock);
}

/* Logs the reason; its value is -EINVAL. */
#define REFUSE(f, ...) \
    ((f)->box->host->log((f)->box, HAK_LOG_ERROR, __VA_ARGS__), -EINVAL)

/* Memory for tables of functions and calls, read-only after init if the core
 * seals such memory; or NULL. */
static inline void *table_memory(struct hak_box *box,
                                 const struct hak_foreign_host_1 *host,
                                 size_t size_bytes)
{
    return host->sealed != NULL ? host->sealed(size_bytes)
                                : box->host->meta(box, size_bytes);
}

/* ---- adapter.c ----------------------------------------------------------- */

/*
 * The compiled adapter for calls of this shape, or NULL. A shape has a letter
 * for each parameter: v and w are the roles, k a constant, o an `out ptr`. All
 * of them are passed in integer registers.
 */
word (*adapter_of(const char *shape))(const struct op *, word, word, void **);
/* The value that an adapter returned, as a number of the result's type. */
word narrowed(const struct op *op, word value);
/* An adapter for calls of any shape, through libffi. */
word adapter_ffi(const struct op *op, word v, word w, void **out);

/* Calls op->unlocked with op->lock held. */
word adapter_locked(const struct op *op, word v, word w, void **out);

/* ---- counters.c ---------------------------------------------------------- */

/* Bind the polled calls of the INI. 0, or -errno and the reason is logged. */
int counters_init(struct foreign *f);
uint32_t counters_read(struct hak_box *box, struct hak_counter *out,
                       uint32_t most);

/* ---- hooks.c ------------------------------------------------------------- */

/*
 * Make functions that the library can call from the keys take, give and purge,
 * and fill f->hooks as the key hooks says.
 * texts    values of take, give, purge; NULL = not given
 * table    value of hooks; "" = not given
 * Returns  0, or -errno and the reason is logged
 */
int hooks_init(struct foreign *f, const char *const texts[HOOK_KINDS],
               const char *table);

/* ---- bind.c -------------------------------------------------------------- */

/* Open the library that `path` names. NULL: the reason is in why. */
void *open_named(struct foreign *f, const char *path, char *why,
                 size_t why_bytes);

/* Bind the text of one operation. 0, or -errno and the reason is logged. */
int bind_op(struct foreign *f, enum op_kind kind, const char *key,
            const char *text);

/*
 * Bind a list of calls, which have no roles but those of the region and hooks.
 * text     NULL = an empty list
 * *list    becomes an array of *n bound calls
 * Returns  0, or -errno and the reason is logged
 */
int bind_list(struct foreign *f, const char *key, const char *text,
              struct hak_bound **list, uint32_t *n);

/*
 * Put the kept values that a call's parameters name into cell, the call's own
 * cells or a copy. Returns 0, or -EINVAL when no value of a name was kept; that
 * is logged.
 */
int settle(struct foreign *f, const char *key, const struct hak_call *call,
           union hak_scalar *cell);

/* Make the calls of init in turn, and keep the values that they name. Returns
 * 0, or -errno, logged, at the first call whose result fails its test. */
int run_init(struct foreign *f, const struct hak_bound *list, uint32_t n);

/* Make the calls of a list in turn. Returns 0, or -EIO, logged, at the first
 * call whose result fails its test. */
int run_list(struct foreign *f, const char *key, const struct hak_bound *list,
             uint32_t n);

#endif

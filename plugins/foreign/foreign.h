/* SPDX-License-Identifier: MIT
 * foreign.h - what the files of the box share.
 *
 *     foreign.c   the box: parameters, operations
 *     bind.c      the library; texts of the INI -> ops that can be called
 *     adapter.c   calls of the usual shapes without libffi
 *     counters.c  calls polled for the report
 *     hooks.c     functions that the library takes its memory by
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
    LIST_CALLS = 8, /* most in init, exit, trim */
    COUNTERS = 32,  /* as many as a report shows */
    HOOKS = 16,     /* most words of hooks */
};

typedef uint64_t word; /* an argument or result in a register */

/*
 * One call of the library.
 *
 * run    the adapter of its shape, or through libffi. v and w are the values
 *        of its roles; *out gets what an `out ptr` was filled with
 * v, w   places of the roles among the parameters; out: of `out ptr`
 */
struct op {
    struct hak_bound bound;
    word (*run)(const struct op *op, word v, word w, void **out);
    word (*unlocked)(const struct op *op, word v, word w, void **out);
    struct hak_lock *lock; /* lock = yes: run takes it, then calls unlocked */
    const struct hak_foreign_host_1 *host; /* for libffi */
    const char *text;                      /* of the INI */
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

/* The region by granules, in memory that stays writable: hooks.c. */
struct room {
    uint64_t *used;  /* a bit each: taken */
    uint64_t *stale; /* a bit each: was taken before, so it may not be zero */
    uint32_t *run;   /* of the first of what was taken: how many */
};

/*
 * State of an instance. Written in init alone, so it needs no lock of its own.
 *
 * hooks    what the library is handed: HOOKS pointers to functions, or NULL
 * hook     the calls that those of ours describe; symbol "" = not given
 */
struct foreign {
    struct hak_box *box;
    const struct hak_foreign_host_1 *host;
    struct op op[OPS];
    enum owner owner;
    char *region; /* OWNER_REGION: given to the library by init */
    size_t region_bytes;
    size_t region_align;
    void *hooks[HOOKS];
    bool has_hooks;
    struct hak_call hook[HOOK_KINDS];
    struct room room;
    struct hak_bound *exit_call, *trim_call; /* lists */
    uint32_t nexit, ntrim;
    struct hak_kept kept;             /* by the calls of init */
    struct counter counter[COUNTERS]; /* [call NAME] with poll = yes */
    uint32_t ncounters;
    void *library;
    struct hak_box_ops ops;
    struct hak_foreign_box_1 table;
    struct hak_lock *lock; /* around each call of the library, or NULL */
};

/*
 * Around a call of the library. A call that it makes itself, back to a function
 * that leads here again, is of the thread that has the lock. Returns whether it
 * was taken; lock: NULL = the library needs none.
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

/* Logs the reason and is -EINVAL. */
#define REFUSE(f, ...) \
    ((f)->box->host->log((f)->box, HAK_LOG_ERROR, __VA_ARGS__), -EINVAL)

/* Memory for what is called later, or NULL. */
static inline void *table_memory(struct hak_box *box,
                                 const struct hak_foreign_host_1 *host,
                                 size_t size_bytes)
{
    return host->sealed != NULL ? host->sealed(size_bytes)
                                : box->host->meta(box, size_bytes);
}

/* ---- adapter.c ----------------------------------------------------------- */

/*
 * The adapter for a call of this shape: a letter a parameter, v and w the
 * roles, k a constant, o an `out ptr`, all in integer registers. NULL: none.
 */
word (*adapter_of(const char *shape))(const struct op *, word, word, void **);
/* What such an adapter gave, as a number of the result's type. */
word narrowed(const struct op *op, word value);
/* The same as an adapter for any shape, by the prepared cif. */
word adapter_ffi(const struct op *op, word v, word w, void **out);

/* Any of them, alone in the library. */
word adapter_locked(const struct op *op, word v, word w, void **out);

/* ---- counters.c ---------------------------------------------------------- */

/* Bind the polled calls of the INI. 0, or -errno and the reason is logged. */
int counters_init(struct foreign *f);
uint32_t counters_read(struct hak_box *box, struct hak_counter *out,
                       uint32_t most);

/* ---- hooks.c ------------------------------------------------------------- */

/*
 * Make the functions of take, give and purge, and the table of them.
 * texts    of the three, NULL = not given
 * table    the words of hooks, NULL = none
 * Returns  0, or -errno and the reason is logged
 */
int hooks_init(struct foreign *f, const char *const texts[HOOK_KINDS],
               const char *table);

/* ---- bind.c -------------------------------------------------------------- */

/* The library of `path`, or NULL with the reason in why. */
void *open_named(struct foreign *f, const char *path, char *why,
                 size_t why_bytes);

/* Bind the text of one operation. 0, or -errno and the reason is logged. */
int bind_op(struct foreign *f, enum op_kind kind, const char *key,
            const char *text);

/*
 * Bind a list of calls without roles (but those of the region).
 * *list    becomes *n bound calls of metadata memory
 * Returns  0 or -errno, logged. text NULL: an empty list
 */
int bind_list(struct foreign *f, const char *key, const char *text,
              struct hak_bound **list, uint32_t *n);

/*
 * The kept values that a call's parameters name, put into cells (which are
 * its own, or a copy). 0, or -EINVAL: nothing of that name was kept, logged.
 */
int settle(struct foreign *f, const char *key, const struct hak_call *call,
           union hak_scalar *cell);

/* Call init's in turn and keep what they say; -errno, logged, at the first
 * whose result fails its test. */
int run_init(struct foreign *f, const struct hak_bound *list, uint32_t n);

/* Call them in turn; -EIO, logged, at the first whose result fails its test. */
int run_list(struct foreign *f, const char *key, const struct hak_bound *list,
             uint32_t n);

#endif

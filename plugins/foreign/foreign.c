/* SPDX-License-Identifier: MIT
 * foreign.c - the box `foreign`: another allocator's library, as an INI
 * describes it.
 *
 * Its operations are calls of the library. The entry's table names every
 * operation. In its place the core uses a table of those that the INI gave
 * (fill_tables).
 */
#include "foreign.h"

#include <kit/base.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum param {
    PARAM_PATH,
    PARAM_ALLOC,
    PARAM_FREE,
    PARAM_USABLE,
    PARAM_ALIGNED,
    PARAM_REALLOC,
    PARAM_ZALLOC,
    PARAM_SLOT,
    PARAM_OWNS,
    PARAM_REGION,
    PARAM_HOOKS,
    PARAM_TAKE,
    PARAM_GIVE,
    PARAM_PURGE,
    PARAM_INIT,
    PARAM_EXIT,
    PARAM_TRIM,
    PARAM_LOCK,
};

#define MOST_REGION ((int64_t)1 << 40)

static const struct hak_param params[] = {
    [PARAM_PATH] = {"path", HAK_PARAM_TEXT, .def_text = "",
                    .help = "the library: a file, or a name as in "
                            "libjemalloc.so.2; of names with | between, the "
                            "first that there is"},
    [PARAM_ALLOC] = {"alloc", HAK_PARAM_CALL,
                     .help = "memory for size bytes: malloc(size) -> ptr"},
    [PARAM_FREE] = {"free", HAK_PARAM_CALL, .help = "gives it back: free(ptr)"},
    [PARAM_USABLE] = {"usable", HAK_PARAM_CALL,
                      .help = "bytes that may be used: usable(ptr) -> size; "
                              "without it a header keeps them"},
    [PARAM_ALIGNED] = {"aligned", HAK_PARAM_CALL,
                       .help = "aligned memory: memalign(align, size) -> ptr"},
    [PARAM_REALLOC] = {"realloc", HAK_PARAM_CALL,
                       .help = "another size: realloc(ptr, size) -> ptr"},
    [PARAM_ZALLOC] = {"zalloc", HAK_PARAM_CALL,
                      .help = "zeroed memory: calloc(size:1, size) -> ptr"},
    [PARAM_SLOT] = {"slot", HAK_PARAM_CALL,
                    .help = "bytes that a request would get: good(size) -> "
                            "size"},
    [PARAM_OWNS] = {"owns", HAK_PARAM_TEXT, .def_text = "",
                    .help = "whose is a pointer: residual (all that nobody "
                            "else's is), region, or owns(ptr) -> bool, which "
                            "must take any pointer"},
    [PARAM_REGION] = {"region", HAK_PARAM_SIZE, .min = 1 << 20,
                      .max = MOST_REGION, .def = 1 << 30,
                      .help = "with owns = region: bytes that init hands over "
                              "as region, region_size"},
    [PARAM_HOOKS] = {"hooks", HAK_PARAM_TEXT, .def_text = "",
                     .help = "with owns = region: functions that init hands "
                             "over as hooks, each of take give purge none zero "
                             "one"},
    [PARAM_TAKE] = {"take", HAK_PARAM_CALL,
                    .help = "how the library takes memory: take(size, align) "
                            "-> ptr"},
    [PARAM_GIVE] = {"give", HAK_PARAM_CALL,
                    .help = "how it gives that back: give(ptr, size) -> i32 "
                            "== 0"},
    [PARAM_PURGE] = {"purge", HAK_PARAM_CALL,
                     .help = "how it says what it needs not keep: purge(ptr, "
                             "size) -> i32 == 0"},
    [PARAM_INIT] = {"init", HAK_PARAM_CALL,
                    .help = "calls before the first alloc, a comma between"},
    [PARAM_EXIT] = {"exit", HAK_PARAM_CALL,
                    .help = "calls once the box is closed"},
    [PARAM_TRIM] = {"trim", HAK_PARAM_CALL,
                    .help = "calls that give free memory back"},
    [PARAM_LOCK] = {"lock", HAK_PARAM_BOOL, .max = 1,
                    .help = "one call at a time, for a library that is not "
                            "thread-safe"},
};

/* The parameter of each operation. bind_owner() handles OP_OWNS, whose value
 * may be a word instead of a call. */
static const uint8_t param_of[OPS] = {
    [OP_ALLOC] = PARAM_ALLOC,     [OP_FREE] = PARAM_FREE,
    [OP_USABLE] = PARAM_USABLE,   [OP_ALIGNED] = PARAM_ALIGNED,
    [OP_REALLOC] = PARAM_REALLOC, [OP_ZALLOC] = PARAM_ZALLOC,
    [OP_SLOT] = PARAM_SLOT,       [OP_OWNS] = PARAM_OWNS,
};

static struct foreign *foreign_of(const struct hak_box *box)
{
    return box->state;
}

/* ---- operations ---------------------------------------------------------- */

/*
 * Slots of a box are 16-byte aligned. Allocators align a slot as its size class
 * is, and some have classes that are odd multiples of 8, so the size is rounded
 * up.
 */
static word rounded(size_t size_bytes)
{
    return hak_round_up(size_bytes, HAK_ALIGN_BYTES);
}

static bool in_region(const struct foreign *f, const void *p)
{
    return (uintptr_t)p - (uintptr_t)f->region < f->region_bytes;
}

static inline void drop(const struct foreign *f, void *p)
{
    const struct op *op = &f->op[OP_FREE];
    op->run(op, (word)(uintptr_t)p, 0, NULL); /* it has no `out ptr` */
}

/* The block that a call returned: in its `out ptr`, if its result passes the
 * test, or else as its result. */
static inline void *given(const struct op *op, word result, void *out)
{
    if (!op->has_out)
        return (void *)(uintptr_t)result;
    union hak_scalar value = {.u = narrowed(op, result)};
    return op->host->passed(&op->bound.call, value) ? out : NULL;
}

/* With owns = region, a block outside the region goes back: owns() would not
 * recognise it. */
static inline void *inside(const struct foreign *f, void *p)
{
    if (likely(f->owner != OWNER_REGION) || p == NULL || in_region(f, p))
        return p;
    drop(f, p);
    return NULL;
}

static inline void *take(const struct foreign *f, enum op_kind kind, word v,
                         word w)
{
    const struct op *op = &f->op[kind];
    void *out = NULL;
    word result = op->run(op, v, w, &out);
    return inside(f, given(op, result, out));
}

static void *alloc(struct hak_box *box, size_t size_bytes)
{
    return take(foreign_of(box), OP_ALLOC, rounded(size_bytes), 0);
}

static void *zalloc(struct hak_box *box, size_t size_bytes)
{
    return take(foreign_of(box), OP_ZALLOC, rounded(size_bytes), 0);
}

/* The short form, when the block is the call's result and may lie anywhere. */
static void *alloc_plain(struct hak_box *box, size_t size_bytes)
{
    const struct op *op = &foreign_of(box)->op[OP_ALLOC];
    return (void *)(uintptr_t)op->run(op, rounded(size_bytes), 0, NULL);
}

static void *zalloc_plain(struct hak_box *box, size_t size_bytes)
{
    const struct op *op = &foreign_of(box)->op[OP_ZALLOC];
    return (void *)(uintptr_t)op->run(op, rounded(size_bytes), 0, NULL);
}

static bool is_plain(const struct foreign *f, enum op_kind kind)
{
    return !f->op[kind].has_out && f->owner != OWNER_REGION;
}

/*
 * mimalloc 2.0.9 assumes that a block whose size is a power of two is aligned
 * to that size, which is not so in all of its pages. A second try asks for half
 * an alignment more, which is no power of two.
 */
static void *aligned_alloc_slot(struct hak_box *box, size_t align_bytes,
                                size_t size_bytes)
{
    const struct foreign *f = foreign_of(box);
    word size = rounded(size_bytes);
    for (int more = 0; more < 2; more++, size += align_bytes / 2) {
        void *p = take(f, OP_ALIGNED, align_bytes, size);
        if (likely(p == NULL || ((uintptr_t)p & (align_bytes - 1)) == 0))
            return p;
        drop(f, p);
    }
    return NULL;
}

static void free_slot(struct hak_box *box, void *p)
{
    drop(foreign_of(box), p);
}

/* Not offered with owns = region (fill_tables), where the library might move
 * the block out of the region. */
static void *resize(struct hak_box *box, void *p, size_t size_bytes)
{
    const struct foreign *f = foreign_of(box);
    const struct op *op = &f->op[OP_REALLOC];
    void *out = NULL;
    word result = op->run(op, (word)(uintptr_t)p, rounded(size_bytes), &out);
    return given(op, result, out);
}

static size_t usable_size(struct hak_box *box, const void *p)
{
    const struct op *op = &foreign_of(box)->op[OP_USABLE];
    return narrowed(op, op->run(op, (word)(uintptr_t)p, 0, NULL));
}

static size_t slot_size(struct hak_box *box, size_t size_bytes)
{
    const struct op *op = &foreign_of(box)->op[OP_SLOT];
    return narrowed(op, op->run(op, rounded(size_bytes), 0, NULL));
}

static bool owns(struct hak_box *box, const void *p)
{
    const struct foreign *f = foreign_of(box);
    const struct op *op = &f->op[OP_OWNS];
    union hak_scalar result;
    if (f->owner == OWNER_REGION)
        return in_region(f, p);
    if (f->owner == OWNER_RESIDUAL)
        return false;
    result.u = narrowed(op, op->run(op, (word)(uintptr_t)p, 0, NULL));
    return op->bound.call.test == HAK_TEST_NONE
               ? result.u != 0
               : op->host->passed(&op->bound.call, result);
}

static size_t trim(struct hak_box *box)
{
    struct foreign *f = foreign_of(box);
    run_list(f, "trim", f->trim_call, f->ntrim);
    return 0; /* the library does not say how much */
}

static void state_changed(struct hak_box *box)
{
    struct foreign *f = foreign_of(box);
    if (box->state_now == HAK_BOX_CLOSED)
        run_list(f, "exit", f->exit_call, f->nexit);
}

static void at_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    hak_lock_fork(foreign_of(box)->lock, phase);
}

/* ---- what the core and reports ask for ----------------------------------- */

static bool describe(struct hak_box *box, uint32_t i, char *text,
                     size_t text_bytes)
{
    const struct foreign *f = foreign_of(box);
    for (uint32_t k = 0; k < OPS; k++) {
        const struct op *op = &f->op[k];
        if (!op->given || i-- > 0)
            continue;
        snprintf(text, text_bytes, "%s by %s: %s", params[param_of[k]].name,
                 op->by_ffi ? "libffi" : "adapter", op->text);
        return true;
    }
    return false;
}

static const void *get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_counters_1 counters = {
        .struct_bytes = sizeof counters,
        .read = counters_read,
    };
    const struct foreign *f = foreign_of(box);
    if (f == NULL)
        return NULL;
    if (strcmp(id, HAK_COUNTERS_1) == 0)
        return &counters;
    return strcmp(id, HAK_FOREIGN_1) == 0 ? &f->table : NULL;
}

/* ---- setting up ---------------------------------------------------------- */

static const char *text_of(const struct foreign *f, enum param i)
{
    return f->box->params[i].text;
}

static int open_library(struct foreign *f)
{
    char why[200] = "";
    const char *path = text_of(f, PARAM_PATH);
    if (path[0] == 0)
        return REFUSE(f, "no path = LIBRARY, as in path = libjemalloc.so.2");
    if (text_of(f, PARAM_ALLOC) == NULL || text_of(f, PARAM_FREE) == NULL ||
        text_of(f, PARAM_OWNS)[0] == 0)
        return REFUSE(f, "needs alloc =, free = and owns =, as in alloc = "
                         "malloc(size) -> ptr, free = free(ptr), owns = "
                         "residual");
    f->library = open_named(f, path, why, sizeof why);
    return f->library != NULL ? 0 : REFUSE(f, "%s", why);
}

/* Map the region. It is aligned to the largest power of two that is not longer
 * than it, up to 1 GiB, so that the library's segments find their alignment. */
static int take_region(struct foreign *f)
{
    const char *const texts[HOOK_KINDS] = {
        [HOOK_TAKE] = text_of(f, PARAM_TAKE),
        [HOOK_GIVE] = text_of(f, PARAM_GIVE),
        [HOOK_PURGE] = text_of(f, PARAM_PURGE),
    };
    size_t bytes = (size_t)f->box->params[PARAM_REGION].i;
    size_t align = HAK_GRANULE_BYTES;
    bytes = hak_round_up(bytes, HAK_GRANULE_BYTES);
    while (align * 2 <= bytes && align < (size_t)1 << 30)
        align *= 2;
    f->region = f->box->host->map(f->box, bytes, align, HAK_MAP_ZERO);
    if (f->region == NULL)
        return REFUSE(f, "no address space for region = %zu", bytes);
    f->region_bytes = bytes;
    f->region_align = align;
    return hooks_init(f, texts, text_of(f, PARAM_HOOKS));
}

static int bind_owner(struct foreign *f)
{
    const char *text = text_of(f, PARAM_OWNS);
    if (strcmp(text, "region") == 0) {
        f->owner = OWNER_REGION;
        if (text_of(f, PARAM_INIT) == NULL)
            return REFUSE(f, "owns = region needs an init = that hands the "
                             "region over, as in manage(region, region_size)");
        return take_region(f);
    }
    if (text_of(f, PARAM_HOOKS)[0] != 0 || text_of(f, PARAM_TAKE) != NULL)
        return REFUSE(f, "hooks give out memory of the region: set owns = "
                         "region");
    if (strcmp(text, "residual") == 0) {
        f->owner = OWNER_RESIDUAL;
        return 0;
    }
    if (strchr(text, '(') == NULL)
        return REFUSE(f,
                      "owns = %s: it is residual, region or a call, as in "
                      "owns(ptr) -> bool",
                      text);
    f->owner = OWNER_SYMBOL;
    return bind_op(f, OP_OWNS, "owns", text);
}

static int settle_list(struct foreign *f, const char *key,
                       struct hak_bound *list, uint32_t n)
{
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < n; i++)
        error = settle(f, key, &list[i].call, list[i].cell);
    return error;
}

/* Fill the values that init kept into the calls that name them. */
static int settle_all(struct foreign *f)
{
    int error = settle_list(f, "trim", f->trim_call, f->ntrim);
    if (error == 0)
        error = settle_list(f, "exit", f->exit_call, f->nexit);
    for (uint32_t k = 0; error == 0 && k < OPS; k++)
        error = settle_list(f, params[param_of[k]].name, &f->op[k].bound,
                            f->op[k].given);
    for (uint32_t i = 0; error == 0 && i < f->ncounters; i++)
        error = settle_list(f, f->counter[i].name, &f->counter[i].bound, 1);
    return error;
}

/* With owns = region, a library that takes its memory from elsewhere would
 * decline every request. */
static int try_region(struct foreign *f)
{
    enum { TRIED_BYTES = 64 };
    void *p = take(f, OP_ALLOC, TRIED_BYTES, 0);
    if (p == NULL)
        return REFUSE(f, "owns = region: alloc gave no block of the region; "
                         "either init does not hand it over, or another box "
                         "has this library");
    drop(f, p);
    return 0;
}

static int bind_all(struct foreign *f)
{
    struct hak_bound *list = NULL;
    uint32_t n = 0;
    int error = bind_owner(f);
    for (uint32_t k = 0; error == 0 && k < OPS; k++)
        if (k != OP_OWNS)
            error = bind_op(f, k, params[param_of[k]].name,
                            text_of(f, param_of[k]));
    if (error == 0)
        error = bind_list(f, "trim", text_of(f, PARAM_TRIM), &f->trim_call,
                          &f->ntrim);
    if (error == 0)
        error = bind_list(f, "exit", text_of(f, PARAM_EXIT), &f->exit_call,
                          &f->nexit);
    if (error == 0)
        error = bind_list(f, "init", text_of(f, PARAM_INIT), &list, &n);
    if (error == 0)
        error = counters_init(f);
    if (error == 0)
        error = run_init(f, list, n);
    if (error == 0)
        error = settle_all(f);
    return error == 0 && f->owner == OWNER_REGION ? try_region(f) : error;
}

static void fill_tables(struct foreign *f)
{
    f->ops = (struct hak_box_ops){
        .alloc = is_plain(f, OP_ALLOC) ? alloc_plain : alloc,
        .free = free_slot,
        .owns = owns,
        .usable_size = f->op[OP_USABLE].given ? usable_size : NULL,
        .slot_size = f->op[OP_SLOT].given ? slot_size : NULL,
        .aligned_alloc = f->op[OP_ALIGNED].given ? aligned_alloc_slot : NULL,
        .zalloc = !f->op[OP_ZALLOC].given  ? NULL
                  : is_plain(f, OP_ZALLOC) ? zalloc_plain
                                           : zalloc,
        .resize =
            f->op[OP_REALLOC].given && f->owner != OWNER_REGION ? resize : NULL,
        .trim = f->ntrim != 0 ? trim : NULL,
        .fork = f->lock != NULL ? at_fork : NULL,
        .state_changed = state_changed,
        .get_extension = get_extension,
    };
    f->table = (struct hak_foreign_box_1){
        .struct_bytes = sizeof f->table,
        .ops = &f->ops,
        .residual = f->owner == OWNER_RESIDUAL,
        .describe = describe,
        .library = f->library,
        .inside = f->owner == OWNER_REGION,
        .kept = &f->kept,
        .slow = f->op[OP_ALLOC].by_ffi || f->op[OP_FREE].by_ffi,
    };
}

static int init(struct hak_box *box)
{
    const struct hak_foreign_host_1 *host =
        box->host->get_extension(HAK_FOREIGN_1);
    if (host == NULL || host->struct_bytes < sizeof *host) {
        box->host->log(box, HAK_LOG_ERROR,
                       "this core cannot call other libraries: it lacks the "
                       "extension " HAK_FOREIGN_1 ", or has an older one");
        return -EINVAL;
    }
    struct foreign *f = table_memory(box, host, sizeof *f);
    if (f == NULL) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for its tables");
        return -ENOMEM;
    }
    f->box = box;
    f->host = host;
    if (box->params[PARAM_LOCK].i != 0 &&
        (f->lock = box->host->meta(box, sizeof *f->lock)) == NULL)
        return -ENOMEM;
    int error = open_library(f);
    if (error == 0)
        error = bind_all(f);
    if (error != 0)
        return error;
    fill_tables(f);
    box->state = f;
    return 0;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("foreign", "1.0"),
    .summary = "another allocator's library, as the INI describes it",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .ops =
        {
            .alloc = alloc,
            .free = free_slot,
            .owns = owns,
            .init = init,
            .usable_size = usable_size,
            .slot_size = slot_size,
            .aligned_alloc = aligned_alloc_slot,
            .zalloc = zalloc,
            .resize = resize,
            .fork = at_fork,
            .trim = trim,
            .state_changed = state_changed,
            .get_extension = get_extension,
        },
};

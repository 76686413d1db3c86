/* SPDX-License-Identifier: MIT
 * bind.c - opens the library that an INI names, binds the INI's calls to it,
 * and reports why a call cannot be bound.
 */
#include "foreign.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { WHY_BYTES = 200 };

/* The roles of each operation, and the result that it must have. */
static const struct {
    uint8_t v, w; /* roles; w = HAK_ROLE_NONE: v is the only one */
    bool gives_ptr, gives_number;
    const char *example;
} kinds[OPS] = {
    [OP_ALLOC] = {HAK_ROLE_SIZE, 0, true, false, "malloc(size) -> ptr"},
    [OP_FREE] = {HAK_ROLE_PTR, 0, false, false, "free(ptr)"},
    [OP_USABLE] = {HAK_ROLE_PTR, 0, false, true,
                   "malloc_usable_size(ptr) -> size"},
    [OP_ALIGNED] = {HAK_ROLE_ALIGN, HAK_ROLE_SIZE, true, false,
                    "memalign(align, size) -> ptr"},
    [OP_REALLOC] = {HAK_ROLE_PTR, HAK_ROLE_SIZE, true, false,
                    "realloc(ptr, size) -> ptr"},
    [OP_ZALLOC] = {HAK_ROLE_SIZE, 0, true, false,
                   "calloc(size:1, size) -> ptr"},
    [OP_SLOT] = {HAK_ROLE_SIZE, 0, false, true, "good_size(size) -> size"},
    [OP_OWNS] = {HAK_ROLE_PTR, 0, false, true, "owns(ptr) -> bool"},
};

/* ---- the library --------------------------------------------------------- */

/* Does `why` say that the library `name` was not found? The loader may also
 * miss a library that `name` depends on. */
static bool is_absent(const char *name, const char *why)
{
    const char *told = strstr(why, name);
    return told != NULL &&
           strncmp(told + strlen(name), ": cannot open", 13) == 0;
}

/* Names with | between are what systems call one library; with a slash, path is
 * one file. The first name that exists is taken, even if it cannot be loaded.
 */
void *open_named(struct foreign *f, const char *path, char *why,
                 size_t why_bytes)
{
    const char *rest = path;
    if (strchr(path, '/') != NULL || strchr(path, '|') == NULL)
        return f->host->open(path, why, why_bytes);
    while (*(rest += strspn(rest, " |")) != 0) {
        char name[WHY_BYTES]; /* longer than a line of the INI */
        int n = (int)strcspn(rest, " |");
        snprintf(name, sizeof name, "%.*s", n, rest);
        void *library = f->host->open(name, why, why_bytes);
        if (library != NULL || !is_absent(name, why))
            return library;
        rest += n;
    }
    snprintf(why, why_bytes, "cannot be loaded: there is no %s", path);
    return NULL;
}

/* ---- operations ---------------------------------------------------------- */

static bool is_number(uint32_t type)
{
    return type >= HAK_TYPE_BOOL && type <= HAK_TYPE_SIZE;
}

/* The letter of parameter i in the shape (adapter_of); 0: it has no value.
 * Notes the position of roles and of the `out ptr` in op. No adapter takes an
 * 'x'. */
static char letter(struct op *op, enum op_kind kind, uint32_t i)
{
    const struct hak_call_param *p = &op->bound.call.param[i];
    if (p->role == HAK_ROLE_HOOKS)
        return 0;
    if (p->from == HAK_FROM_OUT && p->type == HAK_TYPE_PTR && !op->has_out &&
        kinds[kind].gives_ptr) {
        op->has_out = true;
        op->out = (uint8_t)i;
        return 'o';
    }
    if (p->from == HAK_FROM_OUT)
        return 'x'; /* an out cell that nobody reads: through libffi */
    if (p->from != HAK_FROM_CALLER)
        return p->type == HAK_TYPE_F64 ? 'x' : 'k';
    if (p->role == kinds[kind].v) {
        op->v = (uint8_t)i;
        return 'v';
    }
    if (p->role != 0 && p->role == kinds[kind].w) {
        op->w = (uint8_t)i;
        return 'w';
    }
    return 0;
}

static uint32_t count(const char *shape, char what)
{
    uint32_t n = 0;
    for (; *shape != 0; shape++)
        n += *shape == what;
    return n;
}

/* Check that each role of the operation occurs once and that every other
 * parameter has a value. Fills the shape. */
static int check_roles(struct foreign *f, struct op *op, enum op_kind kind,
                       const char *key, char shape[HAK_CALL_PARAMS + 1])
{
    const struct hak_call *call = &op->bound.call;
    for (uint32_t i = 0; i < call->nparams; i++) {
        shape[i] = letter(op, kind, i);
        if (shape[i] != 0)
            continue;
        const char *type = f->host->type_name(call->param[i].type);
        return REFUSE(f,
                      "%s = %s: parameter %u has no value here; give it one, "
                      "as in %s:0, or begin with %s = %s",
                      key, op->text, i + 1, type, key, kinds[kind].example);
    }
    shape[call->nparams] = 0;
    if (count(shape, 'v') == 1 && count(shape, 'w') == (kinds[kind].w != 0))
        return 0;
    return REFUSE(f, "%s = %s: each of its roles is needed once, as in %s = %s",
                  key, op->text, key, kinds[kind].example);
}

static int check_result(struct foreign *f, struct op *op, enum op_kind kind,
                        const char *key)
{
    struct hak_call *call = &op->bound.call;
    bool ptr = op->has_out || call->result == HAK_TYPE_PTR;
    if ((kinds[kind].gives_ptr && !ptr) ||
        (kinds[kind].gives_number && !is_number(call->result)))
        return REFUSE(f, "%s = %s: it gives no %s, as in %s = %s", key,
                      op->text, kinds[kind].gives_ptr ? "ptr" : "number", key,
                      kinds[kind].example);
    /* Like posix_memalign: the result is an error number, 0 = success. A bool
     * result is true on success. */
    if (op->has_out && call->test == HAK_TEST_NONE && is_number(call->result)) {
        call->test =
            call->result == HAK_TYPE_BOOL ? HAK_TEST_NOT_EQUAL : HAK_TEST_EQUAL;
        call->test_value.u = 0;
    }
    return 0;
}

int bind_op(struct foreign *f, enum op_kind kind, const char *key,
            const char *text)
{
    struct op *op = &f->op[kind];
    struct hak_call call;
    char why[WHY_BYTES], shape[HAK_CALL_PARAMS + 1] = "";
    const char *rest = text;
    if (text == NULL)
        return 0;
    if (f->host->parse(&rest, &call, why, sizeof why) != 0)
        return REFUSE(f, "%s: %s", key, why);
    if (*rest != 0)
        return REFUSE(f, "%s = %s: one call is enough", key, text);
    int error = f->host->bind(f->library, &call, &op->bound, why, sizeof why);
    if (error != 0)
        return REFUSE(f, "%s = %s: %s", key, text, why);
    op->text = text;
    op->host = f->host;
    error = check_roles(f, op, kind, key, shape);
    if (error == 0)
        error = check_result(f, op, kind, key);
    if (error != 0)
        return error;
    if (count(shape, 'w') == 0)
        op->w = op->v;
    op->run = NULL;
    if (!call.variadic && call.result != HAK_TYPE_F64)
        op->run = adapter_of(shape);
    op->by_ffi = op->run == NULL;
    if (op->by_ffi)
        op->run = adapter_ffi;
    op->lock = kind == OP_OWNS ? NULL : f->lock; /* owns() may not wait */
    op->unlocked = op->run;
    if (op->lock != NULL)
        op->run = adapter_locked;
    op->given = true;
    return 0;
}

/* ---- lists --------------------------------------------------------------- */

/* Fill in the parameters of a list's call that no constant gives: the region
 * and the hooks. Any other one is an error. */
static int fill_region(struct foreign *f, struct hak_bound *b, const char *key)
{
    for (uint32_t i = 0; i < b->call.nparams; i++) {
        const struct hak_call_param *p = &b->call.param[i];
        if (p->role == HAK_ROLE_HOOKS && f->has_hooks) {
            b->cell[i].p = f->hooks; /* an `out hooks` cell holds it too */
            continue;
        }
        if (p->from != HAK_FROM_CALLER && p->role != HAK_ROLE_HOOKS)
            continue;
        if (p->role == HAK_ROLE_REGION && f->region != NULL)
            b->cell[i].p = f->region;
        else if (p->role == HAK_ROLE_REGION_SIZE && f->region != NULL)
            b->cell[i].u = f->region_bytes;
        else
            return REFUSE(
                f,
                "%s: parameter %u of %s has no value here; give it "
                "one, as in %s:0%s",
                key, i + 1, b->call.symbol, f->host->type_name(p->type),
                p->role == HAK_ROLE_HOOKS    ? ", or set hooks = take ..."
                : p->role >= HAK_ROLE_REGION ? ", or set owns = region"
                                             : "");
    }
    return 0;
}

int bind_list(struct foreign *f, const char *key, const char *text,
              struct hak_bound **list, uint32_t *n)
{
    char why[WHY_BYTES];
    struct hak_call call;
    *n = 0;
    if (text == NULL)
        return 0;
    struct hak_bound *all =
        table_memory(f->box, f->host, LIST_CALLS * sizeof *all);
    if (all == NULL)
        return REFUSE(f, "no memory for %s", key);
    while (*text != 0) {
        if (*n == LIST_CALLS)
            return REFUSE(f, "%s: more than %d calls", key, LIST_CALLS);
        struct hak_bound *b = &all[*n];
        if (f->host->parse(&text, &call, why, sizeof why) != 0 ||
            f->host->bind(f->library, &call, b, why, sizeof why) != 0)
            return REFUSE(f, "%s: %s", key, why);
        int error = fill_region(f, b, key);
        if (error != 0)
            return error;
        ++*n;
    }
    *list = all;
    return 0;
}

/* Make one call. cell is a copy of the call's cells; afterwards its out cells
 * hold what the library stored, and *result the result. */
static int run_one(struct foreign *f, const char *key,
                   const struct hak_bound *bound, union hak_scalar *cell,
                   union hak_scalar *result)
{
    f->host->call(bound, cell, result);
    if (f->host->passed(&bound->call, *result))
        return 0;
    f->box->host->log(f->box, HAK_LOG_ERROR, "%s: %s failed: it returned %d",
                      key, bound->call.symbol, (int)result->i);
    return -EIO;
}

int run_list(struct foreign *f, const char *key, const struct hak_bound *list,
             uint32_t n)
{
    int error = 0;
    bool taken = enter_library(f->lock);
    for (uint32_t i = 0; error == 0 && i < n; i++) {
        union hak_scalar cell[HAK_CALL_PARAMS], result;
        memcpy(cell, list[i].cell, sizeof cell);
        error = run_one(f, key, &list[i], cell, &result);
    }
    leave_library(f->lock, taken);
    return error;
}

/* ---- kept values --------------------------------------------------------- */

int settle(struct foreign *f, const char *key, const struct hak_call *call,
           union hak_scalar *cell)
{
    char why[WHY_BYTES];
    return f->host->settle(call, &f->kept, cell, why, sizeof why) == 0
               ? 0
               : REFUSE(f, "%s: %s", key, why);
}

int run_init(struct foreign *f, const struct hak_bound *list, uint32_t n)
{
    char why[WHY_BYTES];
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < n; i++) {
        const struct hak_call *call = &list[i].call;
        union hak_scalar cell[HAK_CALL_PARAMS], result;
        memcpy(cell, list[i].cell, sizeof cell);
        error = settle(f, "init", call, cell);
        if (error == 0)
            error = run_one(f, "init", &list[i], cell, &result);
        if (error == 0 &&
            f->host->keep(call, cell, result, &f->kept, why, sizeof why) != 0)
            error = REFUSE(f, "init: %s", why);
    }
    return error;
}

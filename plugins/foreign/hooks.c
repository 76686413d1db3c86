/* SPDX-License-Identifier: MIT
 * hooks.c - functions of this box that the library calls to get its memory.
 *
 * The INI describes them in the language of calls, with the roles exchanged:
 * the library passes the arguments. For a constant it must pass that value, or
 * the request is refused. A parameter of a type without a role is ignored. At
 * an `out TYPE:VALUE` the function stores the value.
 *
 * The region is given out by granules. There is no lock, only a bit for each
 * granule, claimed by compare-and-swap: the library may call with locks held
 * that its fork handlers take as well, so a lock here could deadlock at a fork.
 */
#include "foreign.h"

#include <kit/base.h>
#include <string.h>

enum { WHY_BYTES = 200, WORD_BITS = 64 };

static const char *const names[HOOK_KINDS] = {"take", "give", "purge"};

/* ---- granules of the region ---------------------------------------------- */

/* The bits of [g, g + n) that are in the word of g. */
static uint64_t mask_of(size_t g, size_t n)
{
    size_t from = g % WORD_BITS, bits = hak_min(n, WORD_BITS - from);
    return (bits == WORD_BITS ? ~0ull : (1ull << bits % WORD_BITS) - 1) << from;
}

static size_t bits_here(size_t g, size_t n)
{
    return hak_min(n, WORD_BITS - g % WORD_BITS);
}

static void set_bits(uint64_t *bits, size_t g, size_t n, bool to)
{
    for (size_t step; n != 0; g += step, n -= step) {
        step = bits_here(g, n);
        if (to)
            __atomic_fetch_or(&bits[g / WORD_BITS], mask_of(g, n),
                              __ATOMIC_RELEASE);
        else
            __atomic_fetch_and(&bits[g / WORD_BITS], ~mask_of(g, n),
                               __ATOMIC_RELEASE);
    }
}

/* The first bit from `bit` on that is not set, or WORD_BITS. */
static size_t next_clear(uint64_t bits, size_t bit)
{
    uint64_t clear = ~bits >> bit << bit;
    return clear != 0 ? (size_t)__builtin_ctzll(clear) : WORD_BITS;
}

/* Claim all granules of [g, g + n). False: one is in use, none was claimed, and
 * *next is where to try next. */
static bool claim(uint64_t *used, size_t g, size_t n, size_t *next)
{
    size_t end = g + n, start = g;
    while (g < end) {
        uint64_t *at = &used[g / WORD_BITS], mask = mask_of(g, end - g);
        uint64_t now = __atomic_load_n(at, __ATOMIC_RELAXED);
        if (now & mask) {
            size_t first = (size_t)__builtin_ctzll(now & mask);
            set_bits(used, start, g - start, false);
            *next = g - g % WORD_BITS + next_clear(now, first);
            return false;
        }
        if (__atomic_compare_exchange_n(at, &now, now | mask, true,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            g += bits_here(g, end - g);
    }
    return true;
}

static void *take(const struct foreign *f, size_t size, size_t align)
{
    const struct room *room = &f->room;
    size_t most = f->region_bytes / HAK_GRANULE_BYTES;
    if (size == 0 || size > f->region_bytes || align > f->region_align ||
        (align & (align - 1)) != 0)
        return NULL;
    size_t n = hak_round_up(size, HAK_GRANULE_BYTES) / HAK_GRANULE_BYTES;
    size_t step = hak_max(align / HAK_GRANULE_BYTES, 1);
    for (size_t g = 0, next; g + n <= most; g = hak_round_up(next, step)) {
        if (!claim(room->used, g, n, &next))
            continue;
        char *p = f->region + g * HAK_GRANULE_BYTES;
        for (size_t i = g; i < g + n; i++)
            if (room->stale[i / WORD_BITS] & mask_of(i, 1))
                memset(p + (i - g) * HAK_GRANULE_BYTES, 0, HAK_GRANULE_BYTES);
        room->run[g] = (uint32_t)n;
        return p;
    }
    return NULL;
}

/* Take back a range. It must be exactly what one take() returned. */
static bool give(const struct foreign *f, char *p, size_t size)
{
    size_t at = (size_t)(p - f->region);
    if (at >= f->region_bytes || at % HAK_GRANULE_BYTES != 0)
        return false;
    size_t g = at / HAK_GRANULE_BYTES, n = f->room.run[g];
    if (n == 0 ||
        hak_round_up(size, HAK_GRANULE_BYTES) != n * HAK_GRANULE_BYTES)
        return false;
    f->box->host->purge(f->box, p, n * HAK_GRANULE_BYTES);
    f->room.run[g] = 0;
    set_bits(f->room.stale, g, n, true);
    set_bits(f->room.used, g, n, false);
    return true;
}

static bool purge(const struct foreign *f, char *p, size_t size)
{
    size_t page = f->box->host->os_page_bytes;
    size_t at = (size_t)(p - f->region);
    if (at >= f->region_bytes || size > f->region_bytes - at ||
        at % page != 0 || size % page != 0)
        return false;
    f->box->host->purge(f->box, p, size);
    return true;
}

/* ---- called by the library ----------------------------------------------- */

struct passed {
    char *ptr;
    size_t size, align;
};

/* Sort the arguments by their roles. False: an argument differs from the
 * constant that the INI has for it. */
static bool read_cells(const struct hak_call *call,
                       const union hak_scalar *cell, struct passed *out)
{
    *out = (struct passed){NULL, 0, 0};
    for (uint32_t i = 0; i < call->nparams; i++) {
        const struct hak_call_param *p = &call->param[i];
        if (p->from == HAK_FROM_CONSTANT && cell[i].u != p->value.u)
            return false;
        if (p->from == HAK_FROM_CALLER && p->role == HAK_ROLE_PTR)
            out->ptr = (char *)(uintptr_t)cell[i].p;
        else if (p->from == HAK_FROM_CALLER && p->role == HAK_ROLE_SIZE)
            out->size = cell[i].u;
        else if (p->from == HAK_FROM_CALLER && p->role == HAK_ROLE_ALIGN)
            out->align = cell[i].u;
    }
    return true;
}

/* Store the value of an `out` parameter, in as many bytes as its type has. */
static void store(const struct hak_call_param *p, void *to)
{
    if (p->type == HAK_TYPE_BOOL)
        memcpy(to, &p->value, sizeof(bool));
    else if (p->type == HAK_TYPE_I32 || p->type == HAK_TYPE_U32)
        memcpy(to, &p->value, sizeof(uint32_t));
    else
        memcpy(to, &p->value, sizeof p->value);
}

static void store_outs(const struct hak_call *call,
                       const union hak_scalar *cell)
{
    for (uint32_t i = 0; i < call->nparams; i++)
        if (call->param[i].from == HAK_FROM_OUT)
            store(&call->param[i], (void *)(uintptr_t)cell[i].p);
}

/* Set a result that passes the call's test when `done` is set, and fails it
 * when not. */
static void answer(const struct hak_call *call, bool done,
                   union hak_scalar *result)
{
    result->u = done ? call->test_value.u : call->test_value.u == 0;
}

static void take_called(void *context, const union hak_scalar *cell,
                        union hak_scalar *result)
{
    const struct foreign *f = context;
    struct passed passed;
    if (!read_cells(&f->hook[HOOK_TAKE], cell, &passed))
        return;
    result->p = take(f, passed.size, passed.align);
    if (result->p != NULL)
        store_outs(&f->hook[HOOK_TAKE], cell);
}

static void give_called(void *context, const union hak_scalar *cell,
                        union hak_scalar *result)
{
    const struct foreign *f = context;
    const struct hak_call *call = &f->hook[HOOK_GIVE];
    struct passed passed;
    answer(call,
           read_cells(call, cell, &passed) && give(f, passed.ptr, passed.size),
           result);
}

static void purge_called(void *context, const union hak_scalar *cell,
                         union hak_scalar *result)
{
    const struct foreign *f = context;
    const struct hak_call *call = &f->hook[HOOK_PURGE];
    struct passed passed;
    answer(call,
           read_cells(call, cell, &passed) && purge(f, passed.ptr, passed.size),
           result);
}

/* The words zero and one of the key hooks: functions that the library must have
 * but that need do nothing. They may be called with any arguments, since the
 * caller removes what it pushed. */
static uint64_t give_zero(void)
{
    return 0;
}

static uint64_t give_one(void)
{
    return 1;
}

/* ---- setting up ---------------------------------------------------------- */

static const struct {
    hak_closure_fn *run;
    bool gives_ptr;
    const char *example;
} kinds[HOOK_KINDS] = {
    [HOOK_TAKE] = {take_called, true, "take(size, align) -> ptr"},
    [HOOK_GIVE] = {give_called, false, "give(ptr, size) -> i32 == 0"},
    [HOOK_PURGE] = {purge_called, false, "purge(ptr, size) -> i32 == 0"},
};

/* Does the role occur at least `least` and at most `most` times, with a value
 * that the library passes? */
static bool has_role(const struct hak_call *call, uint32_t role, uint32_t least,
                     uint32_t most)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < call->nparams; i++)
        n += call->param[i].from == HAK_FROM_CALLER &&
             call->param[i].role == role;
    return n >= least && n <= most;
}

static int check_params(struct foreign *f, enum hook_kind kind)
{
    const struct hak_call *call = &f->hook[kind];
    for (uint32_t i = 0; i < call->nparams; i++) {
        const struct hak_call_param *p = &call->param[i];
        bool constant =
            p->from == HAK_FROM_CONSTANT && p->type != HAK_TYPE_CSTR;
        if (p->from != HAK_FROM_CALLER && p->from != HAK_FROM_OUT && !constant)
            return REFUSE(f, "%s: parameter %u cannot be compared with that",
                          names[kind], i + 1);
    }
    uint32_t ptrs = kind == HOOK_TAKE ? 0 : 1;
    if (has_role(call, HAK_ROLE_SIZE, 1, 1) &&
        has_role(call, HAK_ROLE_PTR, ptrs, ptrs) &&
        has_role(call, HAK_ROLE_ALIGN, 0, 1 - ptrs) &&
        has_role(call, HAK_ROLE_REGION, 0, 0) &&
        has_role(call, HAK_ROLE_REGION_SIZE, 0, 0) &&
        has_role(call, HAK_ROLE_HOOKS, 0, 0))
        return 0;
    return REFUSE(f,
                  "%s: each of its roles is needed once, as in %s = %s; a "
                  "pointer or size that says nothing to us is u64",
                  names[kind], names[kind], kinds[kind].example);
}

static int check_result(struct foreign *f, enum hook_kind kind)
{
    const struct hak_call *call = &f->hook[kind];
    bool number =
        call->result == HAK_TYPE_VOID ||
        (call->result >= HAK_TYPE_BOOL && call->result <= HAK_TYPE_SIZE &&
         call->test == HAK_TEST_EQUAL);
    bool ptr = call->result == HAK_TYPE_PTR && call->test == HAK_TEST_NONE;
    if (kinds[kind].gives_ptr ? ptr : number)
        return 0;
    return REFUSE(f, "%s: what it gives is as in %s = %s", names[kind],
                  names[kind], kinds[kind].example);
}

static int read_hook(struct foreign *f, enum hook_kind kind, const char *text)
{
    char why[WHY_BYTES];
    struct hak_call *call = &f->hook[kind];
    if (f->host->parse(&text, call, why, sizeof why) != 0)
        return REFUSE(f, "%s: %s", names[kind], why);
    if (*text != 0)
        return REFUSE(f, "%s: one call is enough", names[kind]);
    int error = check_params(f, kind);
    return error == 0 ? check_result(f, kind) : error;
}

/* Find the function that a word of the key hooks stands for: *out. */
static int find_hook(struct foreign *f, const char *name,
                     void *const made[HOOK_KINDS], void **out)
{
    *out = strcmp(name, "zero") == 0  ? (void *)(uintptr_t)give_zero
           : strcmp(name, "one") == 0 ? (void *)(uintptr_t)give_one
                                      : NULL;
    if (*out != NULL || strcmp(name, "none") == 0)
        return 0;
    for (uint32_t k = 0; k < HOOK_KINDS; k++) {
        if (strcmp(name, names[k]) != 0)
            continue;
        *out = made[k];
        return made[k] != NULL
                   ? 0
                   : REFUSE(f, "hooks: %s, and there is no %s =, as in %s = %s",
                            name, name, name, kinds[k].example);
    }
    return REFUSE(f, "hooks: \"%s\" is none of take give purge none zero one",
                  name);
}

static int fill_table(struct foreign *f, const char *text,
                      void *const made[HOOK_KINDS])
{
    char name[16];
    uint32_t n = 0;
    for (text += strspn(text, " \t"); *text != 0; text += strspn(text, " \t")) {
        size_t length = strcspn(text, " \t");
        size_t kept = hak_min(length, sizeof name - 1);
        memcpy(name, text, kept);
        name[kept] = 0;
        if (n == HOOKS)
            return REFUSE(f, "hooks: more than %d", HOOKS);
        int error = find_hook(f, name, made, &f->hooks[n++]);
        if (error != 0)
            return error;
        text += length;
    }
    return 0;
}

static int make_room(struct foreign *f)
{
    size_t n = f->region_bytes / HAK_GRANULE_BYTES;
    size_t bytes = hak_round_up(n, WORD_BITS) / 8;
    f->room.used = f->box->host->meta(f->box, bytes);
    f->room.stale = f->box->host->meta(f->box, bytes);
    f->room.run = f->box->host->meta(f->box, n * sizeof *f->room.run);
    return f->room.used != NULL && f->room.stale != NULL && f->room.run != NULL
               ? 0
               : REFUSE(f, "no memory for its tables");
}

int hooks_init(struct foreign *f, const char *const texts[HOOK_KINDS],
               const char *table)
{
    char why[WHY_BYTES];
    void *made[HOOK_KINDS] = {NULL};
    int error = 0;
    if (table[0] == 0 && texts[HOOK_TAKE] == NULL)
        return 0;
    if (table[0] == 0 || texts[HOOK_TAKE] == NULL)
        return REFUSE(f, "hooks and take go together, as in hooks = take none "
                         "and take = take(size, align) -> ptr");
    for (uint32_t k = 0; error == 0 && k < HOOK_KINDS; k++) {
        if (texts[k] == NULL)
            continue;
        error = read_hook(f, k, texts[k]);
        if (error != 0)
            return error;
        made[k] =
            f->host->closure(&f->hook[k], kinds[k].run, f, why, sizeof why);
        if (made[k] == NULL)
            return REFUSE(f, "%s: %s", names[k], why);
    }
    error = fill_table(f, table, made);
    f->has_hooks = error == 0;
    return error == 0 ? make_room(f) : error;
}

/* SPDX-License-Identifier: MIT
 * check_entry.c - the entry, parameters, init.
 */
#include <ctype.h>

#include "check.h"

/* ---- the entry --------------------------------------------------------- */

static bool is_name(const char *name)
{
    if (!name || !*name)
        return false;
    for (; *name; name++)
        if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) &&
            *name != '_')
            return false;
    return true;
}

int64_t ck_nchoices(const char *choices)
{
    int64_t n = 1;
    for (; *choices; choices++)
        n += *choices == '|';
    return n;
}

static void check_param(const struct hak_param *p)
{
    EXPECT(is_name(p->name));
    EXPECT_LE(p->type, HAK_PARAM_CALL);
    EXPECT_EQ(p->flags & ~HAK_PARAM_MUTABLE, 0);
    EXPECT(p->help && *p->help && !isupper((unsigned char)*p->help));
    if (p->type == HAK_PARAM_CALL)
        return; /* NULL: not given */
    if (p->type == HAK_PARAM_TEXT) {
        EXPECT(p->def_text != NULL);
        return;
    }
    int64_t min = p->min, max = p->max;
    if (p->type == HAK_PARAM_BOOL || p->type == HAK_PARAM_ENUM)
        min = 0;
    if (p->type == HAK_PARAM_BOOL)
        max = 1;
    if (p->type == HAK_PARAM_ENUM) {
        EXPECT(p->choices != NULL);
        max = ck_nchoices(p->choices) - 1;
    }
    if (p->def < min || p->def > max)
        test_fail(__FILE__, __LINE__, "default of %s is out of range", p->name);
}

/* As it is in the file, good or not. */
static const struct hak_box_entry *entry_of_file(void)
{
    const struct hak_box_entry *e = th_entry_of(ck.path);
    if (!e)
        test_fail(__FILE__, __LINE__, "%s", th_error());
    return e;
}

static void check_versions(const struct hak_box_entry *e)
{
    EXPECT_EQ(e->magic, HAK_BOX_MAGIC);
    EXPECT_EQ(e->abi_major, HAK_ABI_MAJOR);
    EXPECT_LE(e->host_minor_min, HAK_ABI_MINOR);
    EXPECT_LE(e->host_minor_min, e->abi_minor);
    if (!hak_abi_is_entry(e))
        test_fail(__FILE__, __LINE__,
                  "struct_size %u leaves no room for alloc, free and owns at "
                  "byte %zu",
                  e->struct_size, hak_abi_ops_at(e));
    if (e->struct_size > hak_abi_symbol_bytes(e))
        test_fail(__FILE__, __LINE__,
                  "struct_size %u is more than the symbol has: %zu",
                  e->struct_size, hak_abi_symbol_bytes(e));
    EXPECT_EQ(e->struct_size % sizeof(void *), 0);
    if (e->nparams)
        EXPECT(hak_abi_has_params(e));
}

PROPERTY_OF_ENTRY(entry_versions,
                  "the entry's magic, versions and sizes are this ABI's")
{
    const struct hak_box_entry *file = entry_of_file();
    struct hak_box_entry e;
    check_versions(file);
    hak_abi_entry(&e, file);
    EXPECT_EQ(e.granule_bytes, HAK_GRANULE_BYTES);
    if (e.ops.refill) {
        EXPECT_GE(e.span_bytes, HAK_ABI_SPAN_LEAST);
        EXPECT_EQ(e.lanes, HAK_LANES);
    }
}

/* As this header has it. */
static struct hak_box_entry read_entry(void)
{
    struct hak_box_entry e;
    const struct hak_box_entry *file = entry_of_file();
    check_versions(file);
    th_read_entry(file, &e);
    return e;
}

PROPERTY_OF_ENTRY(entry_operations,
                  "alloc, free, owns are there, and what goes with refill")
{
    struct hak_box_entry e = read_entry();
    EXPECT(e.ops.alloc != NULL);
    EXPECT(e.ops.free != NULL);
    EXPECT(e.ops.owns != NULL);
    for (uint32_t i = 0; i < e.nparams; i++)
        if (e.params[i].flags & HAK_PARAM_MUTABLE)
            EXPECT(e.ops.set_param != NULL);
    if (!e.ops.refill)
        return;
    EXPECT(e.ops.triggered != NULL);
    EXPECT(e.ops.remote_free != NULL);
    EXPECT(e.ops.heap_open != NULL);
    EXPECT(e.ops.usable_size != NULL);
}

PROPERTY_OF_ENTRY(entry_words,
                  "id, version, sizes and the table of parameters make sense")
{
    struct hak_box_entry e = read_entry();
    EXPECT(is_name(e.id));
    EXPECT(e.version && *e.version);
    EXPECT(!e.max_bytes || e.min_bytes <= e.max_bytes);
    for (uint32_t i = 0; i < e.nparams; i++) {
        check_param(&e.params[i]);
        for (uint32_t j = 0; j < i; j++)
            EXPECT(strcmp(e.params[i].name, e.params[j].name));
    }
}

PROPERTY_OF_ENTRY(init, "the box opens with the parameters given")
{
    int error = th_try_open(ck.path, "checked", ck.params, 0, &ck.box);
    if (error)
        test_fail(__FILE__, __LINE__, "%s", th_error());
}

/* In a child: the box as it is with one parameter at a bound. */
static void smoke(const char *assignment)
{
    const char *params[] = {assignment, NULL};
    int error = th_try_open(ck.path, "bounds", params, 0, &ck.box);
    if (error) {
        EXPECT_LT(error, 0);
        EXPECT(*th_last_log()); /* the value does not fit the others: why? */
        _exit(0);
    }
    for (int i = 0; i < 100; i++) {
        size_t size = 1 + (size_t)i * 9;
        void *p = ck_good(size) ? th_malloc(ck.box, size) : NULL;
        if (p)
            memset(p, i, size);
        th_free(p);
    }
    th_detach();
    th_reap();
    _exit(0);
}

PROPERTY_OF_ENTRY(parameters_at_bounds,
                  "the box opens and serves with each parameter at its bounds")
{
    char text[128];
    ck_begin(false);
    for (uint32_t i = 0; i < ck.entry->nparams * 2; i++) {
        const struct hak_param *p = &ck.entry->params[i / 2];
        if (p->type != HAK_PARAM_INT && p->type != HAK_PARAM_SIZE &&
            p->type != HAK_PARAM_MS)
            continue;
        snprintf(text, sizeof text, "%s=%lld", p->name,
                 (long long)(i & 1 ? p->max : p->min));
        pid_t pid = ck_fork();
        if (pid == 0)
            smoke(text);
        ck_wait(pid, text);
    }
    ck_end();
}

/* Where init fails for want of memory, it must have logged why. */
PROPERTY_OF_ENTRY(init_says_why_it_fails,
                  "init() that gets no memory logs it and returns -errno")
{
    struct hak_box *box;
    bool failed = false;
    for (uint64_t n = 1; n < HAK_MAX_BOXES; n++) {
        th_fail_at(n);
        int error = th_try_open(ck.path, "faulty", ck.params, 0, &box);
        th_fail_never();
        if (!error)
            break;
        failed = true;
        EXPECT_LT(error, 0);
        EXPECT_CONTAINS(th_last_log(), "faulty");
    }
    if (!failed)
        SKIP("init takes no memory");
}

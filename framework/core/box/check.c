/* SPDX-License-Identifier: MIT
 * check.c - checks the entry of a box file: version, layout and operations.
 */
#include <core/box/check.h>

#include <base/meta.h>
#include <base/why.h>
#include <core/box/abi.h>

#include <errno.h>

/* Check magic, version and sizes. They come first, because the layout of the
 * other members depends on them. */
static int check_version(const struct hak_box_entry *e, char *why, size_t n)
{
    if (e->magic != HAK_BOX_MAGIC)
        return hak_refuse(-EINVAL, why, n,
                          "does not begin its hak_box_entry with the magic "
                          "of a box; fill it with HAK_BOX_HEADER of "
                          "hakmem/box.h");
    if (e->abi_major != HAK_ABI_MAJOR)
        return hak_refuse(-EINVAL, why, n,
                          "is for box ABI %u, this core speaks %u; "
                          "rebuild it with this core's hakmem/box.h",
                          e->abi_major, HAK_ABI_MAJOR);
    if (e->host_minor_min > HAK_ABI_MINOR)
        return hak_refuse(-EINVAL, why, n,
                          "needs a core of box ABI %u.%u or later, this "
                          "one is %u.%u",
                          e->abi_major, e->host_minor_min, HAK_ABI_MAJOR,
                          HAK_ABI_MINOR);
    if (!hak_abi_is_entry(e))
        return hak_refuse(-EINVAL, why, n,
                          "says that its entry has %u bytes and operations "
                          "from byte %zu on, which leaves no room for "
                          "alloc, free and owns; begin its entry with "
                          "HAK_BOX_HEADER",
                          e->struct_size, hak_abi_ops_at(e));
    if (e->struct_size > hak_abi_symbol_bytes(e))
        return hak_refuse(
            -EINVAL, why, n,
            "says that its entry has %u bytes, but its symbol " HAK_BOX_SYMBOL
            " has %zu; begin its entry with "
            "HAK_BOX_HEADER",
            e->struct_size, hak_abi_symbol_bytes(e));
    return 0;
}

/* The missing part of an entry, for a message; NULL: none is missing. */
static const char *missing_word(const struct hak_box_entry *e)
{
    if (e->id == NULL || e->id[0] == 0)
        return "no id";
    if (e->version == NULL || e->version[0] == 0)
        return "no version";
    return e->nparams != 0 && e->params == NULL ? "no table of parameters"
                                                : NULL;
}

static int check_entry(const struct hak_box_entry *e, char *why, size_t n)
{
    enum { PARAMS_MOST = 256 };
    const char *missing = missing_word(e);
    if (missing != NULL)
        return hak_refuse(-EINVAL, why, n, "has %s in its entry", missing);
    if (e->nparams > PARAMS_MOST)
        return hak_refuse(-EINVAL, why, n, "has %u parameters, at most %d fit",
                          e->nparams, PARAMS_MOST);
    if (e->nparams != 0 && !hak_abi_has_params(e))
        return hak_refuse(-EINVAL, why, n,
                          "has parameters of %u bytes each, %zu are needed; "
                          "begin its entry with HAK_BOX_HEADER",
                          e->param_bytes, HAK_ABI_PARAM_LEAST);
    if (e->granule_bytes != HAK_GRANULE_BYTES)
        return hak_refuse(-EINVAL, why, n,
                          "was built for granules of %u bytes, this core has "
                          "%zu; rebuild it with this core's hakmem/box.h",
                          e->granule_bytes, HAK_GRANULE_BYTES);
    return 0;
}

static int check_required(const struct hak_box_ops *ops, char *why, size_t n)
{
    const char *missing = ops->alloc == NULL  ? "alloc"
                          : ops->free == NULL ? "free"
                          : ops->owns == NULL ? "owns"
                                              : NULL;
    if (missing != NULL)
        return hak_refuse(-EINVAL, why, n,
                          "gives no %s; a box has alloc, free and owns",
                          missing);
    return 0;
}

static int check_lanes(const struct hak_box_ops *ops, char *why, size_t n)
{
    if (ops->refill == NULL)
        return 0;
    if (ops->triggered == NULL || ops->remote_free == NULL ||
        ops->heap_open == NULL || ops->usable_size == NULL)
        return hak_refuse(-EINVAL, why, n,
                          "gives refill but not all of triggered, "
                          "remote_free, heap_open and usable_size, which "
                          "go with it");
    return 0;
}

static const struct hak_param *read_params(const struct hak_box_entry *theirs)
{
    struct hak_param *params = hak_meta(theirs->nparams * sizeof *params);
    for (uint32_t i = 0; params != NULL && i < theirs->nparams; i++)
        params[i] = hak_abi_param(theirs, i);
    return params;
}

int hak_entry_read(const struct hak_box_entry *theirs, struct hak_box_entry *e,
                   char *why, size_t n)
{
    int error = check_version(theirs, why, n);
    if (error != 0)
        return error;
    hak_abi_entry(e, theirs);
    error = check_entry(e, why, n);
    if (error == 0)
        error = check_required(&e->ops, why, n);
    if (error == 0)
        error = check_lanes(&e->ops, why, n);
    if (error != 0 || e->nparams == 0 || e->param_bytes == sizeof *e->params)
        return error;
    e->params = read_params(theirs);
    e->param_bytes = sizeof *e->params;
    return e->params != NULL ? 0 : hak_refuse(-ENOMEM, why, n, "no memory");
}

/* SPDX-License-Identifier: MIT
 * abi.h - reads structs of a box that was built for another minor version.
 *
 * hakmem/box.h says how each struct grows. These functions copy the members
 * that both sides know, and set the rest of the core's struct to zero. All
 * other code uses the copies, and needs no test of a struct's length.
 */
#ifndef HAK_ABI_H
#define HAK_ABI_H

#include <dlfcn.h>
#include <hakmem/foreign.h>
#include <link.h>
#include <string.h>

/* The offset of ops before minor 6, which added members in front of it. */
#define HAK_ABI_OPS_BEFORE_6 offsetof(struct hak_box_entry, ops_at)
/* Lengths of the oldest structs of this major version: operations, parameter,
 * retire record, and span with lanes. Longer ones are accepted. */
#define HAK_ABI_END(type, member) \
    (offsetof(struct type, member) + sizeof(((struct type *)NULL)->member))
#define HAK_ABI_OPS_LEAST HAK_ABI_END(hak_box_ops, owns)
#define HAK_ABI_PARAM_LEAST HAK_ABI_END(hak_param, def_text)
#define HAK_ABI_RETIRE_LEAST HAK_ABI_END(hak_retire, local_frees)
#define HAK_ABI_SPAN_LEAST HAK_ABI_END(hak_span, nremote)
enum { HAK_ABI_LANES_MINOR = 6 }; /* oldest minor of a box with lanes */

/* Fill all of out: copy the bytes that theirs has, then add zeros. */
static inline void hak_abi_read(void *out, size_t out_bytes, const void *theirs,
                                size_t their_bytes)
{
    size_t n = their_bytes < out_bytes ? their_bytes : out_bytes;
    memcpy(out, theirs, n);
    memset((char *)out + n, 0, out_bytes - n);
}

/* The offset of the operations in an entry with the right magic and major
 * version. */
static inline size_t hak_abi_ops_at(const struct hak_box_entry *theirs)
{
    return theirs->abi_minor < 6 ? HAK_ABI_OPS_BEFORE_6 : theirs->ops_at;
}

/* Are the sizes that the entry states possible? If not, it cannot be read. */
static inline bool hak_abi_is_entry(const struct hak_box_entry *theirs)
{
    size_t ops_at = theirs->struct_size < HAK_ABI_OPS_BEFORE_6 + sizeof(void *)
                        ? 0
                        : hak_abi_ops_at(theirs);
    return ops_at >= HAK_ABI_OPS_BEFORE_6 && ops_at % sizeof(void *) == 0 &&
           theirs->struct_size >= ops_at + HAK_ABI_OPS_LEAST;
}

/* The size of the exported entry as the symbol table of its file has it;
 * SIZE_MAX: unknown. An entry that states a larger size is wrong. */
static inline size_t hak_abi_symbol_bytes(const struct hak_box_entry *theirs)
{
    Dl_info info;
    void *found = NULL;
    if (dladdr1(theirs, &info, &found, RTLD_DL_SYMENT) == 0 || found == NULL)
        return SIZE_MAX;
    const ElfW(Sym) *symbol = found;
    return info.dli_saddr != theirs || symbol->st_size == 0 ? SIZE_MAX
                                                            : symbol->st_size;
}

/* Read an entry, for which hak_abi_is_entry is true. One from before minor 6
 * does not state granules, lanes and span size, so the core's are filled in. */
static inline void hak_abi_entry(struct hak_box_entry *out,
                                 const struct hak_box_entry *theirs)
{
    size_t ops_at = hak_abi_ops_at(theirs);
    hak_abi_read(out, offsetof(struct hak_box_entry, ops), theirs, ops_at);
    hak_abi_read(&out->ops, sizeof out->ops, (const char *)theirs + ops_at,
                 theirs->struct_size - ops_at);
    if (theirs->abi_minor >= 6)
        return;
    out->granule_bytes = HAK_GRANULE_BYTES;
    out->lanes = HAK_LANES;
    out->span_bytes = sizeof(struct hak_span);
}

/* Read parameter i of an entry, for which hak_abi_has_params is true. */
static inline struct hak_param hak_abi_param(const struct hak_box_entry *theirs,
                                             uint32_t i)
{
    struct hak_param out;
    hak_abi_read(&out, sizeof out,
                 (const char *)theirs->params + (size_t)i * theirs->param_bytes,
                 theirs->param_bytes);
    return out;
}

/* Can the entry's table of parameters be read? */
static inline bool hak_abi_has_params(const struct hak_box_entry *theirs)
{
    return theirs->params != NULL &&
           theirs->param_bytes >= HAK_ABI_PARAM_LEAST &&
           theirs->param_bytes % sizeof(void *) == 0;
}

/* Call the box's stats. A newer box may write a longer struct, so there is room
 * behind it. */
static inline struct hak_box_stats hak_abi_stats(struct hak_box *box)
{
    union {
        struct hak_box_stats known;
        char room[HAK_STATS_ROOM_BYTES];
    } all;
    memset(&all, 0, sizeof all);
    all.known.struct_bytes = sizeof all.known;
    box->ops->stats(box, &all.known);
    return all.known;
}

/*
 * Read the table of a foreign box (hakmem/foreign.h) and the operations in it,
 * which are as long as those of e, its entry.
 * Returns false: the box is not foreign. A box may return the same table for
 * every id, so the length of the table is checked too.
 */
static inline bool hak_abi_foreign(const struct hak_box_entry *e,
                                   struct hak_box *box,
                                   struct hak_foreign_box_1 *out,
                                   struct hak_box_ops *ops)
{
    enum { BYTES_MOST = 4096 };
    if (e->host_minor_min < 2 || e->ops.get_extension == NULL)
        return false;
    const struct hak_foreign_box_1 *theirs =
        e->ops.get_extension(box, HAK_FOREIGN_1);
    if (theirs == NULL || theirs->struct_bytes > BYTES_MOST ||
        theirs->struct_bytes < HAK_ABI_END(hak_foreign_box_1, library))
        return false;
    hak_abi_read(out, sizeof *out, theirs, theirs->struct_bytes);
    hak_abi_read(ops, sizeof *ops, theirs->ops,
                 e->struct_size - hak_abi_ops_at(e));
    return true;
}

/* Read a record of host->retired. False: it is too short. */
static inline bool hak_abi_retire(struct hak_retire *out,
                                  const struct hak_retire *theirs)
{
    if (theirs->struct_bytes < HAK_ABI_RETIRE_LEAST)
        return false;
    hak_abi_read(out, sizeof *out, theirs, theirs->struct_bytes);
    return true;
}

#endif

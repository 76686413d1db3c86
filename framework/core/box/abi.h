/* SPDX-License-Identifier: MIT
 * abi.h - structs of a box that was built for another minor version.
 *
 * hakmem/box.h says how each of them grows. Here is all that follows from it
 * for who reads them: what both sides know is copied, the rest of the reader's
 * struct is zero. Behind these functions nobody looks at how long a struct is.
 */
#ifndef HAK_ABI_H
#define HAK_ABI_H

#include <dlfcn.h>
#include <hakmem/foreign.h>
#include <link.h>
#include <string.h>

/* Where ops was before minor 6, which put these members in front of it. */
#define HAK_ABI_OPS_BEFORE_6 offsetof(struct hak_box_entry, ops_at)
/* As far as the least entry, parameter, record and span with lanes of this
 * major version go, whatever comes behind. */
#define HAK_ABI_END(type, member) \
    (offsetof(struct type, member) + sizeof(((struct type *)NULL)->member))
#define HAK_ABI_OPS_LEAST HAK_ABI_END(hak_box_ops, owns)
#define HAK_ABI_PARAM_LEAST HAK_ABI_END(hak_param, def_text)
#define HAK_ABI_RETIRE_LEAST HAK_ABI_END(hak_retire, local_frees)
#define HAK_ABI_SPAN_LEAST HAK_ABI_END(hak_span, nremote)
enum { HAK_ABI_LANES_MINOR = 6 }; /* least of a box with lanes */

/* All of out: their_bytes of theirs, as far as they go, then zero. */
static inline void hak_abi_read(void *out, size_t out_bytes, const void *theirs,
                                size_t their_bytes)
{
    size_t n = their_bytes < out_bytes ? their_bytes : out_bytes;
    memcpy(out, theirs, n);
    memset((char *)out + n, 0, out_bytes - n);
}

/* Where the operations of an entry are that has our magic and major version. */
static inline size_t hak_abi_ops_at(const struct hak_box_entry *theirs)
{
    return theirs->abi_minor < 6 ? HAK_ABI_OPS_BEFORE_6 : theirs->ops_at;
}

/* Can the entry be read at all? If not, nothing that it says of its sizes
 * holds. */
static inline bool hak_abi_is_entry(const struct hak_box_entry *theirs)
{
    size_t ops_at = theirs->struct_size < HAK_ABI_OPS_BEFORE_6 + sizeof(void *)
                        ? 0
                        : hak_abi_ops_at(theirs);
    return ops_at >= HAK_ABI_OPS_BEFORE_6 && ops_at % sizeof(void *) == 0 &&
           theirs->struct_size >= ops_at + HAK_ABI_OPS_LEAST;
}

/* Bytes of the variable that theirs, an exported one, is by its file's symbols;
 * SIZE_MAX: they do not tell. No entry is longer, whatever it says. */
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

/* An entry as this header has it; of what an older one does not state, our own
 * granules and lanes are taken. hak_abi_is_entry(theirs) holds. */
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

/* Parameter i of the entry, for which hak_abi_has_params holds. */
static inline struct hak_param hak_abi_param(const struct hak_box_entry *theirs,
                                             uint32_t i)
{
    struct hak_param out;
    hak_abi_read(&out, sizeof out,
                 (const char *)theirs->params + (size_t)i * theirs->param_bytes,
                 theirs->param_bytes);
    return out;
}

static inline bool hak_abi_has_params(const struct hak_box_entry *theirs)
{
    return theirs->params != NULL &&
           theirs->param_bytes >= HAK_ABI_PARAM_LEAST &&
           theirs->param_bytes % sizeof(void *) == 0;
}

/* Statistics of a box, which may take the struct for a longer one. */
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
 * The table of a box whose slots are another allocator's (hakmem/foreign.h),
 * and its operations, which are as long as those of e, its entry. False: it has
 * none. A box may answer with something for every id: that is not one.
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

/* A record of a run of slots; false: it is shorter than any that there was. */
static inline bool hak_abi_retire(struct hak_retire *out,
                                  const struct hak_retire *theirs)
{
    if (theirs->struct_bytes < HAK_ABI_RETIRE_LEAST)
        return false;
    hak_abi_read(out, sizeof *out, theirs, theirs->struct_bytes);
    return true;
}

#endif

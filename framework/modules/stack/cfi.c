/* SPDX-License-Identifier: MIT
 * cfi.c - module "stack": interprets call frame information.
 */
#include "cfi.h"

#include <stddef.h>
#include <string.h>

enum { RBP = 6, RSP = 7, RETURN = 16 }; /* DWARF's numbers of registers */

/* ---- reading ------------------------------------------------------------- */

/* A piece of .eh_frame that is being read. What lies behind the end reads as
 * zeros, and sets bad. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t read_fixed(struct reader *r, size_t n)
{
    uint64_t value = 0;
    if ((size_t)(r->end - r->at) < n) {
        r->bad = true;
        r->at = r->end;
        return 0;
    }
    memcpy(&value, r->at, n); /* little-endian, as x86-64 is */
    r->at += n;
    return value;
}

static uint64_t read_uleb(struct reader *r)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        uint64_t byte = read_fixed(r, 1);
        value |= (byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return value;
    }
    r->bad = true;
    return 0;
}

static int64_t read_sleb(struct reader *r)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64;) {
        uint64_t byte = read_fixed(r, 1);
        value |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte & 0x80)
            continue;
        if ((byte & 0x40) != 0 && shift < 64)
            value |= ~(uint64_t)0 << shift;
        return (int64_t)value;
    }
    r->bad = true;
    return 0;
}

static void skip(struct reader *r, uint64_t n)
{
    if ((uint64_t)(r->end - r->at) < n)
        r->bad = true;
    else
        r->at += n;
}

/* ---- pointers, in their encodings (DW_EH_PE_) ---- */

enum { PCREL_SDATA4 = 0x1b, SDATA4 = 0x0b, DATAREL_SDATA4 = 0x3b };

/* The bytes of a pointer in that encoding; 0: it is unknown. */
static size_t encoded_bytes(uint8_t encoding)
{
    static const uint8_t bytes[16] = {
        [0] = 8, [2] = 2, [3] = 4, [4] = 8, [10] = 2, [11] = 4, [12] = 8};
    return bytes[encoding & 15];
}

/* A pointer that is relative to its own address, or absolute. */
static uintptr_t read_pointer(struct reader *r, uint8_t encoding)
{
    uintptr_t own = (uintptr_t)r->at;
    size_t n = encoded_bytes(encoding);
    uint64_t value = read_fixed(r, n);
    if ((encoding & 8) != 0 && n == 4)
        value = (uint64_t)(int64_t)(int32_t)value;
    if ((encoding & 0x70) == 0x10)
        value += own;
    else if ((encoding & 0x70) != 0)
        r->bad = true;
    r->bad |= n == 0;
    return value;
}

/* ---- CIE and FDE --------------------------------------------------------- */

/* What a CIE says for its FDEs. */
struct common {
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding; /* of addresses in FDEs */
    bool augmented;   /* FDEs have augmentation data */
    bool signal;      /* a signal handler returns to these instructions */
    struct reader program;
};

/* A record of .eh_frame, without its length. A record of 4 GiB is none. */
static struct reader record_at(const uint8_t *at)
{
    uint32_t length;
    memcpy(&length, at, 4);
    bool bad = length == 0 || length == UINT32_MAX;
    return (struct reader){at + 4, at + 4 + (bad ? 0 : length), bad};
}

/* The data of augmentation "z...". Each letter has data, in that order. */
static void read_augmentation(struct reader *r, const char *letters,
                              struct common *out)
{
    struct reader data = {r->at, r->end, false};
    for (; *letters != 0; letters++) {
        if (*letters == 'R') {
            out->encoding = (uint8_t)read_fixed(&data, 1);
        } else if (*letters == 'P') {
            uint8_t encoding = (uint8_t)read_fixed(&data, 1);
            skip(&data, encoded_bytes(encoding));
        } else if (*letters == 'L') {
            skip(&data, 1);
        } else if (*letters == 'S') {
            out->signal = true;
        } else {
            return; /* unknown: it comes last in practice */
        }
    }
    r->bad |= data.bad;
}

/* Read the CIE. False: it has something that is not known here. */
static bool read_common(struct reader r, struct common *out)
{
    *out = (struct common){0};
    uint64_t id = read_fixed(&r, 4), version = read_fixed(&r, 1);
    const char *letters = (const char *)r.at;
    size_t n = strnlen(letters, (size_t)(r.end - r.at));
    skip(&r, n + 1);
    out->code_align = read_uleb(&r);
    out->data_align = read_sleb(&r);
    uint64_t where = version == 1 ? read_fixed(&r, 1) : read_uleb(&r);
    if (r.bad || id != 0 || (version != 1 && version != 3) || where != RETURN)
        return false;
    if (*letters == 'z') {
        uint64_t bytes = read_uleb(&r);
        struct reader data = r;
        skip(&r, bytes);
        data.end = r.at;
        out->augmented = true;
        read_augmentation(&data, letters + 1, out);
        r.bad |= data.bad;
    }
    out->program = r;
    return !r.bad && (*letters == 'z' || *letters == 0);
}

/* ---- programs ------------------------------------------------------------ */

/* The rule of a register: where the caller's value is. */
struct rule {
    enum { SAME, AT_CFA, UNDEFINED, ELSEWHERE } kind;
    int64_t offset; /* AT_CFA */
};

struct state {
    uint64_t cfa_register;
    int64_t cfa_offset;
    bool cfa_is_complex;
    struct rule rbp, back; /* back: the return address */
};

enum { DEPTH = 8 }; /* of remembered states */

struct run {
    struct reader code;
    const struct common *common;
    uintptr_t at, pc; /* the address that the state is for; the one wanted */
    struct state now, first, kept[DEPTH]; /* first: after the CIE's program */
    uint32_t nkept;
};

static void set_rule(struct run *r, uint64_t number, int kind, int64_t offset)
{
    struct rule rule = {.kind = kind, .offset = offset};
    if (number == RBP)
        r->now.rbp = rule;
    else if (number == RETURN)
        r->now.back = rule;
}

static void restore_rule(struct run *r, uint64_t number)
{
    if (number == RBP)
        r->now.rbp = r->first.rbp;
    else if (number == RETURN)
        r->now.back = r->first.back;
}

static void set_cfa(struct run *r, uint64_t number, int64_t offset)
{
    r->now.cfa_register = number;
    r->now.cfa_offset = offset;
    r->now.cfa_is_complex = false;
}

static void advance(struct run *r, uint64_t delta)
{
    r->at += delta * r->common->code_align;
}

static void remember(struct run *r)
{
    r->code.bad |= r->nkept == DEPTH;
    if (r->nkept < DEPTH)
        r->kept[r->nkept++] = r->now;
}

static void recall(struct run *r)
{
    r->code.bad |= r->nkept == 0;
    if (r->nkept > 0)
        r->now = r->kept[--r->nkept];
}

/* Instructions that define the CFA. False: op is none of them. */
static bool run_cfa(struct run *r, uint8_t op)
{
    struct reader *c = &r->code;
    uint64_t number;
    switch (op) {
    case 0x0c: /* DW_CFA_def_cfa */
        number = read_uleb(c);
        set_cfa(r, number, (int64_t)read_uleb(c));
        return true;
    case 0x12: /* DW_CFA_def_cfa_sf */
        number = read_uleb(c);
        set_cfa(r, number, read_sleb(c) * r->common->data_align);
        return true;
    case 0x0d: /* DW_CFA_def_cfa_register */
        r->now.cfa_register = read_uleb(c);
        return true;
    case 0x0e: /* DW_CFA_def_cfa_offset */
        r->now.cfa_offset = (int64_t)read_uleb(c);
        return true;
    case 0x13: /* DW_CFA_def_cfa_offset_sf */
        r->now.cfa_offset = read_sleb(c) * r->common->data_align;
        return true;
    case 0x0f: /* DW_CFA_def_cfa_expression */
        skip(c, read_uleb(c));
        r->now.cfa_is_complex = true;
        return true;
    default:
        return false;
    }
}

/* Instructions that give a register a rule. False: op is none of them. */
static bool run_rule(struct run *r, uint8_t op)
{
    struct reader *c = &r->code;
    uint64_t number = read_uleb(c);
    switch (op) {
    case 0x05: /* DW_CFA_offset_extended */
        set_rule(r, number, AT_CFA,
                 (int64_t)read_uleb(c) * r->common->data_align);
        return true;
    case 0x11: /* DW_CFA_offset_extended_sf */
        set_rule(r, number, AT_CFA, read_sleb(c) * r->common->data_align);
        return true;
    case 0x06: /* DW_CFA_restore_extended */
        restore_rule(r, number);
        return true;
    case 0x07: /* DW_CFA_undefined */
        set_rule(r, number, UNDEFINED, 0);
        return true;
    case 0x08: /* DW_CFA_same_value */
        set_rule(r, number, SAME, 0);
        return true;
    case 0x10: /* DW_CFA_expression */
    case 0x16: /* DW_CFA_val_expression */
        skip(c, read_uleb(c));
        set_rule(r, number, ELSEWHERE, 0);
        return true;
    case 0x09: /* DW_CFA_register */
    case 0x14: /* DW_CFA_val_offset */
    case 0x15: /* DW_CFA_val_offset_sf */
        read_uleb(c);
        set_rule(r, number, ELSEWHERE, 0);
        return true;
    default:
        return false;
    }
}

static void run_extended(struct run *r, uint8_t op)
{
    struct reader *c = &r->code;
    switch (op) {
    case 0x00: /* DW_CFA_nop */
        return;
    case 0x01: /* DW_CFA_set_loc */
        r->at = read_pointer(c, r->common->encoding);
        return;
    case 0x02: /* DW_CFA_advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        advance(r, read_fixed(c, (size_t)1 << (op - 2)));
        return;
    case 0x0a: /* DW_CFA_remember_state */
        remember(r);
        return;
    case 0x0b: /* DW_CFA_restore_state */
        recall(r);
        return;
    case 0x2e: /* DW_CFA_GNU_args_size */
        read_uleb(c);
        return;
    default:
        if (!run_cfa(r, op) && !run_rule(r, op))
            c->bad = true;
    }
}

/* Run a program up to the state for r->pc. */
static void run_program(struct run *r, struct reader program)
{
    r->code = program;
    while (r->code.at < r->code.end && !r->code.bad && r->at <= r->pc) {
        uint8_t op = (uint8_t)read_fixed(&r->code, 1);
        uint64_t low = op & 0x3f;
        if (op >> 6 == 1) /* DW_CFA_advance_loc */
            advance(r, low);
        else if (op >> 6 == 2) /* DW_CFA_offset */
            set_rule(r, low, AT_CFA,
                     (int64_t)read_uleb(&r->code) * r->common->data_align);
        else if (op >> 6 == 3) /* DW_CFA_restore */
            restore_rule(r, low);
        else
            run_extended(r, op);
    }
}

/*
 * The state is that of the last instruction at or before pc: an advance behind
 * pc ends the program before anything that follows it has run.
 */
static struct hak_row row_of(const struct state *s)
{
    struct hak_row row = {.kind = HAK_ROW_OTHER};
    bool fits = s->cfa_offset == (int32_t)s->cfa_offset &&
                s->rbp.offset == (int32_t)s->rbp.offset;
    if (s->back.kind == UNDEFINED)
        row.kind = HAK_ROW_LAST;
    if (s->cfa_is_complex || !fits || s->rbp.kind == ELSEWHERE ||
        s->back.kind != AT_CFA || s->back.offset != -8)
        return row;
    if (s->cfa_register == RSP || s->cfa_register == RBP)
        row.kind = s->cfa_register == RSP ? HAK_ROW_RSP : HAK_ROW_RBP;
    row.cfa_offset = (int32_t)s->cfa_offset;
    row.rbp_offset =
        s->rbp.kind == AT_CFA ? (int32_t)s->rbp.offset : HAK_RBP_SAME;
    return row;
}

static struct hak_row row_in(const uint8_t *fde, uintptr_t pc)
{
    const struct hak_row none = {.kind = HAK_ROW_NONE},
                         other = {.kind = HAK_ROW_OTHER};
    struct common common;
    struct reader r = record_at(fde);
    const uint8_t *here = r.at;
    uint64_t back = read_fixed(&r, 4);
    if (r.bad || back == 0 || !read_common(record_at(here - back), &common))
        return other;
    uintptr_t start = read_pointer(&r, common.encoding);
    uintptr_t bytes = read_pointer(&r, common.encoding & 15);
    if (common.augmented)
        skip(&r, read_uleb(&r));
    if (r.bad)
        return other;
    if (pc - start >= bytes)
        return none;
    if (common.signal)
        return (struct hak_row){.kind = HAK_ROW_SIGNAL};
    struct run run = {.common = &common, .at = start, .pc = pc};
    run_program(&run, common.program);
    bool bad = run.code.bad;
    run.first = run.now;
    run_program(&run, r);
    return bad || run.code.bad ? other : row_of(&run.now);
}

/* ---- the table of functions, .eh_frame_hdr --------------------------------
 */

struct entry {
    int32_t start, fde; /* relative to the header; sorted by start */
};

/* The entry of the last function that starts at or before pc. */
static const struct entry *find(const struct entry *e, uint32_t n, int64_t pc)
{
    uint32_t low = 0;
    while (n > 1) {
        uint32_t half = n / 2;
        if (e[low + half].start <= pc)
            low += half;
        n -= half;
    }
    return &e[low];
}

struct hak_row hak_cfi_row(const void *header, uintptr_t pc)
{
    static const uint8_t usual[4] = {1, PCREL_SDATA4, 3, DATAREL_SDATA4};
    const uint8_t *h = header;
    uint32_t n;
    if (memcmp(h, usual, sizeof usual) != 0)
        return (struct hak_row){.kind = HAK_ROW_OTHER};
    memcpy(&n, h + 8, 4);
    if (n == 0)
        return (struct hak_row){.kind = HAK_ROW_NONE};
    const struct entry *table = (const struct entry *)(const void *)(h + 12);
    const struct entry *e = find(table, n, (int64_t)(pc - (uintptr_t)header));
    return row_in(h + e->fde, pc);
}

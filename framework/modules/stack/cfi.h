/* SPDX-License-Identifier: MIT
 * cfi.h - module "stack": how to get from a frame to its caller's.
 *
 * The unwind tables (.eh_frame) say it for each instruction by a small program
 * of call frame information. For nearly all instructions of x86-64 the result
 * has one form, a struct hak_row:
 *
 *     CFA         = rsp + cfa_offset, or rbp + cfa_offset
 *     return address at CFA - 8, the caller's rsp = CFA
 *     caller's rbp  unchanged, or at CFA + rbp_offset
 *
 * Source: System V ABI, AMD64 supplement, "DWARF definition"; DWARF 5,
 * section 6.4; Linux Standard Base, "Exception frames".
 */
#ifndef HAKMEM_STACK_CFI_H
#define HAKMEM_STACK_CFI_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum hak_row_kind {
    HAK_ROW_NONE,   /* the tables do not have the instruction */
    HAK_ROW_RSP,    /* the CFA is relative to rsp */
    HAK_ROW_RBP,    /* the CFA is relative to rbp */
    HAK_ROW_LAST,   /* the function has no caller */
    HAK_ROW_SIGNAL, /* a signal handler returns to it */
    HAK_ROW_OTHER,  /* a rule of another form */
};

/* Value of rbp_offset: rbp is unchanged. */
enum { HAK_RBP_SAME = 0 };

struct hak_row {
    enum hak_row_kind kind;
    int32_t cfa_offset;
    int32_t rbp_offset;
};

/*
 * hak_cfi_row - the row of the instruction at pc.
 * header   .eh_frame_hdr of the object that has pc; it stays mapped
 * Async-signal-safe, no lock.
 * Cost     a search in the table, and a pass over the function's program
 */
struct hak_row hak_cfi_row(const void *header, uintptr_t pc);

#pragma GCC visibility pop

#endif

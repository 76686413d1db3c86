/* SPDX-License-Identifier: MIT
 * foreign.h - the functions of calls.c, for programs that are linked with it.
 *
 * Boxes get the same functions in struct hak_foreign_host_1. hakmem/foreign.h
 * describes them there.
 */
#ifndef HAKMEM_MODULES_FOREIGN_H
#define HAKMEM_MODULES_FOREIGN_H

#include <hakmem/foreign.h>

void *hak_ffi_open(const char *path, char *why, size_t why_bytes);
int hak_ffi_bind(void *library, const struct hak_call *call,
                 struct hak_bound *out, char *why, size_t why_bytes);
void hak_ffi_call(const struct hak_bound *bound, union hak_scalar *cell,
                  union hak_scalar *result);

void *hak_ffi_closure(const struct hak_call *call, hak_closure_fn *run,
                      void *context, char *why, size_t why_bytes);

#define HAK_FFI_FUNCTIONS                                                   \
    .struct_bytes = sizeof(struct hak_foreign_host_1),                      \
    .parse = hak_call_parse, .passed = hak_call_passed,                     \
    .type_name = hak_type_name, .open = hak_ffi_open, .bind = hak_ffi_bind, \
    .call = hak_ffi_call, .closure = hak_ffi_closure,                       \
    .settle = hak_call_settle, .keep = hak_call_keep

/* A table of these functions alone, for tests and benches. The table for boxes
 * is in module.c. */
extern const struct hak_foreign_host_1 hak_ffi_table;

#endif

/* SPDX-License-Identifier: MIT
 * sections.h - where the linker puts a variable: framework/sections.ld.
 */
#ifndef HAKMEM_BASE_SECTIONS_H
#define HAKMEM_BASE_SECTIONS_H

/* A large table of zeros, of which most stays untouched. */
#define HAK_SPARSE __attribute__((section(".bss.hak_sparse")))

/*
 * A variable that can be written until hak_seal(), and after it between
 * hak_seal_open() and hak_seal_close(): base/seal.h.
 */
#define HAK_SEALED __attribute__((section("hak_sealed")))

#endif

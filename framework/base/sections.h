/* SPDX-License-Identifier: MIT
 * sections.h - names of linker sections that framework/sections.ld places.
 */
#ifndef HAKMEM_BASE_SECTIONS_H
#define HAKMEM_BASE_SECTIONS_H

/* For a large zeroed table that stays mostly untouched. The section is behind
 * all other data, so that the data in use lies close together. */
#define HAK_SPARSE __attribute__((section(".bss.hak_sparse")))

/*
 * For a variable that is sealed: it can be written to until hak_seal(), and
 * after that only between hak_seal_open() and hak_seal_close() (base/seal.h).
 */
#define HAK_SEALED __attribute__((section("hak_sealed")))

#endif

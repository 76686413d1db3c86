/* SPDX-License-Identifier: MIT
 * directory.h - changes of the owner directory.
 */
#ifndef HAKMEM_CORE_DIRECTORY_H
#define HAKMEM_CORE_DIRECTORY_H

#include <core/state/directory.h>

#pragma GCC visibility push(hidden)

/* Map the directory for the window at base. At start. 0 or -ENOMEM. */
int hak_directory_start(uintptr_t base, size_t window_bytes);
/*
 * hak_directory_table - map one more table over the window, with an entry of
 * so many bits for each granule (host->window_table in box.h).
 * bits     a power of two up to 64
 * owner    for hak_directory_forget; NULL: it stays for ever
 * Returns  NULL: no memory, bits is something else, or there are 64 tables
 */
void *hak_directory_table(uint32_t bits, const void *owner);
/* Let others use the tables of an owner that is gone. With the seal open. */
void hak_directory_forget(const void *owner);
/* Make the entries of a range of the window writable in all tables. The caller
 * holds hak_window.mapping. False = no memory. */
bool hak_directory_ready(const void *p, size_t size_bytes);
/* Let the entries of a range name span; NULL: nobody. The range is ready, and
 * the caller has these granules for itself. Cost: a store for each granule. */
void hak_directory_set(struct hak_span *span, const void *p, size_t size_bytes);
/*
 * hak_directory_retag - correct the owner's tag in the entry of p.
 * entry    what the caller read there
 * Returns  the entry with the tag of the span's present owner. It is stored if
 *          nobody has changed the entry meanwhile. Any thread.
 */
uint64_t hak_directory_retag(const void *p, uint64_t entry);

#pragma GCC visibility pop

#endif

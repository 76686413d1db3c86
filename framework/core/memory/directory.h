/* SPDX-License-Identifier: MIT
 * directory.h - changes of the owner directory.
 */
#ifndef HAKMEM_CORE_DIRECTORY_H
#define HAKMEM_CORE_DIRECTORY_H

#include <core/state/directory.h>

#pragma GCC visibility push(hidden)

int hak_directory_start(uintptr_t base, size_t window_bytes);
/* One more table over the window: box.h, window_table. At start. */
void *hak_directory_table(uint32_t bits);
/* Make the entries of a range writable, in all tables. False = no memory. */
bool hak_directory_ready(const void *p, size_t size_bytes);
void hak_directory_set(struct hak_span *span, const void *p, size_t size_bytes);
/* p's entry, which was that, gets the tag of the span's owner. Returns it. */
uint64_t hak_directory_retag(const void *p, uint64_t entry);

#pragma GCC visibility pop

#endif

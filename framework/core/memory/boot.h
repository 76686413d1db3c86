/* SPDX-License-Identifier: MIT
 * boot.h - the boot arena, for requests that come before the core is ready.
 */
#ifndef HAKMEM_CORE_BOOT_H
#define HAKMEM_CORE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/*
 * hak_boot_alloc - take a zeroed block from the boot arena; it is never reused.
 * align_bytes  a power of two up to 4096
 * Returns      NULL: it does not fit. Any thread, lock-free.
 */
void *hak_boot_alloc(size_t align_bytes, size_t size_bytes);
enum { HAK_BOOT_BYTES = 256 * 1024 };
extern char hak_boot_arena[HAK_BOOT_BYTES] __attribute__((aligned(64)));
/* Is p an address inside the boot arena? p: any value. */
static inline bool hak_boot_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)hak_boot_arena < HAK_BOOT_BYTES;
}
/* The requested size of block p of the boot arena. */
size_t hak_boot_usable(const void *p);

#pragma GCC visibility pop

#endif

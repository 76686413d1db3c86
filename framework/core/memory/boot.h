/* SPDX-License-Identifier: MIT
 * boot.h - the arena for requests that come before the core is ready.
 */
#ifndef HAKMEM_CORE_BOOT_H
#define HAKMEM_CORE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

void *hak_boot_alloc(size_t align_bytes, size_t size_bytes);
enum { HAK_BOOT_BYTES = 256 * 1024 };
extern char hak_boot_arena[HAK_BOOT_BYTES] __attribute__((aligned(64)));
static inline bool hak_boot_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)hak_boot_arena < HAK_BOOT_BYTES;
}
size_t hak_boot_usable(const void *p);

#pragma GCC visibility pop

#endif

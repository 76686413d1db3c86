/* SPDX-License-Identifier: MIT
 * boot.c - the boot arena, for requests that come before the core is ready.
 *
 * The loader and the constructors of other libraries allocate before the
 * core's constructor runs, and dlopen allocates while it runs. A static arena
 * serves them, and libc serves what does not fit. Blocks are never reused,
 * since there are few. Each has a 16-byte header with its size.
 */
#include <core/memory/boot.h>

#include <kit/base.h>

#include <string.h>

enum { BOOT_HEADER_BYTES = 16 };

__attribute__((section(".bss.hak_boot"))) char hak_boot_arena[HAK_BOOT_BYTES];
static size_t arena_used;

void *hak_boot_alloc(size_t align_bytes, size_t size_bytes)
{
    if (size_bytes > HAK_BOOT_BYTES || align_bytes > 4096)
        return NULL;
    align_bytes = hak_max(align_bytes, HAK_ALIGN_BYTES);
    size_t used = __atomic_load_n(&arena_used, __ATOMIC_RELAXED);
    size_t at, end;
    do {
        uintptr_t next = (uintptr_t)hak_boot_arena + used + BOOT_HEADER_BYTES;
        at = hak_round_up(next, align_bytes) - (uintptr_t)hak_boot_arena;
        end = at + hak_round_up(hak_max(size_bytes, 1), HAK_ALIGN_BYTES);
        if (end > HAK_BOOT_BYTES)
            return NULL;
    } while (!__atomic_compare_exchange_n(&arena_used, &used, end, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    memcpy(hak_boot_arena + at - BOOT_HEADER_BYTES, &size_bytes,
           sizeof size_bytes);
    return hak_boot_arena + at;
}

size_t hak_boot_usable(const void *p)
{
    size_t size_bytes;
    memcpy(&size_bytes, (const char *)p - BOOT_HEADER_BYTES, sizeof size_bytes);
    return size_bytes;
}

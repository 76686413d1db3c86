/* SPDX-License-Identifier: MIT
 * boot.c - requests that arrive before the core is ready.
 *
 * The loader and other libraries' constructors allocate before our
 * constructor runs, and dlopen allocates while it does. A static arena
 * serves them; what does not fit goes to libc. Blocks are never reused: there
 * are few. A 16-byte header in front keeps the size.
 */
#include "core.h"

enum { BOOT_BYTES = 256 * 1024, BOOT_HEADER_BYTES = 16 };

static struct {
    _Alignas(64) char bytes[BOOT_BYTES]; /* .bss: costs what is touched */
    size_t used;
} arena;

bool hak_boot_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)arena.bytes < BOOT_BYTES;
}

void *hak_boot_alloc(size_t align_bytes, size_t size_bytes)
{
    if (size_bytes > BOOT_BYTES || align_bytes > 4096)
        return NULL;
    align_bytes = hak_max(align_bytes, HAK_ALIGN_BYTES);
    size_t used = __atomic_load_n(&arena.used, __ATOMIC_RELAXED);
    size_t at, end;
    do {
        uintptr_t next = (uintptr_t)arena.bytes + used + BOOT_HEADER_BYTES;
        at = hak_round_up(next, align_bytes) - (uintptr_t)arena.bytes;
        end = at + hak_round_up(hak_max(size_bytes, 1), HAK_ALIGN_BYTES);
        if (end > BOOT_BYTES)
            return NULL;
    } while (!__atomic_compare_exchange_n(&arena.used, &used, end, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    memcpy(arena.bytes + at - BOOT_HEADER_BYTES, &size_bytes,
           sizeof size_bytes);
    return arena.bytes + at;
}

size_t hak_boot_usable(const void *p)
{
    size_t size_bytes;
    memcpy(&size_bytes, (const char *)p - BOOT_HEADER_BYTES, sizeof size_bytes);
    return size_bytes;
}

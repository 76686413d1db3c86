/* SPDX-License-Identifier: MIT
 * regions.h - code that lies in no shared object, as /proc/self/maps has it.
 */
#ifndef HAKMEM_HEAP_PROFILE_REGIONS_H
#define HAKMEM_HEAP_PROFILE_REGIONS_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum { HAK_PROFILE_REGIONS = 256, HAK_PROFILE_REGION_TEXT = 16 << 10 };

/* What a mapping of the profile is made of. */
struct hak_profile_region {
    uintptr_t start, limit;
    uint64_t file_offset;
    const char *name;
    const uint8_t *id;
    uint32_t id_bytes;
};

struct hak_profile_regions {
    uint32_t n;
    struct hak_profile_region region[HAK_PROFILE_REGIONS];
    size_t used; /* of text, which has the names */
    char text[HAK_PROFILE_REGION_TEXT];
};

/* Find the regions in which locations of no object lie. Those that have no room
 * are left out. out: zero. */
void hak_profile_regions_read(struct hak_profile_regions *out);
/* The region of an address; out->n: none has it. */
uint32_t hak_profile_region_of(const struct hak_profile_regions *regions,
                               uintptr_t address);

#pragma GCC visibility pop

#endif

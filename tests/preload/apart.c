/* SPDX-License-Identifier: MIT
 * apart.c - conf/hardened.ini: what the box knows of slots lies nowhere near
 * them, between guards, and what does not change cannot be written.
 *
 * Nothing tells where it is, so it is looked for in the process's memory, as
 * somebody would who can read it: freed blocks are named by the quarantine, the
 * starts of spans by their structs, those by the map.
 */
#include "common.h"

#include <hakmem/box.h>
#include <malloc.h>

enum { MAPPINGS = 4000, GRANULE = 64 * KIB };

static struct mapping {
    uintptr_t start, end;
    bool read, write, named;
    bool seen; /* what is there was found before */
} mapping[MAPPINGS];
static int nmappings;

enum { N = 40 };
static char *block[N];

static void read_mappings(void)
{
    const char *text = text_of(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    nmappings = 0;
    for (const char *line = text; *line != 0; line += strcspn(line, "\n") + 1) {
        struct mapping *m = &mapping[nmappings++];
        char flags[5];
        size_t length = strcspn(line, "\n");
        EXPECT_LT(nmappings, MAPPINGS);
        EXPECT_EQ(sscanf(line, "%lx-%lx %4s", &m->start, &m->end, flags), 3);
        m->seen = false;
        m->read = flags[0] == 'r';
        m->write = flags[1] == 'w';
        m->named = memchr(line, '/', length) || memchr(line, '[', length);
    }
}

/* The first that ends behind p; NULL: none. */
static struct mapping *mapping_from(const void *p)
{
    for (int i = 0; i < nmappings; i++)
        if ((uintptr_t)p < mapping[i].end)
            return &mapping[i];
    return NULL;
}

static struct mapping *mapping_of(const void *p)
{
    struct mapping *m = mapping_from(p);
    if (m == NULL || m->start > (uintptr_t)p)
        test_fail(__FILE__, __LINE__, "%p is not mapped", p);
    return m;
}

/*
 * Where the word is: the only place outside of what was seen before, of named
 * mappings (libraries, the stack, this program) and of the blocks themselves,
 * which lie from low to high.
 */
static const uintptr_t *look_for(uintptr_t word, const char *low,
                                 const char *high)
{
    const uintptr_t *found = NULL;
    for (int i = 0; i < nmappings; i++) {
        const struct mapping *m = &mapping[i];
        bool blocks = m->end > (uintptr_t)low && m->start <= (uintptr_t)high;
        if (!m->read || m->named || m->seen || blocks)
            continue;
        /* A library's .bss has no name; it follows what has one. */
        if (i > 0 && mapping[i - 1].named && mapping[i - 1].end == m->start)
            continue;
        for (uintptr_t at = m->start; at < m->end; at += sizeof word)
            if (*(volatile uintptr_t *)at == word) {
                EXPECT(found == NULL);
                found = (const uintptr_t *)at;
            }
    }
    return found;
}

static const uintptr_t *find(uintptr_t word, const char *low, const char *high)
{
    const uintptr_t *found = look_for(word, low, high);
    EXPECT(found != NULL);
    mapping_of(found)->seen = true;
    return found;
}

/*
 * Where the span of block[3] is named. It is a granule, so its start is the
 * granule's; in its struct two links are in front of that. (The first slot of
 * the span may be named elsewhere, too.)
 */
static const uintptr_t *find_map(const struct mapping *structs, const char *low,
                                 const char *high)
{
    uintptr_t start = (uintptr_t)block[3] & ~(uintptr_t)(GRANULE - 1);
    const uintptr_t *map = NULL;
    for (uintptr_t at = structs->start; at < structs->end; at += sizeof at)
        if (*(volatile uintptr_t *)at == start && map == NULL)
            map = look_for(at - 2 * sizeof at, low, high);
    EXPECT(map != NULL);
    mapping_of(map)->seen = true;
    return map;
}

static bool is_closed(const struct mapping *m)
{
    return !m->read && !m->write;
}

static void expect_guarded(const void *p, bool write)
{
    const struct mapping *m = mapping_of(p);
    EXPECT(m > mapping && m + 1 < mapping + nmappings);
    EXPECT_EQ(m->write, write);
    EXPECT(m[-1].end == m->start && is_closed(&m[-1]));
    EXPECT(m[1].start == m->end && is_closed(&m[1]));
}

/* The class of 9000 bytes, which nobody else here asks for. */
static void take(char **low, char **high)
{
    for (int i = 0; i < N; i++) {
        block[i] = malloc(opaque(9000));
        EXPECT(block[i] != NULL);
        *low = i == 0 || block[i] < *low ? block[i] : *low;
        *high = i == 0 || block[i] > *high ? block[i] : *high;
    }
}

/* Not the first of its span, which other words name too. */
static uintptr_t free_one(void)
{
    int i = 0;
    while ((uintptr_t)block[i] % GRANULE == 0)
        i++;
    free(block[i]);
    return (uintptr_t)block[i];
}

TEST(metadata_is_between_guards)
{
    char *low, *high;
    take(&low, &high);
    uintptr_t freed = free_one();
    read_mappings();

    /* The quarantine, and structs of spans. */
    const uintptr_t *quarantine = find(freed, low, high);
    expect_guarded(quarantine, true);
    const uintptr_t *map = find_map(mapping_of(quarantine), low, high);
    expect_guarded(map, true);
    /* what names the map, which begins where it can be written */
    const uintptr_t *fixed = find(mapping_of(map)->start, low, high);
    expect_guarded(fixed, false);
}

TEST_DIES(what_is_fixed_cannot_be_written, SIGSEGV, NULL)
{
    char *low, *high;
    take(&low, &high);
    uintptr_t freed = free_one();
    read_mappings();
    const struct mapping *arena = mapping_of(find(freed, low, high));
    const struct mapping *now = mapping_of(find(arena->start, low, high));
    const uintptr_t *fixed = find(now->start, low, high);
    *(volatile uintptr_t *)(uintptr_t)fixed = 0;
}

/* A word at that distance of a block: its canary while it is live, or what lies
 * between slots. */
static bool is_known(size_t at, bool live)
{
    enum { BYTES = 9000, SLOT_BYTES = 9216 };
    return (live && at >= BYTES && at < BYTES + 16) ||
           (at >= SLOT_BYTES - 16 && at < SLOT_BYTES);
}

/* Between the first and the last, canaries and nothing else. */
TEST(nothing_but_canaries_lies_between_blocks)
{
    char *low, *high;
    size_t words = 0, canaries = 0;
    take(&low, &high);
    for (int i = 0; i < N; i += 3) {
        memset(block[i], 0x5a, 9000);
        free(block[i]);
    }
    read_mappings();
    uintptr_t at = (uintptr_t)low, end = (uintptr_t)high + 9000;
    for (; at < end; at += sizeof(uintptr_t)) {
        const struct mapping *m = mapping_from((void *)at);
        EXPECT(m != NULL);
        if (at < m->start) /* a guard */
            at = m->start;
        if (at >= end)
            break;
        EXPECT(m->read && m->write);
        words++;
        if (*(volatile uintptr_t *)at == 0)
            continue;
        bool canary = false;
        for (int i = 0; i < N; i++)
            canary |= is_known(at - (uintptr_t)block[i], i % 3 != 0);
        EXPECT(canary);
        canaries++;
    }
    EXPECT_GT(words, 10000);
    EXPECT_GT(canaries, N / 2);
}

/* Whatever comes and goes, a granule has slots of one size. */
TEST(classes_share_no_address)
{
    enum { GRANULES = 1 << 16, BLOCKS = 3000 };
    static uint32_t slot_bytes[GRANULES];
    static char *p[BLOCKS];
    uintptr_t base = 0;
    for (size_t round = 0; round < 8; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            p[i] = malloc(1 + (i * 7919 + round * 104729) % 8000);
            EXPECT(p[i] != NULL);
            if (base == 0)
                base = (uintptr_t)p[0] - (uintptr_t)GRANULES / 2 * GRANULE;
            size_t g = ((uintptr_t)p[i] - base) / GRANULE;
            size_t usable = malloc_usable_size(p[i]);
            uint32_t bytes = hak_index_of(usable + 16);
            EXPECT_LT(g, GRANULES);
            EXPECT(slot_bytes[g] == 0 || slot_bytes[g] == bytes);
            slot_bytes[g] = bytes;
        }
        for (size_t i = 0; i < BLOCKS; i++)
            free(p[i]);
        malloc_trim(0);
    }
}

TEST_MAIN()

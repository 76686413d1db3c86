/* SPDX-License-Identifier: MIT
 * sealed.c - what of the process can be written: nothing that is executed, and
 * no pointer to hakmem's code.
 *
 * Looked for in /proc/self/maps and in all memory that is hakmem's: its and
 * its boxes' data, and mappings without a name. Data of other libraries is
 * their own business: libc keeps our fork handlers, ld.so our malloc.
 */
#include "common.h"

#include <hakmem/hakmem.h>

extern __typeof__(hak_route) hak_route __attribute__((weak));
extern __typeof__(hak_drain) hak_drain __attribute__((weak));

enum { MAPPINGS = 1000 };

static struct mapping {
    uintptr_t start, end;
    bool write, execute;
    bool ours;  /* of hakmem's library or a box */
    bool named; /* of a file, or [stack] and the like */
    char name[200];
} mapping[MAPPINGS];
static int nmappings;

static void parse(const char *line)
{
    struct mapping *m = &mapping[nmappings++];
    char flags[5];
    unsigned long start, end;
    size_t n = strcspn(line, "\n");
    const char *name = memchr(line, '/', n), *other = memchr(line, '[', n);
    EXPECT_LT(nmappings, MAPPINGS);
    EXPECT_EQ(sscanf(line, "%lx-%lx %4s", &start, &end, flags), 3);
    *m = (struct mapping){.start = start,
                          .end = end,
                          .write = flags[0] == 'r' && flags[1] == 'w',
                          .execute = flags[2] == 'x'};
    name = name != NULL ? name : other;
    if (name != NULL)
        snprintf(m->name, sizeof m->name, "%.*s", (int)(line + n - name), name);
    m->named = name != NULL;
    m->ours = strstr(m->name, "/libhakmem.so") != NULL ||
              strstr(m->name, "/build/boxes/") != NULL;
}

static void read_mappings(void)
{
    const char *text = text_of(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    nmappings = 0;
    for (const char *line = text; *line != 0; line += strcspn(line, "\n") + 1)
        parse(line);
}

/* What follows a library's data without a name is more of its data. */
static bool is_hakmems(int i)
{
    const struct mapping *m = &mapping[i], *before = m;
    if (m->named)
        return m->ours;
    while (before > mapping && !before->named &&
           before[-1].end == before->start)
        before--;
    return !before->named || before->ours;
}

static const struct mapping *code_of(uintptr_t p)
{
    for (int i = 0; i < nmappings; i++)
        if (mapping[i].execute && mapping[i].ours && p >= mapping[i].start &&
            p < mapping[i].end)
            return &mapping[i];
    return NULL;
}

/* The bounds of all code of ours: most words are outside. */
static void bounds(uintptr_t *low, uintptr_t *high)
{
    *low = UINTPTR_MAX;
    *high = 0;
    for (int i = 0; i < nmappings; i++) {
        if (!mapping[i].execute || !mapping[i].ours)
            continue;
        *low = mapping[i].start < *low ? mapping[i].start : *low;
        *high = mapping[i].end > *high ? mapping[i].end : *high;
    }
    EXPECT_LT(*low, *high);
}

static size_t scan(const struct mapping *m, uintptr_t low, uintptr_t high)
{
    for (uintptr_t at = m->start; at < m->end; at += sizeof(uintptr_t)) {
        uintptr_t word = *(volatile uintptr_t *)at;
        const struct mapping *code;
        if (word < low || word >= high || (code = code_of(word)) == NULL)
            continue;
        test_fail(__FILE__, __LINE__,
                  "%p, in %lx-%lx %s, can be written and points to code: %p, "
                  "offset 0x%lx of %s",
                  (void *)at, m->start, m->end, m->named ? m->name : "(none)",
                  (void *)word, word - code->start, code->name);
    }
    return m->end - m->start;
}

static void expect_sealed(void)
{
    uintptr_t low, high;
    size_t bytes = 0;
    if (is_mode("conf/guard.ini") || is_mode("conf/heap-profile.ini"))
        SKIP("it keeps stacks: addresses of code, as data");
    read_mappings();
    bounds(&low, &high);
    for (int i = 0; i < nmappings; i++)
        if (mapping[i].write && is_hakmems(i))
            bytes += scan(&mapping[i], low, high);
    EXPECT_GT(bytes, 1 * MIB); /* something was looked at */
}

static void work(void)
{
    static void *p[300];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 300; i++)
            p[i] = malloc(opaque(i * i));
        for (size_t i = 0; i < 300; i++)
            free(p[i]);
    }
    p[0] = p[1] = NULL;
}

TEST(nothing_is_writable_and_executable)
{
    work();
    read_mappings();
    EXPECT_GT(nmappings, 10);
    for (int i = 0; i < nmappings; i++)
        if (mapping[i].write && mapping[i].execute)
            test_fail(__FILE__, __LINE__, "%lx-%lx %s", mapping[i].start,
                      mapping[i].end, mapping[i].name);
}

TEST(no_pointer_to_code_can_be_written)
{
    work();
    expect_sealed();
    void *usable = realloc(malloc(10), 100000);
    EXPECT(usable != NULL);
    free(usable);
    expect_sealed();
}

/* A change opens it for a moment; malloc goes on meanwhile. */
TEST(nor_after_a_change_of_routes)
{
    if (hak_route == NULL || hak_route("C0-C7", "large") == -ENOTSUP)
        SKIP("a fused library's routes are constants");
    work();
    expect_sealed();
    for (int i = 0; i < 20; i++) {
        hak_route("C0-C7", i % 2 ? "ultra" : "midmt");
        work();
    }
    hak_drain("midmt");
    expect_sealed();
}

TEST(nor_in_the_child_of_a_fork)
{
    expect_sealed();
    pid_t pid = fork();
    if (pid == 0) {
        work();
        expect_sealed();
        _exit(0);
    }
    expect_child_ok(pid, 20);
}

TEST_MAIN()

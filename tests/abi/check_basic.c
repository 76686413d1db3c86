/* SPDX-License-Identifier: MIT
 * check_basic.c - one thread: the entry, slots, owns, optional operations.
 */
#include <ctype.h>

#include "check.h"

/* ---- the entry --------------------------------------------------------- */

static bool is_name(const char *name)
{
    if (!name || !*name)
        return false;
    for (; *name; name++)
        if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) &&
            *name != '_')
            return false;
    return true;
}

static int64_t nchoices(const char *choices)
{
    int64_t n = 1;
    for (; *choices; choices++)
        n += *choices == '|';
    return n;
}

static void check_param(const struct hak_param *p)
{
    EXPECT(is_name(p->name));
    EXPECT_LE(p->type, HAK_PARAM_TEXT);
    EXPECT_EQ(p->flags & ~HAK_PARAM_MUTABLE, 0);
    EXPECT(p->help && *p->help && !isupper((unsigned char)*p->help));
    if (p->type == HAK_PARAM_TEXT) {
        EXPECT(p->def_text != NULL);
        return;
    }
    int64_t min = p->min, max = p->max;
    if (p->type == HAK_PARAM_BOOL || p->type == HAK_PARAM_ENUM)
        min = 0;
    if (p->type == HAK_PARAM_BOOL)
        max = 1;
    if (p->type == HAK_PARAM_ENUM) {
        EXPECT(p->choices != NULL);
        max = nchoices(p->choices) - 1;
    }
    if (p->def < min || p->def > max)
        test_fail(__FILE__, __LINE__, "default of %s is out of range", p->name);
}

TEST(entry)
{
    ck_begin(false); /* the host has checked magic, versions, operations */
    EXPECT(is_name(ck.entry->id));
    EXPECT(ck.entry->version && *ck.entry->version);
    EXPECT(!ck.entry->max_bytes || ck.entry->min_bytes <= ck.entry->max_bytes);
    for (uint32_t i = 0; i < ck.entry->nparams; i++) {
        check_param(&ck.entry->params[i]);
        for (uint32_t j = 0; j < i; j++)
            EXPECT(strcmp(ck.entry->params[i].name, ck.entry->params[j].name));
    }
    ck_end();
}

/* In a child: the box as it is with one parameter at a bound. */
static void smoke(const char *assignment)
{
    const char *params[] = {assignment, NULL};
    int error = th_try_open(ck.path, "bounds", params, 0, &ck.box);
    if (error) {
        EXPECT_LT(error, 0);
        EXPECT(*th_last_log()); /* the value does not fit the others: why? */
        _exit(0);
    }
    for (int i = 0; i < 100; i++) {
        size_t size = 1 + (size_t)i * 9;
        void *p = ck_good(size) ? th_malloc(ck.box, size) : NULL;
        if (p)
            memset(p, i, size);
        th_free(p);
    }
    th_detach();
    th_reap();
    _exit(0);
}

static void check_child(pid_t pid, const char *what)
{
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    if (status != 0)
        test_fail(__FILE__, __LINE__, "%s: status 0x%x", what,
                  (unsigned)status);
}

TEST(parameters_at_bounds)
{
    char text[128];
    ck_begin(false);
    for (uint32_t i = 0; i < ck.entry->nparams * 2; i++) {
        const struct hak_param *p = &ck.entry->params[i / 2];
        if (p->type != HAK_PARAM_INT && p->type != HAK_PARAM_SIZE &&
            p->type != HAK_PARAM_MS)
            continue;
        snprintf(text, sizeof text, "%s=%lld", p->name,
                 (long long)(i & 1 ? p->max : p->min));
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            smoke(text);
        }
        check_child(pid, text);
    }
    ck_end();
}

/* ---- slots ------------------------------------------------------------- */

PROPERTY(alignment)
{
    for (size_t size = ck.min_bytes; size <= ck.max_bytes;
         size += size < 1024 ? 1 : size / 16) {
        struct block b = {0};
        if (ck_good(size) && ck_new(&b, size)) /* looks at the alignment */
            ck_free(&b);
    }
}

PROPERTY(blocks_are_distinct)
{
    enum { N = 4000 };
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 3; round++) {
        size_t n = ck_fill(b, N, ck.max_bytes, 16 * CK_MIB);
        ck_shuffle(b, n);
        ck_free_all(b, n);
    }
}

/* Random allocs and frees; `bytes` written in all, `live` bytes at most. */
static void mix(size_t bytes, size_t live, bool beside_lanes)
{
    enum { N = 1000 };
    struct block *b = ck_blocks(N);
    size_t out = 0;
    for (size_t step = 0; step < 200000 && bytes > 0; step++) {
        struct block *at = &b[ck_random() % N];
        if (at->p) {
            out -= at->bytes;
            ck_check(at);
            (beside_lanes && step % 3 == 0 ? th_free_direct : th_free)(at->p);
            at->p = NULL;
            continue;
        }
        size_t size = ck_size(ck.max_bytes);
        if (out + size > live)
            continue;
        void *p = beside_lanes && step % 2 ? th_alloc_direct(ck.box, size)
                                           : th_malloc(ck.box, size);
        if (!ck_adopt(at, p, size))
            continue;
        out += size;
        bytes -= size < bytes ? size : bytes;
    }
    ck_free_all(b, N);
}

PROPERTY(content_kept)
{
    mix((size_t)256 * CK_MIB, 16 * CK_MIB, false);
}

/* ops->alloc and ops->free while lanes serve the same sizes */
TEST(content_kept_beside_lanes)
{
    ck_begin(false);
    if (!ck.box->lanes)
        SKIP("the box has no lanes");
    mix((size_t)128 * CK_MIB, 16 * CK_MIB, true);
    ck_end();
}

/* ---- owns -------------------------------------------------------------- */

static void expect_disowned(struct hak_box *box)
{
    static const uintptr_t wild[] = {0,
                                     1,
                                     15,
                                     4095,
                                     0x7fffffffffff,
                                     0x800000000000,
                                     0xdeadbeefdeadbeef,
                                     0xffff800000000000,
                                     UINTPTR_MAX,
                                     UINTPTR_MAX - 15};
    const struct hak_host *host = th_host();
    char *unmapped =
        mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *libc = malloc(100);
    char *top = (char *)host->window_base + host->window_bytes;
    int stack = 0;
    const void *others[] = {unmapped, unmapped + 12345,
                            libc,     top - 1,
                            top,      &stack,
                            &ck,      stdout,
                            box,      (char *)host->window_base - 1};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        EXPECT(!box->ops->owns(box, (void *)wild[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        EXPECT(!box->ops->owns(box, others[i]));
    munmap(unmapped, 1 << 20);
    EXPECT(!box->ops->owns(box, unmapped));
    free(libc);
}

/* No granule of the window that the box does not hold. */
static void expect_own_granules_only(struct hak_box *box)
{
    const struct hak_host *host = th_host();
    for (size_t g = 0; g < host->window_bytes / HAK_GRANULE_BYTES; g++) {
        char *p = (char *)host->window_base + g * HAK_GRANULE_BYTES;
        if (box->ops->owns(box, p + g % HAK_GRANULE_BYTES) &&
            th_mapper(p) != box)
            test_fail(__FILE__, __LINE__, "owns(%p): not its memory",
                      (void *)p);
    }
}

PROPERTY(owns)
{
    enum { N = 1000 };
    struct block *b = ck_blocks(N);
    expect_disowned(ck.box);
    size_t n = ck_fill(b, N, ck.max_bytes, 16 * CK_MIB);
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; b[i].p && at < b[i].bytes;
             at += 1 + b[i].bytes / 16)
            EXPECT(ck.box->ops->owns(ck.box, b[i].p + at));
    for (size_t i = 0; i < n; i++)
        EXPECT(!b[i].p || ck.box->ops->owns(ck.box, b[i].p + b[i].bytes - 1));
    expect_disowned(ck.box);
    expect_own_granules_only(ck.box);
    ck_free_all(b, n);
    expect_own_granules_only(ck.box);
}

PROPERTY(two_instances)
{
    enum { N = 500 };
    struct hak_box *first = ck.box, *second = ck_open("second");
    struct block *mine = ck_blocks(N), *theirs = ck_blocks(N);
    for (int round = 0; round < 3; round++) {
        ck.box = first;
        size_t n = ck_fill(mine, N, ck.max_bytes, 4 * CK_MIB);
        ck.box = second;
        size_t m = ck_fill(theirs, N, ck.max_bytes, 4 * CK_MIB);
        for (size_t i = 0; i < n; i++)
            EXPECT(!mine[i].p || th_owner(mine[i].p) == first);
        for (size_t i = 0; i < m; i++)
            EXPECT(!theirs[i].p || th_owner(theirs[i].p) == second);
        ck_free_all(mine, n);
        ck_free_all(theirs, m);
    }
    ck_end(); /* the second */
    ck.box = first;
}

/* ---- sizes ------------------------------------------------------------- */

PROPERTY(usable_size)
{
    enum { N = 2000 };
    NEED_OP(usable_size);
    struct block *b = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 16 * CK_MIB);
    for (size_t i = 0; i < n; i++) {
        if (!b[i].p)
            continue;
        size_t usable = th_usable(b[i].p);
        EXPECT_GE(usable, b[i].bytes);
        b[i].bytes = usable; /* all of it is ours */
        memset(b[i].p, b[i].tag, usable);
    }
    for (size_t i = 0; i < n; i++)
        EXPECT(!b[i].p || th_usable(b[i].p) == b[i].bytes);
    ck_free_all(b, n);
}

PROPERTY(slot_size)
{
    NEED_OP(slot_size);
    size_t before = 0;
    for (int i = 0; i < 2000; i++) {
        size_t size = ck_size(ck.max_bytes);
        size_t slot = ck.box->ops->slot_size(ck.box, size);
        EXPECT_GE(slot, size);
        EXPECT_EQ(slot, ck.box->ops->slot_size(ck.box, size));
        void *p = th_alloc_direct(ck.box, size);
        if (p && ck.box->ops->usable_size)
            EXPECT_GE(th_usable(p), slot); /* a cached one may be larger */
        th_free(p);
    }
    for (size_t size = ck.min_bytes; size <= ck.max_bytes; size++) {
        size_t slot = ck.box->ops->slot_size(ck.box, size);
        if (slot)
            EXPECT_GE(slot, before);
        before = slot ? slot : before;
    }
}

/* ---- optional ways to allocate ----------------------------------------- */

static void expect_zero(const unsigned char *p, size_t n)
{
    EXPECT(p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void zalloc_after_dirt(void)
{
    enum { N = 1000 };
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 3; round++) {
        size_t n = ck_fill(b, N, ck.max_bytes, 8 * CK_MIB);
        ck_free_all(b, n);
        if (round == 1 && ck.box->ops->trim)
            ck.box->ops->trim(ck.box);
        for (size_t i = 0; i < n; i++) {
            void *p = th_zalloc(ck.box, b[i].bytes);
            size_t bytes = p ? th_usable(p) : 0;
            if (p)
                expect_zero(p, bytes);
            ck_adopt(&b[i], p, b[i].bytes);
            if (p)
                memset(p, 0xff, bytes), b[i].tag = 0xff;
        }
        ck_free_all(b, n);
    }
}

PROPERTY(zalloc)
{
    NEED_OP(zalloc);
    zalloc_after_dirt();
    th_purge_keeps(true);
    zalloc_after_dirt();
}

/* Must the box serve it? Without its own operation we go by way of size. */
static bool must_align(size_t align, size_t size)
{
    if (!ck.box->ops->usable_size)
        return ck_good(size + align);
    size_t round = (size + align - 1) & ~(align - 1);
    return ck.box->ops->aligned_alloc && align <= 4096 && ck_good(size) &&
           ck_good(round);
}

PROPERTY(aligned_blocks)
{
    enum { N = 64 };
    struct block *b = ck_blocks(N);
    for (size_t align = 32; align <= 65536; align *= 2) {
        for (size_t i = 0; i < N; i++) {
            size_t size = ck_size(ck.max_bytes);
            void *p = th_aligned_alloc(ck.box, align, size);
            if (!p && !must_align(align, size))
                continue;
            EXPECT_EQ((uintptr_t)p % align, 0);
            ck_adopt(&b[i], p, size);
        }
        ck_shuffle(b, N);
        ck_free_all(b, N);
    }
}

PROPERTY(resize)
{
    enum { N = 100 };
    NEED_OP(resize);
    struct block *b = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 8 * CK_MIB);
    for (int step = 0; step < 4000; step++) {
        struct block *at = &b[ck_random() % n];
        size_t size = ck_size(ck.max_bytes);
        void *p = at->p ? th_realloc(ck.box, at->p, size) : NULL;
        if (!p)
            continue;
        at->p = p;
        at->bytes = size < at->bytes ? size : at->bytes;
        ck_check(at);
        at->bytes = size;
        memset(p, at->tag, size);
    }
    ck_free_all(b, n);
}

/* ---- what the box says of itself --------------------------------------- */

struct visit {
    struct block *b;
    size_t n, met, stop_at;
};

static bool on_visit(void *context, void *p, size_t slot_bytes)
{
    struct visit *v = context;
    for (size_t i = 0; i < v->n; i++) {
        if (!v->b[i].p || th_slot(v->b[i].p) != p)
            continue;
        EXPECT_GE(slot_bytes, v->b[i].bytes);
        EXPECT_EQ(v->b[i].tag & 1, 1); /* odd: not met before */
        v->b[i].tag ^= 1;
        return ++v->met != v->stop_at;
    }
    test_fail(__FILE__, __LINE__, "walk visits %p, which is not live", p);
}

static void *free_them(void *blocks)
{
    ck_free_all(blocks, 500);
    return NULL;
}

PROPERTY(walk)
{
    enum { N = 2000 };
    NEED_OP(walk);
    struct visit v = {.b = ck_blocks(N)};
    v.n = ck_fill(v.b, N, ck.max_bytes, 16 * CK_MIB);
    ck_shuffle(v.b, v.n);
    for (size_t i = 0; i < v.n; i += 3)
        ck_free(&v.b[i]);
    if (v.n > 600)
        th_join(th_spawn(free_them, &v.b[v.n - 500]));
    ck.box->ops->walk(ck.box, on_visit, &v);
    EXPECT_EQ(v.met, th_live(ck.box, true));
    v.stop_at = v.met / 2 + 1;
    v.met = 0;
    for (size_t i = 0; i < v.n; i++)
        v.b[i].tag |= 1;
    ck.box->ops->walk(ck.box, on_visit, &v);
    EXPECT_EQ(v.met, v.stop_at);
    for (size_t i = 0; i < v.n; i++) {
        v.b[i].bytes = 0; /* the tags have changed */
        ck_free(&v.b[i]);
    }
}

static struct hak_box_stats stats_now(void)
{
    struct hak_box_stats s = {.struct_bytes = sizeof s};
    ck.box->ops->stats(ck.box, &s);
    return s;
}

PROPERTY(stats)
{
    enum { N = 3000 };
    NEED_OP(stats);
    struct block *b = ck_blocks(N);
    EXPECT_EQ(stats_now().live_count, 0);
    size_t n = ck_fill(b, N, ck.max_bytes, 16 * CK_MIB), bytes = 0;
    for (size_t i = 0; i < n; i += 2)
        ck_free(&b[i]);
    for (size_t i = 0; i < n; i++)
        bytes += b[i].p ? b[i].bytes : 0;
    EXPECT_EQ(stats_now().live_count, th_live(ck.box, true));
    EXPECT_GE(stats_now().live_bytes, bytes);
    th_detach();
    th_reap();
    EXPECT_EQ(stats_now().live_count, th_live(ck.box, true));
    EXPECT_LE(stats_now().live_bytes, th_mapped(ck.box));
    ck_free_all(b, n); /* by a thread that has no heap; then ck_end looks */
}

/* Draining: nothing is asked of the box but to take back. */
PROPERTY(draining)
{
    enum { N = 500 };
    struct block *b = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
    th_drain(ck.box);
    for (size_t i = 0; i < n; i++)
        EXPECT(!b[i].p || ck.box->ops->owns(ck.box, b[i].p));
    ck_free_all(b, n);
}

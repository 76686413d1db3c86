/* SPDX-License-Identifier: MIT
 * check_basic.c - one thread: slots, owns, optional operations.
 */
#include "check.h"

/* ---- slots ------------------------------------------------------------- */

PROPERTY(alignment,
         "every slot is 16-byte aligned and lies in the box's mappings")
{
    for (size_t size = ck.min_bytes; size <= ck.max_bytes;
         size += size < 1024 ? 1 : size / 16) {
        struct block b = {0};
        if (ck_good(size) && ck_new(&b, size)) /* looks at the alignment */
            ck_free(&b);
    }
}

PROPERTY(blocks_are_distinct, "slots that are out share no byte")
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

PROPERTY(content_kept, "what is written to a block stays until it is freed")
{
    mix((size_t)256 * CK_MIB, 16 * CK_MIB, false);
}

/* ops->alloc and ops->free while lanes serve the same sizes */
PROPERTY_OF_LANES(content_kept_beside_lanes,
                  "alloc and free may be called while lanes serve")
{
    mix((size_t)128 * CK_MIB, 16 * CK_MIB, true);
}

/* ---- owns -------------------------------------------------------------- */

static void disown(struct hak_box *box, const void *p, const char *what)
{
    if (box->ops->owns(box, p))
        test_fail(__FILE__, __LINE__, "owns(%p) is true: %s", p, what);
}

static void disown_wild(struct hak_box *box)
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
    char *unmapped =
        mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        disown(box, (void *)wild[i], "no address of anything");
    disown(box, unmapped + 12345, "memory that must not be touched");
    munmap(unmapped, 1 << 20);
    disown(box, unmapped, "not mapped");
}

static void disown_others(struct hak_box *box)
{
    const struct hak_host *host = th_host();
    const char *base = (const char *)host->window_base;
    void *libc = malloc(100);
    int stack = 0;
    disown(box, libc, "libc's");
    disown(box, &stack, "the stack");
    disown(box, &ck, "a static variable");
    disown(box, stdout, "libc's data");
    disown(box, box, "struct hak_box");
    disown(box, base - 1, "below the window");
    disown(box, base + host->window_bytes, "above the window");
    free(libc);
    for (size_t at = 0; at < host->window_bytes; at += HAK_GRANULE_BYTES) {
        const char *p = base + at + (at >> HAK_GRANULE_SHIFT) % 65536;
        if (th_mapper(p) != box)
            disown(box, p, "a granule that is not its own");
    }
}

PROPERTY(owns_live_slots, "owns() is true for every byte of a live slot")
{
    enum { N = 1000 };
    ck_need_owns();
    struct block *b = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; b[i].p && at < b[i].bytes; at++)
            if (!ck.box->ops->owns(ck.box, b[i].p + at))
                test_fail(__FILE__, __LINE__,
                          "owns() is false for byte %zu of a block of %zu", at,
                          b[i].bytes);
    ck_free_all(b, n);
}

PROPERTY(owns_no_wild_pointer,
         "owns() is false for NULL, wild, unmapped, and touches none of them")
{
    enum { N = 1000 };
    struct block *b = ck_blocks(N);
    disown_wild(ck.box); /* before there is anything */
    size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
    disown_wild(ck.box);
    ck_free_all(b, n);
    disown_wild(ck.box);
}

PROPERTY(owns_nothing_of_others,
         "owns() is false for all memory but the box's: stack, libc, window")
{
    enum { N = 1000 };
    struct block *b = ck_blocks(N);
    disown_others(ck.box);
    size_t n = ck_fill(b, N, ck.max_bytes, 16 * CK_MIB);
    disown_others(ck.box);
    ck_free_all(b, n);
    disown_others(ck.box);
}

static void *ask_owns(void *p)
{
    return ck.box->ops->owns(ck.box, p) ? p : NULL;
}

PROPERTY(owns_takes_no_lock, "owns() waits for no lock of the box")
{
    NEED_OP(fork);
    unsigned seconds = 1 + test_seconds / 4;
    struct timespec until;
    struct block b;
    void *owned = NULL;
    pthread_t thread;
    if (!ck_new(&b, ck.min_bytes))
        return;
    ck.box->ops->fork(ck.box, HAK_FORK_PREPARE); /* takes them all */
    EXPECT_EQ(pthread_create(&thread, NULL, ask_owns, th_slot(b.p)), 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    if (pthread_timedjoin_np(thread, &owned, &until) != 0)
        test_fail(__FILE__, __LINE__,
                  "owns() did not return for %u s while the locks are held",
                  seconds);
    ck.box->ops->fork(ck.box, HAK_FORK_PARENT);
    EXPECT(owned != NULL);
    ck_free(&b);
}

PROPERTY(two_instances,
         "one .so serves as two boxes that know nothing of each other")
{
    enum { N = 500 };
    if (ck_is_foreign())
        SKIP("its library is the same for all boxes of the process");
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

PROPERTY(usable_size,
         "usable_size() is at least what was asked, and all of it is ours")
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

PROPERTY(slot_size,
         "slot_size() is pure, grows, and is no more than what is got")
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

PROPERTY(zalloc, "every usable byte of a slot of zalloc() is zero")
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

PROPERTY(aligned_blocks,
         "aligned requests are aligned, by aligned_alloc() or without")
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

PROPERTY(resize, "resize() keeps the content, or changes nothing")
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
    test_fail(__FILE__, __LINE__, "visit_slots visits %p, which is not live",
              p);
}

static void *free_them(void *blocks)
{
    ck_free_all(blocks, 500);
    return NULL;
}

PROPERTY(visit_slots,
         "visit_slots() visits each live slot once, and stops when told")
{
    enum { N = 2000 };
    NEED_OP(visit_slots);
    struct visit v = {.b = ck_blocks(N)};
    v.n = ck_fill(v.b, N, ck.max_bytes, 16 * CK_MIB);
    ck_shuffle(v.b, v.n);
    for (size_t i = 0; i < v.n; i += 3)
        ck_free(&v.b[i]);
    if (v.n > 600)
        th_join(th_spawn(free_them, &v.b[v.n - 500]));
    ck.box->ops->visit_slots(ck.box, on_visit, &v);
    EXPECT_EQ(v.met, th_live(ck.box, true));
    v.stop_at = v.met / 2 + 1;
    v.met = 0;
    for (size_t i = 0; i < v.n; i++)
        v.b[i].tag |= 1;
    ck.box->ops->visit_slots(ck.box, on_visit, &v);
    EXPECT_EQ(v.met, v.stop_at);
    for (size_t i = 0; i < v.n; i++) {
        v.b[i].bytes = 0; /* the tags have changed */
        ck_free(&v.b[i]);
    }
}

static struct hak_box_stats stats_now(void)
{
    return th_stats(ck.box);
}

PROPERTY(stats, "live = allocs - frees: what is out, and nothing at the end")
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
    struct hak_box_stats now = stats_now();
    EXPECT_EQ(now.live_count, th_live(ck.box, true));
    EXPECT_GE(now.live_bytes, bytes);
    if (ck.box->lanes) /* there may be live slots that are in no span */
        EXPECT_LE(now.allocs - now.frees, now.live_count);
    th_detach();
    th_reap();
    EXPECT_EQ(stats_now().live_count, th_live(ck.box, true));
    EXPECT_LE(stats_now().live_bytes, th_mapped(ck.box));
    ck_free_all(b, n); /* by a thread that has no heap; then ck_end looks */
}

/* The figures by class, added up. Each must be possible by itself. */
static struct hak_class classes_now(const struct hak_classes_1 *table)
{
    static struct hak_class of[HAK_CLASSES_ROOM];
    struct hak_class sum = {0};
    memset(of, 0, sizeof of);
    uint32_t n = table->read(ck.box, of, HAK_CLASSES_ROOM);
    EXPECT_LE(n, HAK_CLASSES_ROOM);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < i; k++)
            EXPECT(of[k].slot_bytes != of[i].slot_bytes);
        EXPECT_LE(of[i].frees, of[i].allocs);
        EXPECT_LE(of[i].live_bytes, of[i].live_count * of[i].slot_bytes);
        EXPECT_LE(of[i].live_bytes, of[i].mapped_bytes);
        EXPECT_LE(of[i].cached_bytes, of[i].mapped_bytes);
        sum.allocs += of[i].allocs;
        sum.frees += of[i].frees;
        sum.live_count += of[i].live_count;
        sum.live_bytes += of[i].live_bytes;
        sum.mapped_bytes += of[i].mapped_bytes;
    }
    return sum;
}

static void expect_sums(const struct hak_classes_1 *table)
{
    struct hak_class sum = classes_now(table);
    struct hak_box_stats all = stats_now();
    EXPECT_EQ(sum.live_count, all.live_count);
    EXPECT_EQ(sum.live_bytes, all.live_bytes);
    EXPECT_LE(sum.mapped_bytes, th_mapped(ck.box));
    if (all.allocs == 0 || sum.allocs == 0)
        return;
    EXPECT_EQ(sum.allocs, all.allocs);
    EXPECT_EQ(sum.frees, all.frees);
}

/* Several rounds, so that memory changes its class. */
PROPERTY(classes, "what hak.classes/1 tells adds up to what stats() tells")
{
    enum { N = 3000, ROUNDS = 4 };
    NEED_OP(stats);
    NEED_OP(get_extension);
    const struct hak_classes_1 *table =
        ck.box->ops->get_extension(ck.box, HAK_CLASSES_1);
    if (table == NULL)
        SKIP("the box has no figures by class");
    struct block *b = ck_blocks(N);
    expect_sums(table);
    for (int round = 0; round < ROUNDS; round++) {
        struct hak_class before = classes_now(table);
        size_t most = ck.max_bytes >> round;
        size_t n = ck_fill(b, N, most > ck.min_bytes ? most : ck.max_bytes,
                           16 * CK_MIB);
        expect_sums(table);
        ck_free_all(b, n / 2);
        th_join(th_spawn(free_them, &b[n / 2]));
        expect_sums(table);
        ck_free_all(b, n);
        expect_sums(table);
        EXPECT_GE(classes_now(table).allocs, before.allocs);
    }
}

/* Draining: nothing is asked of the box but to take back. */
PROPERTY(draining,
         "what is draining takes back and owns its slots; then closed")
{
    enum { N = 500 };
    struct block *b = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
    th_drain(ck.box);
    for (size_t i = 0; i < n; i++)
        if (!ck_is_residual())
            EXPECT(!b[i].p || ck.box->ops->owns(ck.box, b[i].p));
    ck_free_all(b, n);
    th_retire(ck.box);
}

static size_t mutable_values(const struct hak_param *p)
{
    if (!(p->flags & HAK_PARAM_MUTABLE) || p->type == HAK_PARAM_TEXT)
        return 0;
    if (p->type == HAK_PARAM_BOOL)
        return 2;
    return p->type == HAK_PARAM_ENUM ? (size_t)ck_nchoices(p->choices) : 2;
}

/* The ith value to try of a parameter, or SIZE_MAX: its default. */
static int set_to(const struct hak_param *p, size_t i)
{
    char text[128];
    int64_t value = i == SIZE_MAX ? p->def
                    : p->type == HAK_PARAM_BOOL || p->type == HAK_PARAM_ENUM
                        ? (int64_t)i
                    : i ? p->max
                        : p->min;
    int n = snprintf(text, sizeof text, "%s=", p->name);
    if (p->type == HAK_PARAM_ENUM) {
        const char *choice = p->choices;
        while (value-- > 0)
            choice += strcspn(choice, "|") + 1;
        snprintf(text + n, sizeof text - (size_t)n, "%.*s",
                 (int)strcspn(choice, "|"), choice);
    } else {
        snprintf(text + n, sizeof text - (size_t)n, "%lld", (long long)value);
    }
    int error = th_set_param(ck.box, text);
    if (error > 0)
        test_fail(__FILE__, __LINE__, "set_param %s: %d, neither 0 nor -errno",
                  text, error);
    return error;
}

PROPERTY(set_param,
         "a mutable parameter changes while blocks are out: 0 or -errno")
{
    enum { N = 500 };
    NEED_OP(set_param);
    struct block *b = ck_blocks(N), *c = ck_blocks(N);
    size_t n = ck_fill(b, N, ck.max_bytes, 4 * CK_MIB);
    for (uint32_t i = 0; i < ck.entry->nparams; i++) {
        const struct hak_param *p = &ck.entry->params[i];
        size_t values = mutable_values(p);
        for (size_t v = 0; v < values; v++) {
            set_to(p, v);
            size_t m = ck_fill(c, N, ck.max_bytes, CK_MIB);
            ck_free_all(c, m);
        }
        if (values)
            EXPECT_EQ(set_to(p, SIZE_MAX), 0);
    }
    ck_free_all(b, n);
}

PROPERTY(extensions, "get_extension() of an id that nobody has is NULL")
{
    NEED_OP(get_extension);
    static const char *const ids[] = {"", "hak.nobody/1", "%s%n"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        EXPECT(!ck.box->ops->get_extension(ck.box, ids[i]));
}

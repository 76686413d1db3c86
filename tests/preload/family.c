/* SPDX-License-Identifier: MIT
 * family.c - contracts of the malloc family: alignment, errors, errno. */
#include "common.h"

#include <malloc.h>

static const size_t some_sizes[] = {0,      1,      15,    16,     17,    63,
                                    64,     100,    1000,  1024,   1025,  4096,
                                    5000,   8192,   32767, 32768,  32769, 65536,
                                    100000, 300000, MIB,   3 * MIB};
enum { SOME_SIZES = sizeof some_sizes / sizeof some_sizes[0] };

/* ---- alignment ---------------------------------------------------------- */

TEST(every_size_is_aligned)
{
    enum { KEEP = 64, LAST = 70000 };
    static char *kept[KEEP]; /* neighbours of one size live side by side */
    for (size_t n = 0; n <= LAST; n++) {
        char *p = malloc(n);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, 16);
        EXPECT_GE(malloc_usable_size(p), n);
        if (n != 0)
            p[0] = p[n - 1] = (char)n;
        free(kept[n % KEEP]);
        kept[n % KEEP] = p;
    }
    for (size_t i = 0; i < KEEP; i++)
        free(kept[i]);
}

TEST(powers_of_two_are_aligned)
{
    for (unsigned log2 = 0; log2 <= 30; log2++) {
        for (size_t n = ((size_t)1 << log2) - 1; n <= (1ul << log2) + 1; n++) {
            char *p = malloc(n);
            char *zero = calloc(1, n);
            EXPECT(p != NULL && zero != NULL);
            EXPECT_ALIGNED(p, 16);
            EXPECT_ALIGNED(zero, 16);
            if (n != 0)
                p[0] = p[n - 1] = zero[0] = zero[n - 1] = 1;
            free(p);
            free(zero);
        }
    }
}

/* One aligned block of each kind; the caller's errno must survive. */
static void check_aligned(size_t align, size_t n)
{
    void *p[3] = {memalign(align, n), aligned_alloc(align, n), NULL};
    if (align >= sizeof(void *))
        EXPECT_EQ(posix_memalign(&p[2], align, n), 0);
    else
        p[2] = malloc(n);
    for (int i = 0; i < 3; i++) {
        EXPECT(p[i] != NULL);
        EXPECT_ALIGNED(p[i], align);
        EXPECT_ALIGNED(p[i], 16);
        EXPECT_GE(malloc_usable_size(p[i]), n);
        fill(p[i], n, align + n + (size_t)i);
    }
    for (int i = 0; i < 3; i++) {
        EXPECT_PATTERN(p[i], n, align + n + (size_t)i);
        free(p[i]);
    }
}

TEST(aligned_requests)
{
    errno = EXDEV;
    for (size_t align = 1; align <= MIB; align *= 2)
        for (int s = 0; s < SOME_SIZES; s++)
            check_aligned(align, some_sizes[s]);
    EXPECT_EQ(errno, EXDEV);
}

/* Many at once: a box may meet a fresh page, a used one, a full one. */
TEST(aligned_in_numbers)
{
    enum { EACH = 300 };
    static char *p[EACH];
    for (size_t align = 32; align <= 65536; align *= 2) {
        for (size_t i = 0; i < EACH; i++) {
            size_t n = 1 + i * 7;
            p[i] = memalign(align, n);
            EXPECT(p[i] != NULL);
            EXPECT_ALIGNED(p[i], align);
            fill(p[i], n, i);
        }
        for (size_t i = 0; i < EACH; i++) {
            EXPECT_PATTERN(p[i], 1 + i * 7, i);
            free(p[i]);
        }
    }
}

TEST(aligned_blocks_realloc)
{
    for (size_t align = 32; align <= MIB; align *= 4) {
        for (size_t n = 1; n < 200000; n = n * 3 + 1) {
            char *p = memalign(align, n);
            EXPECT(p != NULL);
            fill(p, n, align);
            p = realloc(p, n * 2);
            EXPECT(p != NULL);
            EXPECT_PATTERN(p, n, align);
            p = realloc(p, n / 2 + 1);
            EXPECT(p != NULL);
            EXPECT_PATTERN(p, n / 2 + 1, align);
            free(p);
        }
    }
}

/* memalign rounds the alignment up to a power of two, and so does
 * aligned_alloc in a glibc before 2.38; later ones say EINVAL. */
TEST(memalign_rounds_up)
{
    bool both = under_hakmem() || !__GLIBC_PREREQ(2, 38);
    static const size_t odd[][2] = {{0, 16},  {3, 16},  {24, 32},
                                    {33, 64}, {48, 64}, {5000, 8192}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        void *p = memalign(opaque(odd[i][0]), 100);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, odd[i][1]);
        free(p);
        p = both ? aligned_alloc(opaque(odd[i][0]), 100) : malloc(100);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, both ? odd[i][1] : 16);
        free(p);
    }
}

TEST(alignments_beyond_reason)
{
    errno = 0;
    EXPECT(memalign(opaque(SIZE_MAX), 1) == NULL);
    EXPECT_EQ(errno, EINVAL);
    errno = 0;
    EXPECT(memalign(opaque(((size_t)1 << 63) + 1), 1) == NULL);
    EXPECT_EQ(errno, EINVAL);
    errno = 0;
    EXPECT(memalign(opaque((size_t)1 << 63), 1) == NULL);
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT(memalign(opaque((size_t)1 << 62), 1) == NULL);
    EXPECT_EQ(errno, ENOMEM);
}

TEST(posix_memalign_invalid)
{
    static const size_t bad[] = {0, 1, 2, 4, 7, 12, 24, 40, 100, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *p = &p;
        EXPECT_EQ(posix_memalign(&p, opaque(bad[i]), 64), EINVAL);
        EXPECT(p == &p);
    }
}

TEST(page_aligned)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int s = 0; s < SOME_SIZES; s++) {
        char *v = valloc(some_sizes[s]);
        char *pv = pvalloc(some_sizes[s]);
        EXPECT(v != NULL && pv != NULL);
        EXPECT_ALIGNED(v, page);
        EXPECT_ALIGNED(pv, page);
        size_t whole = (some_sizes[s] + page - 1) / page * page;
        EXPECT_GE(malloc_usable_size(pv), whole);
        fill(pv, whole, 1);
        fill(v, some_sizes[s], 2);
        EXPECT_PATTERN(pv, whole, 1);
        free(v);
        free(pv);
    }
}

/* ---- nothing, and too much ---------------------------------------------- */

TEST(zero_bytes)
{
    void *p[] = {malloc(0),        calloc(0, 8),    calloc(8, 0),
                 realloc(NULL, 0), memalign(64, 0), reallocarray(NULL, 0, 4),
                 malloc(0)};
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++) {
        EXPECT(p[i] != NULL);
        for (size_t k = 0; k < i; k++)
            EXPECT(p[i] != p[k]);
    }
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++)
        free(p[i]);
    free(NULL);
    EXPECT_EQ(malloc_usable_size(NULL), 0);
}

TEST(realloc_to_zero_frees)
{
    errno = EXDEV;
    for (int s = 0; s < SOME_SIZES; s++) {
        EXPECT(realloc(malloc(some_sizes[s]), opaque(0)) == NULL);
        EXPECT(reallocarray(malloc(some_sizes[s]), opaque(0), 8) == NULL);
    }
    EXPECT_EQ(errno, EXDEV);
    for (int i = 0; i < 20000; i++) { /* 2 GB if it did not free */
        size_t before = i == 1000 ? rss_bytes() : 0;
        char *p = malloc(100000);
        memset(p, 1, 100000);
        EXPECT(realloc(p, opaque(0)) == NULL);
        if (before != 0)
            EXPECT_LT(rss_bytes(), before + 8 * MIB);
    }
    EXPECT_LT(rss_bytes(), 256 * MIB);
}

#define EXPECT_REFUSED(call)              \
    do {                                  \
        errno = 0;                        \
        void *refused = (call);           \
        EXPECT(refused == NULL && #call); \
        EXPECT_EQ(errno, ENOMEM);         \
    } while (0)

static void check_refused(size_t n, char *live)
{
    void *out = live;
    n = opaque(n);
    EXPECT_REFUSED(malloc(n));
    EXPECT_REFUSED(calloc(1, n));
    EXPECT_REFUSED(calloc(n, 1));
    EXPECT_REFUSED(realloc(NULL, n));
    EXPECT_REFUSED(realloc(live, n));
    EXPECT_REFUSED(reallocarray(live, n, 1));
    EXPECT_REFUSED(reallocarray(live, 1, n));
    EXPECT_REFUSED(memalign(64, n));
    EXPECT_REFUSED(memalign(MIB, n));
    EXPECT_REFUSED(aligned_alloc(64, n));
    EXPECT_REFUSED(valloc(n));
    EXPECT_REFUSED(pvalloc(n));
    EXPECT_EQ(posix_memalign(&out, 64, n), ENOMEM);
    EXPECT(out == live);
}

TEST(more_than_ptrdiff_max)
{
    static const size_t sizes[] = {PTRDIFF_MAX - 4096,
                                   PTRDIFF_MAX,
                                   (size_t)PTRDIFF_MAX + 1,
                                   (size_t)PTRDIFF_MAX + 2,
                                   SIZE_MAX - 65536,
                                   SIZE_MAX - 4096,
                                   SIZE_MAX - 4095,
                                   SIZE_MAX - 16,
                                   SIZE_MAX - 15,
                                   SIZE_MAX - 1,
                                   SIZE_MAX,
                                   (size_t)1 << 60};
    static const size_t lives[] = {10, 100, 5000, 200000};
    for (size_t k = 0; k < sizeof lives / sizeof lives[0]; k++) {
        char *live = malloc(lives[k]);
        fill(live, lives[k], k);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            check_refused(sizes[i], live);
        EXPECT_PATTERN(live, lives[k], k);
        free(live);
    }
}

TEST(products_that_overflow)
{
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},           {2, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},   {(size_t)1 << 32, (size_t)1 << 32},
        {SIZE_MAX / 16 + 2, 16}, {SIZE_MAX, SIZE_MAX}};
    char *live = malloc(50);
    fill(live, 50, 9);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t n = opaque(pairs[i][0]), each = opaque(pairs[i][1]);
        EXPECT_REFUSED(calloc(n, each));
        EXPECT_REFUSED(reallocarray(NULL, n, each));
        EXPECT_REFUSED(reallocarray(live, n, each));
    }
    EXPECT_PATTERN(live, 50, 9);
    free(live);
}

TEST(reallocarray_multiplies)
{
    char *p = NULL;
    for (size_t n = 1; n < 3000; n += 37) {
        p = reallocarray(p, n, 24);
        EXPECT(p != NULL);
        EXPECT_GE(malloc_usable_size(p), n * 24);
        fill(p, n * 24, n);
        EXPECT_PATTERN(p, n * 24, n);
    }
    free(p);
}

/* ---- errno -------------------------------------------------------------- */

static void work(uint64_t *random)
{
    enum { SLOTS = 200 };
    static void *slot[SLOTS];
    for (int i = 0; i < 2000; i++) {
        size_t n = random_size(random, 0, 22), at = random_below(random, SLOTS);
        switch (random_below(random, 4)) {
        case 0:
            slot[at] = realloc(slot[at], n);
            continue;
        case 1:
            free(slot[at]);
            slot[at] = calloc(1, n);
            continue;
        case 2:
            free(slot[at]);
            slot[at] = memalign(1ul << random_below(random, 13), n);
            continue;
        default:
            free(slot[at]);
            slot[at] = malloc(n);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        free(slot[i]);
        slot[i] = NULL;
    }
}

TEST(success_keeps_errno)
{
    uint64_t random = 1;
    for (int round = 0; round < 10; round++) {
        errno = EXDEV;
        work(&random);
        EXPECT_EQ(errno, EXDEV);
    }
}

TEST(free_keeps_errno)
{
    for (int s = 0; s < SOME_SIZES; s++) {
        void *p[20];
        for (int i = 0; i < 20; i++)
            p[i] = malloc(some_sizes[s]);
        errno = EILSEQ;
        for (int i = 0; i < 20; i++)
            free(p[i]);
        free(NULL);
        EXPECT_EQ(errno, EILSEQ);
    }
}

/* ---- C23's frees, where they are ---------------------------------------- */

TEST(sized_frees)
{
    void (*free_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
    *(void **)&free_sized = dlsym(RTLD_DEFAULT, "free_sized");
    *(void **)&free_aligned_sized = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (under_hakmem())
        EXPECT(free_sized != NULL && free_aligned_sized != NULL);
    if (free_sized == NULL || free_aligned_sized == NULL)
        SKIP("this libc has no free_sized");
    size_t before = 0;
    for (int round = 0; round < 400; round++) { /* 2 GB if it did not free */
        for (int s = 0; s < SOME_SIZES; s++) {
            size_t n = some_sizes[s];
            free_sized(memset(malloc(n), 1, n), n);
            free_aligned_sized(memset(aligned_alloc(64, n), 1, n), 64, n);
        }
        free_sized(NULL, 0);
        free_aligned_sized(NULL, 64, 0);
        if (round == 100)
            before = rss_bytes();
    }
    EXPECT_LT(rss_bytes(), before + 32 * MIB);
}

TEST_MAIN()

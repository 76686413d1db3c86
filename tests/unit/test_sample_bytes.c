/* SPDX-License-Identifier: MIT
 * test_sample_bytes.c - samples by bytes: which blocks are sampled, for how
 * many each stands, and that free, realloc and the others find them again.
 */
#include "core_threads.h"

#include "random.h"

#include <base/poisson.h>
#include <core/malloc/sampled.h>
#include <core/route/sample.h>

/* ---- a module that records ----------------------------------------------- */

enum { TABLE = 1 << 22 };

static struct record {
    const void *block; /* atomic; NULL: none, GONE: one was here */
    struct hak_sample sample;
} table[TABLE];
static const char gone;
#define GONE ((const void *)&gone)

/* Sums of all samples, by asked size, and of those that are live. */
enum { ASKED_MOST = 2048 };
static double allocated[ASKED_MOST], live[ASKED_MOST];
static uint64_t nsampled, nfreed;
static bool full;

static size_t place(const void *p)
{
    return (size_t)(random_mix((uintptr_t)p) % TABLE);
}

static struct record *find(const void *p)
{
    for (size_t i = place(p); table[i].block != NULL; i = (i + 1) % TABLE)
        if (table[i].block == p)
            return &table[i];
    return NULL;
}

/* One test at a time records from several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool on_allocated(const struct hak_sample *s)
{
    if (full)
        return false;
    pthread_mutex_lock(&lock);
    EXPECT(find(s->block) == NULL);
    size_t i = place(s->block);
    while (table[i].block != NULL && table[i].block != GONE)
        i = (i + 1) % TABLE;
    table[i].sample = *s;
    table[i].block = s->block;
    nsampled++;
    if (s->asked_bytes < ASKED_MOST) {
        allocated[s->asked_bytes] += s->nblocks;
        live[s->asked_bytes] += s->nblocks;
    }
    pthread_mutex_unlock(&lock);
    return true;
}

static int64_t on_freed(const void *p)
{
    int64_t offset = -1;
    pthread_mutex_lock(&lock);
    struct record *r = find(p);
    if (r != NULL) {
        offset = (int64_t)r->sample.offset_bytes;
        if (r->sample.asked_bytes < ASKED_MOST)
            live[r->sample.asked_bytes] -= r->sample.nblocks;
        r->block = GONE;
        nfreed++;
    }
    pthread_mutex_unlock(&lock);
    return offset;
}

static int64_t offset_of(const void *p)
{
    pthread_mutex_lock(&lock);
    const struct record *r = find(p);
    int64_t offset = r != NULL ? (int64_t)r->sample.offset_bytes : -1;
    pthread_mutex_unlock(&lock);
    return offset;
}

static const struct hak_sample_ops ops = {on_allocated, on_freed, offset_of};

static void sample(uint64_t every)
{
    EXPECT_EQ(hak_sample_bytes_start(&ops, every, 0), 0);
}

static void start_sampling_on(char *conf, char *more, uint64_t every)
{
    char *envp[] = {conf, more, NULL};
    hak_modules_link();
    hak_start(envp);
    EXPECT_EQ(hak_core.mode, HAK_MODE_BOXES);
    sample(every);
}

/* Start on boxes that serve all sizes. more: another variable, or NULL. */
static void start_sampling_with(uint64_t every, char *more)
{
    static char conf[] = "HAKMEM_CONF=tests/loader/sizes.ini";
    start_sampling_on(conf, more, every);
}

static void start_sampling(uint64_t every)
{
    start_sampling_with(every, NULL);
}

/* What entry.c does. */
static void *again_with(void *p, size_t size)
{
    const struct hak_span *span = hak_directory_get(p);
    if (span != NULL && hak_fits(span->slot_bytes, size) &&
        hak_span_looks_live(span, p))
        return p;
    return hak_realloc_slow(p, size);
}

/* ---- the distribution ---------------------------------------------------- */

static bool is_near(double a, double b, double most)
{
    return a - b <= most && b - a <= most;
}

TEST(distances_are_exponential)
{
    enum { N = 1000000 };
    double sum = 0;
    int nabove = 0;
    for (int i = 0; i < N; i++) {
        double x = hak_random_exponential();
        EXPECT(x > 0 && x < 45);
        sum += x;
        nabove += x > 1;
    }
    EXPECT(is_near(sum / N, 1, 0.005));
    EXPECT(is_near((double)nabove / N, 0.367879, 0.0025));
}

TEST(probabilities_are_those_of_a_poisson_process)
{
    static const double known[][2] = {
        {0, 0},
        {1e-5, 9.999950000166666e-06},
        {0.1, 0.09516258196404048},
        {1, 0.6321205588285577},
        {5, 0.9932620530009145},
        {1000, 1},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        EXPECT(is_near(hak_hit_probability(known[i][0]), known[i][1],
                       1e-11 * known[i][1]));
}

/* ---- every block --------------------------------------------------------- */

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i + n);
}

static void expect_filled(const char *p, size_t n, size_t of)
{
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(p[i], (char)(i + of));
}

static const size_t sizes[] = {0,    1,    16,   17,    100,    500,
                               1024, 1500, 8000, 40000, 262144, 1000000};
enum { NSIZES = sizeof sizes / sizeof sizes[0] };

TEST(every_1_samples_each_block)
{
    start_sampling(1);
    for (size_t i = 0; i < NSIZES; i++) {
        char *p = hak_malloc(sizes[i]);
        const struct record *r = find(p);
        EXPECT(r != NULL);
        EXPECT_EQ(r->sample.asked_bytes, sizes[i]);
        EXPECT(r->sample.slot_bytes >= sizes[i]);
        EXPECT(r->sample.nblocks == 1);
        EXPECT_EQ((uintptr_t)p % 16, 0);
        size_t usable = hak_usable("usable", p);
        EXPECT(usable >= sizes[i]);
        fill(p, usable);
        expect_filled(p, usable, usable);
        hak_free(p);
    }
    EXPECT_EQ(nsampled, NSIZES);
    EXPECT_EQ(nfreed, NSIZES);
}

TEST(freed_blocks_give_their_slots_back)
{
    start_sampling(1);
    uint64_t before = figures().live_count;
    for (int i = 0; i < 100000; i++)
        hak_free(hak_malloc(BYTES));
    EXPECT_EQ(figures().live_count, before);
    EXPECT(figures().mapped_bytes < 4 << 20);
}

TEST(proxies_give_their_slots_back)
{
    static void *kept[100000];
    start_sampling(64 << 10);
    for (size_t i = 0; i < 100000; i++)
        kept[i] = hak_malloc(BYTES);
    EXPECT(nsampled > 0);
    EXPECT(figures().live_count > 100000);
    for (size_t i = 0; i < 100000; i++)
        hak_free(kept[i]);
    EXPECT_EQ(figures().live_count, 0);
}

TEST(realloc_moves_a_sampled_block)
{
    start_sampling(1);
    for (size_t i = 0; i < NSIZES; i++) {
        for (size_t k = 1; k < NSIZES; k++) {
            size_t both_have = hak_min(sizes[i], sizes[k]);
            char *p = hak_malloc(sizes[i]);
            fill(p, sizes[i]);
            p = again_with(p, sizes[k]);
            expect_filled(p, both_have, sizes[i]);
            EXPECT(hak_usable("usable", p) >= sizes[k]);
            hak_free(p);
        }
    }
    EXPECT_EQ(nsampled, nfreed);
}

TEST(calloc_and_aligned_blocks_are_sampled)
{
    start_sampling(1);
    for (size_t i = 0; i < NSIZES; i++) {
        char *p = hak_alloc_slow(hak_self, sizes[i], true);
        for (size_t k = 0; k < sizes[i]; k++)
            EXPECT_EQ(p[k], 0);
        hak_free(p);
        for (size_t align = 32; align <= 1 << 21; align *= 2) {
            p = hak_alloc_aligned(align, sizes[i]);
            EXPECT(find(p) != NULL);
            EXPECT_EQ((uintptr_t)p % align, 0);
            fill(p, sizes[i]);
            expect_filled(p, sizes[i], sizes[i]);
            hak_expect_size("free_aligned_sized", p, align, sizes[i]);
            hak_free(p);
        }
    }
    EXPECT_EQ(nsampled, nfreed);
}

/* Sample each block, and expect free to find all of them. */
static void expect_all_freed(void)
{
    static char *p[64];
    for (size_t align = 16; align <= 2048; align *= 2) {
        for (size_t size = 200; size < 1024; size += 13) {
            for (size_t i = 0; i < 64; i++) {
                p[i] = align == 16 ? hak_malloc(size)
                                   : hak_alloc_aligned(align, size);
                EXPECT_EQ((uintptr_t)p[i] % align, 0);
                fill(p[i], size);
            }
            for (size_t i = 0; i < 64; i++) {
                expect_filled(p[i], size, size);
                hak_free(p[i]);
            }
        }
    }
    EXPECT(nsampled > 10000);
    EXPECT_EQ(nsampled, nfreed);
}

/* The spans of smallmid have slots of several slabs. */
TEST(free_finds_sampled_blocks_in_spans_that_are_lists)
{
    static char conf[] = "HAKMEM_CONF=tests/loader/lists.ini";
    start_sampling_on(conf, NULL, 1);
    expect_all_freed();
}

TEST(free_finds_sampled_blocks_that_the_first_box_declined)
{
    static char conf[] = "HAKMEM_CONF=tests/loader/declines.ini";
    start_sampling_on(conf, NULL, 1);
    expect_all_freed();
}

TEST_DIES(a_sampled_block_is_freed_twice, SIGABRT, "hakmem")
{
    start_sampling(1);
    void *p = hak_malloc(BYTES);
    hak_free(p);
    hak_free(p);
}

/* ---- other threads ------------------------------------------------------- */

enum { HANDED = 20000 };
static void *handed[HANDED];

static void *allocate_many(void *unused)
{
    for (size_t i = 0; i < HANDED; i++) {
        handed[i] = hak_malloc(16 + i % 700);
        memset(handed[i], 1, 16 + i % 700);
    }
    return unused;
}

TEST(another_thread_frees_sampled_blocks)
{
    start_sampling(1000);
    for (int round = 0; round < 5; round++) {
        run(allocate_many, NULL);
        for (size_t i = 0; i < HANDED; i++)
            hak_free(handed[i]);
    }
    hak_mailbox_receive_all(hak_self);
    hak_trim_all();
    EXPECT(nsampled > 1000);
    EXPECT_EQ(nsampled, nfreed);
    EXPECT_EQ(figures().live_count, 0);
}

/* ---- begin and end ------------------------------------------------------- */

static void pairs(int n)
{
    for (int i = 0; i < n; i++)
        hak_free(hak_malloc(BYTES));
}

TEST(a_thread_that_allocates_inline_is_sampled_from_then_on)
{
    start();
    pairs(1000); /* the lane is warm and never runs empty */
    sample(64 << 10);
    pairs(200000);
    EXPECT(nsampled > 100);
}

TEST(no_block_is_sampled_after_the_end)
{
    start_sampling(64 << 10);
    void *kept[1000];
    for (size_t i = 0; i < 1000; i++)
        kept[i] = hak_malloc(1000);
    uint64_t before = nsampled;
    EXPECT(before > 0);
    sample(0);
    pairs(200000);
    EXPECT_EQ(nsampled, before);
    for (size_t i = 0; i < 1000; i++)
        hak_free(kept[i]);
    EXPECT_EQ(nsampled, nfreed);
    sample(64 << 10);
    pairs(200000);
    EXPECT(nsampled > before);
}

TEST(a_second_module_is_refused)
{
    static const struct hak_sample_ops others;
    start_sampling(1000);
    EXPECT_EQ(hak_sample_bytes_start(&others, 1000, 0), -EBUSY);
}

TEST(a_block_that_is_not_recorded_is_like_any_other)
{
    full = true;
    start_sampling(1);
    for (size_t i = 0; i < NSIZES; i++) {
        char *p = hak_malloc(sizes[i]);
        fill(p, sizes[i]);
        expect_filled(p, sizes[i], sizes[i]);
        hak_free(p);
    }
    EXPECT_EQ(nsampled, 0);
}

/* ---- estimates against the truth ----------------------------------------- */

/*
 * The sites of a program, told apart by their sizes. The first two share the
 * slots of one size. One of these keeps its blocks, the other does not, so
 * lanes run empty for one and are looked at by frees of the other.
 */
enum { SITES = 4 };
static const size_t site_bytes[SITES] = {97, 111, 320, 1000};

/* Allocate as the program does. truth: counts the blocks of each site. */
static void run_program(int n, double truth[SITES])
{
    for (int i = 0; i < n; i++) {
        for (int site = 0; site < SITES; site++) {
            int burst = site == 2 ? 1 + (int)rnd(20) : 1;
            for (int k = 0; k < burst; k++) {
                void *p = hak_malloc(site_bytes[site]);
                truth[site]++;
                if (site != 0)
                    hak_free(p);
            }
        }
    }
}

TEST(sums_over_samples_are_unbiased)
{
    double truth[SITES] = {0};
    start_sampling(64 << 10);
    run_program(400000, truth);
    for (int site = 0; site < SITES; site++) {
        double sum = allocated[site_bytes[site]];
        double p = hak_hit_probability((double)site_bytes[site] / (64 << 10));
        /* Variance of the estimate: n (1 - p) / p. Five deviations. */
        double variance = truth[site] * (1 - p) / p;
        double error = sum - truth[site];
        EXPECT(error * error < 25 * variance);
    }
    EXPECT(live[97] == allocated[97]);
    for (int site = 1; site < SITES; site++)
        EXPECT(is_near(live[site_bytes[site]], 0, 1e-3));
}

/* The pages that live blocks are in: each block counts as a part of its page.
 */
static double estimated_pages(void)
{
    double npages = 0;
    for (size_t i = 0; i < TABLE; i++) {
        if (table[i].block == NULL || table[i].block == GONE)
            continue;
        const struct hak_sample *s = &table[i].sample;
        const struct hak_span *span = span_of(s->place);
        EXPECT(span->slot_bytes == s->slot_bytes);
        npages += s->nblocks / (double)(span->nalloc - span->nfree);
    }
    return npages;
}

TEST(a_sample_tells_how_full_the_page_is)
{
    enum { N = 100000 };
    double npages = 0;
    start_sampling(64 << 10);
    for (size_t i = 0; i < N; i++) {
        const struct hak_span *span = span_of(hak_malloc(BYTES));
        if (span->slot_bytes == 112)
            npages += span->nalloc - span->nfree == 1;
    }
    double estimate = estimated_pages();
    EXPECT(npages > 100);
    EXPECT(is_near(estimate, npages, npages / 2.5));
}

/* ---- beside a sampling box ----------------------------------------------- */

TEST(a_box_and_a_module_sample_at_the_same_time)
{
    static char guard[] = "HAKMEM_CORE_SAMPLE=guard";
    static void *kept[1000];
    uint64_t nguarded = 0;
    start_sampling_with(64 << 10, guard);
    EXPECT_EQ(hak_core.sample_every, 5000);
    for (int round = 0; round < 400; round++) {
        for (size_t i = 0; i < 1000; i++) {
            kept[i] = hak_malloc(BYTES);
            fill(kept[i], BYTES);
            nguarded +=
                strcmp(hak_directory_get(kept[i])->box->name, "guard") == 0;
        }
        for (size_t i = 0; i < 1000; i++) {
            expect_filled(kept[i], BYTES, BYTES);
            hak_free(kept[i]);
        }
    }
    /* 80 are expected, and 400,000 with a deviation of 4 %. */
    EXPECT(nguarded >= 40 && nguarded <= 160);
    EXPECT(is_near(allocated[BYTES], 400000, 80000));
    EXPECT_EQ(nsampled, nfreed);
}

/* Samples of each block leave the box its own. */
TEST(a_request_of_which_both_samples_are_due_is_the_boxs)
{
    static char guard[] = "HAKMEM_CORE_SAMPLE=guard";
    uint64_t nguarded = 0;
    start_sampling_with(1, guard);
    for (int i = 0; i < 400000; i++) {
        char *p = hak_malloc(BYTES);
        EXPECT(find(p) != NULL);
        nguarded += strcmp(hak_directory_get(p)->box->name, "guard") == 0;
        hak_free(p);
    }
    EXPECT(nguarded >= 40 && nguarded <= 160);
    EXPECT_EQ(nsampled, nfreed);
}

TEST_MAIN()

/* SPDX-License-Identifier: MIT
 * test_heap_profile.c - module "heap_profile": its figures against what is
 * known, its bounds, and its locks.
 */
#include "heap_profile.h"

#include "random.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>

/* ---- figures ------------------------------------------------------------- */

TEST(live_and_allocated_are_those_of_each_stack)
{
    start("x.pb.gz");
    EXPECT_EQ(sampled_every, 512 << 10);
    set_stack(3, 0x1000);
    for (uintptr_t i = 0; i < 10; i++)
        EXPECT(allocate(0x100000 + i * 64, 40, 64, 2));
    set_stack(2, 0x2000);
    EXPECT(allocate(0x200000, 1000, 1024, 100));
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT(give_back(0x100000 + i * 64));
    profile();
    EXPECT_CONTAINS(said, "stack=[anonymous]+0x1000,[anonymous]+0x1001,"
                          "[anonymous]+0x1002\n");
    EXPECT_EQ(sum_of("alloc_objects", "+0x1000,"), 20);
    EXPECT_EQ(sum_of("alloc_space", "+0x1000,"), 800);
    EXPECT_EQ(sum_of("inuse_objects", "+0x1000,"), 12);
    EXPECT_EQ(sum_of("inuse_space", "+0x1000,"), 480);
    EXPECT_EQ(sum_of("inuse_samples", "+0x1000,"), 6);
    EXPECT_EQ(sum_of("freed_objects", "+0x1000,"), 8);
    EXPECT_EQ(sum_of("slot_overhead", "+0x1000,"), 12 * (64 - 40));
    EXPECT_EQ(sum_of("inuse_space", "box=ultra bytes=1024"), 100000);
    EXPECT_EQ(sum_of("slot_overhead", "+0x2000,"), 2400);
    /* 100 * 99 * (1000 / 1024)^2 = 9441.4, rounded up */
    EXPECT_EQ(sum_of("inuse_variance", "+0x2000,"), 9442);
    EXPECT_CONTAINS(said, "comment live=100480\n");
    EXPECT_CONTAINS(said, "comment allocated=100800\n");
    EXPECT_CONTAINS(said, "comment samples=11\n");
    EXPECT_CONTAINS(said, "comment reason=control\n");
    remove_folder();
}

TEST(an_entry_of_which_all_was_freed_is_exactly_zero)
{
    start("x.pb.gz");
    for (uintptr_t i = 1; i <= 1000; i++)
        EXPECT(allocate(i * 64, i, 64, 1 + 1.0 / (double)i));
    for (uintptr_t i = 1; i <= 1000; i++)
        EXPECT(give_back(i * 64));
    const struct hak_profile_entry *e = hak_profile_at(&hak_profile_entries, 0);
    EXPECT(e->figures.live_bytes == 0 && e->figures.live == 0);
    EXPECT(e->figures.variance_kib2 == 0);
    remove_folder();
}

/* A second implementation of the peak: all is copied at each new maximum. */
enum { PEAK_STACKS = 40, PEAK_BLOCKS = 300, PEAK_TURNS = 20000 };

TEST(the_peak_of_each_stack_is_that_of_the_highest_sum)
{
    long long live[PEAK_STACKS] = {0}, peak[PEAK_STACKS] = {0};
    size_t size[PEAK_BLOCKS] = {0};
    long long sum = 0, most = 0;
    uint64_t seed = 5;
    start("x.pb.gz");
    for (int turn = 0; turn < PEAK_TURNS; turn++) {
        uint32_t i = (uint32_t)(random_next(&seed) % PEAK_BLOCKS);
        uint32_t stack = i % PEAK_STACKS;
        if (size[i] != 0) {
            EXPECT(give_back(0x100000 + i * 64));
            live[stack] -= (long long)size[i];
            sum -= (long long)size[i];
            size[i] = 0;
            continue;
        }
        size[i] = 1 + random_next(&seed) % 5000;
        set_stack(1, 0x100 + stack);
        EXPECT(allocate(0x100000 + i * 64, size[i], 8192, 1));
        live[stack] += (long long)size[i];
        sum += (long long)size[i];
        if (sum > most) {
            most = sum;
            memcpy(peak, live, sizeof peak);
        }
    }
    profile();
    for (uint32_t i = 0; i < PEAK_STACKS; i++) {
        char text[64];
        snprintf(text, sizeof text, "stack=[anonymous]+0x%x", 0x100 + i);
        EXPECT_EQ(sum_of("peak_space", text), peak[i]);
        EXPECT_EQ(sum_of("inuse_space", text), live[i]);
    }
    EXPECT_EQ(sum_of("peak_space", ""), most);
    EXPECT_EQ(hak_profile.totals.peak_bytes, most);
    remove_folder();
}

TEST(lifetimes_by_decades)
{
    static const struct {
        uint64_t us;
        const char *name;
    } cases[] = {
        {0, "<1ms"},
        {999, "<1ms"},
        {1000, "<10ms"},
        {9999, "<10ms"},
        {10000, "<100ms"},
        {99999, "<100ms"},
        {100000, "<1s"},
        {999999, "<1s"},
        {1000000, "<10s"},
        {10000000, "<100s"},
        {99999999, "<100s"},
        {100000000, ">=100s"},
        {UINT64_MAX, ">=100s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        EXPECT_STR(hak_profile_lifetimes[hak_profile_lifetime(cases[i].us)],
                   cases[i].name);
    start("x.pb.gz");
    for (uintptr_t i = 1; i <= 20; i++)
        EXPECT(allocate(i * 64, 10, 16, 3));
    for (uintptr_t i = 1; i <= 20; i++)
        EXPECT(give_back(i * 64));
    profile();
    EXPECT_EQ(sum_of("freed_objects", " lifetime=<"), 60);
    EXPECT_EQ(sum_of("alloc_objects", " lifetime=<"), 0);
    remove_folder();
}

/*
 * Samples as the core takes them: a block is sampled with a probability that
 * grows with its size, and then stands for as many blocks as the inverse of
 * that. (The core's is 1 - exp(-size / every), nearly the same.) The interval
 * of 1.96 standard deviations has the truth in it in 95 of 100 cases, which is
 * 380 of 400, with a standard deviation of 4.4. In fewer than 93 of 100 it
 * would be too narrow. Seeds are fixed, so the count is too.
 */
enum { SEEDS = 400, BLOCKS = 20000, EVERY = 64 << 10, COVERED = 372 };

static double live_bytes(double *variance_kib2)
{
    double sum = 0;
    *variance_kib2 = 0;
    for (uint32_t i = 0; i < hak_profile_entries.n; i++) {
        const struct hak_profile_entry *e =
            hak_profile_at(&hak_profile_entries, i);
        sum += e->figures.live_bytes;
        *variance_kib2 += e->figures.variance_kib2;
    }
    return sum;
}

TEST(estimates_are_as_near_as_their_variance_says)
{
    static bool sampled[BLOCKS];
    int covered = 0;
    start("x.pb.gz");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t random = seed;
        double truth = 0, variance;
        for (uintptr_t i = 0; i < BLOCKS; i++) {
            size_t size = 16 + random_next(&random) % 4096;
            double p = (double)size / (double)(size + EVERY);
            double x = (double)(random_next(&random) >> 11) / 9007199254740992.;
            bool stays = random_next(&random) % 3 == 0;
            set_stack(1, 0x100 + i % 10);
            sampled[i] = x < p;
            truth += stays ? (double)size : 0;
            if (sampled[i])
                EXPECT(allocate((i + 1) * 4096, size, size, 1 / p));
            if (sampled[i] && !stays) {
                EXPECT(give_back((i + 1) * 4096));
                sampled[i] = false;
            }
        }
        double far_kib = (live_bytes(&variance) - truth) / 1024;
        covered += far_kib * far_kib <= 1.96 * 1.96 * variance;
        for (uintptr_t i = 0; i < BLOCKS; i++)
            if (sampled[i])
                EXPECT(give_back((i + 1) * 4096));
    }
    EXPECT_GE(covered, COVERED);
    EXPECT_LT(covered, SEEDS); /* an interval that always has it is too wide */
    remove_folder();
}

/* One of two OS pages is resident, 10 slots of 64 bytes are live in it. */
TEST(survivors_share_what_is_free_in_their_page)
{
    start("x.pb.gz");
    page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    page[0] = 1;
    page_nlive = 10;
    EXPECT(allocate((uintptr_t)page + 64 + 16, 40, 64, 5));
    EXPECT(allocate((uintptr_t)page + 128 + 16, 40, 64, 1));
    EXPECT(allocate(0x1000, 40, 64, 1)); /* of no page */
    profile();
    /* (4096 - 640) / 10 = 345.6 for each of 6 */
    EXPECT_EQ(sum_of("page_overhead", ""), 2074);
    page[4096] = 1;
    profile(); /* (8192 - 640) / 10 * 6 */
    EXPECT_EQ(sum_of("page_overhead", ""), 4531);
    remove_folder();
}

static void *allocate_named(void *name)
{
    pthread_setname_np(pthread_self(), name);
    set_stack(1, 0x100);
    EXPECT(allocate((uintptr_t)name, 100, 128, 1));
    return NULL;
}

TEST(figures_are_parted_by_the_names_of_threads)
{
    static char names[4][16] = {"one", "two", "two", "three"};
    start("x.pb.gz");
    for (int i = 0; i < 4; i++) {
        pthread_t t;
        EXPECT_EQ(pthread_create(&t, NULL, allocate_named, names[i]), 0);
        pthread_join(t, NULL); /* the next one may have its structure */
    }
    profile();
    EXPECT_EQ(sum_of("inuse_space", "thread=one "), 100);
    EXPECT_EQ(sum_of("inuse_space", "thread=two "), 200);
    EXPECT_EQ(sum_of("inuse_space", "thread=three "), 100);
    remove_folder();
}

/* ---- bounds -------------------------------------------------------------- */

/* Most is full before so many blocks are recorded. */
enum { FULL_MOST = 1 << 20, FULL_TRIES = 100000 };

TEST(what_does_not_fit_is_counted)
{
    uintptr_t n = 0;
    conf.heap_profile.most_bytes = FULL_MOST;
    start("x.pb.gz");
    set_stack(1, 0x100);
    while (n < FULL_TRIES && allocate((n + 1) * 64, 10, 16, 1))
        n++;
    EXPECT_GT(n, 1000);
    EXPECT_LT(n, FULL_TRIES);
    EXPECT_LE(hak_counted(&hak_profile.used_bytes), FULL_MOST);
    EXPECT(!allocate((n + 1) * 64, 10, 16, 1));
    EXPECT_EQ(ops->freed((const void *)((n + 1) * 64)), -1);
    profile();
    EXPECT_CONTAINS(said, "comment lost_blocks=2\n");
    EXPECT_EQ(sum_of("inuse_space", ""), 10 * (long long)n);
    for (uintptr_t i = 1; i <= n; i++)
        EXPECT(give_back(i * 64));
    EXPECT(allocate(64, 10, 16, 1)); /* there is room again */
    EXPECT_CONTAINS(report(true), "\"lost_blocks\":2,");
    remove_folder();
}

/* A block whose stack has no room is still counted, without a stack. */
TEST(blocks_whose_stack_does_not_fit_have_none)
{
    uintptr_t n = 0;
    conf.heap_profile.most_bytes = FULL_MOST;
    start("x.pb.gz");
    for (; n < FULL_TRIES && hak_profile.totals.nlost_stacks == 0; n++) {
        set_stack(60, 0x10000 + n * 64);
        if (allocate((n + 1) * 64, 10, 16, 1))
            continue;
        test_fail(__FILE__, __LINE__, "block %lu has no room", (long)n);
    }
    EXPECT_LT(n, FULL_TRIES);
    profile();
    EXPECT_EQ(sum_of("inuse_space", "stack=\n"), 0);
    EXPECT_EQ(sum_of("inuse_objects", ""), (long long)n);
    EXPECT_CONTAINS(said, "comment lost_stacks=1\n");
    EXPECT_CONTAINS(said, " inuse_samples=1 stack=\n");
    remove_folder();
}

TEST(a_stack_has_at_most_so_many_frames)
{
    start("x.pb.gz");
    conf.heap_profile.frames = 5;
    set_stack(30, 0x100);
    EXPECT(allocate(64, 10, 16, 1));
    profile();
    EXPECT_CONTAINS(said, "stack=[anonymous]+0x100,[anonymous]+0x101,"
                          "[anonymous]+0x102,[anonymous]+0x103,"
                          "[anonymous]+0x104\n");
    remove_folder();
}

/* ---- objects ------------------------------------------------------------- */

/* Sample a block in a function of a library, and close the library. */
static void allocate_in(const char *library, const char *function,
                        uintptr_t block)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    EXPECT(handle != NULL);
    uintptr_t at = (uintptr_t)dlsym(handle, function);
    EXPECT(at != 0);
    set_stack(1, at);
    EXPECT(allocate(block, 100, 128, 1));
    EXPECT_EQ(dlclose(handle), 0);
}

/* The second library comes to the place of the first. */
TEST(a_library_that_was_closed_keeps_its_name)
{
    start("x.pb.gz");
    allocate_in("libresolv.so.2", "__b64_ntop", 64);
    allocate_in("libBrokenLocale.so.1", "__ctype_get_mb_cur_max", 128);
    profile();
    EXPECT_EQ(sum_of("inuse_space", "stack=libresolv.so.2+0x"), 100);
    EXPECT_EQ(sum_of("inuse_space", "stack=libBrokenLocale.so.1+0x"), 100);
    remove_folder();
}

TEST(mappings_have_files_offsets_and_build_ids)
{
    start("x.pb.gz");
    set_stack(1, (uintptr_t)&gnu_get_libc_version);
    EXPECT(allocate(64, 10, 16, 1));
    const struct hak_profile_object *o = NULL;
    profile();
    for (uint32_t i = 0; i < hak_profile_objects.n; i++) {
        o = hak_profile_at(&hak_profile_objects, i);
        if (strstr(o->name, "libc.so") != NULL)
            break;
    }
    EXPECT(o != NULL && strstr(o->name, "/libc.so.6") != NULL);
    EXPECT_EQ(o->id_bytes, 20);
    EXPECT_GT(o->file_offset, 0);
    EXPECT(o->start <= (uintptr_t)&gnu_get_libc_version &&
           (uintptr_t)&gnu_get_libc_version < o->limit);
    EXPECT_CONTAINS(said, "stack=libc.so.6+0x");
    EXPECT_CONTAINS(said, "mapping 1 0x"); /* the program comes first */
    EXPECT_STR(
        ((struct hak_profile_object *)hak_profile_at(&hak_profile_objects, 0))
            ->name,
        hak_profile_program);
    remove_folder();
}

/* ---- locks --------------------------------------------------------------- */

TEST(a_sample_in_the_middle_of_another_is_declined)
{
    start("x.pb.gz");
    EXPECT(allocate(64, 10, 16, 1));
    EXPECT(allocate(128, 10, 16, 1));
    EXPECT(hak_profile_enter());
    EXPECT(!allocate(192, 10, 16, 1));
    EXPECT(give_back(64)); /* but a free is not lost */
    EXPECT(!give_back(64));
    EXPECT_EQ(ops->offset((const void *)64), -1);
    EXPECT_EQ(ops->offset((const void *)128), 16);
    EXPECT(!hak_profile_enter());
    EXPECT_EQ(hak_profile.totals.live_bytes, 20);
    hak_profile_leave(false);
    hak_profile_leave(true);
    EXPECT_EQ(hak_profile.totals.live_bytes, 10);
    EXPECT_EQ(hak_counted(&hak_profile.nlost_blocks), 1);
    remove_folder();
}

TEST(errno_is_kept)
{
    start("x.pb.gz");
    errno = 12345;
    EXPECT(allocate(64, 10, 16, 1));
    EXPECT_EQ(ops->freed((const void *)4096), -1);
    EXPECT(give_back(64));
    EXPECT_EQ(errno, 12345);
    remove_folder();
}

/* Threads that take and free the same few thousand addresses in turn, so that
 * each record and each place of the table is used by all of them. */
enum { HAMMERS = 100, HAMMER_BLOCKS = 5000, HAMMER_TURNS = 4000 };
enum { FREE, BUSY, LIVE };
static uint8_t state[HAMMER_BLOCKS]; /* atomic */
static uint64_t nlive_now;           /* atomic */

static uintptr_t address_of(uint32_t i)
{
    return 0x10000000 + (uintptr_t)i * 48;
}

static void hammer_one(uint32_t i)
{
    uint8_t seen = __atomic_load_n(&state[i], __ATOMIC_RELAXED);
    if (seen == BUSY ||
        !__atomic_compare_exchange_n(&state[i], &seen, BUSY, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    if (seen == FREE) {
        EXPECT_EQ(ops->freed((const void *)address_of(i)), -1);
        EXPECT(allocate(address_of(i), i + 1, 8192, 1));
    } else {
        EXPECT_EQ(ops->offset((const void *)address_of(i)), 16);
        EXPECT(give_back(address_of(i)));
    }
    hak_count_shared(&nlive_now, seen == FREE ? 1 : -1);
    __atomic_store_n(&state[i], seen == FREE ? LIVE : FREE, __ATOMIC_RELEASE);
}

static void *hammer(void *number)
{
    uint64_t seed = (uintptr_t)number + 1;
    set_stack(2, 0x1000 + (uintptr_t)number % 7);
    for (int turn = 0; turn < TEST_TURNS(HAMMER_TURNS); turn++)
        hammer_one((uint32_t)(random_next(&seed) % HAMMER_BLOCKS));
    return NULL;
}

TEST(nothing_is_lost_or_doubled_by_a_hundred_threads)
{
    pthread_t t[HAMMERS];
    uint64_t bytes = 0;
    start("x.pb.gz");
    for (uintptr_t i = 0; i < HAMMERS; i++)
        EXPECT_EQ(pthread_create(&t[i], NULL, hammer, (void *)i), 0);
    for (uintptr_t i = 0; i < HAMMERS; i++)
        pthread_join(t[i], NULL);
    for (uint32_t i = 0; i < HAMMER_BLOCKS; i++)
        bytes += state[i] == LIVE ? i + 1 : 0;
    profile();
    EXPECT_GT(bytes, 0);
    EXPECT_EQ(sum_of("inuse_space", ""), bytes);
    EXPECT_EQ(sum_of("inuse_samples", ""), nlive_now);
    EXPECT_EQ(sum_of("alloc_objects", "") - sum_of("freed_objects", ""),
              nlive_now);
    for (uint32_t i = 0; i < HAMMER_BLOCKS; i++)
        EXPECT_EQ(give_back(address_of(i)), state[i] == LIVE);
    profile();
    EXPECT_EQ(sum_of("inuse_objects", ""), 0);
    remove_folder();
}

TEST_MAIN()

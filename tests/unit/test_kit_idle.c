/* SPDX-License-Identifier: MIT
 * test_kit_idle.c - kit/idle.h, absent.h: slots that sleep, wake, and lose
 * nothing.
 */
#include "log_to_stderr.h"
#include "random.h"
#include "test.h"

#include <kit/lost.h>
#include <kit/idle.h>

#include <errno.h>

enum { MOST_BYTES = 2 << 20, OS_PAGE = 4096 };

static _Alignas(65536) char memory[MOST_BYTES];
static struct hak_page page;
static bool out[MOST_BYTES / 16];
static size_t page_bytes, purged_bytes;
static uint32_t npurges;
static bool locked; /* half of what is to be purged */

static char *slot_at(size_t i)
{
    return page.start + i * page.span.slot_bytes;
}

/* What goes is whole pages of the system, and of nobody's slot. */
static int purge(struct hak_box *box, void *p, size_t size_bytes)
{
    (void)box;
    size_t at = (size_t)((char *)p - memory);
    EXPECT_EQ(at % OS_PAGE + size_bytes % OS_PAGE, 0);
    EXPECT_GT(size_bytes, 0);
    EXPECT_LE(at + size_bytes, page_bytes);
    size_t slot = page.span.slot_bytes;
    for (size_t i = at / slot; i * slot < at + size_bytes; i++)
        EXPECT(i >= page.capacity || !out[i]);
    if (npurges++ % 2 != 0 && locked)
        return -EINVAL; /* it is as it was */
    memset(p, 0, size_bytes);
    purged_bytes += size_bytes;
    return 0;
}

static uint64_t one(void)
{
    return 1;
}

static const struct hak_host host = {.os_page_bytes = OS_PAGE,
                                     .purge = purge,
                                     .random = one,
                                     .log = log_to_stderr};
static struct hak_box box = {.host = &host};

static void new_page(size_t bytes, uint32_t slot_bytes)
{
    memset(&page, 0, sizeof page);
    memset(out, 0, sizeof out);
    purged_bytes = npurges = 0;
    page_bytes = bytes;
    page.span.box = &box;
    page.span.key = hak_link_key(&box);
    hak_page_init(&page, memory, bytes, slot_bytes, 0);
    page.tail = false; /* but where a test says so */
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)rnd(n);
}

/* A slot as a refill finds it; its number, or capacity: the page is full. */
static uint32_t alloc(void)
{
    if (page.span.local == NULL && !hak_page_wake(&page)) {
        if (page.carved == page.capacity)
            return page.capacity;
        hak_page_carve(&page, 1);
    }
    char *p = hak_span_pop(&page.span);
    uint32_t i = (uint32_t)((size_t)(p - memory) / page.span.slot_bytes);
    EXPECT(p == slot_at(i));
    EXPECT(!out[i]);
    out[i] = true;
    memset(p, (int)(i % 251), page.span.slot_bytes);
    return i;
}

static void release(uint32_t i)
{
    const char *p = slot_at(i);
    for (size_t k = 0; k < page.span.slot_bytes; k++)
        EXPECT_EQ((unsigned char)p[k], i % 251);
    out[i] = false;
    hak_span_push(&page.span, slot_at(i));
}

static void fill(void)
{
    while (alloc() != page.capacity)
        ;
}

static size_t sleep_now(void)
{
    uint32_t ncalls = 0;
    size_t before = purged_bytes, n = npurges;
    size_t bytes = hak_page_sleep(&page, &ncalls);
    EXPECT_EQ(bytes, purged_bytes - before);
    EXPECT_EQ(ncalls, npurges - n);
    hak_page_check(&page);
    return bytes;
}

static const uint32_t sizes[] = {16, 48, 512, 1040, 4096, 5120, 9216, 40960};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

TEST(all_but_one_slot_sleeps)
{
    for (size_t s = 0; s < SIZES; s++)
        for (size_t bytes = 65536; bytes <= MOST_BYTES; bytes *= 2) {
            new_page(bytes, sizes[s]);
            fill();
            for (uint32_t i = 0; i < page.capacity; i++)
                if (i != page.capacity / 2)
                    release(i);
            /* at most: the live slot's group and what it shares pages of the
             * system with, the last page and the tail */
            size_t group = (size_t)1 << hak_page_group_shift(&page);
            size_t kept = group + 2 * sizes[s] + 3 * OS_PAGE + bytes % sizes[s];
            EXPECT_GE(sleep_now() + kept, bytes);
            EXPECT_EQ(sleep_now(), 0);
            fill(); /* nothing is lost */
            for (uint32_t i = 0; i < page.capacity; i++)
                release(i);
        }
}

TEST(nothing_sleeps_in_a_page_in_use)
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < page.capacity; i += 2)
        release(i);
    EXPECT_EQ(sleep_now(), 0);
    EXPECT_EQ(page.asleep, 0);
}

TEST(random_steps_lose_nothing)
{
    locked = true;
    for (size_t s = 0; s < SIZES; s++) {
        new_page(below(2) ? 65536 : 262144, sizes[s]);
        for (int step = 0; step < 400; step++) {
            uint32_t n = below(page.capacity + 1);
            switch (below(4)) {
            case 0:
                for (; n != 0; n--)
                    (void)alloc();
                break;
            case 1: /* a run, so that groups become free */
                for (uint32_t i = below(page.capacity);
                     i < page.capacity && n != 0; i++, n--)
                    if (out[i])
                        release(i);
                break;
            default:
                (void)sleep_now();
            }
            hak_page_check(&page);
        }
        EXPECT(sizes[s] > 10000 || npurges > 0);
    }
}

TEST(a_walk_passes_over_what_sleeps)
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < 100; i++)
        release(i);
    EXPECT_GT(sleep_now(), 40 * 1024);
    uint64_t is_free[HAK_BITS_WORDS(128)] = {0};
    hak_page_mark_free(&page, is_free);
    for (uint32_t i = 0; i < page.capacity; i++)
        EXPECT_EQ(hak_bit(is_free, i), !out[i]);
}

TEST(a_look_is_patient)
{
    uint32_t ncalls = 0;
    new_page(65536, 64);
    fill();
    for (uint32_t i = 0; i < 600; i++)
        release(i);
    EXPECT_EQ(hak_page_look(&page, false, &ncalls), 0); /* used since */
    release(600);
    EXPECT_EQ(hak_page_look(&page, false, &ncalls), 0); /* again */
    EXPECT_GT(hak_page_look(&page, false, &ncalls), 0);
    EXPECT_EQ(hak_page_look(&page, true, &ncalls), 0); /* once is enough */
    release(700);
    for (uint32_t i = 601; i < 700; i++)
        release(i);
    EXPECT_GT(hak_page_look(&page, true, &ncalls), 0);
}

TEST(what_is_not_carved_goes_once)
{
    uint32_t ncalls = 0;
    new_page(262144, 512);
    page.tail = true;
    for (int i = 0; i < 10; i++)
        (void)alloc();
    EXPECT_EQ(hak_page_sleep(&page, &ncalls), 0);
    EXPECT_EQ(ncalls, 1);
    EXPECT_EQ(purged_bytes, 262144 - 8192); /* the slots lie in two pages */
    EXPECT_EQ(hak_page_sleep(&page, &ncalls), 0);
    EXPECT_EQ(ncalls, 1);
    fill();
}

/* ---- slots that other threads freed ---- */

static void release_remote(uint32_t i)
{
    out[i] = false;
    hak_page_push_remote(&page, slot_at(i));
}

static size_t sleep_remote_now(void)
{
    uint32_t ncalls = 0;
    size_t before = purged_bytes, n = npurges;
    size_t bytes = hak_page_sleep_remote(&page, &ncalls);
    EXPECT_EQ(bytes, purged_bytes - before);
    EXPECT_EQ(ncalls, npurges - n);
    hak_page_check(&page);
    return bytes;
}

static void take_remote(void)
{
    hak_page_return(&page, hak_page_take_remote(&page, 0, 0));
    EXPECT_EQ(page.remote, 0);
    hak_page_check(&page);
}

TEST(a_page_that_others_freed_sleeps_without_its_owner)
{
    for (size_t s = 0; s < SIZES; s++) {
        new_page(262144, sizes[s]);
        fill();
        for (uint32_t i = 0; i < page.capacity; i++)
            release_remote(i);
        uint64_t nfree = page.span.nfree;
        size_t used = (size_t)page.capacity * sizes[s];
        EXPECT_EQ(sleep_remote_now(), hak_round_up(used, OS_PAGE));
        EXPECT_EQ(sleep_remote_now(), 0);
        EXPECT_EQ(page.span.nfree, nfree); /* the owner knows nothing yet */
        EXPECT_EQ(hak_page_frees(&page), nfree + page.capacity);
        EXPECT(hak_page_sleeps_at(&page, 0));
        take_remote();
        EXPECT_EQ(hak_page_out(&page), 0);
        hak_page_expect_empty(&page);
        fill();
    }
}

TEST(the_owner_keeps_what_it_freed_itself)
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < page.capacity; i++)
        if (i < 20)
            release(i);
        else
            release_remote(i);
    EXPECT_GT(sleep_remote_now(), 48 * 1024);
    EXPECT_EQ(hak_page_nlocal(&page), 20);
    take_remote();
    fill();
}

TEST(random_frees_of_others_lose_nothing)
{
    locked = true;
    for (size_t s = 0; s < SIZES; s++) {
        new_page(below(2) ? 65536 : 262144, sizes[s]);
        for (int step = 0; step < 600; step++) {
            uint32_t n = below(page.capacity + 1), i;
            switch (below(6)) {
            case 0:
                for (; n != 0; n--)
                    (void)alloc();
                break;
            case 1:
            case 2: /* a run, so that groups become free */
                for (i = below(page.capacity); i < page.capacity && n != 0; i++)
                    if (out[i]) {
                        below(4) == 0 ? release(i) : release_remote(i);
                        n--;
                    }
                break;
            case 3:
                take_remote();
                break;
            case 4:
                (void)sleep_now();
                break;
            default:
                (void)sleep_remote_now();
            }
            hak_page_check(&page);
        }
        take_remote();
        fill();
        for (uint32_t i = 0; i < page.capacity; i++)
            EXPECT(out[i]);
    }
}

TEST(a_walk_passes_over_what_sleeps_of_others_frees)
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < 100; i++)
        release_remote(i);
    EXPECT_GT(sleep_remote_now(), 40 * 1024);
    uint64_t is_free[HAK_BITS_WORDS(128)] = {0};
    hak_page_mark_free(&page, is_free);
    for (uint32_t i = 0; i < page.capacity; i++)
        EXPECT_EQ(hak_bit(is_free, i), !out[i]);
    EXPECT(hak_page_why_not(&page, slot_at(3)) != NULL);
    EXPECT(hak_page_why_not(&page, slot_at(110)) == NULL);
}

/* A visitor has the list while the owner looks: HELD keeps the next one off. */
TEST(the_owner_and_a_visitor_do_not_take_the_same)
{
    struct hak_list list;
    char *last;
    uint64_t none = 0;
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < page.capacity; i++)
        release_remote(i);
    EXPECT(hak_page_claim_remote(&page, &list));
    EXPECT_EQ(list.count, page.capacity);
    EXPECT(!hak_page_claim_remote(&page, &list));
    take_remote(); /* nothing is there */
    EXPECT_EQ(hak_page_out(&page), page.capacity);
    uint64_t map = hak_page_free_groups(&page, list.head, &none);
    list.head = hak_page_unlist(&page, list.head, map, &last);
    list.asleep = map;
    __atomic_or_fetch(&page.remote, HAK_REMOTE_HELD, __ATOMIC_RELAXED);
    hak_page_give_remote(&page, list, last);
    EXPECT_EQ(page.remote & (HAK_REMOTE_HELD | HAK_REMOTE_ASLEEP),
              HAK_REMOTE_HELD | HAK_REMOTE_ASLEEP);
    EXPECT(!hak_page_claim_remote(&page, &list));
    take_remote();
    EXPECT_EQ(hak_page_out(&page), 0);
}

/* ---- a slot that was freed twice ---- */

/* a, b, a by other threads: the list is a ring. */
TEST_DIES(a_visitor_does_not_go_round, SIGABRT, "freed twice")
{
    new_page(65536, 512);
    fill();
    release_remote(1);
    release_remote(2);
    release_remote(1);
    sleep_remote_now();
}

/* While it slept: it came round on the list, and its group wakes. */
TEST_DIES(a_group_with_a_live_slot_does_not_wake, SIGABRT, "freed twice")
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 0; i < 100; i++)
        release(i);
    EXPECT_GT(sleep_now(), 0);
    EXPECT(hak_page_sleeps_at(&page, (size_t)20 * 512));
    out[20] = true;
    memset(slot_at(20), 20, 512);
    release(20);
    for (uint32_t i = 0; i < 101 && alloc() != page.capacity; i++)
        ;
}

/* a, b, a: the list is a ring. */
TEST_DIES(a_look_does_not_go_round, SIGABRT, "freed twice")
{
    new_page(65536, 512);
    fill();
    release(1);
    release(2);
    hak_span_push(&page.span, slot_at(1));
    sleep_now();
}

TEST_DIES(a_page_with_a_live_slot_is_not_empty, SIGABRT, "freed twice")
{
    new_page(65536, 512);
    fill();
    for (uint32_t i = 1; i < page.capacity; i++)
        release(i);
    hak_span_push(&page.span, slot_at(1));
    EXPECT_EQ(hak_page_out(&page), 0);
    hak_page_expect_empty(&page);
}

TEST_MAIN()

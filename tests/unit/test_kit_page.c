/* SPDX-License-Identifier: MIT
 * test_kit_page.c - kit/page.h: one page, its three lists, its flags.
 */
#include "log_to_stderr.h"
#include "random.h"
#include "test.h"

#include <kit/page.h>
#include <pthread.h>

enum { PAGE_BYTES = 65536, SLOTS = PAGE_BYTES / 16 };
#define CLASS 16u /* of color 0 */

static _Alignas(PAGE_BYTES) char memory[PAGE_BYTES];
static struct hak_page page;

/* Where the test knows each slot to be. */
enum place { UNCARVED, OUT, LOCAL, REMOTE, PLACES };
static enum place place[SLOTS];

static uint32_t below(uint32_t n)
{
    return (uint32_t)rnd(n);
}

static uint32_t slot_of(const void *p)
{
    size_t at = (size_t)((const char *)p - page.start);
    EXPECT_EQ(at % page.span.slot_bytes, 0);
    EXPECT_LT(at / page.span.slot_bytes, page.capacity);
    return (uint32_t)(at / page.span.slot_bytes);
}

static void *slot_at(uint32_t i)
{
    return page.start + (size_t)i * page.span.slot_bytes;
}

static void new_page(uint32_t slot_bytes)
{
    memset(memory, 0xa5, sizeof memory);
    memset(place, 0, sizeof place);
    hak_page_init(&page, memory, sizeof memory, slot_bytes, CLASS);
}

/* The slots of a list move from one place to another; returns how many. */
static uint32_t move_list(void *head, enum place from, enum place to)
{
    uint32_t n = 0;
    for (void *p = head; p != NULL; p = hak_slot_next(p, page.span.key), n++) {
        EXPECT_EQ(place[slot_of(p)], from);
        place[slot_of(p)] = to;
    }
    return n;
}

static void check_page(void)
{
    uint32_t n[PLACES] = {0};
    for (uint32_t i = 0; i < page.capacity; i++) {
        n[place[i]]++;
        EXPECT_EQ(place[i] == UNCARVED, i >= page.carved);
    }
    hak_page_check(&page);
    EXPECT_EQ(hak_page_out(&page), n[OUT] + n[REMOTE]);
    EXPECT_EQ(hak_page_nlocal(&page), n[LOCAL]);
    EXPECT_EQ(page.span.nalloc - hak_page_frees(&page), n[OUT]);
    EXPECT_EQ(hak_remote_length(page.remote), n[REMOTE]);
    EXPECT_EQ(move_list(page.span.local, LOCAL, LOCAL), n[LOCAL]);
    EXPECT_EQ(move_list(hak_remote_head(page.remote), REMOTE, REMOTE),
              n[REMOTE]);
}

static void carve(uint32_t n)
{
    uint32_t was = page.carved;
    EXPECT(page.span.local == NULL);
    hak_page_carve(&page, n);
    EXPECT(page.span.local == slot_at(was)); /* in the order of addresses */
    EXPECT_EQ(move_list(page.span.local, UNCARVED, LOCAL), n);
}

/* As malloc and free do it; false: no free slot. */
static bool alloc(void)
{
    void *p = hak_span_pop(&page.span);
    if (p == NULL)
        return false;
    place[slot_of(p)] = OUT;
    return true;
}

static void free_by_owner(void *p)
{
    place[slot_of(p)] = LOCAL;
    hak_span_push(&page.span, p);
}

static void free_by_other(void *p)
{
    place[slot_of(p)] = REMOTE;
    hak_page_push_remote(&page, p);
}

static void return_remote(void)
{
    struct hak_list list = hak_page_take_remote(&page, 0, 0);
    EXPECT_EQ(move_list(list.head, REMOTE, LOCAL), list.count);
    hak_page_return(&page, list);
}

/* A page whose first n slots are out. */
static void new_page_out(uint32_t slot_bytes, uint32_t n)
{
    new_page(slot_bytes);
    carve(n);
    while (alloc())
        ;
}

/* ---- carving --------------------------------------------------------- */

TEST(first_slots_are_colored_and_as_aligned_as_their_size)
{
    uint64_t lines = 0;
    for (uint32_t class_number = 0; class_number < 64; class_number++)
        for (uint32_t bytes = 16; bytes <= 4096; bytes *= 2) {
            hak_page_init(&page, memory, sizeof memory, bytes, class_number);
            size_t color = (size_t)(page.start - memory);
            EXPECT_LT(color, 1024);
            EXPECT_EQ(color % bytes, 0);
            EXPECT(hak_page_memory(&page) == memory);
            EXPECT_EQ(page.capacity, (PAGE_BYTES - color) / bytes);
            lines |= 1ull << color / 64;
        }
    EXPECT_EQ(lines, 0xffff);
}

TEST(carve_every_slot_size)
{
    for (uint32_t bytes = 16; bytes <= 32768; bytes += 16) {
        new_page(bytes);
        EXPECT_EQ(page.capacity, PAGE_BYTES / bytes);
        EXPECT_EQ(page.class_number, CLASS);
        while (page.carved < page.capacity) {
            carve(1 + below(page.capacity - page.carved));
            while (alloc())
                ;
        }
        check_page();
        for (uint32_t i = 0; i < page.capacity; i++)
            free_by_owner(slot_at(i)); /* counts go on into the next page */
    }
    EXPECT_EQ(page.span.nalloc, page.span.nfree);
    EXPECT_GT(page.span.nalloc, SLOTS);
}

/* ---- random sequences ------------------------------------------------ */

/* A slot that is out, or NULL. */
static void *pick_out(void)
{
    for (uint32_t i = below(page.capacity), n = 0; n < page.capacity; n++, i++)
        if (place[i % page.capacity] == OUT)
            return slot_at(i % page.capacity);
    return NULL;
}

static void free_some(void (*way)(void *), uint32_t n)
{
    for (void *p; n > 0 && (p = pick_out()) != NULL; n--)
        way(p);
}

static void step(void)
{
    uint32_t left = page.capacity - page.carved;
    switch (below(12)) {
    case 0:
        if (page.span.local == NULL && left != 0)
            carve(1 + below(left));
        break;
    case 1:
        return_remote();
        break;
    case 2: /* so that the two lists are alike in length now and then */
        free_some(free_by_other, below(60));
        break;
    case 3:
        free_some(free_by_owner, below(60));
        break;
    case 4:
        free_some(free_by_other, 1);
        break;
    default:
        for (uint32_t n = below(40); n > 0 && alloc(); n--)
            ;
    }
}

TEST(random_sequences)
{
    static const uint32_t sizes[] = {16, 48, 1024, 9008, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(&page, 0, sizeof page);
        new_page(sizes[i]);
        for (int round = 0; round < 5000; round++) {
            step();
            check_page();
        }
        EXPECT_EQ(page.carved, page.capacity);
    }
}

static void return_lists(uint32_t nlocal, uint32_t nremote)
{
    memset(&page, 0, sizeof page);
    new_page_out(64, nlocal + nremote + 1);
    for (uint32_t i = 0; i < nlocal; i++)
        free_by_owner(slot_at(i));
    for (uint32_t i = 0; i < nremote; i++)
        free_by_other(slot_at(nlocal + i));
    return_remote();
    check_page();
    EXPECT_EQ(page.span.nfree, nlocal + nremote);
    EXPECT_EQ(hak_page_nlocal(&page), nlocal + nremote);
}

TEST(return_long_and_short_lists)
{
    for (uint32_t nlocal = 0; nlocal < 6; nlocal++)
        for (uint32_t nremote = 0; nremote < 6; nremote++)
            return_lists(nlocal, nremote);
}

/* ---- retires ---------------------------------------------------------- */

static struct hak_retire told;
static int times;

static void take_record(struct hak_box *box, const struct hak_retire *record)
{
    EXPECT(box == page.span.box);
    told = *record;
    times++;
}

TEST(a_retired_page_tells_what_it_did)
{
    static struct hak_host host = {.retired = take_record};
    static struct hak_box box = {.host = &host};
    page.span.box = &box;
    for (uint32_t n = 1; n <= 3; n++) { /* taken again and again */
        new_page(512);
        carve(8);
        for (uint32_t i = 0; i < 8 - n; i++)
            EXPECT(alloc());
        for (uint32_t i = 0; i < n; i++)
            free_by_other(slot_at(i));
        for (uint32_t i = n; i < 8 - n; i++)
            free_by_owner(slot_at(i));
        return_remote();
        EXPECT_EQ(hak_page_out(&page), 0);
        host.struct_size = offsetof(struct hak_host, retired);
        hak_page_tell_retired(&page); /* a core that is older */
        EXPECT_EQ(times, n - 1);
        host.struct_size = sizeof host;
        hak_page_tell_retired(&page);
        EXPECT_EQ(times, n);
        EXPECT_EQ(told.struct_bytes, sizeof told);
        EXPECT_EQ(told.slot_bytes, 512);
        EXPECT_EQ(told.capacity, 128);
        EXPECT_EQ(told.used, 8);
        EXPECT_EQ(told.allocations, 8 - n);
        EXPECT_EQ(told.frees, 8 - n);
        EXPECT_EQ(told.local_frees, 8 - 2 * n);
    }
}

/* ---- flags ----------------------------------------------------------- */

static const uint64_t both = HAK_REMOTE_NOTIFY | HAK_REMOTE_PENDING;

TEST(first_push_after_notify_says_so)
{
    new_page_out(16, SLOTS);
    EXPECT_EQ(hak_page_push_remote(&page, slot_at(0)) & both, 0);
    EXPECT_EQ(page.remote & both, 0);
    EXPECT_EQ(hak_page_take_remote(&page, 0, HAK_REMOTE_NOTIFY).count, 1);
    EXPECT_EQ(page.remote, HAK_REMOTE_NOTIFY);
    EXPECT_EQ(hak_page_push_remote(&page, slot_at(1)) & both,
              HAK_REMOTE_NOTIFY);
    EXPECT_EQ(page.remote & both, HAK_REMOTE_PENDING);
    EXPECT_EQ(hak_page_push_remote(&page, slot_at(2)) & both,
              HAK_REMOTE_PENDING);
    EXPECT_EQ(page.remote & both, HAK_REMOTE_PENDING);
    EXPECT(hak_remote_head(page.remote) == slot_at(2));
    EXPECT(hak_slot_next(slot_at(2), page.span.key) == slot_at(1));
    EXPECT(hak_slot_next(slot_at(1), page.span.key) == NULL);
    EXPECT_EQ(hak_remote_length(page.remote), 2);
}

TEST(take_keeps_and_sets_flags)
{
    for (uint64_t had = 0; had <= both; had++)
        for (uint64_t keep = 0; keep <= both; keep++)
            for (uint64_t set = 0; set <= both; set++) {
                new_page_out(16, 2);
                hak_page_push_remote(&page, slot_at(1));
                page.remote |= had;
                struct hak_list list = hak_page_take_remote(&page, keep, set);
                EXPECT(list.head == slot_at(1) && list.count == 1);
                EXPECT_EQ(page.remote, (had & keep) | set);
            }
}

TEST(a_page_full_of_remote_frees)
{
    new_page_out(16, SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++)
        free_by_other(slot_at(i));
    EXPECT_EQ(hak_remote_length(page.remote), SLOTS);
    EXPECT_EQ(page.span.nalloc, hak_page_frees(&page));
    return_remote();
    check_page();
    EXPECT_EQ(hak_page_out(&page), 0);
}

/* ---- threads --------------------------------------------------------- */

enum { PUSHERS = 3, RUN = 300 };

static struct {
    void *slot[RUN]; /* handed by the owner to a pusher; NULL = taken */
    uint64_t notified;
} handed[PUSHERS];
static bool stop;

static void *push_what_comes(void *argument)
{
    uintptr_t me = (uintptr_t)argument;
    for (;;) {
        bool last = __atomic_load_n(&stop, __ATOMIC_ACQUIRE), any = false;
        for (int i = 0; i < RUN; i++) {
            void *p = __atomic_exchange_n(&handed[me].slot[i], NULL,
                                          __ATOMIC_ACQ_REL);
            if (p == NULL)
                continue;
            any = true;
            if (hak_page_push_remote(&page, p) & HAK_REMOTE_NOTIFY)
                handed[me].notified++;
        }
        if (last && !any)
            return NULL;
    }
}

/* Give a few slots that are out to the pushers. */
static uint32_t hand_over(void)
{
    uint32_t n = 0;
    for (void *p; n < 200 && (p = pick_out()) != NULL; n++) {
        void **to = &handed[below(PUSHERS)].slot[below(RUN)];
        if (__atomic_load_n(to, __ATOMIC_ACQUIRE) != NULL)
            break;
        place[slot_of(p)] = REMOTE; /* or on its way there */
        __atomic_store_n(to, p, __ATOMIC_RELEASE);
    }
    return n;
}

/* As the owner of a page does; returns whether a notice was there. */
static bool collect(void)
{
    uint64_t word = __atomic_load_n(&page.remote, __ATOMIC_RELAXED);
    bool noticed = (word & HAK_REMOTE_PENDING) != 0;
    uint64_t keep = noticed ? 0 : both, set = noticed ? HAK_REMOTE_NOTIFY : 0;
    struct hak_list list = hak_page_take_remote(&page, keep, set);
    EXPECT_EQ(move_list(list.head, REMOTE, LOCAL), list.count);
    hak_page_return(&page, list);
    for (uint32_t n = below(400); n > 0 && alloc(); n--)
        ;
    return noticed;
}

/*
 * Each slot comes back once, and each NOTIFY is seen by one pusher: the one
 * whose PENDING the owner then finds.
 */
TEST(pushes_from_several_threads)
{
    pthread_t thread[PUSHERS];
    uint64_t given = 0, noticed = 0, notified = 0;
    new_page_out(16, SLOTS);
    page.remote = HAK_REMOTE_NOTIFY;
    for (uintptr_t i = 0; i < PUSHERS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, push_what_comes, (void *)i),
                  0);
    while (given < 50000) {
        given += hand_over();
        noticed += collect();
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < PUSHERS; i++) {
        pthread_join(thread[i], NULL);
        notified += handed[i].notified;
    }
    noticed += collect();
    check_page();
    EXPECT_EQ(hak_remote_length(page.remote), 0);
    EXPECT_EQ(notified, noticed);
    EXPECT_GT(notified, 10);
}

/* ---- wrong frees ----------------------------------------------------- */

/* Slots of each kind of place, some that look free and are not. */
TEST(wrong_frees_are_told_from_right_ones)
{
    static const uint32_t sizes[] = {16, 32, 48, 272, 1024, 8192};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        new_page(sizes[s]);
        page.span.key = 0x923456789abcdef1;
        uint32_t n = (page.capacity < 6 ? page.capacity : 6) - 1; /* not all */
        carve(n);
        while (alloc())
            ;
        free_by_owner(slot_at(0));
        free_by_owner(slot_at(1));
        free_by_other(slot_at(n - 1));
        EXPECT_STR(hak_page_why_not(&page, slot_at(0)), "freed twice");
        EXPECT_STR(hak_page_why_not(&page, slot_at(1)), "freed twice");
        EXPECT_STR(hak_page_why_not(&page, slot_at(n - 1)), "freed twice");
        EXPECT_EQ(hak_page_usable(&page, slot_at(0)), 0);
        memcpy(slot_at(2), slot_at(1), 16); /* live, with a free slot's mark */
        EXPECT(!hak_span_looks_live(&page.span, slot_at(2)));
        EXPECT(hak_page_why_not(&page, slot_at(2)) == NULL);
        EXPECT_EQ(hak_page_usable(&page, slot_at(2)), sizes[s]);
        EXPECT_STR(hak_page_why_not(&page, slot_at(n)),
                   "nothing was handed out there");
        for (uint32_t in = 1; in < sizes[s]; in++)
            EXPECT_STR(hak_page_why_not(&page, (char *)slot_at(2) + in),
                       "not the start of a slot");
    }
}

TEST_DIES(a_broken_link_is_not_followed, SIGABRT, "written to since")
{
    static struct hak_box box;
    static struct hak_host host;
    host.log = log_to_stderr;
    box.host = &host;
    page.span.key = HAK_KEY_BITS;
    new_page_out(64, 10);
    page.span.box = &box;
    for (uint32_t i = 0; i < 4; i++)
        free_by_owner(slot_at(i));
    *(void **)slot_at(3) = slot_at(9); /* without the key */
    EXPECT(hak_span_try_pop(&page.span) == NULL);
    hak_span_pop(&page.span);
}

/* ---- the check checks ------------------------------------------------ */

static void spoil_page(void)
{
    new_page_out(64, 20);
    for (uint32_t i = 0; i < 10; i++)
        free_by_owner(slot_at(i));
    check_page();
}

TEST_DIES(check_finds_a_lost_count, SIGABRT, "n == hak_page_nlocal(page)")
{
    spoil_page();
    page.span.nfree--;
    hak_page_check(&page);
}

TEST_DIES(check_finds_a_cycle, SIGABRT, "++n <= page->carved")
{
    spoil_page();
    hak_slot_link(slot_at(0), page.span.key, slot_at(9));
    hak_page_check(&page);
}

TEST_DIES(check_finds_a_slot_not_carved, SIGABRT, "< page->carved")
{
    spoil_page();
    hak_slot_link(slot_at(0), page.span.key, slot_at(20));
    hak_page_check(&page);
}

TEST_DIES(check_finds_half_a_slot, SIGABRT, "hak_slot_is_marked")
{
    spoil_page();
    hak_slot_link(slot_at(0), page.span.key, (char *)slot_at(1) + 8);
    hak_page_check(&page);
}

TEST_MAIN()

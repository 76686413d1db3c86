/* SPDX-License-Identifier: MIT
 * test_parcel.c - frees of other threads' slots: parcels, inboxes, tags.
 *
 * With a real box, by tests/loader/thread.ini; malloc itself is libc's here,
 * so get() and give() do what entry.c does.
 */
#include <base/meta.h>
#include <base/os.h>
#include <core/box/abi.h>
#include <core/malloc/fast.h>
#include <core/malloc/slow.h>
#include <core/state/boxes.h>
#include <core/state/core.h>
#include <core/state/directory.h>
#include <core/state/thread.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>
#include <report/report.h>
#include <modules/linked.h>
#include <start/start.h>

#include "random.h"
#include "test.h"

#include <hakmem/hakmem.h>
#include <pthread.h>
#include <sys/wait.h>

enum { ULTRA = 0, PARCEL = 62, PARCEL_BYTES = PARCEL * 265, INBOX = 128 };

/* setting: a variable of the environment beside that, or NULL */
static void start_with(char *setting)
{
    hak_modules_link();
    static char env[] = "HAKMEM_CONF=tests/loader/thread.ini";
    char *envp[] = {env, setting, NULL};
    hak_start(envp);
    EXPECT_EQ(hak_core.mode, HAK_MODE_BOXES);
}

static void start(void)
{
    start_with(NULL);
}

static void *get(size_t bytes)
{
    struct hak_span *span = hak_lane(hak_self, hak_index_of(bytes));
    void *p = hak_span_pop(span);
    return p != NULL ? p : hak_alloc_slow(hak_self, bytes, false);
}

static uint64_t entry_of(const void *p)
{
    return hak_directory_entry(p);
}

static struct hak_thread *owner_of(const void *p)
{
    return hak_owner_of(hak_entry_span(entry_of(p)));
}

static void give(void *p)
{
    hak_free_remote(entry_of(p), p);
}

static struct hak_stats figures(void)
{
    struct hak_stats s;
    hak_figures(hak_boxes.all[ULTRA], &s);
    return s;
}

/* What the box knows: without what is on its way. */
static uint64_t live_to_box(void)
{
    return hak_abi_stats(&hak_boxes.all[ULTRA]->box).live_count;
}

/* ---- other threads ------------------------------------------------------- */

/* They allocate n blocks each, wait until told to, and free what they are to.
 */
enum { OTHERS = 4, BLOCKS = PARCEL * (INBOX + 2) };
static struct other {
    pthread_t thread;
    size_t n, bytes;
    void **give;
    size_t ngive;
    struct hak_thread *self;
    void *block[BLOCKS];
} other[OTHERS];
static pthread_barrier_t step;

static void *be_other(void *argument)
{
    struct other *o = argument;
    for (size_t i = 0; i < o->n; i++)
        o->block[i] = get(o->bytes);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    for (size_t i = 0; i < o->ngive; i++)
        give(o->give[i]);
    o->self = hak_self;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return NULL;
}

static void begin(size_t nothers, size_t nblocks, size_t bytes)
{
    pthread_barrier_init(&step, NULL, (unsigned)nothers + 1);
    for (size_t i = 0; i < nothers; i++) {
        other[i].n = nblocks;
        other[i].bytes = bytes;
        EXPECT_EQ(pthread_create(&other[i].thread, NULL, be_other, &other[i]),
                  0);
    }
    pthread_barrier_wait(&step);
}

static void next_step(void)
{
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
}

static void end(size_t nothers)
{
    pthread_barrier_wait(&step);
    for (size_t i = 0; i < nothers; i++)
        pthread_join(other[i].thread, NULL);
}

/* ---- parcels ------------------------------------------------------------- */

TEST(a_parcel_goes_when_it_is_full)
{
    start();
    void *block[PARCEL + 10];
    for (int i = 0; i < PARCEL + 10; i++)
        block[i] = get(100);
    struct hak_thread *me = hak_self;
    begin(1, 0, 0);
    other[0].give = block;
    other[0].ngive = PARCEL + 9;
    next_step();
    EXPECT(me->inbox != NULL); /* the first; the rest is still open */
    EXPECT_EQ(live_to_box(), PARCEL + 10);
    EXPECT_EQ(figures().live_count, 1);
    EXPECT_EQ(figures().remote_frees, PARCEL + 9);
    hak_mailbox_receive(me);
    EXPECT_EQ(live_to_box(), 10);
    EXPECT_EQ(figures().live_count, 1);
    end(1); /* posts the rest */
    EXPECT(me->inbox != NULL);
    hak_mailbox_receive(me);
    EXPECT(me->inbox == NULL);
    EXPECT_EQ(live_to_box(), 1);
    EXPECT_EQ(figures().remote_frees, PARCEL + 9);
    EXPECT_EQ(hak_entry_span(entry_of(block[0]))->nremote, PARCEL + 9);
}

TEST(a_slow_path_receives_and_posts)
{
    start();
    begin(1, 1, 100);
    give(other[0].block[0]);
    EXPECT_EQ(hak_self->nopen, 1);
    for (int i = 0; i < 1000; i++)
        get(100);
    EXPECT_EQ(hak_self->nopen, 0);
    EXPECT(other[0].self == NULL && owner_of(other[0].block[0])->inbox != NULL);
    void *mine = get(100);
    other[0].give = &mine;
    other[0].ngive = 1;
    next_step();
    end(1);
    EXPECT(hak_self->inbox != NULL);
    for (int i = 0; i < 1000; i++)
        get(100);
    EXPECT(hak_self->inbox == NULL);
}

TEST(so_much_is_kept_and_no_more)
{
    enum { EACH = 40, SLOT = 512 };
    start();
    begin(OTHERS, EACH, SLOT);
    size_t kept = 0;
    for (size_t k = 0; k < EACH; k++)
        for (size_t i = 0; i < OTHERS; i++) {
            give(other[i].block[k]);
            bool posted = owner_of(other[i].block[0])->inbox != NULL;
            EXPECT_EQ(posted, k >= PARCEL_BYTES / SLOT);
            kept += !posted;
        }
    EXPECT_EQ(kept, PARCEL_BYTES / SLOT * OTHERS);
    next_step();
    end(OTHERS);
}

TEST(more_threads_than_parcels)
{
    start();
    struct hak_thread *me = hak_self;
    for (int round = 0; round < 5; round++) { /* tags 16 apart share one */
        begin(OTHERS, 3, 64);
        for (size_t i = 0; i < OTHERS; i++)
            for (int k = 0; k < 3; k++)
                give(other[i].block[k]);
        EXPECT_EQ(figures().live_count, 0);
        next_step();
        end(OTHERS);
    }
    me = hak_self;
    hak_mailbox_post(me);
    hak_thread_reap(0, true);
    EXPECT_EQ(live_to_box(), 0);
}

TEST(who_only_frees_has_parcels_too)
{
    start();
    begin(1, 2, 100);
    EXPECT(hak_self == &hak_nobody);
    give(other[0].block[0]);
    EXPECT(hak_self != &hak_nobody);
    EXPECT_EQ(hak_self->nopen, 1);
    next_step();
    end(1);
}

/* ---- own slots and others' in turn ----------------------------------------
 */

/* free(), as it goes about slots of small spans. */
static void put(void *p)
{
    if (hak_entry_tag(entry_of(p)) == hak_self->tag && owner_of(p) == hak_self)
        hak_free_slow(p);
    else
        give(p);
}

TEST(who_frees_both_kinds_keeps_only_others_in_parcels)
{
    enum { EACH = 400, BYTES = 100 };
    void *mine[EACH];
    start();
    for (int i = 0; i < EACH; i++)
        mine[i] = get(BYTES);
    struct hak_thread *me = hak_self;
    begin(1, EACH, BYTES);
    for (int i = 0; i < EACH; i++) {
        put(mine[i]);
        put(other[0].block[i]);
        EXPECT_EQ(live_to_box(), 2 * EACH - (i + 1));
    }
    EXPECT_EQ(figures().live_count, 0);
    EXPECT_EQ(figures().remote_frees, EACH);
    uint64_t mapped = figures().mapped_bytes;
    for (int i = 0; i < EACH; i++)
        mine[i] = get(BYTES);
    EXPECT_EQ(figures().mapped_bytes, mapped);
    next_step();
    end(1);
    hak_mailbox_post(me);
    hak_mailbox_receive_all(me);
    EXPECT_EQ(live_to_box(), EACH);
    EXPECT_EQ(figures().remote_frees, EACH);
}

/* ---- inboxes ------------------------------------------------------------- */

/* The box takes what a full inbox does not, so memory for it is bounded. */
TEST(a_full_inbox)
{
    start();
    begin(1, BLOCKS, 16);
    uint64_t meta = hak_meta_bytes();
    for (size_t i = 0; i < BLOCKS; i++)
        give(other[0].block[i]);
    EXPECT_EQ(live_to_box(), PARCEL * INBOX);
    EXPECT_EQ(figures().live_count, 0);
    EXPECT_LE(hak_meta_bytes() - meta, (INBOX + 8) * 512 + sizeof *hak_self);
    hak_mailbox_receive_all(hak_self); /* whether its thread runs or not */
    EXPECT_EQ(live_to_box(), 0);
    EXPECT_EQ(figures().remote_frees, BLOCKS);
    next_step();
    end(1);
}

TEST(what_came_before_a_thread_was_reaped)
{
    start();
    begin(1, 100, 100);
    for (size_t i = 0; i < 100; i++)
        give(other[0].block[i]);
    hak_mailbox_post(hak_self);
    next_step();
    end(1);
    EXPECT_EQ(live_to_box(), 100);
    hak_thread_reap(0, true);
    EXPECT_EQ(live_to_box(), 0);
}

TEST(what_comes_after_a_thread_was_reaped)
{
    start();
    begin(1, 100, 100);
    for (size_t i = 0; i < 50; i++)
        give(other[0].block[i]); /* kept */
    next_step();
    end(1);
    hak_thread_reap(0, true);
    EXPECT_EQ(live_to_box(), 100);
    hak_mailbox_post(hak_self);
    EXPECT_EQ(live_to_box(), 50);
    for (size_t i = 50; i < 100; i++)
        give(other[0].block[i]);
    hak_mailbox_post(hak_self);
    EXPECT_EQ(live_to_box(), 0);
}

TEST(a_structure_that_serves_again_has_an_open_inbox)
{
    start();
    begin(1, 1, 100);
    next_step();
    end(1);
    hak_thread_reap(0, true);
    struct hak_thread *t = other[0].self;
    begin(1, 1, 100);
    EXPECT(owner_of(other[0].block[0]) == t);
    give(other[0].block[0]);
    hak_mailbox_post(hak_self);
    EXPECT_EQ(live_to_box(), 2);
    next_step();
    EXPECT(other[0].self == t);
    end(1);
}

static struct hak_thread *closing;
static size_t page_bytes;

static char *page_of(void *p)
{
    return (char *)((uintptr_t)p & ~(page_bytes - 1));
}

/* The first store to the inbox: it is closed in between, then it is made. */
static void close_first(int signal_number, siginfo_t *info, void *unused)
{
    (void)unused;
    if (info->si_addr != &closing->inbox)
        test_fail(__FILE__, __LINE__, "signal %d", signal_number);
    mprotect(page_of(&closing->inbox), page_bytes, PROT_READ | PROT_WRITE);
    hak_mailbox_close(closing);
}

/* Who empties all inboxes looks at one, and it is closed before he takes. */
TEST(an_inbox_that_is_closed_meanwhile_stays_closed)
{
    struct sigaction action = {.sa_sigaction = close_first,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};
    SKIP_TSAN("it holds a lock of its own around an atomic");
    start();
    page_bytes = hak_os_page_bytes();
    begin(1, 100, 100);
    for (size_t i = 0; i < 50; i++)
        give(other[0].block[i]);
    hak_mailbox_post(hak_self);
    next_step();
    end(1);
    closing = other[0].self;
    EXPECT(closing->inbox != NULL && closing != hak_self);
    EXPECT_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    EXPECT_EQ(mprotect(page_of(&closing->inbox), page_bytes, PROT_READ), 0);
    hak_mailbox_receive_all(hak_self);
    EXPECT_EQ(live_to_box(), 50);
    for (size_t i = 50; i < 100; i++) /* to the box: nobody reads the inbox */
        give(other[0].block[i]);
    hak_mailbox_post(hak_self);
    EXPECT_EQ(live_to_box(), 0);
}

/* The parent's other threads have no successor there. */
TEST(a_child_of_fork_keeps_nothing_for_those_left_behind)
{
    start();
    get(100);
    begin(1, 100, 100);
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < 100; i++)
            give(other[0].block[i]);
        hak_mailbox_post(hak_self);
        _exit(live_to_box() == 1 && figures().live_count == 1 ? 0 : 1);
    }
    int status;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    next_step();
    end(1);
}

/* ---- tags ---------------------------------------------------------------- */

/* All that a free by any thread needs to know is in the entry of p. */
static void expect_entry_is_right(const void *p, size_t slot_bytes)
{
    uint64_t entry = entry_of(p);
    EXPECT_EQ(hak_entry_tag(entry), owner_of(p)->tag);
    EXPECT_GE(hak_step_bytes(hak_entry_step(entry)), slot_bytes);
    EXPECT(hak_entry_step(entry) == 0 ||
           hak_step_bytes(hak_entry_step(entry) - 1) < slot_bytes);
}

TEST(the_entry_of_a_fresh_page_is_right)
{
    start();
    void *p = get(100);
    EXPECT(owner_of(p) == hak_self);
    expect_entry_is_right(p, 112);
    begin(1, 1, 100);
    expect_entry_is_right(other[0].block[0], 112);
    next_step();
    end(1);
}

/* An empty page that went by way of the depot, to another thread and size. */
TEST(the_entry_of_a_page_in_other_hands_is_right)
{
    enum { N = 1200 }; /* two pages of slots of 112 bytes and some */
    static char nothing_is_kept[] = "HAKMEM_BOX_ULTRA_WARM=0";
    static void *block[N];
    start_with(nothing_is_kept);
    for (int i = 0; i < N; i++)
        block[i] = get(100);
    uint64_t retired = figures().retired_pages;
    for (int i = 0; i < N; i++)
        hak_free(block[i]);
    EXPECT_GT(figures().retired_pages, retired);
    begin(1, 1, 200);
    const char *p = other[0].block[0];
    bool was_ours = false;
    for (int i = 0; i < N; i++)
        was_ours |= ((uintptr_t)p ^ (uintptr_t)block[i]) < HAK_GRANULE_BYTES;
    EXPECT(was_ours);
    expect_entry_is_right(p, 208);
    next_step();
    end(1);
}

static void forget_owner(const void *p)
{
    hak_directory.entry[hak_directory_granule(p)] &= ~(uint64_t)0xffff;
    EXPECT_EQ(hak_entry_tag(entry_of(p)), 0);
}

TEST(an_entry_learns_its_owner)
{
    start();
    begin(1, 2, 100);
    void *p = other[0].block[0];
    forget_owner(p);
    give(p);
    EXPECT_EQ(hak_entry_tag(entry_of(p)), owner_of(p)->tag);
    EXPECT(hak_thread_by_tag[owner_of(p)->tag] == owner_of(p));
    next_step();
    end(1);
}

/* Get hold of an ended thread's page. */
static struct hak_thread *adopt(const void *p)
{
    for (int i = 0; i < 10000 && owner_of(p) != hak_self; i++)
        get(100);
    EXPECT(owner_of(p) == hak_self);
    return hak_self;
}

TEST(an_entry_that_is_out_of_date)
{
    start();
    get(100);
    begin(1, 3, 100);
    void **block = other[0].block;
    other[0].give = block; /* its own: the entry learns the tag */
    other[0].ngive = 1;
    next_step();
    end(1);
    hak_thread_reap(0, true);
    struct hak_thread *me = adopt(block[1]);
    uint64_t live = live_to_box();
    give(block[1]); /* believes the tag */
    EXPECT_NE(hak_entry_tag(entry_of(block[1])), me->tag);
    EXPECT_EQ(me->nopen, 1);
    hak_mailbox_post(me);
    EXPECT_EQ(hak_entry_tag(entry_of(block[1])), me->tag);
    EXPECT_EQ(live_to_box(), live - 1);
    give(block[2]);
    EXPECT_EQ(me->nopen, 0);
    EXPECT_EQ(live_to_box(), live - 2);
}

/* A parcel under way when its slots get another owner. */
TEST(what_arrives_at_the_wrong_thread_goes_on)
{
    start();
    begin(1, 3, 100);
    void *p = other[0].block[0];
    give(p);
    next_step();
    end(1);
    hak_thread_reap(0, true);
    struct hak_thread *me = adopt(p);
    EXPECT_EQ(me->nopen, 1);
    begin(1, 1, 100); /* takes the ended thread's structure over */
    uint64_t live = live_to_box();
    hak_mailbox_post(me);
    EXPECT(other[0].self->inbox != NULL);
    EXPECT_EQ(live_to_box(), live);
    next_step();
    end(1);
    begin(1, 1, 100); /* a slow path: receives */
    EXPECT_EQ(live_to_box(), live);
    next_step();
    end(1);
}

/* ---- all at once --------------------------------------------------------- */

enum { TABLE = 64, SWAPPERS = 4 };
static void *table[TABLE];

/* Puts own blocks, frees what was there; tells of it when a byte of it is not
 * as its maker left it. */
static void *swap(void *argument)
{
    uint64_t random = (uintptr_t)argument;
    bool good = true;
    for (int i = 0; i < TEST_TURNS(200000); i++) {
        uint64_t x = random_next(&random);
        size_t bytes = 16 + x % 400;
        unsigned char *p = get(bytes);
        memset(p, (int)(x >> 32) | 1, 16);
        p = __atomic_exchange_n(&table[x >> 20 & (TABLE - 1)], p,
                                __ATOMIC_ACQ_REL);
        if (p == NULL)
            continue;
        good = good && p[0] != 0 && p[0] == p[15];
        if (owner_of(p) == hak_self)
            hak_free_slow(p);
        else
            give(p);
    }
    return good ? table : NULL;
}

TEST(threads_swap_blocks)
{
    pthread_t thread[SWAPPERS];
    start();
    for (uintptr_t i = 0; i < SWAPPERS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, swap, (void *)(i + 1)), 0);
    for (int i = 0; i < SWAPPERS; i++) {
        void *good;
        EXPECT_EQ(pthread_join(thread[i], &good), 0);
        EXPECT(good != NULL);
    }
    for (int i = 0; i < TABLE; i++)
        if (table[i] != NULL)
            give(table[i]);
    EXPECT_EQ(figures().live_count, 0);
    EXPECT_EQ(figures().allocs, SWAPPERS * (size_t)TEST_TURNS(200000));
    hak_mailbox_receive_all(hak_self);
    EXPECT_EQ(live_to_box(), 0);
}

/* ---- wrong frees --------------------------------------------------------- */

/* Another thread frees p n times; they arrive. p: of a slot of ours. */
static void other_frees(void *p, size_t n)
{
    void *given[] = {p, p};
    begin(1, 0, 0);
    other[0].give = given;
    other[0].ngive = n;
    next_step();
    end(1);
    hak_mailbox_receive(hak_self);
}

/* ---- slots that wait in a thread which does nothing ---- */

static void *hold_and_wait(void *argument)
{
    struct other *o = argument;
    for (size_t i = 0; i < o->ngive; i++)
        give(o->give[i]);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step); /* it has posted nothing meanwhile */
    return NULL;
}

TEST(slots_of_a_thread_that_waits_are_collected)
{
    enum { N = 20 };
    void *mine[N];
    start();
    pthread_barrier_init(&step, NULL, 2);
    for (int i = 0; i < N; i++)
        mine[i] = get(100);
    uint64_t live = live_to_box();
    struct other *o = &other[0];
    o->give = mine;
    o->ngive = N;
    EXPECT_EQ(pthread_create(&o->thread, NULL, hold_and_wait, o), 0);
    pthread_barrier_wait(&step);
    EXPECT_EQ(hak_mailbox_read(&hak_boxes.all[ULTRA]->box).n, N);
    EXPECT_EQ(live_to_box(), live);
    hak_mailbox_collect(hak_self, &hak_boxes.all[ULTRA]->box);
    EXPECT_EQ(hak_mailbox_read(&hak_boxes.all[ULTRA]->box).n, 0);
    EXPECT_EQ(live_to_box(), live - N);
    pthread_barrier_wait(&step);
    pthread_join(o->thread, NULL); /* posts what is left: nothing */
    EXPECT_EQ(live_to_box(), live - N);
}

static bool enough;

static void *pass_on(void *argument)
{
    void **at = argument;
    for (uint64_t i = 0; !__atomic_load_n(&enough, __ATOMIC_RELAXED); i++) {
        void *p = get(16 + i % 30 * 16);
        memset(p, 7, 16);
        p = __atomic_exchange_n(&at[i % 64], p, __ATOMIC_ACQ_REL);
        if (p != NULL)
            hak_free_slow(p);
    }
    return NULL;
}

TEST(collecting_beside_threads_that_post_and_receive)
{
    static void *at[64];
    pthread_t thread[3];
    start();
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, pass_on, at), 0);
    for (int i = 0; i < 2000; i++)
        hak_mailbox_collect(hak_self, &hak_boxes.all[ULTRA]->box);
    __atomic_store_n(&enough, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 64; i++)
        if (at[i] != NULL)
            hak_free_slow(at[i]);
    hak_mailbox_receive_all(hak_self);
    EXPECT_EQ(figures().live_count, 0);
}

TEST_DIES(two_frees_are_told_when_they_arrive, SIGABRT, "freed twice")
{
    start();
    void *p = get(100);
    get(100);
    other_frees(p, 2);
}

TEST_DIES(the_middle_of_a_slot_is_told_when_it_arrives, SIGABRT,
          "not the start of a slot")
{
    start();
    other_frees((char *)get(100) + 16, 1);
}

TEST_MAIN()

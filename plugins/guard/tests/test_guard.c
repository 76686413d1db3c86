/* SPDX-License-Identifier: MIT
 * test_guard.c - placement, quarantine, limits, and reports of misuse.
 *
 * Reports with stacks, and SIGSEGV, are tested in tests/preload/guard.c,
 * because the test host cannot unwind stacks.
 */
#include "guard.h"
#include "only_calls.h"
#include "test.h"
#include "own_box.h"

#include <signal.h>

/* Open a new instance of the box; params are "key=value" texts. */
#define OPEN(...) OPEN_OWN("guard", 0, __VA_ARGS__)

static uint64_t counter(struct hak_box *box, const char *name)
{
    struct hak_counter all[16];
    const struct hak_counters_1 *table =
        box->ops->get_extension(box, HAK_COUNTERS_1);
    uint32_t n = table->read(box, all, 16);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].value;
    test_fail(__FILE__, __LINE__, "no counter %s", name);
}

/* ---- where blocks lie ---- */

TEST(against_a_guard_page_on_either_side_in_turn)
{
    struct hak_box *box = OPEN("slots=64", "quarantine=8", "most_per_second=0");
    size_t page = box->host->os_page_bytes;
    for (size_t size = 1; size < 40; size++) {
        uintptr_t p = (uintptr_t)th_malloc(box, size);
        bool left = p % page == 0;
        EXPECT_EQ(left, size % 2 == 0);
        if (!left) /* as near to the end as its alignment allows */
            EXPECT_EQ(p + hak_round_up(size, 16), hak_round_up(p, page));
        EXPECT_EQ(th_usable((void *)p), hak_max(size, sizeof(void *)));
    }
    guard_check(guard_of(box));
}

TEST(aligned_blocks_end_at_the_page_too)
{
    struct hak_box *box = OPEN("most_per_second=0");
    size_t page = box->host->os_page_bytes;
    for (size_t align = 32; align <= page; align *= 2)
        for (int i = 0; i < 2; i++) {
            uintptr_t p = (uintptr_t)th_aligned_alloc(box, align, 24);
            EXPECT(p != 0 && p % align == 0);
            EXPECT(p % page == 0 || p + align == hak_round_up(p, page));
        }
    EXPECT(th_aligned_alloc(box, page * 2, 24) == NULL);
    EXPECT_EQ(counter(box, "refused_size"), 1);
}

/* ---- limits ---- */

TEST(full_is_null_and_a_freed_slot_waits_for_its_turn)
{
    struct hak_box *box = OPEN("slots=4", "quarantine=2", "most_per_second=0");
    void *p[4];
    for (int i = 0; i < 4; i++)
        EXPECT((p[i] = th_malloc(box, 4096)) != NULL);
    EXPECT(th_malloc(box, 4096) == NULL);
    th_free(p[2]);
    th_free(p[0]);
    EXPECT(th_malloc(box, 4096) == NULL); /* both stay in quarantine */
    th_free(p[1]);
    EXPECT(th_malloc(box, 4096) == p[2]); /* was freed first */
    EXPECT(th_malloc(box, 4096) == NULL);
    EXPECT_EQ(counter(box, "refused_full"), 3);
    EXPECT_EQ(counter(box, "sampled"), 5);
    guard_check(guard_of(box));
}

TEST(larger_ones_are_declined)
{
    struct hak_box *box = OPEN("slot_bytes=5000", "most_per_second=0");
    EXPECT(th_malloc(box, 8192) != NULL); /* slot_bytes, in whole pages */
    EXPECT(th_malloc(box, 8193) == NULL);
    EXPECT_EQ(box->ops->slot_size(box, 8193), 0);
}

TEST(no_more_than_so_many_a_second)
{
    struct hak_box *box = OPEN("most_per_second=100");
    size_t n = 0;
    for (int ms = 0; ms < 1000; ms++, th_clock_add(1))
        for (int i = 0; i < 10; i++) {
            void *p = th_malloc(box, 16);
            if (p == NULL)
                continue;
            th_free(p);
            n++;
        }
    EXPECT_LE(n, 130); /* the rate is rounded up in each 64 ms */
    EXPECT_GE(n, 90);
    EXPECT_EQ(counter(box, "refused_rate"), 10000 - n);
}

TEST(quarantine_must_leave_slots)
{
    struct hak_box *box = NULL;
    const char *const params[] = {"slots=8", "quarantine=8", NULL};
    EXPECT_EQ(th_open_entry(&hak_box_entry, "guard", params, 0, &box), -EINVAL);
    EXPECT_CONTAINS(th_last_log(), "leaves nothing of slots = 8");
}

TEST(no_memory_is_null_and_works_again)
{
    struct hak_box *box = OPEN("most_per_second=0");
    th_fail_at(1);
    EXPECT(th_malloc(box, 16) == NULL);
    th_fail_never();
    EXPECT(th_malloc(box, 16) != NULL);
}

/* A slot that could not be mapped is used later, whether it was used before or
 * not. */
TEST(slots_that_could_not_be_opened_are_used_later)
{
    struct hak_box *box = OPEN("slots=4", "quarantine=0", "most_per_second=0");
    void *first = th_malloc(box, 4000), *p[4];
    th_free(first);
    th_fail_at(1);
    for (int i = 0; i < 9; i++)
        EXPECT(th_malloc(box, 4000) == NULL);
    th_fail_never();
    for (int i = 0; i < 4; i++)
        EXPECT((p[i] = th_malloc(box, 4000)) != NULL);
    guard_check(guard_of(box));
    for (int i = 0; i < 4; i++)
        th_free(p[i]);
    EXPECT_EQ(th_mapped(box), 0); /* freed slots are unmapped */
}

TEST_DIES(no_block_was_where_none_could_be_opened, SIGABRT, "wild pointer")
{
    struct hak_box *box = OPEN("slots=4", "quarantine=0", "most_per_second=0");
    char *p = th_malloc(box, 100);
    size_t page = box->host->os_page_bytes;
    th_fail_at(1);
    EXPECT(th_malloc(box, 100) == NULL);
    box->ops->free(box, p - (uintptr_t)p % page + 2 * page);
}

/* ---- what a sandbox would kill for --------------------------------------- */

static int churn(const char *recheck)
{
    static const int calls[] = {ALLOCATOR_CALLS, SYS_exit_group};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct hak_box *box =
            OPEN("slots=64", "quarantine=8", "most_per_second=0", recheck);
        void *p[64] = {NULL};
        if (!only_calls(calls, sizeof calls / sizeof calls[0]))
            _exit(TEST_SKIPPED);
        for (size_t i = 0; i < 1000; i++) {
            th_free(p[i % 50]);
            p[i % 50] = th_malloc(box, i);
        }
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

TEST(no_call_of_the_kernel_but_those_that_sandboxes_know)
{
    if (TEST_ASAN || TEST_TSAN)
        SKIP("a sanitizer makes calls of its own");
    int status = churn("signal_recheck=no");
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
        SKIP("no seccomp");
    EXPECT_EQ(status, 0);
    status = churn("signal_recheck=yes"); /* killed for rt_sigaction */
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

TEST(a_stack_names_its_thread)
{
    struct hak_box *box = OPEN("most_per_second=0");
    const struct pool *pool = &guard_of(box)->pool;
    const void *p = th_malloc(box, 100);
    EXPECT_EQ(pool_near(pool, (uintptr_t)p)->allocated.tid,
              (int)syscall(SYS_gettid));
}

/* ---- the handler --------------------------------------------------------- */

static void theirs(int number)
{
    _exit(number == SIGSEGV ? 42 : 43);
}

static bool is_theirs(void)
{
    struct sigaction now;
    EXPECT_EQ(sigaction(SIGSEGV, NULL, &now), 0);
    return now.sa_handler == theirs;
}

TEST(the_handler_is_there_from_the_start)
{
    struct sigaction before, after;
    sigaction(SIGSEGV, NULL, &before);
    struct hak_box *box = OPEN("most_per_second=0");
    sigaction(SIGSEGV, NULL, &after);
    EXPECT(before.sa_handler != after.sa_handler);
    signal(SIGSEGV, theirs);
    EXPECT(th_malloc(box, 100) != NULL);
    EXPECT(is_theirs());
}

TEST(with_recheck_it_goes_in_front_of_a_later_one)
{
    struct hak_box *box = OPEN("most_per_second=0", "signal_recheck=yes");
    signal(SIGSEGV, theirs);
    EXPECT(th_malloc(box, 100) != NULL);
    EXPECT(!is_theirs());
}

/* ---- freed ones ---- */

TEST_DIES(freed_pages_are_protected, SIGSEGV, "use after free: read at")
{
    struct hak_box *box = OPEN("most_per_second=0");
    volatile char *p = th_malloc(box, 16);
    th_free((void *)(uintptr_t)p);
    (void)*p;
}

TEST(freed_pages_cost_no_memory)
{
    struct hak_box *box = OPEN("slots=512", "most_per_second=0");
    th_map_junk(false);
    th_free(th_malloc(box, 4096));
    size_t before = th_resident();
    for (int i = 0; i < 400; i++)
        th_free(memset(th_malloc(box, 4096), 1, 4096));
    EXPECT_LE(th_resident(), before + 4096);
}

/* ---- what free finds ---- */

TEST_DIES(double_free, SIGABRT, "double free: free of")
{
    struct hak_box *box = OPEN("most_per_second=0");
    void *p = th_malloc(box, 100);
    th_free(p);
    box->ops->free(box, p);
}

TEST_DIES(free_inside, SIGABRT, "invalid pointer: free of")
{
    struct hak_box *box = OPEN("most_per_second=0");
    box->ops->free(box, (char *)th_malloc(box, 100) + 16);
}

TEST_DIES(free_where_nothing_was, SIGABRT, "wild pointer")
{
    struct hak_box *box = OPEN("most_per_second=0");
    char *p = th_malloc(box, 100);
    box->ops->free(box, p + 3 * box->host->os_page_bytes);
}

TEST_DIES(size_of_a_freed_one, SIGABRT, "use after free: size asked of")
{
    struct hak_box *box = OPEN("most_per_second=0");
    void *p = th_malloc(box, 100);
    th_free(p);
    box->ops->usable_size(box, p);
}

TEST_DIES(one_byte_behind, SIGABRT, "1 bytes behind the end of")
{
    struct hak_box *box = OPEN("most_per_second=0");
    char *volatile p = th_malloc(box, 20);
    p[20] = 0;
    th_free(p);
}

TEST_DIES(one_byte_before, SIGABRT, "1 bytes before the start of")
{
    struct hak_box *box = OPEN("most_per_second=0");
    char *volatile p = th_malloc(box, 20);
    p[-1] = 0;
    th_free(p);
}

TEST_DIES(far_behind_a_block_at_the_left, SIGABRT, "3000 bytes behind the end")
{
    struct hak_box *box = OPEN("most_per_second=0");
    th_malloc(box, 20);
    char *volatile p = th_malloc(box, 20);
    p[20 + 2999] = 0;
    th_free(p);
}

TEST_MAIN()

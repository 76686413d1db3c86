/* SPDX-License-Identifier: MIT
 * guard.c - what conf/guard.ini catches, each fault in a process of its own,
 * and what it leaves alone: other faults, the program's own handlers.
 *
 * run.sh sets sample_every = 1 (guard-each), so each block is the box's, but in
 * the tests of the rate (guard), 20; and signal_recheck (guard-recheck).
 * Skipped without the box.
 */
#include "calls.h"

#include <pthread.h>
#include <setjmp.h>

static bool each; /* every allocation is a sample */

static void need_guard(bool every)
{
    struct hak_stats s;
    NEED_BOXES();
    if (hak.stats("guard", &s) != 0)
        SKIP("no box guard");
    each = strcmp(getenv("HAKMEM_CORE_SAMPLE_EVERY"), "1") == 0;
    if (each != every)
        SKIP("for the other mode");
}

static void need_recheck(bool recheck)
{
    need_guard(true);
    const char *is = getenv("HAKMEM_BOX_GUARD_SIGNAL_RECHECK");
    if ((is != NULL && strcmp(is, "yes") == 0) != recheck)
        SKIP("for the other mode");
}

/* ---- a child, what it said and how it ended ---- */

static char said[1 << 16];

static int run(void (*deed)(void))
{
    int status, fd = memfd_create("said", 0);
    pid_t pid = fork();
    EXPECT_GE(pid, 0);
    if (pid == 0) {
        dup2(fd, 2);
        deed();
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    ssize_t n = pread(fd, said, sizeof said - 1, 0);
    EXPECT_GE(n, 0);
    said[n] = 0;
    close(fd);
    return status;
}

static void expect_signal(void (*deed)(void), int number)
{
    int status = run(deed);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != number)
        test_fail(__FILE__, __LINE__, "status %x, said: %s", status, said);
}

/* Is code of function f in the stack that begins with `title`? */
static void expect_frame(const char *title, const void *f)
{
    enum { FUNCTION_BYTES = 256 };
    const char *at = strstr(said, title);
    EXPECT_CONTAINS(said, title);
    for (at = strchr(at, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        const char *mark = strchr(at, '#'), *end = strchr(at + 1, '\n');
        if (mark == NULL || end == NULL || mark > end)
            break; /* the next stack's title */
        uintptr_t p = strtoull(strstr(mark, "0x"), NULL, 16);
        if (p - (uintptr_t)f < FUNCTION_BYTES)
            return;
    }
    test_fail(__FILE__, __LINE__, "no frame of it under \"%s\": %s", title,
              said);
}

/* ---- faults ---- */

#define NOT_INLINE __attribute__((noinline, noclone, aligned(256)))

static volatile char *block, *other;

/* Two in a row: one lies at its page's end, the other at its beginning. */
NOT_INLINE static void make(size_t n)
{
    block = malloc(n);
    other = malloc(n);
    if ((uintptr_t)block % 4096 == 0) {
        volatile char *left = block;
        block = other;
        other = left;
    }
    __asm__ volatile("" ::: "memory");
}

NOT_INLINE static void drop(volatile char *p)
{
    free((void *)(uintptr_t)p);
    __asm__ volatile("" ::: "memory");
}

NOT_INLINE static void touch(volatile char *p)
{
    *p = 1;
    __asm__ volatile("" ::: "memory");
}

static void overflow(void)
{
    make(64);
    touch(block + 64);
}

static void overflow_read(void)
{
    make(64);
    (void)block[64];
}

static void underflow(void)
{
    make(64);
    touch(other - 1);
}

static void after_free(void)
{
    make(64);
    drop(block);
    touch(block + 5);
}

static void free_twice(void)
{
    make(64);
    drop(block);
    drop(block);
}

static void free_inside(void)
{
    make(64);
    drop(block + 16);
}

static void realloc_after_free(void)
{
    make(64);
    drop(block);
    block = realloc((void *)(uintptr_t)block, opaque(100));
}

static void small_overflow(void)
{
    make(60);
    touch(block + 60); /* before the page's end: found by free */
    drop(block);
}

TEST(overflow_is_told_with_its_stacks)
{
    need_guard(true);
    expect_signal(overflow, SIGSEGV);
    EXPECT_CONTAINS(said, "heap overflow: write at");
    EXPECT_CONTAINS(said, "1 bytes behind the end of a live block of 64 bytes");
    expect_frame("allocated by thread", make);
    expect_frame("accessed by thread", touch);
    expect_signal(overflow_read, SIGSEGV);
    EXPECT_CONTAINS(said, "heap overflow: read at");
}

TEST(underflow_is_told_with_its_stacks)
{
    need_guard(true);
    expect_signal(underflow, SIGSEGV);
    EXPECT_CONTAINS(said, "heap underflow: write at");
    EXPECT_CONTAINS(said, "1 bytes before the start of a live block of 64");
    expect_frame("allocated by thread", make);
    expect_frame("accessed by thread", touch);
}

TEST(use_after_free_is_told_with_its_stacks)
{
    need_guard(true);
    expect_signal(after_free, SIGSEGV);
    EXPECT_CONTAINS(said, "use after free: write at");
    EXPECT_CONTAINS(said, "5 bytes inside a freed block of 64 bytes");
    expect_frame("allocated by thread", make);
    expect_frame("freed by thread", drop);
    expect_frame("accessed by thread", touch);
}

TEST(double_free_is_told_with_its_stacks)
{
    need_guard(true);
    expect_signal(free_twice, SIGABRT);
    EXPECT_CONTAINS(said, "double free: free of");
    expect_frame("allocated by thread", make);
    expect_frame("freed by thread", drop);
    expect_frame("called by thread", drop);
}

TEST(free_inside_a_block_is_told)
{
    need_guard(true);
    expect_signal(free_inside, SIGABRT);
    EXPECT_CONTAINS(said, "invalid pointer: free of");
    expect_frame("allocated by thread", make);
}

TEST(realloc_after_free_is_told)
{
    need_guard(true);
    expect_signal(realloc_after_free, SIGABRT);
    EXPECT_CONTAINS(said, "use after free: size asked of");
    expect_frame("freed by thread", drop);
}

TEST(overflow_before_the_page_is_told_at_free)
{
    need_guard(true);
    expect_signal(small_overflow, SIGABRT);
    EXPECT_CONTAINS(said, "heap overflow: found at free");
    expect_frame("allocated by thread", make);
    expect_frame("freed by thread", drop);
}

/* ---- handlers of the program ---- */

static sigjmp_buf back;
static int nhandled;

static void on_plain(int number)
{
    (void)number;
    nhandled++;
    siglongjmp(back, 1);
}

static struct sigaction found;
static bool was_masked;

static void on_info(int number, siginfo_t *info, void *context)
{
    sigset_t now;
    (void)context;
    sigprocmask(SIG_BLOCK, NULL, &now);
    was_masked = sigismember(&now, SIGUSR1) && sigismember(&now, SIGSEGV);
    EXPECT_EQ(number, SIGSEGV);
    EXPECT(info->si_addr == (void *)(uintptr_t)other);
    nhandled++;
    siglongjmp(back, 1);
}

/* As many do: what is not theirs goes to whom they found there. */
static void on_chained(int number, siginfo_t *info, void *context)
{
    static const char text[] = "chained\n";
    (void)!write(2, text, sizeof text - 1);
    if ((found.sa_flags & SA_SIGINFO) != 0)
        found.sa_sigaction(number, info, context);
    else
        signal(number, SIG_DFL);
}

static void handle(void (*plain)(int),
                   void (*with_info)(int, siginfo_t *, void *))
{
    struct sigaction a = {.sa_handler = plain};
    if (with_info != NULL) {
        a.sa_sigaction = with_info;
        a.sa_flags = SA_SIGINFO;
    }
    sigaddset(&a.sa_mask, SIGUSR1);
    EXPECT_EQ(sigaction(SIGSEGV, &a, &found), 0);
    drop(malloc(opaque(16))); /* a sample: with signal_recheck ours goes in
                                 front again */
}

static void fault_at(volatile char *p)
{
    other = p;
    if (sigsetjmp(back, 1) == 0) {
        touch(p);
        test_fail(__FILE__, __LINE__, "no fault at %p", (void *)(uintptr_t)p);
    }
}

static void ours_then_plain(void)
{
    make(64);
    handle(on_plain, NULL);
    fault_at(block + 64);
    drop(block);
    EXPECT_EQ(nhandled, 1);
    fault_at(block); /* the next one too */
    EXPECT_EQ(nhandled, 2);
}

static void ours_then_info(void)
{
    make(64);
    handle(NULL, on_info);
    fault_at(block + 64);
    EXPECT_EQ(nhandled, 1);
    EXPECT(was_masked);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    EXPECT(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGSEGV));
}

static void chained(void)
{
    make(64);
    handle(NULL, on_chained);
    touch(block + 64);
}

TEST(later_handlers_run_after_the_report)
{
    need_recheck(true);
    EXPECT_EQ(run(ours_then_plain), 0);
    EXPECT_CONTAINS(said, "heap overflow");
    EXPECT_EQ(run(ours_then_info), 0);
    EXPECT_CONTAINS(said, "heap overflow");
}

/* Without the look that a sandbox may kill for, they have the fault alone. */
TEST(later_handlers_run_without_a_report)
{
    need_recheck(false);
    EXPECT_EQ(run(ours_then_plain), 0);
    EXPECT_STR(said, "");
    EXPECT_EQ(run(ours_then_info), 0);
    EXPECT_STR(said, "");
}

TEST(a_handler_that_calls_the_one_before_ends_there)
{
    need_guard(true);
    expect_signal(chained, SIGSEGV);
    EXPECT_CONTAINS(said, "heap overflow");
    const char *first = strstr(said, "chained");
    EXPECT(first != NULL && strstr(first + 1, "chained") == NULL);
}

static volatile char *nowhere;

static void not_ours(void)
{
    make(64);
    touch(nowhere);
}

static void not_ours_handled(void)
{
    make(64);
    handle(NULL, on_info);
    fault_at(nowhere);
    EXPECT_EQ(nhandled, 1);
}

static void sent(void)
{
    make(64);
    raise(SIGSEGV);
}

static void sent_ignored(void)
{
    make(64);
    handle(SIG_IGN, NULL);
    raise(SIGSEGV);
}

static void ignored(void)
{
    make(64);
    handle(SIG_IGN, NULL);
    touch(nowhere);
}

TEST(other_faults_pass_untouched)
{
    need_guard(true);
    nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect_signal(not_ours, SIGSEGV);
    EXPECT_STR(said, "");
    EXPECT_EQ(run(not_ours_handled), 0);
    EXPECT_STR(said, "");
    expect_signal(sent, SIGSEGV);
    EXPECT_EQ(run(sent_ignored), 0);
    expect_signal(ignored, SIGSEGV);
    EXPECT_STR(said, "");
}

static void *misuse_in_thread(void *arg)
{
    static char stack[1 << 14];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    make(64);
    touch(block + 64);
    return arg;
}

static void in_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, misuse_in_thread, NULL);
    pthread_join(thread, NULL);
}

TEST(a_thread_with_a_signal_stack)
{
    need_guard(true);
    expect_signal(in_thread, SIGSEGV);
    EXPECT_CONTAINS(said, "heap overflow");
    expect_frame("allocated by thread", make);
}

/* ---- the rate ---- */

enum { EVERY = 20, MANY = 20000 * EVERY };

static uint64_t samples(void)
{
    return stats_of("guard").allocs;
}

/* One in EVERY of n: within 5 % for so many, as intervals are independent. */
static void expect_rate(uint64_t n, uint64_t before)
{
    uint64_t got = samples() - before;
    EXPECT_GE(got, n / EVERY * 95 / 100);
    EXPECT_LE(got, n / EVERY * 105 / 100);
}

TEST(rate_of_pairs_that_never_leave_a_lane)
{
    need_guard(false);
    uint64_t before = samples();
    for (int i = 0; i < MANY; i++)
        drop(malloc(opaque(100)));
    expect_rate(MANY, before);
}

TEST(rate_of_several_sizes_that_never_leave_a_lane)
{
    need_guard(false);
    uint64_t before = samples();
    for (int i = 0; i < MANY; i++)
        drop(malloc(opaque((size_t)(i % 32) * 16 + 1)));
    expect_rate(MANY, before);
}

TEST(rate_of_lists_that_grow_and_go)
{
    enum { LIST = 2000 };
    void *p[LIST];
    need_guard(false);
    uint64_t before = samples();
    for (int turn = 0; turn < MANY / LIST; turn++) {
        for (int i = 0; i < LIST; i++)
            p[i] = malloc(opaque(48));
        for (int i = 0; i < LIST; i++)
            free(p[i]);
    }
    uint64_t full = 0;
    struct hak_stats s = stats_of("guard");
    full = s.declines; /* a list's samples may fill the box */
    uint64_t got = samples() - before + full;
    EXPECT_GE(got, MANY / EVERY * 95 / 100);
    EXPECT_LE(got, MANY / EVERY * 105 / 100);
}

/* Full, it is asked for one in 32 * EVERY; with room again, as before. */
TEST(a_full_box_is_asked_less_often)
{
    enum { KEPT = 400 * EVERY };
    static void *kept[KEPT];
    need_guard(false);
    for (int i = 0; i < KEPT; i++)
        kept[i] = malloc(opaque(48));
    uint64_t declines = stats_of("guard").declines, before = samples();
    EXPECT_GT(declines, 0);
    for (int i = 0; i < MANY; i++)
        drop(malloc(opaque(100)));
    EXPECT_EQ(samples(), before);
    declines = stats_of("guard").declines - declines;
    EXPECT_GE(declines, MANY / EVERY / 32 * 80 / 100);
    EXPECT_LE(declines, MANY / EVERY / 32 * 120 / 100 + 64);
    for (int i = 0; i < KEPT; i++)
        free(kept[i]);
    before = samples();
    for (int i = 0; i < MANY; i++)
        drop(malloc(opaque(100)));
    expect_rate(MANY, before);
}

/* Two kinds in turn, of one size: neither is sampled more. */
TEST(kinds_in_turn_are_sampled_alike)
{
    enum { LIST = 64 };
    void *p[LIST];
    int kind[2] = {0, 0};
    need_guard(false);
    for (int turn = 0; turn < MANY / LIST; turn++) {
        for (int i = 0; i < LIST; i++) {
            p[i] = malloc(opaque(1024)); /* 64 a page of ultra */
            kind[i % 2] += strcmp(hak.owner(p[i]), "guard") == 0;
        }
        for (int i = LIST; i-- != 0;)
            free(p[i]);
    }
    EXPECT_GE(kind[0] + kind[1], MANY / EVERY * 90 / 100);
    EXPECT_GE(kind[0], kind[1] * 85 / 100);
    EXPECT_GE(kind[1], kind[0] * 85 / 100);
}

TEST_MAIN()

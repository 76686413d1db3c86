/* SPDX-License-Identifier: MIT
 * test_calls.c - after init the box makes no system call but those of the host.
 * A sandbox that the program sets up later may kill it for any other.
 */
#include "large.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/rseq.h>

#include "test.h"
#include "testhost.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Replaces libc's, and does what that does when rseq is not registered and
 * there is no vDSO: a system call. */
int sched_getcpu(void);
int sched_getcpu(void)
{
    unsigned cpu;
    return syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 ? (int)cpu : -1;
}

/* The calls of the host, of the locks and of the end of the test. */
static const int allowed[] = {SYS_mmap,     SYS_munmap,    SYS_mremap,
                              SYS_mprotect, SYS_madvise,   SYS_futex,
                              SYS_write,    SYS_exit_group};
enum { ALLOWED = sizeof allowed / sizeof allowed[0] };

/* From here on any other system call is SIGSYS. */
static void allow_no_others(void)
{
    struct sock_filter filter[2 * ALLOWED + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    struct sock_filter *at = filter + 1;
    for (size_t i = 0; i < ALLOWED; i++) {
        *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                             (uint32_t)allowed[i], 0, 1);
        *at++ = (struct sock_filter)BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW);
    }
    *at = (struct sock_filter)BPF_STMT(BPF_RET, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {.len = 2 * ALLOWED + 2, .filter = filter};
    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        SKIP("no seccomp");
}

/* Every path of the box: near blocks, cache, runs, host, remap, age, trim. */
static void use_in_sandbox(void)
{
    struct hak_box *box;
    if (TEST_ASAN || TEST_TSAN)
        SKIP("the sanitizer makes calls of its own");
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", NULL, 0, &box), 0);
    void *p[32] = {th_malloc(box, MIB)}; /* attaches this thread */
    allow_no_others();
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 32; i++) {
            th_free(p[i]);
            p[i] = i % 2 ? th_malloc(box, (i + 1) * 40 * KIB)
                         : th_zalloc(box, (i + 1) * 300 * KIB);
            EXPECT(p[i] != NULL);
        }
        for (size_t i = 0; i < 32; i += 3)
            p[i] = th_realloc(box, p[i], (round + i + 1) * 100 * KIB) ?: p[i];
        th_clock_add(round * 100);
        if (round % 7 == 0)
            box->ops->trim(box);
    }
    for (size_t i = 0; i < 32; i++)
        th_free(p[i]);
    large_check(large_of(box));
}

TEST(no_system_call_of_its_own_after_init)
{
    use_in_sandbox();
}

TEST(nor_where_the_kernel_tells_no_cpu)
{
    const char *thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    const struct rseq *rseq = (const void *)(thread + __rseq_offset);
    if (__rseq_size != 0 &&
        syscall(SYS_rseq, rseq, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) != 0)
        SKIP("rseq stays registered");
    EXPECT_LT((int)rseq->cpu_id, 0);
    use_in_sandbox();
}

TEST_MAIN()

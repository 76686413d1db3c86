/* SPDX-License-Identifier: MIT
 * test_random.c - random numbers: the function, and that no two processes have
 * the same. mmap and syscall are this program's own, to refuse.
 */
#include "test.h"

#include <base/random.h>
#include <sys/syscall.h>

static bool no_mmap, no_getrandom;

void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    long p =
        no_mmap ? -1 : syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);
    errno = no_mmap ? ENOMEM : errno;
    return (void *)p;
}

/* As many arguments as any call has. */
long syscall(long number, ...)
{
    va_list ap;
    long a[6], result;
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_getrandom && no_getrandom) {
        errno = ENOSYS;
        return -1;
    }
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10),
                       "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* The paper's vector of 8 bytes, key 00 01 .. 0f, input 00 01 .. 07. */
TEST(siphash)
{
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    EXPECT(hak_siphash(key, 0x0706050403020100) == 0x93f5f5799a932462);
}

TEST(all_bits_vary)
{
    int ones[64] = {0};
    enum { N = 4096 };
    for (int i = 0; i < N; i++) {
        uint64_t x = hak_random();
        for (int bit = 0; bit < 64; bit++)
            ones[bit] += (int)(x >> bit & 1);
    }
    for (int bit = 0; bit < 64; bit++) { /* 8 standard deviations */
        EXPECT_GT(ones[bit], N / 2 - 256);
        EXPECT_LT(ones[bit], N / 2 + 256);
    }
}

/* What a child of each way to fork sees next. */
static uint64_t in_child(pid_t (*way)(void), bool handlers)
{
    int ends[2];
    uint64_t x = 0;
    EXPECT_EQ(pipe(ends), 0);
    pid_t pid = way();
    if (pid == 0) {
        if (handlers)
            hak_random_forked();
        x = hak_random();
        _exit(write(ends[1], &x, sizeof x) != sizeof x);
    }
    EXPECT_EQ(read(ends[0], &x, sizeof x), (ssize_t)sizeof x);
    EXPECT_EQ(waitpid(pid, NULL, 0), pid);
    return x;
}

static void all_differ(pid_t (*way)(void), bool handlers)
{
    uint64_t seen[12];
    for (int i = 0; i < 12; i++) {
        if (i == 11)
            no_mmap = false;
        seen[i] = i % 3 == 2 ? hak_random() : in_child(way, handlers);
    }
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < i; k++)
            EXPECT(seen[i] != seen[k]);
}

TEST(a_fork_shares_nothing)
{
    hak_random();
    all_differ(fork, true);
}

/* No handler runs: the kernel wipes the state. */
TEST(nor_does_a_fork_without_handlers)
{
    hak_random();
    all_differ(_Fork, false);
}

TEST(without_memory_for_a_page)
{
    no_mmap = true;
    all_differ(fork, true);
}

TEST(without_getrandom)
{
    no_getrandom = true;
    all_differ(fork, true);
}

TEST(errno_stays)
{
    no_mmap = no_getrandom = true;
    errno = 77;
    hak_random();
    EXPECT_EQ(errno, 77);
}

TEST_MAIN()

#!/bin/sh
# sandbox.sh - a sandbox refuses system calls that hakmem makes beyond those
# of every program: all works without them. One that kills for calls that it
# does not expect finds none after the start.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc perl

# refuse CALL PROGRAM...: CALL is EPERM from now on.
cat >"$work/refuse.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static const struct { const char *name; unsigned number; } calls[] = {
    {"membarrier", SYS_membarrier}, {"getrandom", SYS_getrandom},
    {"mremap", SYS_mremap},         {"madvise", SYS_madvise},
    {"gettid", SYS_gettid},         {"sysinfo", SYS_sysinfo},
    {"prlimit64", SYS_prlimit64},   {"memfd_create", SYS_memfd_create},
};
int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && i < sizeof calls / sizeof calls[0]; i++) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {4, filter};
        if (strcmp(argv[1], calls[i].name) == 0 &&
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
            execvp(argv[2], argv + 2);
    }
    return 99;
}
C
gcc -o "$work/refuse" "$work/refuse.c" || exit 1
"$work/refuse" getrandom true || skip_all 'no seccomp'

# Each INI is a mode here.
modes='default hardened guard learner'
environment()
{
    echo "HAKMEM_CONF=$root/conf/$1.ini"
}

# Whatever comes after the start, from the malloc family alone: requests of all
# sizes, threads that end, trim. The calls that hakmem may make are in the first
# line of the list; the second are the program's own.
cat >"$work/kill.c" <<'C'
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static const unsigned may[] = {
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex,
    SYS_clock_gettime, SYS_getrandom, SYS_brk,
    SYS_write, SYS_clock_nanosleep, SYS_rt_sigprocmask, SYS_exit,
    SYS_exit_group,
};
enum { MAY = sizeof may / sizeof may[0], BLOCKS = 1000, THREADS = 2 };
static void work(unsigned seed)
{
    void **p = calloc(BLOCKS, sizeof *p);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            size_t most = i % 200 == 0 ? 3000000 : i % 10 == 0 ? 100000 : 3000;
            size_t n = rand_r(&seed) % most;
            free(p[i]);
            p[i] = i % 7 == 0 ? memalign(4096, n)
                   : i % 5 == 0 ? calloc(1, n)
                                : malloc(n);
            if (n != 0)
                memset(p[i], 1, n);
        }
        for (int i = 0; i < BLOCKS; i += 3)
            p[i] = realloc(p[i], i * 100 + 1);
        if (round == 1)
            malloc_trim(0);
        nanosleep(&(struct timespec){0, 300000000}, NULL);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(p[i]);
    free(p);
}
static pthread_barrier_t started, locked_up;
static void *thread(void *seed)
{
    pthread_barrier_wait(&started); /* what a start of a thread calls is over */
    pthread_barrier_wait(&locked_up);
    work((unsigned)(size_t)seed);
    return NULL;
}
int main(void)
{
    struct sock_filter filter[MAY + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (unsigned i = 0; i < MAY; i++)
        filter[i + 1] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, may[i], MAY - i, 0);
    filter[MAY + 1] = (struct sock_filter)BPF_STMT(
        BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[MAY + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                                   SECCOMP_RET_ALLOW);
    struct sock_fprog program = {MAY + 3, filter};
    pthread_t t[THREADS];
    pthread_barrier_init(&started, NULL, THREADS + 1);
    pthread_barrier_init(&locked_up, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, thread, (void *)i);
    free(malloc(10));
    pthread_barrier_wait(&started);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        return 9;
    pthread_barrier_wait(&locked_up);
    work(77);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 100000; i++)
        free(malloc(i % 5000));
    (void)!write(1, "lived\n", 6);
    _exit(0);
}
C
gcc -O1 -w -o "$work/kill" "$work/kill.c" -lpthread || exit 1
for file in "$root"/conf/*.ini; do
    grep -q '^; Sandboxes: ' "$file" && continue # it says what it needs
    run "$work/under" LD_PRELOAD="$lib" HAKMEM_CONF="$file" "$work/kill"
    [ "$(cat "$work/under/code" "$work/under/out")" = "0
lived" ]
    report $? "no other system call after the start (${file##*/})"
    sed 's/^/# /' "$work/under/err"
    rm -rf "$work/under"
done

for call in membarrier getrandom mremap madvise gettid sysinfo prlimit64 \
    memfd_create; do
    same "without $call" "$work/refuse" "$call" perl "$here/work.pl" 3000
done
finish

/* SPDX-License-Identifier: MIT
 * drain.c - CPU time of a program while module record puts its calls, and
 * nobody writes them: what recording costs the program itself.
 *
 *     drain [--off] PROGRAM [ARGS]     on the preloaded allocator
 *
 * Prints user and system time of PROGRAM and its children in seconds. --off:
 * without recording; this process polls all the same, as that alone slows down
 * a program on the other half of a core. The environment of PROGRAM has
 * BENCH_PRELOAD as its LD_PRELOAD.
 */
#include "../framework/modules/record/ring.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct record_area *open_area(char *path, size_t n)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)RECORD_AREA_BYTES) != 0)
        return NULL;
    struct record_area *a = mmap(NULL, RECORD_AREA_BYTES,
                                 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (a == MAP_FAILED || record_writer_begins(a) != 0)
        return NULL;
    a->version = RECORD_VERSION;
    a->nrings = RECORD_RINGS;
    a->ring_entries = RECORD_RING_ENTRIES;
    __atomic_store_n(&a->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
    snprintf(path, n, "/proc/%d/fd/%d", getpid(), fd);
    return a;
}

static void drain(struct record_area *a, uint32_t i)
{
    struct record_ring *r = &a->ring[i];
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    __atomic_store_n(&r->tail, head, __ATOMIC_RELEASE);
    uint32_t pid = __atomic_load_n(&r->pid, __ATOMIC_ACQUIRE);
    if (pid == 0 || (__atomic_load_n(&r->ended, __ATOMIC_ACQUIRE) == 0 &&
                     kill((pid_t)pid, 0) == 0))
        return;
    r->ended = 0;
    __atomic_store_n(&r->pid, 0, __ATOMIC_RELEASE);
}

static int run(char **argv, const char *ring)
{
    const char *preload = getenv("BENCH_PRELOAD");
    if (preload != NULL)
        setenv("LD_PRELOAD", preload, 1);
    if (ring != NULL)
        setenv("HAKMEM_RECORD_RING", ring, 1);
    execvp(argv[0], argv);
    perror(argv[0]);
    return 127;
}

int main(int argc, char **argv)
{
    char path[64];
    int off = argc > 1 && strcmp(argv[1], "--off") == 0, status;
    if (argc < 2 + off) {
        fprintf(stderr, "usage: drain [--off] PROGRAM [ARGS]\n");
        return 2;
    }
    struct record_area *a = off ? NULL : open_area(path, sizeof path);
    if (a == NULL && !off)
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(run(argv + 1 + off, off ? NULL : path));
    while (waitpid(child, &status, WNOHANG) == 0) {
        for (uint32_t i = 0; a != NULL && i < a->nused; i++)
            drain(a, i);
        usleep(50);
    }
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("%.3f\n",
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return status != 0;
}

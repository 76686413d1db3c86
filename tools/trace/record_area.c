/* SPDX-License-Identifier: MIT
 * record_area.c - makes the memory that programs put their calls into.
 */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t record_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct record_area *map(int fd)
{
    void *at = mmap(NULL, RECORD_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                    fd, 0);
    return at != MAP_FAILED ? at : NULL;
}

/* The memory is no file that a user has to be kept from. */
static int set_size(int fd)
{
    struct rlimit files, most;
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &files) != 0)
        return -errno;
    most = (struct rlimit){files.rlim_max, files.rlim_max};
    setrlimit(RLIMIT_FSIZE, &most);
    int error = ftruncate(fd, (off_t)RECORD_AREA_BYTES) == 0 ? 0 : -errno;
    setrlimit(RLIMIT_FSIZE, &files);
    signal(SIGXFSZ, SIG_DFL);
    return error;
}

/* A file that is shorter than a program believes would end it by SIGBUS. */
int record_area_new(struct record_area **area, char *path, size_t n)
{
    int fd = memfd_create("hakmem-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    struct record_area *a = NULL;
    int error = set_size(fd);
    if (error != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
            0 ||
        (a = map(fd)) == NULL) {
        error = error != 0 ? error : -errno;
        close(fd);
        return error;
    }
    a->version = RECORD_VERSION;
    a->nrings = RECORD_RINGS;
    a->ring_entries = RECORD_RING_ENTRIES;
    a->writer_pid = (uint32_t)getpid();
    record_writer_begins(a); /* cannot fail: nobody else knows the area */
    a->begun_ticks = record_ticks();
    a->begun_ns = record_now_ns();
    __atomic_store_n(&a->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
    snprintf(path, n, "/proc/%d/fd/%d", (int)getpid(), fd);
    *area = a;
    return fd;
}

void record_area_free(struct record_area *area, int fd)
{
    munmap(area, RECORD_AREA_BYTES);
    close(fd);
}

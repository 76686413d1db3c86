/* SPDX-License-Identifier: MIT
 * os.c - the core's calls of the kernel: memory, clock, limits.
 */
#include <base/os.h>

#include <base/text.h>
#include <kit/base.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include <string.h>
#include <limits.h>

/* The result of a system call as 0 or -errno. ok: the call succeeded; before:
 * the value of errno before the call, which is restored. */
static int error_of_call(bool ok, int before)
{
    int error = ok ? 0 : -errno;
    errno = before;
    return error;
}

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static bool membarrier(int command)
{
    int kept = errno;
    return error_of_call(syscall(SYS_membarrier, command, 0, 0) == 0, kept) ==
           0;
}

bool hak_os_barrier_start(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

void hak_os_barrier(void)
{
    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) && hak_os_barrier_start())
        /* a child of fork has to register again */
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void __tsan_init(void) __attribute__((weak, visibility("default")));

bool hak_os_tsan(void)
{
    return __tsan_init != NULL;
}

bool hak_os_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

size_t hak_os_page_bytes(void)
{
    return (size_t)getauxval(AT_PAGESZ);
}

uint32_t hak_os_ncpus(void)
{
    enum { CPUS_MOST = 8192 }; /* the most that Linux on x86-64 supports */
    uint64_t mask[CPUS_MOST / 64];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    uint32_t n = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++)
        n += (uint32_t)__builtin_popcountll(mask[i]);
    return n != 0 ? n : 1;
}

uint32_t hak_os_nmappings(void)
{
    char text[24] = "";
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    (void)!read(fd, text, sizeof text - 1);
    close(fd);
    return (uint32_t)hak_min(strtoul(text, NULL, 10), INT32_MAX);
}

/* For systems without /proc. noinline: its buffer and realpath's take pages of
 * stack, which the usual case should not touch. */
__attribute__((cold, noinline)) static bool real_path(const char *path,
                                                      char out[PATH_MAX])
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return false;
    strcpy(out, real);
    return true;
}

bool hak_os_real_path(const char *path, char out[PATH_MAX])
{
    char name[64], digits[24];
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    hak_text_join(name, sizeof name, "/proc/self/fd/",
                  hak_text_number(digits, (unsigned long)fd));
    ssize_t n = readlink(name, out, PATH_MAX - 1);
    close(fd);
    if (n < 0)
        return real_path(path, out);
    out[n] = 0;
    return n < PATH_MAX - 1;
}

int hak_os_fstat(int fd, struct stat *out)
{
    return (int)syscall(SYS_fstat, fd, out);
}

uint64_t hak_os_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t hak_os_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t hak_os_now_us(void)
{
    return hak_os_now_ns() / 1000;
}

void *hak_os_map(size_t size_bytes, int prot)
{
    int kept = errno;
    void *p = mmap(NULL, size_bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    errno = kept;
    return p == MAP_FAILED ? NULL : p;
}

static int map_no_replace(void *at, size_t size_bytes, int flags)
{
    int kept = errno;
    void *p = mmap(at, size_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                       MAP_FIXED_NOREPLACE | flags,
                   -1, 0);
    int error = p == MAP_FAILED ? errno : 0;
    errno = kept;
    if (error != 0 || p == at)
        return -error;
    /* Kernels before 4.17 take the address as a hint, and map elsewhere. */
    hak_os_unmap(p, size_bytes);
    return -EEXIST;
}

int hak_os_map_at(void *at, size_t size_bytes)
{
    return map_no_replace(at, size_bytes, 0);
}

int hak_os_populate_at(void *at, size_t size_bytes)
{
    return map_no_replace(at, size_bytes, MAP_POPULATE);
}

bool hak_os_map_over(void *at, size_t size_bytes)
{
    int kept = errno;
    return error_of_call(
               mmap(at, size_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                    0) == at,
               kept) == 0;
}

bool hak_os_unmap(void *p, size_t size_bytes)
{
    int kept = errno;
    return error_of_call(munmap(p, size_bytes) == 0, kept) == 0;
}

int hak_os_purge(void *p, size_t size_bytes)
{
    int kept = errno;
    return error_of_call(madvise(p, size_bytes, MADV_DONTNEED) == 0, kept);
}

bool hak_os_writable(void *p, size_t size_bytes)
{
    int kept = errno;
    return error_of_call(mprotect(p, size_bytes, PROT_READ | PROT_WRITE) == 0,
                         kept) == 0;
}

bool hak_os_read_only(void *p, size_t size_bytes)
{
    int kept = errno;
    return error_of_call(mprotect(p, size_bytes, PROT_READ) == 0, kept) == 0;
}

bool hak_os_resident(void *p, size_t size_bytes, size_t *npages)
{
    enum { LOOK = 1024 }; /* pages in one call */
    unsigned char in_memory[LOOK];
    size_t page = hak_os_page_bytes(), left = size_bytes / page;
    for (char *at = p; left != 0;) {
        size_t n = hak_min(left, LOOK);
        if (mincore(at, n * page, in_memory) != 0)
            return false;
        for (size_t i = 0; i < n; i++)
            *npages += in_memory[i] & 1;
        at += n * page;
        left -= n;
    }
    return true;
}

/* ---- files ---- */

static const struct timespec at_once = {0};

void hak_os_limit_begin(struct hak_os_limit *l)
{
    sigset_t excess, pending;
    sigemptyset(&excess);
    sigaddset(&excess, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &excess, &l->before);
    /* Only what was blocked before can be pending. */
    l->was_pending = sigismember(&l->before, SIGXFSZ) != 0 &&
                     sigpending(&pending) == 0 &&
                     sigismember(&pending, SIGXFSZ) != 0;
}

void hak_os_limit_end(const struct hak_os_limit *l, int error)
{
    int kept = errno;
    sigset_t excess;
    sigemptyset(&excess);
    sigaddset(&excess, SIGXFSZ);
    if (error == -EFBIG && !l->was_pending)
        sigtimedwait(&excess, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &l->before, NULL);
    errno = kept;
}

/* Write n bytes. Returns 0 or -errno; *done gets how many were written. */
static int write_all(int fd, const char *bytes, size_t n, size_t *done)
{
    struct hak_os_limit limit;
    int kept = errno, error = 0;
    *done = 0;
    hak_os_limit_begin(&limit);
    while (error == 0 && *done < n) {
        ssize_t part = write(fd, bytes + *done, n - *done);
        if (part > 0)
            *done += (size_t)part;
        else if (part == 0 || errno != EINTR)
            error = part < 0 ? -errno : -EIO;
    }
    hak_os_limit_end(&limit, error);
    errno = kept;
    return error;
}

int hak_os_write(int fd, const void *bytes, size_t n)
{
    size_t done;
    return write_all(fd, bytes, n, &done);
}

/* Cut the last n bytes off, which this process has written through fd. If fd's
 * position is not the end of the file, somebody has appended behind them. */
static void cut_end(int fd, size_t n)
{
    struct stat s;
    int kept = errno;
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (end >= (off_t)n && hak_os_fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
        s.st_size == end)
        (void)!ftruncate(fd, end - (off_t)n);
    errno = kept;
}

int hak_os_append(int fd, const void *bytes, size_t n)
{
    size_t done;
    int error = write_all(fd, bytes, n, &done);
    if (error != 0 && done != 0)
        cut_end(fd, done);
    return error;
}

/* ---- memory that is there ---- */

void hak_os_huge(void *p, size_t size_bytes)
{
    int kept = errno;
    madvise(p, size_bytes, MADV_HUGEPAGE);
    errno = kept;
}

bool hak_os_is_mapped(void *p)
{
    int kept = errno;
    unsigned char resident;
    bool mapped = mincore(p, 1, &resident) == 0 || errno != ENOMEM;
    errno = kept;
    return mapped;
}

bool hak_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes)
{
    int kept = errno;
    return error_of_call(mremap(from, old_bytes, new_bytes,
                                MREMAP_MAYMOVE | MREMAP_FIXED,
                                to) != MAP_FAILED,
                         kept) == 0;
}

/* Does the kernel grant mappings larger than memory and swap together? It does
 * not in overcommit mode 2 and under RLIMIT_AS. */
static bool is_more_granted(const struct sysinfo *info)
{
    size_t bytes = ((size_t)info->totalram + info->totalswap) * info->mem_unit;
    void *p =
        hak_os_tsan() ? NULL : hak_os_map(bytes * 2, PROT_READ | PROT_WRITE);
    return p != NULL && hak_os_unmap(p, bytes * 2);
}

/*
 * The window has four times the RAM, at least 64 GiB, and at most four times
 * RLIMIT_AS and RLIMIT_DATA, so that purged holes never exhaust it. The
 * directory takes 1/8192 of that in address space, most of it never touched.
 * Tables of some boxes take as much again.
 *
 * A program that touches little of its blocks may request more than that. libc
 * then serves what does not fit in the window. With no_libc it cannot, so the
 * window has at least 512 GiB where the kernel grants that much.
 */
size_t hak_os_window_bytes(bool no_libc)
{
    static const __rlimit_resource_t limits[] = {RLIMIT_AS, RLIMIT_DATA};
    struct sysinfo info;
    struct rlimit limit;
    const size_t least = (size_t)4 << 30;
    const size_t most = (size_t)(hak_os_tsan() ? 256 : 16 << 10) << 30;
    size_t want = (size_t)64 << 30;
    if (sysinfo(&info) == 0) {
        want = hak_max(want, (size_t)info.totalram * info.mem_unit * 4);
        if (no_libc && is_more_granted(&info))
            want = hak_max(want, (size_t)512 << 30);
    }
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (getrlimit(limits[i], &limit) == 0 && limit.rlim_cur <= most / 4)
            want = hak_min(want, (size_t)limit.rlim_cur * 4);
    want = hak_min(hak_max(want, least), most);
    return (size_t)1 << (64 - __builtin_clzl(want - 1));
}

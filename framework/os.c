/* SPDX-License-Identifier: MIT
 * os.c - every coupling of the core to the kernel: memory, clock, random. */
#include "core.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

int hak_os_tid(void)
{
    return (int)syscall(SYS_gettid);
}

bool hak_os_thread_is_gone(int tid)
{
    int kept = errno;
    bool gone = syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
    errno = kept;
    return gone;
}

static bool membarrier(int command)
{
    int kept = errno;
    bool done = syscall(SYS_membarrier, command, 0, 0) == 0;
    errno = kept;
    return done;
}

bool hak_os_barrier_start(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

void hak_os_barrier(void)
{
    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) && hak_os_barrier_start())
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED); /* a fork's child */
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

uint64_t hak_os_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014 */
static uint64_t splitmix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static uint64_t random_state;

uint64_t hak_os_random(void)
{
    if (__atomic_load_n(&random_state, __ATOMIC_RELAXED) == 0)
        hak_os_random_reseed();
    return splitmix(__atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15ull,
                                       __ATOMIC_RELAXED));
}

void hak_os_random_reseed(void)
{
    struct timespec t;
    uint64_t seed[2] = {0, 0};
    const void *given = (const void *)getauxval(AT_RANDOM); /* 16 bytes */
    if (given != NULL)
        memcpy(seed, given, sizeof seed);
    clock_gettime(CLOCK_MONOTONIC, &t);
    seed[0] ^= splitmix((uint64_t)t.tv_nsec + ((uint64_t)t.tv_sec << 30));
    seed[1] ^= splitmix((uint64_t)getpid());
    __atomic_store_n(&random_state, splitmix(seed[0]) + seed[1],
                     __ATOMIC_RELAXED);
}

void *hak_os_map(size_t size_bytes, int prot)
{
    int kept = errno;
    void *p = mmap(NULL, size_bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    errno = kept;
    return p == MAP_FAILED ? NULL : p;
}

int hak_os_map_at(void *at, size_t size_bytes)
{
    int kept = errno;
    void *p =
        mmap(at, size_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
             -1, 0);
    int error = p == MAP_FAILED ? errno : 0;
    errno = kept;
    if (error != 0 || p == at)
        return -error;
    hak_os_unmap(p, size_bytes); /* kernels before 4.17 take it as a hint */
    return -EEXIST;
}

bool hak_os_unmap(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = munmap(p, size_bytes) == 0;
    errno = kept;
    return done;
}

bool hak_os_purge(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = madvise(p, size_bytes, MADV_DONTNEED) == 0;
    errno = kept;
    return done;
}

bool hak_os_writable(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = mprotect(p, size_bytes, PROT_READ | PROT_WRITE) == 0;
    errno = kept;
    return done;
}

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

/* Move to a range that is ours or free; what is mapped there goes. */
bool hak_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes)
{
    int kept = errno;
    bool done = mremap(from, old_bytes, new_bytes,
                       MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
    errno = kept;
    return done;
}

/*
 * How much address space to plan the window for: four times what can be
 * had (RAM or RLIMIT_AS), so that purged holes never exhaust it. The
 * directory costs 1/8192 of that in address space, untouched.
 */
size_t hak_os_window_bytes(void)
{
    struct sysinfo info;
    struct rlimit limit;
    const size_t least = (size_t)4 << 30;
    const size_t most = (size_t)(hak_os_tsan() ? 256 : 16 << 10) << 30;
    size_t want = (size_t)64 << 30;
    if (sysinfo(&info) == 0)
        want = hak_max(want, (size_t)info.totalram * info.mem_unit * 4);
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        want = hak_min(want, (size_t)limit.rlim_cur * 4);
    want = hak_min(hak_max(want, least), most);
    return (size_t)1 << (64 - __builtin_clzl(want - 1));
}

/* ---- metadata ---------------------------------------------------------- */

enum { META_CHUNK_BYTES = 256 * 1024, META_OWN_MAP_BYTES = 64 * 1024 };

static struct {
    struct hak_lock lock;
    char *next, *end;
    uint64_t bytes;
} meta;

void hak_meta_lock(bool take)
{
    (take ? hak_lock_take : hak_lock_drop)(&meta.lock);
}

uint64_t hak_meta_bytes(void)
{
    return __atomic_load_n(&meta.bytes, __ATOMIC_RELAXED);
}

static void *meta_from_chunk(size_t size_bytes)
{
    if ((size_t)(meta.end - meta.next) < size_bytes) {
        char *chunk = hak_os_map(META_CHUNK_BYTES, PROT_READ | PROT_WRITE);
        if (chunk == NULL)
            return NULL;
        meta.next = chunk;
        meta.end = chunk + META_CHUNK_BYTES;
    }
    void *p = meta.next;
    meta.next += size_bytes;
    meta.bytes += size_bytes;
    return p;
}

void *hak_meta(size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes > PTRDIFF_MAX)
        return NULL;
    size_bytes = hak_round_up(size_bytes, 64);
    if (size_bytes >= META_OWN_MAP_BYTES) /* sparse tables */
        return hak_os_map(size_bytes, PROT_READ | PROT_WRITE);
    hak_lock_take(&meta.lock);
    void *p = meta_from_chunk(size_bytes);
    hak_lock_drop(&meta.lock);
    return p;
}

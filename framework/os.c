/* SPDX-License-Identifier: MIT
 * os.c - every coupling of the core to the kernel: memory, clock, random. */
#include "core.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

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

uint32_t hak_os_ncpus(void)
{
    enum { CPUS_MOST = 8192 }; /* of Linux on x86-64 */
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

/* noinline: a page of stack, and realpath's own, for where there is no /proc.
 */
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

uint64_t hak_os_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- random numbers ------------------------------------------------------ */

/*
 * SipHash-2-4 of a counter, under a key from getrandom(2): what is known of
 * some numbers tells nothing of others. The state is in a page of its own that
 * the kernel wipes in the child of any fork, so no two processes share one.
 * Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
struct random {
    struct hak_lock lock; /* while it is seeded */
    bool seeded;
    uint64_t key[2];
    uint64_t counter;
};
static struct random *random_page; /* NULL: before the first number */
static struct random random_spare; /* without memory: hak_fork wipes it */

static void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = v[1] << 13 | v[1] >> 51, v[3] = v[3] << 16 | v[3] >> 48;
    v[1] ^= v[0], v[3] ^= v[2];
    v[0] = v[0] << 32 | v[0] >> 32;
    v[2] += v[1], v[0] += v[3];
    v[1] = v[1] << 17 | v[1] >> 47, v[3] = v[3] << 21 | v[3] >> 43;
    v[1] ^= v[2], v[3] ^= v[0];
    v[2] = v[2] << 32 | v[2] >> 32;
}

uint64_t hak_os_siphash(const uint64_t key[2], uint64_t word)
{
    const uint64_t last = (uint64_t)sizeof word << 56; /* its length */
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
        key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull};
    for (int i = 0; i < 2; i++) {
        uint64_t m = i == 0 ? word : last;
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void seed(struct random *r)
{
    int kept = errno;
    uint64_t key[2] = {0, 0};
    const void *given = (const void *)getauxval(AT_RANDOM); /* 16 bytes */
    struct timespec t;
    /* Early at boot there is none yet: what the loader got, and the time. */
    if (syscall(SYS_getrandom, key, sizeof key, GRND_NONBLOCK) !=
        (long)sizeof key) {
        if (given != NULL)
            memcpy(key, given, sizeof key);
        clock_gettime(CLOCK_MONOTONIC, &t);
        key[0] ^= (uint64_t)t.tv_nsec + ((uint64_t)t.tv_sec << 30);
        key[1] ^= (uint64_t)getpid() << 32;
    }
    memcpy(r->key, key, sizeof key);
    errno = kept;
}

static struct random *random_state(void)
{
    struct random *r = __atomic_load_n(&random_page, __ATOMIC_ACQUIRE);
    struct random *none = NULL;
    if (likely(r != NULL))
        return r;
    size_t bytes = hak_os_page_bytes();
    r = hak_os_map(bytes, PROT_READ | PROT_WRITE);
    if (r == NULL)
        return &random_spare; /* until there is memory */
    int kept = errno;
    madvise(r, bytes, MADV_WIPEONFORK); /* not before Linux 4.14 */
    errno = kept;
    r->seeded = false; /* a page that is read first has two faults */
    if (__atomic_compare_exchange_n(&random_page, &none, r, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return r;
    hak_os_unmap(r, bytes);
    return none;
}

uint64_t hak_os_random(void)
{
    struct random *r = random_state();
    if (unlikely(!__atomic_load_n(&r->seeded, __ATOMIC_ACQUIRE))) {
        hak_lock_take(&r->lock);
        if (!r->seeded)
            seed(r);
        __atomic_store_n(&r->seeded, true, __ATOMIC_RELEASE);
        hak_lock_drop(&r->lock);
    }
    return hak_os_siphash(r->key,
                          __atomic_add_fetch(&r->counter, 1, __ATOMIC_RELAXED));
}

/* For kernels that do not wipe. */
void hak_os_random_forked(void)
{
    random_spare = (struct random){.seeded = false};
    if (random_page != NULL)
        *random_page = (struct random){.seeded = false};
}

void *hak_os_map(size_t size_bytes, int prot)
{
    int kept = errno;
    void *p = mmap(NULL, size_bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    errno = kept;
    return p == MAP_FAILED ? NULL : p;
}

static int map_at(void *at, size_t size_bytes, int flags)
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
    hak_os_unmap(p, size_bytes); /* kernels before 4.17 take it as a hint */
    return -EEXIST;
}

int hak_os_map_at(void *at, size_t size_bytes)
{
    return map_at(at, size_bytes, 0);
}

int hak_os_populate_at(void *at, size_t size_bytes)
{
    return map_at(at, size_bytes, MAP_POPULATE);
}

/* In place of what is mapped there, and zero. */
static bool map_over(void *at, size_t size_bytes)
{
    int kept = errno;
    bool done = mmap(at, size_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                     -1, 0) == at;
    errno = kept;
    return done;
}

bool hak_os_unmap(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = munmap(p, size_bytes) == 0;
    errno = kept;
    return done;
}

int hak_os_purge(void *p, size_t size_bytes)
{
    int kept = errno;
    int error = madvise(p, size_bytes, MADV_DONTNEED) == 0 ? 0 : -errno;
    errno = kept;
    return error;
}

bool hak_os_writable(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = mprotect(p, size_bytes, PROT_READ | PROT_WRITE) == 0;
    errno = kept;
    return done;
}

bool hak_os_read_only(void *p, size_t size_bytes)
{
    int kept = errno;
    bool done = mprotect(p, size_bytes, PROT_READ) == 0;
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

/* Does the kernel grant more than memory and swap? Not in overcommit mode 2,
 * nor under limits. */
static bool is_more_granted(const struct sysinfo *info)
{
    size_t bytes = ((size_t)info->totalram + info->totalswap) * info->mem_unit;
    void *p =
        hak_os_tsan() ? NULL : hak_os_map(bytes * 2, PROT_READ | PROT_WRITE);
    return p != NULL && hak_os_unmap(p, bytes * 2);
}

/*
 * How much address space to plan the window for: four times what can be
 * had (RAM, RLIMIT_AS or RLIMIT_DATA), so that purged holes never exhaust it.
 * The directory costs 1/8192 of that in address space, untouched, and so do
 * the maps of some boxes. Blocks of which little is touched may come to more
 * than memory; what then does not fit libc serves, or with no_libc the window
 * is 512 GiB at least.
 */
size_t hak_os_window_bytes(bool no_libc)
{
    static const int limits[] = {RLIMIT_AS, RLIMIT_DATA};
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

/* ---- metadata ---------------------------------------------------------- */

enum { META_CHUNK_BYTES = 256 * 1024, META_OWN_MAP_BYTES = 64 * 1024 };

static struct {
    struct hak_lock lock;
    char *next, *end;
    uint64_t bytes;
} meta;

void hak_meta_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&meta.lock, phase);
}

uint64_t hak_meta_bytes(void)
{
    return __atomic_load_n(&meta.bytes, __ATOMIC_RELAXED);
}

/* From the chunk, or from *fresh, which becomes the chunk and NULL; or NULL. */
static void *meta_from_chunk(size_t size_bytes, char **fresh)
{
    void *p = NULL;
    hak_lock_take(&meta.lock);
    if ((size_t)(meta.end - meta.next) < size_bytes && *fresh != NULL) {
        meta.next = *fresh;
        meta.end = *fresh + META_CHUNK_BYTES;
        *fresh = NULL;
    }
    if ((size_t)(meta.end - meta.next) >= size_bytes) {
        p = meta.next;
        meta.next += size_bytes;
        hak_count(&meta.bytes, size_bytes);
    }
    hak_lock_drop(&meta.lock);
    return p;
}

/* A chunk is mapped without the lock, by each thread that needs one. */
void *hak_meta(size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes > PTRDIFF_MAX)
        return NULL;
    size_bytes = hak_round_up(size_bytes, 64);
    if (size_bytes >= META_OWN_MAP_BYTES) /* sparse tables */
        return hak_os_map(size_bytes, PROT_READ | PROT_WRITE);
    char *fresh = NULL;
    void *p = meta_from_chunk(size_bytes, &fresh);
    if (p == NULL &&
        (fresh = hak_os_map(META_CHUNK_BYTES, PROT_READ | PROT_WRITE)) != NULL)
        p = meta_from_chunk(size_bytes, &fresh);
    if (fresh != NULL)
        hak_os_unmap(fresh, META_CHUNK_BYTES);
    return p;
}

void *hak_meta_guarded(size_t size_bytes)
{
    size_t page = hak_os_page_bytes(), body = hak_round_up(size_bytes, page);
    if (size_bytes == 0 || size_bytes > PTRDIFF_MAX)
        return NULL;
    char *p = hak_os_map(body + 2 * page, PROT_NONE);
    if (p != NULL && map_over(p + page, body))
        return p + page;
    if (p != NULL)
        hak_os_unmap(p, body + 2 * page);
    return hak_os_map(body, PROT_READ | PROT_WRITE);
}

const char *hak_meta_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *kept = hak_meta(bytes);
    return kept != NULL ? memcpy(kept, text, bytes) : NULL;
}

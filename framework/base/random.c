/* SPDX-License-Identifier: MIT
 * random.c - unpredictable random numbers.
 *
 * Each number is SipHash-2-4 of a counter, with a key from getrandom(2), so
 * some of the numbers tell nothing about the others. The state has a page of
 * its own that the kernel zeroes in the child of any fork, so no two processes
 * share a key.
 * Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#include <base/random.h>

#include <base/os.h>
#include <kit/sync.h>

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <string.h>
#include <sys/syscall.h>

struct random {
    struct hak_lock lock; /* held while the key is set */
    bool seeded;
    uint64_t key[2];
    uint64_t counter;
};
static struct random *random_page; /* atomic; NULL before the first number */
/* Used while there is no memory for a page. hak_random_forked zeroes it. */
static struct random random_spare;

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

uint64_t hak_siphash(const uint64_t key[2], uint64_t word)
{
    /* SipHash's final block: the length of the input in its top byte. */
    const uint64_t last = (uint64_t)sizeof word << 56;
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

static void set_key(struct random *r)
{
    int kept = errno;
    uint64_t key[2] = {0, 0};
    const void *given = (const void *)getauxval(AT_RANDOM); /* 16 bytes */
    struct timespec t;
    /* Early at boot the kernel has no random bytes yet. The key is then made
     * of AT_RANDOM, the time and the process id. */
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
        return &random_spare;
    int kept = errno;
    madvise(r, bytes, MADV_WIPEONFORK); /* fails before Linux 4.14 */
    errno = kept;
    r->seeded = false; /* a write now: a read first would cost a second fault */
    if (__atomic_compare_exchange_n(&random_page, &none, r, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return r;
    hak_os_unmap(r, bytes);
    return none;
}

uint64_t hak_random(void)
{
    struct random *r = random_state();
    if (unlikely(!__atomic_load_n(&r->seeded, __ATOMIC_ACQUIRE))) {
        hak_lock_take(&r->lock);
        if (!r->seeded)
            set_key(r);
        __atomic_store_n(&r->seeded, true, __ATOMIC_RELEASE);
        hak_lock_drop(&r->lock);
    }
    return hak_siphash(r->key,
                       __atomic_add_fetch(&r->counter, 1, __ATOMIC_RELAXED));
}

/* For kernels without MADV_WIPEONFORK, and for random_spare. */
void hak_random_forked(void)
{
    random_spare = (struct random){.seeded = false};
    if (random_page != NULL)
        *random_page = (struct random){.seeded = false};
}

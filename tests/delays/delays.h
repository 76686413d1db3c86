/* SPDX-License-Identifier: MIT
 * delays.h - included before each source in the build of `make check-delays`:
 * around each atomic access, and so around each take and drop of a lock, the
 * thread may be late.
 *
 * A race needs a thread that is late in one place while others go on; the place
 * may be a few instructions on a rare path, so delays that fall anywhere alike
 * hardly ever fall there. Here each thread has, for an epoch of its accesses,
 * some places where it is late: every second time at first, at a place that it
 * passes often more and more seldom, so that an epoch has an end. Elsewhere it
 * yields now and then.
 *
 * HAK_DELAY_SEED=N chooses the places and the times, together with the order in
 * which threads came. A box may have no thread-local variable, so a thread's
 * state is found by the address of its own thread structure; each library has
 * states of its own. No call but the kernel's, errno is kept.
 */
#ifndef HAK_TESTS_DELAYS_H
#define HAK_TESTS_DELAYS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    HAK_DELAY_THREADS = 1024, /* states; others are shared */
    HAK_DELAY_EPOCH = 8192,   /* accesses */
    HAK_DELAY_PLACES = 16,    /* one place in so many is a late one */
    HAK_DELAY_COUNTS = 16,    /* of late places, which may share one */
    HAK_DELAY_YIELD = 1024,   /* of so many accesses elsewhere one yields */
};

/* A thread's state. Two threads that share one spoil each other's numbers. */
struct hak_delay {
    uint64_t thread; /* 0: free */
    uint64_t random, places;
    uint32_t steps;
    uint8_t nlate[HAK_DELAY_COUNTS]; /* how often it was late there */
};

#define HAK_DELAY_WEAK __attribute__((weak, visibility("hidden")))
HAK_DELAY_WEAK struct hak_delay hak_delays[HAK_DELAY_THREADS];
HAK_DELAY_WEAK uint64_t hak_delay_nthreads;
HAK_DELAY_WEAK uint64_t hak_delay_seed;

static inline uint64_t hak_delay_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline void hak_delay_call(long number, const void *argument)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(argument), "S"(0)
                     : "rcx", "r11", "memory");
}

static inline void hak_delay_begin(struct hak_delay *d)
{
    const char *given = environ != NULL ? getenv("HAK_DELAY_SEED") : NULL;
    if (hak_delay_seed == 0 && given != NULL)
        hak_delay_seed = strtoull(given, NULL, 0);
    uint64_t n = __atomic_add_fetch(&hak_delay_nthreads, 1, __ATOMIC_RELAXED);
    d->random = hak_delay_mix(hak_delay_seed + n * 0x9e3779b97f4a7c15u);
}

static inline struct hak_delay *hak_delay_of_thread(void)
{
    enum { PROBES = 16 };
    uint64_t thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    struct hak_delay *d = hak_delays;
    for (uint32_t i = 0; i < PROBES; i++) {
        d = &hak_delays[((thread >> 6) * 0x9e3779b9u / 65536 + i) %
                        HAK_DELAY_THREADS];
        uint64_t seen = __atomic_load_n(&d->thread, __ATOMIC_RELAXED);
        if (seen == thread)
            return d;
        if (seen == 0 &&
            __atomic_compare_exchange_n(&d->thread, &seen, thread, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            hak_delay_begin(d);
            return d;
        }
    }
    return d;
}

/* Up to 4 ms, each doubling from 1 us on as likely as the next; the kernel adds
 * some 50 us. */
static inline void hak_delay_sleep(uint64_t random)
{
    uint64_t most = (uint64_t)1 << (10 + random % 13);
    struct timespec t = {.tv_nsec = (long)(random >> 16 & (most - 1))};
    hak_delay_call(SYS_nanosleep, &t);
}

/* Where the calling thread is: the return address, as the library has it. */
HAK_DELAY_WEAK __attribute__((noinline)) void hak_delay(void)
{
    struct hak_delay *d = hak_delay_of_thread();
    uint64_t place =
        (uint64_t)__builtin_return_address(0) - (uint64_t)(uintptr_t)hak_delays;
    uint64_t random = hak_delay_mix(d->random += 0x9e3779b97f4a7c15u);
    if (d->steps++ % HAK_DELAY_EPOCH == 0) {
        d->places = random;
        for (uint32_t i = 0; i < HAK_DELAY_COUNTS; i++)
            d->nlate[i] = 0;
    }
    uint64_t chosen = hak_delay_mix(place ^ d->places);
    if (chosen % HAK_DELAY_PLACES == 0) {
        uint8_t *nlate = &d->nlate[(chosen >> 32) % HAK_DELAY_COUNTS];
        if ((random >> 32) % (2u + *nlate) == 0) {
            *nlate += *nlate < UINT8_MAX;
            hak_delay_sleep(hak_delay_mix(random));
        }
    } else if ((random >> 32) % HAK_DELAY_YIELD == 0) {
        hak_delay_call(SYS_sched_yield, NULL);
    }
}

#define HAK_DELAYED(access)                 \
    __extension__({                         \
        hak_delay();                        \
        __auto_type hak_delayed = (access); \
        hak_delay();                        \
        hak_delayed;                        \
    })
#define HAK_DELAYED_STORE(access) \
    __extension__({               \
        hak_delay();              \
        access;                   \
        hak_delay();              \
    })

#define __atomic_load_n(...) HAK_DELAYED(__atomic_load_n(__VA_ARGS__))
#define __atomic_exchange_n(...) HAK_DELAYED(__atomic_exchange_n(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) \
    HAK_DELAYED(__atomic_compare_exchange_n(__VA_ARGS__))
#define __atomic_add_fetch(...) HAK_DELAYED(__atomic_add_fetch(__VA_ARGS__))
#define __atomic_sub_fetch(...) HAK_DELAYED(__atomic_sub_fetch(__VA_ARGS__))
#define __atomic_fetch_add(...) HAK_DELAYED(__atomic_fetch_add(__VA_ARGS__))
#define __atomic_fetch_and(...) HAK_DELAYED(__atomic_fetch_and(__VA_ARGS__))
#define __atomic_fetch_or(...) HAK_DELAYED(__atomic_fetch_or(__VA_ARGS__))
#define __atomic_store_n(...) HAK_DELAYED_STORE(__atomic_store_n(__VA_ARGS__))
#define __atomic_thread_fence(...) \
    HAK_DELAYED_STORE(__atomic_thread_fence(__VA_ARGS__))

#endif

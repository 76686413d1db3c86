/* SPDX-License-Identifier: MIT
 * misuse.h - what the programs here share: each does one thing that a program
 * must not do, and tells how far it came.
 *
 * The last line on stdout says when it was stopped:
 *
 *     now     in the wrong call or access itself        "at once"
 *     free    when the block was freed, later           "at free"
 *     reuse   when its memory was handed out again      "at reuse"
 *     missed  never                                     "no"
 *
 * The first comment of a program has, for docs/misuse.md and test_misuse.sh:
 *
 *     fault: one line
 *     CONF: result: text that stderr has    for conf/CONF.ini
 *     scudo: result                         for LLVM's Scudo
 *
 * with result one of the above, or `sampled` when it is stopped for the few
 * blocks that are chosen. `says` may be left out where the kernel stops it.
 */
#ifndef HAK_TESTS_MISUSE_H
#define HAK_TESTS_MISUSE_H

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((weak)) void free_sized(void *p, size_t size_bytes);
__attribute__((weak)) void free_aligned_sized(void *p, size_t align_bytes,
                                              size_t size_bytes);

static inline void step(const char *name)
{
    (void)!write(1, name, strlen(name));
    (void)!write(1, "\n", 1);
}

/* The compiler knows nothing of what comes out. */
static inline void *opaque(const void *p)
{
    void *volatile q = (void *)(uintptr_t)p;
    return q;
}

/* Run it in a thread of its own, to its end. */
static inline void in_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) != 0)
        _exit(2);
    pthread_join(thread, NULL);
}

static inline void *free_it(void *p)
{
    free(p);
    return NULL;
}

/* Blocks of one size enough that the freed ones come round again. */
static inline void take_many(size_t size_bytes)
{
    for (int i = 0; i < 100000; i++) /* out of a quarantine */
        free(opaque(malloc(size_bytes)));
    for (int i = 0; i < 100000; i++)
        if (malloc(size_bytes) == NULL)
            _exit(2);
}

/* What the program does; then it has got away with it. */
static void misuse(void);
int main(void)
{
    misuse();
    step("missed");
    return 0;
}

#endif

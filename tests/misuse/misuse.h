/* SPDX-License-Identifier: MIT
 * misuse.h - common parts of the programs in this folder. Each program makes
 * one fault, and prints its steps until it is stopped.
 *
 * The last line on stdout tells when the program was stopped:
 *
 *     now     in the wrong call or access itself            "at once"
 *     free    when the block was freed later                "at free"
 *     reuse   when the block's memory was handed out again  "at reuse"
 *     missed  never                                         "no"
 *
 * The first comment of a program has these lines for test_misuse.sh and for the
 * table in docs/misuse.md:
 *
 *     fault: what the program does wrong, one line
 *     CONF: result: text that stderr has    for conf/CONF.ini
 *     scudo: result                         for LLVM's Scudo
 *
 * A result is one of the words in quotes above, or `by sampling`: the program
 * is stopped if the block is one of the few that box guard samples. The text is
 * left out if a signal of the kernel stops the program.
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

/* Return p in a way that hides from the compiler where it points to. */
static inline void *opaque(const void *p)
{
    void *volatile q = (void *)(uintptr_t)p;
    return q;
}

/* Call run(argument) in a new thread and wait for the end of the thread. */
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

/* Allocate so many blocks of one size that every freed block of this size is
 * handed out again. */
static inline void take_many(size_t size_bytes)
{
    for (int i = 0; i < 100000; i++) /* empties a quarantine */
        free(opaque(malloc(size_bytes)));
    for (int i = 0; i < 100000; i++)
        if (malloc(size_bytes) == NULL)
            _exit(2);
}

/* The fault of the program. If it returns, nothing stopped the program. */
static void misuse(void);
int main(void)
{
    misuse();
    step("missed");
    return 0;
}

#endif

/* SPDX-License-Identifier: MIT
 * forked.h - what tests of fork share: a child that sees whether it can
 * allocate, fork handlers older than the allocator's. */
#ifndef HAK_TESTS_PRELOAD_FORKED_H
#define HAK_TESTS_PRELOAD_FORKED_H

#include "common.h"

#include <pthread.h>

enum { CHILD_SECONDS = 20 };

struct block {
    char *p;
    size_t n;
};

__attribute__((unused)) static void own_work(uint64_t random)
{
    enum { SLOTS = 120 };
    struct block slot[SLOTS] = {{NULL, 0}};
    for (int i = 0; i < 300; i++) {
        struct block *s = &slot[random_below(&random, SLOTS)];
        EXPECT_PATTERN(s->p, s->n, 77);
        free(s->p);
        s->n = random_size(&random, 0, i % 100 == 0 ? 18 : 12);
        s->p = malloc(s->n);
        EXPECT(s->p != NULL);
        fill(s->p, s->n, 77);
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i].p);
}

__attribute__((unused)) static pid_t fork_or_die(void)
{
    pid_t pid = fork();
    EXPECT_GE(pid, 0);
    if (pid == 0)
        alarm(CHILD_SECONDS); /* a lock that stayed taken must not hang us */
    return pid;
}

static void *thread_work(void *seed)
{
    own_work((uintptr_t)seed);
    return seed;
}

__attribute__((unused)) static void child_threads(void)
{
    pthread_t thread[4];
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, thread_work, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
}

/*
 * As pthread_atfork, past what the allocator has in its place: handlers that
 * are older than its own, as a program linked before glibc 2.34 may have them.
 */
__attribute__((unused)) static void
register_older(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    int (*add)(void (*)(void), void (*)(void), void (*)(void), void *);
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *symbol = dlsym(libc, "__register_atfork");
    memcpy(&add, &symbol, sizeof add);
    EXPECT(add != NULL && add(prepare, parent, child, NULL) == 0);
}

#endif

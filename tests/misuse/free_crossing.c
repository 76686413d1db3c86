/* SPDX-License-Identifier: MIT
 * free_crossing.c - the owner frees a block, and another thread frees it too.
 * The second free is on its way in a parcel when the owner gets the block
 * again.
 *
 * fault: double free by another thread, handed out on its way
 * default: no
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

#include <semaphore.h>

enum { OTHERS = 61 }; /* these and the block p fill one parcel */
static char *other[OTHERS];
static sem_t freed, reused;

static void *frees(void *p)
{
    for (int i = 0; i < OTHERS; i++)
        free(other[i]);
    step("now");
    free(p);
    sem_post(&freed);
    sem_wait(&reused); /* the thread lives on until then */
    return NULL;
}

static void misuse(void)
{
    pthread_t thread;
    for (int i = 0; i < OTHERS; i++)
        other[i] = opaque(malloc(100));
    char *p = opaque(malloc(100)), *q = opaque(malloc(100));
    free(p);
    free(q); /* a second free of the last freed block is caught at once */
    sem_init(&freed, 0, 0);
    sem_init(&reused, 0, 0);
    if (pthread_create(&thread, NULL, frees, p) != 0)
        _exit(2);
    sem_wait(&freed);
    step("reuse");
    for (int i = 0; i < 3; i++) /* gets q, p and the slot that p's link names */
        opaque(malloc(100));
    take_many(100);
    sem_post(&reused);
    pthread_join(thread, NULL);
}

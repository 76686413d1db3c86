/* SPDX-License-Identifier: MIT
 * free_crossing.c - a block that its thread has freed is freed by another one
 * as well, with many others before, and its thread goes on meanwhile.
 *
 * fault: double free by another thread, handed out on its way
 * default: no
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

#include <semaphore.h>

enum { OTHERS = 61 }; /* with the one a parcel is full */
static char *other[OTHERS];
static sem_t freed, reused;

static void *frees(void *p)
{
    for (int i = 0; i < OTHERS; i++)
        free(other[i]);
    step("now");
    free(p);
    sem_post(&freed);
    sem_wait(&reused); /* it does not end */
    return NULL;
}

static void misuse(void)
{
    pthread_t thread;
    for (int i = 0; i < OTHERS; i++)
        other[i] = opaque(malloc(100));
    char *p = opaque(malloc(100)), *q = opaque(malloc(100));
    free(p);
    free(q); /* p is not the one that came back last */
    sem_init(&freed, 0, 0);
    sem_init(&reused, 0, 0);
    if (pthread_create(&thread, NULL, frees, p) != 0)
        _exit(2);
    sem_wait(&freed);
    step("reuse");
    for (int i = 0; i < 3; i++) /* q, p and what p's link leads to */
        opaque(malloc(100));
    take_many(100);
    sem_post(&reused);
    pthread_join(thread, NULL);
}

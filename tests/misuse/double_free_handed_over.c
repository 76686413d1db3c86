/* SPDX-License-Identifier: MIT
 * double_free_handed_over.c - another thread frees a block twice in a row. The
 * first free fills a parcel, which is posted to the owner before the second
 * free.
 *
 * fault: double free by another thread, in a row
 * default: at once: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

#include <semaphore.h>

enum { OTHERS = 61 }; /* these and the block p fill one parcel */
static char *other[OTHERS];

static void *frees(void *p)
{
    for (int i = 0; i < OTHERS; i++)
        free(other[i]);
    free(p);
    step("now");
    free(p);
    step("reuse");
    return NULL;
}

static void misuse(void)
{
    for (int i = 0; i < OTHERS; i++)
        other[i] = opaque(malloc(100));
    in_thread(frees, opaque(malloc(100)));
    take_many(100);
}

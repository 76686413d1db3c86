/* SPDX-License-Identifier: MIT
 * map_under_lock.c - like three.c, but alloc() holds a lock while it maps
 * memory, and shrink() takes another one after a while. A test has two
 * instances of it: "mapper" maps, and "keeper" is asked to shrink meanwhile.
 */
#define THREE_NO_ENTRY
#include "three.c"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { SLEEP_NS = 2 * 1000 * 1000 };

static pthread_mutex_t mapping = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void *locked_alloc(struct hak_box *box, size_t size_bytes)
{
    pthread_mutex_lock(&mapping);
    void *p = three_alloc(box, size_bytes);
    pthread_mutex_unlock(&mapping);
    return p;
}

static size_t late_shrink(struct hak_box *box, size_t want_bytes)
{
    (void)box;
    nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    pthread_mutex_lock(&keeping);
    pthread_mutex_unlock(&keeping);
    return want_bytes;
}

static void one_lock_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    bool keeper = strcmp(box->name, "keeper") == 0;
    pthread_mutex_t *lock = keeper ? &keeping : &mapping;
    if (phase == HAK_FORK_PREPARE)
        pthread_mutex_lock(lock);
    else
        pthread_mutex_unlock(lock);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("map_under_lock", "1.0"),
    .ops = {.alloc = locked_alloc,
            .free = three_free,
            .owns = three_owns,
            .fork = one_lock_fork,
            .shrink = late_shrink},
};

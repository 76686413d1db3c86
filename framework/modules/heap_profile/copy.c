/* SPDX-License-Identifier: MIT
 * copy.c - a copy of the figures, which is what is written.
 *
 * The lock is held for the time of the copy alone. A child of a fork does not
 * get the copy's mapping, since nobody there would give it back.
 */
#include "heap_profile.h"

#include <base/os.h>

#include <sys/mman.h>

/* The first of these entries begin to be used while the copy is made; those
 * beyond are left out of it. */
enum { MORE_ENTRIES = 1024 };

static void copy_figures(struct hak_profile_copy *c)
{
    for (uint32_t i = 0; i < c->nentries; i++) {
        const struct hak_profile_entry *e =
            hak_profile_at(&hak_profile_entries, i);
        struct hak_profile_figures *f = &c->figures[i];
        *f = e->figures;
        if (e->of_peak != c->totals.npeaks) {
            f->peak = f->live;
            f->peak_bytes = f->live_bytes;
        }
    }
}

struct hak_profile_copy *hak_profile_copy_take(void)
{
    uint32_t room = __atomic_load_n(&hak_profile_entries.n, __ATOMIC_ACQUIRE) +
                    MORE_ENTRIES;
    size_t bytes = sizeof(struct hak_profile_copy) +
                   room * (sizeof(struct hak_profile_figures) + sizeof(double));
    struct hak_profile_copy *c = hak_os_map(bytes, PROT_READ | PROT_WRITE);
    if (c == NULL)
        return NULL;
    madvise(c, bytes, MADV_DONTFORK);
    c->mapped_bytes = bytes;
    c->figures = (struct hak_profile_figures *)(c + 1);
    c->page_overhead = (double *)(c->figures + room);
    bool entered = hak_profile_enter();
    c->totals = hak_profile.totals;
    c->nentries = (uint32_t)hak_min(hak_profile_entries.n, room);
    c->nlocations = hak_profile_locations.n;
    c->nobjects = hak_profile_objects.n;
    c->nthreads = hak_profile_threads.n;
    c->nboxes = hak_profile_boxes.n;
    copy_figures(c);
    hak_profile_leave(entered);
    return c;
}

void hak_profile_copy_drop(struct hak_profile_copy *copy)
{
    hak_os_unmap(copy, copy->mapped_bytes);
}

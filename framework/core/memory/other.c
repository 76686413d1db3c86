/* SPDX-License-Identifier: MIT
 * other.c - another allocator in the process, for blocks that it made.
 *
 * malloc and free are ours, as the first in the search order. A library that
 * is an allocator itself (libjemalloc, libtcmalloc) still hands out blocks by
 * calls that only it has (mallocx, its operator new), and the program frees
 * them by ours. What no box and not libc made is its then, and goes back to it.
 *
 *     libraries of the start   looked at when we start: those behind us in the
 *                              search order that define free
 *     libraries of dlopen      looked at when such a pointer first comes; not
 *                              those that boxes brought
 *
 * Of several the first is it. A library that only counts calls defines free
 * as well, and hands it on: to libc, or if it finds us, back to us. Therefore a
 * thread remembers what it has given away and does not give it away twice.
 */
#include <core/memory/other.h>

#include <base/object.h>
#include <base/sections.h>
#include <core/memory/libc.h>
#include <core/state/core.h>
#include <core/state/thread.h>

#include <string.h>

struct other {
    void (*free)(void *p);
    void *(*realloc)(void *p, size_t size_bytes);
    size_t (*usable_size)(void *p);
    struct hak_object object;
};

/* Of the start: known before it is sealed. */
static HAK_SEALED struct other first;
static HAK_SEALED bool is_known;
/* Where the last object is mapped that was there when we had started. */
static HAK_SEALED uintptr_t last_of_start;
/* That came by dlopen. guarded by late_lock, which nobody waits for: a fork's
 * child may find it taken for ever. */
static struct other late;
static struct hak_lock late_lock;

/* ---- which libraries ------------------------------------------------------
 */

struct search {
    uintptr_t behind; /* base of the object to begin after; 0: our own */
    bool began;
    struct other found; /* free is NULL: none yet */
};

static struct hak_object object_of(const struct dl_phdr_info *info)
{
    struct hak_object object = {.base = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC)
            object.dynamic = (const ElfW(Dyn) *)at;
        if (segment->p_type != PT_LOAD)
            continue;
        if (object.start == NULL)
            object.start = (const void *)at;
        object.end = (const void *)(at + segment->p_memsz);
    }
    return object;
}

#define FIND(o, name)                                                   \
    do {                                                                \
        void *symbol = hak_object_symbol(&(o)->object, NAME_OF_##name); \
        memcpy(&(o)->name, &symbol, sizeof symbol);                     \
    } while (0)
#define NAME_OF_free "free"
#define NAME_OF_realloc "realloc"
#define NAME_OF_usable_size "malloc_usable_size"

/* The loader has a free for itself. */
static bool is_an_allocator(struct other *o)
{
    if (o->object.dynamic == NULL || hak_libc_is(&o->object) ||
        hak_object_symbol(&o->object, "_dl_find_object") != NULL)
        return false;
    FIND(o, free);
    FIND(o, realloc);
    FIND(o, usable_size);
    return o->free != NULL && o->realloc != NULL;
}

/* For dl_iterate_phdr, which holds a lock of the loader. */
static int look_at(struct dl_phdr_info *info, size_t bytes, void *context)
{
    struct search *s = context;
    struct other o = {.object = object_of(info)};
    (void)bytes;
    if (!s->began) {
        s->began = s->behind != 0 ? info->dlpi_addr == s->behind
                                  : hak_object_has(&o.object, &is_known);
        return 0;
    }
    if (!is_an_allocator(&o))
        return 0;
    s->found = o;
    return 1; /* that is enough */
}

static struct other search_behind(uintptr_t base)
{
    struct search s = {.behind = base};
    dl_iterate_phdr(look_at, &s);
    return s.found;
}

void hak_other_start(void)
{
    if (is_known)
        return;
    first = search_behind(0);
    is_known = true;
}

static int note_base(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes;
    *(uintptr_t *)context = info->dlpi_addr;
    return 0;
}

void hak_other_started(void)
{
    uintptr_t base = 0;
    dl_iterate_phdr(note_base, &base);
    last_of_start = base;
}

bool hak_other_is_there(void)
{
    return first.free != NULL;
}

/* Is the library that was found still mapped where it was? */
static bool is_valid(const struct other *o)
{
    struct hak_object now;
    return o->free != NULL &&
           hak_object_of((const void *)(uintptr_t)o->free, &now) &&
           now.dynamic == o->object.dynamic;
}

static struct other find_late(void)
{
    if (!hak_lock_try(&late_lock))
        return search_behind(last_of_start);
    if (!is_valid(&late))
        late = search_behind(last_of_start);
    struct other found = late;
    hak_lock_drop(&late_lock);
    return found;
}

/* The allocator that unknown blocks are of; false: there is none. */
static bool find(struct other *out)
{
    if (hak_core.mode == HAK_MODE_BOOT)
        hak_other_start();
    *out = first;
    if (first.free == NULL && last_of_start != 0)
        *out = find_late();
    return out->free != NULL;
}

/* ---- calls -----------------------------------------------------------------
 */

/*
 * The thread gives p away, unless it is just doing so: then p came back. A
 * thread without a structure has no place to note it.
 */
struct gift {
    struct other to;
    const void *before; /* what it was giving away already */
};

static bool begin(struct gift *gift, const void *p)
{
    struct hak_thread *t = hak_self;
    if (t->given == p || !find(&gift->to))
        return false;
    gift->before = t->given;
    if (hak_is_attached(t))
        t->given = p;
    return true;
}

static void end(const struct gift *gift)
{
    if (hak_is_attached(hak_self))
        hak_self->given = gift->before;
}

bool hak_other_free(void *p)
{
    struct gift gift;
    if (!begin(&gift, p))
        return false;
    gift.to.free(p);
    end(&gift);
    return true;
}

bool hak_other_realloc(void *p, size_t size_bytes, void **out)
{
    struct gift gift;
    if (!begin(&gift, p))
        return false;
    *out = gift.to.realloc(p, size_bytes);
    end(&gift);
    return true;
}

bool hak_other_usable(void *p, size_t *out)
{
    struct gift gift;
    if (!begin(&gift, p))
        return false;
    *out = gift.to.usable_size != NULL ? gift.to.usable_size(p) : 0;
    end(&gift);
    return true;
}

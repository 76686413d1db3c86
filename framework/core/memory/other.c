/* SPDX-License-Identifier: MIT
 * other.c - another allocator in the process, for blocks that it made.
 *
 * The program's malloc and free are this library's, which comes first in the
 * search order. A library that is an allocator itself (libjemalloc,
 * libtcmalloc) may still hand out blocks through functions that only it has,
 * such as mallocx or its operator new. The program then frees them with this
 * library's free. A block that no box and not libc made is taken to be that
 * library's, and is handed to it.
 *
 *     libraries of the start   searched at start: those that come later in the
 *                              search order and define free
 *     libraries of dlopen      searched when such a pointer first comes,
 * without those that boxes loaded
 *
 * The first one found is used. A library that only counts calls defines free as
 * well and passes the call on, to libc or back to this library. A thread
 * therefore notes the block that it is handing over, and does not hand it over
 * a second time.
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

/* The one among the libraries of the start. Set before hak_seal(). */
static HAK_SEALED struct other first;
static HAK_SEALED bool is_known; /* `first` is set, if there is one */
/* The load bias of the last object that was loaded when the start was over. */
static HAK_SEALED uintptr_t last_of_start;
/* The one that came by dlopen. Guarded by late_lock. Nobody waits for that
 * lock, because the child of a fork may find it taken for ever. */
static struct other late;
static struct hak_lock late_lock;

/* ---- which libraries ------------------------------------------------------
 */

struct search {
    /* Load bias of the object that the search begins behind; 0: the object
     * that contains this code. */
    uintptr_t behind;
    bool began;         /* that object has been passed */
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

/* Does the object define free and realloc for the program? libc does not count,
 * nor does the loader, which has a free for its own use. */
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

/* Called by dl_iterate_phdr, with a lock of the loader held. Returns 1 to end
 * the iteration. */
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
    return 1;
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

/* Is the library that was found still loaded at the same place? */
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

/* The allocator that blocks of unknown origin are handed to. False: there is
 * none. */
static bool find_other(struct other *out)
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
 * One block on its way to another allocator. t->given notes it for as long as
 * the call lasts, so that begin_gift can refuse a block that comes back. An
 * unattached thread has no structure to note it in, and does without.
 */
struct gift {
    struct other to;
    const void *before; /* t->given of an outer call, restored at the end */
};

static bool begin_gift(struct gift *gift, const void *p)
{
    struct hak_thread *t = hak_self;
    if (t->given == p || !find_other(&gift->to))
        return false;
    gift->before = t->given;
    if (hak_is_attached(t))
        t->given = p;
    return true;
}

static void end_gift(const struct gift *gift)
{
    if (hak_is_attached(hak_self))
        hak_self->given = gift->before;
}

bool hak_other_free(void *p)
{
    struct gift gift;
    if (!begin_gift(&gift, p))
        return false;
    gift.to.free(p);
    end_gift(&gift);
    return true;
}

bool hak_other_realloc(void *p, size_t size_bytes, void **out)
{
    struct gift gift;
    if (!begin_gift(&gift, p))
        return false;
    *out = gift.to.realloc(p, size_bytes);
    end_gift(&gift);
    return true;
}

bool hak_other_usable(void *p, size_t *out)
{
    struct gift gift;
    if (!begin_gift(&gift, p))
        return false;
    *out = gift.to.usable_size != NULL ? gift.to.usable_size(p) : 0;
    end_gift(&gift);
    return true;
}

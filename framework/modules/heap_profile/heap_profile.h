/* SPDX-License-Identifier: MIT
 * heap_profile.h - what the files of module "heap_profile" share.
 *
 *     heap_profile.c  the module: triggers, its thread, the extension, report
 *     samples.c       takes samples, for the core
 *     records.c       the sampled blocks that are live, by address
 *     tables.c        threads, boxes, stacks, and the figures of each
 *     objects.c       the shared objects that frames of stacks lie in
 *     memory.c        the memory of all these, up to [heap_profile] most
 *     pages.c         free memory in the pages that sampled blocks keep
 *     dump.c          the file: its name, its errors
 *     profile.c       what is in the file: profile.proto of pprof
 *     copy.c          a copy of the figures, which is what is written
 *     regions.c       code that lies in no shared object
 *     out.c           protobuf messages through gzip to a descriptor
 *
 * One lock, hak_profile.lock, guards all tables. A free never waits for it: it
 * marks the record of its block as freed by one atomic exchange and puts the
 * record on a list, which the next holder of the lock takes over.
 *
 * What tables have is added and never changed or moved, but for records and
 * figures. So a dump copies the figures under the lock and reads the rest
 * without it.
 *
 * docs/heap-profile.md describes what users see.
 */
#ifndef HAKMEM_HEAP_PROFILE_HEAP_PROFILE_H
#define HAKMEM_HEAP_PROFILE_HEAP_PROFILE_H

#include <hakmem/module.h>
#include <kit/sync.h>

#include <limits.h>
#include <link.h>

#pragma GCC visibility push(hidden)

enum {
    HAK_PROFILE_FRAMES_MOST = 256, /* as for the key `frames` */
    /* Frames of this library in front of those of the program, at most. */
    HAK_PROFILE_OUR_FRAMES = 16,
    HAK_PROFILE_LIFETIMES = 7, /* <1ms <10ms ... <100s, and longer */
    HAK_PROFILE_THREAD_BYTES = 16,
    HAK_PROFILE_BOX_BYTES = 32,
    HAK_PROFILE_ID_BYTES = 32, /* longest build id */
};
/* No item; or a location that lies in no object. */
#define HAK_PROFILE_NONE UINT32_MAX

/* ---- memory.c ------------------------------------------------------------ */

/* Items that never move. Chunk k has twice as many as chunk k - 1. */
struct hak_profile_pool {
    uint32_t item_bytes;
    uint32_t n; /* items in use; atomic */
    char *chunk[21];
};
enum { HAK_PROFILE_CHUNK_SHIFT = 10 };

/* The item of that number, which is in use. */
static inline void *hak_profile_at(const struct hak_profile_pool *p, uint32_t i)
{
    uint32_t at = i + (1u << HAK_PROFILE_CHUNK_SHIFT);
    uint32_t k = 31u - (uint32_t)__builtin_clz(at) - HAK_PROFILE_CHUNK_SHIFT;
    uint32_t first = 1u << (k + HAK_PROFILE_CHUNK_SHIFT);
    return p->chunk[k] + (size_t)(at - first) * p->item_bytes;
}

/* hak_profile_add - add n items that lie one behind the other; n is at most a
 * first chunk. Zeroed. Returns the number of the first; NONE: no memory. */
uint32_t hak_profile_add(struct hak_profile_pool *p, uint32_t n);

/* Hash values -> numbers of items. Zero at first. */
struct hak_profile_index {
    struct hak_profile_place {
        uint32_t hash, item; /* item + 1; 0: free */
    } * place;
    uint32_t nplaces; /* a power of two */
    uint32_t nused;
};

/* hak_profile_find - the item of that hash for which is(item, key) is true, or
 * NONE. */
uint32_t hak_profile_find(const struct hak_profile_index *index, uint32_t hash,
                          bool (*is)(uint32_t item, const void *key),
                          const void *key);
/* Make room for one item more, for hak_profile_index_add. False: no memory. */
bool hak_profile_index_room(struct hak_profile_index *index);
void hak_profile_index_add(struct hak_profile_index *index, uint32_t hash,
                           uint32_t item);

static inline uint32_t hak_profile_hash(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b << 32 | b >> 32)) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)((h ^ (h >> 29)) * 0xbf58476d1ce4e5b9ull >> 32);
}

/* Zeroed memory that counts towards [heap_profile] most; NULL: no more. */
void *hak_profile_map(size_t size_bytes);
void hak_profile_unmap(void *p, size_t size_bytes);
/* A copy of two texts, one behind the other; NULL: no memory. */
const char *hak_profile_text(const char *text, const char *more);

/* ---- objects.c ----------------------------------------------------------- */

/* The part of a shared object, or of the program, that has code. It keeps its
 * name and build id when the object is closed. */
struct hak_profile_object {
    uintptr_t start, limit;
    uint64_t file_offset;
    const char *name;
    uint32_t id_bytes; /* 0: it has no build id */
    uint8_t id[HAK_PROFILE_ID_BYTES];
    bool ours; /* this library, or one of its modules */
    bool used; /* a location lies in it */
    /* To tell it from another object in its place. */
    const struct link_map *map;
    uintptr_t map_start, map_end;
    const uint8_t *id_there; /* in the object's memory */
};
extern struct hak_profile_pool hak_profile_objects;

/* Note which objects are ours, the paths of the program and of its working
 * directory, and the program as object 0. At start. ours: addresses in our
 * objects, the last one NULL. */
void hak_profile_objects_start(const void *const *ours);
/*
 * hak_profile_object_of - the object of an address in a stack of the calling
 * thread, which is therefore loaded. Guarded by the lock.
 * near     the object of the frame before, or NONE
 * Returns  NONE: it lies in none
 */
uint32_t hak_profile_object_of(uintptr_t address, uint32_t near);
extern const char *hak_profile_program, *hak_profile_command,
    *hak_profile_folder;

/* ---- tables.c ------------------------------------------------------------ */

/* A stack as it was taken, innermost frame first. */
struct hak_profile_trace {
    uint32_t n;
    uintptr_t frame[HAK_PROFILE_FRAMES_MOST + HAK_PROFILE_OUR_FRAMES];
};

struct hak_profile_location {
    uintptr_t address;
    uint32_t object; /* or NONE */
};

struct hak_profile_stack {
    uint32_t hash;
    uint32_t first, n; /* in hak_profile_frames */
};

/* Estimates of one entry, and what they are made of. */
struct hak_profile_figures {
    double allocated, allocated_bytes;
    double live, live_bytes;
    double peak, peak_bytes; /* when the most bytes of all entries were live */
    double variance_kib2;    /* of live_bytes */
    uint64_t nsamples;       /* live */
    double freed[HAK_PROFILE_LIFETIMES];
};

/* Blocks of one slot size, box, thread name and stack. */
struct hak_profile_entry {
    uint32_t stack, thread, box;
    uint64_t slot_bytes;
    /* The peak in which it was changed last. If that is hak_profile.npeaks,
     * `peak` is what was live then; else what is live now was live then. */
    uint64_t of_peak;
    struct hak_profile_figures figures;
};

/* Locations, entries and so on by their numbers. frames: numbers of locations,
 * uint32_t. threads and boxes: texts. */
extern struct hak_profile_pool hak_profile_locations, hak_profile_frames,
    hak_profile_stacks, hak_profile_entries, hak_profile_threads,
    hak_profile_boxes;

/* All of these: guarded by the lock. */

uint32_t hak_profile_thread(const char *name);
/*
 * hak_profile_entry - the entry that a block belongs to. One whose stack has no
 * room gets the stack of no frames, and is counted in nlost_stacks.
 * Returns  NONE: no memory
 */
uint32_t hak_profile_entry(const struct hak_sample *sample, uint32_t thread,
                           const struct hak_profile_trace *trace);
/* Count a block in an entry, or take one out that lived so long. */
void hak_profile_count(uint32_t entry, double nblocks, double asked_bytes,
                       uint64_t now_us);
void hak_profile_uncount(uint32_t entry, double nblocks, double asked_bytes,
                         uint32_t lifetime);
uint32_t hak_profile_lifetime(uint64_t us);
extern const char *const hak_profile_lifetimes[HAK_PROFILE_LIFETIMES];

/* ---- records.c ----------------------------------------------------------- */

/* A sampled block. */
struct hak_profile_record {
    /* Its address; with HAK_PROFILE_FREED in it once it was freed; 0: the
     * record is not in use. Atomic. */
    uintptr_t block;
    uintptr_t place; /* as in struct hak_sample */
    uint64_t asked_bytes;
    double nblocks;
    uint64_t born_us;
    uint32_t entry;
    uint32_t offset_bytes;
    uint32_t next;     /* in the list of freed or unused ones; + 1 */
    uint32_t lifetime; /* set when it was freed */
    uint32_t number;   /* of the record */
};
#define HAK_PROFILE_FREED ((uintptr_t)1 << 63)
extern struct hak_profile_pool hak_profile_records;

/* Record a block. False: no room. Guarded by the lock. */
bool hak_profile_record(const struct hak_sample *sample, uint32_t entry,
                        uint64_t now_us);
/* The record of a block that is live, or NULL. Lock-free, any thread. */
struct hak_profile_record *hak_profile_record_of(const void *block);
/* hak_profile_free - mark the block as freed. Returns its offset_bytes; -1: it
 * is not recorded. Lock-free, any thread. */
int64_t hak_profile_free(const void *block);
/* Is a record waiting for hak_profile_drain? */
bool hak_profile_has_freed(void);
/* Take the freed records out of the tables. Guarded by the lock. */
void hak_profile_drain(void);

/* ---- the whole ----------------------------------------------------------- */

struct hak_profile_totals {
    double live_bytes, peak_bytes, allocated_bytes;
    uint64_t npeaks; /* how often peak_bytes has risen */
    uint64_t peak_us;
    uint64_t nsamples; /* since the start */
    uint64_t nlost_stacks;
};

struct hak_profile {
    const struct hak_module_host *host;
    const struct hak_conf_heap_profile *keys;
    struct hak_lock lock;
    struct hak_profile_totals totals; /* guarded by lock */
    uint64_t every_bytes;             /* atomic; 0: it has not sampled yet */
    /* Samples that are not in the tables: no room, or they came in the middle
     * of another one of their thread. Atomic. */
    uint64_t nlost_blocks;
    uint64_t used_bytes; /* of the memory for all tables; atomic */
    uint64_t began_us;   /* CLOCK_MONOTONIC, when it first did */
    int64_t began_ms;    /* Unix time */
    pid_t pid;           /* of the process that this belongs to */
    bool is_child;       /* of a fork */
};
extern struct hak_profile hak_profile;

/*
 * hak_profile_enter - take the lock, and take the freed records out.
 * Returns  what hak_profile_leave needs to know. False: the calling thread
 *          holds the lock already, as a signal handler has interrupted its
 *          holder, and calls exit. It may read, in the middle of a change.
 */
bool hak_profile_enter(void);
void hak_profile_leave(bool entered);

/* ---- heap_profile.c ------------------------------------------------------ */

/* Why the module's thread is to write a profile: a set of bits. */
enum { HAK_PROFILE_SIGNAL = 1, HAK_PROFILE_GROWTH = 2, HAK_PROFILE_PEAK = 4 };
/* Ask the thread for a profile. Async-signal-safe. */
void hak_profile_ask(uint32_t reasons);

/* ---- samples.c ----------------------------------------------------------- */

struct hak_stack_1;
/* stack: NULL: stacks cannot be taken. At start. */
void hak_profile_samples_start(const struct hak_stack_1 *stack);
/* Begin to sample one allocation in so many bytes, and end it. 0, or -errno
 * with the reason in why. */
int hak_profile_begin(uint64_t every_bytes, char *why, size_t n);
int hak_profile_end(char *why, size_t n);
/* Take no sample from now on, until hak_profile_begin, without a call of the
 * core, whose locks a forking thread holds. The core still finds that samples
 * are due, and each is declined at once. */
void hak_profile_pause(void);
bool hak_profile_is_sampling(void);
/* A profile is about to be written: let on_peak, and on_growth if `growth`,
 * count from what is live. */
void hak_profile_note_levels(bool growth);

/* ---- copy.c -------------------------------------------------------------- */

/* The figures of one moment. The tables have no more items than these numbers
 * say. */
struct hak_profile_copy {
    size_t mapped_bytes;
    struct hak_profile_totals totals;
    uint32_t nentries, nlocations, nobjects, nthreads, nboxes;
    double *page_overhead;               /* of each entry */
    struct hak_profile_figures *figures; /* of each entry */
};
/* NULL: no memory. */
struct hak_profile_copy *hak_profile_copy_take(void);
void hak_profile_copy_drop(struct hak_profile_copy *copy);

/* ---- pages.c ------------------------------------------------------------- */

/* hak_profile_pages - for each live block, add its share of the free resident
 * memory of its page to out[entry]; entries from nentries on are left out. */
void hak_profile_pages(double *out, uint32_t nentries);

/* ---- out.c --------------------------------------------------------------- */

/* One message inside of another, whose length comes before it. */
struct hak_profile_message {
    size_t n;
    uint8_t bytes[6144];
};
void hak_profile_put(struct hak_profile_message *m, uint32_t field,
                     uint64_t value);
void hak_profile_put_raw(struct hak_profile_message *m, uint64_t value);
void hak_profile_put_bytes(struct hak_profile_message *m, uint32_t field,
                           const void *bytes, size_t n);

struct hak_profile_out;
/* Begin to write to fd. NULL: no memory. */
struct hak_profile_out *hak_profile_out_open(int fd);
void hak_profile_write(struct hak_profile_out *out, uint32_t field,
                       const void *bytes, size_t n);
void hak_profile_write_number(struct hak_profile_out *out, uint32_t field,
                              uint64_t value);
static inline void
hak_profile_write_message(struct hak_profile_out *out, uint32_t field,
                          const struct hak_profile_message *m)
{
    hak_profile_write(out, field, m->bytes, m->n);
}
/* End the file and free out. Returns 0, or -errno of the first error. */
int hak_profile_out_close(struct hak_profile_out *out);

/* ---- profile.c ----------------------------------------------------------- */

/* hak_profile_profile - write the profile to fd. Returns 0 or -errno. */
int hak_profile_profile(int fd, const char *reason);

/* ---- dump.c -------------------------------------------------------------- */

/* May a profile be written to a file of that name, by its suffix? */
bool hak_profile_suffix_fits(const char *file, char *why, size_t why_bytes);
/*
 * hak_profile_dump - write the profile.
 * file      as in [heap_profile] file
 * reason    exit, signal, growth, peak or control
 * number    for %n, or for the name without it; 0: neither
 * path      gets the name of the file
 * Returns   0; -errno, with the reason in why
 */
int hak_profile_dump(const char *file, const char *reason, uint32_t number,
                     char path[PATH_MAX], char *why, size_t why_bytes);
/* A fork's child has no thread that dumps. */
void hak_profile_dump_forked(void);

#pragma GCC visibility pop

#endif

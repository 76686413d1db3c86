/* SPDX-License-Identifier: MIT
 * core.h - what the files of the core share. Layers, arrows down only:
 *
 *     entry.c     malloc family                    hot paths, then route
 *     api.c       hakmem.h, malloc_trim and kin    everything below
 *     dlopen.c    dlopen without RTLD_DEEPBIND     the next dlopen
 *     init.c      the library's constructor        start report
 *     start.c     the order of things              everything below
 *     setup.c     which configuration, its boxes   everything below
 *     fused.c     the same, fixed when built
 *     fork.c      locks around a fork              everything below
 *     route.c     slow paths of alloc and free     learner thread policy
 *     background.c  ages memory while all sleep    parcel thread loader
 *     report.c    statistics                       thread loader
 *     learner.c   retires -> routes                learner_engine.c thread
 *     parcel.c    frees of others' slots, home     beside thread.c
 *     thread.c    attach, detach, lanes            loader space
 *     sample.c    one in N to a sampling box       beside thread.c
 *     policy.c    size index -> chain of boxes     loader
 *     boxfile.c   dlopen, checks                   loader conf
 *     crash.c     a crash inside of a box          thread log
 *     loader.c    boxes, host table                directory space
 *     directory.c granule -> span                  space
 *     seal.c      what is read-only when all runs  os
 *     space.c     the window of address space      os
 *     log.c       lines, report files              trust
 *     trust.c     paths of root alone              nothing of ours
 *     other.c     another allocator of the process libc thread
 *     libc.c      glibc's allocator                object os
 *     boot.c os.c conf*.c learner_engine.c         nothing of ours
 *     signature.c foreign.c stack.c elf_file.c     nothing of ours
 *     object.c                                     nothing of ours
 */
#ifndef HAKMEM_CORE_H
#define HAKMEM_CORE_H

#include <boxkit/base.h>
#include <boxkit/span.h>
#include <boxkit/sync.h>
#include <conf.h>
#include <learner.h>

#include <limits.h>
#include <pthread.h>

#define HAK_VERSION "0.1.0"

#pragma GCC visibility push(hidden) /* data without a detour by the GOT */

/* A large table of zeros, of which most stays untouched: sections.ld. */
#define HAK_SPARSE __attribute__((section(".bss.hak_sparse")))

/* ---- log.c ----------------------------------------------------------- */

/* One line on stderr, "hakmem: " in front, one write(2). */
void hak_say(const char *format, ...)
    __attribute__((format(printf, 1, 2), cold));
/* The same on another descriptor. */
void hak_say_to(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
/* The same, then abort. */
void hak_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn, cold));

/*
 * A file to append lines to: %p in its name becomes the process id. Made with
 * mode 0600, or a regular file of ours that has one name; no link is followed.
 * With raised rights: in a directory that root alone can change, as
 * hak_trust_open has it.
 * Returns a descriptor, or -errno with the reason in why; path is the name as
 * it was tried. Writes of the caller's are in one piece.
 */
int hak_log_open(const char *name, char *path, size_t path_bytes, char *why,
                 size_t why_bytes) __attribute__((cold));

/*
 * A descriptor that is taken at start for what is written much later, when a
 * sandbox may let nothing be opened, and rights, root and working directory
 * may be others. Its number is far from those that programs count on, and it
 * is closed by exec. A program that closes descriptors it does not know may
 * have the number for a file of its own, so it counts only while it leads to
 * the file that it was taken for.
 *
 * Set once, at start; any thread may read it. A child of fork shares it.
 */
struct hak_held {
    const char *name; /* of a file, as hak_log_open has it; NULL: none */
    int fd;           /* -1: could not be opened, or not be held */
    bool was_open;    /* when it was taken */
    pid_t pid;        /* what %p stood for in the name */
    dev_t device;
    ino_t inode;
};

/* Takes a file. False: it cannot be opened now, path is the name as it was
 * tried and why the reason; it is tried again when it is needed. */
bool hak_hold_file(struct hak_held *h, const char *name, char *path,
                   size_t path_bytes, char *why, size_t why_bytes)
    __attribute__((cold));
/*
 * hak_held_open - the file to append to, open.
 * h          of hak_hold_file
 * Returns    h->fd, or another descriptor where that one is lost, was unlinked
 *            or is of another process's %p; -errno with the reason in why, path
 *            is the name as it was tried. For hak_held_done.
 * Cost       fstat(2); when it is lost, as hak_log_open
 */
int hak_held_open(const struct hak_held *h, char *path, size_t path_bytes,
                  char *why, size_t why_bytes) __attribute__((cold));
void hak_held_done(const struct hak_held *h, int fd);

/* Takes a copy of stderr: some programs close it in their exit handlers. */
void hak_hold_stderr(struct hak_held *h) __attribute__((cold));
/* That copy, or descriptor 2 if it still is what it was at start; else -1. */
int hak_held_stderr(const struct hak_held *h) __attribute__((cold));

/* ---- trust.c ------------------------------------------------------------ */

/*
 * hak_trust_open - open what root alone can change, to read it: path and each
 * directory and link on the way to it are root's, and nobody else can write.
 * path       absolute; to a regular file, or to a directory (O_PATH then)
 * Returns    a descriptor, the caller's; -errno, and why says what of the path
 *            is not so. Cost: two system calls a name
 */
int hak_trust_open(const char *path, bool directory, char *why,
                   size_t why_bytes) __attribute__((cold));

/* ---- os.c: all coupling to the kernel ---------------------------------- */

/* A full memory barrier in every running thread of the process; the first
 * sets it up. False: the kernel has none. */
bool hak_os_barrier_start(void);
void hak_os_barrier(void);
bool hak_os_tsan(void);   /* ThreadSanitizer is there: it owns most addresses */
bool hak_os_secure(void); /* AT_SECURE: the environment is not trusted */
uint64_t hak_os_now_ms(void); /* CLOCK_MONOTONIC_COARSE */
uint64_t hak_os_now_us(void); /* CLOCK_MONOTONIC */
/* 64 bits that nobody can foretell. Any thread, lock-free but for the first
 * call in a process; keeps errno. */
uint64_t hak_os_random(void);
void hak_os_random_forked(void); /* in the child: other numbers */
uint64_t hak_os_siphash(const uint64_t key[2], uint64_t word);
void *hak_os_map(size_t size_bytes, int prot); /* anywhere; NULL on failure */
int hak_os_map_at(void *p, size_t size_bytes); /* there or -errno */
int hak_os_populate_at(void *p, size_t size_bytes); /* with its pages */
bool hak_os_unmap(void *p, size_t size_bytes);
int hak_os_purge(void *p, size_t size_bytes); /* MADV_DONTNEED; or -errno */
bool hak_os_writable(void *p, size_t size_bytes);
bool hak_os_is_mapped(void *p); /* is there a page? p at its start */
bool hak_os_read_only(void *p, size_t size_bytes);
void hak_os_huge(void *p, size_t size_bytes);
bool hak_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes);
/* How much address space to plan for. no_libc: fallback = none */
size_t hak_os_window_bytes(bool no_libc);
size_t hak_os_page_bytes(void);
uint32_t hak_os_ncpus(void);     /* that may run the process; not 0 */
uint32_t hak_os_nmappings(void); /* vm.max_map_count, or 0 */
/* glibc's hands the kernel an empty name: 16 pages of its constants. */
struct stat;
int hak_os_fstat(int fd, struct stat *out);
/* As realpath, of which it touches less at start. */
bool hak_os_real_path(const char *path, char out[PATH_MAX]);

/* Metadata: zero, 64-byte aligned, never given back. NULL = no memory. */
void *hak_meta(size_t size_bytes);
void *hak_meta_guarded(size_t size_bytes);   /* between pages that are closed */
const char *hak_meta_text(const char *text); /* a copy */
void hak_meta_lock(enum hak_fork_phase phase);
uint64_t hak_meta_bytes(void); /* handed out so far, sparse tables excluded */

/* ---- seal.c: what is read-only while the process runs -------------------- */

/*
 * A variable that is HAK_SEALED can be written until hak_seal(), and after it
 * between hak_seal_open() and _close(). sections.ld keeps them together.
 */
#define HAK_SEALED __attribute__((section("hak_sealed")))

/* Zero, never given back, sealed too; at start or while open. NULL = none. */
void *hak_sealed_memory(size_t size_bytes);
void hak_seal(void); /* at the end of the start, one thread */
/*
 * Around a change: a lock and two system calls, nothing else is called
 * between. False: no memory for that, it is closed. Harmless before hak_seal.
 */
bool hak_seal_open(void);
void hak_seal_close(void);
void hak_seal_lock(enum hak_fork_phase phase);

/* ---- boot.c: before the core is ready ---------------------------------- */

void *hak_boot_alloc(size_t align_bytes, size_t size_bytes);
enum { HAK_BOOT_BYTES = 256 * 1024 };
extern char hak_boot_arena[HAK_BOOT_BYTES] __attribute__((aligned(64)));
static inline bool hak_boot_owns(const void *p)
{
    return (uintptr_t)p - (uintptr_t)hak_boot_arena < HAK_BOOT_BYTES;
}
size_t hak_boot_usable(const void *p);

/* ---- libc.c: the last resort -------------------------------------------- */

/* Find libc's functions; at start, or before that at the first need. */
void hak_libc_start(void);
/* Before its first block; before a fork, which must not find it half done. */
void hak_libc_set_up(void);
void *hak_libc_alloc(size_t align_bytes, size_t size_bytes, bool zero);
void hak_libc_free(void *p);
size_t hak_libc_usable(void *p);
void *hak_libc_realloc(void *p, size_t size_bytes);
uint64_t hak_libc_blocks(void); /* handed out so far by the fallback */
/*
 * Is p a live block that libc gave out by hak_libc_alloc? Known from the first
 * one until hak_libc_forget(); from then on never, and hak_libc_may_own() is
 * true of all. Any p, any thread, lock-free. Where the table of blocks cannot
 * grow since there is no memory, libc has none either; with
 * hak_libc_bound(false) it has, and forgets.
 */
bool hak_libc_owns(const void *p);
extern uint64_t hak_libc_nkept; /* atomic: of how many it is true */
static inline bool hak_libc_keeps(void)
{
    return __atomic_load_n(&hak_libc_nkept, __ATOMIC_RELAXED) != 0;
}
bool hak_libc_may_own(const void *p);
void hak_libc_forget(void);      /* at start */
void hak_libc_bound(bool bound); /* at start */
struct hak_object;
bool hak_libc_is(const struct hak_object *object);

/* ---- other.c: another allocator in the process --------------------------- */

/* Look for one among the libraries of the start; the second call of this name
 * says that what is loaded from now on is the program's own dlopen. */
void hak_other_start(void);
void hak_other_started(void);
bool hak_other_is_there(void); /* of the start */
/*
 * Hand p, which is no box's and not libc's, to the allocator that made it. Any
 * thread; no lock of ours is held; errno is as that one leaves it.
 * Returns  false: there is none, or p has come back from it; nothing was done
 */
bool hak_other_free(void *p);
bool hak_other_realloc(void *p, size_t size_bytes, void **out);
bool hak_other_usable(void *p, size_t *out);

/* ---- space.c: the window ---- */

struct hak_space_figures {
    uint64_t used_bytes; /* in the hands of boxes, mapped */
    uint64_t free_bytes; /* mapped, free, waiting for reuse or purge */
    uint64_t mapped_peak_bytes;
    uint64_t maps, unmaps;
    uint64_t purged_bytes; /* atomic: back with the system, from boxes too */
};

int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms);
void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags);
void hak_space_give(void *p, size_t size_bytes);
void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes);
/* Granules with nothing mapped, and their pages: box.h, reserve. open and
 * close take no lock while all is well. */
void *hak_space_reserve(size_t size_bytes, size_t align_bytes);
void hak_space_unreserve(void *p, size_t size_bytes);
int hak_space_open(void *p, size_t size_bytes, bool now);
bool hak_space_close(void *p, size_t size_bytes);
void hak_space_tick(void);   /* purge what has waited long enough */
size_t hak_space_trim(void); /* purge all that is free; returns bytes */
/* Purge so much of what is free; returns bytes. */
size_t hak_space_shrink(size_t want_bytes);
/* Bytes by which what boxes have has risen above its highest of late, once they
 * are worth a look; told once. Cost: two loads. */
size_t hak_space_owed(void);
/* How many bytes boxes should give back before so many are taken; 0: none,
 * since there is room, or they had none of late. Then what they gave. Cost:
 * loads. */
size_t hak_space_will_grow(size_t size_bytes);
void hak_space_reclaimed(size_t want_bytes, size_t got_bytes);
/* What a box has; lock-free. 0 or -errno. */
int hak_space_purge(void *p, size_t size_bytes);
void hak_space_lock(enum hak_fork_phase phase);
void hak_space_read(struct hak_space_figures *out);
uint64_t hak_space_purge_delay_ms(void);

/* ---- directory.c: granule -> span ---- */

/*
 * base, limit  the window in bytes and granules; limit is 0 until the core
 *              is ready and whenever each free is to take the slow path
 *              (free_route = owns, verify = yes)
 * entry        limit_real of them, read-only zero pages until used
 */
struct hak_directory {
    uintptr_t base;
    size_t limit;
    uint64_t *entry;
    size_t limit_real;
};
extern struct hak_directory hak_directory;

/*
 * An entry: a span, whose it was when somebody looked, and how long its slots
 * are. 0: nobody's. So a thread that frees another's slot knows what to do
 * without a look at the span, which its owner writes to all the time.
 *
 *   63                   19 18  16 15     0
 *   | span, 8-aligned      | step |  tag  |
 *
 * tag   of the owner; 0 = not known. A hint, span->owner is what counts
 * step  slots have up to hak_step_bytes(step), or HAK_STEP_LARGE: more
 */
enum { HAK_STEP_LARGE = 7 };

static inline struct hak_span *hak_entry_span(uint64_t entry)
{
    return (struct hak_span *)(uintptr_t)(entry >> 16 & ~(uint64_t)7);
}

static inline uint32_t hak_entry_tag(uint64_t entry)
{
    return entry & 0xffff;
}

static inline uint32_t hak_entry_step(uint64_t entry)
{
    return entry >> 16 & 7;
}

static inline size_t hak_step_bytes(uint32_t step)
{
    return (size_t)64 << step;
}

int hak_directory_start(uintptr_t base, size_t window_bytes);
/* One more table over the window: box.h, window_table. At start. */
void *hak_directory_table(uint32_t bits);
/* Make the entries of a range writable, in all tables. False = no memory. */
bool hak_directory_ready(const void *p, size_t size_bytes);
void hak_directory_set(struct hak_span *span, const void *p, size_t size_bytes);
/* p's entry, which was that, gets the tag of the span's owner. Returns it. */
uint64_t hak_directory_retag(const void *p, uint64_t entry);
static inline size_t hak_directory_granule(const void *p)
{
    return ((uintptr_t)p - hak_directory.base) >> HAK_GRANULE_SHIFT;
}
static inline bool hak_directory_in_window(const void *p)
{
    return hak_directory_granule(p) < hak_directory.limit_real;
}
static inline uint64_t hak_directory_entry(const void *p)
{
    size_t g = hak_directory_granule(p);
    return g < hak_directory.limit_real
               ? __atomic_load_n(&hak_directory.entry[g], __ATOMIC_RELAXED)
               : 0;
}
static inline struct hak_span *hak_directory_get(const void *p)
{
    return hak_entry_span(hak_directory_entry(p));
}

/* ---- loader.c, boxfile.c: boxes ---- */

/* Ask boxes for so much of what they keep (ops->shrink). Returns the bytes. Not
 * under a lock that boxes or the window take. */
size_t hak_boxes_shrink(size_t want_bytes);

/* Twice a purge delay, by whichever thread comes first: those that it uses age
 * (ops->age). t: the calling thread. */
void hak_boxes_age(const struct hak_thread *t, uint64_t now_ms);

/* What changes in it while the process runs, but for box.state_now. */
struct hak_loaded_now {
    bool untrusted;   /* its owns() claimed what is another's */
    bool told_retire; /* that its records are too short */
    uint64_t mapped_bytes, mapped_peak_bytes;
};

/* The core's side of a box; `box` is what the box sees. Sealed, but for a box
 * without init. */
struct hak_loaded {
    struct hak_box box;
    struct hak_box_ops ops;
    struct hak_span slow;  /* the directory's word for "call ops->free" */
    uint32_t header_bytes; /* 16 for a box without usable_size, else 0 */
    int priority;
    bool foreign;   /* another's library: hakmem/foreign.h */
    bool far;       /* its slots may be outside of the window */
    bool residual;  /* what nobody owns is its */
    bool quick;     /* route.c has a short way to it: no lanes, no header, and
                       it counts its bytes itself or they are not counted */
    char said[400]; /* its error message in init */
    const struct hak_requests_1 *requests; /* or NULL: it keeps none */
    const struct hak_box_entry *entry;
    union hak_value *values;
    const char *path;
    struct hak_loaded_now *now;
};

struct hak_boxes {
    struct hak_loaded *all[HAK_MAX_BOXES];  /* by box->index */
    struct hak_loaded *walk[HAK_MAX_BOXES]; /* by priority: the owns() walk */
    uint32_t n;
    struct hak_loaded *residual; /* the one of the walk that is, or NULL */
    bool keeps_requests;         /* one of them does */
    struct hak_loaded *sole;     /* the only one that may have pointers outside
                                    of the window, if it is quick */
};
extern struct hak_boxes hak_boxes;

static inline struct hak_loaded *hak_loaded_of(struct hak_box *box)
{
    return hak_container_of(box, struct hak_loaded, box);
}

/*
 * hak_box_file - open a box file and check its entry, nothing else.
 * Returns the entry and its parameters as this core's header has them (abi.h),
 * or NULL with the reason in why. *handle is for dlclose (tools only).
 */
const struct hak_box_entry *hak_box_file(const char *path, void **handle,
                                         char *why, size_t why_bytes);
/* Where [box NAME] without `path` or with a relative one is looked for. */
void hak_box_path(const char *given, const char *name, const char *conf_file,
                  char *out, size_t out_bytes);
/* The first of these places that is there, or NULL. They are relative to the
 * directory of the library or tool; a NULL ends them. */
enum { HAK_PLACE_BYTES = 48 }; /* none is longer */
const char *hak_beside(const char *const *places);
/* Directory of the boxes: beside the library or tool. */
const char *hak_boxes_dir(void);
/*
 * Set up a box whose entry was checked, and let it in. b->path and b->values
 * are ready. 0, or what init returned: b is not in; b->said is what it said
 * then, or "".
 */
int hak_box_begin(struct hak_loaded *b, const struct hak_conf_box *conf,
                  const struct hak_box_entry *e);
/* Load one box of the configuration; told through c. NULL = left out. */
struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf);
/* Which box owns p, by the walk in priority order; NULL = none. A residual box
 * is not asked. */
struct hak_loaded *hak_walk(const void *p);

/* ---- policy.c: size index -> chain of boxes ---- */

struct hak_chain {
    struct hak_loaded *box[HAK_CONF_CHAIN + 1]; /* NULL-terminated */
    enum hak_fallback last;
    const char *route; /* its name, for reports */
};

struct hak_policy {
    const struct hak_chain *chain[HAK_LANES + 1]; /* atomic pointers */
    uint64_t epoch; /* grows with each change; threads see it on slow paths */
};
extern struct hak_policy hak_policy;

void hak_policy_build(const struct hak_conf *c,
                      struct hak_loaded *const loaded[HAK_MAX_BOXES]);
/* Point indexes first..last at a route by name. 0, -EINVAL, -ENOENT, -ENOMEM.
 */
int hak_policy_set(uint32_t first, uint32_t last, const char *route);
/* Point them where [policy] did at start. 0, -EINVAL or -ENOMEM. */
int hak_policy_reset(uint32_t first, uint32_t last);
/* Does the route of that name lead to a box, now? */
bool hak_policy_leads_to_box(const char *route);
/* Take a box out of every chain. 0, or -ENOMEM: out of some only. */
int hak_policy_drop(struct hak_loaded *b);
void hak_policy_lock(enum hak_fork_phase phase);

/* ---- thread.c ---- */

/* What the slow paths count, per thread and box; one writer each. */
struct hak_counts {
    uint64_t allocs, frees;       /* calls of alloc and free */
    uint64_t bytes_in, bytes_out; /* their usable bytes */
    uint64_t refills, remote_frees, declines;
};

/* A parcel that a thread fills for another. */
struct hak_out {
    struct hak_parcel *parcel; /* NULL: none */
    void **at;                 /* where the next slot's address goes */
    void *last;                /* the last slot that left by it */
    uint32_t key;              /* the other's tag + 1; 0: of no thread */
    int32_t room;              /* in bytes of slots, about */
};
enum {
    HAK_OUTS = 16,
    HAK_PARCEL_SLOT_LEAST = 265, /* what a small slot counts as: parcel.c */
};

struct hak_thread {
    struct hak_span *lane[HAK_LANES + 1]; /* never NULL: hak_no_span where
                                             there is none, and in the last */
    void *heap[HAK_MAX_BOXES];
    uint64_t epoch;
    uint16_t tag;      /* in the directory, or HAK_TAG_NONE: too many threads */
    uint32_t abroad;   /* calls of foreign boxes that it is inside of; never 0
                          in the three below that have not attached */
    uint32_t trips;    /* calls of boxes by the short way */
    uint32_t routing;  /* requests on their way down a chain; atomic */
    int *error;        /* errno of its thread, where that is at hand */
    const void *given; /* what it is just handing to another allocator */
    uint32_t ticks;
    uint32_t rounds; /* of destructors that its thread ran */
    uint64_t parked_at_ms;
    struct hak_thread *next;        /* all threads, never shrinks */
    struct hak_thread *next_parked; /* or ending */
    uint64_t libc_allocs;
    struct hak_sampler *sampler; /* sample.c; NULL until it is needed */
    struct { /* verify: what it is inside of; box NULL: nothing. crash.c */
        const struct hak_loaded *box;
        const char *operation;
        size_t size;
    } call;
    struct hak_counts count[HAK_MAX_BOXES];
    struct hak_tally retired[HAK_CLASSES]; /* in it, by any box */
    uint32_t nretired;                     /* since it last said so */
    /* parcel.c: */
    struct hak_out out[HAK_OUTS];
    uint32_t nopen;
    uint32_t nstash;
    struct hak_parcel *stash; /* empty ones */
    bool parked, is_ending;   /* in one of these lists */
    bool left_behind;         /* by a fork: it is the parent's */
    pthread_mutex_t alive;    /* robust; held while it has a thread */
    _Alignas(64) struct hak_parcel *inbox; /* what others post; atomic */
    const struct hak_parcel *inbox_seen;   /* at the last tick; atomic */
};

enum { HAK_TAG_NONE = 0xffff };
extern struct hak_thread *hak_thread_by_tag[HAK_TAG_NONE];

static inline struct hak_thread *hak_owner_of(const struct hak_span *span)
{
    return __atomic_load_n(&span->owner, __ATOMIC_RELAXED);
}

/* Thread-local, as nothing else but what fork.c has. Never NULL. */
extern __thread struct hak_thread *hak_self
    __attribute__((tls_model("initial-exec")));
extern struct hak_thread hak_nobody; /* a thread that has not attached */
extern struct hak_thread hak_forker; /* a thread inside fork */
extern struct hak_thread hak_ended;  /* a thread that has parked */
extern struct hak_span hak_no_span;  /* has no free slot, ever */
static inline bool hak_is_attached(const struct hak_thread *t)
{
    return t != &hak_nobody && t != &hak_forker && t != &hak_ended;
}

/* Atomic, since a change of route empties the lanes of running threads. */
static inline struct hak_span *hak_lane(struct hak_thread *t, uint32_t index)
{
    return __atomic_load_n(&t->lane[index], __ATOMIC_RELAXED);
}

/* Are its slots a multiple of a power of two? Of no span (0 bytes): maybe. */
static inline bool hak_lane_may_align(const struct hak_span *span, size_t align)
{
    return (span->slot_bytes & (align - 1)) == 0;
}

int hak_thread_start(void);
bool hak_thread_is_started(void);
/* Structures of threads: as many as ever ran at once. */
size_t hak_thread_count(void);
struct hak_thread *hak_thread_attach(void); /* NULL = no memory */
/* Drop the lanes whose route does not begin with their box any more. */
void hak_thread_resync(struct hak_thread *t);
void hak_thread_set_lane(struct hak_thread *t, uint32_t index,
                         struct hak_span *span);
void hak_thread_drop_lanes(struct hak_thread *t, struct hak_span *span);

/* The largest request of a lane: what its refill asks for. */
static inline size_t hak_lane_bytes(uint32_t index)
{
    return index == 0 ? HAK_ALIGN_BYTES : hak_index_bytes(index);
}

/* Find hak_core.group, from routes and boxes; at start and when routes
 * change. */
void hak_thread_group_lanes(void);
/* Routes of these indexes changed: every thread's next malloc looks. */
void hak_thread_reroute(uint32_t first, uint32_t last);
void hak_thread_reap(uint64_t now_ms, bool all); /* close long parked ones */
void hak_thread_lock(enum hak_fork_phase phase);
void hak_thread_fork_child(struct hak_thread *forking);
struct hak_thread *hak_thread_first(void); /* list of all, for reports */
/* Is any thread between reading a chain and the answer of its box? After
 * hak_thread_reroute none of these has a chain from before, if the answer is
 * no. */
bool hak_thread_is_routing(void);
void *hak_thread_heap(struct hak_thread *t, struct hak_loaded *b, bool open);

/* ---- parcel.c: frees of other threads' slots ---- */

/* What hak_parcel_keep leaves: no parcel for that thread is open, or this one
 * is full now. */
bool hak_parcel_keep_first(struct hak_thread *t, uint64_t entry, void *p)
    __attribute__((noinline));
void hak_parcel_full(struct hak_thread *t, struct hak_out *out)
    __attribute__((noinline));

/*
 * Put p, whose entry that is, into t's parcel for its owner. False: it is not
 * for a parcel, or there is no memory. t: the calling thread.
 */
static inline bool hak_parcel_keep(struct hak_thread *t, uint64_t entry,
                                   void *p)
{
    uint32_t tag = hak_entry_tag(entry), step = hak_entry_step(entry);
    struct hak_out *out = &t->out[(tag - t->tag) % HAK_OUTS];
    if (unlikely(out->key != tag + 1 || step == HAK_STEP_LARGE))
        return hak_parcel_keep_first(t, entry, p);
    __atomic_store_n(out->at, p, __ATOMIC_RELAXED); /* reports read it */
    __atomic_store_n(&out->at, out->at + 1, __ATOMIC_RELAXED);
    out->room -= (int32_t)hak_max(hak_step_bytes(step), HAK_PARCEL_SLOT_LEAST);
    if (unlikely(out->room <= 0))
        hak_parcel_full(t, out);
    return true;
}

/* Post what t keeps. t: the calling thread, or one that has ended. */
void hak_parcel_post_now(struct hak_thread *t);
static inline void hak_parcel_post(struct hak_thread *t)
{
    if (t->nopen != 0)
        hak_parcel_post_now(t);
}

/* Free what has come for t, the calling thread. Keeps errno. */
void hak_parcel_receive_now(struct hak_thread *t);
static inline void hak_parcel_receive(struct hak_thread *t)
{
    if (unlikely(__atomic_load_n(&t->inbox, __ATOMIC_RELAXED) != NULL))
        hak_parcel_receive_now(t);
}
/* The same for all threads, those that are busy elsewhere too. */
void hak_parcel_receive_all(struct hak_thread *me);
/* For some threads, where it has waited for a purge delay. */
void hak_parcel_age(struct hak_thread *me, uint64_t now_ms);

/* An inbox of nobody: opened by the next one that takes the structure over,
 * closed after the heaps of the last one, in a fork's child abandoned. */
void hak_parcel_open(struct hak_thread *t);
void hak_parcel_close(struct hak_thread *t);
void hak_parcel_abandon(struct hak_thread *t);

/* What is on its way to a box's spans: freed by other threads than the owner,
 * but live to the box. */
struct hak_parcel_figures {
    uint64_t n, bytes;
};
struct hak_parcel_figures hak_parcel_read(const struct hak_box *box);
void hak_parcel_lock(enum hak_fork_phase phase);

/* ---- background.c ---- */

/* At start, and in a child of a fork: with [core] background a thread is to be
 * started, by the next slow path that looks. */
void hak_background_want(void);
void hak_background_look(void);

/* ---- sample.c: not in a fused library ---- */

struct hak_sampling {
    struct hak_loaded *box;
    uint32_t every; /* 0: no sampling */
};
extern struct hak_sampling hak_sampling;

/* Before threads run. box NULL: no sampling; every >= 1. */
void hak_sample_start(struct hak_loaded *box, uint32_t every);
/*
 * A malloc of t is on its slow path: count it, and what its lane served since
 * it was here. True: ask the sampling box first. Cost: small.
 */
bool hak_sample_due(struct hak_thread *t, uint32_t index);
/* Are the next few mallocs to come here too, so that lanes stay empty? */
bool hak_sample_is_near(const struct hak_thread *t);
/* span, refilled and asked for a slot, is a lane of t from now on. */
void hak_sample_lane(struct hak_thread *t, struct hak_span *span);
/* It is one no more; its trigger is the box's again. */
void hak_sample_drop(struct hak_thread *t, const struct hak_span *span);
/* nfree of a span of the calling thread reached trigger: ours or the box's. */
void hak_sample_drained(struct hak_span *span);

/* ---- learner.c: not in a fused library ---- */

struct hak_learner_figures;

/* Before threads run; reads conf->learner for ever after. */
void hak_learner_start(const struct hak_conf *conf);
bool hak_learner_is_on(void);
/* host->retired, while it is on */
void hak_learner_retired(const struct hak_retire *record);
/* Are so many retires waiting that an evaluation is due? */
extern uint32_t hak_learner_due;
static inline bool hak_learner_is_due(void)
{
    return __atomic_load_n(&hak_learner_due, __ATOMIC_RELAXED) != 0;
}
/* Evaluate, apply, write the log, if nobody else just does. Keeps errno. */
void hak_learner_evaluate(void) __attribute__((cold));
int hak_learner_read(struct hak_learner_figures *out) /* 0, -ENODATA: off */
    __attribute__((cold));
void hak_learner_lock(enum hak_fork_phase phase);

/* ---- crash.c ---- */

/* [core] verify, before threads run. */
void hak_crash_start(void) __attribute__((cold));

/* ---- fork.c ---- */

/* Register our handlers, if it was not done: before anybody else's. */
void hak_fork_register(void);
typedef void hak_fork_handler(void);
struct hak_fork_handlers {
    hak_fork_handler *prepare, *parent, *child; /* or NULL */
};
/* Run these inside of ours, if a library registers them that a foreign box
 * opens or calls. False: it is another, or there are too many. */
bool hak_fork_keep(const struct hak_fork_handlers *handlers);
void hak_fork_defer(void *p); /* free p when the fork is over */
/* hak_self is hak_forker: false while a fork or a call that a signal handler
 * interrupted is under way, else hak_self is the thread's own again. */
bool hak_fork_recover(void) __attribute__((cold));
/* May the calling thread not enter boxes, nor wait for a lock? */
static inline bool hak_is_forking(void)
{
    return unlikely(hak_self == &hak_forker) && !hak_fork_recover();
}

/* ---- route.c: slow paths ---- */

enum hak_mode {
    HAK_MODE_BOOT, /* not started: the boot arena */
    HAK_MODE_LIBC, /* no usable configuration: libc alone */
    HAK_MODE_BOXES,
};

/* By index: the lanes about it whose requests get the same slots. */
struct hak_lane_group {
    uint8_t first, last;
};

struct hak_core {
    enum hak_mode mode;
    enum hak_free_route free_route;
    bool verify;
    bool fences; /* no barrier from outside: each refill has its own */
    struct hak_lane_group group[HAK_LANES];
};
extern struct hak_core hak_core;

/* noinline: link-time optimisation must not put their frames into malloc. */
void *hak_alloc_slow(struct hak_thread *t, size_t size_bytes, bool zero)
    __attribute__((noinline));
void *hak_alloc_aligned(size_t align_bytes, size_t size_bytes)
    __attribute__((noinline));
/*
 * realloc keeps the place when the slot is large enough and at least half used
 * (small slots always): the copy would save less than it costs.
 */
static inline bool hak_fits(size_t have, size_t size_bytes)
{
    enum { SMALL_BYTES = 64 };
    return size_bytes <= have &&
           (have <= SMALL_BYTES || size_bytes >= have / 2);
}
/* p was handed out; size_bytes > 0. In place when it fits. */
void *hak_realloc_slow(void *p, size_t size_bytes) __attribute__((noinline));
void hak_free_slow(void *p) __attribute__((noinline));
/* The caller's free was the one that the span's trigger waits for. */
void hak_freed_many(struct hak_span *span) __attribute__((noinline));
/* p, in a granule of a span of the calling thread's. */
static inline void hak_free_own(struct hak_span *span, void *p)
{
    if (unlikely(!hak_span_may_take(span, p)))
        hak_free_slow(p);
    else if (hak_span_push(span, p))
        hak_freed_many(span);
}
/* A block of a span that is not the caller's, by the entry's word. */
void hak_free_other(uint64_t entry, void *p) __attribute__((noinline));
/* One that came in a parcel and is not the receiver's to free. */
void hak_free_astray(void *p);
/* Usable bytes; aborts, naming the call, unless p is live as far as we know. */
size_t hak_usable(const char *call, const void *p);
/* Aborts, naming the call, when p cannot have come of such a request. */
void hak_expect_size(const char *call, const void *p, size_t align_bytes,
                     size_t size_bytes);

/* ---- report.c ---- */

struct hak_stats;
void hak_figures(struct hak_loaded *b, struct hak_stats *out);
uint64_t hak_libc_allocs(void);
void hak_report_lock(enum hak_fork_phase phase);
int hak_report_write(int fd, bool json) /* 0, -ENOSYS, -EAGAIN, of write */
    __attribute__((cold));
void hak_report_start(void); /* [stats] at_start; opens at_exit's file */
void hak_report_at_exit(void);

/* ---- start.c ---- */

extern struct hak_conf hak_conf;
void hak_start(char *const *envp);

/* ---- setup.c, or fused.c in its place ---- */

/* Fill hak_conf; findings go to diag. 0 or -errno. */
int hak_setup_conf(char *const *envp, hak_diag_fn *diag);
/* Its boxes and routes. 0, or -errno: without them. */
int hak_setup_boxes(void);
/* What the host table answers for an extension, or NULL. */
const void *hak_setup_extension(const char *id);
/* The INI when HAKMEM_CONF names none: beside the library; NULL = none. */
const char *hak_default_conf(void);

#pragma GCC visibility pop

#include <fused.h>

#endif

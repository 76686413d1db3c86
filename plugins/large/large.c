/* SPDX-License-Identifier: MIT
 * large.c - the box `large`: requests above 256 KiB, a mapping each.
 *
 * A slot is the request rounded up to OS pages. The rest of the last granule is
 * address space that nobody touches. A slot starts where its mapping does or up
 * to a page behind: if all slots started at multiples of 64 KiB, their first
 * lines would compete for a few sets of the CPU's caches.
 */
#include "large.h"

#include <errno.h>
#include <sched.h>
#include <sys/rseq.h>

enum param {
    PARAM_CACHE,
    PARAM_CACHE_MIN,
    PARAM_SHARE,
    PARAM_AGE,
    PARAM_WASTE,
    PARAM_SHARDS,
    PARAM_LEARN,
    PARAM_DIRECT,
    PARAM_ZERO_MAP,
    PARAM_REMAP,
    PARAM_HUGE,
    PARAM_NEAR,
};

#define MIB ((int64_t)1 << 20)
#define MOST_BYTES ((int64_t)1 << 46)
#define A_SIZE \
    .type = HAK_PARAM_SIZE, .flags = HAK_PARAM_MUTABLE, .max = MOST_BYTES

static const struct hak_param params[] = {
    [PARAM_CACHE] = {"cache_bytes", A_SIZE, .def = 256 * MIB,
                     .help = "most bytes of freed blocks that are kept"},
    [PARAM_CACHE_MIN] = {"cache_min_bytes", A_SIZE, .def = 32 * MIB,
                         .help = "bytes that may be kept whatever is live"},
    [PARAM_SHARE] = {"cache_share", HAK_PARAM_INT, HAK_PARAM_MUTABLE,
                     .max = 1000, .def = 25,
                     .help = "live and kept bytes may exceed the most that "
                             "was live of late by this many percent"},
    [PARAM_AGE] = {"cache_age_ms", HAK_PARAM_MS, HAK_PARAM_MUTABLE,
                   .max = 3600000,
                   .help = "how long a block is kept, in ms; 0 = the core's "
                           "purge_delay_ms"},
    [PARAM_WASTE] = {"waste", HAK_PARAM_INT, HAK_PARAM_MUTABLE, .max = 100,
                     .def = 25,
                     .help = "a kept block serves requests so many percent "
                             "smaller"},
    [PARAM_SHARDS] = {"shards", HAK_PARAM_INT, .max = CACHE_SHARDS_MOST - 1,
                      .help = "parts of the cache, with a lock each; 0 = one "
                              "a CPU"},
    [PARAM_LEARN] = {"learn", HAK_PARAM_BOOL, HAK_PARAM_MUTABLE, .max = 1,
                     .def = 1,
                     .help = "learn which sizes above direct_bytes are worth "
                             "keeping"},
    /* glibc maps and unmaps from this size on (DEFAULT_MMAP_THRESHOLD_MAX) */
    [PARAM_DIRECT] = {"direct_bytes", A_SIZE, .def = 32 * MIB,
                      .help = "from this size on blocks are not kept; with "
                              "learn = on, to begin with"},
    [PARAM_ZERO_MAP] = {"zero_map_bytes", A_SIZE, .def = 4 * MIB,
                        .help = "from this size on calloc maps afresh rather "
                                "than clear a kept block"},
    [PARAM_REMAP] = {"remap_bytes", A_SIZE, .def = 1 * MIB,
                     .help = "from this size on realloc grows by mremap "
                             "rather than by a copy"},
    [PARAM_HUGE] = {"huge_bytes", A_SIZE,
                    .help = "from this size on blocks ask for huge pages; 0 = "
                            "none does"},
    [PARAM_NEAR] = {"near_bytes", A_SIZE, .def = 4 * MIB,
                    .help = "most bytes that a thread keeps for itself of "
                            "freed blocks up to 512 KiB; 0 = none"},
};

/* ---- setting up --------------------------------------------------------- */

static uint64_t param(const struct hak_box *box, enum param i)
{
    return (uint64_t)box->params[i].i;
}

static void set(uint64_t *setting, uint64_t value)
{
    __atomic_store_n(setting, value, __ATOMIC_RELAXED);
}

static void configure(struct large *large)
{
    const struct hak_box *box = large->box;
    struct settings *s = &large->settings;
    set(&s->cache_bytes, param(box, PARAM_CACHE));
    set(&s->cache_min_bytes, param(box, PARAM_CACHE_MIN));
    set(&s->cache_share, param(box, PARAM_SHARE));
    set(&s->cache_age_ms, param(box, PARAM_AGE));
    set(&s->zero_map_bytes, param(box, PARAM_ZERO_MAP));
    set(&s->remap_bytes, param(box, PARAM_REMAP));
    set(&s->huge_bytes, param(box, PARAM_HUGE));
    set(&s->near_bytes, param(box, PARAM_NEAR));
    __atomic_store_n(&large->cache.waste_percent,
                     (uint32_t)param(box, PARAM_WASTE), __ATOMIC_RELAXED);
}

static void start_threshold(struct large *large)
{
    const struct hak_box *box = large->box;
    threshold_start(&large->threshold, param(box, PARAM_LEARN) != 0,
                    param(box, PARAM_DIRECT));
}

/* The shards for short blocks, a power of two: as many as the INI says or as
 * there are CPUs. One more is for long blocks. */
static uint32_t shards_wanted(const struct hak_box *box)
{
    const uint32_t most = CACHE_SHARDS_MOST - 1;
    size_t n = param(box, PARAM_SHARDS);
    if (n == 0)
        n = box->host->ncpus();
    uint32_t shards = 1;
    while (shards < n && shards < most)
        shards *= 2;
    return shards + 1;
}

static int init(struct hak_box *box)
{
    struct large *large = box->host->meta(box, sizeof *large);
    if (large == NULL || blocks_init(&large->blocks, box) != 0 ||
        bigcache_init(&large->cache, &large->blocks, shards_wanted(box)) != 0) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for its tables");
        return -ENOMEM;
    }
    large->box = box;
    large->page_bytes = box->host->os_page_bytes;
    configure(large);
    start_threshold(large);
    box->state = large;
    return 0;
}

/* Flush the calling thread's near blocks. Those of other threads stay until
 * these threads call the box. */
static void flush_own(struct hak_box *box)
{
    struct near *near = box->host->heap(box, false);
    if (near != NULL)
        near_flush(large_of(box), near);
}

static int set_param(struct hak_box *box, uint32_t i)
{
    struct large *large = large_of(box);
    if (i >= sizeof params / sizeof params[0] || i == PARAM_SHARDS)
        return -EINVAL;
    flush_own(box);
    configure(large);
    if (i == PARAM_LEARN || i == PARAM_DIRECT)
        start_threshold(large);
    supply_flush(large); /* a bound may be lower now; nothing kept exceeds it */
    ledger_turn(&large->ledger, &large->cache);
    return 0;
}

/* ---- alloc and free ----------------------------------------------------- */

/*
 * The kernel writes the number of the CPU to memory that libc registers for
 * each thread (rseq(2)). When libc could not register it, the number is
 * negative, and a hash of the thread's address stands for the CPU.
 * sched_getcpu() will not do: in this case it makes a system call, and a
 * sandbox may kill the program for a system call that the program does not make
 * by itself.
 */
uint32_t large_shard(const struct large *large)
{
    enum { THREAD_SHIFT = 12, SHARDS_SHIFT = 28 }; /* 16 shards at most */
    const char *thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    const struct rseq *rseq = (const void *)(thread + __rseq_offset);
    int32_t cpu = (int32_t)__atomic_load_n(&rseq->cpu_id, __ATOMIC_RELAXED);
    uint32_t hash = (uint32_t)((uintptr_t)thread >> THREAD_SHIFT) * 0x9e3779b9u;
    uint32_t n = likely(cpu >= 0) ? (uint32_t)cpu : hash >> SHARDS_SHIFT;
    return n & (large->cache.nshards - 2);
}

/*
 * Bytes from the start of the mapping to the slot. They depend on the address
 * of the block alone, so that its next slot lies on the same pages, which are
 * resident. They are 0 when the block has no page to spare, and for an aligned
 * slot.
 */
static uint16_t color_of(const struct large *large, const struct block *b,
                         size_t size_bytes, size_t align_bytes)
{
    enum { LINE_BYTES = 64 };
    if (align_bytes > LINE_BYTES ||
        size_bytes + large->page_bytes > block_bytes(b))
        return 0;
    size_t g = (uintptr_t)b->base >> HAK_GRANULE_SHIFT;
    return (uint16_t)(g * LINE_BYTES & (large->page_bytes - 1));
}

static void *hand_out(struct large *large, struct block *b, size_t size_bytes,
                      size_t align_bytes, bool counted)
{
    __atomic_store_n(&b->color, color_of(large, b, size_bytes, align_bytes),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&b->size_bytes, size_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&b->state, BLOCK_LIVE, __ATOMIC_RELEASE);
    if (unlikely(!counted))
        ledger_add(&large->ledger, &large->cache,
                   shard_for(large, b->ngranules), 1, (int64_t)size_bytes);
    return block_slot(b);
}

static struct near *near_of(struct large *large, bool open)
{
    const struct settings *s = &large->settings;
    bool any =
        settings_get(&s->near_bytes) != 0 && settings_get(&s->cache_bytes) != 0;
    return any ? large->box->host->heap(large->box, open) : NULL;
}

/* A near block of this thread for the request, or NULL. */
static struct block *take_near(struct large *large, size_t size_bytes)
{
    size_t n = granules_of(size_bytes);
    struct near *near = n <= NEAR_GRANULES ? near_of(large, true) : NULL;
    return near != NULL
               ? near_take(near, n, bigcache_most(&large->cache, n), size_bytes)
               : NULL;
}

/* Serve a request that no kept block fits. */
static void *alloc_fresh(struct large *large, size_t size_bytes,
                         size_t align_bytes, uint32_t flags)
{
    size_t n = granules_of(size_bytes);
    uint64_t now_ms = large->box->host->now_ms();
    if (now_ms >= hak_counted(&large->next_sweep_ms))
        supply_sweep(large, now_ms);
    threshold_missed(&large->threshold, &large->cache, n << HAK_GRANULE_SHIFT,
                     now_ms, supply_age_ms(large));
    struct block *b =
        supply_map(large, n, hak_max(align_bytes, HAK_GRANULE_BYTES), flags);
    if (b == NULL)
        return NULL;
    void *p = hand_out(large, b, size_bytes, align_bytes, false);
    supply_bound(large, now_ms);
    return p;
}

/* Take a block of the BigCache for the request; block is NULL if none fits. */
static struct taken take_kept(struct large *large, size_t size_bytes,
                              size_t align_bytes)
{
    const size_t n = granules_of(size_bytes);
    const struct request request = {
        .ngranules = n,
        .align_bytes = hak_max(align_bytes, HAK_GRANULE_BYTES),
        .size_bytes = size_bytes,
        .huge = supply_huge(large, n),
        .whole = n <= SHORT_GRANULES,
    };
    return bigcache_take(&large->cache, shard_for(large, n), &request);
}

/* Make a slot of a near block or of a block of the BigCache; NULL: none fits.
 */
static void *alloc_kept(struct large *large, size_t size_bytes,
                        size_t align_bytes)
{
    struct block *b =
        align_bytes <= HAK_GRANULE_BYTES ? take_near(large, size_bytes) : NULL;
    if (likely(b != NULL)) /* the ledger counts a near block as live already */
        return hand_out(large, b, size_bytes, align_bytes, true);
    struct taken taken = take_kept(large, size_bytes, align_bytes);
    if (taken.block == NULL)
        return NULL;
    void *p =
        hand_out(large, taken.block, size_bytes, align_bytes, taken.counted);
    if (!taken.dirty)
        supply_bound(large, large->box->host->now_ms());
    return p;
}

static void *alloc_aligned(struct hak_box *box, size_t align_bytes,
                           size_t size_bytes)
{
    struct large *large = large_of(box);
    if (unlikely(size_bytes > large->blocks.n << HAK_GRANULE_SHIFT))
        return NULL;
    size_bytes = slot_bytes(large, size_bytes);
    void *p = alloc_kept(large, size_bytes, align_bytes);
    return likely(p != NULL) ? p
                             : alloc_fresh(large, size_bytes, align_bytes, 0);
}

static void *alloc(struct hak_box *box, size_t size_bytes)
{
    return alloc_aligned(box, HAK_ALIGN_BYTES, size_bytes);
}

/*
 * A kept block is dirty. To clear a long one costs more than fresh pages do,
 * and makes pages resident that the program may never touch, so a fresh block
 * is mapped. A kept block of the same length goes back before that, so that the
 * two do not take memory at the same time.
 */
static void *zalloc(struct hak_box *box, size_t size_bytes)
{
    struct large *large = large_of(box);
    if (unlikely(size_bytes > large->blocks.n << HAK_GRANULE_SHIFT))
        return NULL;
    size_bytes = slot_bytes(large, size_bytes);
    if (size_bytes < settings_get(&large->settings.zero_map_bytes)) {
        void *p = alloc_kept(large, size_bytes, HAK_ALIGN_BYTES);
        if (p != NULL)
            return memset(p, 0, size_bytes);
    } else {
        const size_t n = granules_of(size_bytes);
        const struct request request = {
            .ngranules = n,
            .align_bytes = HAK_GRANULE_BYTES,
            .whole = true,
        };
        struct block *b =
            bigcache_take(&large->cache, shard_for(large, n), &request).block;
        if (b != NULL)
            supply_give_back(large, b);
    }
    return alloc_fresh(large, size_bytes, HAK_ALIGN_BYTES, HAK_MAP_ZERO);
}

__attribute__((cold, noinline, noreturn)) static void
free_of_no_slot(struct hak_box *box, const void *p)
{
    box->host->log(box, HAK_LOG_ERROR,
                   "free(%p): not a live slot; freed twice, or not its start",
                   p);
    abort();
}

/* Make b a near block of this thread. Returns false, with b unchanged, when it
 * cannot be one. */
static bool free_near(struct large *large, struct block *b)
{
    if (b == NULL || b->ngranules > NEAR_GRANULES ||
        block_state(b) != BLOCK_LIVE)
        return false;
    struct near *near = near_of(large, false);
    if (near == NULL)
        return false;
    near_age(large, near);
    if (likely(hak_box_is_active(large->box)))
        return near_put(near, b);
    near_flush(large, near);
    return false;
}

/*
 * The compare-and-swap lets one of two frees of the same block succeed, in
 * whatever threads. free_near() has none, so there a second free by another
 * thread in the same moment is not noticed.
 */
static void free_slot(struct hak_box *box, void *p)
{
    struct large *large = large_of(box);
    struct block *b = blocks_at(&large->blocks, p);
    uint8_t live = BLOCK_LIVE;
    if (likely(free_near(large, b)))
        return;
    if (unlikely(b == NULL || !__atomic_compare_exchange_n(
                                  &b->state, &live, BLOCK_CACHED, false,
                                  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)))
        free_of_no_slot(box, p);
    supply_free(large, b);
}

/* ---- questions ---------------------------------------------------------- */

/* True for kept blocks as well: the owner directory also names this box for
 * them, and both must agree (verify = yes). */
static bool owns(struct hak_box *box, const void *p)
{
    return blocks_around(&large_of(box)->blocks, p) != NULL;
}

static size_t usable_size(struct hak_box *box, const void *p)
{
    const struct block *b = blocks_at(&large_of(box)->blocks, p);
    return b != NULL && block_state(b) == BLOCK_LIVE ? block_size(b) : 0;
}

static size_t slot_size(struct hak_box *box, size_t size_bytes)
{
    const struct large *large = large_of(box);
    if (size_bytes > large->blocks.n << HAK_GRANULE_SHIFT)
        return 0;
    return slot_bytes(large, hak_max(size_bytes, 1));
}

static void stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct large *large = large_of(box);
    struct near_sums near = near_sum(large);
    out->live_count = (uint64_t)ledger_nlive(&large->cache) - near.count;
    out->live_bytes = (uint64_t)ledger_live(&large->cache) + near.live_bytes;
    out->peak_bytes = (uint64_t)ledger_read(&large->ledger.peak);
    out->cached_bytes = bigcache_bytes(&large->cache) + near.bytes;
    out->retired_pages = hak_counted(&large->given_back);
}

static void visit_slots(struct hak_box *box, hak_visit *visit, void *context)
{
    const struct large *large = large_of(box);
    const struct block *b;
    for (size_t g = 0; (b = blocks_next(&large->blocks, &g)) != NULL;)
        if (block_state(b) == BLOCK_LIVE &&
            !visit(context, block_slot(b), block_size(b)))
            return;
}

static uint32_t read_counters(struct hak_box *box, struct hak_counter *out,
                              uint32_t most)
{
    const struct large *large = large_of(box);
    uint64_t hits = 0, puts = 0;
    for (uint32_t i = 0; i < large->cache.nshards; i++) {
        hits += hak_counted(&large->cache.shard[i].hits);
        puts += hak_counted(&large->cache.shard[i].puts);
    }
    const struct hak_counter all[] = {
        {"cache_hits", hits},
        {"cache_puts", puts},
        {"cache_unused", hak_counted(&large->unused)},
        {"cache_passed_over", hak_counted(&large->passed)},
        {"cache_room_bytes", supply_room(large)},
        {"maps", hak_counted(&large->maps)},
        {"mapped_bytes", hak_counted(&large->mapped_bytes)},
        {"cleaned_bytes", hak_counted(&large->cleaned_bytes)},
        {"given_back", hak_counted(&large->given_back)},
        {"grown", hak_counted(&large->grown)},
        {"shrunk", hak_counted(&large->shrunk)},
        {"moved", hak_counted(&large->moved)},
        {"clean_bytes", bigcache_clean_bytes(&large->cache)},
        {"turns", hak_counted(&large->turns)},
        {"direct_bytes", hak_counted(&large->threshold.direct_bytes)},
        {"direct_moves", hak_counted(&large->threshold.moves)},
    };
    size_t have = sizeof all / sizeof all[0];
    memcpy(out, all, hak_min(most, have) * sizeof all[0]);
    return (uint32_t)have;
}

/* A class is a power of two: mappings above half of it, up to it. malloc and
 * free do not count by class, since they would have to do so for each call. */
static uint32_t read_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    enum { LEAST_LOG2 = HAK_GRANULE_SHIFT, CLASSES = 48 - LEAST_LOG2 };
    const struct large *large = large_of(box);
    const struct block *b;
    HAK_ALWAYS(n >= CLASSES);
    for (uint32_t c = 0; c < CLASSES; c++)
        out[c].slot_bytes = (uint64_t)1 << (c + LEAST_LOG2);
    for (size_t g = 0; (b = blocks_next(&large->blocks, &g)) != NULL;) {
        uint64_t bytes = block_bytes(b);
        uint32_t state = block_state(b);
        if (bytes == 0 || state == BLOCK_SPARE)
            continue;
        uint32_t log2 = 64u - (uint32_t)__builtin_clzll(bytes - 1);
        struct hak_class *of = &out[hak_min(log2 - LEAST_LOG2, CLASSES - 1)];
        of->mapped_bytes += bytes;
        of->live_count += state == BLOCK_LIVE;
        of->live_bytes += state == BLOCK_LIVE ? block_size(b) : 0;
        of->cached_bytes += state == BLOCK_LIVE ? 0 : bytes;
    }
    return CLASSES;
}

static const void *get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_counters_1 counters = {
        .struct_bytes = sizeof counters,
        .read = read_counters,
    };
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = read_classes,
    };
    (void)box;
    if (strcmp(id, HAK_CLASSES_1) == 0)
        return &classes;
    return strcmp(id, HAK_COUNTERS_1) == 0 ? &counters : NULL;
}

/* ---- life cycle --------------------------------------------------------- */

/* Lock order: shards by number, blocks, near. */
static void at_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct large *large = large_of(box);
    bigcache_fork(&large->cache, phase);
    hak_lock_fork(&large->blocks.lock, phase);
    hak_lock_fork(&large->near_lock, phase);
    if (phase == HAK_FORK_CHILD) /* a thread of the parent may be sweeping */
        __atomic_store_n(&large->next_sweep_ms, 0, __ATOMIC_RELEASE);
}

static void *heap_open(struct hak_box *box, struct hak_thread *thread)
{
    (void)thread;
    return near_open(large_of(box));
}

static void heap_close(struct hak_box *box, void *heap)
{
    near_close(large_of(box), heap);
}

/* The near blocks go on to the BigCache, where any thread can take them. */
static void heap_park(struct hak_box *box, void *heap)
{
    near_flush(large_of(box), heap);
}

static size_t shrink(struct hak_box *box, size_t want_bytes)
{
    return supply_shrink(large_of(box), want_bytes);
}

static void age(struct hak_box *box)
{
    supply_sweep(large_of(box), box->host->now_ms());
}

static size_t trim(struct hak_box *box)
{
    flush_own(box);
    return supply_flush(large_of(box));
}

static void state_changed(struct hak_box *box)
{
    flush_own(box);
    supply_flush(large_of(box)); /* supply_free keeps nothing in this state */
}

void large_check(struct large *large)
{
    int64_t nlive = 0, nbytes = 0;
    uint64_t ncached = 0, count = 0;
    blocks_check(&large->blocks);
    bigcache_check(&large->cache);
    ledger_check(&large->ledger, &large->cache);
    const struct block *b;
    for (size_t g = 0; (b = blocks_next(&large->blocks, &g)) != NULL;) {
        bool live = block_state(b) == BLOCK_LIVE;
        nlive += live;
        nbytes += live ? (int64_t)block_size(b) : 0;
        ncached += !live;
    }
    for (uint32_t i = 0; i < large->cache.nshards; i++)
        count +=
            large->cache.shard[i].count + large->cache.shard[i].clean_count;
    struct near_sums near = near_sum(large);
    HAK_ALWAYS(nlive == ledger_nlive(&large->cache) - (int64_t)near.count);
    HAK_ALWAYS(nbytes == ledger_live(&large->cache) + (int64_t)near.live_bytes);
    HAK_ALWAYS(ncached == count + near.count);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("large", "1.0"),
    .summary = "above 256 KiB: a mapping each, BigCache, learned "
               "threshold, mremap",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = HAK_LANE_MAX_BYTES + 1,
    .max_bytes = PTRDIFF_MAX,
    .ops =
        {
            .alloc = alloc,
            .free = free_slot,
            .owns = owns,
            .init = init,
            .usable_size = usable_size,
            .slot_size = slot_size,
            .aligned_alloc = alloc_aligned,
            .zalloc = zalloc,
            .resize = large_resize,
            .heap_open = heap_open,
            .heap_close = heap_close,
            .heap_park = heap_park,
            .shrink = shrink,
            .age = age,
            .fork = at_fork,
            .trim = trim,
            .stats = stats,
            .visit_slots = visit_slots,
            .set_param = set_param,
            .state_changed = state_changed,
            .get_extension = get_extension,
        },
};

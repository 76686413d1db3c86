/* SPDX-License-Identifier: MIT
 * free.c - free's slow paths.
 *
 *     own slot       free() pushes it inline; it comes here if it may not be
 *                    live
 *     remote slot    goes into a parcel for its owner, else to the box
 *     no span        the owns() walk finds the box, else it is libc's
 *     inside fork    its address is kept, and it is freed after the fork
 */
#include <core/malloc/owner.h>

#include <base/os.h>
#include <base/sections.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/fast.h>
#include <core/malloc/live.h>
#include <core/malloc/sampled.h>
#include <core/malloc/short_way.h>
#include <core/malloc/tapped.h>
#include <core/malloc/verify.h>
#include <core/memory/directory.h>
#include <core/memory/libc.h>
#include <core/memory/other.h>
#include <core/route/sample.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>

#include <errno.h>
#include <sys/mman.h>

/* ---- frees that wait for the end of a fork ---- */

/*
 * Addresses of blocks that wait to be freed. They are kept in arrays instead of
 * a list through the blocks, because a block may be inaccessible or have no
 * bytes. Chunks are never given back. All of it is lock-free, because a signal
 * handler may interrupt any step.
 */
enum { CHUNK_BYTES = 4096, CHUNK_SLOTS = CHUNK_BYTES / sizeof(void *) - 1 };

static HAK_SPARSE struct chunk {
    struct chunk *next;
    void *slot[CHUNK_SLOTS];
} first_chunk;
/* Atomic. 0: none waits, or an address was stored but not counted yet. */
static uint32_t nwaiting;

static bool keep_in(struct chunk *chunk, void *p)
{
    for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
        void *none = NULL;
        if (__atomic_compare_exchange_n(&chunk->slot[i], &none, p, false,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

static struct chunk *next_chunk(struct chunk *chunk)
{
    struct chunk *next = __atomic_load_n(&chunk->next, __ATOMIC_ACQUIRE);
    if (next != NULL)
        return next;
    struct chunk *more = hak_os_map(CHUNK_BYTES, PROT_READ | PROT_WRITE);
    if (more == NULL ||
        __atomic_compare_exchange_n(&chunk->next, &next, more, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return more;
    hak_os_unmap(more, CHUNK_BYTES);
    return next;
}

/* If there is no memory for its address, the block is leaked. */
void hak_defer_free(void *p)
{
    struct chunk *chunk = &first_chunk;
    while (chunk != NULL && !keep_in(chunk, p))
        chunk = next_chunk(chunk);
    __atomic_add_fetch(&nwaiting, 1, __ATOMIC_RELEASE);
}

void hak_free_deferred(void)
{
    struct chunk *chunk = &first_chunk;
    if (__atomic_exchange_n(&nwaiting, 0, __ATOMIC_ACQUIRE) == 0)
        return;
    for (; chunk != NULL;
         chunk = __atomic_load_n(&chunk->next, __ATOMIC_ACQUIRE)) {
        for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
            void *p =
                __atomic_exchange_n(&chunk->slot[i], NULL, __ATOMIC_ACQUIRE);
            if (p != NULL)
                hak_free_slow(p);
        }
    }
}

/* ---- free ---- */

/* Free p, which no box owns. */
static void free_unowned(void *p)
{
    if (hak_may_be_others(p) && hak_other_free(p))
        return;
    hak_expect_libc("free", p);
    hak_libc_free(p);
}

static void box_remote_free(struct hak_loaded *b, struct hak_span *span,
                            void *p)
{
    struct hak_thread *t = hak_self;
    hak_box_remote_free(span, p);
    if (hak_is_attached(t))
        hak_count(&t->count[b->box.index].remote_frees, 1);
}

/* Free p, a slot or any value but NULL. */
static void free_slot(void *p)
{
    struct hak_span *span;
    if (hak_verifies())
        hak_verify_outside("free");
    int kept = errno;
    struct hak_loaded *b =
        hak_core.mode == HAK_MODE_BOXES ? hak_owner_box(p, &span) : NULL;
    if (b == NULL) {
        free_unowned(p);
    } else if (hak_box_lanes(b) && hak_free_route() == HAK_FREE_DIRECTORY &&
               span != NULL && span != &b->slow) {
        if (hak_verifies())
            hak_live_leave(p);
        if (hak_owner_of(span) != hak_self)
            box_remote_free(b, span, p);
        else /* with verify, or p may not be live: the box checks it */
            hak_box_free(b, p);
    } else {
        hak_to_box(b, p);
    }
    errno = kept;
}

void hak_free_triggered(struct hak_span *span)
{
    hak_span_triggered(span);
    hak_mailbox_receive(hak_self);
    hak_tick(hak_self);
}

/*
 * Free p, which hak_mailbox_put did not take. There are these reasons:
 * - The tag in the directory's entry is not the owner's. It is corrected here.
 * - There is no owner, or it has no tag.
 * - The slot is too large for a parcel, or there is no memory for one.
 * - The entry names the box's slow span, so each free is a call of the box.
 */
__attribute__((noinline)) static void free_remote_slow(uint64_t entry, void *p)
{
    struct hak_span *span = hak_entry_span(entry);
    struct hak_loaded *b = hak_loaded_of(span->box);
    if (hak_is_forking()) {
        hak_defer_free(p);
        return;
    }
    int kept = errno;
    void *slot = hak_sample_forget(p);
    if (unlikely(slot != p)) {
        free_slot(slot);
    } else if (span == &b->slow) {
        hak_to_box(b, p);
    } else {
        /* A thread that frees but never allocates attaches here, since it needs
         * a structure for its parcels. */
        if (hak_self == &hak_nobody)
            hak_thread_attach();
        uint64_t better = hak_directory_retag(p, entry);
        if (hak_owner_of(span) == hak_self)
            hak_free_own(span, p);
        else if (!hak_mailbox_put(hak_self, better, p))
            box_remote_free(b, span, p);
    }
    errno = kept;
}

void hak_free_remote(uint64_t entry, void *p)
{
    struct hak_thread *t = hak_self;
    if (likely(hak_mailbox_put(t, entry, p)))
        return;
    struct hak_loaded *b = hak_loaded_of(hak_entry_span(entry)->box);
    if (b->quick && t->abroad == 0 && !hak_asks_frees())
        hak_free_short(t, b, p);
    else
        free_remote_slow(entry, p);
}

__attribute__((noinline)) static void free_by_owner(void *p)
{
    if (p == NULL || hak_boot_owns(p))
        return;
    if (hak_is_forking())
        hak_defer_free(p);
    else
        free_slot(hak_sample_forget(p));
}

/* Free a slot from a parcel that came to a thread which does not own it, or
 * that may not be live. */
static void free_misdelivered(void *p)
{
    uint64_t entry = hak_directory_entry(p);
    if (entry != 0)
        hak_directory_retag(p, entry);
    free_by_owner(p);
}

void hak_free_untold(void *p)
{
    struct hak_thread *t = hak_self;
    struct hak_loaded *b = hak_short_owner(t, p);
    if (b != NULL)
        hak_free_short(t, b, p);
    else
        free_by_owner(p);
}

void hak_free_slow(void *p)
{
    const struct hak_call_ops *tap = hak_tap_of(hak_self);
    if (unlikely(tap != NULL))
        hak_tapped_free(tap, p);
    else
        hak_free_untold(p);
}

/* ---- parcels ---- */

/* Free a slot from a parcel, by its owner. Unlike hak_free_own it checks the
 * mark, since a parcel may have the same slot twice. The check is cheap here:
 * the push that follows needs the slot's cache line anyway. */
static void free_arrived_slot(struct hak_thread *t, void *p)
{
    struct hak_span *span = hak_directory_get(p);
    if (likely(span != NULL && hak_owner_of(span) == t &&
               hak_span_may_take(span, p) &&
               !hak_slot_is_marked(p, span->key))) {
        hak_count(&t->count[span->box->index].remote_frees, 1);
        span->nremote++;
        if (hak_span_push(span, p))
            hak_span_triggered(span);
    } else {
        free_misdelivered(p);
    }
}

void hak_free_parcel(struct hak_thread *t, void *const *slot, uint32_t n,
                     bool mine)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mine)
            free_arrived_slot(t, slot[i]);
        else
            free_misdelivered(slot[i]);
    }
}

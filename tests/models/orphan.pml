/*
 * orphan.pml - one thread closes a heap, one frees into its page, and one
 * adopts it: hak_heap_close, hak_heap_notify, hak_heap_adopt of
 * framework/kit/orphan.h.
 *
 * All steps but one are locked instructions or guarded by hak_heaps.lock. The
 * exception is hak_heap_close's store of `orphan`, after which it loads the
 * pending list. A plain store may wait in a store buffer (x86-TSO); a seq_cst
 * store does not. An orphan may stay on the list until the next adoption, as in
 * the sources.
 *
 * Holds
 *   - A page is only on the pending list of its own heap, and at most once.
 *   - If a page is put on the pending list of the heap that closes, then either
 *     hak_heap_close sees it, or the freeing thread sees that the heap is an
 *     orphan.
 *   - The freed slot is collected in the end, by the heap or by a thread that
 *     adopts it.
 *
 * weak: WEAK_HUSH     hak_page_hush tests PENDING and clears NOTIFY in two steps
 * weak: WEAK_PENDING  hak_page_push_remote clears NOTIFY, PENDING comes later
 * weak: WEAK_MOVE     hak_heap_move_page moves a page that is not hushed
 * weak: WEAK_STORE    hak_heap_close's store of `orphan` is relaxed
 * weak: WEAK_LOAD     hak_heap_notify's load of `orphan` is relaxed (not on x86-64)
 */
#define OLD 0
#define NEW 1

bool remote, notify = true, pending; /* the page's remote word; 1 slot is out */
byte heap = OLD;                     /* page->heap */
bool listed[2];                      /* heap->pending has the page */
bool orphan, waits;                  /* waits: in the closer's store buffer */
bool by_closer, notice, saw_orphan;  /* which side saw the other */
bool on_orphans;                     /* on hak_heaps.orphans; guarded by lock */
bool collected, closed, freed;

/* hak_page_take_remote(page, 0, NOTIFY) */
inline take_remote()
{
    d_step {
        collected = collected || remote;
        remote = false; pending = false; notify = true
    }
}

/* hak_heap_collect of heap h: take the remote frees of its page */
inline collect(h)
{
    if
    :: listed[h] -> atomic { !waits -> listed[h] = false };
        assert(heap == h);
        take_remote()
    :: else
    fi
}

/* hak_heap_adopt_any: take an orphan off the list and adopt it */
inline adopt()
{
    mine = false;
    hushed = false;
    atomic {
        if
        :: on_orphans -> on_orphans = false; mine = true
        :: else
        fi
    };
    if
    :: mine ->
        collect(OLD);
#ifdef WEAK_HUSH
        if
        :: !pending -> hushed = true
        :: else
        fi;
        notify = false;
#else
        atomic { /* hak_page_hush */
            if
            :: !pending -> notify = false; hushed = true
            :: else
            fi
        };
#endif
#ifdef WEAK_MOVE
        hushed = true;
#endif
        if
        :: hushed && heap == OLD -> /* hak_heap_move_page */
            heap = NEW;
            take_remote()
        :: hushed && heap == NEW -> notify = true
        :: else -> on_orphans = true /* the page stays with the orphan */
        fi
    :: else
    fi
}

active proctype store_buffer()
{
end: do
    :: d_step { waits -> orphan = true; waits = false }
    od
}

active proctype closer() /* hak_heap_close */
{
    collect(OLD);
    waits = true;
#ifndef WEAK_STORE
    !waits;
#endif
    collect(OLD);
    by_closer = collected;
    atomic { !waits -> on_orphans = true }; /* hak_heaps_push */
    closed = true
}

active proctype freer() /* hak_heap_remote_free of the one slot that is out */
{
    bool tell, mine, hushed, seen;
    byte h;
    d_step {
        remote = true;
        tell = notify && !pending;
#ifndef WEAK_PENDING
        pending = pending || notify;
#endif
        notify = false
    };
    if
    :: tell -> /* hak_heap_notify. With PENDING set the page keeps its heap. */
        h = heap;
#ifdef WEAK_LOAD
        seen = orphan;
#endif
        d_step { assert(heap == h && !listed[h]); listed[h] = true };
#ifndef WEAK_LOAD
        seen = orphan;
#endif
        notice = h == OLD;
        saw_orphan = seen;
#ifdef WEAK_PENDING
        pending = true;
#endif
        if
        :: seen && h == OLD -> adopt()
        :: else
        fi
    :: else
    fi;
    freed = true
}

/* A thread that has run out of pages: hak_heap_adopt_any, then its refills. */
active proctype adopter()
{
    bool mine, hushed;
    adopt();
    closed && freed;
    assert(!notice || by_closer || saw_orphan);
    collect(NEW);
    adopt();
    collect(NEW);
    assert(collected);
    assert(!listed[OLD] && !listed[NEW])
}

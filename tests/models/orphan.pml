/*
 * orphan.pml - a heap that closes, a thread that frees into its page, and one
 * that adopts it: hak_heap_close, hak_heap_notify, hak_heap_adopt of
 * framework/kit/orphan.h.
 *
 * All steps but one are locked instructions or under hak_heaps.lock. The one is
 * the close's store of `orphan`, which its look at the pending list follows: a
 * plain store may wait in a store buffer (x86-TSO), one of seq_cst does not.
 * An orphan may wait for the next adoption, as it may there.
 *
 * Holds: a page is on the pending list of the heap that it is in, once at most;
 * a notice to the heap that closes is seen by the close, or who gives it sees
 * the orphan; the slot that was freed is collected in the end, by the heap or
 * by whoever adopts it.
 *
 * weak: WEAK_HUSH     hak_page_hush tests PENDING and clears NOTIFY in two steps
 * weak: WEAK_PENDING  hak_page_push_remote clears NOTIFY, PENDING comes later
 * weak: WEAK_MOVE     hak_heap_move_page moves a page that is not hushed
 * weak: WEAK_STORE    hak_heap_close's store of `orphan` is relaxed
 * weak: WEAK_LOAD     hak_heap_notify's load of `orphan` is relaxed (not on x86-64)
 */
#define OLD 0
#define NEW 1

bool remote, notify = true, pending; /* the word of the page: one slot out */
byte heap = OLD;                     /* page->heap */
bool listed[2];                      /* heap->pending */
bool orphan, waits;                  /* waits: in the close's store buffer */
bool by_closer, notice, saw_orphan;  /* who saw whom */
bool on_orphans;                     /* heaps.orphans, under the lock */
bool collected, closed, freed;

/* hak_page_take_remote(page, 0, NOTIFY) */
inline take_remote()
{
    d_step {
        collected = collected || remote;
        remote = false; pending = false; notify = true
    }
}

/* hak_heap_collect of a heap: take what its page has */
inline collect(h)
{
    if
    :: listed[h] -> atomic { !waits -> listed[h] = false };
        assert(heap == h);
        take_remote()
    :: else
    fi
}

/* hak_heap_adopt by this thread, of an orphan popped under the lock */
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
        :: else -> on_orphans = true /* it stays for the next */
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
    atomic { !waits -> on_orphans = true }; /* under the lock */
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
    :: tell -> /* hak_heap_notify: with PENDING set, the page keeps its heap */
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

/* Another thread runs out of pages: hak_heap_adopt_any, then its refills. */
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

/*
 * orphan.pml - a heap that closes, a thread that frees into its page, and one
 * that adopts it: hak_heap_close, hak_heap_notify, hak_heap_adopt of
 * framework/boxkit/heap.h.
 *
 * All steps are locked instructions or under hak_heaps.lock. That the free and
 * the close see each other (seq_cst on `orphan`) makes adoption prompt; here an
 * orphan may wait for the next adoption, as it may there.
 *
 * Holds: a page is on the pending list of the heap that it is in, once at most;
 * the slot that was freed is collected in the end, by the heap or by whoever
 * adopts it.
 *
 * weak: WEAK_HUSH     hak_page_hush tests PENDING and clears NOTIFY in two steps
 * weak: WEAK_PENDING  hak_page_push_remote clears NOTIFY, PENDING comes later
 * weak: WEAK_MOVE     hak_heap_move_page moves a page that is not hushed
 */
#define OLD 0
#define NEW 1

bool remote, notify = true, pending; /* the word of the page: one slot out */
byte heap = OLD;                     /* page->heap */
bool listed[2];                      /* heap->pending */
bool orphan;
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
    :: atomic { listed[h] -> listed[h] = false };
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

active proctype closer() /* hak_heap_close */
{
    collect(OLD);
    orphan = true;
    collect(OLD);
    on_orphans = true;
    closed = true
}

active proctype freer() /* hak_heap_remote_free of the one slot that is out */
{
    bool tell, mine, hushed;
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
        d_step { assert(heap == h && !listed[h]); listed[h] = true };
#ifdef WEAK_PENDING
        pending = true;
#endif
        if
        :: orphan && h == OLD -> adopt()
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
    collect(NEW);
    adopt();
    collect(NEW);
    assert(collected);
    assert(!listed[OLD] && !listed[NEW])
}

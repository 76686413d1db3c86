/*
 * remote.pml - one page, its owner and threads that free its slots:
 * framework/kit/page.h, heap.h, refill.h.
 *
 * The remote word (length, NOTIFY, PENDING) changes by compare and exchange
 * alone, so one step here is one exchange there. Slots are counted, not named.
 *
 * Holds: no slot is lost; a full page into which somebody frees comes back
 * (else its owner waits for ever: an invalid end state); a page is never put on
 * the pending list twice.
 *
 * weak: WEAK_FULL    hak_heap_set_full tests the list and sets NOTIFY in two steps
 * weak: WEAK_TWICE   hak_heap_remote_free notifies although a notice is in flight
 * weak: WEAK_PUSH    hak_page_push_remote loads and stores, no exchange
 * weak: WEAK_TAKE    hak_page_take_remote loads and stores, no exchange
 */
#define SLOTS 2
#define ALLOCS 5
#define FREERS 2

mtype = { CURRENT, FULL, AVAIL };

byte length;           /* the remote word */
bool notify, pending;
bool listed;           /* on heap->pending */
mtype state = CURRENT;
byte here = SLOTS;    /* span.local */
byte mine;             /* in the owner's hands */
byte held[FREERS];     /* in others' hands */
byte freers_done;
bool over;             /* no more allocations */

/* hak_page_push_remote, then hak_heap_notify */
proctype freer(byte self)
{
    byte old_length;
    bool old_notify, old_pending;
    do
    :: held[self] > 0 ->
        held[self]--;
retry:  skip;
        d_step {
            old_length = length; old_notify = notify; old_pending = pending
        };
#ifdef WEAK_PUSH
        d_step {
#else
        atomic {
            if
            :: old_length != length || old_notify != notify ||
               old_pending != pending -> goto retry
            :: else
            fi;
#endif
            length = old_length + 1;
            pending = old_pending || old_notify;
            notify = false
        };
        if
#ifdef WEAK_TWICE
        :: old_notify ->
#else
        :: old_notify && !old_pending ->
#endif
            d_step { assert(!listed); listed = true }
        :: else
        fi
    :: held[self] == 0 && over -> break
    od;
    freers_done++
}

/* hak_heap_collect: the list, then hak_heap_collect_page */
inline collect()
{
    atomic { listed -> listed = false };
#ifdef WEAK_TAKE
    byte seen = length;
    d_step {
        here = here + seen;
#else
    d_step {
        here = here + length;
#endif
        length = 0;
        pending = false;
        notify = (state != CURRENT)
    };
    if
    :: state == FULL && here > 0 -> state = AVAIL
    :: else
    fi
}

active proctype owner()
{
    byte allocs, to;
    bool old_notify, old_pending;
    byte old_length;
    run freer(0);
    run freer(1);
    do
    :: allocs < ALLOCS && state == CURRENT && here > 0 ->
        here--; /* malloc; the slot goes to somebody */
        allocs++;
        if
        :: held[0]++
        :: held[1]++
        :: mine++
        fi
    :: state == CURRENT && here == 0 && length > 0 -> /* hak_heap_restock */
        d_step { here = length; length = 0; notify = false }
    :: state == CURRENT && here == 0 && length == 0 && allocs < ALLOCS ->
        /* hak_heap_set_full */
#ifdef WEAK_FULL
        notify = true;
        state = FULL
#else
        d_step {
            old_length = length; old_notify = notify; old_pending = pending
        };
        if
        :: old_length != 0
        :: old_length == 0 && old_notify -> state = FULL
        :: old_length == 0 && !old_notify ->
            atomic {
                if
                :: length == old_length && notify == old_notify &&
                   pending == old_pending -> notify = true; state = FULL
                :: else /* again */
                fi
            }
        fi
#endif
    :: state == AVAIL -> state = CURRENT /* hak_heap_set_current */
    :: listed -> collect()
    :: mine > 0 -> /* a free by the owner, and ops->triggered */
        mine--;
        here++;
        if
        :: state == FULL -> state = AVAIL
        :: else
        fi
    :: allocs == ALLOCS && mine == 0 -> break
    od;
    over = true;
    freers_done == FREERS;
    do
    :: listed -> collect()
    :: else -> break
    od;
    assert(here + length == SLOTS);
    assert(state == CURRENT || length == 0)
}

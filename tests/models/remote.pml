/*
 * remote.pml - the owner of a page, and other threads that free its slots:
 * framework/kit/page.h, heap.h, refill.h.
 *
 * The remote word (length, NOTIFY, PENDING) changes only by compare and
 * exchange, and each exchange is one step here. Slots are counted, not named.
 *
 * Holds
 *   - No slot is lost.
 *   - A full page becomes available after a remote free. (If not, the owner
 *     waits for ever, which Spin reports as an invalid end state.)
 *   - A page is never put on the pending list twice.
 *
 * weak: WEAK_FULL    hak_heap_set_full tests the list and sets NOTIFY in two steps
 * weak: WEAK_TWICE   hak_heap_free_remote notifies although a notice is in flight
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
byte mine;             /* live slots that the owner will free */
byte held[FREERS];     /* live slots that each freer will free */
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

/* hak_heap_collect: take the pending list, then hak_heap_collect_page */
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
        here--; /* malloc; any of the threads will free the slot */
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
                :: else /* the word has changed: try again */
                fi
            }
        fi
#endif
    :: state == AVAIL -> state = CURRENT /* hak_heap_set_current */
    :: listed -> collect()
    :: mine > 0 -> /* a free by the owner, with ops->triggered */
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

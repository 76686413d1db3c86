/*
 * retire.pml - a box is swapped, brought back, closed, and another box takes
 * its index, while threads allocate and free: change.c and load.c of
 * framework/start/, set_box (framework/core/route/policy.c), hak_lanes_reroute
 * (framework/core/route/lanes.c), hak_begin_routing
 * (framework/core/malloc/routing.h), hak_thread_heap and
 * hak_thread_leave_closed (framework/core/thread/attach.c).
 *
 * FIRST and SECOND have indexes of their own. FIRST is swapped for SECOND, and
 * perhaps brought back and swapped again. When it is closed and gone, THIRD is
 * loaded at its index and put in the place of SECOND. FIRST and THIRD have
 * lanes and count their slots themselves. SECOND is a foreign library: the core
 * counts its slots, and it is shut down when it is closed.
 *
 * The store of `routing` waits in a store buffer (x86-TSO) until the membarrier
 * of the changing thread empties the buffer. What the thread does after its
 * load of the chain waits until then. The thread's other stores are seen at
 * once. They are in order on x86-64.
 *
 * `visit` calls an operation of a box without a request: shrink, age, trim. The
 * box may ask for the thread's heap there. The thread may be late: the box may
 * have left meanwhile. A free may take two steps too.
 *
 * Holds
 *   - A request that goes down a chain gets no slot of a closed box, and its
 *     heap is not closed in the middle.
 *   - A library is not shut down while it has a slot or is called.
 *   - A box does not leave its index while it has a slot or a heap, but for a
 *     heap that a late visit opens.
 *   - Each operation of a box gets a heap of that box only.
 *   - In the end each old box is closed, and FIRST can leave.
 *
 * An inline allocation may take a slot of a box that was closed since the
 * thread loaded the lane. The box has not left, as the thread has a heap there.
 *
 * weak: WEAK_ROUTING  has_drained does not look whether a thread is routing
 * weak: WEAK_MARK     hak_begin_routing comes after the load of the chain
 * weak: WEAK_BARRIER  hak_lanes_reroute without hak_os_barrier
 * weak: WEAK_LIVE     has_drained does not look at the slots
 * weak: WEAK_COUNT    a free is counted before the call of the box
 * weak: WEAK_MAPPED   is_gone does not look at the mapped memory
 * weak: WEAK_HEAPS    is_gone does not look at the heaps
 * weak: WEAK_BOX      hak_thread_heap does not compare the heap's box
 * weak: WEAK_LEAVE    threads keep their heaps in closed boxes
 * weak: WEAK_BACK     a box that is brought back stays in the state DRAINING
 */
#define NONE 0
#define FIRST 1
#define SECOND 2
#define THIRD 3
#define index_of(box) (box == SECOND -> 1 : 0)

#define LOADED 0
#define ACTIVE 1
#define DRAINING 2
#define CLOSED 3

byte chain = FIRST;     /* hak_policy.chain[i]->box[0] */
byte epoch = 1;
byte all[2];            /* hak_boxes.all */
byte state[4];          /* box.state_now */
byte slots[4];          /* live slots, as the box knows */
byte counted[4];        /* the same, as has_drained reads it */
bool mapped[4];         /* now->mapped_bytes != 0 */
byte heap[2];           /* t->heap_box, NONE: t->heap is NULL */
bool by_visit[2];       /* a visit opened that heap */
byte lane = NONE;
bool routing, buffered; /* buffered: the store of routing is in the buffer */
byte shared = NONE;     /* the box of a slot that another thread will free */
bool started, thread_done, freer_done, last_call;

active proctype store_buffer()
{
end: do
    :: d_step { buffered -> routing = true; buffered = false }
    od
}

/* hak_thread_close_heap: the heap's pages go to the box. */
inline close_heap(i)
{
    assert(all[i] == heap[i] || by_visit[i]);
    heap[i] = NONE
}

/* hak_thread_heap(t, b, true): use the heap of b, if b gets one. */
inline use_heap(b, visits)
{
    if
    :: heap[index_of(b)] == NONE ->
        d_step { heap[index_of(b)] = b; by_visit[index_of(b)] = visits };
        got = true
    :: heap[index_of(b)] == b -> got = true
#ifdef WEAK_BOX
    :: else -> got = true
#else
    :: heap[index_of(b)] != NONE && heap[index_of(b)] != b &&
       state[b] == CLOSED -> got = false
    :: heap[index_of(b)] != NONE && heap[index_of(b)] != b &&
       state[b] != CLOSED ->
        close_heap(index_of(b));
        d_step { heap[index_of(b)] = b; by_visit[index_of(b)] = visits };
        got = true
#endif
    fi;
    assert(!got || heap[index_of(b)] == b)
}

inline leave_closed(i)
{
    if
#ifndef WEAK_LEAVE
    :: heap[i] != NONE && state[heap[i]] == CLOSED -> close_heap(i)
#endif
    :: else
    fi
}

inline sync_epoch()
{
    seen = epoch;
    if
    :: seen != mine ->
        mine = seen;
        d_step { /* hak_lanes_resync */
            if
            :: lane != NONE && lane != chain -> lane = NONE
            :: else
            fi
        };
        leave_closed(0);
        leave_closed(1)
    :: else
    fi
}

/* hak_to_box. For a box with lanes the first step is the whole free. */
inline free_slot(b)
{
    assert(all[index_of(b)] == b && mapped[b]);
#ifdef WEAK_COUNT
    if
    :: b == SECOND -> counted[b]--
    :: else
    fi;
#endif
    assert(b != SECOND || state[b] != CLOSED); /* the library is called */
    d_step {
        slots[b]--;
        if
        :: b != SECOND -> counted[b]--
        :: else
        fi
    };
#ifndef WEAK_COUNT
    if
    :: b == SECOND ->
        assert(state[b] != CLOSED);
        counted[b]--
    :: else
    fi
#endif
}

inline begin_routing()
{
    buffered = true
}

active proctype thread()
{
    byte mine = 1, seen, b, steps, mine_slot;
    bool got;
    started;
    do
    :: steps < 4 ->
        steps++;
        if
        :: mine_slot == NONE -> /* alloc_by_route */
            sync_epoch();
#ifndef WEAK_MARK
            begin_routing();
#endif
            b = chain;
#ifdef WEAK_MARK
            begin_routing();
#endif
            !buffered;
            use_heap(b, false);
            assert(state[b] != CLOSED);
            mapped[b] = true; /* refill */
            if
            :: b != SECOND -> lane = b
            :: else
            fi;
            sync_epoch();
            assert(heap[index_of(b)] == b);
            d_step { slots[b]++; counted[b]++ };
            mine_slot = b;
            routing = false
        :: mine_slot == NONE && lane != NONE -> /* an inline allocation */
            b = lane; /* another thread may have emptied it meanwhile */
            if
            :: b != NONE ->
                assert(all[index_of(b)] == b && mapped[b]);
                d_step { slots[b]++; counted[b]++ };
                mine_slot = b
            :: else
            fi
        :: mine_slot != NONE -> /* free of an own slot */
            b = mine_slot;
            mine_slot = NONE;
            free_slot(b)
        :: mine_slot != NONE -> sync_epoch() /* a request that libc serves */
        :: mine_slot != NONE && shared == NONE ->
            shared = mine_slot;
            mine_slot = NONE
        :: heap[0] != NONE && slots[heap[0]] == 0 -> /* its page goes back */
            d_step {
                b = heap[0];
                if
                :: slots[b] == 0 ->
                    mapped[b] = false;
                    if
                    :: lane == b -> lane = NONE
                    :: else
                    fi
                :: else
                fi
            }
        :: all[0] != NONE -> /* visit */
            b = all[0];
            if
            :: b != NONE -> use_heap(b, true)
            :: else
            fi
        fi
    :: break
    od;
    if
    :: mine_slot != NONE -> free_slot(mine_slot)
    :: else
    fi;
    thread_done = true;
    last_call -> sync_epoch();
    last_call = false
}

active proctype freer()
{
    byte b;
    do
    :: shared != NONE ->
        b = shared;
        shared = NONE;
        free_slot(b)
    :: thread_done && shared == NONE -> break
    od;
    freer_done = true
}

/* start_draining, or revive: `old` may be NONE. */
inline reroute(old, new)
{
    if
    :: old != NONE -> state[old] = DRAINING
    :: else
    fi;
    chain = new;
    epoch++;
#ifndef WEAK_BARRIER
    !buffered;
#endif
    lane = NONE
}

/* Free pages of a closed box go back to the window. */
inline trim(b)
{
    d_step {
        if
        :: state[b] == CLOSED && slots[b] == 0 && heap[index_of(b)] != b ->
            mapped[b] = false
        :: else
        fi
    }
}

inline close_if_drained(b)
{
    busy = routing;
#ifdef WEAK_ROUTING
    busy = false;
#endif
    live = counted[b];
#ifdef WEAK_LIVE
    live = 0;
#endif
    if
    :: !busy && live == 0 ->
        state[b] = CLOSED;
        epoch++
    :: else
    fi;
    trim(b)
}

/* is_gone of the box at index 0 */
inline look_if_gone()
{
    gone = state[FIRST] == CLOSED;
#ifndef WEAK_MAPPED
    gone = gone && !mapped[FIRST];
#endif
#ifndef WEAK_HEAPS
    gone = gone && heap[0] == NONE;
#endif
}

active proctype changer()
{
    byte live;
    bool busy, gone;
    d_step {
        all[0] = FIRST; all[1] = SECOND;
        state[FIRST] = ACTIVE; state[SECOND] = ACTIVE;
        started = true
    };
    reroute(FIRST, SECOND);
    if
    :: true -> /* back: FIRST serves again, then it is swapped once more */
#ifndef WEAK_BACK
        state[FIRST] = ACTIVE;
#endif
        reroute(NONE, FIRST);
#ifdef WEAK_BACK
        close_if_drained(FIRST);
#else
        if
        :: state[FIRST] == DRAINING -> close_if_drained(FIRST)
        :: else
        fi;
#endif
        reroute(FIRST, SECOND)
    :: true
    fi;
    close_if_drained(FIRST);
    look_if_gone();
    if
    :: gone ->
        all[0] = NONE;  /* vacate */
        assert(slots[FIRST] == 0);
        state[THIRD] = ACTIVE;
        all[0] = THIRD; /* load */
        reroute(SECOND, THIRD);
        close_if_drained(SECOND)
    :: else
    fi;
    /* In the end */
    thread_done && freer_done;
    if
    :: state[FIRST] != CLOSED -> close_if_drained(FIRST)
    :: else
    fi;
    assert(state[FIRST] == CLOSED);
    epoch++;            /* another change */
    last_call = true;
    !last_call;
    trim(FIRST);
    if
    :: all[0] == FIRST ->
        look_if_gone();
        assert(gone)
    :: else ->
        if
        :: state[SECOND] != CLOSED -> close_if_drained(SECOND)
        :: else
        fi;
        assert(state[SECOND] == CLOSED)
    fi
}

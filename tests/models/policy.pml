/*
 * policy.pml - one thread changes a route while another one refills a lane:
 * hak_policy_set (framework/core/route/policy.c), hak_lanes_reroute
 * (framework/core/route/lanes.c), refill_lanes, sync_epoch
 * (framework/core/malloc/alloc.c).
 *
 * The refilling thread's stores wait in a store buffer (x86-TSO, in order)
 * until a fence, or until membarrier(2) of the other thread empties the buffer.
 * The changing thread's own stores come before its membarrier.
 *
 * Holds: when both threads are done, the lane does not lead to the old box.
 *
 * weak: WEAK_BARRIER  hak_lanes_reroute without hak_os_barrier, no fence in refills
 * weak: WEAK_EPOCH    refill_lanes does not look at the epoch after it set the lane
 * weak: WEAK_LATE     hak_policy_set raises the epoch after the lanes were emptied
 */
#define NONE 0
#define OLD 1
#define NEW 2

byte chain = OLD;   /* hak_policy.chain[i]->box[0] */
byte epoch = 1;
byte lane = NONE;   /* t->lane[i] in memory */
byte in_buffer = NONE;
bool buffered;      /* the buffer has a store to the lane */
bool done;

inline store_lane(box)
{
    atomic { !buffered -> in_buffer = box; buffered = true }
}

/* The lane as its own thread sees it, with the stores in its buffer. */
#define own_lane (buffered -> in_buffer : lane)

active proctype store_buffer()
{
end: do
    :: d_step { buffered -> lane = in_buffer; buffered = false }
    od
}

inline sync_epoch()
{
    seen = epoch;
    if
    :: seen != mine ->
        mine = seen;
        route = chain;                      /* hak_lanes_resync */
        if
        :: own_lane != NONE && own_lane != route -> store_lane(NONE)
        :: else
        fi
    :: else
    fi
}

active proctype thread()
{
    byte mine = 1, seen, route, refills;
    do
    :: refills < 2 ->
        refills++;
        sync_epoch();        /* alloc_by_route */
        route = chain;       /* from_chain */
        store_lane(route);   /* refill_lanes: set_lanes */
#ifndef WEAK_EPOCH
        sync_epoch();
#endif
    :: break
    od;
    done = true
}

active proctype changer()
{
    chain = NEW;             /* publish */
#ifndef WEAK_LATE
    epoch++;                 /* next_epoch */
#endif
#ifndef WEAK_BARRIER
    !buffered;               /* hak_os_barrier: the buffer is empty */
#endif
    lane = NONE;             /* hak_lanes_reroute */
#ifdef WEAK_LATE
    epoch++;
#endif
    done && !buffered;
    assert(lane != OLD)
}

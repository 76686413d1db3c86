/*
 * policy.pml - a change of route beside a refill: hak_policy_set and
 * hak_thread_reroute (framework/policy.c, thread.c), from_lanes and sync_epoch
 * (route.c).
 *
 * The thread's stores wait in a store buffer (x86-TSO, in order) until a fence
 * or membarrier(2), which empties it from outside. The changing thread's own
 * stores are before its membarrier.
 *
 * Holds: when both are done, the lane does not lead to the old box.
 *
 * weak: WEAK_BARRIER  hak_thread_reroute without hak_os_barrier, no fence in refills
 * weak: WEAK_EPOCH    from_lanes does not look at the epoch after it set the lane
 * weak: WEAK_LATE     hak_policy_set raises the epoch after the lanes were emptied
 */
#define NONE 0
#define OLD 1
#define NEW 2

byte chain = OLD;   /* hak_policy.chain[i]->box[0] */
byte epoch = 1;
byte lane = NONE;   /* t->lane[i] in memory */
byte in_buffer = NONE;
bool buffered;      /* a store to the lane is on its way */
bool done;

inline store_lane(box)
{
    atomic { !buffered -> in_buffer = box; buffered = true }
}

/* The thread sees its own stores. */
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
        route = chain;                      /* hak_thread_resync */
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
        sync_epoch();        /* hak_alloc_slow */
        route = chain;       /* from_chain */
        store_lane(route);   /* from_lanes: set_lanes */
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
    !buffered;               /* hak_os_barrier: what was stored is there */
#endif
    lane = NONE;             /* hak_thread_reroute */
#ifdef WEAK_LATE
    epoch++;
#endif
    done && !buffered;
    assert(lane != OLD)
}

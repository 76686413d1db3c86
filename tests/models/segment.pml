/*
 * segment.pml - the life of a segment of box midmt: threads give granules back,
 * the segment is settled, adopted, purged and disposed of, and its struct
 * serves another segment: plugins/midmt/pool.c.
 *
 * The model has one struct and a segment of two granules.
 *   - Two givers hold one granule each. Or one giver holds one granule, while a
 *     purge goes over the segment.
 *   - Meanwhile the thread ends whose pool has the segment.
 *   - Another heap adopts the segment; or, if it was disposed of, maps a new
 *     one with the same struct. The heap takes a granule, gives it back, and
 *     ends or stays.
 *
 * A step is an atomic access, or all that happens between two of them under
 * segments.lock or by a pool's owner. keep_empty is 0.
 *
 * Holds
 *   - A segment leaves the bins of the pool that it is in, and no others.
 *   - One thread at a time holds a granule, and the segment is mapped then.
 *   - Nobody holds a granule of memory that is unmapped.
 *   - In the end no segment is left. So each time that a segment becomes empty,
 *     a thread learns of it.
 *
 * weak: WEAK_LEAVE  `pool` is cleared by dispose, after the lock is dropped
 * weak: WEAK_READ   settle_shared goes by what pool_put read before the lock
 * weak: WEAK_GIVE   pool_put reads `pool` before it sets the bits in `free`
 * weak: WEAK_ENTER  enter reads `free` before its store of `pool` is seen
 * weak: WEAK_WHOLE  segment_take_whole looks and takes in two steps
 * weak: WEAK_PURGE  a purge does not take the granules first
 */
#define NONE 0
#define SHARED 1
#define FIRST 2 /* pools of heaps */
#define SECOND 3
#define WHOLE 3

byte free;           /* bit g */
byte held = WHOLE;   /* granules in a page, being purged, or to be unmapped */
bool mapped = true;  /* the segment has memory */
bool spare;          /* the struct is on the list of spare ones */
byte pool = FIRST;   /* segment->pool */
byte listed = FIRST; /* the pool whose bins really have the segment */
byte bin;            /* `free` when the segment was linked last */
bool returned[4];
bool locked;
byte running = 4;

inline lock()
{
    atomic { !locked -> locked = true }
}

inline unlock()
{
    d_step { locked = false; seen = NONE }
}

inline give(granules)
{
    assert(mapped && (held & granules) == granules);
    held = held & ~granules;
    free = free | granules
}

inline link(p)
{
    assert(listed == NONE);
    listed = p;
    bin = free
}

inline unlink(p)
{
    assert(listed == p);
    listed = NONE
}

inline rebin(p)
{
    d_step {
        if
        :: bin != free -> unlink(p); link(p)
        :: else
        fi
    }
}

inline enter(p)
{
#ifdef WEAK_ENTER
    d_step { link(p) };
    pool = p
#else
    pool = p;
    d_step { link(p) }
#endif
}

inline leave(p)
{
    d_step {
        unlink(p);
#ifndef WEAK_LEAVE
        pool = NONE
#endif
    }
}

inline take_whole()
{
#ifdef WEAK_WHOLE
    gone = free == WHOLE;
    d_step {
        if
        :: gone -> free = 0; held = WHOLE
        :: else
        fi
    }
#else
    d_step {
        gone = free == WHOLE;
        if
        :: gone -> assert(held == 0); free = 0; held = WHOLE
        :: else
        fi
    }
#endif
}

inline dispose()
{
    gone = false;
#ifdef WEAK_LEAVE
    pool = NONE;
#endif
    d_step { assert(mapped && held == WHOLE); mapped = false; held = 0 };
    atomic { !locked -> spare = true }
}

inline settle_shared()
{
    lock();
#ifndef WEAK_READ
    seen = pool;
#endif
    if
    :: seen == SHARED ->
        rebin(SHARED);
        take_whole();
        if
        :: gone -> leave(SHARED)
        :: else
        fi
    :: seen == FIRST || seen == SECOND -> returned[seen] = true
    :: else
    fi;
    unlock();
    if
    :: gone -> dispose()
    :: else
    fi
}

/* rebin, release_empty: by the owner of pool p, which has the segment. */
inline settle_own(p)
{
    rebin(p);
    do
    :: bin == WHOLE && listed == p ->
        take_whole();
        if
        :: gone -> leave(p); dispose()
        :: else -> rebin(p)
        fi
    :: else -> break
    od
}

inline pool_put(mine, granules)
{
#ifdef WEAK_GIVE
    seen = pool;
    d_step { give(granules) };
#else
    d_step { give(granules) };
    seen = pool;
#endif
    if
    :: seen == NONE
    :: seen != NONE && seen == mine -> seen = NONE; settle_own(mine)
    :: seen == SHARED -> settle_shared()
    :: seen != NONE && seen != mine && seen != SHARED ->
        d_step { returned[seen] = true; seen = NONE }
    fi
}

/* Called by the owner of p, or by the thread that closes its heap. */
inline pool_close(p)
{
    if
    :: listed == p ->
        lock();
        leave(p);
        enter(SHARED);
        d_step { locked = false; seen = SHARED };
        settle_shared()
    :: else
    fi;
    returned[p] = false
}

proctype giver(byte granule)
{
    byte seen;
    bool gone;
    pool_put(NONE, granule);
    running--
}

proctype closer()
{
    byte seen;
    bool gone;
    pool_close(FIRST);
    running--
}

proctype purger() /* purge_segment */
{
    byte seen, taken;
    bool gone;
#ifdef WEAK_PURGE
    taken = free;
    assert(taken == 0 || (mapped && (held & taken) == 0))
#else
    d_step { taken = free; free = 0; held = held | taken };
    if
    :: taken != 0 ->
        assert(mapped);
        pool_put(NONE, taken)
    :: else
    fi;
#endif
    running--
}

/* Another heap adopts the segment. */
inline adopt()
{
    lock();
    if
    :: listed == SHARED && bin != 0 ->
        leave(SHARED);
        enter(SECOND);
        has = true
    :: else
    fi;
    unlock()
}

/* Another heap maps a new segment with the same struct. */
inline grow()
{
    atomic { !locked -> has = spare; spare = false };
    if
    :: has ->
        d_step { assert(!mapped && held == 0); mapped = true; held = WHOLE };
        d_step { give(WHOLE) };
        enter(SECOND)
    :: else
    fi
}

proctype heap()
{
    byte seen, taken;
    bool gone, has;
    adopt();
    if
    :: !has -> grow()
    :: else
    fi;
    if
    :: bin != 0 && has -> /* take_own. Else the heap uses another segment. */
        d_step {
            taken = free & ~(free - 1); /* the lowest bit */
            assert((held & taken) == 0);
            free = free & ~taken;
            held = held | taken;
            unlink(SECOND);
            link(SECOND)
        }
    :: else
    fi;
    if
    :: true -> pool_close(SECOND)
    :: true
    fi;
    if
    :: taken != 0 -> pool_put(SECOND, taken)
    :: else
    fi;
    running--;
    running == 0;
    if
    :: returned[SECOND] && listed == SECOND -> settle_own(SECOND) /* reread */
    :: else
    fi;
    assert(free == 0 && held == 0 && !mapped);
    assert(listed == NONE && pool == NONE && spare)
}

init
{
    atomic {
        run giver(1);
        run closer();
        run heap();
        if
        :: run giver(2)
        :: held = 1; free = 2; bin = 2; run purger()
        fi
    }
}

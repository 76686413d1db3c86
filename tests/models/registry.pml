/*
 * registry.pml - a search of the sorted table beside writers that shift it:
 * registry_find, registry_add and registry_remove of plugins/midmt/registry.c.
 *
 * Two sides: the writer (one at a time, under the lock) builds the next version
 * on the side that readers do not search, then raises seq. Loads of a search
 * stay in order and so do a writer's stores (acquire, release), so a step here
 * is a load or a store there. segment_contains is a comparison here: a segment
 * is its first granule.
 *
 * Holds: what is in the table all the time is found (NULL would mean "not mine"
 * for a live slot), and nothing is found that is not asked for.
 *
 * weak: WEAK_BEGIN  begin_write does not raise seq
 * weak: WEAK_AGE    registry_find takes a version that is two too old
 * weak: WEAK_SIDE   the writer changes the side that readers search
 */
#define KEY 5
#define MOST 3

byte seq;
byte n[2];
byte first[6];          /* side * MOST + i */

#define at(side, i) first[(side) * MOST + (i)]

inline begin_write()
{
    from = (seq >> 1) & 1;
#ifndef WEAK_BEGIN
    seq++;
    to = 1 - from;
#else
    to = 1 - from;
#endif
#ifdef WEAK_SIDE
    to = from;
#endif
}

inline end_write(length)
{
    n[to] = length;
#ifdef WEAK_BEGIN
    seq = seq + 2
#else
    seq++
#endif
}

/* Entries below `key`, then key itself if adding, then those above it. */
inline add(key)
{
    begin_write();
    i = 0; k = 0; put = false;
    do
    :: k < n[from] ->
        if
        :: !put && at(from, k) > key -> at(to, i) = key; i++; put = true
        :: else
        fi;
        at(to, i) = at(from, k);
        i++; k++
    :: else -> break
    od;
    if
    :: !put -> at(to, i) = key; i++
    :: else
    fi;
    end_write(i)
}

inline remove(key)
{
    begin_write();
    i = 0; k = 0;
    do
    :: k < n[from] ->
        if
        :: at(from, k) != key -> at(to, i) = at(from, k); i++
        :: else
        fi;
        k++
    :: else -> break
    od;
    end_write(i)
}

proctype writer()
{
    byte from, to, i, k;
    bool put;
    add(3);
    add(7);
    remove(3);
    remove(7);
    add(3)
}

proctype reader()
{
    byte seen, now, length, low, half, found, side, value;
    do
    :: true ->
        seen = seq;
        side = (seen >> 1) & 1;
        length = n[side];
        low = 0;
        found = 0;
        if
        :: length == 0
        :: else -> /* upper_bound */
            do
            :: length > 1 ->
                half = length / 2;
                value = at(side, low + half - 1);
                if
                :: value <= KEY -> low = low + half
                :: else
                fi;
                length = length - half
            :: else -> break
            od;
            value = at(side, low);
            if
            :: value <= KEY -> low++
            :: else
            fi;
            if
            :: low > 0 -> found = at(side, low - 1)
            :: else
            fi
        fi;
        if
        :: found == KEY -> break
        :: else
        fi;
        now = seq;
#ifdef WEAK_AGE
        assert(now - (seen & 254) > 4)
#else
        assert(now - (seen & 254) > 2) /* else the answer were NULL */
#endif
    od
}

init
{
    atomic { first[0] = KEY; n[0] = 1; run writer(); run reader() }
}

/*
 * parcel.pml - one thread's inbox: those who post, its owner, who closes it and
 * opens it again: framework/parcel.c, thread.c.
 *
 * The inbox changes by compare and exchange or exchange alone, so one step here
 * is one of them there. Parcels are numbered from 1; next[] links them; 0 is an
 * empty inbox, CLOSED one that nobody reads. Each parcel carries one slot.
 *
 * Holds: each slot is freed once, by its thread or the long way; when all is
 * over nothing waits in an inbox that is closed.
 *
 * weak: WEAK_POST     deliver loads and stores, no exchange
 * weak: WEAK_TAKE     hak_parcel_receive loads and stores, no exchange
 * weak: WEAK_CLOSE    hak_parcel_close takes what is there, then closes
 * weak: WEAK_OPEN     hak_parcel_open empties an inbox that is open
 */
#define PARCELS 3
#define CLOSED 9

byte inbox;
byte next[PARCELS + 1];
byte freed[PARCELS + 1];
byte posted;           /* parcels of which the poster is done */
bool busy;             /* the structure has a thread, or one that closes it */

/* hak_parcel_keep, post, deliver */
proctype poster(byte parcel)
{
    byte old;
again:
    old = inbox;
    if
    :: old == CLOSED -> freed[parcel]++ /* hak_free_astray */
    :: else ->
        next[parcel] = old;
#ifdef WEAK_POST
        inbox = parcel
#else
        atomic {
            if
            :: inbox != old -> goto again
            :: else -> inbox = parcel
            fi
        }
#endif
    fi;
    posted++
}

/* unpack; at: local to the process */
inline unpack(at)
{
    do
    :: at == 0 || at == CLOSED -> break
    :: else -> freed[at]++; at = next[at]
    od
}

/* A thread that takes the structure over, receives, and ends; somebody reaps
 * what it left. */
proctype life()
{
    byte at;
    atomic { !busy -> busy = true };
    if /* hak_parcel_open */
#ifdef WEAK_OPEN
    :: true -> inbox = 0
#else
    :: inbox == CLOSED -> inbox = 0
    :: else
#endif
    fi;
    do /* hak_parcel_receive */
    :: inbox != 0 ->
#ifdef WEAK_TAKE
        at = inbox;
        inbox = 0;
#else
        d_step { at = inbox; inbox = 0 };
#endif
        unpack(at)
    :: break
    od;
    if
    :: true -> /* hak_parcel_close */
#ifdef WEAK_CLOSE
        at = inbox;
        inbox = CLOSED;
#else
        d_step { at = inbox; inbox = CLOSED };
#endif
        unpack(at)
    :: true /* parked: the next one finds the inbox as it is */
    fi;
    busy = false
}

init {
    byte i, at;
    atomic {
        run life();
        run life();
        i = 1;
        do
        :: i <= PARCELS -> run poster(i); i++
        :: else -> break
        od
    };
    posted == PARCELS;
    !busy && _nr_pr == 1;
    /* hak_thread_reap, at last */
    d_step { at = inbox; inbox = CLOSED };
    unpack(at);
    i = 1;
    do
    :: i <= PARCELS -> assert(freed[i] == 1); i++
    :: else -> break
    od
}

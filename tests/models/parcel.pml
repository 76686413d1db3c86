/*
 * parcel.pml - the inbox of one thread: other threads post parcels, the owner
 * receives them, ends, and the inbox is closed and opened again:
 * framework/core/thread/mailbox.c, attach.c, reap.c.
 *
 * The inbox changes only by exchange, or compare and exchange, and each of them
 * is one step here. Parcels are numbered from 1, and next[] links them. 0 is an
 * empty inbox. CLOSED is a closed inbox, which nobody reads. Each parcel has
 * one slot.
 *
 * Holds: each slot is freed once, by its thread or by the box; in the end a
 * closed inbox has no parcel.
 *
 * weak: WEAK_POST     deliver loads and stores, no exchange
 * weak: WEAK_TAKE     hak_mailbox_receive loads and stores, no exchange
 * weak: WEAK_CLOSE    hak_mailbox_close takes the parcels, then closes
 * weak: WEAK_OPEN     hak_mailbox_open empties an inbox that is open
 */
#define PARCELS 3
#define CLOSED 9

byte inbox;
byte next[PARCELS + 1];
byte freed[PARCELS + 1];
byte posted;           /* posters that are done */
bool busy;             /* a thread uses the structure, or closes its heaps */

/* hak_mailbox_put, post_parcel, deliver */
proctype poster(byte parcel)
{
    byte old;
again:
    old = inbox;
    if
    :: old == CLOSED -> freed[parcel]++ /* free_misdelivered */
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

/* free_parcels; `at` is a local variable of the process */
inline unpack(at)
{
    do
    :: at == 0 || at == CLOSED -> break
    :: else -> freed[at]++; at = next[at]
    od
}

/* A thread takes the structure over, receives parcels, and ends. Then the
 * structure is reaped, or stays parked. */
proctype life()
{
    byte at;
    atomic { !busy -> busy = true };
    if /* hak_mailbox_open */
#ifdef WEAK_OPEN
    :: true -> inbox = 0
#else
    :: inbox == CLOSED -> inbox = 0
    :: else
#endif
    fi;
    do /* hak_mailbox_receive */
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
    :: true -> /* hak_mailbox_close */
#ifdef WEAK_CLOSE
        at = inbox;
        inbox = CLOSED;
#else
        d_step { at = inbox; inbox = CLOSED };
#endif
        unpack(at)
    :: true /* parked: the next thread finds the inbox as it is */
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
    /* hak_thread_reap at the end: hak_mailbox_close */
    d_step { at = inbox; inbox = CLOSED };
    unpack(at);
    i = 1;
    do
    :: i <= PARCELS -> assert(freed[i] == 1); i++
    :: else -> break
    od
}

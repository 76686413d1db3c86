/*
 * absent.pml - slots that came back to a page whose owner stays away are put to
 * sleep by somebody else: framework/kit/absent.h, page.h.
 *
 * The remote word (length, head of the list, ASLEEP, HELD) changes by compare
 * and exchange alone; remote_asleep is a word beside it. Slots are counted: of
 * `length`, so many are linked, the others asleep. The word says where the list
 * begins, and not how long it is: one that grew shorter may begin where it did.
 *
 * Holds: what the owner takes is as many slots as the word counts, and in the
 * end it has each slot once.
 *
 * weak: WEAK_HELD    hak_page_claim_remote takes the list although HELD is set
 * weak: WEAK_TAKE    hak_page_take_remote does not set HELD
 * weak: WEAK_ORDER   hak_page_give_remote stores remote_asleep after the word
 */
#define SLOTS 3
#define OTHER 9 /* a head that is none of a freer's */

byte length, head;     /* the remote word */
byte linked;           /* slots of the list that begins there */
bool asleep, held;
byte remote_asleep;
byte have;             /* slots that the owner took */
byte freed;
bool over;

/* hak_page_push_remote */
active proctype freer()
{
    do
    :: freed < SLOTS -> atomic { length++; linked++; freed++; head = freed }
    :: freed == SLOTS -> break
    od
}

/* hak_page_sleep_remote, under hak_heaps.absent: one at a time */
active proctype visitor()
{
    byte n, list, first, sleeping, old_length, old_head;
    bool old_asleep;
    do
    :: over -> break
    :: linked > 0 ->
        /* hak_page_claim_remote */
        d_step {
            old_length = length; old_head = head; old_asleep = asleep
        };
        sleeping = 0;
        if
        :: old_asleep -> sleeping = remote_asleep
        :: else
        fi;
        atomic {
            if
#ifdef WEAK_HELD
            :: length == old_length && head == old_head &&
               asleep == old_asleep && linked > 0 ->
#else
            :: length == old_length && head == old_head &&
               asleep == old_asleep && linked > 0 && !held ->
#endif
                n = length; list = linked; first = head;
                length = 0; linked = 0; head = 0; asleep = false
            :: else -> n = 0
            fi
        };
        if
        :: n == 0
        :: n != 0 ->
            do /* some of the linked ones fall asleep */
            :: list > 0 ->
                list--; sleeping++;
                if
                :: skip
                :: first = OTHER /* it was the first one */
                fi
            :: break
            od;
            /* hak_page_give_remote */
#ifndef WEAK_ORDER
            remote_asleep = sleeping;
#endif
            atomic {
                length = length + n;
                linked = linked + list;
                head = (list > 0 -> first : head);
                asleep = asleep || sleeping > 0
            };
#ifdef WEAK_ORDER
            remote_asleep = sleeping;
#endif
        fi
    od
}

/* hak_page_take_remote, now and then */
active proctype owner()
{
    byte old_length, old_head, sleeping;
    bool old_asleep, old_held, done;
    do
    :: have == SLOTS -> break
    :: length > 0 ->
        done = false;
        d_step {
            old_length = length; old_head = head;
            old_asleep = asleep; old_held = held
        };
        do
        :: done -> break
        :: !done ->
            sleeping = 0;
            if
            :: old_asleep ->
#ifndef WEAK_TAKE
                d_step {
                    held = true;
                    old_length = length; old_head = head;
                    old_asleep = asleep; old_held = held
                };
#endif
                if
                :: old_asleep -> sleeping = remote_asleep
                :: else
                fi
            :: else
            fi;
            d_step {
                if
                :: length == old_length && head == old_head &&
                   asleep == old_asleep && held == old_held ->
                    assert(length == linked + sleeping);
                    have = have + old_length;
                    length = 0; linked = 0; head = 0; asleep = false; held = false;
                    done = true
                :: else ->
                    old_length = length; old_head = head;
                    old_asleep = asleep; old_held = held
                fi
            }
        od
    od;
    over = true
}

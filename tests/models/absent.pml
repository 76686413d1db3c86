/*
 * absent.pml - another thread puts remote-freed slots of an absent owner's page
 * to sleep: framework/kit/absent.h, page.h.
 *
 * The remote word (length, head of the list, ASLEEP, HELD) changes only by
 * compare and exchange. remote_asleep is a variable beside it. Slots are
 * counted, not named: of `length` slots, `linked` are on the list and the
 * others are asleep. The word has the head of the list but not the number of
 * linked slots, so a list that became shorter may still have the same head.
 *
 * Holds: the owner takes as many slots as the word counts, and in the end it
 * has each slot once.
 *
 * weak: WEAK_HELD    hak_page_claim_remote takes the list although HELD is set
 * weak: WEAK_TAKE    hak_page_take_remote does not set HELD
 * weak: WEAK_ORDER   hak_page_give_remote stores remote_asleep after the word
 */
#define SLOTS 3
#define OTHER 9 /* a head that no freer has pushed */

byte length, head;     /* the remote word */
byte linked;           /* slots on the list that begins at head */
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

/* hak_page_sleep_remote. There is one visitor, since hak_heaps.absent guards
 * it. */
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
            do /* put some of the linked slots to sleep */
            :: list > 0 ->
                list--; sleeping++;
                if
                :: skip
                :: first = OTHER /* the slot was the head of the list */
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

/* hak_page_take_remote, any number of times */
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

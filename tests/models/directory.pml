/*
 * directory.pml - the directory entry of a granule that goes from one box to
 * another while threads free: hak_directory_set, hak_directory_get
 * (framework/core/memory/directory.c, framework/core/state/directory.h),
 * host_span_set, host_unmap (framework/core/box/host.c).
 *
 * The owner's stores pass through a buffer in order. x86-TSO does so; elsewhere
 * it follows from the release store and from how the program hands over a
 * pointer.
 *
 * Holds: a thread that frees a live slot reads the entry of its span.
 *
 * weak: WEAK_SET    the span is registered after its first slot is out
 * weak: WEAK_CLEAR  the entry is cleared while a slot is out
 * weak: WEAK_ORDER  a slot may be seen before the entry that was stored first
 */
#define SPANS 2

byte entry;                   /* 0: of no box; else the span */
chan to_program = [1] of { byte };   /* slots handed over to another thread */
chan remote = [1] of { byte };       /* slots on the span's remote list */

/* The owner's store buffer of (what, value): first in, first out. */
chan stores = [2] of { bool, byte };
#define ENTRY 0
#define SLOT 1

active proctype store_buffer()
{
    bool what;
    byte value;
end: do
    :: stores?what, value ->
        if
        :: what == ENTRY -> entry = value
        :: what == SLOT -> to_program!value
        fi
#ifdef WEAK_ORDER
    :: stores??[SLOT, value] -> stores??SLOT, value; to_program!value
#endif
    od
}

active proctype owner()
{
    byte span, back;
    for (span : 1 .. SPANS) { /* one box maps the granule, then the next */
#ifdef WEAK_SET
        stores!SLOT, span;
        stores!ENTRY, span;
#else
        stores!ENTRY, span;   /* host->span_set */
        stores!SLOT, span;    /* malloc; the program hands the slot over */
#endif
#ifdef WEAK_CLEAR
        stores!ENTRY, 0;
        remote?back;
#else
        remote?back;          /* the last slot came back */
        stores!ENTRY, 0;      /* host->unmap */
#endif
        assert(back == span)
    }
}

active proctype freer()
{
    byte slot, i;
    for (i : 1 .. SPANS) {
        to_program?slot;
        assert(entry == slot); /* hak_free: the entry has the slot's span */
        remote!entry
    }
}

/*
 * directory.pml - the entry of a granule that goes from one box to another
 * while threads free: hak_directory_set and hak_directory_get (framework/
 * directory.c, core.h), span_set and unmap of the host (loader.c).
 *
 * Each thread's stores pass through a buffer in order (x86-TSO, and what
 * release and the program's own hand-over of a pointer give elsewhere).
 *
 * Holds: whoever frees a live slot reads the entry of its span.
 *
 * weak: WEAK_SET    the span is registered after its first slot is out
 * weak: WEAK_CLEAR  the entry is cleared while a slot is out
 * weak: WEAK_ORDER  a slot may be seen before the entry that was stored first
 */
#define SPANS 2

byte entry;                   /* 0: nobody's, else the span */
chan to_program = [1] of { byte };   /* slots on their way to another thread */
chan remote = [1] of { byte };       /* and back: the span's remote list */

/* The owner's store buffer: (what, value), the first stored leaves first. */
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
    for (span : 1 .. SPANS) { /* map by one box, then by the next */
#ifdef WEAK_SET
        stores!SLOT, span;
        stores!ENTRY, span;
#else
        stores!ENTRY, span;   /* host->span_set */
        stores!SLOT, span;    /* malloc, and the program hands it over */
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
        assert(entry == slot); /* hak_free_slow: the entry is its span's */
        remote!entry
    }
}

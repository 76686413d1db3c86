/* SPDX-License-Identifier: MIT
 * check_lanes.c - spans and lanes, by the rules of struct hak_span.
 *
 * Much of it is seen by the test host at each refill, free and unmap; what is
 * here makes those happen.
 */
#include "check.h"

enum { N = 2000 };

static void check_span(const struct block *b)
{
    struct hak_span *span = th_host()->span_of(b->p);
    if (!span)
        return;
    EXPECT(span->box == ck.box);
    EXPECT(span->owner == th_self());
    EXPECT_GT(span->nalloc, span->nfree);
    if (span->slot_bytes)
        EXPECT_EQ(span->slot_bytes, ck.box->ops->usable_size(ck.box, b->p));
}

static void *fill_and_look(void *blocks)
{
    struct block *b = blocks;
    size_t n = ck_fill(b, N, HAK_LANE_MAX_BYTES, 8 * CK_MIB);
    for (size_t i = 0; i < n; i++)
        if (b[i].p)
            check_span(&b[i]);
    return NULL;
}

PROPERTY_OF_LANES(span_fields,
                  "a span names box, slot size, owner: NULL after its thread")
{
    struct block *b = ck_blocks(N);
    fill_and_look(b);
    ck_free_all(b, N);
    th_join(th_spawn(fill_and_look, b));
    for (size_t i = 0; i < N; i++) {
        struct hak_span *span = b[i].p ? th_host()->span_of(b[i].p) : NULL;
        EXPECT(!span || span->owner == NULL);
    }
    ck_free_all(b, N);
}

PROPERTY_OF_LANES(marks, "free slots carry marks, whoever freed them")
{
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 4; round++) {
        fill_and_look(b);
        ck_free_all(b, N); /* by the owner, then by another thread */
        th_join(th_spawn(fill_and_look, b));
        ck_free_all(b, N);
    }
}

PROPERTY_OF_LANES(triggered, "triggered() sets the trigger anew")
{
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 24; round++) {
        size_t size = ck_size(HAK_LANE_MAX_BYTES), n = 0;
        while (n < N && n * size < 2 * CK_MIB && ck_new(&b[n], size))
            n++;
        if (round % 3 == 1)
            ck_shuffle(b, n);
        for (size_t i = n; round % 3 == 2 && i-- > 1;)
            ck_free(&b[i]);
        ck_free_all(b, n);
    }
}

/* One size after the other in the same memory, the lanes still warm. */
PROPERTY_OF_LANES(span_reuse,
                  "lane_drop comes before another size; a span's struct stays")
{
    struct block *b = ck_blocks(N);
    for (int round = 0; round < 40; round++) {
        size_t size = ck_size(HAK_LANE_MAX_BYTES), n = 0;
        while (n < N && n * size < CK_MIB && ck_new(&b[n], size))
            n++;
        ck_free_all(b, n);
        if (round % 4 == 3) {
            th_clock_add(2 * th_host()->purge_delay_ms());
            if (ck.box->ops->trim)
                ck.box->ops->trim(ck.box);
        }
    }
}

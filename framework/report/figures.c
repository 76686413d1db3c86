/* SPDX-License-Identifier: MIT
 * figures.c - adds up the figures of each box.
 */
#include <report/report.h>

#include <core/box/abi.h>
#include <core/state/thread.h>
#include <core/thread/mailbox.h>

#include <string.h>

void hak_counts_read(uint32_t index, struct hak_counts *sum)
{
    memset(sum, 0, sizeof *sum);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next) {
        const struct hak_counts *c = &t->count[index];
        sum->allocs += hak_counted(&c->allocs);
        sum->frees += hak_counted(&c->frees);
        sum->bytes_in += hak_counted(&c->bytes_in);
        sum->bytes_out += hak_counted(&c->bytes_out);
        sum->refills += hak_counted(&c->refills);
        sum->remote_frees += hak_counted(&c->remote_frees);
        sum->declines += hak_counted(&c->declines);
    }
}

/* The counts for b, without those of a box that had its index before. */
static void read_counts(const struct hak_loaded *b, struct hak_counts *c)
{
    const struct hak_counts *before = &b->now->before;
    hak_counts_read(b->box.index, c);
    c->allocs -= before->allocs;
    c->frees -= before->frees;
    c->bytes_in -= before->bytes_in;
    c->bytes_out -= before->bytes_out;
    c->refills -= before->refills;
    c->remote_frees -= before->remote_frees;
    c->declines -= before->declines;
}

static struct hak_box_stats read_stats(struct hak_loaded *b)
{
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_stats, 0);
    struct hak_box_stats own = hak_abi_stats(&b->box);
    hak_op_ends(&scope);
    return own;
}

void hak_figures(struct hak_loaded *b, struct hak_stats *out)
{
    struct hak_box_stats own = {0};
    struct hak_counts c;
    read_counts(b, &c);
    if (b->ops.stats != NULL && !hak_report_is_stuck(b))
        own = read_stats(b);
    if (!b->box.lanes) { /* the core has seen every alloc and free */
        own.allocs = c.allocs;
        own.frees = c.frees;
        if (b->ops.stats == NULL) {
            own.live_count = c.allocs - c.frees;
            own.live_bytes = c.bytes_in - c.bytes_out;
        }
    }
    struct hak_mailbox_figures away = hak_mailbox_read(&b->box);
    if (away.n > own.live_count) /* some slots have arrived meanwhile */
        away = (struct hak_mailbox_figures){own.live_count, own.live_bytes};
    *out = (struct hak_stats){
        .allocs = own.allocs,
        /* A free is counted nowhere while its parcel is being emptied. */
        .frees = hak_count_told(&b->now->told_frees, own.frees + away.n),
        .live_count = own.live_count - away.n,
        .live_bytes = own.live_bytes - hak_min(away.bytes, own.live_bytes),
        .peak_bytes = own.peak_bytes,
        .mapped_bytes = hak_counted(&b->now->mapped_bytes),
        .mapped_peak_bytes = hak_counted(&b->now->mapped_peak_bytes),
        .cached_bytes = own.cached_bytes,
        .refills = c.refills,
        .remote_frees =
            hak_count_told(&b->now->told_remote_frees, c.remote_frees + away.n),
        .declines = c.declines,
        .retired_pages = own.retired_pages,
        .adopted_pages = own.adopted_pages,
    };
}

uint32_t hak_counters(struct hak_loaded *b,
                      struct hak_counter out[HAK_COUNTERS_MOST])
{
    const struct hak_counters_1 *table = NULL;
    if (b->ops.get_extension != NULL && !hak_report_is_stuck(b))
        table = b->ops.get_extension(&b->box, HAK_COUNTERS_1);
    if (table == NULL)
        return 0;
    uint32_t n = table->read(&b->box, out, HAK_COUNTERS_MOST);
    return n < HAK_COUNTERS_MOST ? n : HAK_COUNTERS_MOST;
}

uint32_t hak_classes(struct hak_loaded *b,
                     struct hak_class out[HAK_CLASSES_ROOM])
{
    const struct hak_classes_1 *table = NULL;
    if (b->ops.get_extension != NULL && !hak_report_is_stuck(b))
        table = b->ops.get_extension(&b->box, HAK_CLASSES_1);
    if (table == NULL || table->struct_bytes < sizeof *table)
        return 0;
    memset(out, 0, HAK_CLASSES_ROOM * sizeof *out);
    uint32_t n = table->read(&b->box, out, HAK_CLASSES_ROOM);
    return n < HAK_CLASSES_ROOM ? n : HAK_CLASSES_ROOM;
}

uint64_t hak_libc_allocs(void)
{
    uint64_t n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n += hak_counted(&t->libc_allocs);
    return n;
}

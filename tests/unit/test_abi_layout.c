/* SPDX-License-Identifier: MIT
 * test_abi_layout.c - the layout of each public struct, so that none grows
 * by accident.
 *
 * A number here never changes within a major version. A struct grows as the
 * comment "Growth" of hakmem/box.h says: a line more here, another SIZE, and
 * HAK_ABI_MINOR. Structs of extensions ("hak.NAME/N") that have no struct_bytes
 * and those of hakmem.h do not grow at all: another name, N + 1, is for more.
 */
#include "test.h"

#include <hakmem/foreign.h>
#include <hakmem/hakmem.h>
#include <hakmem/stack.h>

#define SIZE(type, bytes) EXPECT_EQ(sizeof(struct type), bytes)
#define AT(type, member, bytes) EXPECT_EQ(offsetof(struct type, member), bytes)

/* ---- layouts -------------------------------------------------------------
 */

TEST(hak_span_is_laid_out_so)
{
    SIZE(hak_span, 80);
    AT(hak_span, owner, 0);
    AT(hak_span, local, 8);
    AT(hak_span, nalloc, 16);
    AT(hak_span, nfree, 24);
    AT(hak_span, trigger, 32);
    AT(hak_span, key, 40);
    AT(hak_span, inverse, 48);
    AT(hak_span, start, 56);
    AT(hak_span, slot_bytes, 60);
    AT(hak_span, box, 64);
    AT(hak_span, lane_first, 72);
    AT(hak_span, lane_last, 74);
    AT(hak_span, nremote, 76);
}

TEST(hak_param_is_laid_out_so)
{
    SIZE(hak_param, 64);
    AT(hak_param, name, 0);
    AT(hak_param, type, 8);
    AT(hak_param, flags, 12);
    AT(hak_param, min, 16);
    AT(hak_param, max, 24);
    AT(hak_param, def, 32);
    AT(hak_param, choices, 40);
    AT(hak_param, def_text, 48);
    AT(hak_param, help, 56);
}

TEST(hak_box_is_laid_out_so)
{
    SIZE(hak_box, 56);
    AT(hak_box, host, 0);
    AT(hak_box, ops, 8);
    AT(hak_box, name, 16);
    AT(hak_box, state, 24);
    AT(hak_box, params, 32);
    AT(hak_box, index, 40);
    AT(hak_box, state_now, 44);
    AT(hak_box, lanes, 48);
}

TEST(hak_box_stats_is_laid_out_so)
{
    SIZE(hak_box_stats, 72);
    AT(hak_box_stats, struct_bytes, 0);
    AT(hak_box_stats, allocs, 8);
    AT(hak_box_stats, frees, 16);
    AT(hak_box_stats, live_count, 24);
    AT(hak_box_stats, live_bytes, 32);
    AT(hak_box_stats, peak_bytes, 40);
    AT(hak_box_stats, cached_bytes, 48);
    AT(hak_box_stats, retired_pages, 56);
    AT(hak_box_stats, adopted_pages, 64);
}

TEST(hak_counter_is_laid_out_so)
{
    SIZE(hak_counter, 16);
    AT(hak_counter, name, 0);
    AT(hak_counter, value, 8);
}

TEST(hak_counters_1_is_laid_out_so)
{
    SIZE(hak_counters_1, 16);
    AT(hak_counters_1, struct_bytes, 0);
    AT(hak_counters_1, read, 8);
}

TEST(hak_class_is_laid_out_so)
{
    SIZE(hak_class, 56);
    AT(hak_class, slot_bytes, 0);
    AT(hak_class, allocs, 8);
    AT(hak_class, frees, 16);
    AT(hak_class, live_count, 24);
    AT(hak_class, live_bytes, 32);
    AT(hak_class, mapped_bytes, 40);
    AT(hak_class, cached_bytes, 48);
}

TEST(hak_classes_1_is_laid_out_so)
{
    SIZE(hak_classes_1, 16);
    AT(hak_classes_1, struct_bytes, 0);
    AT(hak_classes_1, read, 8);
}

TEST(hak_box_ops_is_laid_out_so)
{
    SIZE(hak_box_ops, 208);
    AT(hak_box_ops, alloc, 0);
    AT(hak_box_ops, free, 8);
    AT(hak_box_ops, owns, 16);
    AT(hak_box_ops, init, 24);
    AT(hak_box_ops, usable_size, 32);
    AT(hak_box_ops, slot_size, 40);
    AT(hak_box_ops, aligned_alloc, 48);
    AT(hak_box_ops, zalloc, 56);
    AT(hak_box_ops, resize, 64);
    AT(hak_box_ops, heap_open, 72);
    AT(hak_box_ops, heap_close, 80);
    AT(hak_box_ops, refill, 88);
    AT(hak_box_ops, triggered, 96);
    AT(hak_box_ops, remote_free, 104);
    AT(hak_box_ops, fork, 112);
    AT(hak_box_ops, trim, 120);
    AT(hak_box_ops, stats, 128);
    AT(hak_box_ops, visit_slots, 136);
    AT(hak_box_ops, set_param, 144);
    AT(hak_box_ops, state_changed, 152);
    AT(hak_box_ops, get_extension, 160);
    AT(hak_box_ops, alloc_none, 168);
    AT(hak_box_ops, heap_lost, 176);
    AT(hak_box_ops, heap_park, 184);
    AT(hak_box_ops, shrink, 192);
    AT(hak_box_ops, age, 200);
}

TEST(hak_box_entry_is_laid_out_so)
{
    SIZE(hak_box_entry, 296);
    AT(hak_box_entry, magic, 0);
    AT(hak_box_entry, abi_major, 8);
    AT(hak_box_entry, abi_minor, 10);
    AT(hak_box_entry, host_minor_min, 12);
    AT(hak_box_entry, param_bytes, 14);
    AT(hak_box_entry, struct_size, 16);
    AT(hak_box_entry, nparams, 20);
    AT(hak_box_entry, id, 24);
    AT(hak_box_entry, version, 32);
    AT(hak_box_entry, summary, 40);
    AT(hak_box_entry, params, 48);
    AT(hak_box_entry, min_bytes, 56);
    AT(hak_box_entry, max_bytes, 64);
    AT(hak_box_entry, ops_at, 72);
    AT(hak_box_entry, span_bytes, 74);
    AT(hak_box_entry, lanes, 76);
    AT(hak_box_entry, kit_version, 78);
    AT(hak_box_entry, granule_bytes, 80);
    AT(hak_box_entry, reserved, 84);
    AT(hak_box_entry, ops, 88);
}

TEST(hak_retire_is_laid_out_so)
{
    SIZE(hak_retire, 48);
    AT(hak_retire, struct_bytes, 0);
    AT(hak_retire, slot_bytes, 8);
    AT(hak_retire, capacity, 12);
    AT(hak_retire, used, 16);
    AT(hak_retire, allocations, 24);
    AT(hak_retire, frees, 32);
    AT(hak_retire, local_frees, 40);
}

TEST(hak_host_is_laid_out_so)
{
    SIZE(hak_host, 232);
    AT(hak_host, struct_size, 0);
    AT(hak_host, abi_major, 4);
    AT(hak_host, abi_minor, 6);
    AT(hak_host, os_page_bytes, 8);
    AT(hak_host, window_base, 16);
    AT(hak_host, window_bytes, 24);
    AT(hak_host, map, 32);
    AT(hak_host, unmap, 40);
    AT(hak_host, purge, 48);
    AT(hak_host, remap, 56);
    AT(hak_host, meta, 64);
    AT(hak_host, span_set, 72);
    AT(hak_host, span_of, 80);
    AT(hak_host, lane_drop, 88);
    AT(hak_host, heap, 96);
    AT(hak_host, now_ms, 104);
    AT(hak_host, purge_delay_ms, 112);
    AT(hak_host, random, 120);
    AT(hak_host, log, 128);
    AT(hak_host, get_extension, 136);
    AT(hak_host, retired, 144);
    AT(hak_host, reserve, 152);
    AT(hak_host, unreserve, 160);
    AT(hak_host, open_pages, 168);
    AT(hak_host, close_pages, 176);
    AT(hak_host, meta_guarded, 184);
    AT(hak_host, granule_bytes, 192);
    AT(hak_host, lanes, 196);
    AT(hak_host, read_only, 200);
    AT(hak_host, ncpus, 208);
    AT(hak_host, nmappings, 216);
    AT(hak_host, window_table, 224);
}

TEST(hak_call_param_is_laid_out_so)
{
    SIZE(hak_call_param, 16);
    AT(hak_call_param, type, 0);
    AT(hak_call_param, from, 1);
    AT(hak_call_param, role, 2);
    AT(hak_call_param, name, 3);
    AT(hak_call_param, keep, 4);
    AT(hak_call_param, value, 8);
}

TEST(hak_call_is_laid_out_so)
{
    SIZE(hak_call, 400);
    AT(hak_call, symbol, 0);
    AT(hak_call, nparams, 64);
    AT(hak_call, nfixed, 65);
    AT(hak_call, variadic, 66);
    AT(hak_call, result, 67);
    AT(hak_call, test, 68);
    AT(hak_call, keep, 69);
    AT(hak_call, test_value, 72);
    AT(hak_call, param, 80);
    AT(hak_call, strings, 272);
}

TEST(hak_bound_is_laid_out_so)
{
    SIZE(hak_bound, 696);
    AT(hak_bound, call, 0);
    AT(hak_bound, function, 400);
    AT(hak_bound, cell, 408);
    AT(hak_bound, cif, 504);
}

TEST(hak_kept_is_laid_out_so)
{
    SIZE(hak_kept, 584);
    AT(hak_kept, n, 0);
    AT(hak_kept, at, 8);
}

TEST(hak_foreign_host_1_is_laid_out_so)
{
    SIZE(hak_foreign_host_1, 96);
    AT(hak_foreign_host_1, struct_bytes, 0);
    AT(hak_foreign_host_1, parse, 8);
    AT(hak_foreign_host_1, passed, 16);
    AT(hak_foreign_host_1, type_name, 24);
    AT(hak_foreign_host_1, open, 32);
    AT(hak_foreign_host_1, bind, 40);
    AT(hak_foreign_host_1, call, 48);
    AT(hak_foreign_host_1, polled, 56);
    AT(hak_foreign_host_1, sealed, 64);
    AT(hak_foreign_host_1, closure, 72);
    AT(hak_foreign_host_1, settle, 80);
    AT(hak_foreign_host_1, keep, 88);
}

TEST(hak_foreign_box_1_is_laid_out_so)
{
    SIZE(hak_foreign_box_1, 64);
    AT(hak_foreign_box_1, struct_bytes, 0);
    AT(hak_foreign_box_1, ops, 8);
    AT(hak_foreign_box_1, residual, 16);
    AT(hak_foreign_box_1, describe, 24);
    AT(hak_foreign_box_1, slow, 32);
    AT(hak_foreign_box_1, library, 40);
    AT(hak_foreign_box_1, inside, 48);
    AT(hak_foreign_box_1, kept, 56);
}

TEST(hak_stats_is_laid_out_so)
{
    SIZE(hak_stats, 104);
    AT(hak_stats, allocs, 0);
    AT(hak_stats, frees, 8);
    AT(hak_stats, live_count, 16);
    AT(hak_stats, live_bytes, 24);
    AT(hak_stats, peak_bytes, 32);
    AT(hak_stats, mapped_bytes, 40);
    AT(hak_stats, mapped_peak_bytes, 48);
    AT(hak_stats, cached_bytes, 56);
    AT(hak_stats, refills, 64);
    AT(hak_stats, remote_frees, 72);
    AT(hak_stats, declines, 80);
    AT(hak_stats, retired_pages, 88);
    AT(hak_stats, adopted_pages, 96);
}

TEST(hak_learner_class_figures_is_laid_out_so)
{
    SIZE(hak_learner_class_figures, 56);
    AT(hak_learner_class_figures, route, 0);
    AT(hak_learner_class_figures, rule, 8);
    AT(hak_learner_class_figures, retires, 16);
    AT(hak_learner_class_figures, allocations, 24);
    AT(hak_learner_class_figures, switches, 32);
    AT(hak_learner_class_figures, share_bps, 40);
    AT(hak_learner_class_figures, retire_bps, 44);
    AT(hak_learner_class_figures, utilisation_bps, 48);
    AT(hak_learner_class_figures, free_hit_bps, 52);
}

TEST(hak_learner_figures_is_laid_out_so)
{
    SIZE(hak_learner_figures, 488);
    AT(hak_learner_figures, mode, 0);
    AT(hak_learner_figures, evaluations, 8);
    AT(hak_learner_figures, decisions, 16);
    AT(hak_learner_figures, interval_retires, 24);
    AT(hak_learner_figures, utilisation_bps, 32);
    AT(hak_learner_figures, free_hit_bps, 36);
    AT(hak_learner_figures, classes, 40);
}

TEST(hak_stack_1_is_laid_out_so)
{
    SIZE(hak_stack_1, 16);
    AT(hak_stack_1, struct_bytes, 0);
    AT(hak_stack_1, take, 8);
}

TEST(constants_that_both_sides_compile_in)
{
    EXPECT_EQ(HAK_ABI_MAJOR, 1);
    EXPECT_EQ(HAK_GRANULE_BYTES, 65536);
    EXPECT_EQ(HAK_LANES, 129);
    EXPECT_EQ(HAK_LANE_MAX_BYTES, 262144);
    EXPECT_EQ(HAK_ALIGN_BYTES, 16);
    EXPECT_EQ(HAK_MAX_BOXES, 16);
    EXPECT(HAK_BOX_MAGIC == 0x31584f424b4148ffull);
    EXPECT(HAK_KEY_BITS == 0x8000000000000001u);
    EXPECT(HAK_TRIGGER_NEVER == UINT64_MAX);
    EXPECT_LE(sizeof(struct hak_box_stats), HAK_STATS_ROOM_BYTES);
}

TEST_MAIN()

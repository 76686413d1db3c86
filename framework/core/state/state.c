/* SPDX-License-Identifier: MIT
 * state.c - defines the data that the headers of core/state/ declare.
 *
 * hak_nobody stands for each thread that has not attached. Its lanes never have
 * a free slot, and nothing is ever stored to it. So malloc's inline path needs
 * no test whether the thread has attached.
 */
#include <base/sections.h>
#include <core/state/boxes.h>
#include <core/state/chains.h>
#include <core/state/core.h>
#include <core/state/directory.h>
#include <core/state/modules.h>
#include <core/state/thread.h>

HAK_SEALED struct hak_core hak_core;
HAK_SPARSE struct hak_conf hak_conf;
HAK_SEALED struct hak_boxes hak_boxes;
HAK_SEALED struct hak_policy hak_policy;
HAK_SEALED struct hak_directory hak_directory;
HAK_SEALED struct hak_modules hak_modules;
uint32_t hak_modules_wanted;

#define NO_LANES                                                 \
    {                                                            \
        .lane = {[0 ... HAK_LANES] = &hak_no_span}, .abroad = 1, \
        .tag = HAK_TAG_NONE,                                     \
    }

struct hak_span hak_no_span;
struct hak_thread hak_nobody = NO_LANES;
struct hak_thread hak_forker = NO_LANES;
struct hak_thread hak_ended = NO_LANES;
struct hak_thread *hak_threads;
HAK_SPARSE struct hak_thread *hak_thread_by_tag[HAK_TAG_NONE];
__thread struct hak_thread *hak_self
    __attribute__((tls_model("initial-exec"))) = &hak_nobody;

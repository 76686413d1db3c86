/* SPDX-License-Identifier: MIT
 * chains.h - the table of routes: size index -> chain of boxes.
 */
#ifndef HAKMEM_STATE_CHAINS_H
#define HAKMEM_STATE_CHAINS_H

#include <conf/conf.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/* The boxes that a request is offered to, in order. Immutable once published,
 * and never freed. */
struct hak_chain {
    struct hak_loaded *box[HAK_CONF_CHAIN + 1]; /* NULL-terminated */
    enum hak_fallback last; /* what comes after the last box */
    const char *route;      /* name of the route, for reports */
};

/* Sealed. Changed by route/policy.c. */
struct hak_policy {
    const struct hak_chain *chain[HAK_LANES + 1]; /* atomic pointers */
    uint64_t epoch; /* raised by each change; threads compare it to theirs on
                       their slow paths. Atomic */
};
extern struct hak_policy hak_policy;

#pragma GCC visibility pop

#endif

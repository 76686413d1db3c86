/* SPDX-License-Identifier: MIT
 * chains.h - size index -> chain of boxes.
 */
#ifndef HAKMEM_STATE_CHAINS_H
#define HAKMEM_STATE_CHAINS_H

#include <conf/conf.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

struct hak_chain {
    struct hak_loaded *box[HAK_CONF_CHAIN + 1]; /* NULL-terminated */
    enum hak_fallback last;
    const char *route; /* its name, for reports */
};

struct hak_policy {
    const struct hak_chain *chain[HAK_LANES + 1]; /* atomic pointers */
    uint64_t epoch; /* grows with each change; threads see it on slow paths */
};
extern struct hak_policy hak_policy;

#pragma GCC visibility pop

#endif

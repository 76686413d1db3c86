/* SPDX-License-Identifier: MIT
 * host.h - the host table, which each box is given.
 */
#ifndef HAKMEM_BOX_HOST_H
#define HAKMEM_BOX_HOST_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* The table, filled for this process. At start. */
const struct hak_host *hak_host_table(void);

#pragma GCC visibility pop

#endif

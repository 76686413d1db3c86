/* SPDX-License-Identifier: MIT
 * host.h - the host table, which each box gets.
 */
#ifndef HAKMEM_BOX_HOST_H
#define HAKMEM_BOX_HOST_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* The host table, with this process's window filled in. At start, before the
 * seal. */
const struct hak_host *hak_host_table(void);

#pragma GCC visibility pop

#endif

/* SPDX-License-Identifier: MIT
 * tap.h - lets a module watch each call of the malloc family.
 */
#ifndef HAKMEM_ROUTE_TAP_H
#define HAKMEM_ROUTE_TAP_H

#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/* host->watch_calls of module number `module`. */
int hak_tap_set(uint32_t module, const struct hak_call_ops *ops)
    __attribute__((cold));
/* Let free() and realloc() look in the directory inline, as far as the
 * configuration allows it. At start. */
void hak_tap_free_inline(void);

#pragma GCC visibility pop

#endif

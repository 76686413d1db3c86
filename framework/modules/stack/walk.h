/* SPDX-License-Identifier: MIT
 * walk.h - module "stack": walks the calling thread's stack.
 */
#ifndef HAKMEM_STACK_WALK_H
#define HAKMEM_STACK_WALK_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/*
 * hak_stack_walk - read the stack, as hak.stack/1 does.
 * most     room in out, at least 1
 * n        gets the number of addresses
 * Returns  false: this stack has a frame that it cannot read, or the processor
 *          is another one; *n and out are of no use
 */
bool hak_stack_walk(uintptr_t *out, uint32_t most, uint32_t *n);

#pragma GCC visibility pop

#endif

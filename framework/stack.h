/* SPDX-License-Identifier: MIT
 * stack.h - stack.c by name, for what is linked with it; hakmem/stack.h is what
 * boxes see.
 */
#ifndef HAKMEM_FRAMEWORK_STACK_H
#define HAKMEM_FRAMEWORK_STACK_H

#include <hakmem/stack.h>

#pragma GCC visibility push(hidden)
extern const struct hak_stack_1 hak_stack_table;
#pragma GCC visibility pop

#endif

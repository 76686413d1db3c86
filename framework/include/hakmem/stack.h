/* SPDX-License-Identifier: MIT
 * stack.h - extension "hak.stack/1" of the host table: the stack of the calling
 * thread, for boxes that report where a block was allocated. Where there is no
 * such extension, host->get_extension returns NULL.
 */
#ifndef HAKMEM_STACK_H
#define HAKMEM_STACK_H

#include <hakmem/box.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAK_STACK_1 "hak.stack/1"

struct hak_stack_1 {
    size_t struct_bytes;
    /*
     * take - read the stack of the calling thread.
     *                             [any state, any thread, any signal handler]
     * out      gets addresses of instructions, innermost frame first: of the
     *          call in each calling function. In a function that a signal
     *          interrupted, of the interrupted instruction.
     * most     room in out
     * Returns  the number of addresses. The frames of the core and of the box
     *          are among them. The stack ends where code has neither unwind
     *          tables nor a chain of frame pointers.
     * It takes no lock and calls no malloc.
     * Cost     some 15 ns for each frame; on stacks of coroutines and of signal
     *          handlers, and on other processors than x86-64, some 110 ns
     *          (`make bench-stack`)
     */
    uint32_t (*take)(uintptr_t *out, uint32_t most);
};

#ifdef __cplusplus
}
#endif
#endif

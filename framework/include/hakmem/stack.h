/* SPDX-License-Identifier: MIT
 * stack.h - stacks of the calling thread, for boxes that report where a block
 * was allocated. The core offers it as the extension "hak.stack/1" of the host
 * table; a core without it answers NULL.
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
     * take - addresses of instructions, innermost frame first: the callers'
     * calls and, beyond a signal's frame, the very instruction.
     * Returns how many of at most `most` it put into out; the core's and the
     * box's own frames are among them. Stops where code has no unwind tables.
     * Any thread; in signal handlers too. No lock, no malloc.
     * Cost: about a third of a microsecond a frame
     */
    uint32_t (*take)(uintptr_t *out, uint32_t most);
};

#ifdef __cplusplus
}
#endif
#endif

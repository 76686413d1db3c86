/* SPDX-License-Identifier: MIT
 * delete_aligned_size.cc - operator delete of an over-aligned block gets a size
 * that is too large by a few bytes.
 *
 * fault: C++ delete with a wrong size that the alignment hides
 * default: no
 * hardened: at once: operator delete
 * scudo: at once
 */
#include "misuse.h"

#include <new>

static void misuse(void)
{
    const std::align_val_t align{4096};
    void *p = opaque(operator new(9000, align));
    step("now");
    operator delete(p, 9010, align);
}

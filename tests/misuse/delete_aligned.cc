/* SPDX-License-Identifier: MIT
 * delete_aligned.cc - an over-aligned object is deleted as an object of a
 * larger type.
 *
 * fault: C++ delete as another type, over-aligned
 * default: no
 * hardened: at once: operator delete
 * scudo: at once
 */
#include "misuse.h"

struct alignas(64) line {
    char bytes[64];
};

struct alignas(64) page {
    char bytes[4096];
};

static void misuse(void)
{
    page *p = static_cast<page *>(opaque(new line));
    step("now");
    delete p;
}

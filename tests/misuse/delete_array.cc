/* SPDX-License-Identifier: MIT
 * delete_array.cc - delete[] gets a size that is smaller than the array.
 *
 * fault: C++ delete[] with a wrong size
 * default: no
 * hardened: at once: operator delete
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    void *p = opaque(::operator new[](8000));
    step("now");
    ::operator delete[](p, 80);
}

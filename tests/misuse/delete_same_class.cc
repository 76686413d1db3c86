/* SPDX-License-Identifier: MIT
 * delete_same_class.cc - delete[] gets the size of one element more than the
 * array has.
 *
 * fault: C++ delete[] with a wrong size of the same class
 * default: no
 * hardened: at once: operator delete
 * scudo: at once
 */
#include "misuse.h"

#include <new>

static void misuse(void)
{
    void *p = opaque(new char[63]);
    step("now");
    operator delete[](p, std::size_t{64});
}

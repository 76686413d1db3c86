/* SPDX-License-Identifier: MIT
 * delete_smaller.cc - an object is deleted as its base, which has no virtual
 * destructor.
 *
 * fault: C++ delete as another type, small
 * default: no
 * hardened: at once: operator delete
 * scudo: at once
 */
#include "misuse.h"

struct base {
    long numbers[2];
};

struct derived : base {
    char name[24];
};

static void misuse(void)
{
    base *p = static_cast<derived *>(opaque(new derived));
    step("now");
    delete p;
}

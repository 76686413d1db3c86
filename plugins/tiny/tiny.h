/* SPDX-License-Identifier: MIT
 * tiny.h - the state of one instance; for tiny.c, and for its tests.
 */
#ifndef TINY_H
#define TINY_H

#include "magazine.h"
#include "superslab.h"

#include <kit/lost.h>

struct tiny {
    struct hak_heaps heaps;
    struct superslabs superslabs;
    uint32_t with_magazine;         /* bit a slot class; 0: magazine = off */
    uint64_t no_heap[TINY_CLASSES]; /* magazine calls of threads without one */
};

#endif

/* SPDX-License-Identifier: MIT
 * wipe.c - wipes slots, and checks that they still are zero, with AVX2 where
 * the CPU has it and SSE2 elsewhere.
 */
#include "hardened.h"

enum { TURN_BYTES = 512, TWO_TURNS = 2 * TURN_BYTES };

#define NAMED(name) name##_sse2
#define TARGET
#define VECTOR_BYTES 16
#include "wipe_turns.h"

#define NAMED(name) name##_avx2
#define TARGET __attribute__((target("avx2")))
#define VECTOR_BYTES 32
#include "wipe_turns.h"

void wipe_init(struct hardened *h)
{
    bool wide = __builtin_cpu_supports("avx2");
    h->wipe = wide ? wipe_avx2 : wipe_sse2;
    h->is_zero = wide ? is_zero_avx2 : is_zero_sse2;
}

/* SPDX-License-Identifier: MIT
 * random.h - unpredictable random numbers, and SipHash.
 */
#ifndef HAKMEM_BASE_RANDOM_H
#define HAKMEM_BASE_RANDOM_H

#include <stdint.h>

#pragma GCC visibility push(hidden)

/* 64 bits that cannot be predicted from other results. Any thread; keeps
 * errno. Lock-free except for the first call in a process. */
uint64_t hak_random(void);
/* In the child of a fork: take a new key, so that its numbers differ. */
void hak_random_forked(void);
/* SipHash-2-4 of one word. */
uint64_t hak_siphash(const uint64_t key[2], uint64_t word);

#pragma GCC visibility pop

#endif

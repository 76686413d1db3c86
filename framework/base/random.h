/* SPDX-License-Identifier: MIT
 * random.h - random numbers that nobody can foretell, and SipHash.
 */
#ifndef HAKMEM_BASE_RANDOM_H
#define HAKMEM_BASE_RANDOM_H

#include <stdint.h>

#pragma GCC visibility push(hidden)

/* 64 bits that nobody can foretell. Any thread, lock-free but for the first
 * call in a process; keeps errno. */
uint64_t hak_random(void);
void hak_random_forked(void); /* in the child: other numbers */
uint64_t hak_siphash(const uint64_t key[2], uint64_t word);

#pragma GCC visibility pop

#endif

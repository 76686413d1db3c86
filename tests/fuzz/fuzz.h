/* SPDX-License-Identifier: MIT
 * fuzz.h - what a fuzz target gives to driver.c, or to libFuzzer.
 *
 * A target returns when all is well and aborts when not. It may be called any
 * number of times, by one thread.
 */
#ifndef HAK_TESTS_FUZZ_H
#define HAK_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n); /* its own name */

extern const char *const fuzz_seeds[]; /* folders; NULL at the end */
extern const char *const fuzz_words[]; /* to be put in; NULL at the end */

#define FUZZ_SEEDS(...) const char *const fuzz_seeds[] = {__VA_ARGS__, NULL}
#define FUZZ_WORDS(...) const char *const fuzz_words[] = {__VA_ARGS__ NULL}

#endif

/* SPDX-License-Identifier: MIT
 * underflow_byte.c - the byte before a block is written to.
 *
 * fault: write of 1 byte before the block
 * default: no
 * hardened: at free: underflow
 * scudo: no
 */
#include "misuse.h"

/* Of many blocks the two that are nearest to each other are used, so that there
 * is nothing between them. */
static void misuse(void)
{
    enum { N = 1000 };
    static char *block[N];
    char *low = NULL, *high = NULL;
    for (int i = 0; i < N; i++)
        block[i] = opaque(malloc(104));
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (block[i] < block[k] &&
                (low == NULL || block[k] - block[i] < high - low)) {
                low = block[i];
                high = block[k];
            }
    step("now");
    high[-1] ^= 42;
    step("free");
    free(high);
    free(low);
    step("reuse");
    take_many(104);
}

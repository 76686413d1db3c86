/* SPDX-License-Identifier: MIT
 * double_free_emptied.c - a block is freed again after all blocks of its page
 * were freed.
 *
 * fault: double free, in a page that became empty
 * default: at once: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "pages.h"

static void misuse(void)
{
    fill_pages();
    char *first = block[300], *second = block[700];
    int last = next_in_page(first, 0);
    char *twice = block[last];
    empty_page(second, 0);
    empty_page(first, 0);
    step("now");
    free(twice);
    step("reuse");
    take_many(PAGES_BYTES);
}

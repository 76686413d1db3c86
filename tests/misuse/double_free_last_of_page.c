/* SPDX-License-Identifier: MIT
 * double_free_last_of_page.c - a block is freed twice in a page that has one
 * more live block, so that the page counts as empty.
 *
 * fault: double free, in a page with one live block
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "pages.h"

static void misuse(void)
{
    fill_pages();
    char *first = block[300], *second = block[700];
    empty_page(first, 0); /* the box keeps one empty page */
    int a = next_in_page(second, 0), b = next_in_page(second, a + 1);
    char *twice = block[a];
    free(twice);
    free(block[b]);
    block[a] = block[b] = NULL;
    step("now");
    free(twice);
    step("reuse");
    empty_page(second, 1);
    take_all_sizes();
}

/* SPDX-License-Identifier: MIT
 * double_free_kept.c - a block is freed again in the first page that became
 * empty, which the box keeps as it is.
 *
 * fault: double free, in an empty page that is kept
 * default: at once: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "pages.h"

static void misuse(void)
{
    fill_pages();
    char *page = block[300], *twice = block[next_in_page(page, 0)];
    empty_page(page, 0);
    step("now");
    free(twice);
    step("reuse");
    take_many(PAGES_BYTES);
}

/* SPDX-License-Identifier: MIT
 * double_free_trimmed.c - a block is freed again after malloc_trim() purged its
 * part of the page.
 *
 * fault: double free, after malloc_trim
 * default: at once: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "pages.h"

static void misuse(void)
{
    fill_pages();
    char *page = block[300];
    int last = next_in_page(page, 0);
    for (int i = last; (i = next_in_page(page, i + 1)) >= 0;)
        last = i;
    char *twice = block[last];
    empty_page(page, 10);
    malloc_trim(0);
    step("now");
    free(twice);
    step("reuse");
    take_many(PAGES_BYTES);
}

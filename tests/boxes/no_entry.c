/* SPDX-License-Identifier: MIT
 * no_entry.c - a shared object without a box entry, which the core refuses.
 */
int hak_other_entry(void);
int hak_other_entry(void)
{
    return 0;
}

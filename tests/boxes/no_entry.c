/* SPDX-License-Identifier: MIT
 * no_entry.c - a shared object that is no box: refused.
 */
int hak_other_entry(void);
int hak_other_entry(void)
{
    return 0;
}

/* SPDX-License-Identifier: MIT
 * crash.c - a library that does not survive being loaded. */
__attribute__((constructor)) static void crash(void)
{
    __builtin_trap();
}

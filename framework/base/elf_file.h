/* SPDX-License-Identifier: MIT
 * elf_file.h - elf_file.c by name. */
#ifndef HAKMEM_ELF_FILE_H
#define HAKMEM_ELF_FILE_H

#include <stddef.h>

/*
 * hak_elf_check - is the open file a whole shared object for this machine?
 * Returns 0; -EINVAL, and why says "is ..." what it is instead
 */
int hak_elf_check(int fd, char *why, size_t why_bytes);

#endif

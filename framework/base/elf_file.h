/* SPDX-License-Identifier: MIT
 * elf_file.h - checks a file before dlopen gets it. */
#ifndef HAKMEM_ELF_FILE_H
#define HAKMEM_ELF_FILE_H

#include <stddef.h>

/*
 * hak_elf_check - check that an open file is a complete shared object for this
 * machine.
 * fd       an open file; its offset may change, and it stays open
 * Returns  0; -EINVAL, and why gets the reason, which begins with "is "
 */
int hak_elf_check(int fd, char *why, size_t why_bytes);

#endif

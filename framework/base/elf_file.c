/* SPDX-License-Identifier: MIT
 * elf_file.c - checks a file before dlopen gets it; depends on no other part.
 */
#include <base/elf_file.h>
#include <base/why.h>

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { HEADERS = 16 }; /* program headers that one pread takes */

/* Is the file as long as its segments say? dlopen of a truncated file would end
 * the process with SIGBUS. */
static bool is_whole(int fd, const Elf64_Ehdr *e)
{
    Elf64_Phdr p[HEADERS];
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return false;
    uint64_t file_bytes = (uint64_t)end;
    for (size_t first = 0, n; first < e->e_phnum; first += n) {
        n = e->e_phnum - first < HEADERS ? e->e_phnum - first : HEADERS;
        off_t at = (off_t)(e->e_phoff + first * sizeof *p);
        if (pread(fd, p, n * sizeof *p, at) != (ssize_t)(n * sizeof *p))
            return false;
        for (size_t i = 0; i < n; i++)
            if (p[i].p_type == PT_LOAD &&
                (p[i].p_filesz > file_bytes ||
                 p[i].p_offset > file_bytes - p[i].p_filesz))
                return false;
    }
    return true;
}

int hak_elf_check(int fd, char *why, size_t why_bytes)
{
    Elf64_Ehdr e;
    if (pread(fd, &e, sizeof e, 0) != (ssize_t)sizeof e ||
        memcmp(e.e_ident, ELFMAG, SELFMAG) != 0)
        return hak_refuse(-EINVAL, why, why_bytes,
                          "is no shared object (no ELF header)");
    if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != EM_X86_64)
        return hak_refuse(
            -EINVAL, why, why_bytes,
            "is for another kind of machine; build it for x86-64");
    if (e.e_type != ET_DYN)
        return hak_refuse(-EINVAL, why, why_bytes,
                          "is no shared object; link it with "
                          "-shared -fPIC");
    if (e.e_phentsize != sizeof(Elf64_Phdr) || !is_whole(fd, &e))
        return hak_refuse(-EINVAL, why, why_bytes,
                          "is not whole; copy or build it again");
    return 0;
}

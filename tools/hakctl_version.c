/* SPDX-License-Identifier: MIT
 * hakctl_version.c - hakctl version: prints the version of hakctl, and how a
 * library was built.
 *
 * A library has a text that says how it was built. The text is read from the
 * file: to load the library into hakctl would start an allocator.
 */
#include "hakctl.h"

#include <core/state/fused.h>
#include <hakmem/version.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>

enum { NOTE_MOST = 64 * 1024 };

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    return pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

static bool is_note(int fd, const Elf64_Shdr *names, const Elf64_Shdr *s)
{
    char name[sizeof HAK_NOTE_SECTION];
    return s->sh_type == SHT_PROGBITS && s->sh_size > 0 &&
           s->sh_size <= NOTE_MOST &&
           read_at(fd, name, sizeof name, names->sh_offset + s->sh_name) &&
           memcmp(name, HAK_NOTE_SECTION, sizeof name) == 0;
}

/* Read the text from the file; free it. NULL: there is none. */
static char *read_note(int fd)
{
    Elf64_Ehdr e;
    Elf64_Shdr names, s;
    if (!read_at(fd, &e, sizeof e, 0) ||
        memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ||
        e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_shentsize != sizeof s ||
        !read_at(fd, &names, sizeof names,
                 e.e_shoff + (uint64_t)e.e_shstrndx * sizeof s))
        return NULL;
    for (uint64_t i = 0; i < e.e_shnum; i++) {
        if (!read_at(fd, &s, sizeof s, e.e_shoff + i * sizeof s) ||
            !is_note(fd, &names, &s))
            continue;
        char *text = calloc(1, s.sh_size + 1);
        if (text == NULL)
            ctl_die("no memory");
        if (read_at(fd, text, s.sh_size, s.sh_offset))
            return text;
        free(text);
    }
    return NULL;
}

char *ctl_library_text(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? read_note(fd) : NULL;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = fd >= 0 ? ENOEXEC : error;
    return text;
}

static int print_library(const char *path)
{
    char *text = ctl_library_text(path);
    int status = text != NULL ? CTL_OK : errno == ENOEXEC ? CTL_SOME : CTL_BAD;
    if (text != NULL)
        printf("%s: %s", path, text);
    else if (errno == ENOEXEC)
        ctl_say("%s is no library of hakmem", path);
    else
        ctl_say("%s cannot be opened: %s", path, strerror(errno));
    free(text);
    return status;
}

int ctl_version(int argc, char **argv)
{
    static const struct option longs[] = {{CTL_HELP}, {NULL, 0, NULL, 0}};
    if (ctl_option(argc, argv, ":h", longs) != -1)
        return CTL_BAD;
    int worst = CTL_OK;
    if (optind == argc)
        printf("hakctl %s, box ABI %d.%d\n", HAK_VERSION, HAK_ABI_MAJOR,
               HAK_ABI_MINOR);
    for (int i = optind; i < argc; i++) {
        int status = print_library(argv[i]);
        worst = status > worst ? status : worst;
    }
    return worst;
}

/* SPDX-License-Identifier: MIT
 * check_file.c - the rules of box.h that can be read off the file: symbols,
 * libraries, thread-local variables. One line for each breach.
 */
#include <elf.h>
#include <sys/stat.h>

#include "check.h"

static const char *const allocators[] = {"malloc",
                                         "calloc",
                                         "realloc",
                                         "reallocarray",
                                         "free",
                                         "cfree",
                                         "aligned_alloc",
                                         "memalign",
                                         "posix_memalign",
                                         "valloc",
                                         "pvalloc",
                                         "malloc_usable_size",
                                         "malloc_trim",
                                         "strdup",
                                         "strndup",
                                         "__strdup",
                                         "asprintf",
                                         "vasprintf",
                                         "__asprintf_chk",
                                         "__vasprintf_chk",
                                         "getline",
                                         "getdelim",
                                         NULL};
static const char *const stdios[] = {"printf",
                                     "vprintf",
                                     "fprintf",
                                     "vfprintf",
                                     "dprintf",
                                     "vdprintf",
                                     "__printf_chk",
                                     "__vprintf_chk",
                                     "__fprintf_chk",
                                     "__vfprintf_chk",
                                     "__dprintf_chk",
                                     "puts",
                                     "putchar",
                                     "putc",
                                     "fputc",
                                     "fputs",
                                     "fwrite",
                                     "fflush",
                                     "perror",
                                     "fopen",
                                     "fopen64",
                                     "fdopen",
                                     "fclose",
                                     "fread",
                                     "fgets",
                                     "stdout",
                                     "stderr",
                                     "stdin",
                                     NULL};
static const char *const loaders[] = {"dlopen", "dlmopen", "dlsym",
                                      "dlvsym", "dlclose", NULL};
static const char *const mappers[] = {"mmap", "mmap64", "munmap", "mremap",
                                      "sbrk", "brk",    NULL};
static const char *const kernels[] = {"syscall",
                                      "madvise",
                                      "posix_madvise",
                                      "mprotect",
                                      "pkey_mprotect",
                                      "mlock",
                                      "munlock",
                                      "mlockall",
                                      "mincore",
                                      "membarrier",
                                      "open",
                                      "open64",
                                      "openat",
                                      "read",
                                      "socket",
                                      "prctl",
                                      "sched_getaffinity",
                                      "sysconf",
                                      "get_nprocs",
                                      "getrlimit",
                                      "nanosleep",
                                      "usleep",
                                      "sched_yield",
                                      "clone",
                                      "fork",
                                      "vfork",
                                      "pthread_create",
                                      NULL};

/* What a box must not use, and what to do. */
static const struct {
    const char *const *names, *verb, *instead;
} rules[] = {
    {allocators, "calls", "memory comes from host->map and host->meta"},
    {stdios, "uses", "a box never prints; host->log does"},
    {loaders, "calls", "a box opens nothing"},
    {mappers, "calls", "address space comes from host->map"},
    {kernels, "calls",
     "system calls are the host's: purge, close_pages, read_only, ncpus, "
     "nmappings; for locks kit/sync.h"},
};

/* ---- the file ---------------------------------------------------------- */

struct elf {
    const char *at;
    size_t bytes;
    const Elf64_Shdr *dynsym, *dynamic; /* with their string tables */
};

static int breaches;

__attribute__((format(printf, 1, 2))) static void breach(const char *format,
                                                         ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("# ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    breaches++;
}

static const void *part(const struct elf *e, uint64_t offset, uint64_t bytes)
{
    if (offset > e->bytes || bytes > e->bytes - offset)
        test_fail(__FILE__, __LINE__, "%s: the file is cut off", ck.path);
    return e->at + offset;
}

static struct elf open_elf(void)
{
    struct elf e = {0};
    struct stat s;
    int fd = open(ck.path, O_RDONLY | O_CLOEXEC);
    EXPECT(fd >= 0 && fstat(fd, &s) == 0);
    e.bytes = (size_t)s.st_size;
    void *at = mmap(NULL, e.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    EXPECT(at != MAP_FAILED);
    e.at = at;
    const Elf64_Ehdr *head = part(&e, 0, sizeof *head);
    const Elf64_Shdr *s0 =
        part(&e, head->e_shoff, (uint64_t)head->e_shnum * sizeof *s0);
    for (unsigned i = 0; i < head->e_shnum; i++) {
        if (s0[i].sh_type == SHT_DYNSYM)
            e.dynsym = &s0[i];
        if (s0[i].sh_type == SHT_DYNAMIC)
            e.dynamic = &s0[i];
    }
    if (!e.dynsym || !e.dynamic)
        test_fail(__FILE__, __LINE__,
                  "%s has no section headers; do not strip "
                  "them",
                  ck.path);
    return e;
}

/* A name in the string table of a section. */
static const char *name_at(const struct elf *e, const Elf64_Shdr *section,
                           uint64_t offset)
{
    const Elf64_Ehdr *head = part(e, 0, sizeof *head);
    const Elf64_Shdr *strings = part(
        e, head->e_shoff + section->sh_link * sizeof *strings, sizeof *strings);
    EXPECT_LT(offset, strings->sh_size);
    return part(e, strings->sh_offset + offset, strings->sh_size - offset);
}

/* Calls look for every dynamic symbol that is defined, or is not. */
static void each_symbol(const struct elf *e, bool defined,
                        void (*look)(const char *name))
{
    const Elf64_Sym *s = part(e, e->dynsym->sh_offset, e->dynsym->sh_size);
    for (size_t i = 1; i < e->dynsym->sh_size / sizeof *s; i++)
        if ((s[i].st_shndx != SHN_UNDEF) == defined && s[i].st_name)
            look(name_at(e, e->dynsym, s[i].st_name));
}

static void tell(void)
{
    if (breaches)
        _exit(1);
}

/* ---- properties -------------------------------------------------------- */

static void look_at_export(const char *name)
{
    if (strcmp(name, HAK_BOX_SYMBOL) != 0)
        breach("exports %s: only " HAK_BOX_SYMBOL " may be visible; make it "
               "static or build with -fvisibility=hidden",
               name);
}

PROPERTY_OF_ENTRY(file_exports, "the file exports one symbol, hak_box_entry")
{
    struct elf e = open_elf();
    each_symbol(&e, true, look_at_export);
    tell();
}

PROPERTY_OF_ENTRY(file_libraries, "the file needs no library but libc")
{
    struct elf e = open_elf();
    const Elf64_Dyn *d = part(&e, e.dynamic->sh_offset, e.dynamic->sh_size);
    for (size_t i = 0; i < e.dynamic->sh_size / sizeof *d; i++) {
        if (d[i].d_tag != DT_NEEDED)
            continue;
        const char *name = name_at(&e, e.dynamic, d[i].d_un.d_val);
        if (strcmp(name, "libc.so.6") != 0 &&
            strcmp(name, "ld-linux-x86-64.so.2") != 0)
            breach("needs %s: a box may need libc.so.6 alone", name);
    }
    tell();
}

static void look_for_tls(const char *name)
{
    if (strcmp(name, "__tls_get_addr") == 0)
        breach("uses a thread-local variable of another library");
}

PROPERTY_OF_ENTRY(file_tls, "the file has no thread-local variables")
{
    struct elf e = open_elf();
    const Elf64_Ehdr *head = part(&e, 0, sizeof *head);
    const Elf64_Phdr *p =
        part(&e, head->e_phoff, (uint64_t)head->e_phnum * sizeof *p);
    for (unsigned i = 0; i < head->e_phnum; i++)
        if (p[i].p_type == PT_TLS)
            breach("has thread-local variables (PT_TLS): keep what belongs to "
                   "a thread in the heap that heap_open makes");
    if (!breaches)
        each_symbol(&e, false, look_for_tls);
    tell();
}

static void look_at_call(const char *name)
{
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (const char *const *n = rules[r].names; *n; n++)
            if (strcmp(*n, name) == 0)
                breach("%s %s: %s", rules[r].verb, name, rules[r].instead);
}

PROPERTY_OF_ENTRY(
    file_calls, "the file calls no malloc, stdio, dlopen, mmap, and no kernel")
{
    struct elf e = open_elf();
    each_symbol(&e, false, look_at_call);
    tell();
}

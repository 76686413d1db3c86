/* SPDX-License-Identifier: MIT
 * box.c - a box file that was cut short, or says wrong things in its header or
 * its entry: refused with a reason, or opened as an entry that can be used.
 * What lies between is the linker's and code, which are trusted.
 *
 * Input: how much of the file is left (2 bytes, in 1/65536; 0 = all), then
 * patches of 4 bytes: what is patched, at which word, with which value.
 */
#include "fuzz.h"
#include <core/box/open.h>

#include <string.h>
#include <unistd.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

FUZZ_SEEDS("tests/fuzz/seeds/box");
FUZZ_WORDS();

#define CHECK(what) ((what) ? (void)0 : abort())

static struct {
    char bytes[1 << 20];
    size_t n, entry_at;
} file;

/* A box that has every kind of table, and where its entry is in the file. */
static void read_box(void)
{
    const char *path = "build/tests/boxes/three.so";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, file.bytes, sizeof file.bytes);
    CHECK(n > 0 && (size_t)n < sizeof file.bytes);
    file.n = (size_t)n;
    close(fd);
    void *handle = dlopen("build/tests/boxes/three.so", RTLD_NOW);
    struct link_map *map = NULL;
    CHECK(handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0);
    uintptr_t at = (uintptr_t)dlsym(handle, HAK_BOX_SYMBOL) - map->l_addr;
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)file.bytes;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(file.bytes + e->e_phoff);
    for (int i = 0; i < e->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && at - p[i].p_vaddr < p[i].p_filesz)
            file.entry_at = at - p[i].p_vaddr + p[i].p_offset;
    CHECK(file.entry_at != 0);
    dlclose(handle);
}

/* The scalars of an entry; its pointers are the linker's. */
static void patch(char *bytes, const uint8_t *by)
{
    static const size_t fields[] = {
        offsetof(struct hak_box_entry, magic),
        offsetof(struct hak_box_entry, abi_major),
        offsetof(struct hak_box_entry, struct_size),
        offsetof(struct hak_box_entry, host_minor_min),
        offsetof(struct hak_box_entry, param_bytes),
        offsetof(struct hak_box_entry, ops_at),
        offsetof(struct hak_box_entry, granule_bytes)};
    size_t field = fields[by[1] % (sizeof fields / sizeof fields[0])];
    if (by[0] % 2 == 0)
        memcpy(bytes + file.entry_at + field, by + 2, 2);
    else
        bytes[by[1] % offsetof(Elf64_Ehdr, e_phoff)] = (char)by[2];
}

static void use(const struct hak_box_entry *e)
{
    CHECK(e->ops.alloc != NULL && e->ops.free != NULL && e->ops.owns != NULL);
    CHECK(e->id[0] != 0 && e->version[0] != 0);
    for (uint32_t i = 0; i < e->nparams; i++)
        CHECK(e->params[i].name[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static char changed[sizeof file.bytes];
    char path[64], why[256] = "";
    void *handle;
    if (file.n == 0)
        read_box();
    if (n < 2)
        return 0;
    size_t part = (size_t)(bytes[0] | bytes[1] << 8);
    size_t length = part == 0 ? file.n : file.n * part >> 16;
    memcpy(changed, file.bytes, file.n);
    for (size_t i = 2; i + 4 <= n && i < 66; i += 4)
        patch(changed, bytes + i);
    int fd = memfd_create("box", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, changed, length) == (ssize_t)length);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct hak_box_entry *e =
        hak_box_file(path, &handle, why, sizeof why);
    CHECK((e == NULL) == (why[0] != 0));
    if (e != NULL) {
        use(e);
        dlclose(handle);
    }
    close(fd);
    return 0;
}

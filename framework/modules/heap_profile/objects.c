/* SPDX-License-Identifier: MIT
 * objects.c - the shared objects that frames of stacks lie in.
 *
 * _dl_find_object tells the object of an address without a lock. What is kept
 * of it is what symbols need later: its file, its build id, and where its code
 * was mapped. After a dlclose another object may come to the same address, and
 * even to the same struct link_map; the build id tells them apart.
 *
 * An object is read when one of its functions is in a stack, so nobody may
 * close it meanwhile.
 */
#include "heap_profile.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { OURS_MOST = 8, PAGE_BYTES = 4096 };

struct hak_profile_pool hak_profile_objects = {
    .item_bytes = sizeof(struct hak_profile_object)};
static struct hak_profile_index by_map;
const char *hak_profile_program = "", *hak_profile_command = "",
           *hak_profile_folder = "";
/* Where our own objects begin. Written at start. */
static uintptr_t ours_at[OURS_MOST];
static uint32_t nours;

static struct hak_profile_object *object_at(uint32_t i)
{
    return hak_profile_at(&hak_profile_objects, i);
}

/* ---- at start ------------------------------------------------------------ */

/* Where the library and its modules are linked into the program, as in tests,
 * their frames cannot be told from the program's. The program's object has no
 * name. */
static void note_ours(const void *address)
{
    struct dl_find_object found;
    if (nours < OURS_MOST &&
        _dl_find_object((void *)(uintptr_t)address, &found) == 0 &&
        found.dlfo_link_map->l_name[0] != 0)
        ours_at[nours++] = (uintptr_t)found.dlfo_map_start;
}

/* The path that the program was started by. It may be a link with another name
 * than the file, as redis-server is. */
static const char *name_of_command(void)
{
    const char *started = (const char *)getauxval(AT_EXECFN);
    if (started == NULL || started[0] != '/' ||
        strncmp(started, "/proc/", 6) == 0)
        return hak_profile_program;
    const char *text = hak_profile_text(started, "");
    return text != NULL ? text : hak_profile_program;
}

void hak_profile_objects_start(const void *const *ours)
{
    char path[PATH_MAX];
    for (; *ours != NULL; ours++)
        note_ours(*ours);
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    const char *text = hak_profile_text(path, "");
    hak_profile_program = text != NULL ? text : "";
    hak_profile_command = name_of_command();
    text =
        getcwd(path, sizeof path) != NULL ? hak_profile_text(path, "/") : NULL;
    hak_profile_folder = text != NULL ? text : "";
    hak_profile_object_of(getauxval(AT_ENTRY), HAK_PROFILE_NONE);
}

/* libhakmem-cxx.so and libhakmem-match.so have no part in this module. */
static bool is_ours(uintptr_t map_start, const char *name)
{
    static const char beside[] = "libhakmem-";
    const char *slash = strrchr(name, '/');
    for (uint32_t i = 0; i < nours; i++)
        if (ours_at[i] == map_start)
            return true;
    return strncmp(slash != NULL ? slash + 1 : name, beside,
                   sizeof beside - 1) == 0;
}

/* ---- reading an ELF object in memory ------------------------------------- */

struct headers {
    const Elf64_Phdr *header;
    uint32_t n;
    uintptr_t base; /* what addresses of the file are moved by */
    uintptr_t start, end;
};

/* The program headers, which nearly every object has in its first page. */
static struct headers read_headers(const struct dl_find_object *found)
{
    const Elf64_Ehdr *elf = found->dlfo_map_start;
    struct headers h = {.base = found->dlfo_link_map->l_addr,
                        .start = (uintptr_t)found->dlfo_map_start,
                        .end = (uintptr_t)found->dlfo_map_end};
    if (found->dlfo_link_map->l_name[0] == 0) {
        /* The program, whose first segment need not be the one with code. */
        h.header = (const Elf64_Phdr *)getauxval(AT_PHDR);
        h.n = h.header != NULL ? (uint32_t)getauxval(AT_PHNUM) : 0;
        return h;
    }
    if (h.end - h.start < PAGE_BYTES ||
        memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->e_phentsize != sizeof(Elf64_Phdr) || elf->e_phoff > PAGE_BYTES ||
        elf->e_phnum > (PAGE_BYTES - elf->e_phoff) / sizeof(Elf64_Phdr))
        return h;
    h.header = (const Elf64_Phdr *)(h.start + elf->e_phoff);
    h.n = elf->e_phnum;
    return h;
}

/* Note where the code around `address` is mapped. Without headers that is the
 * whole object. */
static void find_code(struct hak_profile_object *out, const struct headers *h,
                      uintptr_t address)
{
    out->start = h->start;
    out->limit = h->end;
    for (uint32_t i = 0; i < h->n; i++) {
        const Elf64_Phdr *p = &h->header[i];
        uintptr_t start = h->base + p->p_vaddr;
        if (p->p_type != PT_LOAD || address < start ||
            address - start >= p->p_memsz)
            continue;
        out->start = start & ~(uintptr_t)(PAGE_BYTES - 1);
        out->limit = hak_round_up(start + p->p_memsz, PAGE_BYTES);
        out->file_offset = p->p_offset & ~(uint64_t)(PAGE_BYTES - 1);
    }
}

/* Is [start, start + n) in a segment that can be read? */
static bool is_readable(const struct headers *h, uintptr_t start, size_t n)
{
    for (uint32_t i = 0; i < h->n; i++) {
        const Elf64_Phdr *p = &h->header[i];
        uintptr_t at = h->base + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_R) != 0 && start >= at &&
            start - at < p->p_filesz && n <= p->p_filesz - (start - at))
            return true;
    }
    return false;
}

/* Find the build id in the notes at [at, at + n). */
static bool find_id_in(struct hak_profile_object *out, const uint8_t *at,
                       size_t n)
{
    while (n >= sizeof(Elf64_Nhdr)) {
        const Elf64_Nhdr *note = (const Elf64_Nhdr *)(const void *)at;
        size_t name = hak_round_up(note->n_namesz, 4);
        size_t whole = sizeof *note + name + hak_round_up(note->n_descsz, 4);
        if (whole > n)
            return false;
        const uint8_t *text = at + sizeof *note;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(text, "GNU", 4) == 0) {
            out->id_bytes =
                (uint32_t)hak_min(note->n_descsz, HAK_PROFILE_ID_BYTES);
            out->id_there = text + name;
            memcpy(out->id, out->id_there, out->id_bytes);
            return true;
        }
        at += whole;
        n -= whole;
    }
    return false;
}

static void find_id(struct hak_profile_object *out, const struct headers *h)
{
    for (uint32_t i = 0; i < h->n; i++) {
        uintptr_t at = h->base + h->header[i].p_vaddr;
        size_t n = h->header[i].p_filesz;
        if (h->header[i].p_type == PT_NOTE && at % 4 == 0 &&
            is_readable(h, at, n) && find_id_in(out, (const uint8_t *)at, n))
            return;
    }
}

/* ---- objects ------------------------------------------------------------- */

struct wanted {
    uintptr_t address;
    const struct dl_find_object *found;
};

/* Is it the object that was found, with the code at that address? */
static bool is_object(uint32_t item, const void *key)
{
    const struct hak_profile_object *o = object_at(item);
    const struct wanted *w = key;
    return o->map == w->found->dlfo_link_map && w->address >= o->start &&
           w->address < o->limit &&
           o->map_start == (uintptr_t)w->found->dlfo_map_start &&
           o->map_end == (uintptr_t)w->found->dlfo_map_end &&
           (o->id_bytes == 0 || memcmp(o->id, o->id_there, o->id_bytes) == 0);
}

/* The absolute name of an object. The program's own is "". */
static const char *name_of(const struct link_map *map)
{
    const char *name = map->l_name;
    if (name[0] == 0)
        return hak_profile_program;
    if (strcmp(name, "linux-vdso.so.1") == 0)
        return "[vdso]";
    return name[0] == '/' ? hak_profile_text(name, "")
                          : hak_profile_text(hak_profile_folder, name);
}

static uint32_t add_object(const struct wanted *w, uint32_t hash)
{
    struct hak_profile_object o = {
        .map = w->found->dlfo_link_map,
        .map_start = (uintptr_t)w->found->dlfo_map_start,
        .map_end = (uintptr_t)w->found->dlfo_map_end,
    };
    struct headers h = read_headers(w->found);
    find_code(&o, &h, w->address);
    find_id(&o, &h);
    o.ours = is_ours(o.map_start, o.map->l_name);
    o.name = hak_profile_index_room(&by_map) ? name_of(o.map) : NULL;
    if (o.name == NULL)
        return HAK_PROFILE_NONE;
    uint32_t i = hak_profile_add(&hak_profile_objects, 1);
    if (i == HAK_PROFILE_NONE)
        return i;
    *object_at(i) = o;
    hak_profile_index_add(&by_map, hash, i);
    return i;
}

uint32_t hak_profile_object_of(uintptr_t address, uint32_t near)
{
    struct dl_find_object found;
    const struct wanted w = {address, &found};
    if (near != HAK_PROFILE_NONE && address >= object_at(near)->start &&
        address < object_at(near)->limit)
        return near;
    if (_dl_find_object((void *)address, &found) != 0)
        return HAK_PROFILE_NONE;
    uint32_t hash = hak_profile_hash((uintptr_t)found.dlfo_link_map, 0);
    uint32_t i = hak_profile_find(&by_map, hash, is_object, &w);
    return i != HAK_PROFILE_NONE ? i : add_object(&w, hash);
}

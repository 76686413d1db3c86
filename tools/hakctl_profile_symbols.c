/* SPDX-License-Identifier: MIT
 * hakctl_profile_symbols.c - addresses to functions and lines, by elfutils'
 * libdw.
 *
 * Each library is a Dwfl of its own at its own addresses, so that two that were
 * mapped at one place, one after the other, do not get into each other's way.
 * An address of the process becomes one of the library by way of its offset in
 * the file. libdw finds separate debug files by build id and by .gnu_debuglink,
 * and asks servers only while DEBUGINFOD_URLS is set.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pf_library {
    const char *file, *build_id; /* of pf_keep */
    Dwfl *dwfl;
    Dwfl_Module *module; /* NULL: no symbols */
};

/* ---- opening ------------------------------------------------------------- */

static const char deleted[] = " (deleted)";

/* The name of a file in /proc/PID/maps, without what the kernel adds. */
static const char *path_of(const char *file)
{
    size_t n = strlen(file), m = sizeof deleted - 1;
    if (n <= m || strcmp(file + n - m, deleted) != 0)
        return file;
    char *path = strndup(file, n - m);
    const char *kept = pf_keep(path);
    free(path);
    return kept;
}

static void id_text(char *out, size_t bytes, const unsigned char *id, int n)
{
    out[0] = 0;
    for (int i = 0; i < n && (size_t)i * 2 + 2 < bytes; i++)
        snprintf(out + (ptrdiff_t)i * 2, 3, "%02x", id[i]);
}

/* Has the opened file that build id? Otherwise says so. */
static bool is_same_build(const struct pf_library *l, const char *path)
{
    const unsigned char *id;
    GElf_Addr at;
    char text[130];
    int n = dwfl_module_build_id(l->module, &id, &at);
    if (l->build_id[0] == 0)
        return true;
    id_text(text, sizeof text, id, n > 0 ? n : 0);
    if (strcmp(text, l->build_id) == 0)
        return true;
    ctl_say("%s: build id %s, but the profile is of build id %s; its functions "
            "are shown as addresses",
            path, n > 0 ? text : "none", l->build_id);
    return false;
}

static void open_library(struct pf_library *l)
{
    static char *no_path; /* the default: .debug beside it, /usr/lib/debug */
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
        .section_address = dwfl_offline_section_address,
        .debuginfo_path = &no_path,
    };
    const char *path = path_of(l->file);
    if (path[0] != '/') /* [vdso], //anon, or nothing */
        return;
    l->dwfl = dwfl_begin(&callbacks);
    if (l->dwfl == NULL)
        ctl_die("libdw: %s", dwfl_errmsg(-1));
    if (access(path, R_OK) != 0) {
        ctl_say("%s: %s; its functions are shown as addresses", path,
                strerror(errno));
        return;
    }
    dwfl_report_begin(l->dwfl);
    l->module = dwfl_report_elf(l->dwfl, path, path, -1, 0, true);
    dwfl_report_end(l->dwfl, NULL, NULL);
    if (l->module == NULL)
        ctl_say("%s: %s; its functions are shown as addresses", path,
                dwfl_errmsg(-1));
    else if (!is_same_build(l, path))
        l->module = NULL;
}

struct pf_library *pf_library(const char *file, const char *build_id)
{
    static struct pf_set set;
    static struct pf_library **all;
    const char *key[2] = {pf_keep(file), pf_keep(build_id)};
    uint32_t n = set.n, i = pf_set_add(&set, key, sizeof key);
    if (i == n || all == NULL) {
        all = pf_grow(all, n, sizeof(struct pf_library *));
        all[n] = calloc(1, sizeof **all);
        if (all[n] == NULL)
            ctl_die("no memory for the profile");
        *all[n] = (struct pf_library){.file = key[0], .build_id = key[1]};
        open_library(all[n]);
    }
    return all[i]->module != NULL ? all[i] : NULL;
}

/* A program that is not position-independent lies where its file says. */
uint64_t pf_library_address(struct pf_library *l, uint64_t address,
                            uint64_t offset)
{
    GElf_Addr bias = 0;
    GElf_Ehdr header;
    size_t n = 0;
    Elf *elf = dwfl_module_getelf(l->module, &bias);
    if (elf == NULL || elf_getphdrnum(elf, &n) != 0 ||
        gelf_getehdr(elf, &header) == NULL)
        return offset;
    if (header.e_type == ET_EXEC)
        return address;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (gelf_getphdr(elf, (int)i, &p) != NULL && p.p_type == PT_LOAD &&
            offset >= p.p_offset && offset - p.p_offset < p.p_filesz)
            return offset - p.p_offset + p.p_vaddr + bias;
    }
    return offset;
}

/* ---- functions ----------------------------------------------------------- */

/* The unit of debug information that contains an address. Where the file has no
 * .debug_aranges, as from clang and rustc, libdw 0.188 finds none by itself. */
static Dwarf_Die *unit_of(Dwfl_Module *module, Dwarf_Addr address,
                          Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(module, address, bias);
    if (unit != NULL)
        return unit;
    while ((unit = dwfl_module_nextcu(module, unit, bias)) != NULL)
        if (dwarf_haspc(unit, address - *bias) > 0)
            return unit;
    return NULL;
}

/* The definition or declaration that a function's entry refers to. */
static Dwarf_Die origin_of(Dwarf_Die die)
{
    Dwarf_Attribute a;
    Dwarf_Die next;
    for (int i = 0; i < 8; i++) {
        if (dwarf_attr(&die, DW_AT_abstract_origin, &a) == NULL &&
            dwarf_attr(&die, DW_AT_specification, &a) == NULL)
            break;
        if (dwarf_formref_die(&a, &next) == NULL)
            break;
        die = next;
    }
    return die;
}

/* The name of a namespace, class or function around another function; NULL: the
 * entry is none of these. Only lambdas are functions of a class without a
 * name. */
static const char *scope_name(Dwarf_Die *die)
{
    const char *name = dwarf_diename(die);
    switch (dwarf_tag(die)) {
    case DW_TAG_namespace:
        return name != NULL ? name : "(anonymous namespace)";
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
        return name != NULL ? name : "{lambda}";
    case DW_TAG_subprogram:
        return name;
    default:
        return NULL;
    }
}

/* Print what is around a function, each with "::". */
static void print_scopes(FILE *out, Dwarf_Die *function)
{
    Dwarf_Die origin = origin_of(*function), *scopes = NULL;
    int n = dwarf_getscopes_die(&origin, &scopes);
    for (int i = n - 1; i > 0; i--) {
        const char *name = scope_name(&scopes[i]);
        if (name != NULL)
            fprintf(out, "%s::", name);
    }
    free(scopes);
}

static bool is_of_c(Dwarf_Die *unit)
{
    int language = dwarf_srclang(unit);
    return language == DW_LANG_C || language == DW_LANG_C89 ||
           language == DW_LANG_C99 || language == DW_LANG_C11 ||
           language == DW_LANG_Mips_Assembler;
}

/* The name in the tables of the file, which tells functions of C++ and Rust
 * apart; else the name in the source, with its namespaces. Static functions
 * that are inlined everywhere have no other. */
static const char *name_of(Dwarf_Die *unit, Dwarf_Die *die)
{
    Dwarf_Attribute a;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &a) != NULL ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &a) != NULL)
        name = dwarf_formstring(&a);
    if (name != NULL)
        return name;
    name = dwarf_diename(die);
    if (name == NULL || is_of_c(unit))
        return name;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        ctl_die("no memory for the profile");
    print_scopes(out, die);
    fputs(name, out);
    if (fclose(out) != 0)
        ctl_die("no memory for the profile");
    name = pf_keep(text);
    free(text);
    return name;
}

/* Where an inlined function was called. */
static void call_place(Dwarf_Die *unit, Dwarf_Die *inlined,
                       struct pf_found *out)
{
    Dwarf_Attribute a;
    Dwarf_Word file = 0, line = 0;
    Dwarf_Files *files;
    size_t n;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &a), &file) == 0 &&
        dwarf_getsrcfiles(unit, &files, &n) == 0 && file < n)
        out->file = dwarf_filesrc(files, file, NULL, NULL);
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &a), &line) == 0)
        out->line = line;
}

/* Is the entry one that has functions in it? */
static bool is_container(Dwarf_Die *die, bool types)
{
    switch (dwarf_tag(die)) {
    case DW_TAG_namespace:
    case DW_TAG_module:
        return true;
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type:
        return types;
    default:
        return false;
    }
}

/* Find the function that contains an address, in an entry and its namespaces.
 * libdw's dwarf_getscopes looks into no namespace, where those of Rust are.
 * types: look into types too, which are many. */
static bool find_function(Dwarf_Die *parent, Dwarf_Addr pc, bool types,
                          int depth, Dwarf_Die *out)
{
    enum { DEPTH_MOST = 64 };
    Dwarf_Die die;
    if (depth == DEPTH_MOST || dwarf_child(parent, &die) != 0)
        return false;
    do {
        if (dwarf_tag(&die) == DW_TAG_subprogram && dwarf_haspc(&die, pc) > 0) {
            *out = die;
            return true;
        }
        if (is_container(&die, types) &&
            find_function(&die, pc, types, depth + 1, out))
            return true;
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

/* The block or inlined function of an entry that contains an address. */
static bool find_inner(Dwarf_Die *parent, Dwarf_Addr pc, Dwarf_Die *out)
{
    if (dwarf_child(parent, out) != 0)
        return false;
    do {
        int tag = dwarf_tag(out);
        if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
             tag == DW_TAG_try_block || tag == DW_TAG_catch_block) &&
            dwarf_haspc(out, pc) > 0)
            return true;
    } while (dwarf_siblingof(out, out) == 0);
    return false;
}

/* The functions at an address, outermost first. Returns how many. */
static size_t functions_at(Dwarf_Die *unit, Dwarf_Addr pc,
                           Dwarf_Die out[PF_INLINED_MOST])
{
    Dwarf_Die die;
    size_t n = 0;
    if (!find_function(unit, pc, false, 0, &die) &&
        !find_function(unit, pc, true, 0, &die))
        return 0;
    do {
        Dwarf_Die inner;
        if (dwarf_tag(&die) != DW_TAG_lexical_block &&
            dwarf_tag(&die) != DW_TAG_try_block &&
            dwarf_tag(&die) != DW_TAG_catch_block)
            out[n++] = die;
        if (!find_inner(&die, pc, &inner))
            break;
        die = inner;
    } while (n < PF_INLINED_MOST);
    return n;
}

/* The line of an address. */
static struct pf_found line_of(Dwarf_Die *unit, Dwarf_Addr pc)
{
    struct pf_found place = {0};
    int number = 0;
    Dwarf_Line *line = dwarf_getsrc_die(unit, pc);
    if (line == NULL)
        return place;
    place.file = dwarf_linesrc(line, NULL, NULL);
    if (dwarf_lineno(line, &number) == 0)
        place.line = (uint64_t)number;
    return place;
}

static size_t find_inlined(Dwfl_Module *module, uint64_t address,
                           struct pf_found *out)
{
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_of(module, address, &bias), at[PF_INLINED_MOST];
    if (unit == NULL)
        return 0;
    struct pf_found place = line_of(unit, address - bias);
    size_t n = functions_at(unit, address - bias, at);
    for (size_t i = 0; i < n; i++) {
        Dwarf_Die *die = &at[n - 1 - i];
        out[i] = place;
        out[i].name = name_of(unit, die);
        place = (struct pf_found){0};
        call_place(unit, die, &place);
    }
    if (n == 0 && place.line != 0) /* code of an assembler has lines only */
        out[n++] = place;
    return n;
}

/* The name of the symbol that contains an address. Without a size, as
 * assemblers write some, it reaches up to the next one: only a small distance
 * is believed, since the next one may be stripped. */
static const char *symbol_at(Dwfl_Module *module, uint64_t address)
{
    enum { UNSIZED_BYTES = 4096 };
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(module, address, &offset, &symbol,
                                            NULL, NULL, NULL);
    if (name == NULL)
        return NULL;
    uint64_t size = symbol.st_size != 0 ? symbol.st_size : UNSIZED_BYTES;
    return offset < size ? name : NULL;
}

size_t pf_library_find(struct pf_library *l, uint64_t address,
                       struct pf_found *out)
{
    size_t n = find_inlined(l->module, address, out);
    if (n == 0)
        out[n++] = (struct pf_found){0};
    if (out[n - 1].name == NULL)
        out[n - 1].name = symbol_at(l->module, address);
    return out[n - 1].name != NULL || n > 1 ? n : 0;
}

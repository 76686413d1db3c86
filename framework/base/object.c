/* SPDX-License-Identifier: MIT
 * object.c - finds a loaded ELF object and looks up its own symbols. */
#include <base/object.h>

#include <dlfcn.h>
#include <string.h>

bool hak_object_of(const void *p, struct hak_object *out)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)(uintptr_t)p, &found) != 0)
        return false;
    *out = (struct hak_object){
        .base = found.dlfo_link_map->l_addr,
        .dynamic = found.dlfo_link_map->l_ld,
        .start = found.dlfo_map_start,
        .end = found.dlfo_map_end,
    };
    return true;
}

/* The address of a table of the dynamic section, or NULL. glibc has relocated
 * these entries when it loaded the object, but not those of the vDSO: an
 * address below the load bias still needs it. */
static const void *dynamic_table(const struct hak_object *object, int64_t tag)
{
    for (const ElfW(Dyn) *d = object->dynamic; d->d_tag != DT_NULL; d++)
        if (d->d_tag == tag) {
            uintptr_t at = d->d_un.d_ptr;
            return (const void *)(at < object->base ? at + object->base : at);
        }
    return NULL;
}

/*
 * The header of DT_GNU_HASH. Behind it are the Bloom filter, the buckets (the
 * index of the first symbol of each), and one hash for each symbol. Bit 0 of a
 * hash is set in the last symbol of a bucket.
 */
struct gnu_hash {
    uint32_t nbuckets, first_symbol, nfilters, shift;
};

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != 0; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

static bool may_have(const struct gnu_hash *head, uint32_t hash)
{
    const ElfW(Addr) *filter = (const ElfW(Addr) *)(head + 1);
    const uint32_t bits = 8 * sizeof *filter;
    ElfW(Addr) word = filter[hash / bits % head->nfilters];
    return word >> hash % bits & word >> (hash >> head->shift) % bits & 1;
}

static bool is_defined(const ElfW(Sym) * symbol, unsigned char type)
{
    return symbol->st_shndx != SHN_UNDEF &&
           ELF64_ST_TYPE(symbol->st_info) == type;
}

/* The symbol of that type; NULL: the object defines none. */
static const ElfW(Sym) * find_symbol(const struct hak_object *object,
                                     const char *name, unsigned char type)
{
    const struct gnu_hash *head = dynamic_table(object, DT_GNU_HASH);
    const ElfW(Sym) *symbols = dynamic_table(object, DT_SYMTAB);
    const char *texts = dynamic_table(object, DT_STRTAB);
    uint32_t hash = hash_of(name);
    if (head == NULL || symbols == NULL || texts == NULL ||
        head->nbuckets == 0 || !may_have(head, hash))
        return NULL;
    const uint32_t *bucket =
        (const uint32_t *)((const ElfW(Addr) *)(head + 1) + head->nfilters);
    const uint32_t *chain = bucket + head->nbuckets;
    uint32_t i = bucket[hash % head->nbuckets];
    if (i < head->first_symbol)
        return NULL;
    for (;; i++) {
        uint32_t here = chain[i - head->first_symbol];
        const ElfW(Sym) *symbol = &symbols[i];
        if ((here | 1) == (hash | 1) && is_defined(symbol, type) &&
            strcmp(texts + symbol->st_name, name) == 0)
            return symbol;
        if (here & 1)
            return NULL;
    }
}

void *hak_object_symbol(const struct hak_object *object, const char *name)
{
    const ElfW(Sym) *symbol = find_symbol(object, name, STT_FUNC);
    return symbol != NULL ? (void *)(object->base + symbol->st_value) : NULL;
}

void *hak_object_variable(const struct hak_object *object, const char *name,
                          size_t size_bytes)
{
    const ElfW(Sym) *symbol = find_symbol(object, name, STT_OBJECT);
    return symbol != NULL && symbol->st_size == size_bytes
               ? (void *)(object->base + symbol->st_value)
               : NULL;
}

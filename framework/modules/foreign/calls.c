/* SPDX-License-Identifier: MIT
 * calls.c - opens libraries, binds and makes calls, makes closures; the only
 * file that uses libffi.
 *
 * The file uses neither boxes nor the core, so the conformance suite links it
 * as well. libffi is linked statically, so that a preload stays one file.
 */
#include <base/elf_file.h>
#include <base/os.h>
#include <modules/foreign/foreign.h>
#include <base/why.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ffi.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

struct prepared {
    ffi_cif cif;
    ffi_type *types[HAK_CALL_PARAMS];
};
_Static_assert(sizeof(struct prepared) <= sizeof((struct hak_bound *)0)->cif,
               "hak_bound.cif holds it");

/* ---- libraries ----------------------------------------------------------- */

/* Set why to the loader's message; for a lack of static TLS, also to what the
 * user can do. */
static void say_unloaded(const char *path, const char *error, char *why,
                         size_t n)
{
    if (error == NULL)
        error = "the loader does not say why";
    if (strstr(error, "static TLS") != NULL)
        hak_refuse(
            -EINVAL, why, n,
            "%s needs more static TLS than this process has left; start it "
            "by hakctl run, or with "
            "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384",
            path);
    else
        hak_refuse(-EINVAL, why, n, "cannot be loaded: %s", error);
}

/* Check the file before the loader sees it. The loader crashes on a truncated
 * file, and reports a file for another machine as missing. */
static bool may_open(const char *path, char *why, size_t n)
{
    char what[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return true; /* the loader will report it */
    int error = hak_elf_check(fd, what, sizeof what);
    close(fd);
    if (error != 0)
        hak_refuse(error, why, n, "%s %s", path, what);
    return error == 0;
}

/*
 * Load libstdc++ by itself, before an allocator that depends on it.
 * A library that dlopen brings resolves names in the program first, and then in
 * the library that brought it. If jemalloc or tcmalloc, which define operator
 * new, brings libstdc++, then libstdc++ allocates by that operator new and
 * frees by free(), which the core serves. Loaded by itself, libstdc++ uses its
 * own operator new. Where there is no libstdc++, no allocator needs it.
 */
static void open_libstdcxx(void)
{
    if (dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL) == NULL)
        (void)dlerror(); /* clear the error: it is not the program's */
}

void *hak_ffi_open(const char *path, char *why, size_t why_bytes)
{
    if (getauxval(AT_SECURE) != 0 && strchr(path, '/') != NULL) {
        hak_refuse(-EINVAL, why, why_bytes,
                   "%s: with raised rights only a name without \"/\" is taken",
                   path);
        return NULL;
    }
    if (strchr(path, '/') != NULL && !may_open(path, why, why_bytes))
        return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (library == NULL) {
        open_libstdcxx();
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == NULL)
        say_unloaded(path, dlerror(), why, why_bytes);
    return library;
}

/* ---- binding ------------------------------------------------------------- */

static ffi_type *ffi_type_of(uint32_t type)
{
    static ffi_type *const map[HAK_TYPES] = {
        [HAK_TYPE_VOID] = &ffi_type_void,   [HAK_TYPE_BOOL] = &ffi_type_uint8,
        [HAK_TYPE_I32] = &ffi_type_sint32,  [HAK_TYPE_U32] = &ffi_type_uint32,
        [HAK_TYPE_I64] = &ffi_type_sint64,  [HAK_TYPE_U64] = &ffi_type_uint64,
        [HAK_TYPE_SIZE] = &ffi_type_uint64, [HAK_TYPE_PTR] = &ffi_type_pointer,
        [HAK_TYPE_F64] = &ffi_type_double,  [HAK_TYPE_CSTR] = &ffi_type_pointer,
    };
    return map[type];
}

static ffi_type *param_type(const struct hak_call_param *p)
{
    return p->from == HAK_FROM_OUT ? &ffi_type_pointer : ffi_type_of(p->type);
}

/* Read a value of a type from memory and extend it to a scalar. */
static union hak_scalar load_scalar(uint32_t type, const void *at)
{
    union hak_scalar s = {.u = 0};
    int32_t i32;
    switch (type) {
    case HAK_TYPE_VOID:
        break;
    case HAK_TYPE_BOOL:
        s.u = *(const uint8_t *)at != 0;
        break;
    case HAK_TYPE_I32:
        memcpy(&i32, at, sizeof i32);
        s.i = i32;
        break;
    case HAK_TYPE_U32:
        memcpy(&s.u, at, sizeof(uint32_t));
        break;
    default:
        memcpy(&s.u, at, sizeof s.u);
    }
    return s;
}

static void *find_symbol(void *library, const char *name, char *why, size_t n)
{
    void *found = dlsym(library, name);
    if (found == NULL)
        hak_refuse(-EINVAL, why, n,
                   "the library has no symbol \"%s\"; nm -D FILE lists them",
                   name);
    return found;
}

static bool is_variable(const void *at)
{
    Dl_info object;
    void *extra = NULL;
    if (dladdr1(at, &object, &extra, RTLD_DL_SYMENT) == 0 || extra == NULL)
        return false;
    const ElfW(Sym) *entry = extra;
    return object.dli_saddr == at &&
           ELF64_ST_TYPE(entry->st_info) == STT_OBJECT;
}

/* Fill in the cell of parameter i. Returns 0; -ENOENT: no such symbol. */
static int fill_cell(void *library, struct hak_bound *b, uint32_t i, char *why,
                     size_t n)
{
    const struct hak_call_param *p = &b->call.param[i];
    const char *name = b->call.strings + p->name;
    b->cell[i] = p->value;
    if (p->from == HAK_FROM_CONSTANT && p->type == HAK_TYPE_CSTR)
        b->cell[i].p = name;
    if (p->from != HAK_FROM_VARIABLE && p->from != HAK_FROM_ADDRESS)
        return 0;
    const void *found = find_symbol(library, name, why, n);
    if (found == NULL)
        return -ENOENT;
    if (p->from == HAK_FROM_VARIABLE)
        b->cell[i] = load_scalar(p->type, found);
    else
        b->cell[i].p = found;
    return 0;
}

static int prepare_cif(struct hak_bound *b, char *why, size_t n)
{
    struct prepared *p = (struct prepared *)b->cif;
    const struct hak_call *call = &b->call;
    for (uint32_t i = 0; i < call->nparams; i++)
        p->types[i] = param_type(&call->param[i]);
    ffi_type *type = ffi_type_of(call->result);
    ffi_status status =
        call->variadic
            ? ffi_prep_cif_var(&p->cif, FFI_DEFAULT_ABI, call->nfixed,
                               call->nparams, type, p->types)
            : ffi_prep_cif(&p->cif, FFI_DEFAULT_ABI, call->nparams, type,
                           p->types);
    return status == FFI_OK ? 0
                            : hak_refuse(-EINVAL, why, n,
                                         "libffi refuses the signature "
                                         "of %s (status %d)",
                                         call->symbol, (int)status);
}

int hak_ffi_bind(void *library, const struct hak_call *call,
                 struct hak_bound *out, char *why, size_t why_bytes)
{
    memset(out, 0, sizeof *out);
    out->call = *call;
    out->function = find_symbol(library, call->symbol, why, why_bytes);
    if (out->function == NULL)
        return -ENOENT;
    if (is_variable(out->function))
        return hak_refuse(-EINVAL, why, why_bytes,
                          "\"%s\" of the library is a variable, no function",
                          call->symbol);
    for (uint32_t i = 0; i < call->nparams; i++) {
        int error = fill_cell(library, out, i, why, why_bytes);
        if (error != 0)
            return error;
    }
    return prepare_cif(out, why, why_bytes);
}

/* ---- calling ------------------------------------------------------------- */

void hak_ffi_call(const struct hak_bound *bound, union hak_scalar *cell,
                  union hak_scalar *result)
{
    const struct hak_call *call = &bound->call;
    void *values[HAK_CALL_PARAMS];
    void *out[HAK_CALL_PARAMS];
    union {
        ffi_arg small; /* integers come widened to this */
        double d;
    } raw = {0};
    void (*function)(void);
    memcpy(&function, &bound->function, sizeof function);
    for (uint32_t i = 0; i < call->nparams; i++) {
        out[i] = &cell[i];
        values[i] = call->param[i].from == HAK_FROM_OUT ? (void *)&out[i]
                                                        : (void *)&cell[i];
    }
    ffi_call((ffi_cif *)(uintptr_t)bound->cif, function, &raw, values);
    for (uint32_t i = 0; i < call->nparams; i++)
        if (call->param[i].from == HAK_FROM_OUT)
            cell[i] = load_scalar(call->param[i].type, &cell[i]);
    *result = load_scalar(call->result, &raw);
}

/* ---- being called -------------------------------------------------------- */

/* A closure fills a page of its own: libffi's code, then the data that the code
 * needs. */
struct closure {
    ffi_closure code;
    ffi_cif cif;
    ffi_type *types[HAK_CALL_PARAMS];
    struct hak_call call;
    hak_closure_fn *run;
    void *context;
};
enum { CLOSURE_BYTES = 4096 };
_Static_assert(sizeof(struct closure) <= CLOSURE_BYTES, "a page holds it");

static void enter_closure(ffi_cif *cif, void *result, void **values, void *at)
{
    const struct closure *c = at;
    union hak_scalar cell[HAK_CALL_PARAMS], out = {.u = 0};
    (void)cif;
    for (uint32_t i = 0; i < c->call.nparams; i++) {
        const struct hak_call_param *p = &c->call.param[i];
        cell[i] = load_scalar(p->from == HAK_FROM_OUT ? HAK_TYPE_PTR : p->type,
                              values[i]);
    }
    c->run(c->context, cell, &out);
    if (c->call.result != HAK_TYPE_VOID)
        memcpy(result, &out, sizeof out); /* libffi wants widened integers */
}

/* Map the page of fd readable and executable, and fill it with *c. The page is
 * written through fd only, before and after ffi_prep_closure_loc, so there is
 * never a mapping that is both writable and executable. */
static int fill_closure(int fd, struct closure *c, struct closure **at)
{
    if (ftruncate(fd, CLOSURE_BYTES) != 0)
        return -errno;
    void *p =
        mmap(NULL, CLOSURE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *at = p;
    c->cif.arg_types = (*at)->types;
    if (pwrite(fd, c, sizeof *c, 0) != (ssize_t)sizeof *c ||
        ffi_prep_closure_loc(&c->code, &(*at)->cif, enter_closure, p, p) !=
            FFI_OK ||
        pwrite(fd, c, sizeof *c, 0) != (ssize_t)sizeof *c) {
        munmap(p, CLOSURE_BYTES);
        return -EIO;
    }
    return 0;
}

/*
 * libffi's own ffi_closure_alloc will not do: in the build of Debian 12 it maps
 * memory that is writable and executable at once.
 */
void *hak_ffi_closure(const struct hak_call *call, hak_closure_fn *run,
                      void *context, char *why, size_t why_bytes)
{
    struct closure c = {.call = *call, .run = run, .context = context},
                   *at = NULL;
    ffi_type *type = ffi_type_of(call->result);
    for (uint32_t i = 0; i < call->nparams; i++)
        c.types[i] = param_type(&call->param[i]);
    if (call->variadic || ffi_prep_cif(&c.cif, FFI_DEFAULT_ABI, call->nparams,
                                       type, c.types) != FFI_OK) {
        hak_refuse(-EINVAL, why, why_bytes,
                   "libffi makes no function like %s: \"...\" cannot be in it",
                   call->symbol);
        return NULL;
    }
    /* RLIMIT_FSIZE holds for such a file too. */
    struct hak_os_limit limit;
    hak_os_limit_begin(&limit);
    int fd = memfd_create("hakmem-closure", MFD_CLOEXEC);
    int error = fd < 0 ? -errno : fill_closure(fd, &c, &at);
    hak_os_limit_end(&limit, error);
    if (fd >= 0)
        close(fd);
    if (error == 0)
        return at;
    hak_refuse(error, why, why_bytes, "no memory that can be executed: %s",
               strerror(-error));
    return NULL;
}

const struct hak_foreign_host_1 hak_ffi_table = {
    HAK_FFI_FUNCTIONS,
};

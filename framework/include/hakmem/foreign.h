/* SPDX-License-Identifier: MIT
 * foreign.h - calls of another library's functions, described by text.
 *
 *     mallocx(size, i32:0) -> ptr
 *     posix_memalign(out ptr, align, size) -> i32 == 0
 *     mallctl(cstr:"opt.narenas", out u32, out size:4, ptr:0, size:0) -> i32
 *
 * docs/foreign.md has the grammar. Lifecycle of a call:
 *
 *   parse   once: text -> struct hak_call (hak_call_parse)
 *   bind    once: look up the symbol, prepare a libffi cif -> struct hak_bound
 *   call    any number of times
 *
 * Two tables have the name "hak.foreign/1". The host offers one to boxes
 * (struct hak_foreign_host_1). The box `foreign` offers the other to the core
 * (struct hak_foreign_box_1): it tells what the core must know of a box whose
 * slots are another allocator's.
 *
 * Only hak_foreign_host_1.open allocates, since the loader does.
 */
#ifndef HAKMEM_FOREIGN_H
#define HAKMEM_FOREIGN_H

#include <hakmem/box.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAK_FOREIGN_1 "hak.foreign/1"

enum {
    HAK_CALL_PARAMS = 12,        /* most parameters of a call */
    HAK_CALL_SYMBOL_BYTES = 64,  /* longest symbol, with the NUL */
    HAK_CALL_STRING_BYTES = 128, /* all strings of a call, with their NULs */
    HAK_CALL_KEPT = 8,           /* most values kept for later calls */
};

enum hak_type {
    HAK_TYPE_VOID, /* a result only */
    HAK_TYPE_BOOL, /* C's _Bool */
    HAK_TYPE_I32,
    HAK_TYPE_U32,
    HAK_TYPE_I64,
    HAK_TYPE_U64,
    HAK_TYPE_SIZE, /* size_t */
    HAK_TYPE_PTR,
    HAK_TYPE_F64,  /* double */
    HAK_TYPE_CSTR, /* const char *, NUL-terminated */
    HAK_TYPES,
};

/* The source of a parameter's value. */
enum hak_from {
    HAK_FROM_CALLER,   /* TYPE or a role: the caller gives it at each call */
    HAK_FROM_CONSTANT, /* TYPE:VALUE */
    HAK_FROM_VARIABLE, /* TYPE:*NAME, the value of the library's variable NAME
                          at binding */
    HAK_FROM_ADDRESS,  /* ptr:&NAME, the address of the library's NAME */
    HAK_FROM_OUT,      /* out TYPE: the function gets the address of a cell and
                          fills it; out TYPE:VALUE sets the cell before */
    HAK_FROM_KEPT,     /* TYPE:$NAME*N+M, the value that an earlier call kept as
                          NAME, times N plus M. N and M are in value.kept;
                          default: 1 and 0 */
};

/* The meaning of a value from the caller. */
enum hak_role {
    HAK_ROLE_NONE,        /* a plain value of its type: i32, cstr ... */
    HAK_ROLE_SIZE,        /* size: bytes asked for */
    HAK_ROLE_PTR,         /* ptr: the block */
    HAK_ROLE_ALIGN,       /* align, of type size: the alignment in bytes */
    HAK_ROLE_REGION,      /* region, of type ptr: memory of the window that is
                             handed to the library */
    HAK_ROLE_REGION_SIZE, /* region_size, of type size: the region's bytes */
    HAK_ROLE_HOOKS,       /* hooks, of type ptr: the box's table of functions
                             for the library; with OUT a cell that holds it */
};

/* One value. Integers are sign- or zero-extended by their type. */
union hak_scalar {
    int64_t i;
    uint64_t u;
    double d;
    const void *p; /* PTR, CSTR */
    struct {
        uint32_t times, plus;
    } kept; /* of a HAK_FROM_KEPT parameter */
};

struct hak_call_param {
    uint8_t type; /* enum hak_type */
    uint8_t from; /* enum hak_from */
    uint8_t role; /* enum hak_role */
    uint8_t name; /* VARIABLE, ADDRESS, KEPT, a CSTR constant: offset of the
                     text in hak_call.strings */
    uint8_t keep; /* OUT =NAME: 1 + offset of NAME in strings; 0 = not kept */
    union hak_scalar value; /* CONSTANT, OUT, KEPT */
};

enum hak_test {
    HAK_TEST_NONE,
    HAK_TEST_EQUAL,         /* == N */
    HAK_TEST_NOT_EQUAL,     /* != N */
    HAK_TEST_LESS,          /* < N */
    HAK_TEST_LESS_EQUAL,    /* <= N */
    HAK_TEST_GREATER,       /* > N */
    HAK_TEST_GREATER_EQUAL, /* >= N */
    HAK_TEST_MULTIPLE,      /* % N: a multiple of N; N is not 0 */
};

/* A parsed call. It has no pointers, so it may be copied. */
struct hak_call {
    char symbol[HAK_CALL_SYMBOL_BYTES];
    uint8_t nparams;
    uint8_t nfixed; /* parameters before "..."; without "...", nparams */
    bool variadic;
    uint8_t result; /* enum hak_type */
    uint8_t test;   /* enum hak_test: the result of a call that succeeded */
    uint8_t keep;   /* for the result, as in hak_call_param */
    union hak_scalar test_value;
    struct hak_call_param param[HAK_CALL_PARAMS];
    char strings[HAK_CALL_STRING_BYTES];
};

/*
 * A call bound to a library. It must not be moved, since pointers lead to its
 * cif and strings.
 *
 * cell  the function's arguments, by parameter. For each call, copy the array
 *       and fill in the parameters that are HAK_FROM_CALLER.
 * cif   for libffi, private
 */
struct hak_bound {
    struct hak_call call;
    void *function;
    union hak_scalar cell[HAK_CALL_PARAMS];
    uint64_t cif[24];
};

/* Values that calls kept under a name (=NAME) for later calls ($NAME). */
struct hak_kept {
    uint32_t n;
    struct {
        char name[HAK_CALL_SYMBOL_BYTES];
        uint64_t value;
    } at[HAK_CALL_KEPT];
};

/*
 * hak_call_parse - parse the first call of a list.              [any thread]
 * text     is moved past the call and the "," after it; after the last call,
 *          to the NUL at the end
 * Returns  0; -EINVAL: why says what was expected at which character, and *text
 *          and *out are undefined
 */
int hak_call_parse(const char **text, struct hak_call *out, char *why,
                   size_t why_bytes);

/*
 * hak_call_arguments - parse the caller's values from a text such as
 * "(1, "x", 0x10)".                                             [any thread]
 * text     has one value for each parameter that is HAK_FROM_CALLER, in order
 * cell     room for call->nparams cells; the caller's are filled in
 * strings  room for HAK_CALL_STRING_BYTES; CSTR cells point into it
 * Returns  0; -EINVAL, why as above
 */
int hak_call_arguments(const char *text, const struct hak_call *call,
                       union hak_scalar *cell, char *strings, char *why,
                       size_t why_bytes);

/* Does a result pass the call's test? True if the call has none. Pure. */
bool hak_call_passed(const struct hak_call *call, union hak_scalar result);

/*
 * hak_call_settle - fill in the cells of parameters that are HAK_FROM_KEPT.
 *                                                               [any thread]
 * Returns  0; -ENOENT: a value was not kept; why names it
 */
int hak_call_settle(const struct hak_call *call, const struct hak_kept *kept,
                    union hak_scalar *cell, char *why, size_t why_bytes);

/*
 * hak_call_keep - add the result and OUT values that a call names to kept.
 * cell, result  as the call left them
 * Returns       0; -ENOSPC: more than HAK_CALL_KEPT values; why says so
 */
int hak_call_keep(const struct hak_call *call, const union hak_scalar *cell,
                  union hak_scalar result, struct hak_kept *kept, char *why,
                  size_t why_bytes);

/* The word for a type, as "i32". */
const char *hak_type_name(uint32_t type);

/*
 * The function that a closure runs when a library calls it.
 * cell    the arguments, by parameter; for an OUT parameter the address to
 *         store to, as a PTR
 * result  0 at first; set it
 */
typedef void hak_closure_fn(void *context, const union hak_scalar *cell,
                            union hak_scalar *result);

/* ---- "hak.foreign/1" of the host ---------------------------------------- */

struct hak_foreign_host_1 {
    size_t struct_bytes;

    int (*parse)(const char **text, struct hak_call *out, char *why,
                 size_t why_bytes); /* hak_call_parse */
    bool (*passed)(const struct hak_call *call,
                   union hak_scalar result); /* hak_call_passed */
    const char *(*type_name)(uint32_t type); /* hak_type_name */

    /*
     * open - load a shared object (RTLD_NOW | RTLD_LOCAL) for good. [in init]
     * path     a file, or a name that the loader searches for
     * Returns  its handle; NULL with the reason in why
     * The loader allocates and runs code of the library, so call it in init
     * only.
     */
    void *(*open)(const char *path, char *why, size_t why_bytes);

    /*
     * bind - look up the symbols of a call and prepare the call.
     * out      memory of the box, which must never be moved
     * Returns  0; -ENOENT: no such symbol; -EINVAL: the symbol is a variable,
     *          or libffi refuses the call. The reason is in why.
     */
    int (*bind)(void *library, const struct hak_call *call,
                struct hak_bound *out, char *why, size_t why_bytes);

    /*
     * call - call the function through libffi.                  [any thread]
     * cell     a copy of bound->cell with the caller's values filled in. The
     *          call fills in the OUT cells.
     * result   gets the function's result; 0 for void
     * Cost     some tens of ns (make bench-foreign)
     */
    void (*call)(const struct hak_bound *bound, union hak_scalar *cell,
                 union hak_scalar *result);

    /*
     * polled - the nth section [call NAME] of the INI that belongs to this box
     * and has poll = yes.
     * text     gets the text of the call
     * Returns  NAME; NULL = there are no more
     * The pointer `polled` itself is NULL where there is no INI.
     */
    const char *(*polled)(const struct hak_box *box, uint32_t n,
                          const char **text);

    /*
     * sealed - as host->meta, but the memory becomes read-only once the process
     * runs. Meant for tables of functions.                         [in init]
     * The pointer `sealed` itself is NULL where nothing is sealed.
     */
    void *(*sealed)(size_t size_bytes);

    /*
     * closure - make a function that a library can call.           [in init]
     * call     the function's type, not variadic. Its symbol serves only for
     *          messages.
     * run      called with context, by any thread
     * Returns  the function's address, valid for ever, in a page that is never
     *          writable; NULL with the reason in why
     * Cost     of a call of the function: make bench-foreign
     */
    void *(*closure)(const struct hak_call *call, hak_closure_fn *run,
                     void *context, char *why, size_t why_bytes);

    int (*settle)(const struct hak_call *call, const struct hak_kept *kept,
                  union hak_scalar *cell, char *why,
                  size_t why_bytes); /* hak_call_settle */
    int (*keep)(const struct hak_call *call, const union hak_scalar *cell,
                union hak_scalar result, struct hak_kept *kept, char *why,
                size_t why_bytes); /* hak_call_keep */
};

/* ---- "hak.foreign/1" of a box ------------------------------------------- */

/*
 * The table of a box whose slots need not be in memory of host->map. After init
 * the core asks a box for it whose host_minor_min is 2 or more.
 */
struct hak_foreign_box_1 {
    size_t struct_bytes;
    /* The operations of this instance, in place of the entry's. */
    const struct hak_box_ops *ops;
    /* The box owns every live pointer outside of the window that no other box
     * owns and that libc did not hand out. Its owns() is then always false.
     * Only one box of a process may be residual. */
    bool residual;
    /*
     * describe - write line i of a description of the box's calls.
     * Returns  false: there is no such line
     */
    bool (*describe)(struct hak_box *box, uint32_t i, char *text,
                     size_t text_bytes);
    /* Does alloc or free go through libffi? */
    bool slow;
    void *library; /* the result of host->open */
    /* All slots of the box are in memory of host->map, so the core does not ask
     * its owns() for other addresses. */
    bool inside;
    const struct hak_kept *kept; /* kept by the calls of init */
};

#ifdef __cplusplus
}
#endif
#endif

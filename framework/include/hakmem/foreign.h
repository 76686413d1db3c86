/* SPDX-License-Identifier: MIT
 * foreign.h - calls of another library's functions, described by a text.
 *
 *     mallocx(size, i32:0) -> ptr
 *     posix_memalign(out ptr, align, size) -> i32 == 0
 *     mallctl(cstr:"opt.narenas", out u32, out size:4, ptr:0, size:0) -> i32
 *
 * docs/foreign.md has the grammar. A text is parsed once (hak_call_parse),
 * bound to a library once (its symbol looked up, a libffi cif prepared), and
 * then called any number of times. The core offers this to boxes as the
 * extension "hak.foreign/1" of the host table; the box `foreign` answers to
 * the same name with what the core must know of a box whose memory is another
 * allocator's.
 *
 * Nothing here allocates, but hak_foreign_host_1.open (the loader does).
 */
#ifndef HAKMEM_FOREIGN_H
#define HAKMEM_FOREIGN_H

#include <hakmem/box.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAK_FOREIGN_1 "hak.foreign/1"

enum {
    HAK_CALL_PARAMS = 12,        /* most that a call may have */
    HAK_CALL_SYMBOL_BYTES = 64,  /* longest symbol, with the NUL */
    HAK_CALL_STRING_BYTES = 128, /* all strings of a call, with their NULs */
    HAK_CALL_KEPT = 8,           /* most values that are kept for others */
};

enum hak_type {
    HAK_TYPE_VOID, /* as a result only */
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

/* Where a parameter has its value from. */
enum hak_from {
    HAK_FROM_CALLER,   /* a type alone, or a role: given at each call */
    HAK_FROM_CONSTANT, /* TYPE:VALUE */
    HAK_FROM_VARIABLE, /* TYPE:*NAME, what NAME of the library holds */
    HAK_FROM_ADDRESS,  /* ptr:&NAME, where NAME of the library is */
    HAK_FROM_OUT,      /* out TYPE: the function fills a cell, given by address;
                          out TYPE:VALUE says what is in it before */
    HAK_FROM_KEPT,     /* TYPE:$NAME*N+M, what an earlier call kept as NAME;
                          value.kept has N and M, 1 and 0 where not said */
};

/* What the caller's value is. */
enum hak_role {
    HAK_ROLE_NONE,        /* what its type says: i32, cstr ... */
    HAK_ROLE_SIZE,        /* size: bytes asked for */
    HAK_ROLE_PTR,         /* ptr: the block */
    HAK_ROLE_ALIGN,       /* align, a size: the alignment in bytes */
    HAK_ROLE_REGION,      /* region, a ptr: memory of ours */
    HAK_ROLE_REGION_SIZE, /* region_size, a size: its bytes */
    HAK_ROLE_HOOKS,       /* hooks, a ptr: the table of functions of ours; may
                             be OUT: a cell that holds it */
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
    uint8_t name; /* VARIABLE, ADDRESS, KEPT, a CSTR constant: place in
                     strings */
    uint8_t keep; /* OUT =NAME: 1 + place of NAME in strings; 0 = not kept */
    union hak_scalar value; /* CONSTANT, OUT */
};

enum hak_test {
    HAK_TEST_NONE,
    HAK_TEST_EQUAL,         /* == N */
    HAK_TEST_NOT_EQUAL,     /* != N */
    HAK_TEST_LESS,          /* < N */
    HAK_TEST_LESS_EQUAL,    /* <= N */
    HAK_TEST_GREATER,       /* > N */
    HAK_TEST_GREATER_EQUAL, /* >= N */
    HAK_TEST_MULTIPLE,      /* % N: a multiple of N, which is not 0 */
};

/* A call as its text says it; copy it freely. */
struct hak_call {
    char symbol[HAK_CALL_SYMBOL_BYTES];
    uint8_t nparams;
    uint8_t nfixed; /* those before "...", or nparams */
    bool variadic;
    uint8_t result; /* enum hak_type */
    uint8_t test;   /* enum hak_test: when the call has succeeded */
    uint8_t keep;   /* of the result, as in hak_call_param */
    union hak_scalar test_value;
    struct hak_call_param param[HAK_CALL_PARAMS];
    char strings[HAK_CALL_STRING_BYTES];
};

/*
 * A call bound to a library. Its place in memory must not change, since cif
 * and strings are pointed at.
 *
 * cell  what the function is given, by parameter; a caller copies it and
 *       fills those from the caller
 * cif   libffi's, private
 */
struct hak_bound {
    struct hak_call call;
    void *function;
    union hak_scalar cell[HAK_CALL_PARAMS];
    uint64_t cif[24];
};

/* What calls kept under a name (=NAME) for later ones ($NAME). */
struct hak_kept {
    uint32_t n;
    struct {
        char name[HAK_CALL_SYMBOL_BYTES];
        uint64_t value;
    } at[HAK_CALL_KEPT];
};

/*
 * hak_call_parse - parse one call of a list.
 * text     moved past the call and the "," after it, to the NUL at the end
 * Returns  0; -EINVAL with what was expected at which character in why, *text
 *          and *out in no particular state. Any thread.
 */
int hak_call_parse(const char **text, struct hak_call *out, char *why,
                   size_t why_bytes);

/*
 * hak_call_arguments - the caller's values from "(1, "x", 0x10)", in the order
 * of the parameters that take one.
 * cell     of call->nparams places; strings[HAK_CALL_STRING_BYTES] keeps what
 *          CSTR cells point at
 * Returns  0; -EINVAL, why as above. Any thread.
 */
int hak_call_arguments(const char *text, const struct hak_call *call,
                       union hak_scalar *cell, char *strings, char *why,
                       size_t why_bytes);

/* Does a result pass the call's test? True without one. Pure. */
bool hak_call_passed(const struct hak_call *call, union hak_scalar result);

/*
 * hak_call_settle - put the kept values that a call's parameters name into
 * their cells. 0; -ENOENT with the reason in why: one was not kept. Any thread.
 */
int hak_call_settle(const struct hak_call *call, const struct hak_kept *kept,
                    union hak_scalar *cell, char *why, size_t why_bytes);

/*
 * hak_call_keep - add what a call gave, as far as it has names for it.
 * cell, result  as the call left them
 * Returns       0; -ENOSPC, why as above: more than HAK_CALL_KEPT
 */
int hak_call_keep(const struct hak_call *call, const union hak_scalar *cell,
                  union hak_scalar result, struct hak_kept *kept, char *why,
                  size_t why_bytes);

/* A type's word: "i32". */
const char *hak_type_name(uint32_t type);

/*
 * What a closure does when it is called.
 * cell    the arguments by parameter; of an OUT one where to store, as a PTR
 * result  0, to be set
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
     * open - load a shared object (RTLD_NOW | RTLD_LOCAL), for good.
     * path     a file, or a name that the loader looks for
     * Returns  its handle; NULL with the reason in why
     * In init only: the loader allocates, and runs the library's own code.
     */
    void *(*open)(const char *path, char *why, size_t why_bytes);

    /*
     * bind - look the call's symbols up and prepare it.
     * out      the caller's memory, never moved
     * Returns  0; -ENOENT: no such symbol, -EINVAL: libffi refuses it; why
     */
    int (*bind)(void *library, const struct hak_call *call,
                struct hak_bound *out, char *why, size_t why_bytes);

    /*
     * call - call it through libffi. Any thread.
     * cell     a copy of bound->cell with the caller's values in it; the OUT
     *          cells get what the function stored
     * result   the function's, 0 for void
     * Cost     some tens of ns: make bench-foreign
     */
    void (*call)(const struct hak_bound *bound, union hak_scalar *cell,
                 union hak_scalar *result);

    /*
     * polled - the nth [call NAME] of the INI that is this box's and has
     * poll = yes.
     * Returns  NAME, with *text its call; NULL = no more. NULL itself where
     *          there is no INI
     */
    const char *(*polled)(const struct hak_box *box, uint32_t n,
                          const char **text);

    /*
     * sealed - as host->meta, in init only: read-only when the process runs,
     * so for tables of functions. NULL itself where nothing is sealed.
     */
    void *(*sealed)(size_t size_bytes);

    /*
     * closure - a function that a library can call, as `call` describes it.
     * call     not variadic; its symbol is a name for people
     * run      is called with context, by whatever thread
     * Returns  its address, for good: a page that is never writable; NULL with
     *          the reason in why
     * In init only. Cost of a call: make bench-foreign
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

/* ---- "hak.foreign/1" of a box ---------------------------------------------
 */

/*
 * For a box whose slots are not in memory of host->map. The core asks a box of
 * host_minor_min 2 or more for the table, after init.
 */
struct hak_foreign_box_1 {
    size_t struct_bytes;
    /* in place of the entry's: what this instance can do */
    const struct hak_box_ops *ops;
    /* Every live pointer that no box owns, libc did not hand out, and that is
     * outside of the window is this box's. owns() is then always false, and
     * one box of a process may be so. */
    bool residual;
    /*
     * describe - line i of how the box makes its calls, in text.
     * Returns false: there is no such line
     */
    bool (*describe)(struct hak_box *box, uint32_t i, char *text,
                     size_t text_bytes);
    /* Does alloc or free go through libffi? */
    bool slow;
    void *library; /* as host->open gave it */
    /* All its slots are in memory of host->map: elsewhere its owns() need not
     * be asked. */
    bool inside;
    const struct hak_kept *kept; /* by the calls of init */
};

#ifdef __cplusplus
}
#endif
#endif

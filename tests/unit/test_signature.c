/* SPDX-License-Identifier: MIT
 * test_signature.c - the language of foreign calls: what it takes, what it
 * refuses and where, and calls that are made through libffi.
 */
#include "random.h"
#include "../lib/test.h"

#include <modules/foreign/foreign.h>
#include <sys/resource.h>

static struct hak_call call;
static char why[256];

static int parse(const char *text)
{
    why[0] = 0;
    return hak_call_parse(&text, &call, why, sizeof why);
}

static void good(const char *text)
{
    if (parse(text) != 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, why);
}

static void bad(const char *text, const char *want)
{
    if (parse(text) == 0)
        test_fail(__FILE__, __LINE__, "\"%s\" is taken", text);
    EXPECT_STR(why, want);
}

/* ---- what it takes ------------------------------------------------------- */

TEST(roles_and_constants)
{
    good("mallocx(size, i32:-0x40) -> ptr");
    EXPECT_STR(call.symbol, "mallocx");
    EXPECT_EQ(call.nparams, 2);
    EXPECT_EQ(call.nfixed, 2);
    EXPECT_EQ(call.param[0].from, HAK_FROM_CALLER);
    EXPECT_EQ(call.param[0].role, HAK_ROLE_SIZE);
    EXPECT_EQ(call.param[1].from, HAK_FROM_CONSTANT);
    EXPECT_EQ(call.param[1].type, HAK_TYPE_I32);
    EXPECT_EQ(call.param[1].value.i, -0x40);
    EXPECT_EQ(call.result, HAK_TYPE_PTR);
    EXPECT_EQ(call.test, HAK_TEST_NONE);
}

TEST(out_parameters_and_conditions)
{
    good(" posix_memalign ( out ptr , align,size )->i32==0 ");
    EXPECT_EQ(call.param[0].from, HAK_FROM_OUT);
    EXPECT_EQ(call.param[0].type, HAK_TYPE_PTR);
    EXPECT_EQ(call.param[1].role, HAK_ROLE_ALIGN);
    EXPECT_EQ(call.param[2].role, HAK_ROLE_SIZE);
    EXPECT_EQ(call.test, HAK_TEST_EQUAL);
    good("f(out size:4) -> u32 >= 7");
    EXPECT_EQ(call.param[0].value.u, 4);
    EXPECT_EQ(call.test, HAK_TEST_GREATER_EQUAL);
    EXPECT_EQ(call.test_value.u, 7);
}

TEST(strings_and_names_of_the_library)
{
    good("f(cstr:\"a \\\"b\\\" \\\\\", ptr:*KIND, ptr:&table, i32:*level)");
    EXPECT_STR(call.strings + call.param[0].name, "a \"b\" \\");
    EXPECT_EQ(call.param[1].from, HAK_FROM_VARIABLE);
    EXPECT_STR(call.strings + call.param[1].name, "KIND");
    EXPECT_EQ(call.param[2].from, HAK_FROM_ADDRESS);
    EXPECT_EQ(call.param[3].type, HAK_TYPE_I32);
    EXPECT_EQ(call.result, HAK_TYPE_VOID);
}

TEST(variadic_and_nothing)
{
    good("snprintf(ptr:0, size:0, cstr:\"%f\", ..., f64:1.5) -> i32 == 8");
    EXPECT(call.variadic);
    EXPECT_EQ(call.nfixed, 3);
    EXPECT_EQ(call.nparams, 4);
    EXPECT(call.param[3].value.d == 1.5);
    good("f()");
    EXPECT_EQ(call.nparams, 0);
}

TEST(bounds_of_constants)
{
    good("f(i32:-2147483648, i32:2147483647, u32:4294967295, bool:1)");
    good("f(i64:-9223372036854775808, u64:18446744073709551615, size:0x10)");
    EXPECT_EQ(call.param[0].value.i, INT64_MIN);
    EXPECT_EQ(call.param[1].value.u, UINT64_MAX);
}

TEST(lists)
{
    const char *text = "a(region, region_size) -> bool == 1, b(i32:1)";
    EXPECT_EQ(hak_call_parse(&text, &call, why, sizeof why), 0);
    EXPECT_STR(text, "b(i32:1)");
    EXPECT_EQ(call.param[1].role, HAK_ROLE_REGION_SIZE);
    EXPECT_EQ(hak_call_parse(&text, &call, why, sizeof why), 0);
    EXPECT_STR(text, "");
}

TEST(kept_values)
{
    good("f(out u32=arena, out ptr:8 = kind) -> i32 == 0 = result");
    EXPECT_STR(call.strings + call.param[0].keep - 1, "arena");
    EXPECT_EQ(call.param[1].value.u, 8);
    EXPECT_STR(call.strings + call.param[1].keep - 1, "kind");
    EXPECT_STR(call.strings + call.keep - 1, "result");
    EXPECT_EQ(call.test, HAK_TEST_EQUAL);
    union hak_scalar cell[2] = {{.u = 7}, {.u = 0x123456789abc}};
    struct hak_kept kept = {.n = 0};
    EXPECT_EQ(hak_call_keep(&call, cell, (union hak_scalar){.i = -1}, &kept,
                            why, sizeof why),
              0);
    EXPECT_EQ(kept.n, 3);
    good("g(i32:$arena * 0x10 + 2, ptr:$kind, i64:$result)");
    EXPECT_EQ(call.param[0].from, HAK_FROM_KEPT);
    union hak_scalar got[3];
    EXPECT_EQ(hak_call_settle(&call, &kept, got, why, sizeof why), 0);
    EXPECT_EQ(got[0].u, 0x72);
    EXPECT_EQ(got[1].u, 0x123456789abc);
    EXPECT_EQ(got[2].i, -1);
    good("g(i32:$area)");
    EXPECT_EQ(hak_call_settle(&call, &kept, got, why, sizeof why), -ENOENT);
    EXPECT_STR(why, "no call before g keeps a $area, as out ptr=area does");
    good("f(out u32=a)");
    for (int i = 3; i < HAK_CALL_KEPT; i++)
        EXPECT_EQ(hak_call_keep(&call, cell, cell[0], &kept, why, sizeof why),
                  0);
    EXPECT_EQ(hak_call_keep(&call, cell, cell[0], &kept, why, sizeof why),
              -ENOSPC);
    EXPECT_STR(why, "more than 8 values are kept");
}

TEST(hooks)
{
    good("f(out hooks, hooks, size:8)");
    EXPECT_EQ(call.param[0].from, HAK_FROM_OUT);
    EXPECT_EQ(call.param[0].type, HAK_TYPE_PTR);
    EXPECT_EQ(call.param[0].role, HAK_ROLE_HOOKS);
    EXPECT_EQ(call.param[1].from, HAK_FROM_CALLER);
    EXPECT_EQ(call.param[1].role, HAK_ROLE_HOOKS);
}

/* ---- what it refuses ----------------------------------------------------- */

TEST(errors_point_at_the_character)
{
    bad("", "expected a symbol of the library at the end of \"\"");
    bad("malloc size", "expected \"(\" at character 8, before \"size\"");
    bad("malloc(size", "expected \",\" or \")\" at the end of \"malloc(size\"");
    bad("malloc(size) ptr", "expected \"-> TYPE\" or nothing at character 14, "
                            "before \"ptr\"");
    bad("f(i32 0)", "expected \",\" or \")\" at character 7, before \"0)\"");
    bad("f(int:0)", "\"int\" is no type (bool i32 u32 i64 u64 size ptr f64 "
                    "cstr) at character 3, before \"int:0)\"");
    bad("f(size) -> i3", "\"i3\" is no type (bool i32 u32 i64 u64 size ptr f64 "
                         "cstr) at character 12, before \"i3\"");
    bad("f(i32:2147483648)", "number too large for i32 at character 7, before "
                             "\"2147483648)\"");
    bad("f(u32:-1)", "number too large for u32 at character 7, before \"-1)\"");
    bad("f(size:99999999999999999999)",
        "number too large for size at character "
        "8, before \"99999999999999999999)\"");
    bad("f(i32:4k)", "expected a whole number at character 7, before \"4k)\"");
    bad("f(i32:)", "expected a number at character 7, before \")\"");
    bad("f(cstr:x)", "expected a string in \"\" at character 8, before \"x)\"");
    bad("f(cstr:\"x)", "string without its last \" at character 8, before "
                       "\"\"x)\"");
    bad("f(align:16)", "\"align\" takes no value; it is given at each call at "
                       "character 8, before \":16)\"");
    bad("f(out align)", "\"align\" is no type (bool i32 u32 i64 u64 size ptr "
                        "f64 cstr) at character 7, before \"align)\"");
    bad("f(i32:&x)", "an address is a ptr, not a i32, at character 7, before "
                     "\"&x)\"");
    bad("f(f64:$x)", "a f64 is not kept at character 7, before \"$x)\"");
    bad("f(i32:$)", "expected the name of a kept value at character 8, before "
                    "\")\"");
    bad("f(i32:$a*x)", "expected a number at character 10, before \"x)\"");
    bad("f(i32:$a+-1)", "number too large for u32 at character 10, before "
                        "\"-1)\"");
    bad("f(out i32=)", "expected a name to keep it as at character 11, before "
                       "\")\"");
    bad("f(out f64=x)", "a f64 is not kept at character 11, before \"x)\"");
    bad("f(out hooks=x)", "expected \",\" or \")\" at character 12, before "
                          "\"=x)\"");
    bad("f(i32=x)", "expected \",\" or \")\" at character 6, before \"=x)\"");
    bad("f() -> void = x", "a void is not kept at character 14, before \" x\"");
    bad("f(out hooks:1)", "\"hooks\" takes no value; it is given at each call "
                          "at character 12, before \":1)\"");
    bad("f(...)", "\"...\" needs a parameter before it at character 3, before "
                  "\"...)\"");
    bad("f(i32:1, ..., bool:1)", "bool cannot come after \"...\"; i32 does at "
                                 "character 15, before \"bool:1)\"");
    bad("f() -> void == 0", "a void result is not compared so at character 13, "
                            "before \"== 0\"");
    bad("f() -> i32 % 0", "no number is a multiple of 0, at the end of \"f() "
                          "-> i32 % 0\"");
    bad("f(),", "expected a call at the end of \"f(),\"");
    bad("f() g()", "expected \"-> TYPE\" or nothing at character 5, before "
                   "\"g()\"");
}

TEST(too_much)
{
    bad("f(ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr,ptr)",
        "more than 12 parameters at character 51, before \"ptr)\"");
    bad("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "a"
        "()",
        "a symbol of the library of 71 characters, at most 63, at character 1, "
        "before \"aaaaaaaaaaaaaaaaaaaaaaaa\"");
    char text[400];
    int n = snprintf(text, sizeof text, "f(cstr:\"");
    memset(text + n, 'x', 200);
    snprintf(text + n + 200, 8, "\")");
    EXPECT_EQ(parse(text), -EINVAL);
}

/* Any bytes at all: no fault, and a reason whenever it is refused. */
TEST(noise)
{
    static const char *const pieces[] = {
        "f",   "(",  ")",     ",",  "->", "i32", ":", "0",    "size", "out",
        "...", "\"", "cstr:", "==", "\\", "*x",  "%", "\xff", " ",    "-"};
    for (int i = 0; i < 200000; i++) {
        char text[128] = "";
        for (int k = 0; k < 12; k++) {
            strcat(text, pieces[rnd(20)]);
        }
        if (parse(text) != 0)
            EXPECT(why[0] != 0);
    }
}

/* ---- arguments ----------------------------------------------------------- */

TEST(arguments)
{
    union hak_scalar cell[HAK_CALL_PARAMS];
    char strings[HAK_CALL_STRING_BYTES];
    good("f(cstr, i32:1, out u32, i64)");
    EXPECT_EQ(hak_call_arguments("(\"opt.narenas\", -3)", &call, cell, strings,
                                 why, sizeof why),
              0);
    EXPECT_STR(cell[0].p, "opt.narenas");
    EXPECT_EQ(cell[3].i, -3);
    EXPECT_EQ(
        hak_call_arguments("(\"x\")", &call, cell, strings, why, sizeof why),
        -EINVAL);
    EXPECT_STR(why, "expected \",\" at character 5, before \")\"");
    EXPECT_EQ(hak_call_arguments("(\"x\", 1, 2)", &call, cell, strings, why,
                                 sizeof why),
              -EINVAL);
}

/* ---- calls --------------------------------------------------------------- */

static union hak_scalar run(const char *text, union hak_scalar *cell)
{
    static struct hak_bound bound;
    union hak_scalar result;
    good(text);
    void *libc = hak_ffi_open("libc.so.6", why, sizeof why);
    EXPECT(libc != NULL);
    if (hak_ffi_bind(libc, &call, &bound, why, sizeof why) != 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, why);
    memcpy(cell, bound.cell, sizeof bound.cell);
    hak_ffi_call(&bound, cell, &result);
    return result;
}

TEST(calls_of_all_types)
{
    union hak_scalar cell[HAK_CALL_PARAMS];
    EXPECT_EQ(run("strlen(cstr:\"abcd\") -> size", cell).u, 4);
    EXPECT_EQ(run("abs(i32:-7) -> i32", cell).i, 7);
    EXPECT_EQ(run("toupper(i32:-1) -> i32", cell).i, -1);
    EXPECT_EQ(run("llabs(i64:-5000000000) -> i64", cell).i, 5000000000);
    EXPECT(run("strtod(cstr:\"2.5\", ptr:0) -> f64", cell).d == 2.5);
    EXPECT(run("ldexp(f64:1.5, i32:2) -> f64", cell).d == 6.0);
    EXPECT_STR(run("strerror(i32:0) -> cstr", cell).p, "Success");
    EXPECT_EQ(run("htonl(u32:1) -> u32", cell).u, 0x1000000);
    run("strtoul(cstr:\"12x\", out ptr, i32:10) -> u64", cell);
    EXPECT_STR(cell[1].p, "x");
    EXPECT_EQ(run("sscanf(cstr:\"7 8\", cstr:\"%u %d\", ..., out u32, out i32) "
                  "-> i32 == 2",
                  cell)
                  .i,
              2);
    EXPECT_EQ(cell[2].u, 7);
    EXPECT_EQ(cell[3].i, 8);
    EXPECT_EQ(run("snprintf(ptr:0, size:0, cstr:\"%.2f %s\", ..., f64:1.5, "
                  "cstr:\"abc\") -> i32",
                  cell)
                  .i,
              8);
}

TEST(variables_of_the_library)
{
    union hak_scalar cell[HAK_CALL_PARAMS];
    EXPECT_EQ(run("fileno(ptr:*stderr) -> i32", cell).i, 2);
    run("memcpy(ptr:&environ, ptr:&environ, size:8) -> ptr", cell);
    EXPECT(cell[0].p == (void *)&environ);
}

TEST(conditions)
{
    union hak_scalar cell[HAK_CALL_PARAMS];
    union hak_scalar r = run("abs(i32:-7) -> i32 > -1", cell);
    EXPECT(hak_call_passed(&call, r));
    good("f() -> i32 < -1");
    EXPECT(!hak_call_passed(&call, r));
    good("f() -> i32 != 7");
    EXPECT(!hak_call_passed(&call, r));
    good("f() -> i32 <= 7");
    EXPECT(hak_call_passed(&call, r));
    good("f() -> ptr % 16");
    EXPECT(hak_call_passed(&call, (union hak_scalar){.u = 32}));
    EXPECT(!hak_call_passed(&call, (union hak_scalar){.u = 40}));
    good("f() -> f64 >= -0.5");
    EXPECT(hak_call_passed(&call, (union hak_scalar){.d = -0.25}));
}

TEST(what_is_not_there)
{
    static struct hak_bound bound;
    void *libc = hak_ffi_open("libc.so.6", why, sizeof why);
    good("no_such_symbol()");
    EXPECT_EQ(hak_ffi_bind(libc, &call, &bound, why, sizeof why), -ENOENT);
    EXPECT_STR(why, "the library has no symbol \"no_such_symbol\"; nm -D FILE "
                    "lists them");
    good("abs(i32:*no_such_variable)");
    EXPECT_EQ(hak_ffi_bind(libc, &call, &bound, why, sizeof why), -ENOENT);
    EXPECT(hak_ffi_open("libno-such.so.9", why, sizeof why) == NULL);
    EXPECT_STR(why, "cannot be loaded: libno-such.so.9: cannot open shared "
                    "object file: No such file or directory");
}

/* ---- being called -------------------------------------------------------- */

static union hak_scalar seen[HAK_CALL_PARAMS];

static void note(void *context, const union hak_scalar *cell,
                 union hak_scalar *result)
{
    memcpy(seen, cell, call.nparams * sizeof seen[0]);
    *result = *(const union hak_scalar *)context;
}

TEST(closures)
{
    union hak_scalar gives = {.i = -5};
    int32_t out = 0;
    good("f(bool, i32, u32, i64, f64, out i32, cstr, u64) -> i32");
    void *code = hak_ffi_closure(&call, note, &gives, why, sizeof why);
    EXPECT(code != NULL);
    int (*f)(bool, int, unsigned, int64_t, double, int32_t *, const char *,
             uint64_t) =
        (int (*)(bool, int, unsigned, int64_t, double, int32_t *, const char *,
                 uint64_t))(uintptr_t)code;
    EXPECT_EQ(f(true, -2, 3u << 30, -4, 2.5, &out, "x", UINT64_MAX), -5);
    EXPECT_EQ(seen[0].u, 1);
    EXPECT_EQ(seen[1].i, -2);
    EXPECT_EQ(seen[2].u, 3u << 30);
    EXPECT_EQ(seen[3].i, -4);
    EXPECT(seen[4].d == 2.5);
    EXPECT(seen[5].p == &out);
    EXPECT_STR(seen[6].p, "x");
    EXPECT_EQ(seen[7].u, UINT64_MAX);
    good("g() -> ptr");
    void *(*g)(void) = (void *(*)(void))(uintptr_t)hak_ffi_closure(
        &call, note, &gives, why, sizeof why);
    gives.p = &out;
    EXPECT(g() == &out);
    EXPECT_EQ(f(false, 0, 0, 0, 0, NULL, NULL, 0), (int)gives.i);
}

/* What a closure is made of is not writable, and nothing else is either. */
TEST(closures_are_not_writable)
{
    union hak_scalar gives = {.i = 0};
    char line[256];
    uintptr_t from, to;
    char access[5];
    bool found = false;
    good("f()");
    void *code = hak_ffi_closure(&call, note, &gives, why, sizeof why);
    FILE *maps = fopen("/proc/self/maps", "re");
    EXPECT(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        EXPECT(sscanf(line, "%zx-%zx %4s", &from, &to, access) == 3);
        EXPECT(access[1] != 'w' || access[2] != 'x');
        if ((uintptr_t)code - from < to - from) {
            EXPECT_STR(access, "r-xp");
            found = true;
        }
    }
    fclose(maps);
    EXPECT(found);
}

TEST(closures_that_cannot_be)
{
    good("f(i32, ..., i32)");
    EXPECT(hak_ffi_closure(&call, note, NULL, why, sizeof why) == NULL);
    EXPECT_STR(why, "libffi makes no function like f: \"...\" cannot be in "
                    "it");
    struct rlimit none = {0, 0};
    good("f()");
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT(hak_ffi_closure(&call, note, NULL, why, sizeof why) == NULL);
    EXPECT_STR(why, "no memory that can be executed: Too many open files");
}

TEST_MAIN()

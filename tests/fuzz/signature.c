/* SPDX-License-Identifier: MIT
 * signature.c - any text as a call of the INI: refused with a reason, or taken
 * as a call that is whole; what follows it as arguments.
 */
#include "fuzz.h"
#include <hakmem/foreign.h>

#include <stdlib.h>
#include <string.h>

FUZZ_SEEDS("tests/fuzz/seeds/signature");
FUZZ_WORDS("size", "$x*2+1", "=x", "out hooks", "align", "ptr", "out ",
           "i32:", "u64", "f64:1.5", "cstr:'", "...", " -> ", "==", ">=", "%",
           "0x", "(", ")", ", ", "'\\n'", "void", "bool",
           "-9223372036854775808", "18446744073709551615", );

#define CHECK(what) ((what) ? (void)0 : abort())

static void check_call(const struct hak_call *call)
{
    CHECK(call->symbol[0] != 0);
    CHECK(memchr(call->symbol, 0, sizeof call->symbol) != NULL);
    CHECK(call->nparams <= HAK_CALL_PARAMS);
    CHECK(call->nfixed <= call->nparams);
    for (uint32_t i = 0; i < call->nparams; i++)
        CHECK(call->param[i].type < HAK_TYPES);
    CHECK(call->result < HAK_TYPES);
    for (uint64_t i = 0; i < 3; i++)
        (void)hak_call_passed(call, (union hak_scalar){.u = i - 1});
}

static void read_arguments(const char *text, const struct hak_call *call)
{
    union hak_scalar cell[HAK_CALL_PARAMS];
    char strings[HAK_CALL_STRING_BYTES], why[128];
    (void)hak_call_arguments(text, call, cell, strings, why, sizeof why);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static char text[4097]; /* a call a line */
    struct hak_call call;
    char why[200];
    n = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, bytes, n);
    text[n] = 0;
    char *arguments = strchr(text, '\n');
    if (arguments != NULL)
        *arguments++ = 0;
    const char *at = text;
    while (*at != 0) {
        const char *before = at;
        why[0] = 0;
        if (hak_call_parse(&at, &call, why, sizeof why) != 0) {
            CHECK(why[0] != 0);
            return 0;
        }
        CHECK(at > before);
        check_call(&call);
        if (arguments != NULL)
            read_arguments(arguments, &call);
    }
    return 0;
}

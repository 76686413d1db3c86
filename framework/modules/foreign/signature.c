/* SPDX-License-Identifier: MIT
 * signature.c - parses the text of a foreign call into struct hak_call.
 *
 * The grammar is in docs/foreign.md. One character of lookahead decides at each
 * point, so there is no backtracking, and an error is always where the scanner
 * stands.
 */
#include <base/why.h>

#include <hakmem/foreign.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const char *start, *at;
    char *why;
    size_t why_bytes;
    char *strings; /* filled from the front */
    size_t used;
};

enum { WORD_BYTES = HAK_CALL_SYMBOL_BYTES };

__attribute__((format(printf, 2, 3))) static int refuse(struct scan *s,
                                                        const char *format, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (s->why != NULL && *s->at == 0)
        snprintf(s->why, s->why_bytes, "%s at the end of \"%s\"", text,
                 s->start);
    else if (s->why != NULL)
        snprintf(s->why, s->why_bytes, "%s at character %zu, before \"%.24s\"",
                 text, (size_t)(s->at - s->start) + 1, s->at);
    return -EINVAL;
}

/* ---- characters and words ------------------------------------------------ */

static void skip_blanks(struct scan *s)
{
    while (*s->at == ' ' || *s->at == '\t')
        s->at++;
}

/* Skip blanks. If ch comes next, move past it and return true. */
static bool take_char(struct scan *s, char ch)
{
    skip_blanks(s);
    bool there = *s->at == ch;
    s->at += there;
    return there;
}

static int expect_char(struct scan *s, char ch)
{
    return take_char(s, ch) ? 0 : refuse(s, "expected \"%c\"", ch);
}

static bool is_letter(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_';
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

/* Scan an identifier of C: a symbol, a type or a role. noun: for the message if
 * there is none. */
static int scan_word(struct scan *s, char out[WORD_BYTES], const char *noun)
{
    skip_blanks(s);
    size_t n = 0;
    while (is_letter(s->at[n]) || (n > 0 && is_digit(s->at[n])))
        n++;
    if (n == 0)
        return refuse(s, "expected %s", noun);
    if (n >= WORD_BYTES)
        return refuse(s, "%s of %zu characters, at most %d,", noun, n,
                      WORD_BYTES - 1);
    memcpy(out, s->at, n);
    out[n] = 0;
    s->at += n;
    return 0;
}

/* Add n bytes to the strings of the call. Returns their offset, or -EINVAL. */
static int keep_string(struct scan *s, const char *text, size_t n)
{
    if (n >= HAK_CALL_STRING_BYTES - s->used)
        return refuse(s, "more than %d bytes of strings and names",
                      HAK_CALL_STRING_BYTES);
    size_t place = s->used;
    memcpy(s->strings + place, text, n);
    s->strings[place + n] = 0;
    s->used += n + 1;
    return (int)place;
}

/* ---- types --------------------------------------------------------------- */

static const struct type {
    char name[8];
    int64_t min;
    uint64_t max;
} types[HAK_TYPES] = {
    [HAK_TYPE_VOID] = {"void", 0, 0},
    [HAK_TYPE_BOOL] = {"bool", 0, 1},
    [HAK_TYPE_I32] = {"i32", INT32_MIN, INT32_MAX},
    [HAK_TYPE_U32] = {"u32", 0, UINT32_MAX},
    [HAK_TYPE_I64] = {"i64", INT64_MIN, INT64_MAX},
    [HAK_TYPE_U64] = {"u64", 0, UINT64_MAX},
    [HAK_TYPE_SIZE] = {"size", 0, UINT64_MAX},
    [HAK_TYPE_PTR] = {"ptr", 0, UINT64_MAX},
    [HAK_TYPE_F64] = {"f64", 0, 0},
    [HAK_TYPE_CSTR] = {"cstr", 0, 0},
};

const char *hak_type_name(uint32_t type)
{
    return type < HAK_TYPES ? types[type].name : "?";
}

/* Roles: words for a value that the caller gives, with its type. */
static const struct {
    char name[16];
    uint8_t type, role;
} roles[] = {
    {"align", HAK_TYPE_SIZE, HAK_ROLE_ALIGN},
    {"region", HAK_TYPE_PTR, HAK_ROLE_REGION},
    {"region_size", HAK_TYPE_SIZE, HAK_ROLE_REGION_SIZE},
    {"hooks", HAK_TYPE_PTR, HAK_ROLE_HOOKS},
};

/* The type of this name; HAK_TYPES if there is none. */
static uint32_t type_of(const char *name)
{
    uint32_t type = 0;
    while (type < HAK_TYPES && strcmp(types[type].name, name) != 0)
        type++;
    return type;
}

static int refuse_type(struct scan *s, const char *start, const char *name)
{
    s->at = start;
    return refuse(
        s, "\"%s\" is no type (bool i32 u32 i64 u64 size ptr f64 cstr)", name);
}

/* ---- values -------------------------------------------------------------- */

static int scan_number(struct scan *s, const struct type *type,
                       union hak_scalar *out)
{
    const char *start = s->at;
    bool minus = *s->at == '-';
    char *end;
    if (!is_digit(s->at[minus]))
        return refuse(s, "expected a number");
    bool hex = s->at[minus] == '0' && (s->at[minus + 1] | 0x20) == 'x';
    errno = 0;
    unsigned long long value = strtoull(s->at + minus, &end, hex ? 16 : 10);
    bool over = errno == ERANGE;
    over |= minus && value > (uint64_t)INT64_MAX + 1;
    over |= minus && value > 0 && (int64_t)(0 - value) < type->min;
    over |= !minus && value > type->max;
    if (over)
        return refuse(s, "number too large for %s", type->name);
    s->at = end;
    if (is_letter(*s->at) || is_digit(*s->at) || *s->at == '.') {
        s->at = start;
        return refuse(s, "expected a whole number");
    }
    out->u = minus ? 0 - value : value;
    return 0;
}

static int scan_real(struct scan *s, union hak_scalar *out)
{
    char *end;
    double value = strtod(s->at, &end);
    if (end == s->at)
        return refuse(s, "expected a number");
    s->at = end;
    out->d = value;
    return 0;
}

/* Scan a string in "", in which \" and \\ are escapes. *place gets its
 * offset. */
static int scan_string(struct scan *s, int *place)
{
    char text[HAK_CALL_STRING_BYTES];
    size_t n = 0;
    const char *start = s->at;
    if (*s->at != '"')
        return refuse(s, "expected a string in \"\"");
    s->at++;
    for (; *s->at != 0 && *s->at != '"'; s->at++) {
        if (*s->at == '\\' && (s->at[1] == '"' || s->at[1] == '\\'))
            s->at++;
        if (n == sizeof text)
            return refuse(s, "string too long");
        text[n++] = *s->at;
    }
    if (*s->at == 0) {
        s->at = start;
        return refuse(s, "string without its last \"");
    }
    s->at++;
    *place = keep_string(s, text, n);
    return *place < 0 ? *place : 0;
}

/* Scan a literal of a type. For a cstr, out->u gets the string's offset. */
static int scan_literal(struct scan *s, uint32_t type, union hak_scalar *out)
{
    int place = 0;
    skip_blanks(s);
    if (type == HAK_TYPE_F64)
        return scan_real(s, out);
    if (type != HAK_TYPE_CSTR)
        return scan_number(s, &types[type], out);
    int error = scan_string(s, &place);
    out->u = (uint64_t)place;
    return error;
}

/* ---- parameters ---------------------------------------------------------- */

/* Scan *NAME or &NAME, after the colon. */
static int scan_library_name(struct scan *s, struct hak_call_param *p)
{
    char name[WORD_BYTES];
    bool address = *s->at == '&';
    if (address && p->type != HAK_TYPE_PTR)
        return refuse(s, "an address is a ptr, not a %s,", types[p->type].name);
    s->at++;
    int error = scan_word(s, name, "a variable of the library");
    int place = error == 0 ? keep_string(s, name, strlen(name)) : error;
    if (place < 0)
        return place;
    p->from = address ? HAK_FROM_ADDRESS : HAK_FROM_VARIABLE;
    p->name = (uint8_t)place;
    return 0;
}

/* If sign ("*" or "+") comes next, scan it and the number after it. */
static int scan_factor(struct scan *s, char sign, uint32_t *out)
{
    union hak_scalar value;
    if (!take_char(s, sign))
        return 0;
    skip_blanks(s);
    int error = scan_number(s, &types[HAK_TYPE_U32], &value);
    if (error == 0)
        *out = (uint32_t)value.u;
    return error;
}

/* Scan $NAME*N+M, after the colon. */
static int scan_kept_name(struct scan *s, struct hak_call_param *p)
{
    char name[WORD_BYTES];
    uint32_t times = 1, plus = 0;
    if (p->type == HAK_TYPE_F64)
        return refuse(s, "a f64 is not kept");
    s->at++;
    int error = scan_word(s, name, "the name of a kept value");
    int place = error == 0 ? keep_string(s, name, strlen(name)) : error;
    if (place < 0)
        return place;
    p->from = HAK_FROM_KEPT;
    p->name = (uint8_t)place;
    error = scan_factor(s, '*', &times);
    if (error == 0)
        error = scan_factor(s, '+', &plus);
    p->value.kept.times = times;
    p->value.kept.plus = plus;
    return error;
}

/* If "= NAME" comes next, after an out parameter or a result, scan it. */
static int scan_keep_as(struct scan *s, uint32_t type, uint8_t *out)
{
    char name[WORD_BYTES];
    if (!take_char(s, '='))
        return 0;
    if (type == HAK_TYPE_VOID || type == HAK_TYPE_F64)
        return refuse(s, "a %s is not kept", types[type].name);
    int error = scan_word(s, name, "a name to keep it as");
    int place = error == 0 ? keep_string(s, name, strlen(name)) : error;
    if (place < 0)
        return place;
    *out = (uint8_t)(place + 1);
    return 0;
}

/* Scan the value after a type and its colon. */
static int scan_value(struct scan *s, struct hak_call_param *p)
{
    skip_blanks(s);
    bool out = p->from == HAK_FROM_OUT;
    if (!out && *s->at == '$')
        return scan_kept_name(s, p);
    if (!out && (*s->at == '*' || *s->at == '&'))
        return scan_library_name(s, p);
    int error = scan_literal(s, p->type, &p->value);
    if (error == 0 && p->type == HAK_TYPE_CSTR)
        p->name = (uint8_t)p->value.u;
    if (!out)
        p->from = HAK_FROM_CONSTANT;
    return error;
}

/* Set type and role of a parameter from its word. start: where the word is in
 * the text, for messages. */
static int set_type_or_role(struct scan *s, const char *start, const char *name,
                            struct hak_call_param *p)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        bool fits = p->from != HAK_FROM_OUT || roles[i].role == HAK_ROLE_HOOKS;
        if (strcmp(roles[i].name, name) == 0 && fits) {
            p->type = roles[i].type;
            p->role = roles[i].role;
            return 0;
        }
    }
    uint32_t type = type_of(name);
    if (type == HAK_TYPES || type == HAK_TYPE_VOID)
        return refuse_type(s, start, name);
    p->type = (uint8_t)type;
    if (p->from != HAK_FROM_OUT)
        p->role = type == HAK_TYPE_SIZE  ? HAK_ROLE_SIZE
                  : type == HAK_TYPE_PTR ? HAK_ROLE_PTR
                                         : HAK_ROLE_NONE;
    return 0;
}

static int scan_param(struct scan *s, struct hak_call_param *p)
{
    char name[WORD_BYTES];
    memset(p, 0, sizeof *p);
    skip_blanks(s);
    const char *start = s->at;
    int error = scan_word(s, name, "a type or a role");
    if (error == 0 && strcmp(name, "out") == 0) {
        p->from = HAK_FROM_OUT;
        skip_blanks(s);
        start = s->at;
        error = scan_word(s, name, "a type after \"out\"");
    }
    if (error == 0)
        error = set_type_or_role(s, start, name, p);
    if (error == 0 && take_char(s, ':')) {
        if (p->role > HAK_ROLE_PTR) {
            s->at--;
            return refuse(s, "\"%s\" takes no value; it is given at each call",
                          name);
        }
        p->role = HAK_ROLE_NONE;
        error = scan_value(s, p);
    }
    if (error == 0 && p->from == HAK_FROM_OUT && p->role == HAK_ROLE_NONE)
        error = scan_keep_as(s, p->type, &p->keep);
    return error;
}

/* Scan "...". C has no small integers after it: scan_param_or_dots refuses
 * bool there. */
static int scan_dots(struct scan *s, struct hak_call *call)
{
    if (call->variadic)
        return refuse(s, "a second \"...\"");
    if (call->nparams == 0)
        return refuse(s, "\"...\" needs a parameter before it");
    s->at += 3;
    call->variadic = true;
    call->nfixed = call->nparams;
    return 0;
}

static int scan_param_or_dots(struct scan *s, struct hak_call *call)
{
    skip_blanks(s);
    if (strncmp(s->at, "...", 3) == 0)
        return scan_dots(s, call);
    if (call->nparams == HAK_CALL_PARAMS)
        return refuse(s, "more than %d parameters", HAK_CALL_PARAMS);
    const char *start = s->at;
    struct hak_call_param *p = &call->param[call->nparams];
    int error = scan_param(s, p);
    if (error != 0)
        return error;
    if (call->variadic && p->type == HAK_TYPE_BOOL && p->from != HAK_FROM_OUT) {
        s->at = start;
        return refuse(s, "bool cannot come after \"...\"; i32 does");
    }
    call->nparams++;
    return 0;
}

static int scan_params(struct scan *s, struct hak_call *call)
{
    int error = expect_char(s, '(');
    if (error != 0 || take_char(s, ')'))
        return error;
    do {
        error = scan_param_or_dots(s, call);
        if (error != 0)
            return error;
    } while (take_char(s, ','));
    return take_char(s, ')') ? 0 : refuse(s, "expected \",\" or \")\"");
}

/* ---- result -------------------------------------------------------------- */

/* An operator stands before any other that is a prefix of it. */
static const struct {
    char text[4];
    uint8_t test;
} tests[] = {
    {"==", HAK_TEST_EQUAL},      {"!=", HAK_TEST_NOT_EQUAL},
    {"<=", HAK_TEST_LESS_EQUAL}, {">=", HAK_TEST_GREATER_EQUAL},
    {"<", HAK_TEST_LESS},        {">", HAK_TEST_GREATER},
    {"%", HAK_TEST_MULTIPLE},
};

static int scan_test(struct scan *s, struct hak_call *call)
{
    skip_blanks(s);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        size_t n = strlen(tests[i].text);
        if (strncmp(s->at, tests[i].text, n) != 0)
            continue;
        bool integer = call->result != HAK_TYPE_F64;
        if (call->result == HAK_TYPE_VOID || call->result == HAK_TYPE_CSTR ||
            (!integer && tests[i].test == HAK_TEST_MULTIPLE))
            return refuse(s, "a %s result is not compared so",
                          types[call->result].name);
        s->at += n;
        call->test = tests[i].test;
        int error = scan_literal(s, call->result, &call->test_value);
        if (error == 0 && call->test == HAK_TEST_MULTIPLE &&
            call->test_value.u == 0)
            error = refuse(s, "no number is a multiple of 0,");
        return error;
    }
    return 0;
}

static int scan_result(struct scan *s, struct hak_call *call)
{
    char name[WORD_BYTES];
    call->result = HAK_TYPE_VOID;
    skip_blanks(s);
    if (*s->at == 0 || *s->at == ',')
        return 0;
    if (strncmp(s->at, "->", 2) != 0)
        return refuse(s, "expected \"-> TYPE\" or nothing");
    s->at += 2;
    skip_blanks(s);
    const char *start = s->at;
    int error = scan_word(s, name, "the type of the result");
    uint32_t type = error == 0 ? type_of(name) : 0;
    if (error == 0 && type == HAK_TYPES)
        error = refuse_type(s, start, name);
    if (error != 0)
        return error;
    call->result = (uint8_t)type;
    error = scan_test(s, call);
    return error == 0 ? scan_keep_as(s, type, &call->keep) : error;
}

/* ---- a call -------------------------------------------------------------- */

int hak_call_parse(const char **text, struct hak_call *out, char *why,
                   size_t why_bytes)
{
    memset(out, 0, sizeof *out);
    struct scan s = {*text, *text, why, why_bytes, out->strings, 0};
    int error = scan_word(&s, out->symbol, "a symbol of the library");
    if (error == 0)
        error = scan_params(&s, out);
    if (error == 0 && !out->variadic)
        out->nfixed = out->nparams;
    if (error == 0)
        error = scan_result(&s, out);
    if (error != 0)
        return error;
    bool more = take_char(&s, ',');
    skip_blanks(&s);
    if (more ? *s.at == 0 : *s.at != 0)
        return refuse(&s, more ? "expected a call" : "expected the end");
    *text = s.at;
    return 0;
}

int hak_call_arguments(const char *text, const struct hak_call *call,
                       union hak_scalar *cell, char *strings, char *why,
                       size_t why_bytes)
{
    struct scan s = {text, text, why, why_bytes, strings, 0};
    uint32_t given = 0;
    int error = expect_char(&s, '(');
    for (uint32_t i = 0; error == 0 && i < call->nparams; i++) {
        const struct hak_call_param *p = &call->param[i];
        if (p->from != HAK_FROM_CALLER)
            continue;
        if (given++ > 0)
            error = expect_char(&s, ',');
        if (error == 0)
            error = scan_literal(&s, p->type, &cell[i]);
        if (error == 0 && p->type == HAK_TYPE_CSTR)
            cell[i].p = strings + cell[i].u;
    }
    if (error == 0 && !take_char(&s, ')'))
        error = refuse(&s, "expected \")\"; it takes %u arguments, ", given);
    skip_blanks(&s);
    if (error == 0 && *s.at != 0)
        error = refuse(&s, "expected the end");
    return error;
}

/* -1, 0 or 1: a is below, equal to or above the test's value. */
static int compare_result(const struct hak_call *call, union hak_scalar a)
{
    union hak_scalar b = call->test_value;
    switch (call->result) {
    case HAK_TYPE_F64:
        return (a.d > b.d) - (a.d < b.d);
    case HAK_TYPE_I32:
    case HAK_TYPE_I64:
        return (a.i > b.i) - (a.i < b.i);
    default:
        return (a.u > b.u) - (a.u < b.u);
    }
}

bool hak_call_passed(const struct hak_call *call, union hak_scalar value)
{
    switch (call->test) {
    case HAK_TEST_EQUAL:
        return compare_result(call, value) == 0;
    case HAK_TEST_NOT_EQUAL:
        return compare_result(call, value) != 0;
    case HAK_TEST_LESS:
        return compare_result(call, value) < 0;
    case HAK_TEST_LESS_EQUAL:
        return compare_result(call, value) <= 0;
    case HAK_TEST_GREATER:
        return compare_result(call, value) > 0;
    case HAK_TEST_GREATER_EQUAL:
        return compare_result(call, value) >= 0;
    case HAK_TEST_MULTIPLE:
        return value.u % call->test_value.u == 0;
    default:
        return true;
    }
}

/* ---- kept values --------------------------------------------------------- */

int hak_call_settle(const struct hak_call *call, const struct hak_kept *kept,
                    union hak_scalar *cell, char *why, size_t why_bytes)
{
    for (uint32_t i = 0; i < call->nparams; i++) {
        const struct hak_call_param *p = &call->param[i];
        const char *name = call->strings + p->name;
        uint32_t k = 0;
        if (p->from != HAK_FROM_KEPT)
            continue;
        while (k < kept->n && strcmp(kept->at[k].name, name) != 0)
            k++;
        if (k == kept->n)
            return hak_refuse(-ENOENT, why, why_bytes,
                              "no call before %s keeps a $%s, as out ptr=%s "
                              "does",
                              call->symbol, name, name);
        cell[i].u =
            kept->at[k].value * p->value.kept.times + p->value.kept.plus;
    }
    return 0;
}

/* Keep one value. place: 1 + offset of its name in call->strings; 0 = the value
 * is not to be kept. Returns false: no room. */
static bool keep_one(const struct hak_call *call, uint32_t place,
                     uint64_t value, struct hak_kept *kept)
{
    if (place == 0)
        return true;
    if (kept->n == HAK_CALL_KEPT)
        return false;
    snprintf(kept->at[kept->n].name, sizeof kept->at[0].name, "%s",
             call->strings + place - 1);
    kept->at[kept->n++].value = value;
    return true;
}

int hak_call_keep(const struct hak_call *call, const union hak_scalar *cell,
                  union hak_scalar result, struct hak_kept *kept, char *why,
                  size_t why_bytes)
{
    bool room = keep_one(call, call->keep, result.u, kept);
    for (uint32_t i = 0; i < call->nparams; i++)
        room = room && keep_one(call, call->param[i].keep, cell[i].u, kept);
    return room ? 0
                : hak_refuse(-ENOSPC, why, why_bytes,
                             "more than %d values are kept", HAK_CALL_KEPT);
}

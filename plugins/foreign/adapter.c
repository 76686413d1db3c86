/* SPDX-License-Identifier: MIT
 * adapter.c - compiled adapters for calls of the usual shapes.
 *
 * x86-64 System V passes bools, integers and pointers alike, each in a
 * register of its own, and returns them in rax. So a shape is only the order of
 * the arguments, whatever their types. The bits of rax above a narrow result
 * are undefined: a caller that wants a number passes the result to narrowed().
 */
#include "foreign.h"

#include <string.h>

#define FUNCTION(type) ((type)(uintptr_t)op->bound.function)
#define K(i) (op->bound.cell[i].u)

typedef word f1(word);
typedef word f2(word, word);
typedef word f3(word, word, word);
typedef word f4(word, word, word, word);

word narrowed(const struct op *op, word value)
{
    switch (op->bound.call.result) {
    case HAK_TYPE_BOOL:
        return (uint8_t)value;
    case HAK_TYPE_I32:
        return (word)(int64_t)(int32_t)value;
    case HAK_TYPE_U32:
        return (uint32_t)value;
    default:
        return value;
    }
}

#define ADAPTER(shape, call)                                               \
    static word run_##shape(const struct op *op, word v, word w, void **o) \
    {                                                                      \
        (void)v;                                                           \
        (void)w;                                                           \
        (void)o;                                                           \
        (void)op;                                                          \
        return call;                                                       \
    }

ADAPTER(v, FUNCTION(f1 *)(v))
ADAPTER(vk, FUNCTION(f2 *)(v, K(1)))
ADAPTER(kv, FUNCTION(f2 *)(K(0), v))
ADAPTER(vkk, FUNCTION(f3 *)(v, K(1), K(2)))
ADAPTER(kvk, FUNCTION(f3 *)(K(0), v, K(2)))
ADAPTER(kkv, FUNCTION(f3 *)(K(0), K(1), v))
ADAPTER(vw, FUNCTION(f2 *)(v, w))
ADAPTER(wv, FUNCTION(f2 *)(w, v))
ADAPTER(vwk, FUNCTION(f3 *)(v, w, K(2)))
ADAPTER(wvk, FUNCTION(f3 *)(w, v, K(2)))
ADAPTER(kvw, FUNCTION(f3 *)(K(0), v, w))
ADAPTER(kwv, FUNCTION(f3 *)(K(0), w, v))
ADAPTER(ovw, FUNCTION(f3 *)((word)(uintptr_t)o, v, w))
ADAPTER(kovw, FUNCTION(f4 *)(K(0), (word)(uintptr_t)o, v, w))

word (*adapter_of(const char *shape))(const struct op *, word, word, void **)
{
    static const struct {
        const char *shape;
        word (*run)(const struct op *, word, word, void **);
    } all[] = {
        {"v", run_v},     {"vk", run_vk},     {"kv", run_kv},
        {"vkk", run_vkk}, {"kvk", run_kvk},   {"kkv", run_kkv},
        {"vw", run_vw},   {"wv", run_wv},     {"vwk", run_vwk},
        {"wvk", run_wvk}, {"kvw", run_kvw},   {"kwv", run_kwv},
        {"ovw", run_ovw}, {"kovw", run_kovw},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].shape, shape) == 0)
            return all[i].run;
    return NULL;
}

word adapter_ffi(const struct op *op, word v, word w, void **out)
{
    union hak_scalar cell[HAK_CALL_PARAMS], result;
    memcpy(cell, op->bound.cell, sizeof cell);
    cell[op->v].u = v;
    if (op->w != op->v)
        cell[op->w].u = w;
    op->host->call(&op->bound, cell, &result);
    if (op->has_out)
        *out = (void *)(uintptr_t)cell[op->out].p;
    return result.u;
}

word adapter_locked(const struct op *op, word v, word w, void **out)
{
    bool taken = enter_library(op->lock);
    word result = op->unlocked(op, v, w, out);
    leave_library(op->lock, taken);
    return result;
}

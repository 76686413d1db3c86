/* SPDX-License-Identifier: MIT
 * counters.c - figures of the library in the report: the calls of sections
 * [call NAME] with poll = yes.
 *
 * The figure is the value that the call stored in its first out parameter; a
 * call without one gives its result. It is 0 when the call's test fails.
 */
#include "foreign.h"

#include <errno.h>
#include <string.h>

#define REFUSE(f, ...) \
    ((f)->box->host->log((f)->box, HAK_LOG_ERROR, __VA_ARGS__), -EINVAL)

/* Is it a name that hak.counters/1 allows? */
static bool is_name(const char *name)
{
    for (; *name != 0; name++)
        if (!((*name >= 'a' && *name <= 'z') ||
              (*name >= '0' && *name <= '9') || *name == '_'))
            return false;
    return true;
}

/* Do all parameters have a value, with none left to the caller? */
static bool is_whole(const struct hak_call *call)
{
    for (uint32_t i = 0; i < call->nparams; i++)
        if (call->param[i].from == HAK_FROM_CALLER ||
            call->param[i].role == HAK_ROLE_HOOKS)
            return false;
    return true;
}

int counters_init(struct foreign *f)
{
    char why[200];
    struct hak_call call;
    const char *name, *text;
    while (f->host->polled != NULL &&
           (name = f->host->polled(f->box, f->ncounters, &text)) != NULL) {
        if (f->ncounters == COUNTERS)
            return REFUSE(f, "more than %d calls are polled", COUNTERS);
        struct counter *c = &f->counter[f->ncounters++];
        c->name = name;
        if (!is_name(name))
            return REFUSE(f, "call %s: polled ones have names of a-z 0-9 _",
                          name);
        if (f->host->parse(&text, &call, why, sizeof why) != 0 ||
            f->host->bind(f->library, &call, &c->bound, why, sizeof why) != 0)
            return REFUSE(f, "call %s: %s", name, why);
        if (!is_whole(&call) || *text != 0)
            return REFUSE(f,
                          "call %s: to be polled, it is one call whose "
                          "parameters all have values",
                          name);
    }
    return 0;
}

static uint64_t poll(const struct foreign *f, const struct hak_bound *bound)
{
    union hak_scalar cell[HAK_CALL_PARAMS], result;
    memcpy(cell, bound->cell, sizeof cell);
    bool taken = enter_library(f->lock);
    f->host->call(bound, cell, &result);
    leave_library(f->lock, taken);
    if (!f->host->passed(&bound->call, result))
        return 0;
    for (uint32_t i = 0; i < bound->call.nparams; i++)
        if (bound->call.param[i].from == HAK_FROM_OUT)
            return cell[i].u;
    return result.u;
}

uint32_t counters_read(struct hak_box *box, struct hak_counter *out,
                       uint32_t most)
{
    const struct foreign *f = box->state;
    for (uint32_t i = 0; i < f->ncounters && i < most; i++)
        out[i] = (struct hak_counter){f->counter[i].name,
                                      poll(f, &f->counter[i].bound)};
    return f->ncounters;
}

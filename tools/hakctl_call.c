/* SPDX-License-Identifier: MIT
 * hakctl_call.c - hakctl call makes typed calls of a box's library; hakctl
 * check-so runs calls as test cases.
 */
#include "hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <conf/conf.h>
#include <core/state/core.h>
#include <modules/foreign/foreign.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- values -------------------------------------------------------------- */

static void print_value(uint32_t type, union hak_scalar v)
{
    switch (type) {
    case HAK_TYPE_BOOL:
        printf("%s", v.u != 0 ? "true" : "false");
        break;
    case HAK_TYPE_I32:
    case HAK_TYPE_I64:
        printf("%" PRId64, v.i);
        break;
    case HAK_TYPE_PTR:
        printf("%p", v.p);
        break;
    case HAK_TYPE_F64:
        printf("%.17g", v.d);
        break;
    case HAK_TYPE_CSTR:
        ctl_json(stdout, v.p);
        break;
    default:
        printf("%" PRIu64, v.u);
    }
}

/* Print the result and then the out parameters, one a line. */
static void print_values(const struct hak_call *call,
                         const union hak_scalar *cell, union hak_scalar result)
{
    if (call->result != HAK_TYPE_VOID) {
        printf("result %s ", hak_type_name(call->result));
        print_value(call->result, result);
        printf("\n");
    }
    for (uint32_t i = 0; i < call->nparams; i++) {
        if (call->param[i].from != HAK_FROM_OUT)
            continue;
        printf("out %u %s ", i + 1, hak_type_name(call->param[i].type));
        print_value(call->param[i].type, cell[i]);
        printf("\n");
    }
}

/* ---- call ---------------------------------------------------------------- */

/* The text of [call NAME] for the words "NAME(...)". NULL, after a message:
 * there is none. */
static const char *declaration_of(const char *box, const char *words, size_t n)
{
    const char *names[HAK_CONF_SECTIONS] = {NULL}, *text, *name;
    char mean[128], word[HAK_CONF_LINE_BYTES];
    uint32_t count = 0;
    bool poll;
    snprintf(word, sizeof word, "%.*s", (int)n, words);
    for (; (name = hak_conf_call(&hak_conf, box, count, &text, &poll)) != NULL;
         count++) {
        names[count] = name;
        if (strcmp(name, word) == 0)
            return text;
    }
    ctl_did_you_mean(mean, sizeof mean, word, names, count);
    ctl_say("call: no [call %s] with box = %s in %s%s", word, box,
            hak_conf.file, mean);
    return NULL;
}

static void print_finding(void *context, enum hak_diag_level level,
                          const char *file, int line, const char *text)
{
    (void)context;
    ctl_print_finding(stderr, &(struct ctl_finding){level, file, line, text});
}

/* The loaded foreign box of that name. NULL, after a message: there is none. */
static const struct hak_foreign_box_1 *box_named(const struct ctl_core *core,
                                                 const char *name)
{
    const char *names[HAK_MAX_BOXES] = {NULL};
    char mean[128];
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        names[i] = hak_conf.box[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        if (core->box[i] != NULL && !core->box[i]->foreign)
            ctl_say("call: box %s is not foreign: it has no library to call",
                    name);
        return ctl_foreign(core->box[i]); /* NULL: ctl_load has said why */
    }
    ctl_did_you_mean(mean, sizeof mean, name, names, hak_conf.nboxes);
    ctl_say("call: no [box %s] in %s%s", name, hak_conf.file, mean);
    return NULL;
}

static int call_one(const struct hak_foreign_box_1 *table, const char *box,
                    const char *words)
{
    static struct hak_bound bound;
    struct hak_call call;
    union hak_scalar cell[HAK_CALL_PARAMS], result;
    char why[256], strings[HAK_CALL_STRING_BYTES];
    size_t n = strcspn(words, "( ");
    const char *text = declaration_of(box, words, n);
    if (text == NULL)
        return CTL_BAD;
    const char *arguments = words[n] != 0 ? words + n : "()";
    if (hak_call_parse(&text, &call, why, sizeof why) != 0 ||
        hak_ffi_bind(table->library, &call, &bound, why, sizeof why) != 0) {
        ctl_say("call: %s", why);
        return CTL_BAD;
    }
    memcpy(cell, bound.cell, sizeof cell);
    if (hak_call_settle(&call, table->kept, cell, why, sizeof why) != 0) {
        ctl_say("call: %s", why);
        return CTL_BAD;
    }
    if (hak_call_arguments(arguments, &bound.call, cell, strings, why,
                           sizeof why) != 0) {
        ctl_say("call: %s: %s", words, why);
        return CTL_BAD;
    }
    hak_ffi_call(&bound, cell, &result);
    print_values(&call, cell, result);
    return hak_call_passed(&call, result) ? CTL_OK : CTL_SOME;
}

int ctl_call(int argc, char **argv)
{
    static const struct option longs[] = {{CTL_HELP}, {NULL, 0, NULL, 0}};
    struct ctl_core core;
    if (ctl_option(argc, argv, "+:h", longs) != -1)
        return CTL_BAD;
    if (argc - optind < 3) {
        ctl_say("call: it takes an INI, a box and calls; see hakctl help call");
        return CTL_BAD;
    }
    const char *box = argv[optind + 1];
    if (ctl_crashes(argv[optind], NULL) ||
        ctl_load(&core, argv[optind], NULL, print_finding, NULL, NULL) != 0)
        return CTL_BAD;
    const struct hak_foreign_box_1 *table = box_named(&core, box);
    int worst = table != NULL ? CTL_OK : CTL_BAD;
    for (int i = optind + 2; i < argc && worst != CTL_BAD; i++) {
        int status = call_one(table, box, argv[i]);
        worst = status > worst ? status : worst;
    }
    return worst;
}

/* ---- check-so ------------------------------------------------------------ */

enum { PATIENCE_S = 10 }; /* time limit of a case, and of opening the library */

/* Does every parameter have a value? If not, why names the one without. */
static bool is_whole(const struct hak_call *call, char *why, size_t n)
{
    for (uint32_t i = 0; i < call->nparams; i++) {
        const struct hak_call_param *p = &call->param[i];
        if (p->from != HAK_FROM_CALLER && p->role != HAK_ROLE_HOOKS)
            continue;
        snprintf(why, n, "parameter %u has no value; give it one, as in %s:0",
                 i + 1, hak_type_name(p->type));
        return false;
    }
    return true;
}

/* Make one call of a case. It may use values that earlier calls kept. Returns
 * false: it failed, and why says how. */
static bool make_call(void *library, const struct hak_call *call,
                      struct hak_kept *kept, char *why, size_t n)
{
    static struct hak_bound bound;
    union hak_scalar cell[HAK_CALL_PARAMS], result;
    if (hak_ffi_bind(library, call, &bound, why, n) != 0 ||
        !is_whole(call, why, n))
        return false;
    memcpy(cell, bound.cell, sizeof cell);
    if (hak_call_settle(call, kept, cell, why, n) != 0)
        return false;
    hak_ffi_call(&bound, cell, &result);
    if (hak_call_passed(call, result))
        return hak_call_keep(call, cell, result, kept, why, n) == 0;
    if (call->result == HAK_TYPE_F64)
        snprintf(why, n, "%s returned %.17g", call->symbol, result.d);
    else
        snprintf(why, n, "%s returned %" PRId64, call->symbol, result.i);
    return false;
}

/* Run one case in the child. The reason of a failure goes to the parent by a
 * pipe. */
__attribute__((noreturn)) static void try_case(const char *path,
                                               const char *text, FILE *to)
{
    static struct hak_kept kept;
    struct hak_call call;
    char why[256] = "";
    if (to == NULL)
        _exit(CTL_BAD);
    alarm(PATIENCE_S);
    void *library = NULL;
    bool good = hak_call_parse(&text, &call, why, sizeof why) == 0 &&
                (library = hak_ffi_open(path, why, sizeof why)) != NULL;
    while (good && make_call(library, &call, &kept, why, sizeof why)) {
        if (*text == 0)
            _exit(CTL_OK);
        good = hak_call_parse(&text, &call, why, sizeof why) == 0;
    }
    fputs(why, to);
    fclose(to);
    _exit(CTL_SOME);
}

/* Wait for a child. why gets its message, or how it ended. Returns false: it
 * did not exit with CTL_OK. */
static bool wait_for_child(pid_t pid, int ends[2], char *why, size_t n)
{
    int status = 0;
    close(ends[1]);
    ssize_t got = read(ends[0], why, n - 1);
    why[got > 0 ? got : 0] = 0;
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        snprintf(why, n, "%s",
                 WTERMSIG(status) == SIGALRM ? "does not come to an end"
                                             : strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == CTL_OK;
}

static bool one_case(const char *path, const char *text, int n)
{
    int ends[2];
    char why[256];
    pid_t pid = ctl_fork(ends);
    if (pid == 0)
        try_case(path, text, fdopen(ends[1], "w"));
    bool good = wait_for_child(pid, ends, why, sizeof why);
    printf("%sok %d - %s%s%s\n", good ? "" : "not ", n, text, good ? "" : ": ",
           good ? "" : why);
    return good;
}

/* Can the library be opened? If not, prints why. The test runs in a child,
 * since constructors of the library may crash. */
static bool can_be_opened(const char *path)
{
    int ends[2];
    char why[256] = "";
    pid_t pid = ctl_fork(ends);
    if (pid == 0) {
        alarm(PATIENCE_S);
        bool opened = hak_ffi_open(path, why, sizeof why) != NULL;
        (void)!write(ends[1], why, strlen(why));
        _exit(opened ? CTL_OK : CTL_BAD);
    }
    bool good = wait_for_child(pid, ends, why, sizeof why);
    if (!good)
        ctl_say("check-so: %s: %s", path, why);
    return good;
}

int ctl_check_so(int argc, char **argv)
{
    static const struct option longs[] = {{CTL_HELP}, {NULL, 0, NULL, 0}};
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int n = 0, failed = 0;
    if (ctl_option(argc, argv, "+:h", longs) != -1)
        return CTL_BAD;
    if (argc - optind != 2) {
        ctl_say("check-so: it takes a library and a file of cases; see hakctl "
                "help check-so");
        return CTL_BAD;
    }
    FILE *cases = fopen(argv[optind + 1], "re");
    if (cases == NULL) {
        ctl_say("check-so: %s: %s", argv[optind + 1], strerror(errno));
        return CTL_BAD;
    }
    ctl_foreign_tls_now();
    if (!can_be_opened(argv[optind])) {
        fclose(cases);
        return CTL_BAD;
    }
    while ((length = getline(&line, &room, cases)) > 0) {
        line[length - 1] = line[length - 1] == '\n' ? 0 : line[length - 1];
        const char *text = line + strspn(line, " \t");
        if (*text != 0 && *text != ';' && *text != '#')
            failed += !one_case(argv[optind], text, ++n);
    }
    printf("1..%d\n", n);
    free(line);
    fclose(cases);
    if (n == 0) {
        ctl_say("check-so: %s has no case: a line each, as in strlen("
                "cstr:\"abc\") -> size == 3",
                argv[optind + 1]);
        return CTL_BAD;
    }
    return failed == 0 ? CTL_OK : CTL_SOME;
}

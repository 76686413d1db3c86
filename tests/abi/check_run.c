/* SPDX-License-Identifier: MIT
 * check_run.c - properties one by one, and what is said of them.
 *
 * Each runs in a process of its own. One that fails is told with the box, the
 * operation that was under way and the seed; a cause that was told before, by
 * the number of that line. A box that cannot be opened fails once (Bail out!),
 * and so does one on which the time for all is used up.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <time.h>

#include <hakctl_json.h>

#include "check.h"

enum { SAID_BYTES = 65536, CAUSE_BYTES = 512 };

struct outcome {
    const struct test_case *property;
    bool failed, skipped;
    int as; /* the line that told this cause first, or 0 */
    char cause[CAUSE_BYTES];
    char call[256]; /* in or after which it was, or "" */
};

static struct outcome outcomes[TEST_MAX];
static int noutcomes;
static char said[SAID_BYTES]; /* by the last one */

/* ---- in the process of a property -----------------------------------------
 */

static const struct test_case *current;
static bool *finished; /* shared: it came to its end */

static void say_call(bool any_thread)
{
    char text[256] = "# call: ";
    size_t n = strlen(text);
    if (!th_call_text(any_thread, text + n, sizeof text - n - 1))
        return;
    strcat(text, "\n");
    (void)!write(2, text, strlen(text));
}

static void on_failure(void)
{
    say_call(false);
}

static void on_signal(int number)
{
    say_call(number == SIGALRM);
    raise(number); /* its action is the default again */
}

static void catch_signals(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS,  SIGILL,
                                SIGFPE,  SIGABRT, SIGALRM};
    static char stack[65536]; /* the box may have used up the other */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction a = {.sa_handler = on_signal,
                          .sa_flags =
                              SA_ONSTACK | SA_NODEFER | (int)SA_RESETHAND};
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        sigaction(fatal[i], &a, NULL);
}

/* What is on stdout was printed by the box: the suite does not write there. */
static void expect_nothing_printed(int out)
{
    char text[128];
    ssize_t n = pread(out, text, sizeof text - 1, 0);
    if (n <= 0)
        return;
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    test_fail(__FILE__, __LINE__,
              "the box printed \"%s\"; host->log is for that", text);
}

static void run_current(void)
{
    int out = memfd_create("check-stdout", MFD_CLOEXEC);
    test_on_failure = on_failure;
    catch_signals();
    dup2(out, 1);
    current->run();
    expect_nothing_printed(out);
    *finished = true;
}

int ck_run_here(const char *name)
{
    for (int i = 0; i < test_ncases; i++) {
        if (strcmp(test_cases[i].name, name) != 0)
            continue;
        test_on_failure = on_failure;
        test_cases[i].run();
        printf("%s holds\n", name);
        return 0;
    }
    return 1;
}

/* ---- what became of it ---- */

/* A line that the box wrote to stderr itself, or NULL. */
static const char *stray_line(void)
{
    static char line[128];
    for (const char *at = said; *at; at += strspn(at, "\n")) {
        size_t n = strcspn(at, "\n");
        if (strncmp(at, "# ", 2) != 0 && strncmp(at, "hakmem: ", 8) != 0 &&
            strncmp(at, "testhost: ", 10) != 0) {
            snprintf(line, sizeof line, "%.*s", (int)n, at);
            return line;
        }
        at += n;
    }
    return NULL;
}

/* The first of say_call's lines: of the process that failed, not of those that
 * wait for it. They are no part of what was said. */
static void take_call(struct outcome *o)
{
    char *line;
    while ((line = strstr(said, "# call: ")) != NULL) {
        char *end = line + strcspn(line, "\n");
        if (o->call[0] == 0)
            snprintf(o->call, sizeof o->call, "%.*s", (int)(end - line - 8),
                     line + 8);
        end += *end == '\n';
        memmove(line, end, strlen(end) + 1);
    }
    if (o->call[0] == 0) /* exit(2) says nothing */
        th_shared_call_text(o->call, sizeof o->call);
}

static void judge(struct outcome *o, int status)
{
    int length;
    take_call(o);
    const char *reason = test_reason(said, &length), *stray;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(o->cause, sizeof o->cause, "timed out after %u s",
                 test_seconds);
    else if (WIFSIGNALED(status))
        snprintf(o->cause, sizeof o->cause, "SIG%s%s%.*s",
                 sigabbrev_np(WTERMSIG(status)), length ? ": " : "", length,
                 reason);
    else if (WEXITSTATUS(status) == TEST_SKIPPED)
        o->skipped = true;
    else if (WEXITSTATUS(status) != 0 && length)
        snprintf(o->cause, sizeof o->cause, "%.*s", length, reason);
    else if (WEXITSTATUS(status) != 0 || !*finished)
        snprintf(o->cause, sizeof o->cause,
                 "the box ended the process, with exit status %d",
                 WEXITSTATUS(status));
    else if ((stray = stray_line()) != NULL)
        snprintf(o->cause, sizeof o->cause,
                 "the box printed \"%s\"; host->log is for that", stray);
    o->failed = o->cause[0] != 0;
}

/* The same but for numbers: addresses, sizes and counts differ. */
static bool is_like(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "0123456789abcdefx()");
        b += strspn(b, "0123456789abcdefx()");
        if (*a != *b)
            return false;
        if (*a == 0)
            return true;
    }
}

static void find_cause(struct outcome *o)
{
    for (int i = 0; o->failed && i < noutcomes && o->as == 0; i++)
        if (outcomes[i].failed && is_like(outcomes[i].cause, o->cause))
            o->as = outcomes[i].as ? outcomes[i].as : i + 1;
}

static struct outcome *run_one(const struct test_case *c)
{
    struct test_case wrapped = *c;
    struct outcome *o = &outcomes[noutcomes];
    *o = (struct outcome){.property = c};
    current = c;
    wrapped.run = run_current;
    *finished = false;
    th_share_calls();
    judge(o, test_process(&wrapped, said, sizeof said));
    find_cause(o);
    noutcomes++;
    return o;
}

/* ---- text ---- */

static const char *file_name(void)
{
    const char *slash = strrchr(ck.path, '/');
    return slash ? slash + 1 : ck.path;
}

static void print_said(void)
{
    for (const char *at = said; *at; at += strspn(at, "\n")) {
        int length = (int)strcspn(at, "\n");
        printf("#   %.*s\n", length, at);
        at += length;
    }
}

static void print_text(const struct outcome *o)
{
    const char *why = strstr(said, "# skip: ");
    printf("%sok %d - %s", o->failed ? "not " : "", noutcomes,
           o->property->name);
    if (o->skipped)
        printf(" # SKIP %.*s", why ? (int)strcspn(why + 8, "\n") : 0,
               why ? why + 8 : "");
    if (!o->failed) {
        printf("\n");
        return;
    }
    if (o->as)
        printf(": as in %d - %s", o->as, outcomes[o->as - 1].property->name);
    else
        printf(": %s", o->cause);
    printf(" (%s%s%s, seed %lu)\n", file_name(), o->call[0] ? ", " : "",
           o->call, ck.seed);
    if (!o->as)
        print_said();
}

static void print_summary(void)
{
    int nfailed = 0;
    const char *comma = ": ";
    for (int i = 0; i < noutcomes; i++)
        nfailed += outcomes[i].failed;
    if (nfailed == 0)
        return;
    printf("%d of %d failed", nfailed, noutcomes);
    for (int i = 0; i < noutcomes; i++) {
        if (!outcomes[i].failed)
            continue;
        printf("%s%s", comma, outcomes[i].property->name);
        comma = ", ";
    }
    printf("\n");
}

/* ---- JSON ---- */

static void print_json_outcome(const struct outcome *o)
{
    const char *result = o->failed ? "failed" : o->skipped ? "skipped" : "ok";
    printf("%s{\"property\":\"%s\",\"result\":\"%s\"",
           o == outcomes ? "" : ",\n", o->property->name, result);
    if (o->failed) {
        printf(",\"cause\":");
        ctl_json(stdout, o->cause);
        printf(",\"call\":");
        ctl_json(stdout, o->call);
        printf(",\"as\":");
        ctl_json(stdout, o->as ? outcomes[o->as - 1].property->name : NULL);
    }
    printf("}");
}

static void print_json(const char *bail_out)
{
    int nfailed = 0;
    printf("{\"file\":");
    ctl_json(stdout, ck.path);
    printf(",\"seed\":%lu,\"properties\":[\n", ck.seed);
    for (int i = 0; i < noutcomes; i++) {
        print_json_outcome(&outcomes[i]);
        nfailed += outcomes[i].failed;
    }
    printf("],\n\"of\":%d,\"failed\":%d,\"bail_out\":", noutcomes, nfailed);
    ctl_json(stdout, bail_out);
    printf("}\n");
}

/* ---- all ---- */

static const struct test_case *find(const char *name)
{
    for (int i = 0; i < test_ncases; i++)
        if (strcmp(test_cases[i].name, name) == 0)
            return &test_cases[i];
    return NULL;
}

static bool opens_the_box(const struct test_case *c)
{
    return strncmp(c->name, "file_", 5) != 0 &&
           strncmp(c->name, "entry_", 6) != 0;
}

static uint64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec;
}

/* Before the first property that opens the box: does it open? NULL: yes. */
static const char *why_not_open(void)
{
    static char text[CAUSE_BYTES + 512];
    struct outcome *o = run_one(find("init"));
    noutcomes--;
    if (!o->failed)
        return NULL;
    snprintf(text, sizeof text, "%s does not open: %s%s%s%s", file_name(),
             o->cause, o->call[0] ? " (" : "", o->call, o->call[0] ? ")" : "");
    return text;
}

static const char *out_of_time(const struct ck_plan *plan)
{
    static char text[256];
    snprintf(text, sizeof text,
             "%u s are over, and %d properties have not run; --timeout SECONDS "
             "gives each of them that long",
             plan->most_seconds, plan->n - noutcomes);
    return text;
}

/* One property more. Why the rest need not run, or NULL. */
static const char *step(const struct ck_plan *plan, const struct test_case *c,
                        uint64_t end_s, bool *opened)
{
    static char text[CAUSE_BYTES];
    if (!*opened && opens_the_box(c)) {
        const char *why = strcmp(c->name, "init") != 0 ? why_not_open() : NULL;
        if (why)
            return why;
        *opened = true;
    }
    uint64_t left = plan->most_seconds ? end_s - now_s() : UINT64_MAX;
    if (plan->most_seconds && now_s() >= end_s)
        return out_of_time(plan);
    test_seconds = left < plan->seconds ? (unsigned)left : plan->seconds;
    const struct outcome *o = run_one(c);
    if (!plan->json)
        print_text(o);
    if (!o->failed || strcmp(c->name, "init") != 0)
        return NULL;
    snprintf(text, sizeof text, "%s does not open: nothing else can be tried",
             file_name());
    return text;
}

int ck_run(const struct ck_plan *plan)
{
    const char *bail_out = NULL;
    bool opened = false;
    uint64_t end_s = now_s() + plan->most_seconds;
    finished = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < plan->n && !bail_out; i++)
        bail_out = step(plan, plan->property[i], end_s, &opened);
    if (plan->json) {
        print_json(bail_out);
    } else {
        if (bail_out)
            printf("Bail out! %s\n", bail_out);
        else
            printf("1..%d\n", noutcomes);
        print_summary();
    }
    bool failed = bail_out != NULL;
    for (int i = 0; i < noutcomes; i++)
        failed |= outcomes[i].failed;
    return failed;
}
